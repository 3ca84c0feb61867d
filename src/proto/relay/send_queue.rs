//! The bytes to send to one client, and the clients that wait to add more.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::Id;

/// The queue of a destination. It exists only while it holds bytes, is locked, or is waited for.
#[derive(Debug)]
pub(super) struct SendQueue {
    bytes: Vec<u8>,
    /// Bytes at the front that were written.
    start: usize,
    /// The sender of a large message, which has the destination for itself.
    pub lock: Option<Lock>,
    /// Bytes in the pipe between the holder of the lock and the destination.
    pub in_pipe: u64,
    /// Clients that wait to send to this one, oldest first.
    pub waiters: VecDeque<Id>,
    /// The time since which less than [`MIN_PROGRESS`] bytes were accepted.
    slow_since: Instant,
    /// Bytes that were accepted since.
    accepted: u64,
    /// The time of the last attempt to write that a timer has caused.
    retried: Instant,
    /// Whether the client is among those that have new output.
    pub dirty: bool,
}

/// The exclusive right to send to a destination.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lock {
    pub holder: Id,
    /// The time when the holder last sent bytes.
    pub last_moved: Instant,
}

impl SendQueue {
    /// Creates an empty queue.
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

    /// Returns the bytes to write.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Returns the bytes in the queue.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Returns the bytes that are left of the limit.
    pub fn room(&self) -> usize {
        MAX_QUEUE.saturating_sub(self.len())
    }

    /// Tells whether a message of `bytes` may be added. An empty queue takes one of any size.
    pub fn takes(&self, bytes: usize) -> bool {
        self.len() == 0 || bytes <= self.room()
    }

    /// Appends bytes.
    pub fn push(&mut self, bytes: &[u8], now: Instant) {
        if self.len() == 0 {
            self.bytes.clear();
            self.start = 0;
            // With bytes in the pipe, the progress of the client is measured already.
            if self.in_pipe == 0 {
                self.begin(now);
            }
        } else if self.bytes.len() + bytes.len() > self.bytes.capacity() && self.start >= self.len() {
            // In place of growing: at least half of the bytes were written, so that each is moved about once.
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Records that bytes of the queue were written.
    pub fn written(&mut self, bytes: usize, now: Instant) {
        self.start += bytes;
        debug_assert!(self.start <= self.bytes.len(), "wrote more than there was");
        self.progress(bytes as u64, now);
    }

    /// Records that bytes went into the pipe.
    pub fn spliced_in(&mut self, bytes: u64, now: Instant) {
        if !self.has_pending() {
            self.begin(now);
        }
        self.in_pipe += bytes;
    }

    /// Records that bytes of the pipe were accepted.
    pub fn spliced_out(&mut self, bytes: u64, now: Instant) {
        self.in_pipe -= bytes;
        self.progress(bytes, now);
    }

    /// Tells whether the client has bytes to accept.
    pub fn has_pending(&self) -> bool {
        self.len() > 0 || self.in_pipe > 0
    }

    /// Tells whether the queue can be freed.
    pub fn is_idle(&self) -> bool {
        !self.has_pending() && self.lock.is_none() && self.waiters.is_empty()
    }

    /// Returns the time when the client is too slow, unless it accepts more.
    pub fn deadline(&self, stall: Duration) -> Option<Instant> {
        self.has_pending().then(|| self.slow_since + stall)
    }

    /// Returns the time of the next attempt to write, which is due now and then until the client is too slow.
    pub fn retry_at(&self, stall: Duration) -> Option<Instant> {
        self.deadline(stall).map(|deadline| deadline.min(self.retried + stall / WRITE_RETRIES))
    }

    /// Tells whether an attempt to write is due, and counts it as made.
    pub fn retry(&mut self, stall: Duration, now: Instant) -> bool {
        let due = self.has_pending() && self.retried + stall / WRITE_RETRIES <= now;
        if due {
            self.retried = now;
        }
        due
    }

    /// Starts to measure the progress of the client.
    fn begin(&mut self, now: Instant) {
        self.slow_since = now;
        self.retried = now;
        self.accepted = 0;
    }

    /// Counts accepted bytes.
    fn progress(&mut self, bytes: u64, now: Instant) {
        self.accepted += bytes;
        if self.accepted >= MIN_PROGRESS {
            self.begin(now);
        }
    }
}

/// Attempts to write within the stall timeout.
const WRITE_RETRIES: u32 = 4;

/// Bytes of a queue, beyond which its senders wait.
pub(super) const MAX_QUEUE: usize = 256 << 10;

/// Bytes that a client must accept within the stall timeout.
const MIN_PROGRESS: u64 = 4096;
