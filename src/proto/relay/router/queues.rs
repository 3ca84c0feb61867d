//! Destinations: their queues, and who has one for itself.

use std::time::Instant;

use super::{Id, Inbox, LIMIT, Router, client::Phase, turns::Turn};

impl Router {
    pub(super) fn inbox(&mut self, to: Id, now: Instant) -> Option<&mut Inbox> {
        let client = self.clients.get_mut(to)?;
        Some(client.inbox.get_or_insert_with(|| Box::new(Inbox::new(now))))
    }

    pub(super) fn is_listed(&self, to: Id) -> bool {
        self.clients.get(to).is_some_and(|client| client.listed)
    }

    /// Whether a message of so many bytes may be put into the queue of a client now.
    pub(super) fn is_open(&self, to: Id, bytes: usize, turn: Option<Turn>) -> bool {
        let Some(inbox) = self.clients.get(to).and_then(|client| client.inbox.as_ref()) else { return true };
        let first = turn.is_some_and(|turn| turn.to == to && turn.bytes > 0);
        inbox.lock.is_none() && (first || inbox.waiters.is_empty()) && inbox.takes(bytes)
    }

    pub(super) fn push(&mut self, to: Id, bytes: &[u8], now: Instant) {
        if bytes.is_empty() {
            return;
        }
        let Some(inbox) = self.inbox(to, now) else { return };
        let quiet = !inbox.is_pressing();
        inbox.push(bytes, now);
        self.used += bytes.len();
        self.flag(to);
        if quiet {
            self.schedule(to);
        }
    }

    /// Puts what stands before a framed message into the queue.
    pub(super) fn push_frame(&mut self, id: Id, to: Id, len: u64, now: Instant) {
        if !self.rules.framed {
            return;
        }
        let Some(name) = self.clients.get(id).and_then(|client| client.name.clone()) else { return };
        let frame = [&name[..], format!("|{len}|").as_bytes()].concat();
        self.push(to, &frame, now);
    }

    pub(super) fn flag(&mut self, to: Id) {
        if let Some(inbox) = self.clients.get_mut(to).and_then(|client| client.inbox.as_mut())
            && !inbox.flagged
        {
            inbox.flagged = true;
            self.fresh.push_back(to);
        }
    }

    /// Something of a client's has been written.
    pub(super) fn moved(&mut self, to: Id, now: Instant) {
        self.wake(to);
        self.tidy(to, now);
        self.run(now);
    }

    /// Ends the lock of a client whose message has come to its end. Tells whether it did.
    pub(super) fn release(&mut self, to: Id, now: Instant) -> bool {
        let Some(inbox) = self.clients.get(to).and_then(|client| client.inbox.as_ref()) else { return false };
        let Some(lock) = inbox.lock.filter(|_| inbox.piped == 0) else { return false };
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
        self.figures.messages += u64::from(whole);
        if let Some(inbox) = self.clients.get_mut(to).and_then(|client| client.inbox.as_mut()) {
            inbox.lock = None;
        }
        self.resume(lock.holder, to);
        self.wake(to);
        self.tidy(to, now);
        true
    }

    /// Lets the next one go on who waits for this client, if there is room.
    pub(super) fn wake(&mut self, to: Id) {
        let Some(inbox) = self.clients.get_mut(to).and_then(|client| client.inbox.as_mut()) else { return };
        if inbox.len() > LOW {
            return;
        }
        if let Some(lock) = inbox.lock {
            if inbox.piped == 0 {
                self.resume(lock.holder, to);
            }
        } else if let Some(next) = inbox.waiters.pop_front() {
            self.resume(next, to);
        }
    }

    /// Gives back what an inbox needs if nobody needs it.
    pub(super) fn tidy(&mut self, to: Id, now: Instant) {
        let Some(client) = self.clients.get_mut(to) else { return };
        if client.inbox.as_ref().is_some_and(|inbox| inbox.is_idle()) {
            client.inbox = None;
        }
        if let (Phase::Leaving(why), None) = (client.phase, &client.inbox) {
            self.close(to, why, now);
        }
    }
}

/// Bytes in a queue at which whoever waits for it goes on.
const LOW: usize = LIMIT / 2;
