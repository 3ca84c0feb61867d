//! Bytes that do not come through the router: those that a kernel moves, and those that it throws away.

use std::time::Instant;

use super::{
    Id, Router, Splice,
    record::{ClientRecord, Phase},
};

impl Router {
    /// The bytes of a large message that may go from this client to another past [`Router::receive`].
    pub fn splice(&self, from: Id) -> Option<Splice> {
        let client = self.clients.get(from)?;
        let Phase::Passing { to, left } = client.phase else { return None };
        let queue = self.clients.get(to)?.queue.as_ref()?;
        let free = queue.len() == 0 && client.pending.is_empty() && self.used < self.rules.memory;
        (left > 0 && free).then_some(Splice { to, left })
    }

    /// Who has to take what is there for it before more of a large message from this client can go past us.
    pub fn clogged(&self, from: Id) -> Option<Id> {
        let Phase::Passing { to, .. } = self.clients.get(from)?.phase else { return None };
        (!self.output(to).is_empty()).then_some(to)
    }

    /// So many bytes of its splice were taken from a client. They have to be reported again when they arrive
    /// ([`Router::unloaded`]), or be handed over ([`Router::poured`]).
    pub fn loaded(&mut self, from: Id, bytes: u64, now: Instant) {
        let Some(client) = self.clients.get_mut(from) else { return };
        let Phase::Passing { to, left } = &mut client.phase else { return };
        client.last_received = now;
        *left -= bytes;
        let (to, whole) = (*to, *left == 0);
        client.waiting_for = None;
        self.used += bytes as usize;
        let Some(queue) = self.clients.get_mut(to).and_then(|client| client.queue.as_mut()) else { return };
        queue.spliced_in(bytes, now);
        if let Some(lock) = &mut queue.lock {
            lock.last_moved = now;
        }
        self.stats.bytes += bytes;
        if whole {
            self.wait_for(from, to);
        }
        self.schedule(to);
    }

    /// So many bytes of a splice have arrived.
    pub fn unloaded(&mut self, to: Id, bytes: u64, now: Instant) {
        let Some(queue) = self.clients.get_mut(to).and_then(|client| client.queue.as_mut()) else { return };
        queue.spliced_out(bytes, now);
        self.used -= bytes as usize;
        self.release(to, now);
        self.after_write(to, now);
    }

    /// What has left a client waits in a pipe until its destination takes it.
    pub fn blocked(&mut self, from: Id) {
        if let Some(ClientRecord { phase: Phase::Passing { to, .. }, .. }) = self.clients.get(from) {
            self.wait_for(from, *to);
        }
    }

    /// Bytes of a splice that will not go past us after all.
    pub fn poured(&mut self, to: Id, bytes: &[u8], now: Instant) {
        let Some(queue) = self.clients.get_mut(to).and_then(|client| client.queue.as_mut()) else { return };
        queue.push(bytes, now);
        queue.spliced_out(bytes.len() as u64, now);
        self.mark_dirty(to);
        self.release(to, now);
        self.after_write(to, now);
    }

    /// Who sends a large message to this client, or has sent it and bytes of it are still under way.
    pub fn holder(&self, to: Id) -> Option<Id> {
        let queue = self.clients.get(to)?.queue.as_ref()?;
        queue.lock.map(|lock| lock.holder)
    }

    /// Bytes of a message to nobody that are still to come from a client.
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

    /// So many of them have come, and were thrown away.
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
}
