//! From a target to a connected socket.

use std::{
    io,
    time::{Duration, Instant},
};

use anyhow::{Context, Error, Result, anyhow};

use super::{Interrupted, heed, proxy::Errand};
use crate::{
    endpoint::{Connection, Datagram, Ends, Peer, PeerFilter},
    event::{Event, Reactor, Slots, Token},
    net::{Address, Race, SocketConfig, Transport, race::Next, resolve::Lookup},
    plan::{Connect, Target},
    pump::earlier,
    report::{self, Report},
    sys::{self, Descriptor},
};

/// Connects, through the proxy if there is one, and tries again as often as the plan says.
pub fn keep_trying(plan: &Connect, reactor: &mut Reactor, report: &Report) -> Result<(Descriptor, Address)> {
    let errand = match &plan.proxy {
        Some(proxy) => Some(Errand::prepare(&plan.to, proxy, reactor)?),
        None => None,
    };
    let deadline = plan.timeout.map(|timeout| Instant::now() + timeout);
    let mut left = plan.retry;
    loop {
        let limit = earlier(deadline, plan.session.idle.map(|idle| Instant::now() + idle));
        let reached = match &errand {
            Some(errand) => errand.run(&plan.socket_config, reactor, limit, report),
            None => reach(&plan.to, &plan.socket_config, reactor, limit, report),
        };
        let error = match reached {
            Ok(reached) => return Ok(reached),
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(error) => error,
        };
        let again = Instant::now() + RETRY;
        if left == 0 || deadline.is_some_and(|deadline| again >= deadline) {
            return Err(error);
        }
        left -= 1;
        report.verbose(format!("remote: {}; trying again", report::sentence(&error)));
        sleep(reactor, again)?;
    }
}

/// Connects to the first address that answers.
pub fn reach(
    to: &Target,
    socket_config: &SocketConfig,
    reactor: &mut Reactor,
    limit: Option<Instant>,
    report: &Report,
) -> Result<(Descriptor, Address)> {
    let addresses = match to {
        Target::Unix(path) => vec![Address::Unix(path.clone())],
        Target::Host { host, port, .. } => look_up(host, *port, socket_config, reactor, limit)?,
    };
    let race = Race::new(addresses, Instant::now());
    let name = Name(to);
    Contest { socket_config, race, running: Slots::new(FIRST_ATTEMPT) }.run(reactor, limit, &name, report)
}

/// The addresses of a host. The resolver cannot be interrupted, but we can.
pub fn look_up(
    host: &str,
    port: u16,
    socket_config: &SocketConfig,
    reactor: &mut Reactor,
    limit: Option<Instant>,
) -> Result<Vec<Address>> {
    let context = || format!("look up {host}");
    let waker = reactor.waker(LOOKUP);
    let lookup = Lookup::start(host, port, socket_config.only, socket_config.transport, move || waker.wake())
        .with_context(context)?;
    loop {
        if let Some(answer) = lookup.take() {
            return answer
                .map_err(|error| anyhow!("look up {host}: {}", crate::net::resolve::reason(&error)));
        }
        reactor.wake_at(LOOKUP, limit);
        for event in reactor.wait()? {
            match event {
                Event::Signal(signal) => heed(signal)?,
                Event::Due(LOOKUP) => return Err(anyhow!("timed out")).with_context(context),
                Event::Due(_) | Event::Hangup(_) | Event::Ready(_) => {}
            }
        }
    }
}

/// The attempts that are under way.
struct Contest<'a> {
    socket_config: &'a SocketConfig,
    race: Race,
    running: Slots<(Address, Descriptor)>,
}

