//! One direction: from a source to a sink, piece by piece, to the end of file and a little beyond.

mod answers;
mod packed;

use std::{
    io,
    time::{Duration, Instant},
};

use super::{Cut, Shape, buffer::Buffer, route::Route};
use crate::{
    endpoint::Endpoint,
    stage::Stages,
    sys::{self, Raw},
};

/// How far a direction is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// Nobody reads the sink any more: what comes is dropped, so that the source is not held up.
    Discarding,
    /// The source has ended, the rest is on its way.
    Draining,
    Finished,
    Open,
}

/// What went wrong in a direction.
#[derive(Debug)]
pub enum Fault {
    /// The sink refused.
    Sink(io::Error),
    /// The source failed.
    Source(io::Error),
    /// What a stage writes (`-o`) could not be written.
    Stage(io::Error),
}

/// Who held a direction up when it last could not go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Waits {
    /// The kernel, which moves the bytes, does not say.
    Either,
    Sink,
    Source,
}

/// Why a direction drains.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Tail {
    /// It was broken off: whatever says that all is there would not be true.
    Cut,
    /// The source has come to its own end.
    Whole,
}

/// What one step did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    Blocked(Option<Instant>),
    Finished,
    Moved(usize),
}

impl Step {
    /// When a blocked flow may go on by itself.
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
    shape: Shape,
    /// Whether there is more to say than answers.
    has_source: bool,
    state: State,
    fault: Option<Fault>,
    waits: Waits,
    /// The sink refused before the source had come to its end.
    cut_off: bool,
    /// The reader of the sink has left, which is no fault.
    reader_left: bool,
    /// The sink has been told that nothing more will come.
    passed_end: bool,
    /// What the filters do at the end.
    tail: Tail,
    /// Chosen at the first read.
    route: Option<Route>,
    /// As it came over the wire, where it has to be decoded.
    packed: Buffer,
    /// As read.
    buffer: Buffer,
    /// The piece that is being sent, where a filter has changed it.
    filtered: Vec<u8>,
    /// Bytes of the piece that are still to be sent.
    piece: usize,
    /// What the other direction has to answer; it goes between two pieces.
    answers: Vec<u8>,
    /// The piece is an answer: nobody misses it.
    answering: bool,
    /// Bytes of answers at the end of all that the sink has taken.
    answered: u64,
    /// Bytes that the sink had taken, but could not pass on.
    returned: usize,
    moved: u64,
    /// Bytes of ours: on the near side of what encodes or decodes.
    content: u64,
    reads: u64,
    pieces: u64,
    last: Instant,
}

impl Flow {
    /// A direction that has not begun.
    pub fn new(shape: Shape, now: Instant) -> Self {
        // A datagram is read whole to be sent whole.
        let buffer = match shape.source_datagram.or(shape.sink_datagram) {
            Some(largest) => Buffer::for_datagrams(largest),
            None => Buffer::new(),
        };
        Self {
            shape,
            has_source: true,
            state: State::Open,
            fault: None,
            waits: Waits::Source,
            cut_off: false,
            reader_left: false,
            passed_end: false,
            tail: Tail::Cut,
            route: None,
            packed: Buffer::new(),
            buffer,
            filtered: Vec::new(),
            piece: 0,
            answers: Vec::new(),
            answering: false,
            answered: 0,
            returned: 0,
            moved: 0,
            content: 0,
            reads: 0,
            pieces: 0,
            last: now,
        }
    }

    /// How far it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// What went wrong, if something did: the flow is finished then.
    pub fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// Whether it is the sink that takes no more for now.
    pub fn is_held_up(&self, to: &dyn Endpoint) -> bool {
        match self.waits {
            Waits::Either => to.sink().is_some_and(|sink| !sys::is_writable(sink)),
            Waits::Sink => true,
            Waits::Source => to.held() > 0,
        }
    }

    /// Whether the reader of the sink has left.
    pub fn has_lost_its_reader(&self) -> bool {
        self.reader_left
    }

    /// Whether the sink refused while the source still went on.
    pub fn was_cut_off(&self) -> bool {
        self.cut_off
    }

    /// Whether the sink has been told that nothing more will come.
    pub fn has_passed_end(&self) -> bool {
        self.passed_end
    }

    /// Bytes that went over the wire: that the sink has taken, or that were decoded for it.
    pub fn moved(&self) -> u64 {
        self.moved
    }

    /// The same in bytes of ours: that left the source, or that the sink has taken.
    pub fn content(&self) -> u64 {
        self.content
    }

