//! From the buffer to the sink: pieces, the pace, and the end.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{EofKind, Fault, Flow, Phase, Step};
use crate::{endpoint::Endpoint, pump::Framing, sys, tap::Taps};

impl Flow {
    /// Sends pieces until there is none. Returns `None` if there was none.
    pub(super) fn send(
        &mut self,
        to: &mut dyn Endpoint,
        taps: &mut Taps,
        is_last: bool,
        now: Instant,
    ) -> Option<Step> {
        let mut moved = 0;
        let step = loop {
            if self.piece == 0
                && let Err(step) = self.begin_piece(to, is_last, now)
            {
                break step;
            }

            // The pace counts bytes, whatever the pieces are.
            let most = match self.allow(to, now) {
                Ok(most) => most,
                Err(when) => break Some(self.hold_back(when)),
            };
            let size = match self.config.sink_datagram {
                Some(largest) => self.join(most.min(largest)),
                None => most.min(self.piece),
            };

            match to.write(self.piece_front(size)) {
                // A sink that takes nothing without an error would be asked for ever.
                Ok(0) if size > 0 => {
                    self.refuse(io::ErrorKind::WriteZero.into());
                    return Some(Step::Moved(moved));
                }
                Ok(n) => {
                    moved += n;
                    if let Err(error) = self.sent(n, taps, now) {
                        self.fail(Fault::Tap(error));
                        return Some(Step::Moved(moved));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    break Some(self.wait_for_sink(to, now));
                }
                // send(2), ENOBUFS: no event tells when the device has room again.
                Err(error) if self.config.sink_datagram.is_some() && sys::is_exhausted(&error) => {
                    break Some(Step::Blocked(Some(now + DEVICE_BUSY)));
                }
                Err(error) => {
                    self.refuse(error);
                    return Some(Step::Moved(moved));
                }
            }
        };
        if moved > 0 { Some(Step::Moved(moved)) } else { step }
    }

    /// Begins the next piece. Fails with the step that keeps it from beginning; with `None` if there is no piece.
    fn begin_piece(
        &mut self,
        to: &mut dyn Endpoint,
        is_last: bool,
        now: Instant,
    ) -> Result<(), Option<Step>> {
        self.flush_piece(to, now)?;
        let size = self.config.framing.next(self.buffer.bytes(), is_last).ok_or(None)?;
        self.config.pace.start(now).map_err(|when| self.hold_back(when))?;
        self.piece = size;

        // It is converted only now, since its size is that of the source's bytes.
        if let Some(crlf) = &mut self.crlf {
            self.piece = crlf.convert(&self.buffer.bytes()[..size]);
            self.buffer.consume(size);
            self.converted += size as u64;
        }
        Ok(())
    }

    /// Returns the first `n` bytes of the piece that are still to be sent.
    fn piece_front(&self, n: usize) -> &[u8] {
        match &self.crlf {
            Some(crlf) => &crlf.rest(self.piece)[..n],
            None => &self.buffer.bytes()[..n],
        }
    }

    /// Flushes a piece that goes by itself out of a layer, where it does not wait for the next one. Fails with the step if
    /// a part of it is still there.
    fn flush_piece(&mut self, to: &mut dyn Endpoint, now: Instant) -> Result<(), Step> {
        if !self.unflushed {
            return Ok(());
        }

        let _ = self.allow(to, now);
        match to.flush() {
            Ok(()) => {
                self.unflushed = false;
                // The delay stands between pieces on the wire.
                self.config.pace.finish_piece(now);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(self.wait_for_sink(to, now)),
            Err(error) => {
                self.refuse(error);
                Err(Step::Moved(0))
            }
        }
    }

    /// Makes as many datagrams as may go at once the piece to send, and returns its size.
    fn join(&mut self, most: usize) -> usize {
        if let Some(size) = self.config.segment() {
            let kept = self.buffer.bytes().len();
            let whole = if self.phase == Phase::Draining { kept } else { kept - kept % size };
            self.piece = whole.min(batch(size, most));
        }
        self.piece
    }

    /// Bytes up to `largest` that leave nothing behind when they go as many at once as may.
    pub(super) fn whole_batches(&self, largest: usize) -> usize {
        let Some(size) = self.config.segment() else { return largest };
        let batch = batch(size, largest);
        largest / batch * batch
    }

    /// Counts `n` bytes of the piece that the sink has taken.
    fn sent(&mut self, n: usize, taps: &mut Taps, now: Instant) -> io::Result<()> {
        if self.config.watched {
            taps.hear(self.config.traffic, Some(self.piece_front(n)), now)?;
        }

        self.piece -= n;
        if self.crlf.is_none() {
            self.buffer.consume(n);
        }
        let pieces = match self.config.segment() {
            Some(size) => n.div_ceil(size),
            None => usize::from(self.piece == 0),
        };
        self.count(n, pieces, now);
        self.unflushed = pieces > 0 && self.config.encoded && self.config.framing != Framing::AsRead;
        Ok(())
    }

    /// Counts bytes that the sink has taken, and the pieces that they have finished.
    pub(super) fn count(&mut self, n: usize, pieces: usize, now: Instant) {
        self.moved += n as u64;
        self.pieces += pieces as u64;
        self.last = now;

        // The bytes that a layer makes of them are counted where they cross the wire.
        if !self.config.encoded {
            self.config.pace.spend(n);
        }
        if pieces > 0 {
            self.config.pace.finish_piece(now);
        }
    }

    /// Passes the end of the source on, and finishes.
    pub(super) fn close(&mut self, to: &mut dyn Endpoint, taps: &mut Taps, now: Instant) -> Step {
        if self.eof == Some(EofKind::Stopped) {
            to.leave_unended();
        }

        // --no-shutdown ends the frame of a layer, but leaves the connection open.
        let _ = self.allow(to, now);
        let closed = if self.config.pass_eof { to.finish() } else { to.end() };
        match closed {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return self.wait_for_sink(to, now),
            // shutdown(2) after a reset: no end was passed, and whether bytes were lost, the session finds out.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => self.config.pass_eof = false,
            Err(error) => {
                self.refuse(error);
                return Step::Moved(0);
            }
            Ok(()) => {}
        }

        // An end that is not passed on does not keep the bytes before it.
        match to.flush() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return self.wait_for_sink(to, now),
            Err(error) => {
                self.refuse(error);
                return Step::Moved(0);
            }
            Ok(()) => {}
        }
        self.phase = Phase::Finished;
        if self.config.watched
            && let Err(error) = taps.hear(self.config.traffic, None, now)
        {
            self.fail(Fault::Tap(error));
        }
        Step::Finished
    }

    /// Sends answers of a layer that wait for the pace, although the source has ended (`--no-shutdown`).
    pub(super) fn send_answers(&mut self, to: &mut dyn Endpoint, now: Instant) -> Step {
        let waits = self.config.encoded && to.wire().is_some_and(|wire| !wire.is_clear());
        if !waits || self.fault.is_some() {
            return Step::Finished;
        }

        let _ = self.allow(to, now);
        match to.flush() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait_for_sink(to, now),
            // How a peer has gone, the other direction finds out.
            Ok(()) | Err(_) => Step::Finished,
        }
    }

