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

use clap::{Parser, error::ErrorKind};

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
        // No subcommands of clap: a host may follow `--` that is called like one of them, and only one of the three
        // parsers has to be built.
        match args.get(1).and_then(|first| first.to_str()) {
            Some("practice") => {
                parse(&args[1..], &practice::WORDS).map(|args| Self::Practice(Box::new(args)))
            }
            Some("relay") => parse(&args[1..], &relay::WORDS).map(|args| Self::Relay(Box::new(args))),
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

/// Parses the command line of a command. `words` are pairs of an option's id and its help in this command.
fn parse<T: Parser>(args: &[OsString], words: &[(&str, &'static str)]) -> Result<T, clap::Error> {
    let error = match T::try_parse_from(args) {
        Ok(args) => return Ok(args),
        Err(error) if error.kind() != ErrorKind::DisplayHelp => return Err(error),
        Err(error) => error,
    };

    // Only help shows the words: every other start is spared the time to set them.
    let command = T::command().mut_args(|arg| match words.iter().find(|(id, _)| arg.get_id() == id) {
        Some((_, help)) => arg.help(*help),
        None => arg,
    });
    Err(command.try_get_matches_from(args).err().unwrap_or(error))
}
