//! The meaning of the command line: every default, conflict and unit, settled once.

mod access;
mod conflicts;
mod connect;
mod host_ports;
mod listen;
mod practice;
mod program;
mod proxy;
mod relay;
mod scan;
mod session;
mod sockets;
mod target;
pub mod tls;
mod usage;

#[cfg(test)]
mod tests;

pub use self::{
    connect::Connect,
    listen::{Listen, Serve},
    practice::{Practice, PracticeClient},
    program::Program,
    proxy::Proxy,
    relay::{Relay, RelayClient},
    scan::Scan,
    session::{Direction, Incoming, LARGEST_DATAGRAM, Outgoing, Role, Session, check_send_file},
    target::{Bind, Target},
    usage::{Usage, usage},
};

use anyhow::Result;

use self::host_ports::HostPorts;
use crate::cli::{self, Args};

/// The task, ready to be carried out.
#[derive(Debug)]
pub enum Plan {
    Connect(Connect),
    Listen(Listen),
    Practice(Practice),
    PracticeClient(PracticeClient),
    Relay(Relay),
    RelayClient(RelayClient),
    Scan(Scan),
    Serve(Serve),
}

impl Plan {
    /// Plans a command. Fails with [`Usage`], or because a file, a program or an interface does not exist.
    pub fn new(command: &cli::Command) -> Result<Self> {
        match command {
            cli::Command::Practice(args) => Self::practice(args),
            cli::Command::Relay(args) => Self::relay(args),
            cli::Command::Remote(args) => Self::remote(args),
        }
    }

    fn remote(args: &Args) -> Result<Self> {
        let place = HostPorts::from_args(args)?;
        // Before the plans, which rely on it: they read a file, look for a program, and take each option as it is.
        conflicts::of_remote(args, &place)?;

        if args.z {
            return Ok(Self::Scan(Scan::from_args(args, place)?));
        }
        if !args.at.listen {
            return Ok(Self::Connect(Connect::from_args(args, &place)?));
        }
        let listen = Listen::from_args(args, &place)?;
        match args.clients.keep_open {
            true => Ok(Self::Serve(Serve::from_args(&args.clients, listen))),
            false => Ok(Self::Listen(listen)),
        }
    }

    fn relay(args: &cli::Relay) -> Result<Self> {
        conflicts::of_relay(args)?;
        match args.at.listen {
            true => Relay::from_args(args).map(Self::Relay),
            false => RelayClient::from_args(args).map(Self::RelayClient),
        }
    }

    fn practice(args: &cli::Practice) -> Result<Self> {
        conflicts::of_practice(args)?;
        match args.at.listen {
            true => Practice::from_args(args).map(Self::Practice),
            false => PracticeClient::from_args(args).map(Self::PracticeClient),
        }
    }
}
