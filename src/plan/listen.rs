//! The plans to listen: for one client, or for many.

use anyhow::Result;

use super::{
    access::Access,
    host_ports::HostPorts,
    session::Session,
    sockets::{self, check_family},
    target::Bind,
    tls::Tls,
    usage::usage,
};
use crate::{
    cli::{Args, Clients},
    net::{Address, SocketConfig},
};

/// Listen, and have one session.
#[derive(Debug)]
pub struct Listen {
    pub at: Bind,
    pub socket_config: SocketConfig,
    /// The clients that are accepted.
    pub access: Access,
    pub tls: Option<Tls>,
    /// The plan of the session, or of each session.
    pub session: Session,
}

/// Listen, and have a session with every client (`-k`).
#[derive(Debug)]
pub struct Serve {
    /// The listener, and the plan of each session.
    pub listen: Listen,
    /// `-m`: sessions at once.
    pub max_clients: usize,
}

impl Listen {
    /// Plans `remote -l`.
    pub(super) fn from_args(args: &Args, place: &HostPorts) -> Result<Self> {
        let socket_config = sockets::of_remote(args, place)?;
        if let Some(host) = &place.host {
            check_family(host, socket_config.only)?;
        }

        let tls = args.tls.on.then(|| Tls::from_args(&args.tls, true));
        let session = Session::from_args(args, place.transport)?;
        let at = Bind::new(place, &socket_config)?;
        let access = Access::from_args(&args.clients, args.addresses.no_lookup)?;
        Ok(Self { at, socket_config, access, tls, session })
    }

    /// Refuses to run programs for other machines unless the clients are restricted, or `--allow any` says so.
    /// `addresses` are those that it listens at.
    pub fn check_exposure(&self, addresses: &[Address]) -> Result<()> {
        let verified = self.tls.as_ref().is_some_and(Tls::verifies);
        // A UNIX socket has no IP address and is local; a mapped address counts as its IPv4 address (RFC 4291).
        let local =
            addresses.iter().all(|address| address.ip().is_none_or(|ip| ip.to_canonical().is_loopback()));
        if self.session.program.is_none() || self.access.allow.is_some() || verified || local {
            return Ok(());
        }
        usage(
            "to run programs for others than this machine, say for whom: --allow 10.0.0.0/8, --tls-client-ca FILE, or --allow any; \
             for this machine alone listen on 127.0.0.1",
        )
    }
}

impl Serve {
    /// Plans `remote -l -k`.
    pub(super) fn from_args(args: &Clients, listen: Listen) -> Self {
        let max_clients = match (args.one_by_one, args.max_conns) {
            (true, _) => 1,
            // Descriptors are a limit in any case: when they run out, accepting pauses (accept(2), EMFILE).
            (false, max) => max.map_or(usize::MAX, |max| max as usize),
        };
        Self { listen, max_clients }
    }
}
