//! The relay server: accepts clients, and acts on the events of the router.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{
    event_log,
    forwarder::{Forwarder, MAX_PIPES},
    metrics::Metrics,
    secrets,
};
use crate::{
    endpoint::{Peer, Stream},
    event::{Event, Reactor, Token},
    net::{Accepted, Address, Listener},
    plan::{Bind, Relay},
    proto::relay::{self, Admission, CloseReason, Id, Router, RouterConfig},
    report::Report,
    session::{Outcome, accept::Acceptor, dial::Resolving, messages, sandbox, tls::TlsContext},
    sys::{self, SandboxPolicy, Signal},
};

/// Serves until a signal ends it.
pub fn run(plan: &Relay, report: &Report) -> Result<Outcome> {
    let config = router_config(plan)?;
    let max_clients = config.max_clients;
    let mut reactor = Reactor::new().context("set up the event loop")?;
    let mut server = RelayServer {
        plan,
        max_clients,
        forwarder: Forwarder::new(Router::new(config)),
        resolving: None,
        acceptor: None,
        secure: None,
        delayed: VecDeque::new(),
        metrics: None,
        listener_token: reactor.token(),
        delay_token: reactor.token(),
        timer_token: reactor.token(),
        reactor,
        report,
        stopping: None,
    };

    match &plan.at {
        Bind::Addresses(addresses) => server.listen(addresses)?,
        Bind::Name { host, port } => {
            let (reactor, token) = (&server.reactor, server.listener_token);
            let resolving = Resolving::start(host, *port, &plan.socket_config, None, reactor, token)?;
            server.resolving = Some(resolving);
        }
    }
    server.run()
}

fn router_config(plan: &Relay) -> Result<RouterConfig> {
    let authenticator = secrets::authenticator(plan.token.as_ref(), plan.names.as_ref())?;

    // Each client takes a descriptor.
    let descriptors = sys::raise_descriptor_limit();
    let max_clients = descriptors.saturating_sub(RESERVED_DESCRIPTORS).max(1);

    Ok(RouterConfig {
        max_clients: plan.max_clients.unwrap_or(usize::MAX).min(max_clients),
        max_per_address: plan.max_per_ip,
        max_message: plan.max_message,
        register_timeout: plan.register_timeout,
        header_timeout: HEADER_TIMEOUT,
        idle_timeout: plan.idle,
        stall_timeout: plan.stall,
        framed: plan.framed,
        memory_limit: plan.buffer,
        authenticator,
    })
}

struct RelayServer<'a> {
    plan: &'a Relay,
    max_clients: usize,
    forwarder: Forwarder,
    /// The look-up of the address to listen at.
    resolving: Option<Resolving>,
    /// `None` before the address is resolved, and once a signal has come.
    acceptor: Option<Acceptor>,
    /// The acceptor of TLS clients. `None` as above, or without TLS.
    secure: Option<(Acceptor, TlsContext)>,
    /// Connections that the rate limit of their address delays, the times at which they may be admitted, and whether
    /// they use TLS.
    delayed: VecDeque<(Instant, Accepted, bool)>,
    metrics: Option<Metrics>,
    reactor: Reactor,
    listener_token: Token,
    /// Its deadline is that of the next delayed connection.
    delay_token: Token,
    /// Its deadline is that of the router.
    timer_token: Token,
    report: &'a Report,
    /// The signal that ends the server once all clients have left.
    stopping: Option<Signal>,
}

