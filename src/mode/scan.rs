//! `-z`: which ports are open? TCP is asked by connecting, and nothing is sent; UDP by an empty datagram.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, Read, Write},
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde::Serialize;

use super::succeeded;
use crate::{
    event::{Event, Reactor, Slots, Token},
    net::{Address, Transport},
    plan::Scan,
    report::Report,
    session::{dial, heed},
    sys::{self, Descriptor},
};

/// Looks at all ports; a success if one is open.
pub fn run(plan: &Scan, report: &Report) -> Result<bool> {
    let mut reactor = Reactor::new().context("set up the event loop")?;
    let mut left = plan.retry;
    loop {
        let limit = plan.timeout.map(|timeout| Instant::now() + timeout);
        let addresses = dial::look_up(&plan.host, 0, &plan.socket_config, &mut reactor, limit)?;
        let survey = Survey::new(plan, addresses);
        let found = survey.run(&mut reactor, report)?;
        let open = found.iter().any(|port| port.state == State::Open);
        if open || left == 0 {
            report.object(&Findings { host: &plan.host, ports: &found });
            return Ok(open);
        }
        left -= 1;
        dial::sleep(&mut reactor, Instant::now() + dial::RETRY)?;
    }
}

/// The object of `--json`.
#[derive(Debug, Serialize)]
struct Findings<'a> {
    host: &'a str,
    ports: &'a [Found],
}

/// What was found out of a port.
#[derive(Clone, Debug, Serialize)]
struct Found {
    port: u16,
    state: State,
    address: String,
    why: Option<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Closed,
    /// Nothing came back: over UDP that is all there is to know.
    NoAnswer,
    Open,
}

/// Some ports at a time, in order; they are reported in order too.
struct Survey<'a> {
    plan: &'a Scan,
    addresses: Vec<Address>,
    waiting: VecDeque<(usize, u16)>,
    running: Slots<Probe>,
    found: BTreeMap<usize, Found>,
    told: usize,
}

/// One port at one address.
struct Probe {
    rank: usize,
    port: u16,
    socket: Descriptor,
    address: Address,
    /// The other addresses to try, over TCP.
    others: VecDeque<Address>,
    /// When to ask once more (UDP), and when to give up.
    again: Option<Instant>,
    end: Option<Instant>,
}

impl<'a> Survey<'a> {
    fn new(plan: &'a Scan, addresses: Vec<Address>) -> Self {
        Self {
            plan,
            addresses,
            waiting: plan.ports.iter().copied().enumerate().collect(),
            running: Slots::new(FIRST_PROBE),
            found: BTreeMap::new(),
            told: 0,
        }
    }

    fn run(mut self, reactor: &mut Reactor, report: &Report) -> Result<Vec<Found>> {
        while self.told < self.plan.ports.len() {
            while self.running.len() < AT_ONCE {
                let Some((rank, port)) = self.waiting.pop_front() else { break };
                let others = self.addresses.iter().cloned().collect();
                if !self.start(rank, port, others, None, reactor)? {
                    self.waiting.push_front((rank, port));
                    break;
                }
            }
            self.tell(report);
            if self.running.is_empty() {
                continue;
            }
            for event in reactor.wait()? {
                match event {
                    Event::Signal(signal) => heed(signal)?,
                    Event::Due(token) | Event::Ready(token) => self.look(token, reactor)?,
                    Event::Hangup(_) => {}
                }
            }
        }
        Ok(self.found.into_values().collect())
    }

