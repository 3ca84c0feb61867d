//! The relay itself: who is there, what is on its way to whom, and who has had his time.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    net::IpAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use super::{
    Gate, Id, Violation, header,
    inbox::{Inbox, LIMIT, Lock},
    origins::Origins,
    roster::Roster,
};

/// How the relay is to behave.
#[derive(Debug)]
pub struct Rules {
    /// Clients at once, those who have not registered included.
    pub most_clients: usize,
    /// Clients of one address at once; 0 is no limit. Loopback has none.
    pub most_per_address: usize,
    /// Bytes of a message at most.
    pub longest_message: u64,
    /// From connecting to the `|` behind the name.
    pub register: Duration,
    /// From a header's first byte to its second `|`.
    pub header: Duration,
    /// From the last byte that came from a client to its end.
    pub idle: Duration,
    /// How long a client may accept next to nothing of what there is for it.
    pub stall: Duration,
    /// Whether each message is delivered behind `{sender}|{len}|`.
    pub framed: bool,
    /// Bytes that may be on their way at once, all clients together.
    pub memory: usize,
    pub gate: Gate,
}

/// Why a client is gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Why {
    BadLength,
    BadName,
    Crowded,
    Duplicate,
    Ended,
    Evicted,
    HeaderTimeout,
    Idle,
    Lost,
    Memory,
    RegisterTimeout,
    Shutdown,
    Slow,
    Stuck,
    TooLarge,
    TooMany,
    Unwelcome,
}

impl Why {
    /// Its name in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::BadLength => "bad-length",
            Self::BadName => "bad-name",
            Self::Crowded => "crowded",
            Self::Duplicate => "dup",
            Self::Ended => "eof",
            Self::Evicted => "evicted",
            Self::HeaderTimeout => "header-timeout",
            Self::Idle => "idle",
            Self::Lost => "lost",
            Self::Memory => "memory",
            Self::RegisterTimeout => "register-timeout",
            Self::Shutdown => "shutdown",
            Self::Slow => "slow",
            Self::Stuck => "stuck",
            Self::TooLarge => "too-large",
            Self::TooMany => "too-many",
            Self::Unwelcome => "unwelcome",
        }
    }
}

/// What has happened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// A client has registered a name.
    Joined { id: Id, name: Rc<[u8]> },
    /// A client is no more, and its connection is to be closed.
    Left { id: Id, name: Option<Rc<[u8]>>, why: Why },
    /// A client that was not to be read may be read again.
    Resumed(Id),
}

/// What becomes of somebody who has connected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Admission {
    Joined(Id),
    /// Its address has sent too many of late; ask again then.
    Later(Instant),
    Refused(Why),
}

/// Bytes that may go from one client to another without being looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Passage {
    pub to: Id,
    /// Bytes of the message that were not taken from the sender yet.
    pub left: u64,
}

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Figures {
    pub admitted: u64,
    pub refused: u64,
    pub registered: u64,
    /// Messages that were delivered whole.
    pub messages: u64,
    /// Bytes of payload that were delivered, or are on their way.
    pub bytes: u64,
    /// Messages to nobody.
    pub unknown: u64,
    /// Bytes of payload to nobody.
    pub discarded: u64,
    /// Messages of which the receiver has a part.
    pub truncated: u64,
    /// Clients that were disconnected for something they did or did not do.
    pub evicted: u64,
}

/// Where a client is in what it sends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// A message that is stored before it is delivered; nothing is left once it only waits for room.
    Assembling {
        to: Id,
        left: usize,
    },
    /// A message to nobody.
    Discarding {
        left: u64,
    },
    /// Between two messages, or in a header.
    Header,
    /// What is there for it is delivered, and then it is gone.
    Leaving(Why),
    /// A message that goes through as it comes, the destination being locked.
    Passing {
        to: Id,
        left: u64,
    },
    Registering,
}

