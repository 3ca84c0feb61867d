//! From the source to the buffer.

use std::{io, time::Instant};

use super::{EofKind, Fault, Flow, Phase, Step};
use crate::{
    endpoint::Endpoint,
    pump::route::Route,
    sys::{self, Raw},
};

impl Flow {
    /// Reads once, or has the kernel move bytes.
    pub(super) fn receive(&mut self, from: &mut dyn Endpoint, to: &mut dyn Endpoint, now: Instant) -> Step {
        if self.config.limit.is_some_and(|limit| self.reads >= limit) {
            self.end_source(EofKind::Whole);
            return Step::Moved(0);
        }

        let is_blind = self.config.is_blind();
        let route = self.route.get_or_insert_with(|| match is_blind {
            true => Route::choose(from.source().map(Raw::kind), to.sink().map(Raw::kind)),
            false => Route::Copy,
        });
        if route.is_direct() {
            return self.pass(from, to, now);
        }

        // One read is one datagram: it must not be larger than one.
        let most = match self.config.sink_datagram {
            // Each byte may become two.
            Some(largest) if self.config.crlf => largest / 2,
            Some(largest) => self.whole_batches(largest) - self.buffer.bytes().len(),
            None => usize::MAX,
        };
        let Some(route) = &mut self.route else { return Step::Finished };
        let filled = route.fill(from, &mut self.buffer, most);
        // tcp(7): splice(2) stops at urgent data for ever; a read skips it.
        if is_empty_handed(&filled) && route.is_stopped(from) {
            return self.fall_back();
        }

        match filled {
            Ok(0) => self.end(from),
            Ok(n) => {
                self.reads += 1;
                self.last = now;
                Step::Moved(n)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.pause(to, now),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Step::Moved(INTERRUPTED_SHARE),
            Err(error) if sys::is_refusal(&error) && !matches!(route, Route::Copy) => self.fall_back(),
            Err(error) => self.fail_source(error),
        }
    }

    /// Counts bytes that a layer has received since the last call: they may be only a part of a block, or commands.
    pub(in crate::pump) fn count_received(&mut self, from: &mut dyn Endpoint, now: Instant) {
        if from.wire().is_some_and(|wire| wire.take_received() > 0) {
            self.last = self.last.max(now);
        }
    }

    /// Reads once, and drops it.
    pub(super) fn discard(&mut self, from: &mut dyn Endpoint, now: Instant) -> Step {
        match self.buffer.fill(|buf| from.read(buf), usize::MAX) {
            Ok(n @ 1..) => {
                self.last = now;
                self.buffer.clear();
                Step::Moved(n)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Step::Blocked(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Step::Moved(INTERRUPTED_SHARE),
            // An error concerns only bytes that would have been dropped.
            Ok(_) | Err(_) => {
                self.phase = Phase::Finished;
                Step::Finished
            }
        }
    }

    /// The source brings nothing for now: bytes that a layer keeps go on their way.
    fn pause(&mut self, to: &mut dyn Endpoint, now: Instant) -> Step {
        // A reader on the other side may be waiting for exactly these bytes.
        let _ = self.allow(to, now);
        match to.flush() {
            Ok(()) => Step::Blocked(None),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait_for_sink(to, now),
            Err(error) => {
                self.refuse(error);
                Step::Moved(0)
            }
        }
    }

    /// The source has come to its end, or was lost.
    pub(super) fn end(&mut self, from: &dyn Endpoint) -> Step {
        if let Some(error) = from.lost() {
            return self.fail_source(error);
        }
        self.end_source(EofKind::Whole);
        Step::Moved(0)
    }

    /// The source has failed; what was read before is good.
    pub(super) fn fail_source(&mut self, error: io::Error) -> Step {
        if self.config.source_may_reset && error.kind() == io::ErrorKind::ConnectionReset {
            self.end_source(EofKind::Whole);
            return Step::Moved(0);
        }
        // An end of file would make the truncated bytes look whole.
        self.fault = Some(Fault::Source(error));
        self.config.pass_eof = false;
        self.end_source(EofKind::Stopped);
        Step::Moved(0)
    }
}

/// Returns whether a read brought no bytes.
pub(super) fn is_empty_handed(result: &io::Result<usize>) -> bool {
    match result {
        Ok(n) => *n == 0,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

/// The share that a source uses up when it interrupts itself, so that other sessions have their turn soon.
const INTERRUPTED_SHARE: usize = 256 << 10;
