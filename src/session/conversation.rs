//! The only conversation of a mode: its session or its program, to the exit status.

use std::{fs::File, time::Instant};

use anyhow::{Context, Result};

use super::{
    Lingering, Names, Outcome, Session, Status, Summary, flows, open,
    program::{self, Child, Started, has_unread},
};
use crate::{
    endpoint::{Input, Output, Peer, Stdio},
    event::{Event, Reactor, Token},
    plan::{self, Role},
    pump::{Source, earlier},
    report::{Meter, Report},
    sys::{self, Signal},
};

/// The surroundings of a conversation.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    pub plan: &'a plan::Session,
    /// The file of `-o`.
    pub dump: Option<&'a File>,
    /// The token of the peer and of the local side.
    pub token: Token,
    pub report: &'a Report,
}

/// A conversation with one peer, which is lent to it.
#[derive(Debug)]
pub struct Conversation<'a> {
    setting: Setting<'a>,
    /// `None` once it is over, or where a program has the socket itself.
    exchange: Option<Exchange>,
    child: Option<Child>,
    /// The program has the socket itself.
    bare: bool,
    lingering: Option<Lingering>,
    /// The outcome so far.
    outcome: Outcome,
}

/// A session, and what it needs beside its peer.
#[derive(Debug)]
struct Exchange {
    session: Session,
    local: Stdio,
    meter: Meter,
    /// Bytes of the file that is sent.
    length: Option<u64>,
    /// A person sits at our terminal.
    interactive: bool,
}

impl<'a> Conversation<'a> {
    /// Opens the local side, or starts the program, and begins. `at` is the address in an automatic name.
    pub fn begin(
        setting: Setting<'a>,
        peer: &mut dyn Peer,
        names: Names,
        at: open::At<'_>,
        reactor: &mut Reactor,
    ) -> Result<Self> {
        let Setting { plan, dump, token, report } = setting;
        if let Some(program) = &plan.program {
            let started = program::start(program, peer, &names, plan.is_bare() && !report.json)?;
            return Self::with_program(setting, started, peer, names, reactor);
        }

        watch(peer, reactor, token)?;
        // A peer whose session does not come about must not take what it has received for the whole.
        let local = open::open(plan, at, &reactor.waker(token)).inspect_err(|_| peer.abort())?;
        let source = open::source(&local.input);
        let sends = !matches!(local.input, Input::Nothing);
        let session = flows::begin(plan, peer, names, source, sends, dump)?;
        Self::with_session(setting, session, local, reactor)
    }

    /// Has a session that was made elsewhere.
    pub fn with_session(
        setting: Setting<'a>,
        session: Session,
        mut local: Stdio,
        reactor: &mut Reactor,
    ) -> Result<Self> {
        let Setting { token, report, .. } = setting;
        local.watch(reactor, token).context("watch stdin and stdout")?;

        let length = local.input.length().filter(|_| session.sends_file());
        let transfer = length.is_some() || matches!(local.output, Output::Download(_));
        let meter = Meter::new(report.progress, report.quiet, transfer, length, Instant::now());
        let interactive = open::source(&local.input) == Source::Terminal;
        let exchange = Some(Exchange { session, local, meter, length, interactive });
        Ok(Self { setting, exchange, child: None, bare: false, lingering: None, outcome: Outcome::Done })
    }

    fn with_program(
        setting: Setting<'a>,
        started: Started,
        peer: &mut dyn Peer,
        names: Names,
        reactor: &mut Reactor,
    ) -> Result<Self> {
        let Setting { plan, dump, token, .. } = setting;

        match started {
            Started::OnSocket(child) => {
                if let Some(descriptor) = peer.descriptor_mut() {
                    reactor.watch_hangup(token, descriptor).context("watch the socket")?;
                }
                let (exchange, child, outcome) = (None, Some(child), Outcome::Done);
                Ok(Self { setting, exchange, child, bare: true, lingering: None, outcome })
            }
            Started::Beside(child, local) => {
                watch(peer, reactor, token)?;
                let session = flows::begin(plan, peer, names, Source::File, true, dump)?;
                let conversation = Self::with_session(setting, session, local, reactor)?;
                Ok(Self { child: Some(child), ..conversation })
            }
        }
    }