    /// Returns how many bytes may be sent now; else when. A layer that encodes is told how many may cross the wire, which
    /// the pace is of.
    pub(in crate::pump) fn allow(&mut self, to: &mut dyn Endpoint, now: Instant) -> Result<usize, Instant> {
        self.count_sent(to, now);
        let allowed = self.config.pace.allow(now);
        if self.config.encoded
            && let Some(wire) = to.wire()
        {
            wire.allow(allowed.unwrap_or(0));
        }
        allowed
    }

    /// Counts bytes that a layer has sent since the last call. It does so by itself too: answers as it reads, and its
    /// queue as the sink has room.
    pub(in crate::pump) fn count_sent(&mut self, to: &mut dyn Endpoint, now: Instant) {
        if self.config.encoded
            && let Some(wire) = to.wire()
            && let sent @ 1.. = wire.take_sent()
        {
            self.config.pace.spend(sent as usize);
            self.last = self.last.max(now);
        }
    }

    /// The sink takes nothing for now; if only because the pace allows no more, until it does.
    pub(super) fn wait_for_sink(&mut self, to: &mut dyn Endpoint, now: Instant) -> Step {
        // Without a layer, the pace was asked before the write.
        if !to.wire().is_some_and(|wire| wire.is_exhausted()) {
            return Step::Blocked(None);
        }
        match self.allow(to, now) {
            Ok(_) => Step::Moved(0),
            Err(when) => self.hold_back(when),
        }
    }

    /// Our own pace lets nothing move before `when`; silence counts from there.
    pub(super) fn hold_back(&mut self, when: Instant) -> Step {
        self.last = when;
        Step::Blocked(Some(when))
    }
}

/// Returns the bytes of the datagrams of `size` bytes that may go at once, when at most `most` bytes may.
fn batch(size: usize, most: usize) -> usize {
    (most / size).clamp(1, sys::MAX_SEGMENTS) * size
}

/// How long a network device that has no room for a datagram is left alone (send(2), ENOBUFS).
const DEVICE_BUSY: Duration = Duration::from_millis(1);
