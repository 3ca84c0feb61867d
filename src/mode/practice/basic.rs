//! A client of the practice server over TCP: one request, one answer.

use std::{
    io::{self, Read, Write},
    net::Shutdown,
    time::{Duration, Instant},
};

use crate::{
    net::Address,
    proto::practice::{Answer, Collector, LONGEST_REQUEST, Next, Request, Style},
    report::Report,
    sys::Descriptor,
};

/// The client.
#[derive(Debug)]
pub struct Basic {
    socket: Descriptor,
    peer: Address,
    state: State,
}

#[derive(Debug)]
enum State {
    /// And when something last moved.
    Answering(Answer, Instant),
    Collecting(Collector, Instant),
    /// All was said; what it still sends must not turn our end of file into a reset.
    Leaving(Instant),
}

/// When to go on with a client; or that there is nothing left to do.
pub type Until = Result<Option<Instant>, ()>;

impl Basic {
    /// Somebody who has connected.
    pub fn new(socket: Descriptor, peer: Address, now: Instant) -> Self {
        Self { socket, peer, state: State::Collecting(Collector::default(), now + PATIENCE) }
    }

    /// Goes on as far as it can.
    pub fn advance(&mut self, style: Style, report: &Report, now: Instant) -> Until {
        loop {
            match &mut self.state {
                State::Collecting(collector, until) => {
                    let mut bytes = [0; LONGEST_REQUEST];
                    let request = match self.socket.read(&mut bytes) {
                        Ok(0) => Some(collector.ended().ok_or(())?),
                        Ok(n) => collector.receive(&bytes[..n], now),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            match collector.tick(now) {
                                None if now >= *until => return Err(()),
                                None => return Ok(Some(collector.deadline().unwrap_or(*until))),
                                request => request,
                            }
                        }
                        Err(_) => return Err(()),
                    };
                    if let Some(request) = request {
                        tell(report, &self.peer, "tcp", &request);
                        self.state = State::Answering(Answer::new(request, style, now), now);
                    }
                }
                State::Answering(answer, moved) => match answer.next(now) {
                    Next::Done => {
                        // Who is gone already needs no end of file.
                        let _ = self.socket.socket().shutdown(Shutdown::Write);
                        self.state = State::Leaving(now + LINGER);
                    }
                    Next::Send(bytes) => match self.socket.write(bytes) {
                        Ok(n) => {
                            answer.sent(n, now);
                            *moved = now;
                        }
                        Err(error)
                            if error.kind() == io::ErrorKind::WouldBlock && now < *moved + PATIENCE =>
                        {
                            return Ok(Some(*moved + PATIENCE));
                        }
                        Err(_) => return Err(()),
                    },
                    Next::Wait(until) => return Ok(Some(until)),
                },
                State::Leaving(until) => {
                    let mut bytes = [0; 4096];
                    return match self.socket.read(&mut bytes) {
                        Ok(1..) if now < *until => continue,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock && now < *until => {
                            Ok(Some(*until))
                        }
                        _ => Err(()),
                    };
                }
            }
        }
    }
}

/// Says what was asked for.
pub fn tell(report: &Report, peer: &Address, transport: &str, request: &Request) {
    if report.verbose == 0 {
        return;
    }
    let what = match request {
        Request::File(size) => format!("{size} bytes"),
        Request::Refused(text) => format!("refused: {text}"),
        Request::Stream(stream) => {
            let ms = stream.interval.as_secs_f64() * 1000.0;
            format!("{} packets of {} bytes, one every {ms} ms", stream.count, stream.packet.len())
        }
        Request::Text(text) => format!("'{}'", String::from_utf8_lossy(text)),
    };
    report.verbose(format!("{peer} {transport}: {what}"));
}

/// How long somebody may say nothing, or read nothing.
const PATIENCE: Duration = Duration::from_secs(300);

/// How long somebody may take to leave.
const LINGER: Duration = Duration::from_secs(2);
