//! The metrics of the relay: a page in Prometheus's text format, served at a port of its own.

use std::{
    fmt::Write as _,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    event::{Event, Reactor, Slots, Token},
    net::{Address, Denied, SocketConfig, StreamListener},
    proto::{
        http::{Request, Status, response},
        relay::Router,
    },
    sys::Descriptor,
};

/// The listener for metrics, and the connections to it.
pub struct Metrics {
    token: Token,
    listener: StreamListener,
    connections: Slots<MetricsConnection>,
}

/// A connection that asks for metrics.
struct MetricsConnection {
    socket: Descriptor,
    request: Request,
    /// The rest of the response; empty until the request is complete.
    response: Vec<u8>,
    deadline: Instant,
}

impl Metrics {
    /// Binds the port, and watches it.
    pub fn listen(at: SocketAddr, config: SocketConfig, reactor: &mut Reactor) -> Result<Self> {
        let token = reactor.token();
        let mut listener = StreamListener::bind(config, &[Address::Inet(at)])?;
        for socket in listener.sockets() {
            reactor.watch(token, socket)?;
        }
        Ok(Self { token, listener, connections: Slots::default() })
    }

    /// Returns the local addresses, ports included.
    pub fn addresses(&self) -> Vec<Address> {
        self.listener.addresses()
    }

    /// Accepts waiting connections, while there are not too many.
    fn accept(&mut self, reactor: &mut Reactor, router: &Router, now: Instant) {
        for _ in 0..MAX_CONNECTIONS {
            if self.connections.len() >= MAX_CONNECTIONS {
                return;
            }
            let mut socket = match self.listener.accept() {
                Ok(Some(Ok(accepted))) => accepted.socket,
                Ok(Some(Err(Denied(_)))) => continue,
                Ok(None) => return,
                Err(_) => return reactor.wake_at(self.token, Some(now + ACCEPT_BACKOFF)),
            };

            let token = reactor.token();
            if reactor.watch(token, &mut socket).is_ok() {
                let deadline = now + REQUEST_TIMEOUT;
                reactor.wake_at(token, Some(deadline));
                let (request, response) = (Request::default(), Vec::new());
                self.connections.insert(token, MetricsConnection { socket, request, response, deadline });
                self.serve(token, reactor, router, now);
            }
        }
        reactor.again(self.token);
    }

    /// Accepts a connection or advances one, if the event is for either. Returns whether it was.
    pub fn advance(&mut self, event: Event, reactor: &mut Reactor, router: &Router, now: Instant) -> bool {
        let (Event::Ready(token) | Event::Due(token) | Event::Hangup(token)) = event else { return false };
        if token == self.token {
            self.accept(reactor, router, now);
            return true;
        }
        self.serve(token, reactor, router, now)
    }

    fn serve(&mut self, token: Token, reactor: &mut Reactor, router: &Router, now: Instant) -> bool {
        let Some(connection) = self.connections.get_mut(token) else { return false };

        if connection.is_done(router) || now >= connection.deadline {
            self.connections.remove(token);
            reactor.wake_at(token, None);
            // Another connection may be waiting in the backlog.
            reactor.again(self.token);
        }
        true
    }
}

impl MetricsConnection {
    /// Reads the request and writes the response; returns whether the connection is over.
    fn is_done(&mut self, router: &Router) -> bool {
        let mut bytes = [0; 1024];
        while self.response.is_empty() {
            let n = match self.socket.read(&mut bytes) {
                Ok(0) => return true,
                Ok(n) => n,
                Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
            };
            match self.request.receive(&bytes[..n]) {
                Ok(true) => self.response = answer(&self.request, router),
                Ok(false) => {}
                Err(_) => return true,
            }
        }

        while !self.response.is_empty() {
            match self.socket.write(&self.response) {
                Ok(n) => drop(self.response.drain(..n)),
                Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
            }
        }
        // Closing with unread bytes sends RST, which could overtake the response; FIN goes first.
        let _ = self.socket.socket().shutdown(Shutdown::Write);
        true
    }
}

fn answer(request: &Request, router: &Router) -> Vec<u8> {
    let (status, body) = match request.target() {
        Some(b"/metrics" | b"/") => (Status::Ok, page(router)),
        Some(_) => (Status::NotFound, "the figures are at /metrics\n".to_owned()),
        None => (Status::MethodNotAllowed, "only GET\n".to_owned()),
    };
    response(status, CONTENT_TYPE, &body)
}

/// Formats all metrics (Prometheus's text-based exposition format).
fn page(router: &Router) -> String {
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

/// The type of Prometheus's text format.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4";

/// Connections at once.
const MAX_CONNECTIONS: usize = 16;

/// The time from accepting a connection to its last byte.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause in accepting when descriptors run out.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