impl Contest<'_> {
    fn run(
        mut self,
        reactor: &mut Reactor,
        limit: Option<Instant>,
        name: &Name<'_>,
        report: &Report,
    ) -> Result<(Descriptor, Address)> {
        loop {
            let now = Instant::now();
            let until = match self.race.next(now) {
                Next::Failed => return Err(name.lost(&self.race.failures())),
                Next::Try(address) => {
                    let started = self
                        .socket_config
                        .routed(&address)
                        .and_then(|socket_config| Ok(socket_config.connect(&address)?));
                    match started {
                        Ok(mut socket) => {
                            let token = self.running.token();
                            reactor.watch(token, &mut socket)?;
                            self.running.insert(token, (address, socket));
                            if let Some(won) = self.look(token, now, name, report) {
                                return Ok(won);
                            }
                        }
                        Err(error) => match to_io(error) {
                            // unix(7): a listener whose backlog is full says so at once.
                            error if error.kind() == io::ErrorKind::WouldBlock => {
                                self.race.postpone(address);
                                if limit.is_some_and(|limit| now >= limit) {
                                    return Err(name.late(&self));
                                }
                                sleep(reactor, now + FULL_BACKLOG)?;
                            }
                            error => self.fail(address, error, now, name, report),
                        },
                    }
                    continue;
                }
                Next::Wait(until) => until,
            };
            if limit.is_some_and(|limit| now >= limit) {
                return Err(name.late(&self));
            }
            reactor.wake_at(RACE, earlier(until, limit));
            for event in reactor.wait()? {
                match event {
                    Event::Signal(signal) => heed(signal)?,
                    Event::Ready(token) => {
                        if let Some(won) = self.look(token, Instant::now(), name, report) {
                            return Ok(won);
                        }
                    }
                    Event::Due(_) | Event::Hangup(_) => {}
                }
            }
        }
    }

    /// Finds out what became of an attempt: `Some` if it is connected.
    fn look(
        &mut self,
        token: Token,
        now: Instant,
        name: &Name<'_>,
        report: &Report,
    ) -> Option<(Descriptor, Address)> {
        let (address, socket) = self.running.get_mut(token)?;
        let outcome = match socket.socket().take_error() {
            Ok(Some(error)) | Err(error) => Err(error),
            // A group has no other end that could be connected to.
            Ok(None) if self.socket_config.reaches_many(address) => Ok(true),
            // A socket that is still connecting has no peer.
            Ok(None) => Ok(socket.socket().peer_addr().is_ok()),
        };
        if let Ok(false) = outcome {
            return None;
        }
        let (address, socket) = self.running.remove(token)?;
        match outcome {
            Ok(_) => Some((socket, address)),
            Err(error) => {
                self.fail(address, error, now, name, report);
                None
            }
        }
    }

    fn fail(&mut self, address: Address, error: io::Error, now: Instant, name: &Name<'_>, report: &Report) {
        if let (Some(port), true) = (address.port(), name.0.is_name()) {
            let ip = address.host();
            report.verbose(format!("remote: connect to {ip} port {port} failed: {}", sys::reason(&error)));
        }
        self.race.failed(address, error, now);
    }
}

/// The target, as it is called in errors.
struct Name<'a>(&'a Target);

impl Name<'_> {
    fn lost(&self, lost: &[(Address, io::Error)]) -> Error {
        let mut reasons: Vec<String> = lost.iter().map(|(_, error)| sys::reason(error)).collect();
        let last = reasons.last().cloned().unwrap_or_else(|| "it has no address".to_owned());
        reasons.dedup();
        let tried = match (lost, &reasons[..]) {
            ([], _) => String::new(),
            ([_], _) if !self.0.is_name() => String::new(),
            (all, [_]) => tried(all.iter().map(|(address, _)| address.host())),
            (all, _) => tried(
                all.iter().map(|(address, error)| format!("{}: {}", address.host(), sys::reason(error))),
            ),
        };
        anyhow!("connect to {}: {last}{tried}", self.0)
    }

    fn late(&self, contest: &Contest<'_>) -> Error {
        let tried = if self.0.is_name() {
            tried(
                contest
                    .race
                    .addresses(contest.running.items().map(|(address, _)| address))
                    .iter()
                    .map(|address| address.host()),
            )
        } else {
            String::new()
        };
        anyhow!("connect to {}: timed out{tried}", self.0)
    }
}

fn tried(addresses: impl Iterator<Item = String>) -> String {
    let addresses: Vec<_> = addresses.collect();
    let noun = if addresses.len() == 1 { "address" } else { "addresses" };
    format!(" ({} {noun} tried: {})", addresses.len(), addresses.join(", "))
}

/// The far side of a connected socket.
pub fn peer(plan: &Connect, socket: Descriptor, address: &Address) -> Result<Peer> {
    if plan.socket_config.transport == Transport::Stream {
        return Ok(Peer::Connection(Connection::plain(socket)));
    }
    // The answers to what a group was asked come from its members.
    let filter = match plan.socket_config.reaches_many(address) {
        true => PeerFilter::Group(address.to_sockaddr()?),
        false => PeerFilter::Connected,
    };
    let plan = &plan.session;
    let ends = Ends { mark: plan.send_eof_datagram, heed: plan.honor_eof_datagram };
    Ok(Datagram::new(socket, filter, ends).into())
}

/// Waits, but not deaf to signals.
pub fn sleep(reactor: &mut Reactor, until: Instant) -> Result<()> {
    reactor.wake_at(RACE, Some(until));
    while Instant::now() < until {
        for event in reactor.wait()? {
            if let Event::Signal(signal) = event {
                heed(signal)?;
            }
        }
    }
    Ok(())
}

fn to_io(error: Error) -> io::Error {
    error.downcast::<io::Error>().unwrap_or_else(|error| io::Error::other(format!("{error:#}")))
}

/// Between one try and the next (`--retry`).
pub const RETRY: Duration = Duration::from_secs(1);

/// How long a UNIX socket with a full backlog is left alone.
const FULL_BACKLOG: Duration = Duration::from_millis(20);

const LOOKUP: Token = Token(1);
const RACE: Token = Token(2);
const FIRST_ATTEMPT: Token = Token(16);
