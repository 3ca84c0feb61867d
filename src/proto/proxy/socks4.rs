//! SOCKS 4 (Ying-Da Lee, "SOCKS: A protocol for TCP proxy across firewalls"), and 4a, in which the proxy looks up names.

use std::net::{IpAddr, Ipv4Addr};

use super::{
    reply::{Received, Refusal},
    request::{Host, Protocol},
};

/// Formats a request. The protocol has no IPv6 addresses, which [`super::Request`] refuses.
pub fn request(host: &Host, port: u16, user: &str) -> Vec<u8> {
    let (ip, name) = match host {
        Host::Ip(IpAddr::V4(ip)) => (*ip, None),
        // SOCKS 4a: an invalid address (0.0.0.x, x not 0) announces that a name follows.
        Host::Ip(IpAddr::V6(_)) => (NAMED, None),
        Host::Name(name) => (NAMED, Some(name)),
    };

    let mut bytes = vec![VERSION, CONNECT];
    bytes.extend(port.to_be_bytes());
    bytes.extend(ip.octets());
    // The user and the name end at a zero: `Request::new` lets neither hold one.
    bytes.extend(user.as_bytes());
    bytes.push(0);
    if let Some(name) = name {
        bytes.extend(name.as_bytes());
        bytes.push(0);
    }
    bytes
}

/// The reply so far: a zero, a code, and six bytes without meaning.
#[derive(Clone, Default)]
pub struct Socks4Reply {
    /// Bytes received.
    taken: usize,
}

impl Socks4Reply {
    /// Takes the next byte.
    pub fn take(&mut self, byte: u8) -> Result<Received, Refusal> {
        self.taken += 1;
        match (self.taken, byte) {
            // The version of a reply is 0, and not 4.
            (1, 0) | (2, GRANTED) => Ok(Received::More),
            (1, _) => Err(Refusal::Foreign(Protocol::Socks4)),
            (2, code) => Err(Refusal::Socks4(code)),
            (LENGTH, _) => Ok(Received::Open),
            _ => Ok(Received::More),
        }
    }
}

const VERSION: u8 = 4;
const CONNECT: u8 = 1;
const GRANTED: u8 = 90;

/// Bytes of a reply.
const LENGTH: usize = 8;

/// The address of SOCKS 4a requests.
const NAMED: Ipv4Addr = Ipv4Addr::new(0, 0, 0, 1);
