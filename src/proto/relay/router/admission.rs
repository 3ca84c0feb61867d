//! Admission and registration of clients.

use std::{net::IpAddr, rc::Rc, time::Instant};

use super::{
    Admission, CloseReason, Event, Id, Router, header,
    messages::Taken,
    record::{ClientRecord, Phase},
};

impl Router {
    /// Admits a connection from `address`, or says why not.
    pub fn admit(&mut self, address: IpAddr, now: Instant) -> Admission {
        self.evict_half_closed(now);
        if self.clients.len() >= self.config.max_clients {
            self.stats.refused += 1;
            return Admission::Refused(CloseReason::TooMany);
        }
        match self.limits.admit(address, now) {
            Err(when) => return Admission::Later(when),
            Ok(false) => {
                self.stats.refused += 1;
                return Admission::Refused(CloseReason::Crowded);
            }
            Ok(true) => {}
        }
        self.evict_unregistered(now);

        let id = self.clients.insert(ClientRecord::new(address, now));
        self.registering.push_back(id);
        self.unregistered += 1;
        self.stats.admitted += 1;
        self.schedule(id);
        Admission::Joined(id)
    }

    /// Closes the oldest client that has sent EOF, if the relay is full: it gives way to one that may still send.
    fn evict_half_closed(&mut self, now: Instant) {
        if self.clients.len() < self.config.max_clients {
            return;
        }
        while let Some(client) = self.half_closed.pop_front() {
            if self.clients.get(client).is_some() {
                self.close(client, CloseReason::Ended, now);
                return self.run(now);
            }
        }
    }

    /// Closes the oldest client that has not registered, if there are too many. Connections without a name cost their
    /// sender nothing, so they must not fill the relay.
    fn evict_unregistered(&mut self, now: Instant) {
        while let Some(oldest) = self.registering.front().copied() {
            let registering =
                self.clients.get(oldest).is_some_and(|client| client.phase == Phase::Registering);
            if registering && self.unregistered < MAX_UNREGISTERED {
                return;
            }

            // Clients that have registered meanwhile only leave the list.
            self.registering.pop_front();
            if registering {
                self.close(oldest, CloseReason::Evicted, now);
                self.run(now);
            }
        }
    }

    /// Parses the registration of a client.
    pub(super) fn register(&mut self, id: Id, bytes: &[u8], now: Instant) -> Taken {
        let Some(client) = self.clients.get_mut(id) else { return Taken::Stop(bytes.len()) };
        let before = client.partial.len();
        let skipped = if before == 0 { header::line_ends(bytes) } else { 0 };
        let bytes = &bytes[skipped..];
        // One byte more than the longest name: its `|`, or the proof that the name is too long.
        let most = bytes.len().min(header::MAX_NAME + 1 - before);
        client.partial.extend_from_slice(&bytes[..most]);

        let registration = match header::name(&client.partial) {
            Ok(Some(registration)) => registration,
            Ok(None) => return Taken::Stop(skipped + bytes.len()),
            Err(_) => {
                self.close(id, CloseReason::BadName, now);
                return Taken::Stop(skipped + bytes.len());
            }
        };
        let size = registration.len() + 1;
        // `partial` is needed no more; most clients never fill it again.
        let name: Option<Rc<[u8]>> = self.config.authenticator.name(registration).map(Rc::from);
        client.partial = Vec::new();

        if let Err(reason) = self.assign_name(id, name, now) {
            self.close(id, reason, now);
            return Taken::Stop(skipped + bytes.len());
        }
        Taken::On(skipped + size - before)
    }

    /// Assigns a name to a client. A holder keeps its name until it has sent EOF.
    fn assign_name(&mut self, id: Id, name: Option<Rc<[u8]>>, now: Instant) -> Result<(), CloseReason> {
        let name = name.ok_or(CloseReason::Unwelcome)?;
        if let Some(holder) = self.clients.named(&name) {
            if self.clients.get(holder).is_some_and(|holder| !holder.ended) {
                return Err(CloseReason::Duplicate);
            }
            // The holder still gets its queue, but messages go to the new client from now on.
            self.leave(holder, CloseReason::Ended, now);
        }

        if let Some(client) = self.clients.get_mut(id) {
            client.name = Some(Rc::clone(&name));
            client.listed = true;
            client.phase = Phase::Header;
            self.clients.assign(Rc::clone(&name), id);
            self.unregistered -= 1;
            self.stats.registered += 1;
            self.events.push_back(Event::Joined { id, name });
            self.schedule(id);
        }
        Ok(())
    }
}

/// Clients that have not registered; beyond them, the oldest is closed.
const MAX_UNREGISTERED: usize = 1024;
