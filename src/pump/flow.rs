//! One direction: from a source to a sink, piece by piece, to the end of file.

mod direct;
mod receive;
mod send;

use std::{io, time::Instant};

use super::{FlowConfig, buffer::Buffer, crlf::Crlf, route::Route};
use crate::{endpoint::Endpoint, sys, tap::Taps};

/// How far a direction is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// The sink was closed by its reader: bytes are read and dropped, so that the source is not held up.
    Discarding,
    /// The source has ended, the rest is on its way.
    Draining,
    Finished,
    Open,
}

/// The error that has ended a direction.
#[derive(Debug)]
pub enum Fault {
    /// The sink refused.
    Sink(io::Error),
    /// The source failed.
    Source(io::Error),
    /// A tap could not write what it had heard (`-o`).
    Tap(io::Error),
}

/// How a source came to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum EofKind {
    /// It was broken off, by us or by a failure: an end mark would not be true.
    Stopped,
    /// By itself.
    Whole,
}

/// The end that keeps a direction from going on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum BlockedOn {
    /// The kernel, which moves the bytes, does not say.
    Either,
    Sink,
    Source,
}

/// The result of one step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// Nothing can move before something changes, or before then.
    Blocked(Option<Instant>),
    Finished,
    /// So many bytes have moved, or something else has changed.
    Moved(usize),
}

impl Step {
    /// Returns when a blocked flow may go on by itself.
    pub(super) fn until(self) -> Option<Instant> {
        match self {
            Self::Blocked(until) => until,
            Self::Finished | Self::Moved(_) => None,
        }
    }
}

/// One direction of a session.
#[derive(Debug)]
pub struct Flow {
    config: FlowConfig,
    phase: Phase,
    /// `None` while the source goes on.
    eof: Option<EofKind>,
    fault: Option<Fault>,
    sink_closed: bool,
    /// Chosen at the first read.
    route: Option<Route>,
    buffer: Buffer,
    /// Bytes at the front of the buffer that are being sent; with `crlf`, at the end of the piece there.
    piece: usize,
    crlf: Option<Crlf>,
    /// The piece before goes by itself, and a layer may still hold a part of it.
    unflushed: bool,
    moved: u64,
    /// Bytes of the source in all pieces that were converted.
    converted: u64,
    reads: u64,
    pieces: u64,
    last: Instant,
}

/// The state, as the session asks for it.
impl Flow {
    /// Makes a direction that has not begun.
    pub fn new(config: FlowConfig, now: Instant) -> Self {
        // A datagram is read whole to be sent whole.
        let buffer = match config.source_datagram.or(config.sink_datagram) {
            Some(largest) => Buffer::for_datagrams(largest),
            None => Buffer::new(),
        };

        let crlf = config.crlf.then(Crlf::default);
        Self {
            config,
            phase: Phase::Open,
            eof: None,
            fault: None,
            sink_closed: false,
            route: None,
            buffer,
            piece: 0,
            crlf,
            unflushed: false,
            moved: 0,
            converted: 0,
            reads: 0,
            pieces: 0,
            last: now,
        }
    }

    /// Returns how far it is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Returns the error that has ended it: it is finished then.
    pub fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// Returns whether the sink failed while the source still went on.
    pub fn sink_failed_early(&self) -> bool {
        matches!(self.fault, Some(Fault::Sink(_))) && self.eof.is_none()
    }

    /// Returns whether the reader of the sink has closed it, which is no fault.
    pub fn sink_closed(&self) -> bool {
        self.sink_closed
    }

    /// Returns whether the sink was told of the end of file.
    pub fn has_passed_eof(&self) -> bool {
        self.phase == Phase::Finished && self.fault.is_none() && self.config.pass_eof
    }

    /// Returns whether it is the sink that takes no more for now.
    pub fn is_blocked_by_sink(&self, to: &dyn Endpoint) -> bool {
        // splice(2) and sendfile(2) report EAGAIN for either end: only poll(2) tells which.
        match self.blocked_on() {
            BlockedOn::Either => to.sink().is_some_and(|sink| !sys::is_writable(sink)),
            BlockedOn::Sink => true,
            BlockedOn::Source => to.held() > 0,
        }
    }

    /// Derives the end that a blocked flow waits for: the sink, if there is something that it did not take.
    fn blocked_on(&self) -> BlockedOn {
        match &self.route {
            _ if self.piece > 0 || self.held() > 0 || self.phase == Phase::Draining => BlockedOn::Sink,
            Some(route) if route.is_direct() => BlockedOn::Either,
            _ => BlockedOn::Source,
        }
    }

    /// Returns how many bytes the sink has taken.
    pub fn moved(&self) -> u64 {
        self.moved
    }

    /// Returns how many bytes of the source the sink has taken. A piece that is converted counts from its start: a part of
    /// it does not tell which of its bytes are the source's.
    pub fn content(&self) -> u64 {
        if self.crlf.is_some() { self.converted } else { self.moved }
    }

