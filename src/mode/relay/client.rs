//! A client of the relay: a session over a registration, which is renewed when its relay is lost.

use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::secrets::first_line;
use crate::{
    endpoint::{Addressing, Input, MAX_LINE, Peer, RelayConnection},
    event::{Event, Reactor, Token},
    net::Address,
    plan::{self, Connect, Direction, RelayClient},
    proto::relay::{MAX_STORED, is_name},
    pump::{Ending, FlowConfig, Framing, Pace, Source},
    report::{self, Report},
    session::{
        self, Conversation, Names, Outcome, Session, Setting,
        dial::{Dial, Dialed, Progress, RETRY_DELAY},
        open,
        tls::TlsContext,
    },
};

/// How far the mode is.
enum Stage<'a> {
    /// There was no connection yet.
    Dialing(Box<Dial<'a>>),
    Talking(Box<Conversation<'a>>, Box<RelayConnection>),
}

/// Registers, sends and receives.
pub fn run(plan: &RelayClient, report: &Report) -> Result<Outcome> {
    let connect = &plan.connect;
    open::check(&connect.session)?;
    let addressing = addressing(plan)?;
    let mut reactor = Reactor::new().context("set up the event loop")?;
    let tls = match &connect.tls {
        Some(tls) => Some(TlsContext::client(tls, &connect.to, report)?),
        None => None,
    };

    let mut now = Instant::now();
    let token = reactor.token();
    let setting = Setting { plan: &connect.session, dump: None, token, report };
    let dial = Dial::start(connect, tls.as_ref(), &mut reactor, token, now)?;
    let mut stage = Stage::Dialing(Box::new(dial));

    // Its token is its own, because a deadline belongs to a token: it must not replace that of the session.
    let mut reconnection = Reconnection {
        connect,
        tls: tls.as_ref(),
        session: token,
        token: reactor.token(),
        name: &plan.name,
        retries: connect.retry,
        registered: false,
        state: ReconnectionState::Connected,
        report,
    };
    loop {
        if let Stage::Dialing(dial) = &mut stage
            && let Some(dialed) = advance(dial, &mut reactor, now, report)?
        {
            stage = talk(plan, dialed, addressing.clone(), setting, &mut reactor)?;
        }
        if let Stage::Talking(conversation, relay) = &mut stage {
            if let Some(outcome) = conversation.advance(Some(&mut **relay), &mut reactor, now) {
                return Ok(outcome);
            }
            reconnection.advance(relay, &mut reactor, now);
        }

        let events = reactor.wait()?;
        now = Instant::now();
        for event in events {
            match (&mut stage, event) {
                (Stage::Talking(conversation, relay), event) => {
                    conversation.hear(event, Some(&mut **relay), now);
                }
                (Stage::Dialing(dial), Event::Signal(signal)) => {
                    if let Some(outcome) = dial.handle_signal(signal, "relay", now, report) {
                        return Ok(outcome);
                    }
                }
                (Stage::Dialing(_), Event::Due(_) | Event::Hangup(_) | Event::Ready(_)) => {}
            }
        }
    }
}

/// Goes on dialing. Returns the connection, once there is one.
fn advance(
    dial: &mut Dial<'_>,
    reactor: &mut Reactor,
    now: Instant,
    report: &Report,
) -> Result<Option<Dialed>> {
    loop {
        match dial.advance(reactor, now, report)? {
            Progress::Pending => {
                reactor.wake_at(dial.token(), dial.deadline());
                return Ok(None);
            }
            Progress::Connected { .. } => {}
            Progress::Ready(dialed) => {
                reactor.wake_at(dial.token(), None);
                return Ok(Some(dialed));
            }
        }
    }
}

/// Opens the local side, registers, and begins the session.
fn talk<'a>(
    plan: &'a RelayClient,
    dialed: Dialed,
    mut addressing: Addressing,
    setting: Setting<'a>,
    reactor: &mut Reactor,
) -> Result<Stage<'a>> {
    let connect = &plan.connect;
    let Dialed { peer, address, local: local_address } = dialed;
    setting.report.detail(format!("from {local_address}"));

    let host = address.host();
    let mut local = open::open(&connect.session, (&host, address.port()), &reactor.waker(setting.token))?;
    let source = open::source(&local.input);
    let interactive = source == Source::Terminal;
    if interactive {
        local.set_prompt(format!("{}> ", plan.name));
    }

    addressing.strip_line_ends = (interactive || plan.to.is_none()) && !connect.session.lines;
    addressing.skip_bad_lines = interactive;
    let lines = match (addressing.strip_line_ends || plan.to.is_none(), connect.session.lines) {
        (true, _) => Some(MAX_LINE),
        (false, true) => Some(MAX_STORED),
        (false, false) => None,
    };

    let now = Instant::now();
    let mut relay = Box::new(RelayConnection::new(peer, addressing, connect.retry > 0, now));
    watch(&mut relay, reactor, setting.token)?;
    let session = session(&connect.session, &local.input, lines, address, local_address)?;
    let conversation = Conversation::with_session(setting, session, local, reactor)?;
    Ok(Stage::Talking(Box::new(conversation), relay))
}

fn watch(relay: &mut RelayConnection, reactor: &Reactor, token: Token) -> Result<()> {
    match relay.descriptor_mut() {
        Some(descriptor) => reactor.watch(token, descriptor).context("watch the socket"),
        None => Ok(()),
    }
}

