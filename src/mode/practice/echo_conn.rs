//! A client's connection to the TCP server: one request, one answer.

use std::{
    io,
    time::{Duration, Instant},
};

use super::conn::ConnStatus;
use crate::{
    endpoint::{Endpoint, Stream},
    net::Address,
    proto::practice::{Answer, Collector, MAX_REQUEST, Next, Request, Style},
    report::Report,
};

/// The connection.
#[derive(Debug)]
pub struct EchoConn {
    stream: Stream,
    peer: Address,
    state: ConnState,
}

#[derive(Debug)]
enum ConnState {
    /// The answer, and the time of the last progress.
    Answering(Answer, Instant),
    /// The request, and the time until which it must be complete.
    Collecting(Collector, Instant),
}

impl EchoConn {
    /// Takes a new connection.
    pub fn new(stream: Stream, peer: Address, now: Instant) -> Self {
        Self { stream, peer, state: ConnState::Collecting(Collector::default(), now + IDLE_TIMEOUT) }
    }

    /// Returns the connection, for its end.
    pub fn into_stream(self) -> Stream {
        self.stream
    }

    /// Reads and writes until it would block.
    pub fn advance(&mut self, style: Style, report: &Report, now: Instant) -> ConnStatus {
        loop {
            match &mut self.state {
                ConnState::Collecting(collector, until) => {
                    let request = match collect(&mut self.stream, collector, now) {
                        Some(Some(request)) => request,
                        Some(None) if now < *until => {
                            return ConnStatus::Open(collector.deadline().unwrap_or(*until));
                        }
                        Some(None) | None => return ConnStatus::Closed,
                    };

                    log_request(report, &self.peer, "tcp", &request);
                    self.state = ConnState::Answering(Answer::new(request, style, now), now);
                }
                ConnState::Answering(answer, moved) => match answer.next(now) {
                    Next::Done => return ConnStatus::Finished,
                    Next::Send(bytes) => match self.stream.write(bytes) {
                        Ok(n) => {
                            answer.sent(n, now);
                            *moved = now;
                        }
                        // Counted from the last byte that the client has accepted: a stream may take hours.
                        Err(error)
                            if error.kind() == io::ErrorKind::WouldBlock && now < *moved + IDLE_TIMEOUT =>
                        {
                            return ConnStatus::Open(*moved + IDLE_TIMEOUT);
                        }
                        Err(_) => return ConnStatus::Closed,
                    },
                    Next::Wait(until) => return ConnStatus::Open(until),
                },
            }
        }
    }
}

/// Reads until there is a request, or until it would block: `Some(None)`. `None` is the end of the connection.
fn collect(stream: &mut Stream, collector: &mut Collector, now: Instant) -> Option<Option<Request>> {
    let mut bytes = [0; MAX_REQUEST];
    loop {
        let request = match stream.read(&mut bytes) {
            // A half-close ends a request as a line end does.
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
