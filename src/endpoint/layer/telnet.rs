//! `-t` over an endpoint: commands are taken out of the text that is read and refused, and a byte 255 that is written
//! is sent twice (RFC 854).

use std::{io, time::Instant};

use super::Wire;
use crate::{
    endpoint::{Endpoint, Peer},
    proto::telnet,
};

/// An endpoint that speaks telnet over the one below.
pub struct Telnet {
    below: Box<dyn Peer>,
    wire: Wire,
    parser: telnet::Telnet,
    /// Answers that go as soon as no text is on its way: between two writes, never inside one.
    answers: Vec<u8>,
    /// The wire carries answers now, and not text.
    answering: bool,
    /// Bytes of answers at the end of all that was sent.
    answered: u64,
    /// Bytes of text on their way, before they were escaped.
    held: usize,
    /// Nothing more is sent.
    finished: bool,
}

impl Telnet {
    /// Takes the endpoint below.
    pub fn new(below: Box<dyn Peer>) -> Self {
        Self {
            below,
            wire: Wire::default(),
            parser: telnet::Telnet::default(),
            answers: Vec::new(),
            answering: false,
            answered: 0,
            held: 0,
            finished: false,
        }
    }
}

impl Telnet {
    /// Passes on the text, and then the answers, that wait.
    fn push(&mut self) -> io::Result<()> {
        self.push_wire()?;

        if !self.answers.is_empty() {
            std::mem::swap(self.wire.queue(), &mut self.answers);
            self.answers.clear();
            // Answers begin only where no text is half-way: they would tear it.
            self.answering = true;
            self.push_wire()?;
        }
        Ok(())
    }

    fn push_wire(&mut self) -> io::Result<()> {
        let before = self.wire.sent();
        let pushed = self.wire.push(&mut *self.below);
        let sent = self.wire.sent() - before;

        if self.answering {
            self.answered += sent;
        } else if sent > 0 {
            self.answered = 0;
        }

        match pushed {
            // A peer that has gone needs no answers; how it went, the reader finds out.
            Err(error) if self.answering && error.kind() != io::ErrorKind::WouldBlock => self.wire.discard(),
            pushed => pushed?,
        }
        self.answering = false;
        self.held = 0;
        Ok(())
    }

    /// Takes the commands out of bytes that were read, and returns how many bytes of text are left in front.
    fn strip(&mut self, bytes: &mut [u8]) -> usize {
        let mut kept = 0;
        for at in 0..bytes.len() {
            if let Some(text) = self.parser.receive(bytes[at], &mut self.answers) {
                bytes[kept] = text;
                kept += 1;
            }
        }

        // RFC 854 has no answer after the end.
        if self.finished {
            self.answers.clear();
        }
        kept
    }
}

impl Endpoint for Telnet {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        // The writer meets an error again.
        let _ = self.push();
        // A peer that does not read its answers is not read: there would be ever more of them.
        if self.answers.len() > MAX_ANSWERS {
            return Err(io::ErrorKind::WouldBlock.into());
        }

        let n = self.below.read(buf)?;
        self.wire.arrived(&buf[..n]);
        let kept = self.strip(&mut buf[..n]);
        if n > 0 && kept == 0 {
            // Nothing but commands; `Ok(0)` would be the end.
            return Err(io::ErrorKind::Interrupted.into());
        }

        let _ = self.push();
        Ok(kept)
    }

    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.push()?;
        telnet::escape(buf, self.wire.queue());
        self.held = buf.len();

        match self.push() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                // They count as not taken.
                self.held = 0;
                Err(error)
            }
            _ => Ok(buf.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.push()?;
        self.below.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.flush()?;
        self.finished = true;
        self.below.finish()
    }

    fn broken(&mut self) -> Option<io::Error> {
        self.below.broken()
    }

    fn tick(&mut self, now: Instant) -> Option<Instant> {
        // A session that only receives has nothing else that would send the answers.
        let _ = self.push();
        self.below.tick(now)
    }

    fn lost(&self) -> Option<io::Error> {
        self.below.lost()
    }

    fn held(&self) -> usize {
        self.wire.waiting_of(self.held) + self.below.held()
    }

    fn wire(&mut self) -> Option<&mut Wire> {
        Some(&mut self.wire)
    }
}

impl Peer for Telnet {
    fn below(&self) -> Option<&dyn Peer> {
        Some(&*self.below)
    }

    fn below_mut(&mut self) -> Option<&mut dyn Peer> {
        Some(&mut *self.below)
    }

    /// Answers are for the peer's sake: whether they have arrived is not the session's concern.
    fn unacknowledged(&self) -> u64 {
        self.below.unacknowledged().saturating_sub(self.answered)
    }
}

/// Bytes of answers that may wait before no more is read that would be answered.
const MAX_ANSWERS: usize = 4096;
