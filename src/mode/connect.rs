//! Connect, and have one session.

use std::time::Instant;

use anyhow::{Context, Result};

use crate::{
    endpoint::Peer,
    event::{Event, Reactor},
    net::Address,
    plan::{Connect, Target},
    report::Report,
    session::{
        Conversation, Names, Outcome, Setting,
        dial::{Dial, Progress},
        messages::succeeded,
        open, sandbox,
        tls::TlsContext,
    },
};

/// How far the mode is.
enum Stage<'a> {
    Dialing(Box<Dial<'a>>),
    /// The peer is closed before a program that goes on.
    Talking(Box<Conversation<'a>>, Option<Box<dyn Peer>>),
}

/// Connects, and has the session.
pub fn run(plan: &Connect, report: &Report) -> Result<Outcome> {
    open::check(&plan.session)?;
    let dump = open::open_dump(&plan.session)?;
    let mut reactor = Reactor::new().context("set up the event loop")?;
    if let Target::Host { port, random: true, .. } = &plan.to {
        report.note(format!("no port was given: port {port} was chosen at random"));
    }
    let tls = match &plan.tls {
        Some(tls) => Some(TlsContext::client(tls, &plan.to, report)?),
        None => None,
    };

    let token = reactor.token();
    let mut now = Instant::now();
    let setting = Setting { plan: &plan.session, dump: dump.as_ref(), token, report };
    let dial = Dial::start(plan, tls.as_ref(), &mut reactor, token, now)?;
    let mut stage = Stage::Dialing(Box::new(dial));
    loop {
        if let Stage::Dialing(dial) = &mut stage
            && let Some(conversation) = advance(dial, plan, setting, &mut reactor, now)?
        {
            stage = conversation;
        }
        if let Stage::Talking(conversation, peer) = &mut stage {
            if let Some(outcome) = conversation.advance(peer.as_deref_mut(), &mut reactor, now) {
                return Ok(outcome);
            }
            if !conversation.needs_peer() {
                *peer = None;
            }
        }

        // All events of a turn are heard before anything is attempted: a signal must not wait for a busy session.
        let events = reactor.wait()?;
        now = Instant::now();
        for event in events {
            match (&mut stage, event) {
                (Stage::Talking(conversation, peer), event) => {
                    conversation.hear(event, peer.as_deref_mut(), now);
                }
                (Stage::Dialing(dial), Event::Signal(signal)) => {
                    let transport = plan.session.transport.name();
                    if let Some(outcome) = dial.handle_signal(signal, transport, now, report) {
                        return Ok(outcome);
                    }
                }
                (Stage::Dialing(_), Event::Due(_) | Event::Hangup(_) | Event::Ready(_)) => {}
            }
        }
    }
}

/// Goes on dialing. Returns the conversation, once there is a peer.
fn advance<'a>(
    dial: &mut Dial<'_>,
    plan: &Connect,
    setting: Setting<'a>,
    reactor: &mut Reactor,
    now: Instant,
) -> Result<Option<Stage<'a>>> {
    let host = match &plan.to {
        Target::Host { host, port, .. } => (host.as_str(), Some(*port)),
        Target::Unix(path) => (path.to_str().unwrap_or("unix"), None),
    };

    loop {
        match dial.advance(reactor, now, setting.report)? {
            Progress::Pending => {
                reactor.wake_at(dial.token(), dial.deadline());
                return Ok(None);
            }
            Progress::Connected { address, local } => {
                connected(host.0, &address, &local, plan, setting.report);
                // Not earlier: looking up names and connecting were the last steps that need more rights.
                sandbox::enter(&plan.session, &[], setting.report);
            }
            Progress::Ready(dialed) => {
                reactor.wake_at(dial.token(), None);
                let (mut peer, address) = (dialed.peer, dialed.address);
                let names = Names::new(&plan.session, address, dialed.local);
                let conversation = Conversation::begin(setting, &mut *peer, names, host, reactor)?;
                return Ok(Some(Stage::Talking(Box::new(conversation), Some(peer))));
            }
        }
    }
}

fn connected(host: &str, address: &Address, local: &Address, plan: &Connect, report: &Report) {
    if report.verbose > 0 {
        // getservbyport(3) opens files.
        report.verbose(succeeded(host, address, plan.session.transport));
    }
    report.detail(format!("from {local}"));
}
