//! The flags as they are typed, and their help. `plan` settles their meaning.

mod args;
mod clients;
mod groups;
mod hints;
mod practice;
mod program;
mod proxy;
mod relay;
mod socket;
mod tls;
mod units;

use std::ffi::OsString;

use clap::Parser;

pub use self::{
    args::Args,
    clients::Clients,
    groups::{Addresses, Limits, Messages, Transfer, Where},
    hints::one_line,
    practice::Practice,
    program::Program,
    proxy::{Proxy, ProxyType},
    relay::{Deliver, Relay},
    socket::Socket,
    tls::Tls,
};

/// The command line: the netcat, or one of the commands beside it.
#[derive(Debug)]
pub enum Command {
    Practice(Box<Practice>),
    Relay(Box<Relay>),
    Remote(Box<Args>),
}

impl Command {
    /// Parses the command line. Behind `--`, a host may be called like a command.
    pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let args: Vec<OsString> = args.into_iter().collect();
        match args.get(1).and_then(|first| first.to_str()) {
            Some("practice") => {
                Practice::try_parse_from(&args[1..]).map(|args| Self::Practice(Box::new(args)))
            }
            Some("relay") => Relay::try_parse_from(&args[1..]).map(|args| Self::Relay(Box::new(args))),
            _ => Args::try_parse_from(args).map(|args| Self::Remote(Box::new(args))),
        }
    }

    /// Returns the options about messages.
    pub fn messages(&self) -> &Messages {
        match self {
            Self::Practice(args) => &args.messages,
            Self::Relay(args) => &args.messages,
            Self::Remote(args) => &args.messages,
        }
    }
}