    /// Reads that brought something: for datagrams, how many came.
    pub fn reads(&self) -> u64 {
        self.reads
    }

    /// Pieces that the sink has taken: for datagrams, how many went.
    pub fn pieces(&self) -> u64 {
        self.pieces
    }

    /// Bytes that were read, and that the sink has not taken; answers do not count.
    pub fn pending(&self) -> u64 {
        let piece = if self.filtered.is_empty() || self.answering { 0 } else { self.piece };
        let filters = self.shape.stages.held();
        let kept = self.packed.bytes().len() + self.buffer.bytes().len() + filters + piece;
        u64::try_from(kept + self.held() + self.returned).unwrap_or(u64::MAX)
    }

    /// When something last moved, or our own pace let it; at first, when the flow was made.
    pub fn last(&self) -> Instant {
        self.last
    }

    /// The stages, for what they have found out.
    pub fn stages(&self) -> &Stages {
        &self.shape.stages
    }

    /// Reads no more, and only sends what was read. `pass_eof` says whether the end that the sink then
    /// sees is to look like the source's own.
    pub fn stop(&mut self, pass_eof: bool) {
        if self.state == State::Open {
            self.state = State::Draining;
            self.shape.pass_eof &= pass_eof;
        }
    }

    /// The session is over, and well, although the source has not ended: what has come of it was all, and the sink is
    /// told so as far as it can be at once.
    pub fn wind_up(&mut self, to: &mut dyn Endpoint, now: Instant) {
        if self.state != State::Open || self.pending() > 0 {
            return;
        }
        (self.state, self.tail) = (State::Draining, Tail::Whole);
        if let Ok(true) = self.flush() {
            self.send(to, now);
        }
        if self.piece == 0 {
            // The connection is closed in any case.
            let _ = to.finish();
        }
    }

    /// Gives up on the sink: nobody reads it any more.
    pub fn check(&mut self, to: &mut dyn Endpoint) {
        match (self.state, &self.fault) {
            (State::Open | State::Draining, _) => {
                if let Some(error) = to.broken() {
                    self.refuse(error, to);
                }
            }
            // All was sent, but not all may have arrived.
            (State::Finished, None) => {
                let broken = to.broken().filter(|error| error.kind() != io::ErrorKind::BrokenPipe);
                self.fault = broken.filter(|error| !self.has_left(error)).map(Fault::Sink);
            }
            (State::Discarding | State::Finished, _) => {}
        }
    }

    /// Steps until it would block, or has moved its share.
    pub(super) fn run(
        &mut self,
        from: &mut dyn Endpoint,
        to: &mut dyn Endpoint,
        now: Instant,
        share: usize,
    ) -> Step {
        self.waits = Waits::Source;
        let mut moved = 0;
        loop {
            match self.step(from, to, now) {
                Step::Moved(n) if moved + n < share && self.answers().is_none() => moved += n,
                step => return step,
            }
        }
    }

    /// Moves one buffer's worth: sends what it has, or else reads once.
    fn step(&mut self, from: &mut dyn Endpoint, to: &mut dyn Endpoint, now: Instant) -> Step {
        match self.state {
            State::Finished if self.fault.is_some() => return Step::Finished,
            // The source has ended, but the sink was not told so.
            State::Finished if self.answers.is_empty() && self.piece == 0 => return Step::Finished,
            State::Finished => return self.send(to, now),
            State::Discarding => return self.discard(from, now),
            State::Draining | State::Open => {}
        }
        let sent = if self.held() > 0 { self.drain(to, now) } else { self.send(to, now) };
        if sent != Step::Finished {
            return sent;
        }
        if let Some(step) = self.unpack() {
            return step;
        }
        match self.state {
            State::Open => self.receive(from, to, now),
            _ => self.close(to),
        }
    }

