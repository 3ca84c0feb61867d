//! SOCKS 4 (Ying-Da Lee, "SOCKS: A protocol for TCP proxy across firewalls"), and 4a, whose proxy looks up names.

use std::net::{IpAddr, Ipv4Addr};

use super::{Host, Next, Protocol, Refusal};

/// Asks for a connection. There is no way to ask for one to an IPv6 address.
pub fn request(host: &Host, port: u16, user: &str) -> Vec<u8> {
    let (ip, name) = match host {
        Host::Ip(IpAddr::V4(ip)) => (*ip, None),
        // 4a: an address that nobody has (0.0.0.x, x not 0) says that a name follows.
        Host::Ip(IpAddr::V6(_)) => (NAMED, None),
        Host::Name(name) => (NAMED, Some(name)),
    };
    let mut bytes = vec![VERSION, CONNECT];
    bytes.extend(port.to_be_bytes());
    bytes.extend(ip.octets());
    bytes.extend(user.as_bytes());
    bytes.push(0);
    if let Some(name) = name {
        bytes.extend(name.as_bytes());
        bytes.push(0);
    }
    bytes
}

/// The reply, as far as it has come: a zero, a code, and six bytes that mean nothing to us.
#[derive(Clone, Default)]
pub struct Reply {
    taken: usize,
}

impl Reply {
    /// The next byte of it.
    pub fn take(&mut self, byte: u8) -> Result<Next, Refusal> {
        self.taken += 1;
        match (self.taken, byte) {
            (1, 0) | (2, GRANTED) => Ok(Next::More),
            (1, _) => Err(Refusal::Foreign(Protocol::Socks4)),
            (2, code) => Err(Refusal::Socks4(code)),
            (LENGTH, _) => Ok(Next::Open),
            _ => Ok(Next::More),
        }
    }
}

/// What a code means.
pub fn meaning(code: u8) -> Option<&'static str> {
    Some(match code {
        91 => "request rejected or failed",
        92 => "the proxy cannot connect to an identd here",
        93 => "the identd here reports another user",
        _ => return None,
    })
}

const VERSION: u8 = 4;
const CONNECT: u8 = 1;
const GRANTED: u8 = 90;

/// Bytes of a reply.
const LENGTH: usize = 8;

const NAMED: Ipv4Addr = Ipv4Addr::new(0, 0, 0, 1);
