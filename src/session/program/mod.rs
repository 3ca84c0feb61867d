//! `-e` and `-c`: programs on connections.

mod child;

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use self::child::Child;
use crate::{
    endpoint::{Connection, Endpoint, Peer, Standard},
    event::{Event, Reactor, Token},
    net::Address,
    plan::{self, Program, Role},
    pump::{Source, earlier},
    report::Report,
    session::{self, Exited, Interrupted, Names, heed},
    sys::{self, Signal},
};

/// Starts the program of the plan for a peer.
pub fn start(program: &Program, peer: &mut Peer, names: &Names, bare: bool) -> Result<Started> {
    let command = command(program, peer, names);
    let context = || format!("run {program}");
    match peer {
        Peer::Connection(Connection::Plain(stream)) if bare => {
            let socket = stream.socket().socket();
            // Nobody else would notice that the client is gone.
            if !socket.keepalive().unwrap_or(true) {
                let _ = sys::set_keepalive(&socket, PROBE, PROBES);
            }
            let child = Child::on_socket(command, stream.socket(), program.keep).with_context(context)?;
            Ok(Started::OnSocket(child))
        }
        _ => {
            let (child, local) = Child::beside(command, program.keep).with_context(context)?;
            Ok(Started::Beside(child, local))
        }
    }
}

/// A program, and how it is connected.
#[derive(Debug)]
pub enum Started {
    /// To our end of a pair.
    Beside(Child, Standard),
    /// By the socket itself.
    OnSocket(Child),
}

/// The command, told who the peer is.
fn command(program: &Program, peer: &Peer, names: &Names) -> Command {
    let (name, args) = program.words();
    let mut command = Command::new(name);
    command.args(args);
    let port = |address: &Address| address.port().map_or_else(String::new, |port| port.to_string());
    let protocol = match (peer, &names.peer) {
        (_, Address::Unix(_)) => "UNIX",
        (Peer::Datagram(_), _) => "UDP",
        _ => "TCP",
    };
    command.env("REMOTE_ADDR", names.peer.host()).env("REMOTE_PORT", port(&names.peer));
    command.env("LOCAL_ADDR", names.local.host()).env("LOCAL_PORT", port(&names.local));
    command.env("PROTO", protocol).env_remove(super::proxy::PASSWORD);
    command
}

/// Has a program serve one peer, to its end. Its status is ours when we have connected.
pub fn run(
    reactor: &mut Reactor,
    token: Token,
    mut peer: Peer,
    names: Names,
    plan: &plan::Session,
    dump: Option<&File>,
    report: &Report,
) -> Result<bool> {
    let Some(program) = &plan.program else { return Ok(true) };
    let started = start(program, &mut peer, &names, plan.is_bare() && !report.json)?;
    let (mut child, outcome, bare) = match started {
        Started::OnSocket(child) => {
            reactor.watch_end(token, peer.socket_mut()).context("watch the socket")?;
            (child, Ok(true), Some(peer))
        }
        Started::Beside(mut child, mut local) => {
            local.watch(reactor, token).context("watch the program")?;
            reactor.watch(token, peer.socket_mut()).context("watch the socket")?;
            let mut session = session::begin(plan, peer, names, Source::File, true, dump)?;
            let outcome = session::run(reactor, token, &mut session, &mut local, report);
            if outcome.is_err() || !session.has_sent_all() {
                child.hang_up(Instant::now());
            }
            (child, outcome, None)
        }
    };
    let told =
        outcome.as_ref().err().and_then(|error| error.downcast_ref()).map(|Interrupted(signal)| *signal);
    let interrupted = wait(&mut child, told, reactor, token)?;
    if let (Some(mut peer), None) = (bare, interrupted) {
        linger(&mut child, &mut peer, reactor, token)?;
    }
    if !interrupted.map_or(outcome, |signal| Err(Interrupted(signal).into()))? {
        return Ok(false);
    }
    let Some(status) = child.ended() else { return Ok(true) };
    report.verbose(format!("{program} has ended: {status}"));
    match sys::exit_code(status) {
        0 => Ok(true),
        _ if plan.role != Role::Connect => Ok(true),
        code => Err(Exited(code).into()),
    }
}

