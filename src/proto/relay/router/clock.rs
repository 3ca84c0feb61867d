//! Time: who has had his, and when to look again.

use std::{
    cmp::Reverse,
    time::{Duration, Instant},
};

use super::{
    FLUSH, Id, Router, Why,
    client::{Client, Phase},
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
            self.judge(id, now);
            self.schedule(id);
        }
        if self.timers.len() > 2 * self.clients.len() + STALE {
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

    fn deadline_of(&self, client: &Client) -> Option<Instant> {
        let rules = &self.rules;
        let own = match client.phase {
            Phase::Registering => Some(client.since + rules.register),
            Phase::Leaving(_) => Some(client.since + FLUSH),
            // Whoever is not read cannot be heard.
            _ if client.waiting.is_some() || client.hungry => None,
            Phase::Header if !client.partial.is_empty() => {
                Some((client.since + rules.header).min(client.heard + rules.idle))
            }
            _ => Some(client.heard + rules.idle),
        };
        let inbox = client.inbox.as_ref();
        let slow = inbox.and_then(|inbox| inbox.look_at(rules.stall));
        let stuck = inbox.filter(|inbox| !inbox.is_pressing() && !inbox.waiters.is_empty());
        let stuck = stuck.and_then(|inbox| inbox.lock).map(|lock| lock.moved + STUCK);
        [own, slow, stuck].into_iter().flatten().min()
    }

    /// Ends a client, or the one that holds it up, if its time has come.
    fn judge(&mut self, id: Id, now: Instant) {
        let stall = self.rules.stall;
        let Some(client) = self.clients.get_mut(id) else { return };
        let nudged = client.inbox.as_mut().is_some_and(|inbox| inbox.look(stall, now));
        if nudged {
            // A kernel may take a little long before it says that it takes much.
            self.flag(id);
        }
        let Some(client) = self.clients.get(id) else { return };
        if let Some(inbox) = &client.inbox {
            if inbox.deadline(self.rules.stall).is_some_and(|when| when <= now) {
                let why = if let Phase::Leaving(why) = client.phase { why } else { Why::Slow };
                return self.close(id, why, now);
            }
            let stuck = inbox.lock.filter(|lock| {
                !inbox.is_pressing() && !inbox.waiters.is_empty() && lock.moved + STUCK <= now
            });
            if let Some(lock) = stuck {
                self.close(lock.holder, Why::Stuck, now);
                return;
            }
        }
        if self.deadline_of(client).is_none_or(|when| when > now) {
            return;
        }
        match client.phase {
            Phase::Registering => self.close(id, Why::RegisterTimeout, now),
            Phase::Leaving(why) => self.close(id, why, now),
            _ if client.ended => self.leave(id, Why::Ended, now),
            Phase::Header if !client.partial.is_empty() && client.since + self.rules.header <= now => {
                self.close(id, Why::HeaderTimeout, now);
            }
            _ => self.leave(id, Why::Idle, now),
        }
    }
}

/// How long the sender of a large message may be silent while others wait to send to the same client.
const STUCK: Duration = Duration::from_secs(5);

/// Timers that may lie around for nobody before they are cleared away.
const STALE: usize = 1024;