    /// Returns how many reads brought something: for datagrams, how many were received.
    pub fn reads(&self) -> u64 {
        self.reads
    }

    /// Returns how many pieces the sink has taken: for datagrams, how many were sent.
    pub fn pieces(&self) -> u64 {
        self.pieces
    }

    /// Returns how many bytes were read, and not taken by the sink.
    pub fn pending(&self) -> u64 {
        let converted = self.crlf.as_ref().map_or(0, |_| self.piece);
        (self.buffer.bytes().len() + converted + self.held()) as u64
    }

    /// Returns when something last moved, or our own pace allowed it; at first, when the flow was made.
    pub fn last(&self) -> Instant {
        self.last
    }

    /// Returns how many bytes were read into a pipe of the kernel's.
    fn held(&self) -> usize {
        self.route.as_ref().map_or(0, Route::held)
    }
}

/// The end, as the session asks for it.
impl Flow {
    /// Reads no more, and only sends what was read. `pass_eof` says whether the sink is to see an end of file then.
    pub fn stop(&mut self, pass_eof: bool) {
        if self.phase == Phase::Open {
            // The sink must not take what it has for the whole.
            self.end_source(EofKind::Stopped);
            self.config.pass_eof &= pass_eof;
        }
    }

    /// Ends the flow with an error.
    pub fn fail(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
        self.phase = Phase::Finished;
    }

    /// Looks for an error of the sink that no write has met.
    pub fn check(&mut self, to: &mut dyn Endpoint) {
        // A hang-up of the peer matters only to a direction that still writes, or whose bytes are still on their way.
        match (self.phase, &self.fault) {
            (Phase::Open | Phase::Draining, _) => {
                if let Some(error) = to.broken() {
                    self.refuse(error);
                }
            }
            // All was sent, but not all may have arrived.
            (Phase::Finished, None) => {
                let broken = to.broken().filter(|error| error.kind() != io::ErrorKind::BrokenPipe);
                self.fault = broken.filter(|error| !self.is_sink_closed(error)).map(Fault::Sink);
            }
            (Phase::Discarding | Phase::Finished, _) => {}
        }
    }
}

/// The motion.
impl Flow {
    /// Steps until it would block, or has moved its share.
    pub(super) fn run(
        &mut self,
        from: &mut dyn Endpoint,
        to: &mut dyn Endpoint,
        taps: &mut Taps,
        now: Instant,
        share: usize,
    ) -> Step {
        // A share, so that one busy direction holds up neither the other nor other sessions.
        let mut moved = 0;
        loop {
            match self.step(from, to, taps, now) {
                Step::Moved(n) if moved + n < share => moved += n,
                step => return step,
            }
        }
    }

    /// Moves one buffer's worth. Each block derives from the state whether it applies; the first that does is the step.
    fn step(
        &mut self,
        from: &mut dyn Endpoint,
        to: &mut dyn Endpoint,
        taps: &mut Taps,
        now: Instant,
    ) -> Step {
        // Drop: the sink's reader has gone, and the source must not be held up.
        match self.phase {
            Phase::Finished => return self.send_answers(to, now),
            Phase::Discarding => return self.discard(from, now),
            Phase::Draining | Phase::Open => {}
        }

        // Flush to the sink what was read.
        let is_last = self.phase == Phase::Draining && !self.has_leftover(from);
        let sent = if self.held() > 0 { self.drain(to, now) } else { self.send(to, taps, is_last, now) };
        if let Some(step) = sent {
            return step;
        }

        // Fill from the source.
        if !is_last {
            return self.receive(from, to, now);
        }

        // Pass the end on.
        self.close(to, taps, now)
    }

    /// Returns whether a source that was stopped has still bytes that it has read: they are moved too.
    fn has_leftover(&self, from: &dyn Endpoint) -> bool {
        self.phase == Phase::Draining
            && self.eof == Some(EofKind::Stopped)
            && self.fault.is_none()
            && from.unread() > 0
    }
}

/// The transitions.
impl Flow {
    fn end_source(&mut self, eof: EofKind) {
        self.eof = Some(eof);
        self.phase = Phase::Draining;
    }

    /// Returns whether an error says that the reader has closed the sink. A reader of a UNIX socket that leaves bytes
    /// unread resets it (unix(7)).
    fn is_sink_closed(&self, error: &io::Error) -> bool {
        let closed = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
        self.config.sink_close_ok && closed.contains(&error.kind())
    }

    /// The sink takes no more.
    fn refuse(&mut self, error: io::Error) {
        if !self.is_sink_closed(&error) {
            return self.fail(Fault::Sink(error));
        }
        self.sink_closed = true;
        self.buffer.clear();
        self.piece = 0;
        // Dropping is a matter of our buffer: the kernel's routes need a sink.
        self.route = Some(Route::Copy);
        self.phase = match self.phase {
            Phase::Open => Phase::Discarding,
            _ => Phase::Finished,
        };
    }
}
