//! SOCKS 5 (RFC 1928), with user and password (RFC 1929).

use std::net::IpAddr;

use super::{Host, Login, Next, Protocol, Refusal, length};

/// What the proxy says, as far as it has come, and what is answered.
#[derive(Clone)]
pub struct Reply {
    stage: Stage,
    taken: Vec<u8>,
    /// RFC 1929: sent if the proxy wants it.
    login: Option<Vec<u8>>,
    request: Vec<u8>,
}

/// What comes next.
#[derive(Clone, Copy)]
enum Stage {
    /// How the proxy wants to know who we are.
    Method,
    /// Whether it does.
    Status,
    /// Whether it has connected.
    Reply,
}

impl Reply {
    /// Nothing has come.
    pub fn new(host: &Host, port: u16, login: Option<Login<'_>>) -> Self {
        let login = login.map(|Login { user, password }| {
            let mut bytes = vec![LOGIN_VERSION, length(user.as_bytes())];
            bytes.extend(user.as_bytes());
            bytes.push(length(password));
            bytes.extend(password);
            bytes
        });
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

    /// The methods that we have.
    pub fn greeting(&self) -> Vec<u8> {
        match self.login {
            None => vec![VERSION, 1, NO_LOGIN],
            Some(_) => vec![VERSION, 2, NO_LOGIN, LOGIN],
        }
    }

    /// The next byte.
    pub fn take(&mut self, byte: u8) -> Result<Next, Refusal> {
        let foreign = Err(Refusal::Foreign(Protocol::Socks5));
        self.taken.push(byte);
        match (self.stage, &self.taken[..]) {
            // Of a status, only what it says matters: proxies disagree about its version.
            (Stage::Method | Stage::Reply, [version]) if *version != VERSION => foreign,
            (Stage::Method, [_, NO_LOGIN]) | (Stage::Status, [_, SUCCESS]) => {
                self.stage = Stage::Reply;
                self.taken.clear();
                Ok(Next::Send(std::mem::take(&mut self.request)))
            }
            (Stage::Method, [_, LOGIN]) => match self.login.take() {
                Some(login) => {
                    self.stage = Stage::Status;
                    self.taken.clear();
                    Ok(Next::Send(login))
                }
                None => foreign,
            },
            (Stage::Method, [_, NO_METHOD]) => {
                Err(Refusal::Login { given: self.login.is_some(), line: Vec::new() })
            }
            (Stage::Method, [_, _]) => foreign,
            (Stage::Status, [_, _]) => Err(Refusal::Login { given: true, line: Vec::new() }),
            (Stage::Reply, [_, code]) if *code != SUCCESS => Err(Refusal::Socks5(*code)),
            (Stage::Reply, taken) => Ok(match (taken.get(3), taken.get(4)) {
                (Some(&IPV4), _) if taken.len() == HEAD + 4 + PORT => Next::Open,
                (Some(&IPV6), _) if taken.len() == HEAD + 16 + PORT => Next::Open,
                (Some(&NAME), Some(n)) if taken.len() == HEAD + 1 + usize::from(*n) + PORT => Next::Open,
                (None | Some(&(IPV4 | IPV6 | NAME)), _) => Next::More,
                (Some(_), _) => return foreign,
            }),
            (Stage::Method | Stage::Status, _) => Ok(Next::More),
        }
    }
}

/// What a code means (RFC 1928 section 6).
pub fn meaning(code: u8) -> Option<&'static str> {
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

/// Bytes of its port.
const PORT: usize = 2;
