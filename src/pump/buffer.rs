//! Bytes between a read and a write.

use std::io;

use crate::sys::MisalignedBuffer;

/// A buffer that starts small, for a hand at the keyboard, and grows while reads fill it.
#[derive(Debug)]
pub struct Buffer {
    bytes: MisalignedBuffer,
    start: usize,
    end: usize,
    most: usize,
    filled: bool,
}

impl Buffer {
    /// Makes an empty buffer, which takes memory at the first read.
    pub fn new() -> Self {
        Self { bytes: MisalignedBuffer::default(), start: 0, end: 0, most: MAX_SIZE, filled: false }
    }

    /// Makes an empty buffer for datagrams of up to `largest` bytes: there is always room for one more behind a part of a
    /// line that is being kept.
    pub fn for_datagrams(largest: usize) -> Self {
        Self { bytes: MisalignedBuffer::new(largest * 2), start: 0, end: 0, most: largest * 2, filled: false }
    }

    /// Returns the bytes in it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Returns whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Returns whether the last read has filled it.
    pub fn was_filled(&self) -> bool {
        self.filled
    }

    /// Reads once, at most `limit` bytes. `Ok(0)` is the end of the source; there must be room.
    pub fn fill(
        &mut self,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
        limit: usize,
    ) -> io::Result<usize> {
        self.make_room();
        let room = (self.bytes.len() - self.end).min(limit);
        let n = read(&mut self.bytes[self.end..][..room])?;
        self.end += n;
        self.filled = n == room;
        // A read that fills the buffer had more to bring; a terminal never does.
        if self.filled && self.end == self.bytes.len() && self.bytes.len() < self.most {
            self.grow((self.bytes.len() * 4).min(self.most));
        }
        Ok(n)
    }

    /// Takes `n` bytes off the front.
    pub fn consume(&mut self, n: usize) {
        self.start += n;
        debug_assert!(self.start <= self.end, "consumed more than there was");
        if self.is_empty() {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    fn grow(&mut self, size: usize) {
        let mut larger = MisalignedBuffer::new(size);
        larger[..self.end].copy_from_slice(&self.bytes[..self.end]);
        self.bytes = larger;
    }

    fn make_room(&mut self) {
        if self.bytes.is_empty() {
            self.grow(MIN_SIZE);
        }
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        // A pipe may keep packets, and drops what there is no room for (pipe(7), O_DIRECT).
        if self.bytes.len() - self.end < MAX_PACKET {
            self.grow(self.bytes.len() * 2);
        }
    }
}

/// Bytes of a packet at most (limits.h(0P), PIPE_BUF).
const MAX_PACKET: usize = 4096;

/// Bytes at first: more than a person types at once.
const MIN_SIZE: usize = 16 << 10;

/// Bytes at most: as many as a receive buffer brings at once on loopback; larger reads gain little.
const MAX_SIZE: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn it_grows_while_reads_fill_it_and_no_further() {
        let mut buffer = Buffer::new();
        let mut sizes = Vec::new();
        for _ in 0..5 {
            let n = buffer.fill(|buf| io::repeat(7).read(buf), usize::MAX).unwrap();
            sizes.push(n);
            buffer.consume(n);
        }
        assert_eq!(sizes, [16 << 10, 64 << 10, 256 << 10, 256 << 10, 256 << 10]);
    }

    #[test]
    fn a_small_read_leaves_it_small() {
        let mut buffer = Buffer::new();
        for _ in 0..100 {
            buffer.fill(|buf| (&b"typed"[..]).read(buf), usize::MAX).unwrap();
            buffer.consume(5);
        }
        assert_eq!(buffer.bytes.len(), MIN_SIZE);
    }

    #[test]
    fn kept_bytes_stay_in_front() {
        let mut buffer = Buffer::for_datagrams(8);
        buffer.fill(|buf| (&b"abcdefgh"[..]).read(buf), 8).unwrap();
        buffer.consume(3);
        buffer.fill(|buf| (&b"12345678"[..]).read(buf), 8).unwrap();
        assert_eq!(buffer.bytes(), b"defgh12345678");
    }
}
