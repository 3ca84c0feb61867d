//! The relay: moves bytes between sockets and the router, and decides nothing.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{event_log, metrics::Metrics, secrets};
use crate::{
    endpoint::{Peer, Stream},
    event::{Event, Reactor, Token},
    net::{Accepted, Address, Denied, StreamListener},
    plan::{Bind, Relay},
    proto::relay::{self, Admission, CloseReason, Id, MAX_READ, Router, RouterConfig},
    report::Report,
    session::{Outcome, accept, dial::Resolving, handle_signal, sandbox, tls::TlsContext},
    sys::{self, MisalignedBuffer, SandboxPolicy, Signal, SplicePipe},
};

/// Serves until a signal comes.
pub fn run(plan: &Relay, report: &Report) -> Result<Outcome> {
    let authenticator = secrets::authenticator(plan.token.as_ref(), plan.names.as_ref())?;
    let descriptors = sys::raise_descriptor_limit();
    let max_clients = plan.max_clients.unwrap_or(usize::MAX).min(descriptors.saturating_sub(RESERVED).max(1));
    let mut reactor = Reactor::new().context("set up the event loop")?;
    let addresses = match &plan.at {
        Bind::Addresses(addresses) => addresses.clone(),
        Bind::Name { host, port } => {
            let mut resolving = Resolving::start(host, *port, &plan.socket_config, None, &reactor, LISTENER)?;
            loop {
                if let Some(addresses) = resolving.advance(Instant::now())? {
                    break addresses;
                }
                for event in reactor.wait()? {
                    if let Event::Signal(signal) = event
                        && let Some(outcome) = handle_signal(signal)
                    {
                        return Ok(outcome);
                    }
                }
            }
        }
    };
    let random = addresses.iter().any(|address| address.port() == Some(0));
    let mut listener = StreamListener::bind(plan.socket_config.clone(), &addresses)?;
    accept::announce(&listener.addresses(), random, report);
    for socket in listener.sockets() {
        reactor.watch(LISTENER, socket)?;
    }
    let mut secure_listener = None;
    let mut security = None;
    if let Some((port, tls)) = &plan.tls {
        let mut addresses = addresses.clone();
        for address in &mut addresses {
            address.set_port(*port);
        }
        let mut listener = StreamListener::bind(plan.socket_config.clone(), &addresses)?;
        for address in listener.addresses() {
            let line = format!("Listening on {} (tls)", accept::host_and_port(&address));
            if *port == 0 { report.result(line) } else { report.verbose(line) }
        }
        for socket in listener.sockets() {
            reactor.watch(LISTENER, socket)?;
        }
        security = Some(TlsContext::server(tls, &listener.addresses(), ("remote relay", " NAME"), report)?);
        secure_listener = Some(listener);
    }
    let metrics = match plan.metrics {
        Some(at) => Some(Metrics::listen(at, plan.socket_config.clone(), &reactor, METRICS)?),
        None => None,
    };
    for address in metrics.iter().flat_map(Metrics::addresses) {
        let line = format!("Figures at {}", accept::host_and_port(&address));
        if plan.metrics.is_some_and(|at| at.port() == 0) { report.result(line) } else { report.verbose(line) }
    }
    report.note(format!("up to {max_clients} clients"));
    sandbox::confine(plan.sandbox.then(SandboxPolicy::default).as_ref(), report);
    let rules = RouterConfig {
        max_clients,
        max_per_address: plan.max_per_ip,
        max_message: plan.max_message,
        register: plan.register_timeout,
        header: HEADER,
        idle: plan.idle,
        stall: plan.stall,
        framed: plan.framed,
        memory: plan.buffer,
        authenticator,
    };
    let server = Server {
        router: Router::new(rules),
        clients: Vec::new(),
        parked: VecDeque::new(),
        listener: Some(listener),
        secure_listener,
        security,
        metrics,
        reactor,
        report,
        buffer: MisalignedBuffer::new(MAX_READ),
        pipes: Vec::new(),
        lent: 0,
        again: VecDeque::new(),
        paused: false,
        leaving: None,
        now: Instant::now(),
    };
    server.run()
}

