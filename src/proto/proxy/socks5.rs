//! SOCKS 5 (RFC 1928), with user and password (RFC 1929).

use std::net::IpAddr;

use super::{
    reply::{Received, Refusal},
    request::{Host, Login, Protocol, length},
};

/// The replies so far, and the messages to send after each.
#[derive(Clone)]
pub struct Socks5Reply {
    stage: Stage,
    /// Received bytes of the current reply.
    taken: Vec<u8>,
    /// User and password (RFC 1929), sent if the proxy asks for them.
    login: Option<Vec<u8>>,
    /// The request, sent after the authentication.
    request: Vec<u8>,
}

/// The reply that is awaited.
#[derive(Clone, Copy)]
enum Stage {
    /// The choice of an authentication method.
    Method,
    /// The result of the authentication.
    Status,
    /// The result of the request.
    Reply,
}

impl Socks5Reply {
    /// Formats the messages for a connection to `host` and `port`.
    pub fn new(host: &Host, port: u16, login: Option<Login<'_>>) -> Self {
        let login = login.map(|Login { user, password }| {
            let mut bytes = vec![LOGIN_VERSION, length(user.as_bytes())];
            bytes.extend(user.as_bytes());
            bytes.push(length(password));
            bytes.extend(password);
            bytes
        });

        // RFC 1928 section 4: the third octet is reserved.
        let mut request = vec![VERSION, CONNECT, 0];
        match host {
            Host::Ip(IpAddr::V4(ip)) => {
                request.push(IPV4);
                request.extend(ip.octets());
            }
            Host::Ip(IpAddr::V6(ip)) => {
                request.push(IPV6);
                request.extend(ip.octets());
            }
            Host::Name(name) => {
                request.extend([NAME, length(name.as_bytes())]);
                request.extend(name.as_bytes());
            }
        }
        request.extend(port.to_be_bytes());
        Self { stage: Stage::Method, taken: Vec::new(), login, request }
    }

    /// Formats the first message: the authentication methods on offer.
    pub fn greeting(&self) -> Vec<u8> {
        match self.login {
            // Without a login is always on offer: a proxy that asks for none does not learn the password.
            None => vec![VERSION, 1, NO_LOGIN],
            Some(_) => vec![VERSION, 2, NO_LOGIN, LOGIN],
        }
    }

    /// Takes the next byte.
    pub fn take(&mut self, byte: u8) -> Result<Received, Refusal> {
        let foreign = Err(Refusal::Foreign(Protocol::Socks5));
        // RFC 1928 section 6: the length of the reply depends on the type of the address in it.
        self.taken.push(byte);

        match (self.stage, &self.taken[..]) {
            // The version of a status is not checked: proxies disagree about it.
            (Stage::Method | Stage::Reply, [version]) if *version != VERSION => foreign,
            (Stage::Method, [_, NO_LOGIN]) | (Stage::Status, [_, SUCCESS]) => {
                self.stage = Stage::Reply;
                self.taken.clear();
                Ok(Received::Send(std::mem::take(&mut self.request)))
            }
            (Stage::Method, [_, LOGIN]) => match self.login.take() {
                Some(login) => {
                    self.stage = Stage::Status;
                    self.taken.clear();
                    Ok(Received::Send(login))
                }
                // RFC 1928 section 3: a server chooses among the methods on offer.
                None => foreign,
            },
            (Stage::Method, [_, NO_METHOD]) => {
                Err(Refusal::Login { given: self.login.is_some(), line: Vec::new() })
            }
            (Stage::Method, [_, _]) => foreign,
            (Stage::Status, [_, _]) => Err(Refusal::Login { given: true, line: Vec::new() }),
            (Stage::Reply, [_, code]) if *code != SUCCESS => Err(Refusal::Socks5(*code)),
            (Stage::Reply, taken) => Ok(match (taken.get(3), taken.get(4)) {
                (Some(&IPV4), _) if taken.len() == HEAD + 4 + PORT => Received::Open,
                (Some(&IPV6), _) if taken.len() == HEAD + 16 + PORT => Received::Open,
                (Some(&NAME), Some(n)) if taken.len() == HEAD + 1 + usize::from(*n) + PORT => Received::Open,
                (None | Some(&(IPV4 | IPV6 | NAME)), _) => Received::More,
                (Some(_), _) => return foreign,
            }),
            (Stage::Method | Stage::Status, _) => Ok(Received::More),
        }
    }
}

const VERSION: u8 = 5;
const LOGIN_VERSION: u8 = 1;
const CONNECT: u8 = 1;
const SUCCESS: u8 = 0;

/// Methods (RFC 1928 section 3).
const NO_LOGIN: u8 = 0;
const LOGIN: u8 = 2;
const NO_METHOD: u8 = 0xff;

/// Types of addresses (RFC 1928 section 5).
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Bytes before the address of a reply.
const HEAD: usize = 4;

/// Bytes of the port of a reply.
const PORT: usize = 2;
