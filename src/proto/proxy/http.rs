//! HTTP CONNECT (RFC 9110 section 9.3.6, RFC 9112 for the lines), with Basic authentication (RFC 7617).

use std::net::IpAddr;

use data_encoding::BASE64;

use super::{
    reply::{Received, Refusal},
    request::{Host, Login, Protocol},
};

/// Formats a request.
pub fn request(host: &Host, port: u16, login: Option<Login<'_>>) -> Vec<u8> {
    let authority = match host {
        Host::Ip(IpAddr::V4(ip)) => format!("{ip}:{port}"),
        Host::Ip(IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
        Host::Name(name) => format!("{name}:{port}"),
    };

    // RFC 9110 section 9.3.6: Host is the authority again.
    let mut text = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
    if let Some(Login { user, password }) = login {
        // Authorization would be meant for the destination (RFC 9110, section 11.7.2).
        let encoded = BASE64.encode(&[user.as_bytes(), b":", password].concat());
        text += &format!("Proxy-Authorization: Basic {encoded}\r\n");
    }

    text += "\r\n";
    text.into_bytes()
}

/// The reply so far.
#[derive(Clone)]
pub struct HttpReply {
    /// Whether a user and a password were sent.
    given: bool,
    part: Part,
    /// The line so far.
    line: Vec<u8>,
    /// Bytes received, of all lines.
    taken: usize,
}

#[derive(Clone, Copy)]
enum Part {
    /// The fields after a status line, which are ignored. `last` if no further reply follows.
    Fields {
        last: bool,
    },
    Status,
}

impl HttpReply {
    /// `given` tells whether a user and a password were sent.
    pub fn new(given: bool) -> Self {
        Self { given, part: Part::Status, line: Vec::new(), taken: 0 }
    }

    /// Takes the next byte.
    pub fn take(&mut self, byte: u8) -> Result<Received, Refusal> {
        self.taken += 1;
        if self.taken > MAX_REPLY {
            return Err(Refusal::Long);
        }
        if byte != b'\n' {
            self.line.push(byte);
            // A server of another protocol may never send the end of a line.
            let start = self.line.len().min(NAME.len());
            let foreign = matches!(self.part, Part::Status) && self.line[..start] != NAME[..start];
            return if foreign { Err(Refusal::Foreign(Protocol::Connect)) } else { Ok(Received::More) };
        }

        let mut line = std::mem::take(&mut self.line);
        // RFC 9112 section 2.2: a single line feed may be accepted as the end of a line.
        line.pop_if(|last| *last == b'\r');
        self.part = match self.part {
            Part::Fields { last: true } if line.is_empty() => return Ok(Received::Open),
            Part::Fields { last: false } if line.is_empty() => Part::Status,
            Part::Fields { last } => Part::Fields { last },
            Part::Status => match status(&line) {
                // RFC 9110 section 15.2: any number of interim responses may come first.
                Some(100..=199) => Part::Fields { last: false },
                // RFC 9110 section 9.3.6: a 2xx has no body; the bytes of the destination begin behind its fields.
                Some(200..=299) => Part::Fields { last: true },
                // A refusal is final: its fields and its body are not awaited.
                Some(407) => return Err(Refusal::Login { given: self.given, line }),
                Some(_) => return Err(Refusal::Http(line)),
                None => return Err(Refusal::Foreign(Protocol::Connect)),
            },
        };
        Ok(Received::More)
    }
}

/// Parses the code of a status line (RFC 9112 section 4).
fn status(line: &[u8]) -> Option<u16> {
    let mut words = line.strip_prefix(NAME)?.split(|byte| *byte == b' ');
    let (_version, code) = (words.next()?, words.next()?);
    let digits = code.len() == 3 && code.iter().all(u8::is_ascii_digit);
    digits.then(|| code.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0')))
}

/// The begin of a status line.
const NAME: &[u8] = b"HTTP/";

/// Bytes of all replies and their fields.
pub const MAX_REPLY: usize = 64 << 10;
