//! From a target to a connected socket: the look-up of its name, and the race between its addresses. Values that a mode's
//! loop advances; nothing here waits.

use std::{
    io,
    time::{Duration, Instant},
};

use anyhow::{Context, Error, Result, anyhow};

use crate::{
    event::{Reactor, Token},
    net::{
        Address, Race, SocketConfig,
        race::Next,
        resolve::{self, Lookup},
    },
    plan::Target,
    pump::earlier,
    report::Report,
    sys::{self, Descriptor},
};

/// A name that is being looked up. The resolver cannot be interrupted, but need not be waited for.
#[derive(Debug)]
pub struct Resolving {
    host: String,
    lookup: Lookup,
    deadline: Option<Instant>,
}

impl Resolving {
    /// Starts to look up a host; an answer wakes `token`.
    pub fn start(
        host: &str,
        port: u16,
        config: &SocketConfig,
        deadline: Option<Instant>,
        reactor: &Reactor,
        token: Token,
    ) -> Result<Self> {
        let waker = reactor.waker(token);
        let lookup = Lookup::start(host, port, config.only, config.transport, move || waker.wake());
        let lookup = lookup.with_context(|| format!("look up {host}"))?;
        Ok(Self { host: host.to_owned(), lookup, deadline })
    }

    /// Returns the addresses, once there is an answer.
    pub fn advance(&mut self, now: Instant) -> Result<Option<Vec<Address>>> {
        let host = &self.host;
        match self.lookup.take() {
            Some(Ok(addresses)) => Ok(Some(addresses)),
            Some(Err(error)) => Err(anyhow!("look up {host}: {}", resolve::reason(&error))),
            None if self.deadline.is_some_and(|deadline| now >= deadline) => {
                Err(anyhow!("look up {host}: timed out"))
            }
            None => Ok(None),
        }
    }

    /// Returns when to advance even if nothing has happened.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}

/// The attempts to connect to a target, until one succeeds or all have failed.
#[derive(Debug)]
pub struct ConnectAttempts {
    target: Target,
    config: SocketConfig,
    token: Token,
    deadline: Option<Instant>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Resolving(Resolving),
    Racing(Attempts),
}

/// The race, and the sockets that are in it.
#[derive(Debug)]
struct Attempts {
    race: Race,
    running: Vec<(Address, Descriptor)>,
    /// When the race has its next step, although nothing has happened.
    next: Option<Instant>,
    /// Until then, the backlog of a UNIX socket is left alone.
    backoff: Option<Instant>,
}

impl ConnectAttempts {
    /// Starts the look-up, or the race where there is none. All sockets are watched under `token`.
    pub fn start(
        target: &Target,
        config: &SocketConfig,
        deadline: Option<Instant>,
        reactor: &Reactor,
        token: Token,
        now: Instant,
    ) -> Result<Self> {
        let stage = match target {
            Target::Unix(path) => Stage::Racing(Attempts::new(vec![Address::Unix(path.clone())], now)),
            Target::Host { host, port, .. } => {
                Stage::Resolving(Resolving::start(host, *port, config, deadline, reactor, token)?)
            }
        };
        Ok(Self { target: target.clone(), config: config.clone(), token, deadline, stage })
    }

    /// Does all that can be done now. Returns the socket that has connected first, and its address.
    pub fn advance(
        &mut self,
        reactor: &Reactor,
        now: Instant,
        report: &Report,
    ) -> Result<Option<(Descriptor, Address)>> {
        if let Stage::Resolving(resolving) = &mut self.stage {
            let Some(addresses) = resolving.advance(now)? else { return Ok(None) };
            self.stage = Stage::Racing(Attempts::new(addresses, now));
        }
        let Self { target, config, token, deadline, stage: Stage::Racing(attempts) } = self else {
            return Ok(None);
        };

        // An event does not say which socket it is of: every attempt is looked at.
        for (address, outcome) in attempts.take_finished(config) {
            match outcome {
                Ok(socket) => return Ok(Some((socket, address))),
                Err(error) => attempts.fail(address, error, target, now, report),
            }
        }

        attempts.next = None;
        if attempts.backoff.is_none_or(|until| now >= until) {
            attempts.backoff = None;
            if let Some(connected) = attempts.start_more(target, config, reactor, *token, now, report)? {
                return Ok(Some(connected));
            }
        }
        // After the attempts, so that a connection that was made in time is not given up.
        if deadline.is_some_and(|deadline| now >= deadline) {
            return Err(attempts.timeout(target));
        }
        Ok(None)
    }

    /// Returns when to advance even if nothing has happened.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Resolving(resolving) => resolving.deadline(),
            Stage::Racing(attempts) => earlier(earlier(attempts.next, attempts.backoff), self.deadline),
        }
    }
}