/// Waits until a program has ended; one whose peer has gone is told so. A signal ends it too, and is given back; a second
/// one makes it end. `interrupted` is one that has come already.
fn wait(
    child: &mut Child,
    mut interrupted: Option<Signal>,
    reactor: &mut Reactor,
    token: Token,
) -> Result<Option<Signal>> {
    while !(child.is_gone() || interrupted.is_some() && child.stays()) {
        let until = child.tick(Instant::now());
        reactor.wake_at(token, until);
        for event in reactor.wait()? {
            match event {
                Event::Hangup(_) => child.hang_up(Instant::now()),
                Event::Signal(signal @ (Signal::Hangup | Signal::Interrupt | Signal::Terminate)) => {
                    match interrupted.replace(signal) {
                        None => child.hang_up(Instant::now()),
                        Some(_) => child.kill(),
                    }
                }
                Event::Signal(Signal::Stop) => sys::stop_self(),
                Event::Signal(Signal::Child | Signal::Continue | Signal::Info)
                | Event::Due(_)
                | Event::Ready(_) => {}
            }
        }
    }
    Ok(interrupted)
}

/// Waits for the end of a peer whose program has ended without having read all; see [`Lingering`].
fn linger(child: &mut Child, peer: &mut Peer, reactor: &mut Reactor, token: Token) -> Result<()> {
    let Some(lingering) = Lingering::begin(child, peer, reactor, token, Instant::now()) else {
        return Ok(());
    };
    while !lingering.is_over(peer, reactor, token, Instant::now()) {
        reactor.wake_at(token, Some(lingering.until));
        for event in reactor.wait()? {
            if let Event::Signal(signal) = event {
                heed(signal)?;
            }
        }
    }
    Ok(())
}

/// A connection whose program has ended and has left something unread. Closed now, it would be reset (RFC 1122, section
/// 4.2.2.13), and the reset may overtake what the program has said: it is told the end, and what comes is dropped.
#[derive(Clone, Copy, Debug)]
struct Lingering {
    until: Instant,
}

impl Lingering {
    /// Begins, if there is a need for it, and nobody who was left behind has the connection.
    fn begin(
        child: &mut Child,
        peer: &mut Peer,
        reactor: &Reactor,
        token: Token,
        now: Instant,
    ) -> Option<Self> {
        let needed = sys::unread(peer.socket()) > 0
            && !child.stays()
            && !child.has_left_others()
            && peer.finish().is_ok();
        // Without being told of what comes, time will do.
        (needed && reactor.watch(token, peer.socket_mut()).is_ok()).then_some(Self { until: now + LINGER })
    }

    /// Drops what has come; whether the peer has ended too, or has had its time.
    fn is_over(self, peer: &mut Peer, reactor: &mut Reactor, token: Token, now: Instant) -> bool {
        let mut bytes = [0; 4096];
        for _ in 0..DROPPED_AT_ONCE {
            match peer.read(&mut bytes) {
                Ok(1..) if now < self.until => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return now >= self.until,
                Ok(_) | Err(_) => return true,
            }
        }
        reactor.again(token);
        false
    }
}

/// The programs of many clients.
#[derive(Debug, Default)]
pub struct Programs(HashMap<Token, Running>);

#[derive(Debug)]
struct Running {
    child: Child,
    serves: Serves,
}

/// What a program has to do with its client.
#[derive(Debug)]
enum Serves {
    /// By the socket itself, of which this is our handle.
    Bare { peer: Box<Peer>, address: Address, lingering: Option<Lingering> },
    /// The client has gone, or has had all.
    Nobody,
    /// Through a session.
    Session,
}

impl Programs {
    /// Remembers a program that serves the client of a token.
    pub fn insert(&mut self, token: Token, child: Child) {
        self.0.insert(token, Running { child, serves: Serves::Session });
    }