struct Server<'a> {
    router: Router,
    /// By the index of their ids.
    clients: Vec<Option<Client>>,
    /// Clients whose address has sent too many of late, when they may come in, and whether encrypted.
    parked: VecDeque<(Instant, Accepted, bool)>,
    /// `None` once a signal has come.
    listener: Option<StreamListener>,
    /// For those who come encrypted.
    secure_listener: Option<StreamListener>,
    security: Option<TlsContext>,
    metrics: Option<Metrics>,
    reactor: Reactor,
    report: &'a Report,
    buffer: MisalignedBuffer,
    /// Pipes that nobody uses; they are empty.
    pipes: Vec<SplicePipe>,
    /// Pipes that somebody uses.
    lent: usize,
    /// Who may have more to say.
    again: VecDeque<Id>,
    /// There were no descriptors left: nobody is accepted for a while.
    paused: bool,
    /// A signal ends it.
    leaving: Option<Signal>,
    now: Instant,
}

struct Client {
    id: Id,
    connection: Box<dyn Peer>,
    encrypted: bool,
    /// Bytes that the connection has taken, and that are not on their way yet.
    owed: usize,
    /// The last piece did not go at once.
    slow: bool,
    peer: Address,
    /// It stands in `again`.
    queued: bool,
    /// The kernel does not move its bytes by itself.
    copies: bool,
    load: Option<Box<Load>>,
}

/// Bytes of a large message that have left their sender, past the router.
struct Load {
    pipe: SplicePipe,
    to: Id,
}