#[derive(Debug)]
struct Client {
    address: IpAddr,
    name: Option<Rc<[u8]>>,
    /// Whether the name leads to it.
    listed: bool,
    phase: Phase,
    /// A header that is not whole, or the message that is being assembled.
    partial: Vec<u8>,
    /// What was read and could not be taken.
    pending: Vec<u8>,
    /// Whose queue it waits for.
    waiting: Option<Id>,
    /// There was no memory for what it would say.
    hungry: bool,
    /// It will never say anything again.
    ended: bool,
    /// Its last message was a large one, and so the next one may be.
    large: bool,
    /// To whom it has sent last.
    last: Option<Id>,
    /// When it last said anything.
    heard: Instant,
    /// When the phase began, where that matters.
    since: Instant,
    /// When the clock is looked at for it at the latest.
    scheduled: Option<Instant>,
    /// Bytes of `partial` and `pending` that were counted.
    kept: usize,
    inbox: Option<Box<Inbox>>,
}

/// The right of a client that has waited to go before others who wait.
#[derive(Clone, Copy, Debug)]
struct Turn {
    to: Id,
    bytes: usize,
}

/// What became of a piece of what a client has sent: so many bytes were taken.
#[derive(Clone, Copy, Debug)]
enum Taken {
    /// And more can be.
    On(usize),
    /// The rest has to wait, or there is none, or the client is gone.
    Stop(usize),
}

/// The relay. It is told what comes from whom and what was written to whom, and tells what there is to write, whom not
/// to read, and who is gone.
#[derive(Debug)]
pub struct Router {
    rules: Rules,
    clients: Roster<Client>,
    origins: Origins,
    /// Those who have not registered, the oldest first; some of these have meanwhile.
    newcomers: VecDeque<Id>,
    unregistered: usize,
    /// Those who will say nothing more, the first one first; some of these are gone meanwhile.
    silent: VecDeque<Id>,
    timers: BinaryHeap<Reverse<(Instant, Id)>>,
    /// Those who have waited and may go on, and for whom they have waited.
    runnable: VecDeque<(Id, Id)>,
    /// Those for whom there is something new.
    fresh: VecDeque<Id>,
    /// Those for whom there was no memory, in their order.
    hungry: VecDeque<Id>,
    events: VecDeque<Event>,
    /// Bytes that are kept for somebody.
    used: usize,
    figures: Figures,
}

impl Router {
    /// A relay with nobody there.
    pub fn new(rules: Rules) -> Self {
        Self {
            origins: Origins::new(rules.most_per_address),
            rules,
            clients: Roster::new(),
            newcomers: VecDeque::new(),
            unregistered: 0,
            silent: VecDeque::new(),
            timers: BinaryHeap::new(),
            runnable: VecDeque::new(),
            fresh: VecDeque::new(),
            hungry: VecDeque::new(),
            events: VecDeque::new(),
            used: 0,
            figures: Figures::default(),
        }
    }

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

    /// How many bytes may be read from a client now. After a 0 it is not to be read before it was [`Event::Resumed`].
    pub fn appetite(&mut self, id: Id) -> usize {
        let starved = self.used >= self.rules.memory;
        let Some(client) = self.clients.get_mut(id) else { return 0 };
        let idle = client.waiting.is_some() || client.ended || client.hungry || !client.pending.is_empty();
        if idle || matches!(client.phase, Phase::Leaving(_)) {
            return 0;
        }
        match client.phase {
            // It is not the newcomer's fault.
            Phase::Registering if starved => return header::LONGEST_NAME + 1,
            Phase::Discarding { .. } => {}
            _ if starved => {
                client.hungry = true;
                self.hungry.push_back(id);
                return 0;
            }
            _ => {}
        }
        let (phase, large, last) = (client.phase, client.large, client.last);
        let to = match phase {
            Phase::Header if large => return HINT,
            Phase::Passing { to, .. } => Some(to),
            _ => last,
        };
        let inbox = to.and_then(|to| self.clients.get(to)).and_then(|client| client.inbox.as_ref());
        let room = inbox.map_or(LIMIT, |inbox| inbox.room());
        match phase {
            Phase::Passing { to, left } => {
                if room == 0 || left == 0 || inbox.is_some_and(|inbox| inbox.piped > 0) {
                    self.wait_for(id, to);
                    return 0;
                }
                room.min(READ)
            }
            Phase::Header => room.clamp(STORED, READ),
            _ => READ,
        }
    }

