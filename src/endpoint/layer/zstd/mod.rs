//! `--zstd` over an endpoint: one frame of all that is written; frames that are read, one behind the other.

mod codec;

use std::{io, ops::Range, time::Instant};

use self::codec::{Compressor, Decompressor};
use super::Wire;
use crate::{
    endpoint::{Endpoint, Peer},
    sys::MisalignedBuffer,
};

/// An endpoint whose bytes travel compressed over the one below.
pub struct Zstd {
    below: Box<dyn Peer>,
    wire: Wire,
    compressor: Compressor,
    /// `None` where the session drops all that it receives, which then need not be decodable.
    decompressor: Option<Decompressor>,
    /// Read from below, and not yet decompressed.
    buffer: MisalignedBuffer,
    filled: Range<usize>,
    /// Bytes that were written here.
    taken: u64,
    /// Those of them whose compressed form was passed on.
    passed: u64,
    /// The frame is not to be ended: the bytes in it are not the whole.
    unended: bool,
}

impl Zstd {
    /// Compresses at `level`, 1 to 19. Fails if there is no memory.
    pub fn new(below: Box<dyn Peer>, level: i32, decompresses: bool) -> io::Result<Self> {
        Ok(Self {
            below,
            wire: Wire::default(),
            compressor: Compressor::new(level)?,
            decompressor: decompresses.then(Decompressor::new).transpose()?,
            buffer: MisalignedBuffer::default(),
            filled: 0..0,
            taken: 0,
            passed: 0,
            unended: false,
        })
    }
}

impl Zstd {
    fn push(&mut self) -> io::Result<()> {
        self.wire.push(&mut *self.below)?;
        // All output of the compressor has crossed the wire by now.
        self.passed = self.taken - self.compressor.held() as u64;
        Ok(())
    }
}

impl Endpoint for Zstd {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            // The bytes are counted all the same.
            let Some(decompressor) = &mut self.decompressor else {
                let n = self.below.read(buf)?;
                self.wire.arrived(&buf[..n]);
                return Ok(n);
            };

            if !self.filled.is_empty() || decompressor.holds() {
                let (taken, made) = decompressor.decode(&self.buffer[self.filled.clone()], buf)?;
                self.filled.start += taken;
                if made > 0 {
                    return Ok(made);
                }
                continue;
            }

            if self.buffer.is_empty() {
                self.buffer = MisalignedBuffer::new(READ_SIZE);
            }
            let n = self.below.read(&mut self.buffer)?;
            if n == 0 {
                let ended = decompressor.end();
                // An error of the connection says more than a frame that has no end.
                return ended.map(|()| 0).map_err(|error| self.below.lost().unwrap_or(error));
            }
            self.wire.arrived(&self.buffer[..n]);
            self.filled = 0..n;
        }
    }

    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.push()?;
        self.compressor.write(buf, self.wire.queue())?;
        self.taken += buf.len() as u64;

        match self.push() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                // They count as not taken.
                self.taken -= buf.len() as u64;
                Err(error)
            }
            _ => Ok(buf.len()),
        }
    }

    /// Passes on all that was written, so that the other side can read it.
    fn flush(&mut self) -> io::Result<()> {
        self.push()?;
        self.compressor.flush(self.wire.queue())?;
        self.push()?;
        self.below.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.end()?;
        self.below.finish()
    }

    fn end(&mut self) -> io::Result<()> {
        if self.unended {
            return self.flush();
        }
        self.push()?;
        self.compressor.end(self.wire.queue())?;
        self.push()?;
        self.below.flush()
    }

    fn leave_unended(&mut self) {
        self.unended = true;
    }

    fn broken(&mut self) -> Option<io::Error> {
        self.below.broken()
    }

    fn tick(&mut self, now: Instant) -> Option<Instant> {
        self.below.tick(now)
    }

    fn lost(&self) -> Option<io::Error> {
        self.below.lost()
    }

    fn held(&self) -> usize {
        let all = self.taken.saturating_sub(self.passed) as usize;
        let inside = self.compressor.held().min(all);
        inside + self.wire.waiting_of(all - inside) + self.below.held()
    }

    fn unread(&self) -> usize {
        // The decoder may hold output of unknown size, which counts as one byte.
        let decoded = self.decompressor.as_ref().is_some_and(Decompressor::holds);
        self.filled.len().max(usize::from(decoded))
    }

    fn wire(&mut self) -> Option<&mut Wire> {
        Some(&mut self.wire)
    }
}

impl Peer for Zstd {
    fn below(&self) -> Option<&dyn Peer> {
        Some(&*self.below)
    }

    fn below_mut(&mut self) -> Option<&mut dyn Peer> {
        Some(&mut *self.below)
    }
}

/// Bytes that one read from below takes at most.
const READ_SIZE: usize = 128 << 10;
