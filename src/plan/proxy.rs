//! `-x`: the proxy that connects in our place, and the request to it.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::Result;

use super::{
    sockets::check_family,
    target::Target,
    usage::{to_usage, usage},
};
use crate::{
    cli::{self, ProxyType},
    net::{Family, Location, Transport, address::literal, port},
    proto::proxy::{Host, Protocol, Request},
};

/// A proxy (`-x`).
#[derive(Debug)]
pub struct Proxy {
    pub at: Target,
    pub request: Request,
    /// The file of the password; without one, it is in the environment, or asked for at the terminal.
    pub password_file: Option<PathBuf>,
}

impl Proxy {
    /// Plans to reach `to` through a proxy, if one was given; `only` is the family in which we connect to the proxy.
    pub(super) fn from_args(
        args: &cli::Proxy,
        no_lookup: bool,
        to: &Target,
        only: Option<Family>,
    ) -> Result<Option<Self>> {
        let (Some(text), Target::Host { host, port, .. }) = (&args.at, to) else { return Ok(None) };
        let protocol = match args.protocol.unwrap_or(ProxyType::Socks5) {
            ProxyType::Connect => Protocol::Connect,
            ProxyType::Socks4 => Protocol::Socks4,
            ProxyType::Socks5 => Protocol::Socks5,
        };

        let Location::Inet { transport: None, host: at, port: at_port } =
            Location::parse(text).map_err(to_usage)?
        else {
            return usage(format!("-x '{text}' should be ADDR, ADDR:PORT or [ADDR]:PORT"));
        };
        let at_port = at_port.map_or(Ok(protocol.port()), |port| port::parse(&port, Transport::Stream));
        let at_port = at_port.map_err(to_usage)?;
        if at_port == 0 {
            return usage("port 0 cannot be connected to");
        }
        if at.is_empty() {
            return usage(format!("-x '{text}' names no proxy"));
        }
        if no_lookup && literal(&at).is_none() {
            return usage("-n looks up no names: the proxy must be an address");
        }
        check_family(&at, only)?;

        let wanted = match literal(host) {
            Some(SocketAddr::V6(v6)) if v6.scope_id() != 0 => {
                return usage(format!("{host} is on a link of ours, where the proxy is not"));
            }
            Some(address) => Host::Ip(address.ip()),
            None => Host::Name(host.clone()),
        };
        match Request::new(protocol, wanted, *port, args.user.clone()) {
            Ok(request) => Ok(Some(Self {
                at: Target::Host { host: at, port: at_port, random: false },
                request,
                password_file: args.password_file.clone(),
            })),
            Err(invalid) => usage(invalid.to_string()),
        }
    }
}
