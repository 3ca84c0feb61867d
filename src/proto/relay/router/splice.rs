//! Bytes that bypass the router: the kernel moves or discards them, and the driver reports how many.

use std::time::Instant;

use super::{
    Id, Router, Splice,
    record::{ClientRecord, Phase},
};

impl Router {
    /// Returns the bytes of a large message that may go from a client to its destination past [`Router::receive`]. The
    /// driver moves them by a pipe and reports each round by [`Router::spliced`].
    pub fn splice(&self, from: Id) -> Option<Splice> {
        let client = self.clients.get(from)?;
        let Phase::Passing { to, left } = client.phase else { return None };
        let queue = self.clients.get(to)?.queue.as_ref()?;

        // Pending bytes were sent before, and the memory limit counts bytes in pipes too.
        let free = left > 0 && client.pending.is_empty() && self.used < self.config.memory_limit;
        free.then(|| Splice { to, left, queued: queue.len() > 0 })
    }

    /// Records a round of a splice: `taken` bytes went from the sender into the pipe, `given` bytes from the pipe to the
    /// destination. If none could be given, the sender waits until some can.
    pub fn spliced(&mut self, from: Id, to: Id, taken: u64, given: u64, now: Instant) {
        if taken > 0 {
            self.splice_in(from, taken, now);
        }
        if given > 0 {
            self.splice_out(to, given, now);
            return;
        }

        let in_pipe =
            self.clients.get(to).and_then(|client| client.queue.as_ref()).map(|queue| queue.in_pipe);
        let passing = self
            .clients
            .get(from)
            .is_some_and(|client| matches!(client.phase, Phase::Passing { to: its, .. } if its == to));
        if passing && in_pipe.is_some_and(|bytes| bytes > 0) {
            self.wait_for(from, to);
        }
    }

    /// Queues bytes of a splice that the driver read back from the pipe, because the sender is gone.
    pub fn copied_back(&mut self, to: Id, bytes: &[u8], now: Instant) {
        let Some(queue) = self.clients.get_mut(to).and_then(|client| client.queue.as_mut()) else { return };
        // `used` counts them already, as bytes in the pipe.
        queue.push(bytes, now);
        queue.spliced_out(bytes.len() as u64, now);

        self.mark_dirty(to);
        self.release(to, now);
        self.after_write(to, now);
    }

    /// Returns how many bytes of a message without a receiver a client has yet to send. The driver may discard them
    /// unread, and reports that by [`Router::discarded`].
    pub fn discardable(&self, id: Id) -> u64 {
        match self.clients.get(id) {
            Some(ClientRecord {
                phase: Phase::Discarding { left },
                ended: false,
                waiting_for: None,
                pending,
                ..
            }) if pending.is_empty() => *left,
            _ => 0,
        }
    }

    /// Records that `bytes` of a message without a receiver were discarded.
    pub fn discarded(&mut self, id: Id, bytes: u64, now: Instant) {
        let Some(client) = self.clients.get_mut(id) else { return };
        client.last_received = now;
        if let Phase::Discarding { left } = &mut client.phase {
            *left -= bytes;
            self.stats.discarded += bytes;
            if *left == 0 {
                client.phase = Phase::Header;
            }
        }
    }

    fn splice_in(&mut self, from: Id, bytes: u64, now: Instant) {
        let Some(client) = self.clients.get_mut(from) else { return };
        let Phase::Passing { to, left } = &mut client.phase else { return };
        client.last_received = now;
        *left -= bytes;
        let (to, whole) = (*to, *left == 0);
        // It was moved past the queue, so it does not wait for it.
        client.waiting_for = None;
        self.used += bytes as usize;

        let Some(queue) = self.clients.get_mut(to).and_then(|client| client.queue.as_mut()) else { return };
        queue.spliced_in(bytes, now);
        if let Some(lock) = &mut queue.lock {
            lock.last_moved = now;
        }
        self.stats.bytes += bytes;

        // The next message may not overtake the bytes in the pipe.
        if whole {
            self.wait_for(from, to);
        }
        self.schedule(to);
    }

    fn splice_out(&mut self, to: Id, bytes: u64, now: Instant) {
        // A destination that has left was settled when it was closed.
        let Some(queue) = self.clients.get_mut(to).and_then(|client| client.queue.as_mut()) else { return };
        queue.spliced_out(bytes, now);
        self.used -= bytes as usize;

        self.release(to, now);
        self.after_write(to, now);
    }

    /// Returns the sender that has a destination locked.
    #[cfg(test)]
    pub fn lock_holder(&self, to: Id) -> Option<Id> {
        let queue = self.clients.get(to)?.queue.as_ref()?;
        queue.lock.map(|lock| lock.holder)
    }
}
