//! `-e` and `-c`: programs on connections.

use std::{
    collections::HashMap,
    fs::File,
    os::unix::process::ExitStatusExt,
    process::{Command, ExitStatus},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{
    Exited, Interrupted,
    session::{self, Names},
};
use crate::{
    endpoint::{Child, Connection, Peer, Standard},
    event::{Event, Reactor, Token},
    net::Address,
    plan::{self, Program},
    pump::Source,
    report::Report,
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
                let _ = sys::keep_alive(&socket, PROBE, PROBES);
            }
            let child = Child::on_socket(command, stream.socket(), program.stays).with_context(context)?;
            Ok(Started::OnSocket(child))
        }
        _ => {
            let (child, local) = Child::beside(command, program.stays).with_context(context)?;
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
    let (mut child, outcome) = match started {
        Started::OnSocket(child) => {
            reactor.watch_end(token, peer.socket_mut()).context("watch the socket")?;
            (child, Ok(true))
        }
        Started::Beside(mut child, mut local) => {
            local.watch(reactor, token).context("watch the program")?;
            reactor.watch(token, peer.socket_mut()).context("watch the socket")?;
            let mut session = session::begin(plan, peer, names, Source::File, true, dump)?;
            let outcome = session::run(reactor, token, &mut session, &mut local, report);
            if outcome.is_err() || !session.has_sent_all() {
                child.hang_up(Instant::now());
            }
            (child, outcome)
        }
    };
    let interrupted = wait(&mut child, reactor, token)?;
    if !interrupted.map_or(outcome, |signal| Err(Interrupted(signal).into()))? {
        return Ok(false);
    }
    let Some(status) = child.ended() else { return Ok(true) };
    report.verbose(format!("{program} has ended: {status}"));
    match code(status) {
        0 => Ok(true),
        _ if plan.listening => Ok(true),
        code => Err(Exited(code).into()),
    }
}

/// Waits until a program has ended; one whose peer has gone is told so. A signal ends it too, and is given back.
fn wait(child: &mut Child, reactor: &mut Reactor, token: Token) -> Result<Option<Signal>> {
    let mut interrupted = None;
    while child.ended().is_none() {
        let until = child.tick(Instant::now());
        reactor.wake_at(token, until);
        for event in reactor.wait()? {
            match event {
                Event::Hangup(_) => child.hang_up(Instant::now()),
                Event::Signal(signal @ (Signal::Hangup | Signal::Interrupt | Signal::Terminate)) => {
                    interrupted = Some(signal);
                    if child.stays() {
                        return Ok(interrupted);
                    }
                    child.hang_up(Instant::now());
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

/// As shells tell it: 128 and the number of the signal that ended it.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// The programs of many clients.
#[derive(Debug, Default)]
pub struct Programs(HashMap<Token, Running>);

#[derive(Debug)]
struct Running {
    child: Child,
    /// Who it serves, where there is no session; our handle on its socket goes when it does.
    client: Option<(Peer, Address)>,
}

impl Programs {
    /// Remembers a program that serves the client of a token; `client` is one without a session.
    pub fn insert(&mut self, token: Token, child: Child, client: Option<(Peer, Address)>) {
        self.0.insert(token, Running { child, client });
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

    /// Forgets those that have ended, and says how; tells whether a client without a session has gone with one.
    pub fn reap(&mut self, report: &Report) -> bool {
        let mut gone = false;
        self.0.retain(|_, running| {
            let Some(status) = running.child.ended() else { return true };
            if let Some((_, client)) = &running.client {
                gone = true;
                report.verbose(format!("{client}: the program has ended: {status}"));
            }
            false
        });
        gone
    }

    /// Makes those end that were told to and do not; when to be called again.
    pub fn tick(&mut self, now: Instant) -> Option<Instant> {
        self.0.values_mut().filter_map(|running| running.child.tick(now)).min()
    }

    /// Clients without a session.
    pub fn clients(&self) -> impl Iterator<Item = &Address> {
        self.0.values().filter_map(|running| running.client.as_ref()).map(|(_, client)| client)
    }

    /// Whether there are any that do not stay when everything ends.
    pub fn may_be_left(&self) -> bool {
        self.0.values().all(|running| running.child.stays())
    }
}

/// Silence before it is asked whether a client is still there, and between questions.
const PROBE: Duration = Duration::from_secs(30);

/// Questions without an answer: a client that is gone is noticed within two minutes.
const PROBES: u32 = 3;
