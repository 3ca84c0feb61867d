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
    /// The address of the proxy.
    pub at: Target,
    /// The request for the destination.
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
        // -x with a UNIX target is refused by `conflicts`.
        let (Some(text), Target::Host { host, port, .. }) = (&args.at, to) else { return Ok(None) };
        let protocol = match args.protocol.unwrap_or(ProxyType::Socks5) {
            ProxyType::Connect => Protocol::Connect,
            ProxyType::Socks4 => Protocol::Socks4,
            ProxyType::Socks5 => Protocol::Socks5,
        };
        let at = address(text, protocol, no_lookup, only)?;

        // The protocols have addresses and names; the proxy looks up names.
        let destination = match literal(host) {
            // A scope is the number of an interface here (ipv6(7), sin6_scope_id).
            Some(SocketAddr::V6(v6)) if v6.scope_id() != 0 => {
                return usage(format!("{host} is on a link of ours, where the proxy is not"));
            }
            Some(address) => Host::Ip(address.ip()),
            None => Host::Name(host.clone()),
        };
        // Checked before the proxy is reached: a field too long, or with a second meaning, would corrupt the request.
        match Request::new(protocol, destination, *port, args.user.clone()) {
            Ok(request) => Ok(Some(Self { at, request, password_file: args.password_file.clone() })),
            Err(invalid) => usage(invalid.to_string()),
        }
    }
}

/// Parses the address of a proxy: `ADDR`, `ADDR:PORT` or `[ADDR]:PORT`.
fn address(text: &str, protocol: Protocol, no_lookup: bool, only: Option<Family>) -> Result<Target> {
    let Location::Inet { transport: None, host, port } = Location::parse(text).map_err(to_usage)? else {
        return usage(format!("-x '{text}' should be ADDR, ADDR:PORT or [ADDR]:PORT"));
    };
    let port = port.map_or(Ok(protocol.port()), |port| port::parse(&port, Transport::Stream));
    let port = port.map_err(to_usage)?;

    if port == 0 {
        return usage("port 0 cannot be connected to");
    }
    if host.is_empty() {
        return usage(format!("-x '{text}' names no proxy"));
    }
    if no_lookup && literal(&host).is_none() {
        return usage("-n looks up no names: the proxy must be an address");
    }
    check_family(&host, only)?;
    Ok(Target::Host { host, port, random: false })
}
