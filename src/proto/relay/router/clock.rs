//! Time: who has had his, and when to look again.

use std::{
    cmp::Reverse,
    time::{Duration, Instant},
};

use super::{
    CloseReason, FLUSH_TIMEOUT, Id, Router,
    record::{ClientRecord, Phase},
};

impl Router {
    /// When [`Router::tick`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((when, _))| *when)
    }

    /// Ends the time of those who have had theirs.
    pub fn tick(&mut self, now: Instant) {
        while self.deadline().is_some_and(|when| when <= now) {
            let Some(Reverse((when, id))) = self.timers.pop() else { break };
            let Some(client) = self.clients.get_mut(id) else { continue };
            if client.scheduled != Some(when) {
                continue;
            }
            client.scheduled = None;
            self.check_deadlines(id, now);
            self.schedule(id);
        }
        if self.timers.len() > 2 * self.clients.len() + MAX_STALE_TIMERS {
            let clients = &self.clients;
            self.timers.retain(|Reverse((when, id))| {
                clients.get(*id).is_some_and(|client| client.scheduled == Some(*when))
            });
        }
        self.run(now);
    }

    /// Sees to it that the clock is looked at in time for a client.
    pub(super) fn schedule(&mut self, id: Id) {
        let Some(client) = self.clients.get(id) else { return };
        let Some(deadline) = self.deadline_of(client) else { return };
        if client.scheduled.is_none_or(|scheduled| deadline < scheduled) {
            self.timers.push(Reverse((deadline, id)));
            if let Some(client) = self.clients.get_mut(id) {
                client.scheduled = Some(deadline);
            }
        }
    }

    fn deadline_of(&self, client: &ClientRecord) -> Option<Instant> {
        let rules = &self.rules;
        let own = match client.phase {
            Phase::Registering => Some(client.phase_start + rules.register),
            Phase::Leaving(_) => Some(client.phase_start + FLUSH_TIMEOUT),
            // Whoever is not read cannot be heard.
            _ if client.waiting_for.is_some() || client.memory_blocked => None,
            Phase::Header if !client.partial.is_empty() => {
                Some((client.phase_start + rules.header).min(client.last_received + rules.idle))
            }
            _ => Some(client.last_received + rules.idle),
        };
        let queue = client.queue.as_ref();
        let slow = queue.and_then(|queue| queue.retry_at(rules.stall));
        let stuck = queue.filter(|queue| !queue.has_pending() && !queue.waiters.is_empty());
        let stuck = stuck.and_then(|queue| queue.lock).map(|lock| lock.last_moved + LOCK_TIMEOUT);
        [own, slow, stuck].into_iter().flatten().min()
    }

    /// Ends a client, or the one that holds it up, if its time has come.
    fn check_deadlines(&mut self, id: Id, now: Instant) {
        let stall = self.rules.stall;
        let Some(client) = self.clients.get_mut(id) else { return };
        let nudged = client.queue.as_mut().is_some_and(|queue| queue.retry(stall, now));
        if nudged {
            // A kernel may take a little long before it says that it takes much.
            self.mark_dirty(id);
        }
        let Some(client) = self.clients.get(id) else { return };
        if let Some(queue) = &client.queue {
            if queue.deadline(self.rules.stall).is_some_and(|when| when <= now) {
                let why = if let Phase::Leaving(why) = client.phase { why } else { CloseReason::Slow };
                return self.close(id, why, now);
            }
            let stuck = queue.lock.filter(|lock| {
                !queue.has_pending() && !queue.waiters.is_empty() && lock.last_moved + LOCK_TIMEOUT <= now
            });
            if let Some(lock) = stuck {
                self.close(lock.holder, CloseReason::Stuck, now);
                return;
            }
        }
        if self.deadline_of(client).is_none_or(|when| when > now) {
            return;
        }
        match client.phase {
            Phase::Registering => self.close(id, CloseReason::RegisterTimeout, now),
            Phase::Leaving(why) => self.close(id, why, now),
            _ if client.ended => self.leave(id, CloseReason::Ended, now),
            Phase::Header if !client.partial.is_empty() && client.phase_start + self.rules.header <= now => {
                self.close(id, CloseReason::HeaderTimeout, now);
            }
            _ => self.leave(id, CloseReason::Idle, now),
        }
    }
}

/// How long the sender of a large message may be half_closed while others wait to send to the same client.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// Timers that may lie around for nobody before they are cleared away.
const MAX_STALE_TIMERS: usize = 1024;