impl Attempts {
    fn new(addresses: Vec<Address>, now: Instant) -> Self {
        Self { race: Race::new(addresses, now), running: Vec::new(), next: None, backoff: None }
    }

    /// Starts the attempts that are due; returns one that has succeeded at once.
    fn start_more(
        &mut self,
        target: &Target,
        config: &SocketConfig,
        reactor: &Reactor,
        token: Token,
        now: Instant,
        report: &Report,
    ) -> Result<Option<(Descriptor, Address)>> {
        loop {
            let address = match self.race.next(now) {
                Next::Failed => return Err(self.failure(target)),
                Next::Wait(until) => {
                    self.next = until;
                    return Ok(None);
                }
                Next::Try(address) => address,
            };

            let started = config.routed(&address).and_then(|config| Ok(config.connect(&address)?));
            let mut socket = match started.map_err(to_io) {
                Ok(socket) => socket,
                // unix(7): a listener whose backlog is full refuses at once, and no event tells when it has room.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.race.postpone(address);
                    self.backoff = Some(now + BACKLOG_BACKOFF);
                    return Ok(None);
                }
                Err(error) => {
                    self.fail(address, error, target, now, report);
                    continue;
                }
            };

            // Watched before it is looked at: a connection that is made in between would raise no event.
            reactor.watch(token, &mut socket)?;
            match connected(&socket, &address, config) {
                Ok(true) => return Ok(Some((socket, address))),
                Ok(false) => self.running.push((address, socket)),
                Err(error) => self.fail(address, error, target, now, report),
            }
        }
    }

    /// Takes out the attempts that have come to an end.
    fn take_finished(&mut self, config: &SocketConfig) -> Vec<(Address, io::Result<Descriptor>)> {
        let mut finished = Vec::new();
        // Several attempts may finish in one turn: the failures are reported, and the first success wins.
        for (address, socket) in std::mem::take(&mut self.running) {
            match connected(&socket, &address, config) {
                Ok(false) => self.running.push((address, socket)),
                Ok(true) => finished.push((address, Ok(socket))),
                Err(error) => finished.push((address, Err(error))),
            }
        }
        finished
    }

    fn fail(&mut self, address: Address, error: io::Error, target: &Target, now: Instant, report: &Report) {
        if let (Some(port), true) = (address.port(), target.is_name()) {
            let ip = address.host();
            report.verbose(format!("remote: connect to {ip} port {port} failed: {}", sys::reason(&error)));
        }
        self.race.failed(address, error, now);
    }

    /// Makes the error of a race in which every address has failed.
    fn failure(&mut self, target: &Target) -> Error {
        let failures = std::mem::replace(&mut self.race, Race::new(Vec::new(), Instant::now())).failures();
        let mut reasons: Vec<String> = failures.iter().map(|(_, error)| sys::reason(error)).collect();
        let last = reasons.last().cloned().unwrap_or_else(|| "it has no address".to_owned());
        // One reason for all addresses is told once.
        reasons.dedup();

        let tried = match (&failures[..], &reasons[..]) {
            ([], _) => String::new(),
            ([_], _) if !target.is_name() => String::new(),
            (all, [_]) => tried(all.iter().map(|(address, _)| address.host())),
            (all, _) => tried(
                all.iter().map(|(address, error)| format!("{}: {}", address.host(), sys::reason(error))),
            ),
        };
        anyhow!("connect to {target}: {last}{tried}")
    }

    /// Makes the error of a race that has taken too long.
    fn timeout(&self, target: &Target) -> Error {
        let addresses = self.race.addresses(self.running.iter().map(|(address, _)| address));
        let tried = match target.is_name() {
            true => tried(addresses.iter().map(|address| address.host())),
            false => String::new(),
        };
        anyhow!("connect to {target}: timed out{tried}")
    }
}

/// Returns whether a socket is connected by now; fails as its attempt has failed.
fn connected(socket: &Descriptor, address: &Address, config: &SocketConfig) -> io::Result<bool> {
    match socket.socket().take_error() {
        Ok(Some(error)) | Err(error) => Err(error),
        // A group has no single end that could be connected to.
        Ok(None) if config.reaches_many(address) => Ok(true),
        // getpeername(2), ENOTCONN: a socket that is still connecting has no peer.
        Ok(None) => Ok(socket.socket().peer_addr().is_ok()),
    }
}

fn tried(addresses: impl Iterator<Item = String>) -> String {
    let addresses: Vec<_> = addresses.collect();
    let noun = if addresses.len() == 1 { "address" } else { "addresses" };
    format!(" ({} {noun} tried: {})", addresses.len(), addresses.join(", "))
}

fn to_io(error: Error) -> io::Error {
    error.downcast::<io::Error>().unwrap_or_else(|error| io::Error::other(format!("{error:#}")))
}

/// How long a UNIX socket with a full backlog is left alone.
const BACKLOG_BACKOFF: Duration = Duration::from_millis(20);
