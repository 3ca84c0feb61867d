//! A client's connection to the TCP server: one request, one answer.

use std::{
    io::{self, Read, Write},
    net::Shutdown,
    time::{Duration, Instant},
};

use crate::{
    net::Address,
    proto::practice::{Answer, Collector, MAX_REQUEST, Next, Request, Style},
    report::Report,
    sys::Descriptor,
};

/// The connection.
#[derive(Debug)]
pub struct EchoConn {
    socket: Descriptor,
    peer: Address,
    state: ConnState,
}

#[derive(Debug)]
enum ConnState {
    /// The answer, and the time of the last progress.
    Answering(Answer, Instant),
    /// The request, and the time until which it must be complete.
    Collecting(Collector, Instant),
    /// The FIN was sent; the peer's is waited for until this time. Closing a socket with unread data would send RST,
    /// which can overtake the answer (RFC 1122, section 4.2.2.13).
    Lingering(Instant),
}

impl EchoConn {
    /// Takes a connected socket.
    pub fn new(socket: Descriptor, peer: Address, now: Instant) -> Self {
        Self { socket, peer, state: ConnState::Collecting(Collector::default(), now + IDLE_TIMEOUT) }
    }

    /// Reads and writes until it would block. Returns the time to continue at; `None` if the connection is over.
    pub fn advance(&mut self, style: Style, report: &Report, now: Instant) -> Option<Instant> {
        loop {
            match &mut self.state {
                ConnState::Collecting(collector, until) => {
                    let request = match collect(&mut self.socket, collector, now)? {
                        Some(request) => request,
                        None if now >= *until => return None,
                        None => return collector.deadline().or(Some(*until)),
                    };
                    log_request(report, &self.peer, "tcp", &request);
                    self.state = ConnState::Answering(Answer::new(request, style, now), now);
                }
                ConnState::Answering(answer, moved) => match answer.next(now) {
                    Next::Done => {
                        // Fails if the peer has reset the connection; reading tells the same.
                        let _ = self.socket.socket().shutdown(Shutdown::Write);
                        self.state = ConnState::Lingering(now + LINGER_TIMEOUT);
                    }
                    Next::Send(bytes) => match self.socket.write(bytes) {
                        Ok(n) => {
                            answer.sent(n, now);
                            *moved = now;
                        }
                        Err(error)
                            if error.kind() == io::ErrorKind::WouldBlock && now < *moved + IDLE_TIMEOUT =>
                        {
                            return Some(*moved + IDLE_TIMEOUT);
                        }
                        Err(_) => return None,
                    },
                    Next::Wait(until) => return Some(until),
                },
                ConnState::Lingering(until) => {
                    let until = *until;
                    return drain(&mut self.socket, until, now);
                }
            }
        }
    }
}

/// Reads until there is a request, or until it would block: `Some(None)`. `None` is the end of the connection.
fn collect(socket: &mut Descriptor, collector: &mut Collector, now: Instant) -> Option<Option<Request>> {
    let mut bytes = [0; MAX_REQUEST];
    loop {
        let request = match socket.read(&mut bytes) {
            Ok(0) => return collector.ended().map(Some),
            Ok(n) => collector.receive(&bytes[..n], now),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Some(collector.tick(now)),
            Err(_) => return None,
        };
        if request.is_some() {
            return Some(request);
        }
    }
}

/// Reads and drops data until the peer's FIN, a reset, or `until`. Returns the time to continue at.
pub fn drain(socket: &mut Descriptor, until: Instant, now: Instant) -> Option<Instant> {
    let mut bytes = [0; 4096];
    for _ in 0..READS_PER_TURN {
        match socket.read(&mut bytes) {
            Ok(1..) if now < until => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && now < until => return Some(until),
            _ => return None,
        }
    }
    Some(now)
}

/// Prints a request with `-v`.
pub fn log_request(report: &Report, peer: &Address, transport: &str, request: &Request) {
    if report.verbose == 0 {
        return;
    }
    let text = match request {
        Request::File(size) => format!("{size} bytes"),
        Request::Refused(text) => format!("refused: {text}"),
        Request::Stream(stream) => {
            let ms = stream.interval.as_secs_f64() * 1000.0;
            format!("{} packets of {} bytes, one every {ms} ms", stream.count, stream.packet.len())
        }
        Request::Text(text) => format!("'{}'", String::from_utf8_lossy(text)),
    };
    report.verbose(format!("{peer} {transport}: {text}"));
}

/// Time for a complete request, and time without progress of an answer.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// Reads of dropped data before others have their turn.
const READS_PER_TURN: usize = 16;

/// Time for the peer's FIN after ours.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
