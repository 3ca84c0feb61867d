//! The relay's stats, for Prometheus: its text format, over as much HTTP as that needs (RFC 9112).

use std::{
    fmt::Write as _,
    io::{Read, Write},
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    event::{Event, Reactor, Slots, Token},
    net::{Address, Denied, SocketConfig, StreamListener},
    proto::relay::Router,
    sys::Descriptor,
};

/// The port of its own, and who asks there.
pub struct Metrics {
    token: Token,
    listener: StreamListener,
    visitors: Slots<Visitor>,
}

struct Visitor {
    socket: Descriptor,
    asked: Vec<u8>,
    answer: Vec<u8>,
    until: Instant,
}

impl Metrics {
    /// Listens under `token`.
    pub fn listen(
        at: SocketAddr,
        socket_config: SocketConfig,
        reactor: &Reactor,
        token: Token,
    ) -> Result<Self> {
        let mut listener = StreamListener::bind(socket_config, &[Address::Inet(at)])?;
        for socket in listener.sockets() {
            reactor.watch(token, socket)?;
        }
        Ok(Self { token, listener, visitors: Slots::default() })
    }

    /// Where it listens.
    pub fn addresses(&self) -> Vec<Address> {
        self.listener.addresses()
    }

    /// Lets in who asks, but not many at once.
    pub fn accept(&mut self, reactor: &mut Reactor, router: &Router, now: Instant) {
        for _ in 0..MOST {
            if self.visitors.len() >= MOST {
                return;
            }
            let mut socket = match self.listener.accept() {
                Ok(Some(Ok(accepted))) => accepted.socket,
                Ok(Some(Err(Denied(_)))) => continue,
                Ok(None) => return,
                Err(_) => return reactor.wake_at(self.token, Some(now + PAUSE)),
            };
            let token = reactor.token();
            if reactor.watch(token, &mut socket).is_ok() {
                let until = now + PATIENCE;
                reactor.wake_at(token, Some(until));
                self.visitors.insert(token, Visitor { socket, asked: Vec::new(), answer: Vec::new(), until });
                self.advance(Event::Ready(token), reactor, router, now);
            }
        }
        reactor.again(self.token);
    }

    /// Goes on with whom an event is about. Tells whether that was one of its own.
    pub fn advance(&mut self, event: Event, reactor: &mut Reactor, router: &Router, now: Instant) -> bool {
        let (Event::Ready(token) | Event::Due(token) | Event::Hangup(token)) = event else { return false };
        let Some(visitor) = self.visitors.get_mut(token) else { return false };
        if visitor.is_done(router) || now >= visitor.until {
            self.visitors.remove(token);
            reactor.wake_at(token, None);
            // Somebody may be waiting for the place.
            reactor.again(self.token);
        }
        true
    }
}

impl Visitor {
    fn is_done(&mut self, router: &Router) -> bool {
        let mut bytes = [0; 1024];
        while self.answer.is_empty() {
            match self.socket.read(&mut bytes) {
                Ok(n) if n > 0 && self.asked.len() < LONGEST => self.asked.extend_from_slice(&bytes[..n]),
                Ok(_) => return true,
                Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
            }
            if self.asked.windows(4).any(|end| end == b"\r\n\r\n") {
                self.answer = answer(&self.asked, router);
            }
        }
        while !self.answer.is_empty() {
            match self.socket.write(&self.answer) {
                Ok(n) => drop(self.answer.drain(..n)),
                Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
            }
        }
        // An end of file first: what was asked and not read must not make it a reset.
        let _ = self.socket.socket().shutdown(std::net::Shutdown::Write);
        true
    }
}

fn answer(asked: &[u8], router: &Router) -> Vec<u8> {
    let (status, body) = match asked {
        [b'G', b'E', b'T', b' ', path @ ..] if path.starts_with(b"/metrics ") || path.starts_with(b"/ ") => {
            ("200 OK", text(router))
        }
        [b'G', b'E', b'T', b' ', ..] => ("404 Not Found", "the figures are at /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", "only GET\n".to_owned()),
    };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// All stats in Prometheus's text format.
fn text(router: &Router) -> String {
    let stats = router.stats();
    let rows = [
        ("clients", "gauge", "Clients that are connected.", router.clients() as u64),
        ("names", "gauge", "Names that are registered.", router.names() as u64),
        ("buffered_bytes", "gauge", "Bytes that are on their way.", router.used() as u64),
        ("admitted_total", "counter", "Clients that were let in.", stats.admitted),
        ("refused_total", "counter", "Clients that were not let in.", stats.refused),
        ("registered_total", "counter", "Registrations.", stats.registered),
        ("messages_total", "counter", "Messages that were delivered whole.", stats.messages),
        ("bytes_total", "counter", "Bytes of payload that were delivered.", stats.bytes),
        ("unknown_total", "counter", "Messages to nobody.", stats.unknown),
        ("discarded_bytes_total", "counter", "Bytes of payload to nobody.", stats.discarded),
        ("truncated_total", "counter", "Messages of which the receiver has a part.", stats.truncated),
        ("evicted_total", "counter", "Clients that were disconnected.", stats.evicted),
    ];
    let mut text = String::new();
    for (name, kind, help, value) in rows {
        let _ = write!(
            text,
            "# HELP remote_relay_{name} {help}\n# TYPE remote_relay_{name} {kind}\nremote_relay_{name} {value}\n"
        );
    }
    text
}

/// Visitors at once.
const MOST: usize = 16;

/// How long a visitor may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long accepting pauses when there are no descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// Bytes of a request at most.
const LONGEST: usize = 8192;
