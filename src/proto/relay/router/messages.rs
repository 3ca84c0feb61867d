//! The input of clients: headers, payload, and the delivery of messages.

use std::time::Instant;

use super::{CloseReason, Id, Lock, MAX_STORED, Router, Violation, header, record::Phase, turns::Turn};

/// The outcome of taking input: the number of bytes that were taken.
#[derive(Clone, Copy, Debug)]
pub(super) enum Taken {
    /// More can be taken.
    On(usize),
    /// The rest must wait, or there is none, or the client has left.
    Stop(usize),
}

impl Router {
    /// Takes input from the front of `bytes`, and returns the number of bytes that were taken. `turn` is the right of a client
    /// that has waited.
    pub(super) fn take(&mut self, id: Id, bytes: &[u8], mut turn: Option<Turn>, now: Instant) -> usize {
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            let Some(client) = self.clients.get_mut(id) else { return bytes.len() };
            let taken = match client.phase {
                Phase::Registering => self.register(id, rest, now),
                Phase::Header => self.begin_message(id, rest, &mut turn, now),
                Phase::Assembling { to, left } => {
                    let n = left.min(rest.len());
                    client.partial.extend_from_slice(&rest[..n]);
                    client.phase = Phase::Assembling { to, left: left - n };
                    if left == n && self.deliver_assembled(id, to, &mut turn, now) {
                        Taken::On(n)
                    } else {
                        Taken::Stop(n)
                    }
                }
                Phase::Passing { to, left } => self.pass(id, to, left, rest, now),
                Phase::Discarding { left } => {
                    let n = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                    self.discarded(id, n as u64, now);
                    if (n as u64) < left { Taken::Stop(n) } else { Taken::On(n) }
                }
                Phase::Leaving(_) => Taken::Stop(rest.len()),
            };

            match taken {
                Taken::On(n) => at += n,
                Taken::Stop(n) => return at + n,
            }
        }
    }

    /// Parses a header, and begins its message.
    fn begin_message(&mut self, id: Id, bytes: &[u8], turn: &mut Option<Turn>, now: Instant) -> Taken {
        let Some(client) = self.clients.get_mut(id) else { return Taken::Stop(bytes.len()) };
        let last = client.last_destination;

        // Mostly the header is complete, and is parsed where it was read.
        if client.partial.is_empty() {
            let skipped = header::line_ends(bytes);
            let bytes = &bytes[skipped..];
            return match self.find(last, bytes) {
                Ok(Some((to, len, size))) => match self.announce(id, to, len, &bytes[size..], turn, now) {
                    Some(payload) => Taken::On(skipped + size + payload),
                    None => Taken::Stop(skipped),
                },
                Ok(None) => {
                    self.keep_header(id, bytes.to_vec(), now);
                    Taken::Stop(skipped + bytes.len())
                }
                Err(reason) => self.refuse(id, reason, skipped + bytes.len(), now),
            };
        }

        let mut text = std::mem::take(&mut client.partial);
        let before = text.len();
        text.extend_from_slice(&bytes[..bytes.len().min(header::MAX_HEADER - before)]);

        match self.find(last, &text) {
            Ok(Some((to, len, size))) => {
                let read = size.saturating_sub(before);
                if let Some(payload) = self.announce(id, to, len, &bytes[read..], turn, now) {
                    return Taken::On(read + payload);
                }
                // The header is complete, and waits with its client.
                text.truncate(size);
                if let Some(client) = self.clients.get_mut(id) {
                    client.partial = text;
                }
                Taken::Stop(read)
            }
            Ok(None) => {
                let phase_start = self.clients.get(id).map_or(now, |client| client.phase_start);
                self.keep_header(id, text, phase_start);
                Taken::Stop(bytes.len())
            }
            Err(reason) => self.refuse(id, reason, bytes.len(), now),
        }
    }

    /// Parses the header at the front of `text`: returns the destination, the length of the payload, and its own length.
    fn find(&self, last: Option<Id>, text: &[u8]) -> Result<Option<(Option<Id>, u64, usize)>, CloseReason> {
        // Most clients write to one destination again and again; comparing its name is cheaper than looking it up.
        let known = last.and_then(|last| Some((last, self.clients.get(last)?))).and_then(|(last, client)| {
            let name = client.name.as_ref().filter(|_| client.listed)?;
            (text.starts_with(name) && text.get(name.len()) == Some(&b'|')).then_some((last, name.len()))
        });

        let found = match known {
            Some((_, length)) => header::header_to(&text[..length], text),
            None => header::header(text),
        };
        match found {
            Ok(Some(header)) => {
                let to = known.map(|(last, _)| last).or_else(|| self.clients.named(header.dest));
                Ok(Some((to, header.len, header.size)))
            }
            Ok(None) => Ok(None),
            Err(Violation::BadLength) => Err(CloseReason::BadLength),
            Err(Violation::BadName) => Err(CloseReason::BadName),
        }
    }

    /// Closes a client for a violation.
    fn refuse(&mut self, id: Id, reason: CloseReason, bytes: usize, now: Instant) -> Taken {
        self.close(id, reason, now);
        Taken::Stop(bytes)
    }

    /// Stores an incomplete header.
    fn keep_header(&mut self, id: Id, text: Vec<u8>, phase_start: Instant) {
        if let Some(client) = self.clients.get_mut(id) {
            client.partial = text;
            client.phase_start = phase_start;
            self.schedule(id);
        }
    }

    /// Begins the message of a header, and delivers it if it is complete. Returns the bytes of `payload` that were taken;
    /// `None` if the client must wait with its header.
    fn announce(
        &mut self,
        id: Id,
        to: Option<Id>,
        len: u64,
        payload: &[u8],
        turn: &mut Option<Turn>,
        now: Instant,
    ) -> Option<usize> {
        if len > self.config.max_message {
            self.close(id, CloseReason::TooLarge, now);
            return Some(payload.len());
        }
        // The sender is not told, as the protocol has no answers.
        let Some(to) = to else {
            self.stats.unknown += 1;
            self.set_phase(id, Phase::Discarding { left: len });
            return Some(0);
        };

        let small = usize::try_from(len).ok().filter(|len| *len <= MAX_STORED);
        if let Some(client) = self.clients.get_mut(id) {
            client.last_destination = Some(to);
            client.after_large = small.is_none();
        }
        let Some(len) = small else { return self.lock_for(id, to, len, *turn, now) };

        // Only a message that is not complete yet is copied twice.
        if payload.len() < len {
            let client = self.clients.get_mut(id)?;
            client.partial = payload.to_vec();
            client.phase_start = now;
            client.phase = Phase::Assembling { to, left: len - payload.len() };
            return Some(payload.len());
        }
        if !self.deliver(id, to, &payload[..len], turn, now) {
            self.wait_for(id, to);
            return None;
        }
        Some(len)
    }

    /// Locks a destination for a large message, so that it arrives in one piece. Returns like [`Router::announce`].
    fn lock_for(&mut self, id: Id, to: Id, len: u64, turn: Option<Turn>, now: Instant) -> Option<usize> {
        if !self.has_room_for(to, 0, turn) {
            self.wait_for(id, to);
            return None;
        }
        self.push_frame(id, to, len, now);
        let queue = self.queue(to, now)?;
        queue.lock = Some(Lock { holder: id, last_moved: now });
        self.set_phase(id, Phase::Passing { to, left: len });
        Some(0)
    }

    /// Queues a complete message for its destination, if there is room. Returns whether there was.
    fn deliver(&mut self, id: Id, to: Id, payload: &[u8], turn: &mut Option<Turn>, now: Instant) -> bool {
        // An empty message to oneself only keeps the connection alive.
        if payload.is_empty() && (id == to || !self.config.framed) {
            return true;
        }
        if !self.has_room_for(to, payload.len(), *turn) {
            return false;
        }

        if let Some(turn) = turn {
            turn.bytes = turn.bytes.saturating_sub(payload.len());
        }
        self.push_frame(id, to, payload.len() as u64, now);
        self.push(to, payload, now);
        self.stats.messages += 1;
        self.stats.bytes += payload.len() as u64;
        true
    }

    /// Delivers the message that a client has assembled; returns `false` if it must wait.
    fn deliver_assembled(&mut self, id: Id, to: Id, turn: &mut Option<Turn>, now: Instant) -> bool {
        let Some(client) = self.clients.get_mut(id) else { return false };
        let message = std::mem::take(&mut client.partial);

        // The destination may have left while the message was assembled.
        if !self.is_listed(to) {
            self.stats.discarded += message.len() as u64;
        } else if !self.deliver(id, to, &message, turn, now) {
            if let Some(client) = self.clients.get_mut(id) {
                client.partial = message;
            }
            self.wait_for(id, to);
            return false;
        }
        self.set_phase(id, Phase::Header);
        true
    }

    /// Passes on input of a large message.
    fn pass(&mut self, id: Id, to: Id, left: u64, bytes: &[u8], now: Instant) -> Taken {
        let Some(queue) = self.queue(to, now) else { return Taken::Stop(bytes.len()) };
        // Bytes in the pipe must arrive first.
        let room = if queue.in_pipe > 0 { 0 } else { queue.room() };
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len()).min(room);
        // Only progress restarts the timeout of the lock, not an attempt.
        if let (Some(lock), true) = (&mut queue.lock, n > 0) {
            lock.last_moved = now;
        }

        self.push(to, &bytes[..n], now);
        self.stats.bytes += n as u64;
        self.set_phase(id, Phase::Passing { to, left: left - n as u64 });
        if self.release(to, now) {
            return Taken::On(n);
        }
        if n < bytes.len() {
            self.wait_for(id, to);
        }
        Taken::Stop(n)
    }
}
