//! `-z`: scanning for open ports. A TCP port is probed by connecting to it, a UDP port by an empty datagram.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, Read, Write},
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::{
    event::{Event, Reactor, Slots, Token},
    net::{Address, Transport},
    plan::Scan,
    report::Report,
    session::{
        Outcome,
        dial::{RETRY_DELAY, Resolving},
        handle_signal,
        messages::succeeded,
    },
    sys::{self, Descriptor},
};

/// How far the mode is.
enum Stage<'a> {
    Resolving(Resolving),
    Surveying(Survey<'a>),
    /// No port was open; they are looked at again then.
    Pausing(Instant),
}

/// Looks at all ports; a success if one is open.
pub fn run(plan: &Scan, report: &Report) -> Result<Outcome> {
    let mut reactor = Reactor::new().context("set up the event loop")?;
    let token = reactor.token();
    let mut retries = plan.retry;
    let mut now = Instant::now();
    let mut stage = Stage::Resolving(resolve(plan, &reactor, token, now)?);
    loop {
        if let Stage::Pausing(until) = stage {
            reactor.wake_at(token, Some(until));
            if now >= until {
                stage = Stage::Resolving(resolve(plan, &reactor, token, now)?);
            }
        }
        if let Stage::Resolving(resolving) = &mut stage {
            reactor.wake_at(token, resolving.deadline());
            if let Some(addresses) = resolving.advance(now)? {
                reactor.wake_at(token, None);
                stage = Stage::Surveying(Survey::new(plan, addresses));
            }
        }
        if let Stage::Surveying(survey) = &mut stage
            && let Some(found) = survey.advance(&mut reactor, report)?
        {
            let is_open = found.iter().any(|port| port.state == PortState::Open);
            if is_open || retries == 0 {
                report.object(&Findings { host: &plan.host, ports: &found });
                return Ok(Outcome::of(is_open));
            }
            retries -= 1;
            stage = Stage::Pausing(now + RETRY_DELAY);
            // The deadline of the pause is set above, and has to be set before the wait.
            continue;
        }

        let events = reactor.wait()?;
        now = Instant::now();
        for event in events {
            match (&mut stage, event) {
                (_, Event::Signal(signal)) => {
                    if let Some(outcome) = handle_signal(signal) {
                        return Ok(outcome);
                    }
                }
                (Stage::Surveying(survey), Event::Due(token) | Event::Ready(token)) => {
                    survey.look(token, &mut reactor)?;
                }
                _ => {}
            }
        }
    }
}

fn resolve(plan: &Scan, reactor: &Reactor, token: Token, now: Instant) -> Result<Resolving> {
    let deadline = plan.timeout.map(|timeout| now + timeout);
    Resolving::start(&plan.host, 0, &plan.socket_config, deadline, reactor, token)
}

/// The object of `--json`.
#[derive(Debug, Serialize)]
struct Findings<'a> {
    host: &'a str,
    ports: &'a [Found],
}

/// The finding about one port.
#[derive(Clone, Debug, Serialize)]
struct Found {
    port: u16,
    state: PortState,
    address: String,
    why: Option<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum PortState {
    Closed,
    /// No answer was received: over UDP a port may be open for all that.
    NoAnswer,
    Open,
}

/// The survey of all ports: some at a time, and reported in order.
struct Survey<'a> {
    plan: &'a Scan,
    addresses: Vec<Address>,
    waiting: VecDeque<(usize, u16)>,
    running: Slots<Probe>,
    found: BTreeMap<usize, Found>,
    /// Ports that were reported.
    printed: usize,
}

/// A probe of one port at one address.
struct Probe {
    rank: usize,
    port: u16,
    socket: Descriptor,
    address: Address,
    /// The other addresses to try, over TCP.
    others: VecDeque<Address>,
    /// When to send once more (UDP), and when to give up.
    again: Option<Instant>,
    end: Option<Instant>,
}

impl<'a> Survey<'a> {
    fn new(plan: &'a Scan, addresses: Vec<Address>) -> Self {
        Self {
            plan,
            addresses,
            waiting: plan.ports.iter().copied().enumerate().collect(),
            running: Slots::default(),
            found: BTreeMap::new(),
            printed: 0,
        }
    }

    /// Starts probes, as many at a time as may be, and reports ports in their order. Returns all, once they are known.
    fn advance(&mut self, reactor: &mut Reactor, report: &Report) -> Result<Option<Vec<Found>>> {
        loop {
            // Ports are probed in order, but answers come in any order: they are reported in the order asked.
            while self.running.len() < MAX_PROBES {
                let Some((rank, port)) = self.waiting.pop_front() else { break };
                let others = self.addresses.iter().cloned().collect();
                if !self.start(rank, port, others, None, reactor)? {
                    self.waiting.push_front((rank, port));
                    break;
                }
            }
            self.print(report);

            if self.printed == self.plan.ports.len() {
                return Ok(Some(std::mem::take(&mut self.found).into_values().collect()));
            }
            if !self.running.is_empty() {
                return Ok(None);
            }
        }
    }