    /// It does so by the socket itself.
    pub fn serve(&mut self, token: Token, peer: Peer, address: Address) {
        if let Some(running) = self.0.get_mut(&token) {
            running.serves = Serves::Bare { peer: Box::new(peer), address, lingering: None };
        }
    }

    /// Whether this is the token of a client without a session.
    pub fn is_bare(&self, token: Token) -> bool {
        self.0.get(&token).is_some_and(|running| matches!(running.serves, Serves::Bare { .. }))
    }

    /// The session of this token's client is over: he has gone, or he has had all.
    pub fn release(&mut self, token: Token, gone: bool, now: Instant) {
        if let Some(running) = self.0.get_mut(&token) {
            running.serves = Serves::Nobody;
            if gone {
                running.child.hang_up(now);
            }
        }
    }

    /// The client of this token has gone.
    pub fn hang_up(&mut self, token: Token, now: Instant) {
        if let Some(running) = self.0.get_mut(&token) {
            running.child.hang_up(now);
        }
    }

    /// All have gone.
    pub fn hang_up_all(&mut self, now: Instant) {
        self.0.values_mut().for_each(|running| running.child.hang_up(now));
    }

    /// All are to end now.
    pub fn kill_all(&mut self) {
        self.0.values_mut().for_each(|running| running.child.kill());
    }

    /// Forgets those that are done with; tells whether clients without a session have gone with them.
    pub fn look(&mut self, reactor: &mut Reactor, report: &Report, now: Instant) -> bool {
        let before = self.clients().count();
        self.0.retain(|token, running| !running.is_done(*token, reactor, report, now));
        self.clients().count() < before
    }

    /// Makes those end that were told to and do not; when to be called again.
    pub fn tick(&mut self, now: Instant) -> Option<Instant> {
        self.0.values_mut().filter_map(|running| running.tick(now)).min()
    }

    /// Clients without a session.
    pub fn clients(&self) -> impl Iterator<Item = &Address> {
        self.0.values().filter_map(|running| match &running.serves {
            Serves::Bare { address, .. } => Some(address),
            Serves::Nobody | Serves::Session => None,
        })
    }

    /// Whether there are none but those that stay when everything ends.
    pub fn may_be_left(&self) -> bool {
        self.0.values().all(|running| running.child.stays())
    }
}

impl Running {
    fn is_done(&mut self, token: Token, reactor: &mut Reactor, report: &Report, now: Instant) -> bool {
        let Some(status) = self.child.ended() else { return false };
        match &mut self.serves {
            Serves::Session => false,
            Serves::Nobody => self.child.is_gone(),
            Serves::Bare { peer, lingering: Some(lingering), .. } => {
                lingering.is_over(peer, reactor, token, now) && self.leave()
            }
            Serves::Bare { peer, address, lingering } => {
                report.verbose(format!("{address}: the program has ended: {status}"));
                *lingering = Lingering::begin(&mut self.child, peer, reactor, token, now);
                lingering.is_none() && self.leave()
            }
        }
    }

    /// Lets go of the client; whether that was all.
    fn leave(&mut self) -> bool {
        self.serves = Serves::Nobody;
        self.child.is_gone()
    }

    fn tick(&mut self, now: Instant) -> Option<Instant> {
        let lingering = match &self.serves {
            Serves::Bare { lingering: Some(lingering), .. } => Some(lingering.until),
            Serves::Bare { .. } | Serves::Nobody | Serves::Session => None,
        };
        earlier(self.child.tick(now), lingering)
    }
}

/// Pieces of what is dropped before others have their turn.
const DROPPED_AT_ONCE: usize = 64;

/// How long a peer has to end when its program has.
const LINGER: Duration = Duration::from_secs(2);

/// Silence before it is asked whether a client is still there, and between questions.
const PROBE: Duration = Duration::from_secs(30);

/// Questions without an answer: a client that is gone is noticed within two minutes.
const PROBES: u32 = 3;