impl RelayServer<'_> {
    fn run(mut self) -> Result<Outcome> {
        loop {
            let events = self.reactor.wait()?;
            self.forwarder.now = Instant::now();
            let mut accepts = false;
            for event in events {
                if let Event::Signal(signal) = event
                    && let Some(outcome) = self.handle_signal(signal)
                {
                    return Ok(outcome);
                }
                accepts |= self.handle(event);
            }
            if let Some(resolving) = &mut self.resolving
                && let Some(addresses) = resolving.advance(self.forwarder.now)?
            {
                self.resolving = None;
                self.listen(&addresses)?;
            }

            // Timeouts first: a client that is closed need not be read.
            self.forwarder.router.tick(self.forwarder.now);
            self.forwarder.read_queued();
            if accepts {
                self.accept();
            }
            self.act();
            if let (Some(signal), 0) = (self.stopping, self.forwarder.router.clients()) {
                return Ok(Outcome::Signalled(signal));
            }

            self.reactor.wake_at(self.timer_token, self.forwarder.router.deadline());
            if self.forwarder.has_queued() {
                self.reactor.again(self.timer_token);
            }
        }
    }

    /// Listens for clients, for TLS clients and for metrics, and gives up all other rights.
    fn listen(&mut self, addresses: &[Address]) -> Result<()> {
        let (plan, report) = (self.plan, self.report);
        let random = addresses.iter().any(|address| address.port() == Some(0));
        let acceptor = self.bind(addresses)?;
        messages::announce(&acceptor.addresses(), random, report);
        self.acceptor = Some(acceptor);

        if let Some((port, tls)) = &plan.tls {
            let mut addresses = addresses.to_vec();
            for address in &mut addresses {
                address.set_port(*port);
            }
            let acceptor = self.bind(&addresses)?;
            self.announce(&acceptor.addresses(), |at| format!("Listening on {at} (tls)"), *port == 0);
            let context = TlsContext::server(tls, &acceptor.addresses(), ("remote relay", " NAME"), report)?;
            self.secure = Some((acceptor, context));
        }
        if let Some(at) = plan.metrics {
            let metrics = Metrics::listen(at, plan.socket_config.clone(), &mut self.reactor)?;
            self.announce(&metrics.addresses(), |at| format!("Figures at {at}"), at.port() == 0);
            self.metrics = Some(metrics);
        }

        report.note(format!("up to {} clients", self.max_clients));
        sandbox::confine(plan.sandbox.then(SandboxPolicy::default).as_ref(), report);
        Ok(())
    }

    fn bind(&self, addresses: &[Address]) -> Result<Acceptor> {
        let listener = Listener::bind(self.plan.socket_config.clone(), addresses, true)?;
        Ok(Acceptor::new(listener, &self.reactor, self.listener_token)?)
    }

    /// Prints where the server listens; without `-v` only if the port is random.
    fn announce(&self, addresses: &[Address], line: impl Fn(String) -> String, random: bool) {
        for address in addresses {
            let line = line(messages::host_and_port(address));
            if random { self.report.result(line) } else { self.report.verbose(line) }
        }
    }

    /// Handles an event. Returns whether connections may be waiting to be accepted.
    fn handle(&mut self, event: Event) -> bool {
        let (router, now) = (&self.forwarder.router, self.forwarder.now);
        if let Some(metrics) = &mut self.metrics
            && metrics.advance(event, &mut self.reactor, router, now, self.report)
        {
            return false;
        }

        match event {
            Event::Due(token) if token == self.delay_token => true,
            Event::Due(token) | Event::Ready(token) if token == self.listener_token => true,
            Event::Ready(token) if token.0 >= FIRST_CLIENT.0 => {
                self.forwarder.advance(token.0 - FIRST_CLIENT.0);
                false
            }
            Event::Due(_) | Event::Hangup(_) | Event::Ready(_) | Event::Signal(_) => false,
        }
    }

    /// Admits delayed connections whose time has come, then accepts waiting ones.
    fn accept(&mut self) {
        while let Some((when, ..)) = self.delayed.front() {
            if *when > self.forwarder.now {
                self.reactor.wake_at(self.delay_token, Some(*when));
                break;
            }
            if let Some((_, accepted, encrypted)) = self.delayed.pop_front() {
                self.admit(accepted, encrypted);
            }
        }

        for encrypted in [false, true] {
            // One batch at most, so that connected clients have their turn.
            for _ in 0..MAX_ACCEPTS {
                let secure = self.secure.as_mut().map(|(acceptor, _)| acceptor);
                let Some(acceptor) = (if encrypted { secure } else { self.acceptor.as_mut() }) else { break };
                let now = self.forwarder.now;
                let Some(accepted) = acceptor.accept_stream(&mut self.reactor, now, self.report) else {
                    break;
                };
                self.admit(accepted, encrypted);
                self.reactor.again(self.listener_token);
            }
        }
    }

    /// Asks the router to admit a connection, and adds it to the forwarder.
    fn admit(&mut self, mut accepted: Accepted, encrypted: bool) {
        let now = self.forwarder.now;
        let ip = match &accepted.peer {
            Address::Inet(inet) => inet.ip(),
            // The clients of a UNIX socket are on this machine.
            Address::Name { .. } | Address::Unix(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        let id = match self.forwarder.router.admit(ip, now) {
            Admission::Joined(id) => id,
            Admission::Refused(reason) => return self.refuse(&accepted.peer, reason),
            Admission::Later(_) if self.delayed.len() >= MAX_DELAYED => {
                return self.refuse(&accepted.peer, CloseReason::Crowded);
            }
            Admission::Later(when) => {
                let first = self.delayed.front().map_or(when, |(when, ..)| *when);
                self.reactor.wake_at(self.delay_token, Some(first));
                return self.delayed.push_back((when, accepted, encrypted));
            }
        };

        // A client that gave way must be closed before its place in the tables is used again.
        self.act();
        if let Err(error) = self.reactor.watch(Token(FIRST_CLIENT.0 + id.index()), &mut accepted.socket) {
            self.report.verbose(format!("remote: serve {}: {}", accepted.peer, sys::reason(&error)));
            return self.forwarder.router.lost(id, now);
        }

        let (peer, stream) = (accepted.peer, Stream::new(accepted.socket));
        let connection: Box<dyn Peer> = match &self.secure {
            Some((_, context)) if encrypted => match context.layer(stream) {
                Ok(tls) => Box::new(tls),
                Err(error) => {
                    self.report.verbose(format!("remote: serve {peer}: {error:#}"));
                    return self.forwarder.router.lost(id, now);
                }
            },
            _ => Box::new(stream),
        };
        self.forwarder.add(id, connection, peer, encrypted);
    }

    fn refuse(&self, peer: &Address, reason: CloseReason) {
        event_log::left(self.report, &self.forwarder.router, None, peer, reason.name());
    }

    /// Writes output and acts on events, until the router has no more of either.
    fn act(&mut self) {
        loop {
            self.forwarder.write_output();
            let Some(event) = self.forwarder.router.next_event() else { return };

            match event {
                relay::Event::Joined { id, name } => {
                    if let Some(peer) = self.forwarder.peer(id) {
                        event_log::joined(self.report, &self.forwarder.router, &name, peer);
                    }
                }
                relay::Event::Left { id, name, reason } => self.close(id, name.as_deref(), reason),
                relay::Event::Resumed(id) => self.forwarder.read_again(id),
            }
        }
    }

    /// Closes the connection of a client that has left.
    fn close(&mut self, id: Id, name: Option<&[u8]>, reason: CloseReason) {
        // A client that was admitted but never added, because its connection failed, is not logged.
        let Some(peer) = self.forwarder.remove(id) else { return };
        event_log::left(self.report, &self.forwarder.router, name, &peer, reason.name());
        // A descriptor is free again.
        for acceptor in self.acceptor.iter_mut().chain(self.secure.iter_mut().map(|(acceptor, _)| acceptor)) {
            if acceptor.backoff().is_some() {
                acceptor.resume(&mut self.reactor);
            }
        }
    }

    /// Acts on a signal. Returns the outcome if the server is over at once.
    fn handle_signal(&mut self, signal: Signal) -> Option<Outcome> {
        match signal {
            Signal::Hangup | Signal::Interrupt | Signal::Terminate => {
                if self.stopping.replace(signal).is_some() {
                    return Some(Outcome::Signalled(signal));
                }
                // Closing the listeners refuses new clients; those that are connected get their queues.
                (self.resolving, self.acceptor, self.secure) = (None, None, None);
                self.delayed.clear();
                self.forwarder.router.close_down(self.forwarder.now);
            }
            Signal::Info => self.report.result(event_log::summary(&self.forwarder.router)),
            Signal::Stop => sys::stop_self(),
            Signal::Child | Signal::Continue => {}
        }
        None
    }
}

/// The time from the first byte of a header to its second `|`.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Descriptors for other things than clients: pipes, listeners, connections that ask for metrics.
const RESERVED_DESCRIPTORS: usize = 2 * MAX_PIPES + 32;

/// Connections that the rate limit of their address delays.
const MAX_DELAYED: usize = 256;

/// Connections that are accepted before other events have their turn.
const MAX_ACCEPTS: usize = 64;

/// The token of the client with index 0, behind all tokens that the reactor hands out.
const FIRST_CLIENT: Token = Token(usize::MAX / 2);