fn session(
    plan: &plan::Session,
    input: &Input,
    lines: Option<usize>,
    address: Address,
    local: Address,
) -> Result<Session> {
    let source = open::source(input);
    let inbound = session::inbound(plan, &address);
    let outbound = match input {
        Input::Nothing => None,
        _ => Some(outbound(plan, lines, source)),
    };
    session::session(plan, inbound, outbound, ending(plan, source), Names::new(plan, address, local))
}

/// The ways back to a relay that was lost. The session goes on meanwhile.
struct Reconnection<'a> {
    connect: &'a Connect,
    tls: Option<&'a TlsContext>,
    /// The session's token.
    session: Token,
    token: Token,
    name: &'a str,
    /// Attempts that are left before we are registered again.
    retries: u64,
    registered: bool,
    state: ReconnectionState<'a>,
    report: &'a Report,
}

enum ReconnectionState<'a> {
    /// No more attempts are made.
    Abandoned,
    Connected,
    Dialing(Box<Dial<'a>>),
    /// The next attempt is made then.
    Pausing(Instant),
}

impl Reconnection<'_> {
    /// Reports on the registration, and dials again if its relay is lost. The session has not noticed: its reads and writes
    /// only blocked meanwhile.
    fn advance(&mut self, relay: &mut RelayConnection, reactor: &mut Reactor, now: Instant) {
        self.observe(relay, now);

        match self.reconnect(relay, reactor, now) {
            Ok(false) => return,
            Ok(true) => {}
            // The session ends with it: its summary and its file are not lost.
            Err(error) => {
                self.state = ReconnectionState::Abandoned;
                relay.give_up(report::sentence(&error));
            }
        }
        reactor.again(self.session);
    }

    /// Takes notice of a registration, and of the loss of its relay.
    fn observe(&mut self, relay: &mut RelayConnection, now: Instant) {
        for error in relay.take_bad_lines() {
            self.report.error(error);
        }
        // The registration with a relay that is lost is stale until the next one: it gives no new retries.
        let is_connected = matches!(self.state, ReconnectionState::Connected);
        if is_connected && relay.is_registered() && !self.registered {
            self.registered = true;
            self.report.verbose(format!("registered as {}", self.name));
            self.retries = self.connect.retry;
            relay.set_reconnects(self.retries > 0);
        }

        if let Some(reason) = relay.lost_reason()
            && is_connected
            && self.retries > 0
        {
            let lost = match relay.unconfirmed() {
                0 => String::new(),
                n => format!(" ({n} messages may be lost)"),
            };
            self.report.note(format!("{reason}; trying again{lost}"));
            self.retries -= 1;
            self.registered = false;
            self.state = ReconnectionState::Pausing(now + RETRY_DELAY);
        }
    }

    /// Goes on dialing. Returns whether the relay has a new connection.
    fn reconnect(
        &mut self,
        relay: &mut RelayConnection,
        reactor: &mut Reactor,
        now: Instant,
    ) -> Result<bool> {
        if let ReconnectionState::Pausing(until) = self.state {
            if now < until {
                reactor.wake_at(self.token, Some(until));
                return Ok(false);
            }
            // Each reconnection has the retries of a first connection; the count of reconnections is ours.
            let dial = Dial::start(self.connect, self.tls, reactor, self.token, now)?;
            self.state = ReconnectionState::Dialing(Box::new(dial));
        }

        let ReconnectionState::Dialing(dial) = &mut self.state else { return Ok(false) };
        let Some(dialed) = advance(dial, reactor, now, self.report)? else { return Ok(false) };

        self.state = ReconnectionState::Connected;
        relay.set_reconnects(self.retries > 0);
        relay.reconnect(dialed.peer, now);
        watch(relay, reactor, self.session)?;
        Ok(true)
    }
}

/// Returns the names as they are on the wire.
fn addressing(plan: &RelayClient) -> Result<Addressing> {
    let prefix = match &plan.token {
        Some(path) => [&first_line(path)?[..], b":"].concat(),
        None => Vec::new(),
    };
    let name = [&prefix[..], plan.name.as_bytes()].concat();
    // The key goes to the relay only, so it is no part of the name; a token is, since every client has it.
    let registration = match &plan.key {
        Some(path) => [&first_line(path)?[..], b":", &name].concat(),
        None => name.clone(),
    };
    let to = plan.to.as_ref().map(|to| [&prefix[..], to.as_bytes()].concat());
    if !is_name(&registration) || to.as_ref().is_some_and(|to| !is_name(to)) {
        bail!("a name is 255 bytes at most, with the token or the key");
    }

    Ok(Addressing {
        registration,
        name,
        prefix,
        to,
        strip_line_ends: false,
        skip_bad_lines: false,
        confirm: plan.connect.session.direction == Direction::Send,
    })
}

/// Returns the settings of the direction to the relay, in which each piece is a message.
fn outbound(plan: &plan::Session, lines: Option<usize>, source: Source) -> FlowConfig {
    FlowConfig {
        framing: lines.map_or(Framing::AsRead, Framing::Lines),
        pace: Pace::new(plan.rate, None),
        // A relay keeps no more than that in one piece.
        sink_datagram: Some(lines.unwrap_or(MAX_STORED)),
        ..session::outbound(plan, source)
    }
}

/// Returns when the session ends: clients of a relay have no end of file, as datagrams have none.
fn ending(plan: &plan::Session, source: Source) -> Ending {
    Ending {
        datagrams: true,
        source,
        listening: true,
        half_open: false,
        send_only: plan.direction == Direction::Send,
        quiet: plan.quit,
        idle: plan.idle,
        silence: plan.idle,
        sends_eof_datagram: false,
        began_with_data: false,
        waits_for_fin: false,
    }
}
