//! The sockets that the options ask for.

use std::net::IpAddr;

use anyhow::Result;

use super::{host_ports::HostPorts, usage::usage};
use crate::{
    cli::{self, Addresses, Args},
    net::{Family, SocketConfig, address::literal, config::Options, interface::Interface},
};

/// The sockets of `remote`.
pub(super) fn of_remote(args: &Args, place: &HostPorts) -> Result<SocketConfig> {
    let bind_device = args.bind_device;
    let source = args.at.source.as_deref();
    Ok(SocketConfig { bind_device, ..new(place, &args.addresses, source, options(&args.socket))? })
}

/// The sockets of the relay and its clients.
pub(super) fn of_relay(args: &cli::Relay, place: &HostPorts) -> Result<SocketConfig> {
    // A message does not wait for the next one.
    let options = Options { nodelay: true, ..Options::default() };
    let socket_config = new(place, &args.addresses, args.at.source.as_deref(), options)?;
    if let Some(host) = &place.host {
        check_family(host, socket_config.only)?;
    }
    Ok(socket_config)
}

/// Refuses a literal address of another family than the only one in use.
pub(super) fn check_family(host: &str, only: Option<Family>) -> Result<()> {
    match (literal(host).map(|literal| literal.ip()), only) {
        (Some(ip), Some(only)) if Family::of(ip) != only => usage(format!("{ip} is not an {only} address")),
        _ => Ok(()),
    }
}

/// Makes a configuration of the options that all commands have.
fn new(
    place: &HostPorts,
    addresses: &Addresses,
    source_text: Option<&str>,
    options: Options,
) -> Result<SocketConfig> {
    let only = match (addresses.ip4, addresses.ip6) {
        (true, _) => Some(Family::V4),
        (_, true) => Some(Family::V6),
        _ => None,
    };

    let interface = addresses.interface.as_deref().map(interface).transpose()?;
    // Both must hold: an address of the interface, of the family in use.
    let source = source_text.map(|text| source(text, only, interface.as_ref())).transpose()?;
    Ok(SocketConfig {
        transport: place.transport,
        // A source address of one family reaches no address of the other one.
        only: only.or(source.map(Family::of)),
        interface,
        bind_device: false,
        source,
        source_port: place.source_port,
        options,
    })
}

/// Converts the options to set on a socket.
fn options(args: &cli::Socket) -> Options {
    let size = |size: Option<u64>| size.map(|size| usize::try_from(size).unwrap_or(usize::MAX));

    Options {
        broadcast: args.broadcast,
        congestion: args.congestion.clone(),
        join: args.join,
        keepalive: args.keepalive,
        mptcp: args.mptcp,
        nodelay: args.nodelay,
        rcvbuf: size(args.rcvbuf),
        sndbuf: size(args.sndbuf),
        tos: args.tos,
        ttl: args.ttl,
    }
}

/// Looks up an interface by its name.
fn interface(name: &str) -> Result<Interface> {
    Interface::by_name(name).or_else(|error| {
        // In nc, -i is the delay between lines.
        let number = name.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if number {
            return usage(format!("{error}; nc's -i, the delay between lines, is -d {name} here"));
        }
        Err(error)
    })
}

/// Parses the source address. It must be of the family in use and an address of the interface, if they are given.
fn source(text: &str, only: Option<Family>, interface: Option<&Interface>) -> Result<IpAddr> {
    let Some(ip) = literal(text).map(|address| address.ip()) else {
        return usage(format!("-a '{text}' is not an address"));
    };
    if let Some(only) = only.filter(|only| *only != Family::of(ip)) {
        return usage(format!("-a {ip} is not an {only} address"));
    }
    // bind(2) takes any local address, also one of another interface.
    if let Some(interface) = interface.filter(|interface| !interface.addresses.contains(&ip)) {
        return usage(format!("-a {ip} is not an address of interface '{}'", interface.name));
    }
    Ok(ip)
}
