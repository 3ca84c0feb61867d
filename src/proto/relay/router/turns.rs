//! Clients that wait for a destination or for memory, and the order in which they go on.

use std::time::Instant;

use super::{Event, Id, MAX_STORED, Router};

/// The right of a client that has waited to send before others that wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// The destination.
    pub to: Id,
    /// Bytes that it may still send first.
    pub bytes: usize,
}

impl Router {
    /// Stops reading a client until its destination accepts more.
    pub(super) fn wait_for(&mut self, id: Id, to: Id) {
        let Some(client) = self.clients.get_mut(id) else { return };
        if client.waiting_for.is_some() {
            return;
        }
        client.waiting_for = Some(to);
        // The holder of the lock is no waiter: it goes on before all of them.
        let queue = self.clients.get_mut(to).and_then(|client| client.queue.as_mut());
        if let Some(queue) = queue
            && queue.lock.is_none_or(|lock| lock.holder != id)
        {
            queue.waiters.push_back(id);
            self.schedule(to);
        }
    }

    /// Lets a client go on, if it waits for this destination.
    pub(super) fn resume(&mut self, id: Id, to: Id) {
        if let Some(client) = self.clients.get_mut(id)
            && client.waiting_for == Some(to)
        {
            client.waiting_for = None;
            self.runnable.push_back((id, to));
        }
    }

    /// Removes a client from those that wait for a destination.
    pub(super) fn leave_queue(&mut self, id: Id, to: Option<Id>) {
        let queue = to.and_then(|to| self.clients.get_mut(to)).and_then(|client| client.queue.as_mut());
        if let (Some(to), Some(queue)) = (to, queue) {
            queue.waiters.retain(|waiter| *waiter != id);
            self.wake_next(to);
        }
    }

    /// Takes the pending input of every client that may go on.
    pub(super) fn run(&mut self, now: Instant) {
        while let Some((id, to)) = self.runnable.pop_front() {
            let Some(client) = self.clients.get_mut(id) else {
                // The client has left; the next one takes its turn.
                self.wake_next(to);
                continue;
            };
            // The time of waiting does not count as idle.
            client.last_received = now;

            let pending = std::mem::take(&mut client.pending);
            let turn = Turn { to, bytes: TURN_BYTES };
            let taken = self.take(id, &pending, Some(turn), now);

            if let Some(client) = self.clients.get_mut(id) {
                client.pending = if taken < pending.len() { pending[taken..].to_vec() } else { Vec::new() };
                if client.waiting_for.is_none() && client.pending.is_empty() {
                    self.events.push_back(Event::Resumed(id));
                }
            }

            self.count_stored(id);
            self.schedule(id);
            self.wake_next(to);
            self.drop_idle_queue(to, now);
        }
        self.resume_memory_blocked(now);
    }

    /// Resumes as many clients as there is memory for.
    fn resume_memory_blocked(&mut self, now: Instant) {
        // Each of them may store a message before the memory in use is known again.
        let mut promised = self.used;

        while promised < self.config.memory_limit
            && let Some(id) = self.memory_blocked.pop_front()
        {
            if let Some(client) = self.clients.get_mut(id)
                && std::mem::take(&mut client.memory_blocked)
            {
                client.last_received = now;
                promised += MAX_STORED;
                self.events.push_back(Event::Resumed(id));
                self.schedule(id);
            }
        }
    }
}

/// Bytes that a client may send in its turn.
const TURN_BYTES: usize = 64 << 10;
