//! Timeouts, and the timers for them.

use std::{
    cmp::Reverse,
    time::{Duration, Instant},
};

use super::{
    CloseReason, FLUSH_TIMEOUT, Id, Router,
    record::{ClientRecord, Phase},
};

impl Router {
    /// Returns the time when [`Router::tick`] must be called.
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((when, _))| *when)
    }

    /// Closes the clients whose time is up.
    pub fn tick(&mut self, now: Instant) {
        while self.deadline().is_some_and(|when| when <= now) {
            let Some(Reverse((when, id))) = self.timers.pop() else { break };
            let Some(client) = self.clients.get_mut(id) else { continue };
            // A heap removes only its top: a timer that an earlier one has replaced stays in it, and is skipped.
            if client.scheduled != Some(when) {
                continue;
            }
            client.scheduled = None;
            self.check_deadlines(id, now);
            self.schedule(id);
        }

        // Clients that leave do not take their timers along.
        if self.timers.len() > 2 * self.clients.len() + MAX_STALE_TIMERS {
            let clients = &self.clients;
            self.timers.retain(|Reverse((when, id))| {
                clients.get(*id).is_some_and(|client| client.scheduled == Some(*when))
            });
        }
        self.run(now);
    }

    /// Sets a timer for the next deadline of a client, unless an earlier one is set.
    pub(super) fn schedule(&mut self, id: Id) {
        let Some(client) = self.clients.get(id) else { return };
        let Some(deadline) = self.deadline_of(client) else { return };
        // A later deadline needs no timer: the earlier one leads to it when it is due.
        if client.scheduled.is_none_or(|scheduled| deadline < scheduled) {
            self.timers.push(Reverse((deadline, id)));
            if let Some(client) = self.clients.get_mut(id) {
                client.scheduled = Some(deadline);
            }
        }
    }

    /// Returns the earliest deadline of a client: its own, that of its queue, or that of the lock on it.
    fn deadline_of(&self, client: &ClientRecord) -> Option<Instant> {
        let config = &self.config;
        let own = match client.phase {
            Phase::Registering => Some(client.phase_start + config.register_timeout),
            Phase::Leaving(_) => Some(client.phase_start + FLUSH_TIMEOUT),
            // A client that is not read cannot prove that it is alive.
            _ if client.waiting_for.is_some() || client.memory_blocked => None,
            Phase::Header if !client.partial.is_empty() => Some(
                (client.phase_start + config.header_timeout).min(client.last_received + config.idle_timeout),
            ),
            _ => Some(client.last_received + config.idle_timeout),
        };

        let queue = client.queue.as_ref();
        let slow = queue.and_then(|queue| queue.retry_at(config.stall_timeout));
        let stuck = queue.filter(|queue| !queue.has_pending() && !queue.waiters.is_empty());
        let stuck = stuck.and_then(|queue| queue.lock).map(|lock| lock.last_moved + LOCK_TIMEOUT);
        [own, slow, stuck].into_iter().flatten().min()
    }

    /// Closes a client whose deadline has passed, or the holder of a lock that keeps others waiting.
    fn check_deadlines(&mut self, id: Id, now: Instant) {
        let stall = self.config.stall_timeout;
        let Some(client) = self.clients.get_mut(id) else { return };
        let retries = client.queue.as_mut().is_some_and(|queue| queue.retry(stall, now));
        if retries {
            // A kernel reports a socket as writable only when much of its buffer is free; less may be accepted before.
            self.mark_dirty(id);
        }

        let Some(client) = self.clients.get(id) else { return };
        if let Some(queue) = &client.queue {
            if queue.deadline(self.config.stall_timeout).is_some_and(|when| when <= now) {
                let reason =
                    if let Phase::Leaving(reason) = client.phase { reason } else { CloseReason::Slow };
                return self.close(id, reason, now);
            }
            // The holder of a lock may be silent for as long as it keeps no other client waiting.
            let stuck = queue.lock.filter(|lock| {
                !queue.has_pending() && !queue.waiters.is_empty() && lock.last_moved + LOCK_TIMEOUT <= now
            });
            if let Some(lock) = stuck {
                self.close(lock.holder, CloseReason::Stuck, now);
                return;
            }
        }

        // The timer may be older than the last byte of the client, so the deadline is computed again.
        if self.deadline_of(client).is_none_or(|when| when > now) {
            return;
        }
        match client.phase {
            Phase::Registering => self.close(id, CloseReason::RegisterTimeout, now),
            Phase::Leaving(reason) => self.close(id, reason, now),
            _ if client.ended => self.leave(id, CloseReason::Ended, now),
            Phase::Header
                if !client.partial.is_empty() && client.phase_start + self.config.header_timeout <= now =>
            {
                self.close(id, CloseReason::HeaderTimeout, now);
            }
            _ => self.leave(id, CloseReason::Idle, now),
        }
    }
}

/// The time for which the sender of a large message may be silent while others wait for its destination.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// Stale timers before they are removed.
const MAX_STALE_TIMERS: usize = 1024;