    /// Sends pieces until there is none; `Finished` says that nothing is left to send.
    fn send(&mut self, to: &mut dyn Endpoint, now: Instant) -> Step {
        let mut moved = 0;
        let step = loop {
            if self.piece == 0 && !self.answers.is_empty() {
                self.begin_answer();
            }
            if self.piece == 0 {
                // What cannot be decoded yet may be the rest of a line.
                let last = self.state == State::Draining && !self.has_packed();
                let Some(piece) = self.shape.cut.next(self.buffer.bytes(), last) else {
                    break Step::Finished;
                };
                if let Err(when) = self.shape.pace.start(now) {
                    break self.hold_back(when);
                }
                if let Err(error) = self.begin(piece) {
                    return self.fail_source(error);
                }
                if self.piece == 0 {
                    moved += piece;
                    continue;
                }
            }
            let most = match self.shape.pace.allow(now) {
                Ok(most) => most,
                Err(when) => break self.hold_back(when),
            };
            let most = match self.shape.sink_datagram {
                Some(largest) => self.join(most.min(largest)),
                None => most.min(self.piece),
            };
            match to.write(&ready(&self.filtered, &self.buffer, self.piece)[..most]) {
                // A sink that takes nothing and says nothing would be asked for ever.
                Ok(0) if most > 0 => {
                    self.refuse(io::ErrorKind::WriteZero.into(), to);
                    return Step::Moved(moved);
                }
                Ok(n) => {
                    moved += n;
                    if let Err(error) = self.sent(n, now) {
                        return self.fail(Fault::Stage(error));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break self.wait(Waits::Sink),
                Err(error) if self.shape.sink_datagram.is_some() && sys::is_exhausted(&error) => {
                    self.waits = Waits::Sink;
                    break Step::Blocked(Some(now + DEVICE_BUSY));
                }
                // Whoever has gone need not be answered; how he went, the other direction finds out.
                Err(_) if self.answering => self.drop_answer(),
                Err(error) => {
                    self.refuse(error, to);
                    return Step::Moved(moved);
                }
            }
        };
        if moved > 0 { Step::Moved(moved) } else { step }
    }

    /// Bytes up to `largest` that leave nothing behind when they go as many at once as may.
    fn whole_batches(&self, largest: usize) -> usize {
        let Some(size) = self.shape.segment() else { return largest };
        let batch = batch(size, largest);
        largest / batch * batch
    }

    /// Makes as many datagrams as may go at once the piece to send, and tells its size.
    fn join(&mut self, most: usize) -> usize {
        if let Some(size) = self.shape.segment() {
            let kept = self.buffer.bytes().len();
            let whole = if self.state == State::Draining { kept } else { kept - kept % size };
            self.piece = whole.min(batch(size, most));
        }
        self.piece
    }

    /// Makes the first `piece` bytes of the buffer the piece to send; the filters may have nothing of it to
    /// send yet, unless it is to go by itself.
    fn begin(&mut self, piece: usize) -> io::Result<()> {
        self.piece = piece;
        if self.shape.stages.filters() {
            let filtered = self.shape.stages.filter(&self.buffer.bytes()[..piece], &mut self.filtered);
            self.buffer.consume(piece);
            self.content += piece as u64;
            let flushed = match self.shape.cut {
                Cut::AsRead => Ok(()),
                Cut::Chunks(_) | Cut::Lines(_) => self.shape.stages.flush(&mut self.filtered),
            };
            self.piece = self.filtered.len();
            return filtered.and(flushed);
        }
        Ok(())
    }

    /// Makes what the filters still have the piece to send. Tells whether they had something.
    fn flush(&mut self) -> io::Result<bool> {
        let flushed = match (self.state, self.tail) {
            (State::Draining, Tail::Whole) => self.shape.stages.end(&mut self.filtered),
            _ => self.shape.stages.flush(&mut self.filtered),
        };
        self.piece = self.filtered.len();
        flushed.map(|()| self.piece > 0)
    }

    /// The sink has taken `n` bytes of the piece.
    fn sent(&mut self, n: usize, now: Instant) -> io::Result<()> {
        if self.shape.stages.look() {
            self.shape.stages.tap(&ready(&self.filtered, &self.buffer, self.piece)[..n])?;
        }
        self.piece -= n;
        self.answered = if self.answering { self.answered + n as u64 } else { 0 };
        if self.filtered.is_empty() {
            self.buffer.consume(n);
        } else if self.piece == 0 {
            self.filtered.clear();
            self.answering = false;
        }
        let pieces = match self.shape.segment() {
            Some(size) => n.div_ceil(size),
            None => usize::from(self.piece == 0),
        };
        self.count(n, pieces, now);
        Ok(())
    }

    /// The sink has taken `n` bytes, which finished so many pieces.
    fn count(&mut self, n: usize, pieces: usize, now: Instant) {
        let stages = &self.shape.stages;
        if stages.decode.is_none() {
            self.moved += n as u64;
        }
        if !stages.filters() {
            self.content += n as u64;
        }
        self.pieces += pieces as u64;
        self.shape.pace.spend(n, pieces > 0, now);
        self.last = now;
    }

    /// Sends what a pipe of ours holds.
    fn drain(&mut self, to: &mut dyn Endpoint, now: Instant) -> Step {
        let most = match self.shape.pace.allow(now) {
            Ok(most) => most,
            Err(when) => return self.hold_back(when),
        };
        let Some(route) = &mut self.route else { return Step::Finished };
        match route.drain(to, most) {
            Ok(0) => self.refuse(io::ErrorKind::WriteZero.into(), to),
            Ok(n) => {
                self.count(n, 1, now);
                return Step::Moved(n);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return self.wait(Waits::Sink),
            Err(error) if sys::is_refusal(&error) => return self.fall_back(),
            Err(error) => self.refuse(error, to),
        }
        Step::Moved(0)
    }

    /// Has the kernel move bytes from the source to the sink.
    fn pass(&mut self, from: &dyn Endpoint, to: &mut dyn Endpoint, now: Instant) -> Step {
        let most = match self.shape.pace.start(now).and_then(|()| self.shape.pace.allow(now)) {
            Ok(most) => most.min(AT_ONCE),
            Err(when) => return self.hold_back(when),
        };
        let Some(route) = &mut self.route else { return Step::Finished };
        let passed = route.pass(from, to, most);
        if brought_nothing(&passed) && route.is_stopped(from) {
            return self.fall_back();
        }
        match passed {
            Ok(0) => self.end(from),
            Ok(n) => {
                self.reads += 1;
                self.count(n, 1, now);
                Step::Moved(n)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(Waits::Either),
            Err(error) if sys::is_refusal(&error) => self.fall_back(),
            Err(error) if to.broken().is_some() => {
                self.refuse(error, to);
                Step::Moved(0)
            }
            Err(error) => self.fail_source(error),
        }
    }

    fn wait(&mut self, waits: Waits) -> Step {
        self.waits = waits;
        Step::Blocked(None)
    }

    /// The source brings nothing for now: what the sink has taken is not kept waiting.
    fn pause(&mut self, to: &mut dyn Endpoint) -> Step {
        match to.flush() {
            Ok(()) => self.wait(Waits::Source),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(Waits::Source),
            Err(error) => {
                self.refuse(error, to);
                Step::Moved(0)
            }
        }
    }

    /// It is our own pace that lets nothing move before `when`; silence counts from there.
    fn hold_back(&mut self, when: Instant) -> Step {
        self.last = when;
        Step::Blocked(Some(when))
    }

    fn fall_back(&mut self) -> Step {
        let fallen = self.route.as_mut().map_or(Ok(()), |route| route.fall_back(&mut self.buffer));
        match fallen {
            Ok(()) => Step::Moved(0),
            Err(error) => self.fail(Fault::Source(error)),
        }
    }

    /// Bytes that were read, and that only the kernel has.
    fn held(&self) -> usize {
        self.route.as_ref().map_or(0, Route::held)
    }

    fn receive(&mut self, from: &mut dyn Endpoint, to: &mut dyn Endpoint, now: Instant) -> Step {
        if self.shape.limit.is_some_and(|limit| self.reads >= limit) {
            self.state = State::Draining;
            return Step::Moved(0);
        }
        // One read is one datagram: it must not be larger than one.
        let most = match (self.shape.sink_datagram, self.shape.stages.change()) {
            (Some(largest), false) => self.whole_batches(largest) - self.buffer.bytes().len(),
            // A line feed can become two bytes.
            (Some(largest), true) => largest / 2,
            (None, _) => usize::MAX,
        };
        let route = self.route.get_or_insert_with(|| match self.shape.is_blind() {
            true => Route::choose(from.source().map(Raw::kind), to.sink().map(Raw::kind)),
            false => Route::Copy,
        });
        if route.is_direct() {
            return self.pass(from, to, now);
        }
        if self.shape.stages.decode.is_some() {
            return self.receive_packed(from, now);
        }
        let filled = route.fill(from, &mut self.buffer, most);
        if brought_nothing(&filled) && route.is_stopped(from) {
            return self.fall_back();
        }
        match filled {
            Ok(0) => self.end(from),
            Ok(n) => {
                self.reads += 1;
                self.last = now;
                Step::Moved(n)
            }
            // Whoever waits for what was read last is not to wait for what comes next.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => match self.flush() {
                Ok(true) => Step::Moved(0),
                Ok(false) => self.pause(to),
                Err(error) => self.fail_source(error),
            },
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Step::Moved(TURN),
            Err(error) if sys::is_refusal(&error) && !matches!(route, Route::Copy) => self.fall_back(),
            Err(error) => self.fail_source(error),
        }
    }

    /// Nothing more comes from the source.
    fn end(&mut self, from: &dyn Endpoint) -> Step {
        if let Some(error) = from.lost() {
            return self.fail_source(error);
        }
        self.tail = Tail::Whole;
        self.state = State::Draining;
        Step::Moved(0)
    }

    /// The source has failed; what was read before is good.
    fn fail_source(&mut self, error: io::Error) -> Step {
        if self.shape.source_may_reset && error.kind() == io::ErrorKind::ConnectionReset {
            self.tail = Tail::Whole;
            self.state = State::Draining;
            return Step::Moved(0);
        }
        self.fault = Some(Fault::Source(error));
        self.shape.pass_eof = false;
        self.state = State::Draining;
        Step::Moved(0)
    }

    fn discard(&mut self, from: &mut dyn Endpoint, now: Instant) -> Step {
        match self.buffer.fill(from, usize::MAX) {
            Ok(0) => {
                self.state = State::Finished;
                Step::Finished
            }
            Ok(n) => {
                self.last = now;
                self.buffer.clear();
                Step::Moved(n)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(Waits::Source),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Step::Moved(TURN),
            // What would still have come, nobody wants.
            Err(_) => {
                self.state = State::Finished;
                Step::Finished
            }
        }
    }

    fn close(&mut self, to: &mut dyn Endpoint) -> Step {
        match self.flush() {
            Ok(true) => return Step::Moved(0),
            Ok(false) => {}
            Err(error) => return self.fail(Fault::Source(error)),
        }
        if self.shape.pass_eof {
            match to.finish() {
                Ok(()) => self.passed_end = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return self.wait(Waits::Sink),
                // A peer that has reset is told nothing; whether bytes were lost, the session finds out.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
                Err(error) => {
                    self.refuse(error, to);
                    return Step::Moved(0);
                }
            }
        }
        // What is not followed by an end is not to be kept back by it.
        match to.flush() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return self.wait(Waits::Sink),
            Err(error) => {
                self.refuse(error, to);
                return Step::Moved(0);
            }
            Ok(()) => {}
        }
        self.state = State::Finished;
        Step::Finished
    }

    /// Whether it is a reader who may do so that has left: of a UNIX socket, one that leaves something unread resets it.
    fn has_left(&self, error: &io::Error) -> bool {
        let left = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
        self.shape.reader_may_leave && left.contains(&error.kind())
    }

    /// The sink takes no more.
    fn refuse(&mut self, error: io::Error, to: &dyn Endpoint) {
        if self.has_left(&error) {
            self.reader_left = true;
            self.packed.clear();
            self.buffer.clear();
            self.filtered.clear();
            self.piece = 0;
            self.route = Some(Route::Copy);
            self.state = match self.state {
                State::Open => State::Discarding,
                _ => State::Finished,
            };
        } else {
            self.cut_off = self.state == State::Open;
            self.returned = to.held();
            if self.shape.stages.decode.is_none() {
                self.moved -= self.returned as u64;
            }
            if !self.shape.stages.filters() {
                self.content -= self.returned as u64;
            }
            self.fail(Fault::Sink(error));
        }
    }

    fn fail(&mut self, fault: Fault) -> Step {
        self.fault.get_or_insert(fault);
        self.state = State::Finished;
        Step::Finished
    }
}

fn brought_nothing(result: &io::Result<usize>) -> bool {
    match result {
        Ok(n) => *n == 0,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

/// What is left of the piece: behind a filter, of what the filter made of it.
fn ready<'a>(filtered: &'a [u8], buffer: &'a Buffer, piece: usize) -> &'a [u8] {
    if filtered.is_empty() { &buffer.bytes()[..piece] } else { &filtered[filtered.len() - piece..] }
}

/// Bytes of the datagrams of `size` bytes that may go at once, when at most `most` bytes may.
fn batch(size: usize, most: usize) -> usize {
    (most / size).clamp(1, sys::MAX_SEGMENTS) * size
}

/// How long a network device that has no room for a datagram is left alone (send(2), ENOBUFS).
const DEVICE_BUSY: Duration = Duration::from_millis(1);

/// Bytes that the kernel is asked to move in one call: others wait meanwhile.
const AT_ONCE: usize = 1 << 20;

/// What a source that interrupts itself counts as having moved, so that others have their turn soon.
const TURN: usize = 256 << 10;