    /// Takes notice of an event; the next [`advance`](Self::advance) acts on it.
    pub fn hear(&mut self, event: Event, peer: Option<&mut (dyn Peer + 'static)>, now: Instant) {
        // A dial that goes on beside the session has a token of its own; its hang-ups are not ours.
        match event {
            Event::Hangup(token) if token == self.setting.token => {
                match (&mut self.exchange, &mut self.child) {
                    (Some(exchange), _) => exchange.session.hang_up(),
                    // A program beside its session is told when that ends.
                    (None, Some(child)) if self.bare => child.hang_up(now),
                    (None, _) => {}
                }
            }
            Event::Signal(signal) => self.handle_signal(signal, peer, now),
            Event::Due(_) | Event::Hangup(_) | Event::Ready(_) => {}
        }
    }

    fn handle_signal(&mut self, signal: Signal, peer: Option<&mut (dyn Peer + 'static)>, now: Instant) {
        match signal {
            Signal::Hangup | Signal::Interrupt | Signal::Terminate => self.interrupt(signal, now),
            Signal::Info => {
                if let (Some(exchange), Some(peer)) = (&self.exchange, peer) {
                    self.setting.report.result(exchange.session.progress(peer, now));
                }
            }
            Signal::Stop => {
                if let Some(exchange) = &mut self.exchange {
                    exchange.local.release_terminal();
                }
                sys::stop_self();
            }
            Signal::Child | Signal::Continue => {}
        }
    }

    fn interrupt(&mut self, signal: Signal, now: Instant) {
        if let Some(exchange) = &mut self.exchange {
            // The shell has its terminal back before anything can go wrong.
            exchange.local.release_terminal();
            return exchange.session.interrupt(signal, now);
        }

        self.lingering = None;
        let is_first = !matches!(self.outcome, Outcome::Signalled(_));
        self.outcome = Outcome::Signalled(signal);
        if let Some(child) = &mut self.child {
            if is_first { child.hang_up(now) } else { child.kill() }
        }
    }

    /// Returns whether the peer must be kept. Otherwise it is to be closed: its session is over, and only a program is
    /// awaited.
    pub fn needs_peer(&self) -> bool {
        self.exchange.is_some() || self.bare
    }

    /// Does all that can be done now. Returns the outcome when the conversation is over.
    pub fn advance(
        &mut self,
        mut peer: Option<&mut (dyn Peer + 'static)>,
        reactor: &mut Reactor,
        now: Instant,
    ) -> Option<Outcome> {
        if let (Some(exchange), Some(peer)) = (&mut self.exchange, peer.as_deref_mut()) {
            let summary = exchange.advance(peer, reactor, self.setting.token, now)?;
            self.end_session(*summary, peer, now);
        }

        let interrupted = matches!(self.outcome, Outcome::Signalled(_));
        if let Some(child) = &mut self.child
            && self.lingering.is_none()
        {
            // A program that keeps running without us (--keep) is not awaited after a signal.
            if !(child.is_gone() || interrupted && child.keeps_running()) {
                reactor.wake_at(self.setting.token, child.tick(now));
                return None;
            }
            // Only the bare socket can be left unread: a session has read everything, or has said so.
            if let Some(peer) = peer.as_deref_mut()
                && self.bare
                && !interrupted
                && has_unread(child, peer)
            {
                self.lingering = Lingering::begin(peer, reactor, self.setting.token, now);
            }
        }

        if let (Some(lingering), Some(peer)) = (&self.lingering, peer)
            && !lingering.advance(peer, reactor, self.setting.token, now)
        {
            reactor.wake_at(self.setting.token, Some(lingering.deadline()));
            return None;
        }
        Some(self.outcome())
    }

    /// Ends the session: its success is settled before anything is told of it.
    fn end_session(&mut self, mut summary: Summary, peer: &mut dyn Peer, now: Instant) {
        let Some(mut exchange) = self.exchange.take() else { return };
        exchange.local.release_terminal();
        let moved = exchange.progress(peer);
        exchange.meter.finish(moved, now);

        summary.finish_file(exchange.local.take_download());
        summary.tcp = if self.setting.report.json { super::tcp(peer) } else { None };
        summary.print(self.setting.report, exchange.interactive);

        self.outcome = summary.outcome();
        // A program that has got all is left to end by itself.
        if let Some(child) = &mut self.child
            && (matches!(self.outcome, Outcome::Signalled(_)) || !exchange.session.has_sent_all())
        {
            child.hang_up(now);
        }
    }

    /// Returns the outcome, to which a program that has ended adds its status.
    fn outcome(&mut self) -> Outcome {
        let (Some(child), Some(program)) = (&mut self.child, &self.setting.plan.program) else {
            return self.outcome;
        };
        if self.outcome != Outcome::Done {
            return self.outcome;
        }
        let Some(status) = child.status() else { return Outcome::Done };
        self.setting.report.verbose(format!("{program} has ended: {status}"));

        // A listener has served its client, however the program has ended.
        match sys::exit_code(status) {
            0 => Outcome::Done,
            _ if self.setting.plan.role != Role::Connect => Outcome::Done,
            code => Outcome::Exited(code),
        }
    }
}

impl Exchange {
    /// Turns the session. Returns its summary when it is over.
    fn advance(
        &mut self,
        peer: &mut dyn Peer,
        reactor: &mut Reactor,
        token: Token,
        now: Instant,
    ) -> Option<Box<Summary>> {
        let until = match self.session.advance(&mut self.local, peer, now) {
            Status::Finished(summary) => return Some(summary),
            Status::Waiting(until) => until,
            Status::Yielded => {
                reactor.again(token);
                None
            }
        };

        if self.meter.deadline().is_some() {
            let moved = self.progress(peer);
            self.meter.show(moved, now);
        }
        reactor.wake_at(token, earlier(until, self.meter.deadline()));
        None
    }

    /// Returns the bytes that the progress is of.
    fn progress(&mut self, peer: &mut dyn Peer) -> u64 {
        if self.length.is_some() {
            return self.session.sent_content();
        }
        // Without a file to send, the direction that has moved more is the transfer.
        let (sent, received) = self.session.moved(peer);
        received.max(sent)
    }
}

fn watch(peer: &mut dyn Peer, reactor: &Reactor, token: Token) -> Result<()> {
    match peer.descriptor_mut() {
        Some(descriptor) => reactor.watch(token, descriptor).context("watch the socket"),
        None => Ok(()),
    }
}
