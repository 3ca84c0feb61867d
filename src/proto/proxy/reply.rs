//! The outcome of a reply, or of a part of it.

use std::fmt;

use super::request::Protocol;

/// The effect of a byte of a reply.
pub enum Received {
    More,
    Open,
    Send(Vec<u8>),
}

/// The reason why a proxy has not connected.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// The bytes received are not of this protocol.
    Foreign(Protocol),
    /// The status line of an HTTP reply, without its end.
    Http(Vec<u8>),
    /// User and password are missing or not accepted. The status line is that of an HTTP reply.
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
            Self::Socks4(code) => match socks4_meaning(*code) {
                Some(meaning) => f.write_str(meaning),
                None => write!(f, "the proxy refuses, with the unknown code {code}"),
            },
            Self::Socks5(code) => match socks5_meaning(*code) {
                Some(meaning) => f.write_str(meaning),
                None => write!(f, "the proxy refuses, with the unknown code {code}"),
            },
        }
    }
}

impl std::error::Error for Refusal {}

/// Quotes a status line: without control characters, which could steer the terminal, and shortened.
fn quoted(line: &[u8]) -> String {
    let shown = line[..line.len().min(MAX_QUOTE)].escape_ascii().to_string();
    if line.len() > MAX_QUOTE { shown + " …" } else { shown }
}

/// Returns the meaning of the code of a SOCKS 4 reply.
fn socks4_meaning(code: u8) -> Option<&'static str> {
    Some(match code {
        91 => "request rejected or failed",
        92 => "the proxy cannot connect to an identd here",
        93 => "the identd here reports another user",
        _ => return None,
    })
}

/// Returns the meaning of the code of a SOCKS 5 reply (RFC 1928, section 6).
fn socks5_meaning(code: u8) -> Option<&'static str> {
    Some(match code {
        1 => "general SOCKS server failure",
        2 => "connection not allowed by the proxy's ruleset",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "TTL expired",
        7 => "command not supported by the proxy",
        8 => "address type not supported by the proxy",
        _ => return None,
    })
}

/// Bytes of a status line that are quoted.
const MAX_QUOTE: usize = 200;