    /// Starts to probe a port at the first of `addresses` that can be probed. Returns `false` if no descriptors are left
    /// for it now.
    fn start(
        &mut self,
        rank: usize,
        port: u16,
        mut addresses: VecDeque<Address>,
        mut last: Option<(Address, io::Error)>,
        reactor: &mut Reactor,
    ) -> Result<bool> {
        while let Some(mut address) = addresses.pop_front() {
            if let Address::Inet(inet) = &mut address {
                inet.set_port(port);
            }

            let socket_config = self.plan.socket_config.routed(&address)?;
            match socket_config.connect(&address) {
                Ok(mut socket) => {
                    let token = reactor.token();
                    reactor.watch(token, &mut socket)?;

                    let now = Instant::now();
                    let mut probe =
                        Probe { rank, port, socket, address, others: addresses, again: None, end: None };
                    probe.end = self.plan.timeout.map(|timeout| now + timeout);

                    // udp(7): no handshake shows that a port is open; only an answer or an ICMP error settles it.
                    if socket_config.transport == Transport::Datagram {
                        let timeout = self.plan.timeout.unwrap_or(ANSWER_TIMEOUT);
                        probe.again = Some(now + timeout / 2);
                        probe.end = Some(now + timeout);
                        // A refusal shows when the answer is read.
                        let _ = probe.socket.write(&[]);
                    }

                    reactor.wake_at(token, probe.again.or(probe.end));
                    self.running.insert(token, probe);
                    return Ok(true);
                }
                // A probe that ends frees a descriptor; without one under way, waiting would never end.
                Err(error) if sys::is_exhausted(&error) && !self.running.is_empty() => return Ok(false),
                Err(error) => last = Some((address, error)),
            }
        }

        let (address, why) = match last {
            Some((address, error)) => (address.host(), Some(sys::reason(&error))),
            None => (self.plan.host.clone(), None),
        };
        self.found.insert(rank, Found { port, state: PortState::Closed, address, why });
        Ok(true)
    }

    /// Looks for the outcome of a probe.
    fn look(&mut self, token: Token, reactor: &mut Reactor) -> Result<()> {
        let datagram = self.plan.socket_config.transport == Transport::Datagram;
        let Some(probe) = self.running.get_mut(token) else { return Ok(()) };
        let now = Instant::now();
        let outcome = if datagram { answer(&mut probe.socket) } else { connection(&probe.socket) };

        let state = match &outcome {
            Ok(true) => PortState::Open,
            Err(_) => PortState::Closed,
            Ok(false) if probe.end.is_some_and(|end| now >= end) => PortState::NoAnswer,
            Ok(false) => {
                // UDP may lose a datagram: a second one tells a lossy path from a silent port.
                if probe.again.is_some_and(|again| now >= again) {
                    probe.again = None;
                    let _ = probe.socket.write(&[]);
                }
                reactor.wake_at(token, probe.again.or(probe.end));
                return Ok(());
            }
        };

        // The outcome is known: the probe is over.
        reactor.wake_at(token, None);
        let Some(probe) = self.running.remove(token) else { return Ok(()) };
        let why = outcome.err();

        if state == PortState::Open || probe.others.is_empty() || datagram {
            let why = why.map(|error| sys::reason(&error));
            let address = probe.address.host();
            self.found.insert(probe.rank, Found { port: probe.port, state, address, why });
            return Ok(());
        }

        // The host may have another address at which the port is open.
        let error = why.unwrap_or_else(|| io::ErrorKind::TimedOut.into());
        // Closed first: its descriptor may be the last one that the next attempt can have.
        drop(probe.socket);
        if !self.start(probe.rank, probe.port, probe.others, Some((probe.address, error)), reactor)? {
            self.waiting.push_front((probe.rank, probe.port));
        }
        Ok(())
    }

    /// Reports the ports whose turn it is.
    fn print(&mut self, report: &Report) {
        while let Some(found) = self.found.get(&self.printed) {
            let (port, host) = (found.port, &self.plan.host);
            let transport = self.plan.socket_config.transport;
            let address = found.address.parse().map(|ip: IpAddr| Address::Inet((ip, port).into()));

            if report.verbose > 0
                || (self.plan.ports.len() > 1 && found.state == PortState::Open && !report.quiet)
            {
                let protocol = transport.name();
                let failed = format!("remote: connect to {} port {port} ({protocol})", found.address);
                report.result(match (found.state, address) {
                    (PortState::Open, Ok(address)) => succeeded(host, &address, transport),
                    (PortState::Open, Err(_)) => {
                        format!("Connection to {host} {port} port [{protocol}/*] succeeded!")
                    }
                    (PortState::NoAnswer, _) => format!("{failed}: no answer"),
                    (PortState::Closed, _) => {
                        format!("{failed} failed: {}", found.why.as_deref().unwrap_or("no address"))
                    }
                });
            }

            self.printed += 1;
        }
    }
}

/// Returns whether a stream socket is connected by now.
fn connection(socket: &Descriptor) -> io::Result<bool> {
    // connect(2), getpeername(2): SO_ERROR is 0 while the connection is being made, too, but there is no peer yet.
    match socket.socket().take_error()? {
        Some(error) => Err(error),
        None => Ok(socket.socket().peer_addr().is_ok()),
    }
}

/// Returns whether a datagram socket has received an answer.
fn answer(socket: &mut Descriptor) -> io::Result<bool> {
    match socket.read(&mut [0; 64]) {
        // Any datagram is an answer, an empty one included.
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        // udp(7): ICMP errors for a connected socket arrive here; port unreachable is ECONNREFUSED.
        Err(error) => Err(error),
    }
}

/// Probes at the same time.
const MAX_PROBES: usize = 32;

/// How long a UDP port has to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
