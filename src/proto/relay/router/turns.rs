//! Those who wait, for a destination or for memory, and who goes on next.

use std::time::Instant;

use super::{Event, Id, MAX_STORED, Router};

/// The right of a client that has waited to go before others who wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub to: Id,
    pub bytes: usize,
}

impl Router {
    /// A client has to wait until another one takes more.
    pub(super) fn wait_for(&mut self, id: Id, to: Id) {
        let Some(client) = self.clients.get_mut(id) else { return };
        if client.waiting_for.is_some() {
            return;
        }
        client.waiting_for = Some(to);
        let queue = self.clients.get_mut(to).and_then(|client| client.queue.as_mut());
        if let Some(queue) = queue
            && queue.lock.is_none_or(|lock| lock.holder != id)
        {
            queue.waiters.push_back(id);
            self.schedule(to);
        }
    }

    /// A client goes on if this is the one for whom it has waited.
    pub(super) fn resume(&mut self, id: Id, to: Id) {
        if let Some(client) = self.clients.get_mut(id)
            && client.waiting_for == Some(to)
        {
            client.waiting_for = None;
            self.runnable.push_back((id, to));
        }
    }

    pub(super) fn leave_queue(&mut self, id: Id, to: Option<Id>) {
        let queue = to.and_then(|to| self.clients.get_mut(to)).and_then(|client| client.queue.as_mut());
        if let (Some(to), Some(queue)) = (to, queue) {
            queue.waiters.retain(|waiter| *waiter != id);
            self.wake_next(to);
        }
    }

    /// Lets those go on who may, until nobody is left.
    pub(super) fn run(&mut self, now: Instant) {
        while let Some((id, to)) = self.runnable.pop_front() {
            let Some(client) = self.clients.get_mut(id) else {
                // The next one in its place.
                self.wake_next(to);
                continue;
            };
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
            self.settle(id);
            self.schedule(id);
            self.wake_next(to);
            self.drop_idle_queue(to, now);
        }
        self.resume_memory_blocked(now);
    }

    /// Lets as many be read again as there is memory for.
    fn resume_memory_blocked(&mut self, now: Instant) {
        let mut promised = self.used;
        while promised < self.rules.memory
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

/// Bytes that a client which has waited may send before the next one has its turn.
const TURN_BYTES: usize = 64 << 10;
