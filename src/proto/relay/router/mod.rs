//! The relay itself: who is there, what is on its way to whom, and who has had his time.

mod admission;
mod clock;
mod departure;
mod events;
mod messages;
mod queues;
mod record;
mod splice;
mod turns;

pub use self::events::{Admission, CloseReason, Event, RelayStats, Splice};

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::{Duration, Instant},
};

use self::record::{ClientRecord, Phase};
use super::{
    Authenticator, Id, Violation,
    address_limits::AddressLimits,
    header,
    registry::Registry,
    send_queue::{Lock, MAX_QUEUE, SendQueue},
};

/// How the relay is to behave.
#[derive(Debug)]
pub struct RouterConfig {
    /// Clients at once, those who have not registered included.
    pub max_clients: usize,
    /// Clients of one address at once; 0 is no limit. Loopback has none.
    pub max_per_address: usize,
    /// Bytes of a message at most.
    pub max_message: u64,
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
    pub authenticator: Authenticator,
}

/// The relay. It is told what comes from whom and what was written to whom, and tells what there is to write, whom not
/// to read, and who is gone.
#[derive(Debug)]
pub struct Router {
    rules: RouterConfig,
    clients: Registry<ClientRecord>,
    limits: AddressLimits,
    /// Those who have not registered, the oldest first; some of these have meanwhile.
    registering: VecDeque<Id>,
    unregistered: usize,
    /// Those who will say nothing more, the first one first; some of these are gone meanwhile.
    half_closed: VecDeque<Id>,
    timers: BinaryHeap<Reverse<(Instant, Id)>>,
    /// Those who have waited and may go on, and for whom they have waited.
    runnable: VecDeque<(Id, Id)>,
    /// Those for whom there is something new.
    dirty: VecDeque<Id>,
    /// Those for whom there was no memory, in their order.
    memory_blocked: VecDeque<Id>,
    events: VecDeque<Event>,
    /// Bytes that are kept for somebody.
    used: usize,
    stats: RelayStats,
}

impl Router {
    /// A relay with nobody there.
    pub fn new(rules: RouterConfig) -> Self {
        Self {
            limits: AddressLimits::new(rules.max_per_address),
            rules,
            clients: Registry::new(),
            registering: VecDeque::new(),
            unregistered: 0,
            half_closed: VecDeque::new(),
            timers: BinaryHeap::new(),
            runnable: VecDeque::new(),
            dirty: VecDeque::new(),
            memory_blocked: VecDeque::new(),
            events: VecDeque::new(),
            used: 0,
            stats: RelayStats::default(),
        }
    }

    /// How many bytes may be read from a client now. After a 0 it is not to be read before it was [`Event::Resumed`].
    pub fn read_budget(&mut self, id: Id) -> usize {
        let starved = self.used >= self.rules.memory;
        let Some(client) = self.clients.get_mut(id) else { return 0 };
        let idle = client.waiting_for.is_some()
            || client.ended
            || client.memory_blocked
            || !client.pending.is_empty();
        if idle || matches!(client.phase, Phase::Leaving(_)) {
            return 0;
        }
        match client.phase {
            // It is not the newcomer's fault.
            Phase::Registering if starved => return header::MAX_NAME + 1,
            Phase::Discarding { .. } => {}
            _ if starved => {
                client.memory_blocked = true;
                self.memory_blocked.push_back(id);
                return 0;
            }
            _ => {}
        }
        let (phase, large, last) = (client.phase, client.after_large, client.last_destination);
        let to = match phase {
            Phase::Header if large => return READ_AFTER_LARGE,
            Phase::Passing { to, .. } => Some(to),
            _ => last,
        };
        let queue = to.and_then(|to| self.clients.get(to)).and_then(|client| client.queue.as_ref());
        let room = queue.map_or(MAX_QUEUE, |queue| queue.room());
        match phase {
            Phase::Passing { to, left } => {
                if room == 0 || left == 0 || queue.is_some_and(|queue| queue.in_pipe > 0) {
                    self.wait_for(id, to);
                    return 0;
                }
                room.min(MAX_READ)
            }
            Phase::Header => room.clamp(MAX_STORED, MAX_READ),
            _ => MAX_READ,
        }
    }

    /// These bytes have come from a client that was to be read.
    pub fn receive(&mut self, id: Id, bytes: &[u8], now: Instant) {
        let Some(client) = self.clients.get_mut(id) else { return };
        client.last_received = now;
        let taken = self.take(id, bytes, None, now);
        if let Some(client) = self.clients.get_mut(id) {
            client.pending.extend_from_slice(&bytes[taken..]);
        }
        self.settle(id);
        self.run(now);
        let adds = self.clients.get(id).is_some_and(|client| client.counted > 0);
        while adds && self.used >= self.rules.memory {
            let Some(oldest) = self.oldest_assembly() else { break };
            self.close(oldest, CloseReason::Memory, now);
            self.run(now);
        }
    }

    /// What is to be written to a client.
    pub fn output(&self, id: Id) -> &[u8] {
        let queue = self.clients.get(id).and_then(|client| client.queue.as_ref());
        queue.map_or(&[], |queue| queue.bytes())
    }

    /// So many bytes of its output were written.
    pub fn written(&mut self, id: Id, bytes: usize, now: Instant) {
        let Some(queue) = self.clients.get_mut(id).and_then(|client| client.queue.as_mut()) else { return };
        queue.written(bytes, now);
        self.used -= bytes;
        self.after_write(id, now);
    }

    /// What has happened, in the order in which it did.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// A client for whom there is something new to write.
    pub fn next_output(&mut self) -> Option<Id> {
        loop {
            let id = self.dirty.pop_front()?;
            if let Some(queue) = self.clients.get_mut(id).and_then(|client| client.queue.as_mut()) {
                queue.dirty = false;
                return Some(id);
            }
        }
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
    pub fn stats(&self) -> RelayStats {
        self.stats
    }

    /// A name, as it may be shown.
    pub fn shown<'a>(&self, name: &'a [u8]) -> &'a [u8] {
        self.rules.authenticator.shown(name)
    }

    /// Counts what is kept of a client.
    fn settle(&mut self, id: Id) {
        if let Some(client) = self.clients.get_mut(id) {
            let kept = client.partial.len() + client.pending.len();
            self.used = self.used - client.counted + kept;
            client.counted = kept;
        }
    }

    fn set_phase(&mut self, id: Id, phase: Phase) {
        if let Some(client) = self.clients.get_mut(id) {
            client.phase = phase;
        }
    }
}

/// How long a client that leaves may take to read what is there for it.
pub const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of a message that is stored until it is whole; a larger one goes through as it comes.
pub const MAX_STORED: usize = 64 << 10;

/// Bytes that are read at once at most.
pub const MAX_READ: usize = 256 << 10;

/// Bytes that are read behind a large message: what follows may be large too, and is not to be looked at then.
const READ_AFTER_LARGE: usize = 512;
