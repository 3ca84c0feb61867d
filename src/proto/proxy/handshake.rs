//! The exchange of request and reply with one proxy.

use super::{
    http::{self, HttpReply},
    reply::{Received, Refusal},
    request::{InvalidRequest, Login, MAX_NAME, Protocol, Request},
    socks4::{self, Socks4Reply},
    socks5::Socks5Reply,
};

/// A request in progress with one proxy.
#[derive(Clone)]
pub struct ProxyHandshake {
    /// Bytes to send before more are received.
    output: Vec<u8>,
    reply: ReplyState,
}

#[derive(Clone)]
enum ReplyState {
    Connect(HttpReply),
    /// The proxy has connected.
    Open,
    Socks4(Socks4Reply),
    Socks5(Socks5Reply),
}

impl Request {
    /// Begins the exchange. The password is ignored without a user.
    pub fn begin(&self, password: &[u8]) -> Result<ProxyHandshake, InvalidRequest> {
        // In HTTP, a line end in it would begin another header.
        if password.iter().any(u8::is_ascii_control) {
            return Err(InvalidRequest::ControlCharacter);
        }
        if self.protocol == Protocol::Socks5 && password.len() > MAX_NAME {
            return Err(InvalidRequest::LongPassword);
        }

        let login = self.user_with_password().map(|user| Login { user, password });
        let (output, reply) = match self.protocol {
            Protocol::Connect => {
                let given = login.is_some();
                (http::request(&self.host, self.port, login), ReplyState::Connect(HttpReply::new(given)))
            }
            Protocol::Socks4 => {
                let user = self.user.as_deref().unwrap_or_default();
                (socks4::request(&self.host, self.port, user), ReplyState::Socks4(Socks4Reply::default()))
            }
            Protocol::Socks5 => {
                let reply = Socks5Reply::new(&self.host, self.port, login);
                (reply.greeting(), ReplyState::Socks5(reply))
            }
        };
        Ok(ProxyHandshake { output, reply })
    }
}

impl ProxyHandshake {
    /// Returns the bytes to send before more are received.
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// Removes `n` sent bytes from the output.
    pub fn written(&mut self, n: usize) {
        self.output.drain(..n);
    }

    /// Whether the proxy has connected: from now on, bytes are exchanged with the destination.
    pub fn is_open(&self) -> bool {
        matches!(self.reply, ReplyState::Open) && self.output.is_empty()
    }

    /// Takes received bytes. Returns how many it has taken: all, unless it is open or has output to send first.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        // Byte by byte: the destination's first bytes may stand behind the reply in the same segment.
        for (taken, byte) in bytes.iter().enumerate() {
            if !self.output.is_empty() {
                return Ok(taken);
            }

            let received = match &mut self.reply {
                ReplyState::Connect(reply) => reply.take(*byte)?,
                ReplyState::Open => return Ok(taken),
                ReplyState::Socks4(reply) => reply.take(*byte)?,
                ReplyState::Socks5(reply) => reply.take(*byte)?,
            };
            match received {
                Received::More => {}
                Received::Open => self.reply = ReplyState::Open,
                Received::Send(bytes) => self.output = bytes,
            }
        }
        Ok(bytes.len())
    }
}