    /// Starts to ask a port at the first of `addresses` that can be asked. `Ok(false)` if there are no
    /// descriptors left for it now.
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
                    let token = self.running.token();
                    reactor.watch(token, &mut socket)?;
                    let now = Instant::now();
                    let mut probe =
                        Probe { rank, port, socket, address, others: addresses, again: None, end: None };
                    probe.end = self.plan.timeout.map(|timeout| now + timeout);
                    if socket_config.transport == Transport::Datagram {
                        let patience = self.plan.timeout.unwrap_or(ANSWER);
                        probe.again = Some(now + patience / 2);
                        probe.end = Some(now + patience);
                        // A refusal shows when the answer is read.
                        let _ = probe.socket.write(&[]);
                    }
                    reactor.wake_at(token, probe.again.or(probe.end));
                    self.running.insert(token, probe);
                    return Ok(true);
                }
                Err(error) if sys::is_exhausted(&error) && !self.running.is_empty() => return Ok(false),
                Err(error) => last = Some((address, error)),
            }
        }
        let (address, why) = match last {
            Some((address, error)) => (address.host(), Some(sys::reason(&error))),
            None => (self.plan.host.clone(), None),
        };
        self.found.insert(rank, Found { port, state: State::Closed, address, why });
        Ok(true)
    }

    /// Finds out what a probe has found out.
    fn look(&mut self, token: Token, reactor: &mut Reactor) -> Result<()> {
        let datagram = self.plan.socket_config.transport == Transport::Datagram;
        let Some(probe) = self.running.get_mut(token) else { return Ok(()) };
        let now = Instant::now();
        let outcome = if datagram { answer(&mut probe.socket) } else { connection(&probe.socket) };
        let state = match &outcome {
            Ok(true) => State::Open,
            Err(_) => State::Closed,
            Ok(false) if probe.end.is_some_and(|end| now >= end) => State::NoAnswer,
            Ok(false) => {
                if probe.again.is_some_and(|again| now >= again) {
                    probe.again = None;
                    let _ = probe.socket.write(&[]);
                }
                reactor.wake_at(token, probe.again.or(probe.end));
                return Ok(());
            }
        };
        reactor.wake_at(token, None);
        let Some(probe) = self.running.remove(token) else { return Ok(()) };
        let why = outcome.err();
        if state == State::Open || probe.others.is_empty() || datagram {
            let why = why.map(|error| sys::reason(&error));
            let address = probe.address.host();
            self.found.insert(probe.rank, Found { port: probe.port, state, address, why });
            return Ok(());
        }
        let error = why.unwrap_or_else(|| io::ErrorKind::TimedOut.into());
        drop(probe.socket);
        if !self.start(probe.rank, probe.port, probe.others, Some((probe.address, error)), reactor)? {
            self.waiting.push_front((probe.rank, probe.port));
        }
        Ok(())
    }

    /// Says what is known of the ports whose turn it is.
    fn tell(&mut self, report: &Report) {
        while let Some(found) = self.found.get(&self.told) {
            let (port, host) = (found.port, &self.plan.host);
            let transport = self.plan.socket_config.transport;
            let address = found.address.parse().map(|ip: IpAddr| Address::Inet((ip, port).into()));
            if report.verbose > 0
                || (self.plan.ports.len() > 1 && found.state == State::Open && !report.quiet)
            {
                let protocol = transport.name();
                let failed = format!("remote: connect to {} port {port} ({protocol})", found.address);
                report.result(match (found.state, address) {
                    (State::Open, Ok(address)) => succeeded(host, &address, transport),
                    (State::Open, Err(_)) => {
                        format!("Connection to {host} {port} port [{protocol}/*] succeeded!")
                    }
                    (State::NoAnswer, _) => format!("{failed}: no answer"),
                    (State::Closed, _) => {
                        format!("{failed} failed: {}", found.why.as_deref().unwrap_or("no address"))
                    }
                });
            }
            self.told += 1;
        }
    }
}

/// Whether a stream socket is connected by now.
fn connection(socket: &Descriptor) -> io::Result<bool> {
    match socket.socket().take_error()? {
        Some(error) => Err(error),
        None => Ok(socket.socket().peer_addr().is_ok()),
    }
}

/// Whether anything came back to a datagram socket.
fn answer(socket: &mut Descriptor) -> io::Result<bool> {
    match socket.read(&mut [0; 64]) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// Ports that are asked at the same time.
const AT_ONCE: usize = 32;

/// How long a UDP port has to answer.
const ANSWER: Duration = Duration::from_secs(1);

const FIRST_PROBE: Token = Token(16);
