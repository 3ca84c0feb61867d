//! Destinations to connect to, and addresses to listen at.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use anyhow::Result;

use super::{host_ports::HostPorts, usage::usage};
use crate::net::{Address, Family, SocketConfig, address::literal, port};

/// The destination of a connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Target {
    /// `random` tells that the port was not given.
    Host {
        host: String,
        port: u16,
        random: bool,
    },
    Unix(PathBuf),
}

/// The addresses to listen at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Bind {
    Addresses(Vec<Address>),
    /// All addresses of a name.
    Name {
        host: String,
        port: u16,
    },
}

impl Target {
    /// Takes the one host and port, or a random port.
    pub(super) fn new(place: &HostPorts) -> Result<Self> {
        if let Some(path) = &place.unix {
            return Ok(Self::Unix(path.clone()));
        }
        let Some(host) = place.host.clone() else {
            return usage("HOST is missing: where to connect to?");
        };

        match place.port()? {
            Some(0) => usage("port 0 cannot be connected to"),
            Some(port) => Ok(Self::Host { host, port, random: false }),
            None if port::looks_like(&host) => {
                usage(format!("HOST is missing: '{host}' is a port (to listen on it: -l {host})"))
            }
            // The seed's rule: a port is chosen and announced.
            None => Ok(Self::Host { host, port: fastrand::u16(1..), random: true }),
        }
    }

    /// Whether it is a name that has to be looked up.
    pub fn is_name(&self) -> bool {
        matches!(self, Self::Host { host, .. } if literal(host).is_none())
    }

    /// Returns its address as far as it is known without a look-up.
    pub fn address(&self) -> Address {
        match self {
            Self::Host { host, port, .. } => match literal(host) {
                Some(mut address) => {
                    address.set_port(*port);
                    Address::Inet(address)
                }
                None => Address::Name { host: host.clone(), port: *port },
            },
            Self::Unix(path) => Address::Unix(path.clone()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { host, port, .. } => write!(f, "{host} port {port}"),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

impl Bind {
    /// Takes the given address, else the multicast group, the source address, the addresses of the interface, or all.
    pub(super) fn new(place: &HostPorts, socket_config: &SocketConfig) -> Result<Self> {
        if let Some(path) = &place.unix {
            return Ok(Self::Addresses(vec![Address::Unix(path.clone())]));
        }
        // bind(2) to port 0 takes a free one.
        let port = place.port()?.unwrap_or(0);
        let at = |ip: IpAddr| Address::Inet(SocketAddr::new(ip, port));

        if let Some(host) = &place.host {
            return Ok(match literal(host) {
                Some(mut address) => {
                    address.set_port(port);
                    Self::Addresses(vec![Address::Inet(address)])
                }
                None => Self::Name { host: host.clone(), port },
            });
        }
        // Bound to the group, a socket receives nothing that is sent to our own addresses.
        if let Some(ip) = socket_config.options.join.or(socket_config.source) {
            return Ok(Self::Addresses(vec![at(ip)]));
        }
        // Bound to the device, it needs no addresses: those that the device gets later count too (socket(7), SO_BINDTODEVICE).
        if let Some(interface) = socket_config.interface.as_ref().filter(|_| !socket_config.bind_device) {
            let in_use = |ip: &IpAddr| socket_config.only.is_none_or(|only| only == Family::of(*ip));
            let addresses: Vec<_> = interface.addresses.iter().copied().filter(in_use).map(at).collect();
            if let (true, Some(only)) = (addresses.is_empty(), socket_config.only) {
                return usage(format!("interface '{}' has no {only} address", interface.name));
            }
            return Ok(Self::Addresses(addresses));
        }
        // One dual-stack socket serves both families (ipv6(7), IPV6_V6ONLY).
        Ok(Self::Addresses(vec![at(socket_config.only.unwrap_or(Family::V6).any())]))
    }
}