impl Server<'_> {
    fn run(mut self) -> Result<Outcome> {
        loop {
            let events = self.reactor.wait()?;
            self.now = Instant::now();
            let mut accepts = false;
            for event in events {
                if let Some(metrics) = &mut self.metrics
                    && metrics.advance(event, &mut self.reactor, &self.router, self.now)
                {
                    continue;
                }
                match event {
                    Event::Due(PAUSE) => {
                        self.paused = false;
                        accepts = true;
                    }
                    Event::Due(LISTENER) | Event::Ready(LISTENER) => accepts = true,
                    Event::Due(METRICS) | Event::Ready(METRICS) => {
                        if let Some(metrics) = &mut self.metrics {
                            metrics.accept(&mut self.reactor, &self.router, self.now);
                        }
                    }
                    Event::Ready(token) if token.0 >= FIRST.0 => self.advance(token.0 - FIRST.0),
                    Event::Signal(signal) => {
                        if let Some(outcome) = self.handle_signal(signal) {
                            return Ok(outcome);
                        }
                    }
                    Event::Due(_) | Event::Hangup(_) | Event::Ready(_) => {}
                }
            }
            self.router.tick(self.now);
            for _ in 0..self.again.len() {
                if let Some(id) = self.again.pop_front() {
                    if let Some(client) = self.client(id) {
                        client.queued = false;
                    }
                    self.read(id);
                }
            }
            if accepts {
                self.accept();
            }
            self.settle();
            if let (Some(signal), 0) = (self.leaving, self.router.clients()) {
                return Ok(Outcome::Signalled(signal));
            }
            self.reactor.wake_at(TIMER, self.router.deadline());
            if !self.again.is_empty() {
                self.reactor.again(TIMER);
            }
        }
    }

    // ---- coming ----

    fn accept(&mut self) {
        while let Some((when, ..)) = self.parked.front() {
            if *when > self.now {
                self.reactor.wake_at(LISTENER, Some(*when));
                break;
            }
            if let Some((_, accepted, secure)) = self.parked.pop_front() {
                self.admit(accepted, secure);
            }
        }
        for secure in [false, true] {
            for _ in 0..ACCEPTED_AT_ONCE {
                let listener = if secure { &mut self.secure_listener } else { &mut self.listener };
                let Some(listener) = listener.as_mut().filter(|_| !self.paused) else { break };
                match listener.accept() {
                    Ok(Some(Ok(accepted))) => self.admit(accepted, secure),
                    Ok(Some(Err(Denied(_)))) => {}
                    Ok(None) => break,
                    Err(error) => {
                        let why = sys::reason(&error);
                        self.report.verbose(format!("remote: accept a client: {why}; waiting"));
                        self.paused = true;
                        self.reactor.wake_at(PAUSE, Some(self.now + PAUSE_TIME));
                    }
                }
                self.reactor.again(LISTENER);
            }
        }
    }

    fn admit(&mut self, mut accepted: Accepted, secure: bool) {
        let ip = match &accepted.peer {
            Address::Inet(inet) => inet.ip(),
            Address::Name { .. } | Address::Unix(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        let id = match self.router.admit(ip, self.now) {
            Admission::Joined(id) => id,
            Admission::Refused(why) => return self.refuse(&accepted.peer, why),
            Admission::Later(_) if self.parked.len() >= MOST_PARKED => {
                return self.refuse(&accepted.peer, CloseReason::Crowded);
            }
            Admission::Later(when) => {
                self.reactor.wake_at(LISTENER, Some(self.parked.front().map_or(when, |(when, ..)| *when)));
                return self.parked.push_back((when, accepted, secure));
            }
        };
        // Who has given way is to be gone before somebody else has the place.
        self.settle();
        if let Err(error) = self.reactor.watch(Token(FIRST.0 + id.index()), &mut accepted.socket) {
            self.report.verbose(format!("remote: serve {}: {}", accepted.peer, sys::reason(&error)));
            self.router.lost(id, self.now);
            return;
        }
        if self.clients.len() <= id.index() {
            self.clients.resize_with(id.index() + 1, || None);
        }
        let (peer, stream) = (accepted.peer, Stream::new(accepted.socket));
        let connection: Box<dyn Peer> = match &self.security {
            Some(security) if secure => match security.layer(stream) {
                Ok(tls) => Box::new(tls),
                Err(error) => {
                    self.report.verbose(format!("remote: serve {peer}: {error:#}"));
                    return self.lose(id);
                }
            },
            _ => Box::new(stream),
        };
        // The kernel has no key.
        let copies = secure;
        let encrypted = secure;
        let client = Client {
            id,
            connection,
            encrypted,
            owed: 0,
            slow: false,
            peer,
            queued: false,
            copies,
            load: None,
        };
        self.clients[id.index()] = Some(client);
        self.read(id);
    }

    fn refuse(&self, peer: &Address, why: CloseReason) {
        event_log::left(self.report, &self.router, None, peer, why.name());
    }

    // ---- bytes ----

    fn client(&mut self, id: Id) -> Option<&mut Client> {
        self.clients.get_mut(id.index())?.as_mut().filter(|client| client.id == id)
    }

    /// Something has changed for a client.
    fn advance(&mut self, index: usize) {
        let Some(Some(client)) = self.clients.get(index) else { return };
        let id = client.id;
        self.write(id);
        self.read(id);
    }

    /// Reads from a client until there is nothing more, or it has had its share.
    fn read(&mut self, id: Id) {
        let mut share = SHARE;
        while share > 0 {
            match self.take(id) {
                0 => return,
                n => share = share.saturating_sub(n),
            }
        }
        self.read_again(id);
    }

    fn read_again(&mut self, id: Id) {
        if let Some(client) = self.client(id)
            && !std::mem::replace(&mut client.queued, true)
        {
            self.again.push_back(id);
        }
    }

    /// Takes once what a client has sent, in the cheapest way. Tells how many bytes; 0 if there is nothing to be done.
    fn take(&mut self, id: Id) -> usize {
        if let Some(to) = self.router.clogged(id) {
            self.write(to);
        }
        let Some(client) = self.clients.get_mut(id.index()).and_then(Option::as_mut) else {
            return 0;
        };
        if client.id != id {
            return 0;
        }
        let copies = client.copies;
        let passes = !copies
            && self.router.splice(id).is_some_and(|splice| {
                let there = self.clients.get(splice.to.index()).and_then(Option::as_ref);
                splice.left >= LARGE && there.is_some_and(|there| there.connection.sink().is_some())
            });
        if (passes || self.client(id).is_some_and(|client| client.load.is_some()))
            && let Some(n) = self.pass(id)
        {
            return n;
        }
        let Some(client) = self.clients.get_mut(id.index()).and_then(Option::as_mut) else {
            return 0;
        };
        let nobodys = self.router.discardable(id);
        let read = if nobodys >= LARGE && client.connection.source().is_some() {
            let Some(socket) = client.connection.descriptor() else { return 0 };
            sys::discard(socket, usize::try_from(nobodys).unwrap_or(usize::MAX).min(DISCARDED))
                .inspect(|n| self.router.discarded(id, *n as u64, self.now))
        } else {
            match self.router.read_budget(id) {
                0 => return 0,
                most => client.connection.read(&mut self.buffer[..most]).inspect(|n| {
                    if *n > 0 {
                        self.router.receive(id, &self.buffer[..*n], self.now);
                    }
                }),
            }
        };
        match read {
            Ok(0) => self.router.ended(id, self.now),
            Ok(n) => return n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.lose(id),
        }
        0
    }

    /// Moves bytes of a large message through a pipe, so that nobody has to copy them. Tells how many moved; `None` if
    /// they have to be copied.
    fn pass(&mut self, id: Id) -> Option<usize> {
        let splice = self.router.splice(id);
        let mut load = match self.client(id)?.load.take() {
            Some(load) => load,
            None => Box::new(Load { to: splice?.to, pipe: self.lend_pipe()? }),
        };
        let client = self.clients.get_mut(id.index()).and_then(Option::as_mut)?;
        let mut taken = 0;
        let mut failed = false;
        // A pipe that takes pages as they come may hold far more than its size.
        let room = PIPED.saturating_sub(load.pipe.held());
        if let (Some(splice), Some(raw), false) =
            (splice, client.connection.source(), client.copies || room == 0)
        {
            let filled = load.pipe.fill(raw, usize::try_from(splice.left).unwrap_or(usize::MAX).min(room));
            let nothing =
                filled.as_ref().map_or_else(|error| error.kind() == io::ErrorKind::WouldBlock, |n| *n == 0);
            match filled {
                // Urgent data (tcp(7)): only a read gets past it.
                _ if nothing && sys::at_mark(raw) => client.copies = true,
                Ok(0) => self.router.ended(id, self.now),
                Ok(n) => {
                    taken = n;
                    self.router.loaded(id, n as u64, self.now);
                }
                // There is nothing, or the pipe is full.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if sys::is_refusal(&error) => client.copies = true,
                Err(_) => failed = true,
            }
        }
        let given = self.unload(&mut load);
        let held = load.pipe.held();
        let over = held == 0 || self.client(load.to).is_none();
        if over {
            // Nobody is to find what somebody else was to get.
            self.give_back((held == 0).then_some(load.pipe));
        } else if let Some(client) = self.client(id) {
            client.load = Some(load);
            if given == 0 {
                self.router.blocked(id);
            }
        }
        if failed {
            self.lose(id);
        }
        let ends = over && (splice.is_none() || self.client(id)?.copies);
        if ends && taken.max(given) == 0 { None } else { Some(taken.max(given)) }
    }

    /// Moves what a pipe holds to where it is to go. Tells how many bytes went.
    fn unload(&mut self, load: &mut Load) -> usize {
        let mut moved = 0;
        // What came through the router comes first.
        while load.pipe.held() > 0 && self.router.output(load.to).is_empty() {
            let there = self.clients.get(load.to.index()).and_then(Option::as_ref);
            let sink = there.filter(|there| there.id == load.to).and_then(|there| there.connection.sink());
            let Some(sink) = sink else { break };
            match load.pipe.drain(sink, usize::MAX) {
                Ok(n) => {
                    moved += n;
                    self.router.unloaded(load.to, n as u64, self.now);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.lose(load.to);
                    break;
                }
            }
        }
        moved
    }

    fn lend_pipe(&mut self) -> Option<SplicePipe> {
        let pipe = match self.pipes.pop() {
            Some(pipe) => Some(pipe),
            None if self.lent < MOST_PIPES => SplicePipe::new().ok(),
            None => None,
        };
        self.lent += usize::from(pipe.is_some());
        pipe
    }

    fn give_back(&mut self, pipe: Option<SplicePipe>) {
        self.lent -= 1;
        self.pipes.extend(pipe);
    }

    /// Writes what there is for a client, until it takes no more.
    fn write(&mut self, id: Id) {
        loop {
            let output = self.router.output(id);
            if output.is_empty() {
                break;
            }
            let Some(client) = self.clients.get_mut(id.index()).and_then(Option::as_mut) else {
                return;
            };
            let piece = match client.encrypted {
                false => output.len(),
                true if client.slow => SLOW_PIECE,
                true => PIECE,
            };
            let taken = match client.owed {
                0 => client.connection.write(&output[..piece.min(output.len())]),
                owed => Ok(owed),
            };
            client.owed = 0;
            client.slow = false;
            // What TLS has taken is not on its way before all of it is.
            match taken.map(|n| (n, client.connection.flush())) {
                Ok((n, Ok(()))) => self.router.written(id, n, self.now),
                Ok((n, Err(error))) if error.kind() == io::ErrorKind::WouldBlock => {
                    client.owed = n;
                    client.slow = true;
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok((_, Err(_))) | Err(_) => return self.lose(id),
            }
        }
        if let Some(holder) = self.router.holder(id)
            && self.client(holder).is_some_and(|client| client.load.is_some())
        {
            self.read_again(holder);
        }
    }

    // ---- what follows ----

    /// Does what the router wants done, until it wants nothing more.
    fn settle(&mut self) {
        loop {
            while let Some(id) = self.router.next_output() {
                self.write(id);
            }
            let Some(event) = self.router.next_event() else { return };
            match event {
                relay::Event::Joined { id, name } => {
                    if let Some(Some(client)) = self.clients.get(id.index())
                        && client.id == id
                    {
                        event_log::joined(self.report, &self.router, &name, &client.peer);
                    }
                }
                relay::Event::Left { id, name, why } => self.part(id, name.as_deref(), why),
                relay::Event::Resumed(id) => self.read_again(id),
            }
        }
    }

    /// The connection of a client is no more.
    fn lose(&mut self, id: Id) {
        self.router.lost(id, self.now);
    }

    /// Closes the connection of a client that is gone.
    fn part(&mut self, id: Id, name: Option<&[u8]>, why: CloseReason) {
        if self.client(id).is_none() {
            return;
        }
        let Some(mut client) = self.clients[id.index()].take() else { return };
        if client.encrypted && client.owed == 0 {
            // It is to see an end, and not a cut; if it is gone, it sees nothing.
            let _ = client.connection.finish();
        }
        if let Some(mut load) = client.load.take() {
            // What has left it still arrives.
            let (mut bytes, mut piece) = (Vec::with_capacity(load.pipe.held()), [0; 4096]);
            while load.pipe.held() > 0
                && let Ok(n @ 1..) = load.pipe.read(&mut piece)
            {
                bytes.extend_from_slice(&piece[..n]);
            }
            self.router.poured(load.to, &bytes, self.now);
            self.give_back((load.pipe.held() == 0).then_some(load.pipe));
        }
        event_log::left(self.report, &self.router, name, &client.peer, why.name());
        if self.paused {
            // There is a descriptor again.
            self.paused = false;
            self.reactor.again(LISTENER);
        }
    }

    fn handle_signal(&mut self, signal: Signal) -> Option<Outcome> {
        match signal {
            Signal::Hangup | Signal::Interrupt | Signal::Terminate => {
                if self.leaving.replace(signal).is_some() {
                    return Some(Outcome::Signalled(signal));
                }
                (self.listener, self.secure_listener) = (None, None);
                self.parked.clear();
                self.router.close_down(self.now);
            }
            Signal::Info => self.report.result(event_log::summary(&self.router)),
            Signal::Stop => sys::stop_self(),
            Signal::Child | Signal::Continue => {}
        }
        None
    }
}

/// Bytes that are encrypted at once, and count as written together: a record (RFC 8446, section 5.1).
const PIECE: usize = 16 << 10;

/// The same, for somebody slow, who is to be seen to take something.
const SLOW_PIECE: usize = 2 << 10;

/// From a header's first byte to its second `|`.
const HEADER: Duration = Duration::from_secs(10);

/// Bytes of one client before others have their turn.
const SHARE: usize = 512 << 10;

/// Bytes of a message that are worth a pipe, or not to be looked at.
const LARGE: u64 = 128 << 10;

/// Bytes that are thrown away at once at most.
const DISCARDED: usize = 1 << 20;

/// Bytes in a pipe at most.
const PIPED: usize = 1 << 20;

/// Pipes at most.
const MOST_PIPES: usize = 64;

/// Descriptors for other things than clients: pipes, the listeners, those who ask for stats.
const RESERVED: usize = 2 * MOST_PIPES + 32;

/// Clients that may have to wait because their address has sent too many.
const MOST_PARKED: usize = 256;

/// Arrivals before other events have their turn.
const ACCEPTED_AT_ONCE: usize = 64;

/// How long accepting pauses when there are no descriptors left.
const PAUSE_TIME: Duration = Duration::from_millis(100);

const LISTENER: Token = Token(3);
const TIMER: Token = Token(4);
const PAUSE: Token = Token(5);
const METRICS: Token = Token(6);
/// Those who ask for stats have tokens of their own, each a new one; they cannot reach this.
const FIRST: Token = Token(1 << 32);
