//! Destinations: their queues, and the locks on them.

use std::time::Instant;

use super::{Id, MAX_QUEUE, Router, SendQueue, record::Phase, turns::Turn};

impl Router {
    /// Returns the queue of a client, and creates it if it was idle.
    pub(super) fn queue(&mut self, to: Id, now: Instant) -> Option<&mut SendQueue> {
        let client = self.clients.get_mut(to)?;
        Some(client.queue.get_or_insert_with(|| Box::new(SendQueue::new(now))))
    }

    /// Tells whether messages to the name of a client are delivered to it.
    pub(super) fn is_listed(&self, to: Id) -> bool {
        self.clients.get(to).is_some_and(|client| client.listed)
    }

    /// Tells whether a message of `bytes` may be queued for a client now.
    pub(super) fn has_room_for(&self, to: Id, bytes: usize, turn: Option<Turn>) -> bool {
        let Some(queue) = self.clients.get(to).and_then(|client| client.queue.as_ref()) else { return true };
        // A client in its turn goes before those that still wait.
        let first = turn.is_some_and(|turn| turn.to == to && turn.bytes > 0);
        queue.lock.is_none() && (first || queue.waiters.is_empty()) && queue.takes(bytes)
    }

    /// Queues bytes for a client.
    pub(super) fn push(&mut self, to: Id, bytes: &[u8], now: Instant) {
        if bytes.is_empty() {
            return;
        }
        let Some(queue) = self.queue(to, now) else { return };
        // The stall timeout begins with the first byte.
        let quiet = !queue.has_pending();
        queue.push(bytes, now);
        self.used += bytes.len();
        self.mark_dirty(to);
        if quiet {
            self.schedule(to);
        }
    }

    /// Queues the prefix of a framed message.
    pub(super) fn push_frame(&mut self, id: Id, to: Id, len: u64, now: Instant) {
        if !self.config.framed {
            return;
        }
        let Some(name) = self.clients.get(id).and_then(|client| client.name.clone()) else { return };
        let frame = [&name[..], format!("|{len}|").as_bytes()].concat();
        self.push(to, &frame, now);
    }

    /// Reports a client by [`Router::next_output`].
    pub(super) fn mark_dirty(&mut self, to: Id) {
        if let Some(queue) = self.clients.get_mut(to).and_then(|client| client.queue.as_mut())
            && !queue.dirty
        {
            queue.dirty = true;
            self.dirty.push_back(to);
        }
    }

    /// Lets waiting clients go on after bytes of a queue were written.
    pub(super) fn after_write(&mut self, to: Id, now: Instant) {
        self.wake_next(to);
        self.drop_idle_queue(to, now);
        self.run(now);
    }

    /// Unlocks a destination once the message of the lock's holder has ended. Returns whether it was unlocked.
    pub(super) fn release(&mut self, to: Id, now: Instant) -> bool {
        let Some(queue) = self.clients.get(to).and_then(|client| client.queue.as_ref()) else { return false };
        let Some(lock) = queue.lock.filter(|_| queue.in_pipe == 0) else { return false };
        let holder = self.clients.get_mut(lock.holder);
        let whole = match holder {
            Some(client) => match client.phase {
                Phase::Passing { to: its, left } if its == to && left > 0 => return false,
                Phase::Passing { to: its, .. } if its == to => {
                    client.phase = Phase::Header;
                    true
                }
                _ => false,
            },
            None => false,
        };

        self.stats.messages += u64::from(whole);
        if let Some(queue) = self.clients.get_mut(to).and_then(|client| client.queue.as_mut()) {
            queue.lock = None;
        }
        self.resume(lock.holder, to);
        self.wake_next(to);
        self.drop_idle_queue(to, now);
        true
    }

    /// Resumes the next client that waits for this one, if there is room.
    pub(super) fn wake_next(&mut self, to: Id) {
        let Some(queue) = self.clients.get_mut(to).and_then(|client| client.queue.as_mut()) else { return };
        // Waking for every few bytes would make the sender read and wait again and again.
        if queue.len() > LOW_WATER {
            return;
        }

        if let Some(lock) = queue.lock {
            // The holder splices on as the pipe drains; reading must wait until the pipe is empty.
            if queue.in_pipe == 0 {
                self.resume(lock.holder, to);
            }
        } else if let Some(next) = queue.waiters.pop_front() {
            self.resume(next, to);
        }
    }

    /// Frees an idle queue, and closes the client if that was all it stayed for.
    pub(super) fn drop_idle_queue(&mut self, to: Id, now: Instant) {
        let Some(client) = self.clients.get_mut(to) else { return };
        if client.queue.as_ref().is_some_and(|queue| queue.is_idle()) {
            client.queue = None;
        }
        if let (Phase::Leaving(reason), None) = (client.phase, &client.queue) {
            self.close(to, reason, now);
        }
    }
}

/// Bytes of a queue below which a waiting client is resumed.
const LOW_WATER: usize = MAX_QUEUE / 2;
