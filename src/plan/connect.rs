//! The plan to connect.

use std::time::Duration;

use anyhow::Result;

use super::{
    host_ports::HostPorts,
    proxy::Proxy,
    session::Session,
    sockets::{self, check_family},
    target::Target,
    tls::Tls,
};
use crate::{cli::Args, net::SocketConfig};

/// Connect, and have one session.
#[derive(Debug)]
pub struct Connect {
    /// The destination, behind the proxy if there is one.
    pub to: Target,
    /// The proxy that connects in our place.
    pub proxy: Option<Proxy>,
    pub socket_config: SocketConfig,
    /// `-T`.
    pub timeout: Option<Duration>,
    /// Further attempts after the first.
    pub retry: u64,
    /// TLS with the destination, through the proxy if there is one.
    pub tls: Option<Tls>,
    pub session: Session,
}

impl Connect {
    /// Plans `remote HOST PORT`.
    pub(super) fn from_args(args: &Args, place: &HostPorts) -> Result<Self> {
        let socket_config = sockets::of_remote(args, place)?;
        // A host behind a proxy is not bound to the family in which we reach the proxy.
        if let (Some(host), None) = (&place.host, &args.proxy.at) {
            check_family(host, socket_config.only)?;
        }

        let tls = args.tls.on.then(|| Tls::from_args(&args.tls, false));
        let session = Session::from_args(args, place.transport)?;
        let to = Target::new(place)?;
        let proxy = Proxy::from_args(&args.proxy, args.addresses.no_lookup, &to, socket_config.only)?;
        let retry = args.transfer.retry.unwrap_or(0);
        Ok(Self { to, proxy, socket_config, timeout: args.limits.timeout, retry, tls, session })
    }
}
