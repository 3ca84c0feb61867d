//! How clients come: they connect, and register a name.

use std::{net::IpAddr, rc::Rc, time::Instant};

use super::{
    Admission, Event, Id, Router, Why,
    client::{Client, Phase},
    header,
    messages::Taken,
};

impl Router {
    /// Somebody has connected.
    pub fn admit(&mut self, address: IpAddr, now: Instant) -> Admission {
        if self.clients.len() >= self.rules.most_clients {
            // Who only listens gives way to who may have something to say.
            while let Some(silent) = self.silent.pop_front() {
                if self.clients.get(silent).is_some() {
                    self.close(silent, Why::Ended, now);
                    self.run(now);
                    break;
                }
            }
        }
        if self.clients.len() >= self.rules.most_clients {
            self.figures.refused += 1;
            return Admission::Refused(Why::TooMany);
        }
        match self.origins.admit(address, now) {
            Err(when) => return Admission::Later(when),
            Ok(false) => {
                self.figures.refused += 1;
                return Admission::Refused(Why::Crowded);
            }
            Ok(true) => {}
        }
        while let Some(oldest) = self.newcomers.front().copied() {
            let registering =
                self.clients.get(oldest).is_some_and(|client| client.phase == Phase::Registering);
            if registering && self.unregistered < MOST_UNREGISTERED {
                break;
            }
            self.newcomers.pop_front();
            if registering {
                self.close(oldest, Why::Evicted, now);
                self.run(now);
            }
        }
        let id = self.clients.insert(Client {
            address,
            name: None,
            listed: false,
            phase: Phase::Registering,
            partial: Vec::new(),
            pending: Vec::new(),
            waiting: None,
            hungry: false,
            ended: false,
            large: false,
            last: None,
            heard: now,
            since: now,
            scheduled: None,
            kept: 0,
            inbox: None,
        });
        self.newcomers.push_back(id);
        self.unregistered += 1;
        self.figures.admitted += 1;
        self.schedule(id);
        Admission::Joined(id)
    }

    /// Reads the name that a client registers.
    pub(super) fn register(&mut self, id: Id, bytes: &[u8], now: Instant) -> Taken {
        let Some(client) = self.clients.get_mut(id) else { return Taken::Stop(bytes.len()) };
        let before = client.partial.len();
        let skipped = if before == 0 { header::line_ends(bytes) } else { 0 };
        let bytes = &bytes[skipped..];
        let most = bytes.len().min(header::LONGEST_NAME + 1 - before);
        client.partial.extend_from_slice(&bytes[..most]);
        let registration = match header::name(&client.partial) {
            Ok(Some(registration)) => registration,
            Ok(None) => return Taken::Stop(skipped + bytes.len()),
            Err(_) => {
                self.close(id, Why::BadName, now);
                return Taken::Stop(skipped + bytes.len());
            }
        };
        let size = registration.len() + 1;
        let name: Option<Rc<[u8]>> = self.rules.gate.name(registration).map(Rc::from);
        client.partial = Vec::new();
        let holder = name.as_ref().and_then(|name| self.clients.named(name));
        // Only who has said that it will never send again gives way.
        let refused = match (&name, holder.and_then(|holder| self.clients.get(holder))) {
            (None, _) => Some(Why::Unwelcome),
            (_, Some(holder)) if !holder.ended => Some(Why::Duplicate),
            _ => None,
        };
        if let Some(why) = refused {
            self.close(id, why, now);
            return Taken::Stop(skipped + bytes.len());
        }
        if let Some(holder) = holder {
            self.leave(holder, Why::Ended, now);
        }
        if let (Some(name), Some(client)) = (name, self.clients.get_mut(id)) {
            client.name = Some(Rc::clone(&name));
            client.listed = true;
            client.phase = Phase::Header;
            self.clients.give(Rc::clone(&name), id);
            self.unregistered -= 1;
            self.figures.registered += 1;
            self.events.push_back(Event::Joined { id, name });
            self.schedule(id);
        }
        Taken::On(skipped + size - before)
    }
}

/// Clients that have not registered at most; then the oldest of them has to go.
const MOST_UNREGISTERED: usize = 1024;
