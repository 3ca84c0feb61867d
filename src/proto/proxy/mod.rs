//! How a proxy is asked to connect in our place: SOCKS 4, 4a and 5, and HTTP CONNECT.
//!
//! A [`Request`] says what is wanted; a [`Handshake`] asks one proxy for it, once: what is in its output is to be sent, and
//! what comes is given to it until it is open. It takes no byte that is not the proxy's own: what follows is from the destination.

mod http;
mod socks4;
mod socks5;

use std::{fmt, net::IpAddr};

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// HTTP CONNECT (RFC 9110 section 9.3.6), with Basic authentication (RFC 7617).
    Connect,
    /// SOCKS 4, and 4a for a name.
    Socks4,
    /// SOCKS 5 (RFC 1928), with user and password (RFC 1929).
    Socks5,
}

impl Protocol {
    /// The port that its proxies usually have.
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

/// Where the proxy is to connect to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Host {
    Ip(IpAddr),
    /// For the proxy to look up.
    Name(String),
}

/// What is wanted of a proxy. It fits the protocol: nothing in it is too long, or could be taken for something else.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    protocol: Protocol,
    host: Host,
    port: u16,
    user: Option<String>,
}

/// Why something cannot be asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unfit {
    Colon,
    ControlCharacter,
    HostName,
    Ipv6,
    LongPassword,
    LongUser,
    NoUser,
}

impl fmt::Display for Unfit {
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
    /// A connection to `host`, wanted by `user` if that is somebody.
    pub fn new(protocol: Protocol, host: Host, port: u16, user: Option<String>) -> Result<Self, Unfit> {
        match &host {
            Host::Ip(IpAddr::V6(_)) if protocol == Protocol::Socks4 => return Err(Unfit::Ipv6),
            Host::Ip(_) => {}
            Host::Name(name) => {
                // A line end in it would be a header of the caller's own; a colon parts the port.
                let strange = |c: char| c.is_control() || c.is_whitespace() || c == ':';
                if !(1..=LONGEST).contains(&name.len()) || name.contains(strange) {
                    return Err(Unfit::HostName);
                }
            }
        }
        match user.as_deref() {
            Some("") => return Err(Unfit::NoUser),
            Some(user) if user.contains(char::is_control) => return Err(Unfit::ControlCharacter),
            Some(user) if protocol == Protocol::Connect && user.contains(':') => return Err(Unfit::Colon),
            Some(user) if protocol != Protocol::Connect && user.len() > LONGEST => {
                return Err(Unfit::LongUser);
            }
            Some(_) | None => {}
        }
        Ok(Self { protocol, host, port, user })
    }

    /// The user whose password has to be known.
    pub fn user_with_password(&self) -> Option<&str> {
        self.user.as_deref().filter(|_| self.protocol != Protocol::Socks4)
    }

    /// Begins to ask. The password counts only with a user who has one.
    pub fn begin(&self, password: &[u8]) -> Result<Handshake, Unfit> {
        if password.iter().any(u8::is_ascii_control) {
            return Err(Unfit::ControlCharacter);
        }
        if self.protocol == Protocol::Socks5 && password.len() > LONGEST {
            return Err(Unfit::LongPassword);
        }
        let login = self.user_with_password().map(|user| Login { user, password });
        let (output, reply) = match self.protocol {
            Protocol::Connect => {
                let given = login.is_some();
                (http::request(&self.host, self.port, login), Reply::Connect(http::Reply::new(given)))
            }
            Protocol::Socks4 => {
                let user = self.user.as_deref().unwrap_or_default();
                (socks4::request(&self.host, self.port, user), Reply::Socks4(socks4::Reply::default()))
            }
            Protocol::Socks5 => {
                let reply = socks5::Reply::new(&self.host, self.port, login);
                (reply.greeting(), Reply::Socks5(reply))
            }
        };
        Ok(Handshake { output, reply })
    }
}

/// A user and his password.
#[derive(Clone, Copy)]
struct Login<'a> {
    user: &'a str,
    password: &'a [u8],
}

/// A request that is under way with one proxy.
#[derive(Clone)]
pub struct Handshake {
    output: Vec<u8>,
    reply: Reply,
}

#[derive(Clone)]
enum Reply {
    Connect(http::Reply),
    /// The proxy has connected.
    Open,
    Socks4(socks4::Reply),
    Socks5(socks5::Reply),
}

/// What a byte of a reply means.
enum Next {
    More,
    Open,
    Send(Vec<u8>),
}

impl Handshake {
    /// What is to be sent before anything more is received.
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// So many bytes of the output were sent.
    pub fn written(&mut self, bytes: usize) {
        self.output.drain(..bytes);
    }

    /// Whether the connection is the destination's now.
    pub fn is_open(&self) -> bool {
        matches!(self.reply, Reply::Open) && self.output.is_empty()
    }

    /// These bytes have come; tells how many of them it has taken: all, unless it is open or something is to be sent first.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        for (taken, byte) in bytes.iter().enumerate() {
            if !self.output.is_empty() {
                return Ok(taken);
            }
            let next = match &mut self.reply {
                Reply::Connect(reply) => reply.take(*byte)?,
                Reply::Open => return Ok(taken),
                Reply::Socks4(reply) => reply.take(*byte)?,
                Reply::Socks5(reply) => reply.take(*byte)?,
            };
            match next {
                Next::More => {}
                Next::Open => self.reply = Reply::Open,
                Next::Send(bytes) => self.output = bytes,
            }
        }
        Ok(bytes.len())
    }
}

/// Why there is no connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// What came is nothing that the protocol knows.
    Foreign(Protocol),
    /// The status line of an HTTP reply, without its end.
    Http(Vec<u8>),
    /// A user and a password are missing, or were not accepted; what HTTP said of it.
    Login { given: bool, line: Vec<u8> },
    /// The reply has more than 64 KiB.
    Long,
    /// The code of a SOCKS 4 reply.
    Socks4(u8),
    /// The code of a SOCKS 5 reply (RFC 1928 section 6).
    Socks5(u8),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign(protocol) => write!(f, "the proxy does not speak {protocol}"),
            Self::Http(line) => write!(f, "the proxy says: {}", quoted(line)),
            Self::Login { given, line } => {
                f.write_str(match given {
                    false => "the proxy wants a user and a password (-P USER)",
                    true => "the proxy does not accept the user or the password",
                })?;
                if line.is_empty() { Ok(()) } else { write!(f, ": {}", quoted(line)) }
            }
            Self::Long => f.write_str("the proxy's reply does not end"),
            Self::Socks4(code) => match socks4::meaning(*code) {
                Some(words) => f.write_str(words),
                None => write!(f, "the proxy refuses, with the unknown code {code}"),
            },
            Self::Socks5(code) => match socks5::meaning(*code) {
                Some(words) => f.write_str(words),
                None => write!(f, "the proxy refuses, with the unknown code {code}"),
            },
        }
    }
}

impl std::error::Error for Refusal {}

/// What a proxy said, without what could steer a terminal; not all of what is very long.
fn quoted(line: &[u8]) -> String {
    let shown = line[..line.len().min(QUOTED)].escape_ascii().to_string();
    if line.len() > QUOTED { shown + " …" } else { shown }
}

/// Bytes of a name in SOCKS 5, and of a user and a password in RFC 1929: their length is one byte.
const LONGEST: usize = 255;

/// Bytes of a status line that are quoted.
const QUOTED: usize = 200;

/// A length that [`Request`] has seen to be a byte's.
fn length(bytes: &[u8]) -> u8 {
    u8::try_from(bytes.len()).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests;
