//! Destinations, and the users for whom a proxy connects to them.

use std::{fmt, net::IpAddr};

/// The protocol of a proxy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// HTTP CONNECT (RFC 9110 section 9.3.6), with Basic authentication (RFC 7617).
    Connect,
    /// SOCKS 4, or 4a with a name.
    Socks4,
    /// SOCKS 5 (RFC 1928), with user and password (RFC 1929).
    Socks5,
}

impl Protocol {
    /// Returns the usual port of its proxies.
    pub fn port(self) -> u16 {
        match self {
            Self::Connect => 3128,
            Self::Socks4 | Self::Socks5 => 1080,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "HTTP",
            Self::Socks4 => "SOCKS 4",
            Self::Socks5 => "SOCKS 5",
        })
    }
}

/// The host that the proxy connects to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Host {
    Ip(IpAddr),
    /// The proxy looks it up.
    Name(String),
}

/// The request for a connection. It fits the protocol: nothing in it is too long, or has a second meaning there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    pub(super) protocol: Protocol,
    pub(super) host: Host,
    pub(super) port: u16,
    pub(super) user: Option<String>,
}

/// The reason why a request cannot be expressed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InvalidRequest {
    Colon,
    ControlCharacter,
    HostName,
    Ipv6,
    LongPassword,
    LongUser,
    NoUser,
}

impl fmt::Display for InvalidRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Colon => "the user of an HTTP proxy has no colon in his name",
            Self::ControlCharacter => "the user or the password for the proxy has control characters",
            Self::HostName => {
                "a proxy looks up names of 1 to 255 bytes, without colons, blanks and control characters"
            }
            Self::Ipv6 => "SOCKS 4 cannot reach an IPv6 address: -X 5 can",
            Self::LongPassword => "the password for a SOCKS proxy has 255 bytes at most",
            Self::LongUser => "the user of a SOCKS proxy has 255 bytes at most",
            Self::NoUser => "-P needs the name of a user",
        })
    }
}

impl Request {
    /// Makes a request for a connection to `host` and `port`, as `user` if the proxy asks for one.
    pub fn new(
        protocol: Protocol,
        host: Host,
        port: u16,
        user: Option<String>,
    ) -> Result<Self, InvalidRequest> {
        match &host {
            Host::Ip(IpAddr::V6(_)) if protocol == Protocol::Socks4 => return Err(InvalidRequest::Ipv6),
            Host::Ip(_) => {}
            Host::Name(name) => {
                // In HTTP, a line end would begin another header, and a colon the port.
                let forbidden = |c: char| c.is_control() || c.is_whitespace() || c == ':';
                if !(1..=MAX_NAME).contains(&name.len()) || name.contains(forbidden) {
                    return Err(InvalidRequest::HostName);
                }
            }
        }

        // RFC 7617 section 2: a user-id with a colon cannot be parted from the password.
        match user.as_deref() {
            Some("") => return Err(InvalidRequest::NoUser),
            Some(user) if user.contains(char::is_control) => return Err(InvalidRequest::ControlCharacter),
            Some(user) if protocol == Protocol::Connect && user.contains(':') => {
                return Err(InvalidRequest::Colon);
            }
            Some(user) if protocol != Protocol::Connect && user.len() > MAX_NAME => {
                return Err(InvalidRequest::LongUser);
            }
            Some(_) | None => {}
        }
        Ok(Self { protocol, host, port, user })
    }

    /// Returns the user if the protocol has passwords.
    pub fn user_with_password(&self) -> Option<&str> {
        self.user.as_deref().filter(|_| self.protocol != Protocol::Socks4)
    }
}

/// A user and the password.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    pub user: &'a str,
    pub password: &'a [u8],
}

/// Bytes of a name in SOCKS 5 (RFC 1928), and of a user and of a password (RFC 1929): their length is one byte.
pub const MAX_NAME: usize = 255;

/// Returns a length as a byte. [`Request`] has checked that it fits.
pub fn length(bytes: &[u8]) -> u8 {
    u8::try_from(bytes.len()).unwrap_or(u8::MAX)
}
