//! The server side of the relay: clients, names, queues, limits and timeouts.

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

/// The limits and timeouts of the relay.
#[derive(Debug)]
pub struct RouterConfig {
    /// Connected clients, registered or not.
    pub max_clients: usize,
    /// Connected clients of one address; 0 is no limit. Loopback has none.
    pub max_per_address: usize,
    /// Bytes of a message.
    pub max_message: u64,
    /// The time from connecting to the `|` behind the name.
    pub register_timeout: Duration,
    /// The time from the first byte of a header to its second `|`.
    pub header_timeout: Duration,
    /// The time that a client may be silent.
    pub idle_timeout: Duration,
    /// The time in which a client must accept at least 4 KiB of its queue.
    pub stall_timeout: Duration,
    /// Whether each message is delivered with the prefix `{sender}|{len}|`.
    pub framed: bool,
    /// Bytes that are stored or in pipes, of all clients together.
    pub memory_limit: usize,
    pub authenticator: Authenticator,
}

/// The state of a relay. The module documentation has the order of calls.
#[derive(Debug)]
pub struct Router {
    config: RouterConfig,
    clients: Registry<ClientRecord>,
    limits: AddressLimits,
    /// Clients that have not registered, oldest first; some have registered or left meanwhile.
    registering: VecDeque<Id>,
    /// Clients that have not registered.
    unregistered: usize,
    /// Clients that have sent EOF, oldest first; some have left meanwhile.
    half_closed: VecDeque<Id>,
    /// Deadlines of clients; those that differ from `ClientRecord::scheduled` are stale.
    timers: BinaryHeap<Reverse<(Instant, Id)>>,
    /// Clients that may go on, and the destinations that they have waited for.
    runnable: VecDeque<(Id, Id)>,
    /// Clients with bytes in their queue that the driver does not know of.
    dirty: VecDeque<Id>,
    /// Clients that are not read because the memory limit is reached, oldest first.
    memory_blocked: VecDeque<Id>,
    events: VecDeque<Event>,
    /// Bytes that are stored or in pipes.
    used: usize,
    stats: RelayStats,
}

impl Router {
    /// Creates a relay without clients.
    pub fn new(config: RouterConfig) -> Self {
        Self {
            limits: AddressLimits::new(config.max_per_address),
            config,
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

    /// Returns how many bytes may be read from a client now. After a 0, the client must not be read before
    /// [`Event::Resumed`].
    pub fn read_budget(&mut self, id: Id) -> usize {
        let starved = self.used >= self.config.memory_limit;
        let Some(client) = self.clients.get_mut(id) else { return 0 };
        if client.is_stopped() {
            return 0;
        }

        match client.phase {
            // A registration is small, and may replace a client whose queue holds the memory.
            Phase::Registering if starved => return header::MAX_NAME + 1,
            // Discarded bytes are never stored.
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
                // Bytes that were read here would overtake those in the pipe.
                if room == 0 || left == 0 || queue.is_some_and(|queue| queue.in_pipe > 0) {
                    self.wait_for(id, to);
                    return 0;
                }
                room.min(MAX_READ)
            }
            // A read much larger than the room would only be copied to `pending`.
            Phase::Header => room.clamp(MAX_STORED, MAX_READ),
            _ => MAX_READ,
        }
    }

    /// Takes bytes that were read from a client, no more than [`Router::read_budget`] allowed.
    pub fn receive(&mut self, id: Id, bytes: &[u8], now: Instant) {
        let Some(client) = self.clients.get_mut(id) else { return };
        client.last_received = now;
        let taken = self.take(id, bytes, None, now);
        if let Some(client) = self.clients.get_mut(id) {
            client.pending.extend_from_slice(&bytes[taken..]);
        }
        self.count_stored(id);
        self.run(now);

        // Only the bytes that a client adds can exceed the limit, and only unfinished messages give memory back at once.
        let adds = self.clients.get(id).is_some_and(|client| client.counted > 0);
        while adds && self.used >= self.config.memory_limit {
            let Some(oldest) = self.oldest_assembly() else { break };
            self.close(oldest, CloseReason::Memory, now);
            self.run(now);
        }
    }

    /// Returns the bytes to write to a client.
    pub fn output(&self, id: Id) -> &[u8] {
        let queue = self.clients.get(id).and_then(|client| client.queue.as_ref());
        queue.map_or(&[], |queue| queue.bytes())
    }

    /// Records that `bytes` of a client's output were written.
    pub fn written(&mut self, id: Id, bytes: usize, now: Instant) {
        let Some(queue) = self.clients.get_mut(id).and_then(|client| client.queue.as_mut()) else { return };
        queue.written(bytes, now);
        self.used -= bytes;
        self.after_write(id, now);
    }

    /// Returns the next event, in the order in which they happened.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns a client that has output which the driver does not know of.
    pub fn next_output(&mut self) -> Option<Id> {
        loop {
            let id = self.dirty.pop_front()?;
            // The queue is gone if the client has left meanwhile, or if all of it was written.
            if let Some(queue) = self.clients.get_mut(id).and_then(|client| client.queue.as_mut()) {
                queue.dirty = false;
                return Some(id);
            }
        }
    }

    /// Returns the number of connected clients.
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Returns the number of registered names.
    pub fn names(&self) -> usize {
        self.clients.names()
    }

    /// Returns the number of bytes that are stored or in pipes.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Returns the counters.
    pub fn stats(&self) -> RelayStats {
        self.stats
    }

    /// Returns the part of a name that is no secret.
    pub fn public_name<'a>(&self, name: &'a [u8]) -> &'a [u8] {
        self.config.authenticator.public_name(name)
    }

    /// Updates the bytes that are counted for a client.
    fn count_stored(&mut self, id: Id) {
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

/// The time in which a client that leaves must accept its queue.
pub const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of the largest message that is stored until it is complete; a larger one is passed on as it arrives.
pub const MAX_STORED: usize = 64 << 10;

/// Bytes of a read.
pub const MAX_READ: usize = 256 << 10;

/// Bytes of a read behind a large message: if the next one is large too, its payload should stay in the socket to be
/// spliced.
const READ_AFTER_LARGE: usize = 512;
