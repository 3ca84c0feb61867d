//! The families of addresses, and the transports over them.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

/// The type of transport: datagrams (UDP, UNIX datagrams) or a stream (TCP, UNIX streams).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Transport {
    Datagram,
    Stream,
}

impl Transport {
    /// Returns its name in messages: `tcp` or `udp`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Datagram => "udp",
            Self::Stream => "tcp",
        }
    }
}

/// A version of IP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    /// Returns the family of an address. A v4-mapped one is IPv6, as it was written.
    pub fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// Returns the unspecified address, which stands for every interface.
    pub fn any(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::from([0; 4]),
            Self::V6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}
