//! The end of clients: at once, or after their queue was written.

use std::{collections::VecDeque, time::Instant};

use super::{CloseReason, Event, Id, Router, record::Phase};

impl Router {
    /// Records EOF from a client. It goes on receiving.
    pub fn ended(&mut self, id: Id, now: Instant) {
        let Some(client) = self.clients.get_mut(id) else { return };
        client.ended = true;
        client.last_received = now;
        // Clients that have left meanwhile are dropped from the front, so that the list does not grow for ever.
        while self.half_closed.front().is_some_and(|first| self.clients.get(*first).is_none()) {
            self.half_closed.pop_front();
        }
        self.half_closed.push_back(id);

        let Some(client) = self.clients.get(id) else { return };
        match client.phase {
            Phase::Registering => self.close(id, CloseReason::Ended, now),
            Phase::Assembling { .. } | Phase::Discarding { .. } | Phase::Header => self.forget_partial(id),
            Phase::Passing { to, left } => {
                self.truncate(id, left);
                self.release(to, now);
            }
            Phase::Leaving(_) => {}
        }
        self.schedule(id);
        self.run(now);
    }

    /// Records that the connection of a client is lost.
    pub fn lost(&mut self, id: Id, now: Instant) {
        self.close(id, CloseReason::Lost, now);
        self.run(now);
    }

    /// Takes no more input; queues are still written, within [`FLUSH_TIMEOUT`](super::FLUSH_TIMEOUT).
    pub fn close_down(&mut self, now: Instant) {
        for id in self.clients.ids().collect::<Vec<_>>() {
            self.leave(id, CloseReason::Shutdown, now);
        }
        self.run(now);
    }

    /// Closes a client at once.
    pub(super) fn close(&mut self, id: Id, reason: CloseReason, now: Instant) {
        self.unlist(id, now);
        let Some(mut client) = self.clients.remove(id) else { return };
        self.limits.leave(client.address);
        self.unregistered -= usize::from(client.phase == Phase::Registering);

        let queue = client.queue.as_ref();
        self.used -= client.counted + queue.map_or(0, |queue| queue.len() + queue.in_pipe as usize);
        // The bytes in the pipe are lost, and their sender may go on.
        self.events.extend(queue.and_then(|queue| queue.lock).map(|lock| Event::Resumed(lock.holder)));

        self.stats.evicted +=
            u64::from(!matches!(reason, CloseReason::Ended | CloseReason::Lost | CloseReason::Shutdown));
        let name = client.name.take();
        self.events.push_back(Event::Left { id, name, reason });

        match client.phase {
            Phase::Passing { to, left } => {
                self.stats.truncated += u64::from(left > 0);
                self.release(to, now);
            }
            _ if client.waiting_for.is_some() => self.leave_queue(id, client.waiting_for),
            _ => {}
        }
    }

    /// Closes a client after its queue was written.
    pub(super) fn leave(&mut self, id: Id, reason: CloseReason, now: Instant) {
        let Some(client) = self.clients.get_mut(id) else { return };
        if matches!(client.phase, Phase::Leaving(_)) {
            return;
        }
        if client.phase == Phase::Registering {
            self.close(id, reason, now);
            return;
        }

        match client.phase {
            // Bytes that were passed on are still delivered.
            Phase::Passing { to, left } => {
                self.truncate(id, left);
                self.release(to, now);
            }
            _ => self.forget_partial(id),
        }

        self.unlist(id, now);
        if let Some(client) = self.clients.get_mut(id) {
            let waiting = client.waiting_for.take();
            client.phase = Phase::Leaving(reason);
            client.phase_start = now;
            client.pending = Vec::new();
            self.leave_queue(id, waiting);
            self.count_stored(id);
            self.schedule(id);
            self.drop_idle_queue(id, now);
        }
    }

    /// Frees the name of a client; the rest of a large message to it is discarded.
    fn unlist(&mut self, id: Id, now: Instant) {
        let Some(client) = self.clients.get_mut(id) else { return };
        if !std::mem::take(&mut client.listed) {
            return;
        }

        let name = client.name.clone();
        let mut waiting = VecDeque::new();
        let mut holder = None;
        if let Some(queue) = &mut client.queue {
            waiting = std::mem::take(&mut queue.waiters);
            holder = queue.lock.map(|lock| lock.holder);
            // Bytes in the pipe are the end of its last message.
            if queue.in_pipe == 0 {
                queue.lock = None;
            }
        }
        if let Some(name) = name {
            self.clients.release(&name, id);
        }

        // The holder of the lock goes on with its next message.
        if let Some(holder) = holder
            && let Some(client) = self.clients.get_mut(holder)
            && let Phase::Passing { to, left } = client.phase
            && to == id
        {
            self.stats.truncated += u64::from(left > 0);
            client.phase = if left == 0 { Phase::Header } else { Phase::Discarding { left } };
            client.last_received = now;
            match client.waiting_for {
                Some(_) => self.resume(holder, id),
                None => self.events.push_back(Event::Resumed(holder)),
            }
        }

        // Waiting messages find no receiver now, and are discarded.
        for waiter in waiting {
            self.resume(waiter, id);
        }
    }

    /// Ends the large message of a client that sends no more of it.
    fn truncate(&mut self, id: Id, left: u64) {
        if let Some(client) = self.clients.get_mut(id)
            && left > 0
        {
            self.stats.truncated += 1;
            client.phase = Phase::Header;
        }
    }

    /// Drops the incomplete message or header of a client.
    fn forget_partial(&mut self, id: Id) {
        if let Some(client) = self.clients.get_mut(id) {
            client.partial = Vec::new();
            if !matches!(client.phase, Phase::Leaving(_)) {
                client.phase = Phase::Header;
            }
        }
        self.count_stored(id);
    }

    /// Returns the client that has assembled its message for the longest time.
    pub(super) fn oldest_assembly(&self) -> Option<Id> {
        let assembling = |id: &Id| {
            let client = self.clients.get(*id)?;
            matches!(client.phase, Phase::Assembling { left: 1.., .. }).then_some(client.phase_start)
        };
        self.clients.ids().filter(|id| assembling(id).is_some()).min_by_key(assembling)
    }
}