    /// These bytes have come from a client that was to be read.
    pub fn receive(&mut self, id: Id, bytes: &[u8], now: Instant) {
        let Some(client) = self.clients.get_mut(id) else { return };
        client.heard = now;
        let taken = self.take(id, bytes, None, now);
        if let Some(client) = self.clients.get_mut(id) {
            client.pending.extend_from_slice(&bytes[taken..]);
        }
        self.settle(id);
        self.run(now);
        let adds = self.clients.get(id).is_some_and(|client| client.kept > 0);
        while adds && self.used >= self.rules.memory {
            let Some(oldest) = self.oldest_assembly() else { break };
            self.close(oldest, Why::Memory, now);
            self.run(now);
        }
    }

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

    /// What is to be written to a client.
    pub fn output(&self, id: Id) -> &[u8] {
        let inbox = self.clients.get(id).and_then(|client| client.inbox.as_ref());
        inbox.map_or(&[], |inbox| inbox.bytes())
    }

    /// So many bytes of its output were written.
    pub fn written(&mut self, id: Id, bytes: usize, now: Instant) {
        let Some(inbox) = self.clients.get_mut(id).and_then(|client| client.inbox.as_mut()) else { return };
        inbox.written(bytes, now);
        self.used -= bytes;
        self.moved(id, now);
    }

    /// The bytes of a large message that may go from this client to another past [`Router::receive`].
    pub fn passage(&self, from: Id) -> Option<Passage> {
        let client = self.clients.get(from)?;
        let Phase::Passing { to, left } = client.phase else { return None };
        let inbox = self.clients.get(to)?.inbox.as_ref()?;
        let free = inbox.len() == 0 && client.pending.is_empty() && self.used < self.rules.memory;
        (left > 0 && free).then_some(Passage { to, left })
    }

    /// Who has to take what is there for it before more of a large message from this client can go past us.
    pub fn clogged(&self, from: Id) -> Option<Id> {
        let Phase::Passing { to, .. } = self.clients.get(from)?.phase else { return None };
        (!self.output(to).is_empty()).then_some(to)
    }

    /// So many bytes of its passage were taken from a client. They have to be reported again when they arrive
    /// ([`Router::unloaded`]), or be handed over ([`Router::poured`]).
    pub fn loaded(&mut self, from: Id, bytes: u64, now: Instant) {
        let Some(client) = self.clients.get_mut(from) else { return };
        let Phase::Passing { to, left } = &mut client.phase else { return };
        client.heard = now;
        *left -= bytes;
        let (to, whole) = (*to, *left == 0);
        client.waiting = None;
        self.used += bytes as usize;
        let Some(inbox) = self.clients.get_mut(to).and_then(|client| client.inbox.as_mut()) else { return };
        inbox.load(bytes, now);
        if let Some(lock) = &mut inbox.lock {
            lock.moved = now;
        }
        self.figures.bytes += bytes;
        if whole {
            self.wait_for(from, to);
        }
        self.schedule(to);
    }

    /// So many bytes of a passage have arrived.
    pub fn unloaded(&mut self, to: Id, bytes: u64, now: Instant) {
        let Some(inbox) = self.clients.get_mut(to).and_then(|client| client.inbox.as_mut()) else { return };
        inbox.unload(bytes, now);
        self.used -= bytes as usize;
        self.release(to, now);
        self.moved(to, now);
    }

    /// What has left a client waits in a pipe until its destination takes it.
    pub fn blocked(&mut self, from: Id) {
        if let Some(Client { phase: Phase::Passing { to, .. }, .. }) = self.clients.get(from) {
            self.wait_for(from, *to);
        }
    }

