//! How clients go: at once, or when they have got what is there for them.

use std::{collections::VecDeque, time::Instant};

use super::{CloseReason, Event, Id, Router, record::Phase};

impl Router {
    /// A client has said that it will send nothing more. It goes on receiving.
    pub fn ended(&mut self, id: Id, now: Instant) {
        let Some(client) = self.clients.get_mut(id) else { return };
        client.ended = true;
        client.last_received = now;
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

    /// The connection of a client is no more.
    pub fn lost(&mut self, id: Id, now: Instant) {
        self.close(id, CloseReason::Lost, now);
        self.run(now);
    }

    /// Takes nobody and nothing any more; what is on its way is delivered, for as long as [`FLUSH_TIMEOUT`](super::FLUSH_TIMEOUT).
    pub fn close_down(&mut self, now: Instant) {
        for id in self.clients.ids().collect::<Vec<_>>() {
            self.leave(id, CloseReason::Shutdown, now);
        }
        self.run(now);
    }

    /// The connection of a client is to be closed, now.
    pub(super) fn close(&mut self, id: Id, why: CloseReason, now: Instant) {
        self.unlist(id, now);
        let Some(mut client) = self.clients.remove(id) else { return };
        self.limits.leave(client.address);
        self.unregistered -= usize::from(client.phase == Phase::Registering);
        let queue = client.queue.as_ref();
        self.used -= client.counted + queue.map_or(0, |queue| queue.len() + queue.in_pipe as usize);
        // What was under way to it is nobody's now, and its sender may go on.
        self.events.extend(queue.and_then(|queue| queue.lock).map(|lock| Event::Resumed(lock.holder)));
        self.stats.evicted +=
            u64::from(!matches!(why, CloseReason::Ended | CloseReason::Lost | CloseReason::Shutdown));
        let name = client.name.take();
        self.events.push_back(Event::Left { id, name, why });
        match client.phase {
            Phase::Passing { to, left } => {
                self.stats.truncated += u64::from(left > 0);
                self.release(to, now);
            }
            _ if client.waiting_for.is_some() => self.leave_queue(id, client.waiting_for),
            _ => {}
        }
    }

    /// A client gets what is there for it, and is gone then.
    pub(super) fn leave(&mut self, id: Id, why: CloseReason, now: Instant) {
        let Some(client) = self.clients.get_mut(id) else { return };
        if matches!(client.phase, Phase::Leaving(_)) {
            return;
        }
        if client.phase == Phase::Registering {
            self.close(id, why, now);
            return;
        }
        match client.phase {
            // What has left it is no longer its own.
            Phase::Passing { to, left } => {
                self.truncate(id, left);
                self.release(to, now);
            }
            _ => self.forget_partial(id),
        }
        self.unlist(id, now);
        if let Some(client) = self.clients.get_mut(id) {
            let waiting = client.waiting_for.take();
            client.phase = Phase::Leaving(why);
            client.phase_start = now;
            client.pending = Vec::new();
            self.leave_queue(id, waiting);
            self.settle(id);
            self.schedule(id);
            self.drop_idle_queue(id, now);
        }
    }

    /// Nobody finds a client any more, and what was being sent to it is dropped.
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
            // Bytes that are under way are the end of the message.
            if queue.in_pipe == 0 {
                queue.lock = None;
            }
        }
        if let Some(name) = name {
            self.clients.release(&name, id);
        }
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
        for waiter in waiting {
            self.resume(waiter, id);
        }
    }

    /// The sender of a large message will send no more of it.
    fn truncate(&mut self, id: Id, left: u64) {
        if let Some(client) = self.clients.get_mut(id)
            && left > 0
        {
            self.stats.truncated += 1;
            client.phase = Phase::Header;
        }
    }

    /// What has come of a message that is not whole never was.
    fn forget_partial(&mut self, id: Id) {
        if let Some(client) = self.clients.get_mut(id) {
            client.partial = Vec::new();
            if !matches!(client.phase, Phase::Leaving(_)) {
                client.phase = Phase::Header;
            }
        }
        self.settle(id);
    }

    pub(super) fn oldest_assembly(&self) -> Option<Id> {
        let assembling = |id: &Id| {
            let client = self.clients.get(*id)?;
            matches!(client.phase, Phase::Assembling { left: 1.., .. }).then_some(client.phase_start)
        };
        self.clients.ids().filter(|id| assembling(id).is_some()).min_by_key(assembling)
    }
}
