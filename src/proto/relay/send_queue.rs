//! What is on its way to one client, and who waits to send it more.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::Id;

/// The queue of a destination. It exists only while there is something in it, or somebody needs it.
#[derive(Debug)]
pub(super) struct SendQueue {
    bytes: Vec<u8>,
    /// Bytes at the front that were written.
    start: usize,
    /// Who is sending a message that is too large to be stored first.
    pub lock: Option<Lock>,
    /// Bytes that have left the holder of the lock, past the queue, and have not arrived.
    pub in_pipe: u64,
    /// Who has a message for this client, in the order in which they came.
    pub waiters: VecDeque<Id>,
    /// Since when less than `MIN_PROGRESS` bytes were accepted, and how many were.
    slow_since: Instant,
    accepted: u64,
    /// When it was last tried to write to it.
    retried: Instant,
    /// It is known that there is something to write.
    pub dirty: bool,
}

/// Who has a destination for itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lock {
    pub holder: Id,
    /// When the holder last sent something.
    pub last_moved: Instant,
}

impl SendQueue {
    pub fn new(now: Instant) -> Self {
        Self {
            bytes: Vec::new(),
            start: 0,
            lock: None,
            in_pipe: 0,
            waiters: VecDeque::new(),
            slow_since: now,
            accepted: 0,
            retried: now,
            dirty: false,
        }
    }

    /// What is to be written.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// How many more bytes it takes.
    pub fn room(&self) -> usize {
        MAX_QUEUE.saturating_sub(self.len())
    }

    /// Whether so many bytes that belong together may come in.
    pub fn takes(&self, bytes: usize) -> bool {
        self.len() == 0 || bytes <= self.room()
    }

    pub fn push(&mut self, bytes: &[u8], now: Instant) {
        if self.len() == 0 {
            self.bytes.clear();
            self.start = 0;
            if self.in_pipe == 0 {
                self.begin(now);
            }
        } else if self.bytes.len() + bytes.len() > self.bytes.capacity() && self.start >= self.len() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// So many bytes have left the queue.
    pub fn written(&mut self, bytes: usize, now: Instant) {
        self.start += bytes;
        debug_assert!(self.start <= self.bytes.len(), "wrote more than there was");
        self.progress(bytes as u64, now);
    }

    /// So many bytes have gone past the queue into a pipe.
    pub fn spliced_in(&mut self, bytes: u64, now: Instant) {
        if !self.has_pending() {
            self.begin(now);
        }
        self.in_pipe += bytes;
    }

    /// So many bytes were accepted out of the pipe.
    pub fn spliced_out(&mut self, bytes: u64, now: Instant) {
        self.in_pipe -= bytes;
        self.progress(bytes, now);
    }

    /// Whether the client has something to accept.
    pub fn has_pending(&self) -> bool {
        self.len() > 0 || self.in_pipe > 0
    }

    /// Whether nobody needs it any more.
    pub fn is_idle(&self) -> bool {
        !self.has_pending() && self.lock.is_none() && self.waiters.is_empty()
    }

    /// When a client that accepts so little is too slow.
    pub fn deadline(&self, stall: Duration) -> Option<Instant> {
        self.has_pending().then(|| self.slow_since + stall)
    }

    /// When to retry at a client that has something to accept: until it is too slow, it is tried again.
    pub fn retry_at(&self, stall: Duration) -> Option<Instant> {
        self.deadline(stall).map(|deadline| deadline.min(self.retried + stall / WRITE_RETRIES))
    }

    /// Whether it is time to try again.
    pub fn retry(&mut self, stall: Duration, now: Instant) -> bool {
        let due = self.has_pending() && self.retried + stall / WRITE_RETRIES <= now;
        if due {
            self.retried = now;
        }
        due
    }

    fn begin(&mut self, now: Instant) {
        self.slow_since = now;
        self.retried = now;
        self.accepted = 0;
    }

    fn progress(&mut self, bytes: u64, now: Instant) {
        self.accepted += bytes;
        if self.accepted >= MIN_PROGRESS {
            self.begin(now);
        }
    }
}

/// How often a client that accepts nothing is tried in the time that it may stall.
const WRITE_RETRIES: u32 = 4;

/// Bytes of a queue; a single message may be larger than what is left of them.
pub(super) const MAX_QUEUE: usize = 256 << 10;

/// Bytes that have to be accepted within the time that a client may stall.
const MIN_PROGRESS: u64 = 4096;