    /// Bytes of a passage that will not go past us after all.
    pub fn poured(&mut self, to: Id, bytes: &[u8], now: Instant) {
        let Some(inbox) = self.clients.get_mut(to).and_then(|client| client.inbox.as_mut()) else { return };
        inbox.push(bytes, now);
        inbox.unload(bytes.len() as u64, now);
        self.flag(to);
        self.release(to, now);
        self.moved(to, now);
    }

    /// Bytes of a message to nobody that are still to come from a client.
    pub fn to_discard(&self, id: Id) -> u64 {
        match self.clients.get(id) {
            Some(Client {
                phase: Phase::Discarding { left }, ended: false, waiting: None, pending, ..
            }) if pending.is_empty() => *left,
            _ => 0,
        }
    }

    /// So many of them have come, and were thrown away.
    pub fn discarded(&mut self, id: Id, bytes: u64, now: Instant) {
        let Some(client) = self.clients.get_mut(id) else { return };
        client.heard = now;
        if let Phase::Discarding { left } = &mut client.phase {
            *left -= bytes;
            self.figures.discarded += bytes;
            if *left == 0 {
                client.phase = Phase::Header;
            }
        }
    }

    /// What has happened, in the order in which it did.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// A client for whom there is something new to write.
    pub fn next_output(&mut self) -> Option<Id> {
        loop {
            let id = self.fresh.pop_front()?;
            if let Some(inbox) = self.clients.get_mut(id).and_then(|client| client.inbox.as_mut()) {
                inbox.flagged = false;
                return Some(id);
            }
        }
    }

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

    /// Takes nobody and nothing any more; what is on its way is delivered, for as long as [`FLUSH`].
    pub fn close_down(&mut self, now: Instant) {
        for id in self.clients.ids().collect::<Vec<_>>() {
            self.leave(id, Why::Shutdown, now);
        }
        self.run(now);
    }

    /// Who sends a large message to this client, or has sent it and bytes of it are still under way.
    pub fn holder(&self, to: Id) -> Option<Id> {
        let inbox = self.clients.get(to)?.inbox.as_ref()?;
        inbox.lock.map(|lock| lock.holder)
    }

    /// Clients that are connected.
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Names that are registered.
    pub fn names(&self) -> usize {
        self.clients.names()
    }

    /// Bytes that are kept for somebody.
    pub fn used(&self) -> usize {
        self.used
    }

    /// What was counted.
    pub fn figures(&self) -> Figures {
        self.figures
    }

