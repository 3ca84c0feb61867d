//! How clients go: at once, or when they have got what is there for them.

use std::{collections::VecDeque, time::Instant};

use super::{Event, Id, Router, Why, client::Phase};

impl Router {
    /// A client has said that it will send nothing more. It goes on receiving.
    pub fn ended(&mut self, id: Id, now: Instant) {
        let Some(client) = self.clients.get_mut(id) else { return };
        client.ended = true;
        client.heard = now;
        while self.silent.front().is_some_and(|first| self.clients.get(*first).is_none()) {
            self.silent.pop_front();
        }
        self.silent.push_back(id);
        let Some(client) = self.clients.get(id) else { return };
        match client.phase {
            Phase::Registering => self.close(id, Why::Ended, now),
            Phase::Assembling { .. } | Phase::Discarding { .. } | Phase::Header => self.forget_partial(id),
            Phase::Passing { to, left } => {
                self.cut_short(id, left);
                self.release(to, now);
            }
            Phase::Leaving(_) => {}
        }
        self.schedule(id);
        self.run(now);
    }

    /// The connection of a client is no more.
    pub fn lost(&mut self, id: Id, now: Instant) {
        self.close(id, Why::Lost, now);
        self.run(now);
    }

    /// Takes nobody and nothing any more; what is on its way is delivered, for as long as [`FLUSH`](super::FLUSH).
    pub fn close_down(&mut self, now: Instant) {
        for id in self.clients.ids().collect::<Vec<_>>() {
            self.leave(id, Why::Shutdown, now);
        }
        self.run(now);
    }

    /// The connection of a client is to be closed, now.
    pub(super) fn close(&mut self, id: Id, why: Why, now: Instant) {
        self.unlist(id, now);
        let Some(mut client) = self.clients.remove(id) else { return };
        self.origins.leave(client.address);
        self.unregistered -= usize::from(client.phase == Phase::Registering);
        let inbox = client.inbox.as_ref();
        self.used -= client.kept + inbox.map_or(0, |inbox| inbox.len() + inbox.piped as usize);
        // What was under way to it is nobody's now, and its sender may go on.
        self.events.extend(inbox.and_then(|inbox| inbox.lock).map(|lock| Event::Resumed(lock.holder)));
        self.figures.evicted += u64::from(!matches!(why, Why::Ended | Why::Lost | Why::Shutdown));
        let name = client.name.take();
        self.events.push_back(Event::Left { id, name, why });
        match client.phase {
            Phase::Passing { to, left } => {
                self.figures.truncated += u64::from(left > 0);
                self.release(to, now);
            }
            _ if client.waiting.is_some() => self.leave_queue(id, client.waiting),
            _ => {}
        }
    }

    /// A client gets what is there for it, and is gone then.
    pub(super) fn leave(&mut self, id: Id, why: Why, now: Instant) {
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
                self.cut_short(id, left);
                self.release(to, now);
            }
            _ => self.forget_partial(id),
        }
        self.unlist(id, now);
        if let Some(client) = self.clients.get_mut(id) {
            let waiting = client.waiting.take();
            client.phase = Phase::Leaving(why);
            client.since = now;
            client.pending = Vec::new();
            self.leave_queue(id, waiting);
            self.settle(id);
            self.schedule(id);
            self.tidy(id, now);
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
        if let Some(inbox) = &mut client.inbox {
            waiting = std::mem::take(&mut inbox.waiters);
            holder = inbox.lock.map(|lock| lock.holder);
            // Bytes that are under way are the end of the message.
            if inbox.piped == 0 {
                inbox.lock = None;
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
            self.figures.truncated += u64::from(left > 0);
            client.phase = if left == 0 { Phase::Header } else { Phase::Discarding { left } };
            client.heard = now;
            match client.waiting {
                Some(_) => self.resume(holder, id),
                None => self.events.push_back(Event::Resumed(holder)),
            }
        }
        for waiter in waiting {
            self.resume(waiter, id);
        }
    }

    /// The sender of a large message will send no more of it.
    fn cut_short(&mut self, id: Id, left: u64) {
        if let Some(client) = self.clients.get_mut(id)
            && left > 0
        {
            self.figures.truncated += 1;
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
            matches!(client.phase, Phase::Assembling { left: 1.., .. }).then_some(client.since)
        };
        self.clients.ids().filter(|id| assembling(id).is_some()).min_by_key(assembling)
    }
}
