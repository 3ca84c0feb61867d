//! Admission and registration of clients.

use std::{net::IpAddr, rc::Rc, time::Instant};

use super::{
    Admission, CloseReason, Event, Id, Router, header,
    messages::Taken,
    record::{ClientRecord, Phase},
};

impl Router {
    /// Admits a connection from `address`, or says reason not.
    pub fn admit(&mut self, address: IpAddr, now: Instant) -> Admission {
        if self.clients.len() >= self.config.max_clients {
            // A client that has sent EOF gives way to one that may still send.
            while let Some(half_closed) = self.half_closed.pop_front() {
                if self.clients.get(half_closed).is_some() {
                    self.close(half_closed, CloseReason::Ended, now);
                    self.run(now);
                    break;
                }
            }
        }
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

        while let Some(oldest) = self.registering.front().copied() {
            let registering =
                self.clients.get(oldest).is_some_and(|client| client.phase == Phase::Registering);
            if registering && self.unregistered < MAX_UNREGISTERED {
                break;
            }
            self.registering.pop_front();
            if registering {
                self.close(oldest, CloseReason::Evicted, now);
                self.run(now);
            }
        }

        let id = self.clients.insert(ClientRecord {
            address,
            name: None,
            listed: false,
            phase: Phase::Registering,
            partial: Vec::new(),
            pending: Vec::new(),
            waiting_for: None,
            memory_blocked: false,
            ended: false,
            after_large: false,
            last_destination: None,
            last_received: now,
            phase_start: now,
            scheduled: None,
            counted: 0,
            queue: None,
        });
        self.registering.push_back(id);
        self.unregistered += 1;
        self.stats.admitted += 1;
        self.schedule(id);
        Admission::Joined(id)
    }

    /// Parses the registration of a client.
    pub(super) fn register(&mut self, id: Id, bytes: &[u8], now: Instant) -> Taken {
        let Some(client) = self.clients.get_mut(id) else { return Taken::Stop(bytes.len()) };
        let before = client.partial.len();
        let skipped = if before == 0 { header::line_ends(bytes) } else { 0 };
        let bytes = &bytes[skipped..];
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
        let name: Option<Rc<[u8]>> = self.config.authenticator.name(registration).map(Rc::from);
        client.partial = Vec::new();
        let holder = name.as_ref().and_then(|name| self.clients.named(name));
        // Only a holder that has sent EOF gives its name up.
        let refused = match (&name, holder.and_then(|holder| self.clients.get(holder))) {
            (None, _) => Some(CloseReason::Unwelcome),
            (_, Some(holder)) if !holder.ended => Some(CloseReason::Duplicate),
            _ => None,
        };
        if let Some(reason) = refused {
            self.close(id, reason, now);
            return Taken::Stop(skipped + bytes.len());
        }

        if let Some(holder) = holder {
            self.leave(holder, CloseReason::Ended, now);
        }
        if let (Some(name), Some(client)) = (name, self.clients.get_mut(id)) {
            client.name = Some(Rc::clone(&name));
            client.listed = true;
            client.phase = Phase::Header;
            self.clients.assign(Rc::clone(&name), id);
            self.unregistered -= 1;
            self.stats.registered += 1;
            self.events.push_back(Event::Joined { id, name });
            self.schedule(id);
        }
        Taken::On(skipped + size - before)
    }
}

/// Clients that have not registered; beyond them, the oldest is closed.
const MAX_UNREGISTERED: usize = 1024;