    /// A name, as it may be shown.
    pub fn shown<'a>(&self, name: &'a [u8]) -> &'a [u8] {
        self.rules.gate.shown(name)
    }

    /// Takes what can be taken from the front of `bytes`, and tells how much that was. `turn` is the right of a client
    /// that has waited.
    fn take(&mut self, id: Id, bytes: &[u8], mut turn: Option<Turn>, now: Instant) -> usize {
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

    /// Reads the name that a client registers.
    fn register(&mut self, id: Id, bytes: &[u8], now: Instant) -> Taken {
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

    /// Reads a header, and begins what it announces.
    fn begin_message(&mut self, id: Id, bytes: &[u8], turn: &mut Option<Turn>, now: Instant) -> Taken {
        let Some(client) = self.clients.get_mut(id) else { return Taken::Stop(bytes.len()) };
        let last = client.last;
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
                Err(why) => self.refuse(id, why, skipped + bytes.len(), now),
            };
        }
        let mut text = std::mem::take(&mut client.partial);
        let before = text.len();
        text.extend_from_slice(&bytes[..bytes.len().min(header::LONGEST_HEADER - before)]);
        match self.find(last, &text) {
            Ok(Some((to, len, size))) => {
                let read = size.saturating_sub(before);
                if let Some(payload) = self.announce(id, to, len, &bytes[read..], turn, now) {
                    return Taken::On(read + payload);
                }
                // It is whole, and waits with the client.
                text.truncate(size);
                if let Some(client) = self.clients.get_mut(id) {
                    client.partial = text;
                }
                Taken::Stop(read)
            }
            Ok(None) => {
                let since = self.clients.get(id).map_or(now, |client| client.since);
                self.keep_header(id, text, since);
                Taken::Stop(bytes.len())
            }
            Err(why) => self.refuse(id, why, bytes.len(), now),
        }
    }

    /// The header at the front of `text`: whom it is for, how long the payload is, and how long itself.
    fn find(&self, last: Option<Id>, text: &[u8]) -> Result<Option<(Option<Id>, u64, usize)>, Why> {
        // Most write to the same one again and again, who need not be looked up then.
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
            Err(Violation::BadLength) => Err(Why::BadLength),
            Err(Violation::BadName) => Err(Why::BadName),
        }
    }

    fn refuse(&mut self, id: Id, why: Why, bytes: usize, now: Instant) -> Taken {
        self.close(id, why, now);
        Taken::Stop(bytes)
    }

    fn keep_header(&mut self, id: Id, text: Vec<u8>, since: Instant) {
        if let Some(client) = self.clients.get_mut(id) {
            client.partial = text;
            client.since = since;
            self.schedule(id);
        }
    }

    /// Begins the message of a header that was read, and finishes it if it is whole. The bytes of `payload` that were
    /// taken; `None` if the client has to wait with it.
    fn announce(
        &mut self,
        id: Id,
        to: Option<Id>,
        len: u64,
        payload: &[u8],
        turn: &mut Option<Turn>,
        now: Instant,
    ) -> Option<usize> {
        if len > self.rules.longest_message {
            self.close(id, Why::TooLarge, now);
            return Some(payload.len());
        }
        let Some(to) = to else {
            self.figures.unknown += 1;
            self.set_phase(id, Phase::Discarding { left: len });
            return Some(0);
        };
        let small = usize::try_from(len).ok().filter(|len| *len <= STORED);
        if let Some(client) = self.clients.get_mut(id) {
            client.last = Some(to);
            client.large = small.is_none();
        }
        let Some(len) = small else {
            if !self.is_open(to, 0, *turn) {
                self.wait_for(id, to);
                return None;
            }
            self.push_frame(id, to, len, now);
            let inbox = self.inbox(to, now)?;
            inbox.lock = Some(Lock { holder: id, moved: now });
            self.set_phase(id, Phase::Passing { to, left: len });
            return Some(0);
        };
        if payload.len() < len {
            let client = self.clients.get_mut(id)?;
            client.partial = payload.to_vec();
            client.since = now;
            client.phase = Phase::Assembling { to, left: len - payload.len() };
            return Some(payload.len());
        }
        if !self.deliver(id, to, &payload[..len], turn, now) {
            self.wait_for(id, to);
            return None;
        }
        Some(len)
    }

    /// Puts a whole message into the queue of its destination, if that is open for it.
    fn deliver(&mut self, id: Id, to: Id, payload: &[u8], turn: &mut Option<Turn>, now: Instant) -> bool {
        // To oneself, nothing is only a sign of life.
        if payload.is_empty() && (id == to || !self.rules.framed) {
            return true;
        }
        if !self.is_open(to, payload.len(), *turn) {
            return false;
        }
        if let Some(turn) = turn {
            turn.bytes = turn.bytes.saturating_sub(payload.len());
        }
        self.push_frame(id, to, payload.len() as u64, now);
        self.push(to, payload, now);
        self.figures.messages += 1;
        self.figures.bytes += payload.len() as u64;
        true
    }

    /// Delivers the message that a client has assembled; `false` if it has to wait.
    fn deliver_assembled(&mut self, id: Id, to: Id, turn: &mut Option<Turn>, now: Instant) -> bool {
        let Some(client) = self.clients.get_mut(id) else { return false };
        let message = std::mem::take(&mut client.partial);
        if !self.is_listed(to) {
            self.figures.discarded += message.len() as u64;
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

    /// Passes on what has come of a large message.
    fn pass(&mut self, id: Id, to: Id, left: u64, bytes: &[u8], now: Instant) -> Taken {
        let Some(inbox) = self.inbox(to, now) else { return Taken::Stop(bytes.len()) };
        // What has gone past the queue comes first.
        let room = if inbox.piped > 0 { 0 } else { inbox.room() };
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len()).min(room);
        if let (Some(lock), true) = (&mut inbox.lock, n > 0) {
            lock.moved = now;
        }
        self.push(to, &bytes[..n], now);
        self.figures.bytes += n as u64;
        self.set_phase(id, Phase::Passing { to, left: left - n as u64 });
        if self.release(to, now) {
            return Taken::On(n);
        }
        if n < bytes.len() {
            self.wait_for(id, to);
        }
        Taken::Stop(n)
    }

    // ---- destinations ----

    fn inbox(&mut self, to: Id, now: Instant) -> Option<&mut Inbox> {
        let client = self.clients.get_mut(to)?;
        Some(client.inbox.get_or_insert_with(|| Box::new(Inbox::new(now))))
    }

    fn is_listed(&self, to: Id) -> bool {
        self.clients.get(to).is_some_and(|client| client.listed)
    }

    /// Whether a message of so many bytes may be put into the queue of a client now.
    fn is_open(&self, to: Id, bytes: usize, turn: Option<Turn>) -> bool {
        let Some(inbox) = self.clients.get(to).and_then(|client| client.inbox.as_ref()) else { return true };
        let first = turn.is_some_and(|turn| turn.to == to && turn.bytes > 0);
        inbox.lock.is_none() && (first || inbox.waiters.is_empty()) && inbox.takes(bytes)
    }

    fn push(&mut self, to: Id, bytes: &[u8], now: Instant) {
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
    fn push_frame(&mut self, id: Id, to: Id, len: u64, now: Instant) {
        if !self.rules.framed {
            return;
        }
        let Some(name) = self.clients.get(id).and_then(|client| client.name.clone()) else { return };
        let frame = [&name[..], format!("|{len}|").as_bytes()].concat();
        self.push(to, &frame, now);
    }

    fn flag(&mut self, to: Id) {
        if let Some(inbox) = self.clients.get_mut(to).and_then(|client| client.inbox.as_mut())
            && !inbox.flagged
        {
            inbox.flagged = true;
            self.fresh.push_back(to);
        }
    }

    /// Something of a client's has been written.
    fn moved(&mut self, to: Id, now: Instant) {
        self.wake(to);
        self.tidy(to, now);
        self.run(now);
    }

    /// Ends the lock of a client whose message has come to its end. Tells whether it did.
    fn release(&mut self, to: Id, now: Instant) -> bool {
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
    fn wake(&mut self, to: Id) {
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
    fn tidy(&mut self, to: Id, now: Instant) {
        let Some(client) = self.clients.get_mut(to) else { return };
        if client.inbox.as_ref().is_some_and(|inbox| inbox.is_idle()) {
            client.inbox = None;
        }
        if let (Phase::Leaving(why), None) = (client.phase, &client.inbox) {
            self.close(to, why, now);
        }
    }

    // ---- waiting and going on ----

    /// A client has to wait until another one takes more.
    fn wait_for(&mut self, id: Id, to: Id) {
        let Some(client) = self.clients.get_mut(id) else { return };
        if client.waiting.is_some() {
            return;
        }
        client.waiting = Some(to);
        let inbox = self.clients.get_mut(to).and_then(|client| client.inbox.as_mut());
        if let Some(inbox) = inbox
            && inbox.lock.is_none_or(|lock| lock.holder != id)
        {
            inbox.waiters.push_back(id);
            self.schedule(to);
        }
    }

    /// A client goes on if this is the one for whom it has waited.
    fn resume(&mut self, id: Id, to: Id) {
        if let Some(client) = self.clients.get_mut(id)
            && client.waiting == Some(to)
        {
            client.waiting = None;
            self.runnable.push_back((id, to));
        }
    }

    /// Lets those go on who may, until nobody is left.
    fn run(&mut self, now: Instant) {
        while let Some((id, to)) = self.runnable.pop_front() {
            let Some(client) = self.clients.get_mut(id) else {
                // The next one in its place.
                self.wake(to);
                continue;
            };
            client.heard = now;
            let pending = std::mem::take(&mut client.pending);
            let turn = Turn { to, bytes: QUANTUM };
            let taken = self.take(id, &pending, Some(turn), now);
            if let Some(client) = self.clients.get_mut(id) {
                client.pending = if taken < pending.len() { pending[taken..].to_vec() } else { Vec::new() };
                if client.waiting.is_none() && client.pending.is_empty() {
                    self.events.push_back(Event::Resumed(id));
                }
            }
            self.settle(id);
            self.schedule(id);
            self.wake(to);
            self.tidy(to, now);
        }
        self.feed(now);
    }

    /// Lets as many be read again as there is memory for.
    fn feed(&mut self, now: Instant) {
        let mut promised = self.used;
        while promised < self.rules.memory
            && let Some(id) = self.hungry.pop_front()
        {
            if let Some(client) = self.clients.get_mut(id)
                && std::mem::take(&mut client.hungry)
            {
                client.heard = now;
                promised += STORED;
                self.events.push_back(Event::Resumed(id));
                self.schedule(id);
            }
        }
    }

    /// Counts what is kept of a client.
    fn settle(&mut self, id: Id) {
        if let Some(client) = self.clients.get_mut(id) {
            let kept = client.partial.len() + client.pending.len();
            self.used = self.used - client.kept + kept;
            client.kept = kept;
        }
    }

    fn set_phase(&mut self, id: Id, phase: Phase) {
        if let Some(client) = self.clients.get_mut(id) {
            client.phase = phase;
        }
    }

    // ---- the end of clients ----

    /// The connection of a client is to be closed, now.
    fn close(&mut self, id: Id, why: Why, now: Instant) {
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
    fn leave(&mut self, id: Id, why: Why, now: Instant) {
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

    fn leave_queue(&mut self, id: Id, to: Option<Id>) {
        let inbox = to.and_then(|to| self.clients.get_mut(to)).and_then(|client| client.inbox.as_mut());
        if let (Some(to), Some(inbox)) = (to, inbox) {
            inbox.waiters.retain(|waiter| *waiter != id);
            self.wake(to);
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

    fn oldest_assembly(&self) -> Option<Id> {
        let assembling = |id: &Id| {
            let client = self.clients.get(*id)?;
            matches!(client.phase, Phase::Assembling { left: 1.., .. }).then_some(client.since)
        };
        self.clients.ids().filter(|id| assembling(id).is_some()).min_by_key(assembling)
    }

    // ---- time ----

    /// Sees to it that the clock is looked at in time for a client.
    fn schedule(&mut self, id: Id) {
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

/// How long a client that leaves may take to read what is there for it.
pub const FLUSH: Duration = Duration::from_secs(5);

/// How long the sender of a large message may be silent while others wait to send to the same client.
const STUCK: Duration = Duration::from_secs(5);

/// Bytes of a message that is stored until it is whole; a larger one goes through as it comes.
pub const STORED: usize = 64 << 10;

/// Bytes that are read at once at most.
pub const READ: usize = 256 << 10;

/// Bytes that are read behind a large message: what follows may be large too, and is not to be looked at then.
const HINT: usize = 512;

/// Bytes in a queue at which whoever waits for it goes on.
const LOW: usize = LIMIT / 2;

/// Bytes that a client which has waited may send before the next one has its turn.
const QUANTUM: usize = 64 << 10;

/// Clients that have not registered at most; then the oldest of them has to go.
const MOST_UNREGISTERED: usize = 1024;

/// Timers that may lie around for nobody before they are cleared away.
const STALE: usize = 1024;
