//! What has to be decoded before it is ours: read in one step, decoded in others, as there is room.

use std::{
    io::{self, Read},
    time::Instant,
};

use super::{Buffer, Endpoint, Fault, Flow, Step, TURN, Waits};
use crate::stage::Decode;

impl Flow {
    /// Reads once what is to be decoded.
    pub(super) fn receive_packed(&mut self, from: &mut dyn Endpoint, now: Instant) -> Step {
        match self.packed.fill(from, usize::MAX) {
            Ok(0) => match self.shape.stages.decode.as_ref().map_or(Ok(()), Decode::end) {
                Ok(()) => self.end(from),
                Err(error) => self.fail_source(from.lost().unwrap_or(error)),
            },
            Ok(n) => {
                self.last = now;
                match self.shape.stages.tap_encoded(self.packed.bytes()) {
                    Ok(()) => Step::Moved(n),
                    Err(error) => self.fail(Fault::Stage(error)),
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(Waits::Source),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Step::Moved(TURN),
            Err(error) => self.fail_source(error),
        }
    }

    /// Decodes what has come, as far as there is room; `None` if there is nothing to be decoded.
    pub(super) fn unpack(&mut self) -> Option<Step> {
        if !self.has_packed() {
            return None;
        }
        let decode = self.shape.stages.decode.as_mut()?;
        let kept = self.packed.bytes().len();
        let filled = self.buffer.fill(&mut Unpack { packed: &mut self.packed, decode }, usize::MAX);
        self.moved += (kept - self.packed.bytes().len()) as u64;
        Some(match filled {
            Ok(n) => {
                self.reads += u64::from(n > 0);
                Step::Moved(n)
            }
            Err(error) => self.fail_source(error),
        })
    }

    /// Whether something of what has come is still to be decoded; after a failure, nothing is.
    pub(super) fn has_packed(&self) -> bool {
        let more = |decode: &Decode| !self.packed.is_empty() || decode.holds();
        self.fault.is_none() && self.shape.stages.decode.as_ref().is_some_and(more)
    }
}

/// What was read, decoded while it is read again.
struct Unpack<'a> {
    packed: &'a mut Buffer,
    decode: &'a mut Decode,
}

impl Read for Unpack<'_> {
    /// `Ok(0)` is no end: more may have to come before something can be made of it.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let (taken, made) = self.decode.decode(self.packed.bytes(), buf)?;
        self.packed.consume(taken);
        Ok(made)
    }
}
