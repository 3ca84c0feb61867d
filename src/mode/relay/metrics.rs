//! The metrics of the relay: a page in Prometheus's text format, served at a port of its own.

use std::{
    fmt::Write as _,
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    endpoint::{Endpoint, Stream},
    event::{Event, Reactor, Slots, Token},
    net::{Address, Listener, SocketConfig},
    proto::{
        http::{Request, Status, response},
        relay::Router,
    },
    report::Report,
    session::{Lingering, accept::Acceptor},
};

/// The listener for metrics, and the connections to it.
pub struct Metrics {
    acceptor: Acceptor,
    connections: Slots<MetricsConnection>,
}

/// A connection that asks for metrics.
struct MetricsConnection {
    stream: Stream,
    state: MetricsState,
    deadline: Instant,
}

enum MetricsState {
    /// The request is incomplete.
    Receiving(Request),
    /// The rest of the response.
    Sending(Vec<u8>),
    /// Closing with unread bytes would send RST, which could overtake the response (RFC 1122, section 4.2.2.13).
    Lingering(Lingering),
}

/// The result of a turn of a connection.
enum MetricsTurn {
    Blocked,
    /// It is over, or has failed.
    Over,
    /// The response is sent.
    Sent,
}

impl Metrics {
    /// Binds the port, and watches it.
    pub fn listen(at: SocketAddr, config: SocketConfig, reactor: &mut Reactor) -> Result<Self> {
        let listener = Listener::bind(config, &[Address::Inet(at)], true)?;
        let token = reactor.token();
        Ok(Self { acceptor: Acceptor::new(listener, reactor, token)?, connections: Slots::default() })
    }

    /// Returns the local addresses, ports included.
    pub fn addresses(&self) -> Vec<Address> {
        self.acceptor.addresses()
    }

    /// Accepts a connection or advances one, if the event is for either. Returns whether it was.
    pub fn advance(
        &mut self,
        event: Event,
        reactor: &mut Reactor,
        router: &Router,
        now: Instant,
        report: &Report,
    ) -> bool {
        let (Event::Ready(token) | Event::Due(token) | Event::Hangup(token)) = event else { return false };
        if token == self.acceptor.token() {
            self.accept(reactor, router, now, report);
            return true;
        }
        self.serve(token, reactor, router, now)
    }

    /// Accepts waiting connections, while there are not too many.
    fn accept(&mut self, reactor: &mut Reactor, router: &Router, now: Instant, report: &Report) {
        while self.connections.len() < MAX_CONNECTIONS {
            let Some(accepted) = self.acceptor.accept_stream(reactor, now, report) else { return };
            let mut socket = accepted.socket;
            let token = reactor.token();
            if reactor.watch(token, &mut socket).is_err() {
                continue;
            }

            let deadline = now + REQUEST_TIMEOUT;
            reactor.wake_at(token, Some(deadline));
            let (stream, state) = (Stream::new(socket), MetricsState::Receiving(Request::default()));
            self.connections.insert(token, MetricsConnection { stream, state, deadline });
            self.serve(token, reactor, router, now);
        }
    }

    fn serve(&mut self, token: Token, reactor: &mut Reactor, router: &Router, now: Instant) -> bool {
        let Some(connection) = self.connections.get_mut(token) else { return false };

        let is_over = match connection.advance(router, reactor, token, now) {
            MetricsTurn::Blocked => now >= connection.deadline,
            MetricsTurn::Over => true,
            MetricsTurn::Sent => match Lingering::begin(&mut connection.stream, reactor, token, now) {
                Some(lingering) => {
                    connection.deadline = lingering.deadline();
                    connection.state = MetricsState::Lingering(lingering);
                    // No event tells of bytes that have arrived already.
                    reactor.again(token);
                    false
                }
                None => true,
            },
        };
        reactor.wake_at(token, Some(connection.deadline));
        if is_over {
            self.connections.remove(token);
            reactor.wake_at(token, None);
            // Another connection may be waiting in the backlog.
            self.acceptor.resume(reactor);
        }
        true
    }
}

impl MetricsConnection {
    /// Reads the request and writes the response, as long as nothing blocks.
    fn advance(&mut self, router: &Router, reactor: &mut Reactor, token: Token, now: Instant) -> MetricsTurn {
        loop {
            match &mut self.state {
                MetricsState::Receiving(request) => {
                    let mut bytes = [0; 1024];
                    let n = match self.stream.read(&mut bytes) {
                        Ok(n @ 1..) => n,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            return MetricsTurn::Blocked;
                        }
                        Ok(_) | Err(_) => return MetricsTurn::Over,
                    };
                    match request.receive(&bytes[..n]) {
                        Ok(true) => self.state = MetricsState::Sending(answer(request, router)),
                        Ok(false) => {}
                        Err(_) => return MetricsTurn::Over,
                    }
                }
                MetricsState::Sending(response) if response.is_empty() => return MetricsTurn::Sent,
                MetricsState::Sending(response) => match self.stream.write(response) {
                    Ok(n) => drop(response.drain(..n)),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return MetricsTurn::Blocked,
                    Err(_) => return MetricsTurn::Over,
                },
                MetricsState::Lingering(lingering) => {
                    return match lingering.advance(&mut self.stream, reactor, token, now) {
                        true => MetricsTurn::Over,
                        false => MetricsTurn::Blocked,
                    };
                }
            }
        }
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
