//! One session: a peer, two flows, and the rules for its end.

pub mod accept;
pub mod dial;
pub mod open;
mod outcome;
pub mod program;
pub mod proxy;
pub mod sandbox;
mod summary;
pub mod tls;

use std::{
    fs::File,
    io,
    time::{Duration, Instant},
};

pub use self::outcome::{Exited, Interrupted, heed};

use self::{
    summary::{End, Place, Shown, Summary, Tcp, Way},
    tls::Told,
};
use crate::{
    endpoint::{Connection, Endpoint, Peer, Standard, Together},
    event::{Event, Reactor, Token},
    net::{Address, Transport},
    plan::{self, Outgoing, Role},
    pump::{Ending, Fault, Flow, Pump, Scene, Shape, Side, Source, State, Turn, Verdict, Why, earlier},
    report::{self, Meter, Report},
    sys::{self, Signal},
    tap::Digest,
};
use anyhow::Result;

/// A session that is under way. Our side is lent to it at each turn.
#[derive(Debug)]
pub struct Session {
    peer: Peer,
    pump: Pump,
    ending: Ending,
    names: Names,
    /// A file is being sent: what the peer gets must not look whole when it is not.
    sends_file: bool,
    started: Instant,
    inbound_end: Option<Instant>,
    outbound_end: Option<Instant>,
    /// A signal has come: what is under way has until then.
    interrupted: Option<(Signal, Instant)>,
    /// A signal came before everything was sent.
    cut_short: bool,
    /// The kernel has reported a hang-up that was not looked into yet.
    hung_up: bool,
    /// At the end, the reader of our output took nothing.
    unread: bool,
    /// It is over, and our output has until then to pass on what it has taken.
    over: Option<(Why, Instant)>,
    /// Bytes that our output had taken, and had not passed on at the end.
    held: u64,
    /// Bytes of ours that were not acknowledged when we last looked, and when that last became another number.
    acknowledged: (u64, Instant),
}

/// What the two sides are called.
#[derive(Clone, Debug)]
pub struct Names {
    pub peer: Address,
    pub local: Address,
    source: String,
    sink: String,
    /// What comes is wanted by nobody.
    drops: bool,
    /// It becomes a file.
    keeps: bool,
}

impl Names {
    /// Names for messages and for `--json`.
    pub fn new(plan: &plan::Session, peer: Address, local: Address) -> Self {
        let source = match &plan.input {
            _ if plan.program.is_some() => "the program".to_owned(),
            Outgoing::File(path) => path.display().to_string(),
            Outgoing::Nothing | Outgoing::Stdin => "stdin".to_owned(),
        };
        let sink = match &plan.output {
            _ if plan.program.is_some() => "the program".to_owned(),
            plan::Incoming::File { path, .. } => path.display().to_string(),
            plan::Incoming::Automatic => "the file".to_owned(),
            plan::Incoming::Nowhere | plan::Incoming::Stdout => "stdout".to_owned(),
        };
        let drops = plan.output == plan::Incoming::Nowhere && plan.program.is_none();
        let keeps = matches!(plan.output, plan::Incoming::File { .. } | plan::Incoming::Automatic);
        Self { peer, local, source, sink, drops, keeps }
    }
}

/// What became of a turn.
#[derive(Debug)]
pub enum Status {
    Finished(Box<Summary>),
    /// Nothing to do before something changes, or before then.
    Waiting(Option<Instant>),
    /// There is more to do, but others have waited.
    Yielded,
}

impl Session {
    /// A session that has not begun.
    pub fn new(peer: Peer, pump: Pump, ending: Ending, names: Names, now: Instant) -> Self {
        let sends_file =
            ending.source == Source::File && pump.outbound.as_ref().is_some_and(Flow::has_source);
        Self {
            peer,
            pump,
            ending,
            names,
            sends_file,
            started: now,
            inbound_end: None,
            outbound_end: None,
            interrupted: None,
            cut_short: false,
            hung_up: false,
            unread: false,
            over: None,
            held: 0,
            acknowledged: (0, now),
        }
    }

    /// The far side.
    pub fn peer(&mut self) -> &mut Peer {
        &mut self.peer
    }

    /// Who the far side is.
    pub fn peer_address(&self) -> &Address {
        &self.names.peer
    }

    /// Whether our end came to its own end, and all that it brought was sent.
    pub fn has_sent_all(&self) -> bool {
        let whole =
            |flow: &Flow| flow.state() == State::Finished && flow.fault().is_none() && !flow.was_cut_off();
        !self.cut_short && self.pump.outbound.as_ref().is_none_or(whole)
    }

    /// Our own address.
    pub fn own_address(&self) -> &Address {
        &self.names.local
    }

    /// Moves what can be moved, and finds out whether that was all.
    pub fn advance(&mut self, local: &mut dyn Endpoint, now: Instant) -> Status {
        let tick = self.peer.tick(now);
        let mut turn = self.pump.advance(local, &mut self.peer, now);
        // What could still be read has been: now it matters who has gone.
        if self.hung_up && matches!(turn, Turn::Blocked(_)) {
            self.hung_up = false;
            self.pump.check(local, &mut self.peer);
            turn = self.pump.advance(local, &mut self.peer, now);
        }
        let paced = matches!(turn, Turn::Blocked(Some(_)));
        let scene = self.scene(local, paced, now);
        if let Some((signal, until)) = self.interrupted {
            let running = |side| matches!(side, Side::Left(_) | Side::Open);
            let flushed = !running(scene.inbound) && !scene.outbound.is_some_and(running);
            return if flushed && local.held() == 0 || now >= until {
                self.held = left_behind(local);
                self.finish(End::Interrupted(signal), now)
            } else {
                match turn {
                    Turn::Blocked(wake) => Status::Waiting(earlier(wake, Some(until))),
                    Turn::Yielded => Status::Yielded,
                }
            };
        }
        let verdict = match self.over {
            Some((why, _)) => Verdict::Over(why),
            None => self.ending.verdict(&scene, now),
        };
        if let (Verdict::Continue(_), Some(_), Peer::Connection(connection)) =
            (verdict, self.inbound_end, &mut self.peer)
        {
            connection.stream_mut().probe();
        }
        match (verdict, turn) {
            (Verdict::Over(why), _) => {
                self.write_rest(local, now);
                // What our output has taken is to be out before we are gone.
                let (_, until) = *self.over.get_or_insert((why, now + FLUSH));
                self.held = left_behind(local);
                if self.held > 0 && now < until {
                    return Status::Waiting(Some(until));
                }
                self.finish(End::Over(why), now)
            }
            (Verdict::Continue(until), Turn::Blocked(wake)) => {
                Status::Waiting(earlier(earlier(until, wake), tick))
            }
            (Verdict::Continue(_), Turn::Yielded) => Status::Yielded,
        }
    }

    /// The kernel reported a hang-up: the next turn finds out whose.
    pub fn hangup(&mut self) {
        self.hung_up = true;
    }

    /// A signal ends the session: what was read is sent, for at most a second. A second signal is not
    /// waited for.
    pub fn interrupt(&mut self, signal: Signal, now: Instant) {
        if self.interrupted.is_some() {
            self.interrupted = Some((signal, now));
            return;
        }
        self.interrupted = Some((signal, now + FLUSH));
        self.pump.inbound.stop(true);
        if let Some(outbound) = &mut self.pump.outbound {
            self.cut_short = outbound.state() != State::Finished;
            outbound.stop(!self.sends_file);
        }
    }

    /// Ends the session at once, because its client has fallen behind.
    pub fn give_up(&mut self, now: Instant) -> Status {
        self.finish(End::Behind, now)
    }

    /// Bytes that have moved: (sent, received).
    pub fn moved(&self) -> (u64, u64) {
        (self.pump.outbound.as_ref().map_or(0, Flow::moved), self.pump.inbound.moved())
    }

    /// Bytes of our source that have been sent.
    fn sent_content(&self) -> u64 {
        self.pump.outbound.as_ref().map_or(0, Flow::content)
    }

    /// What TCP knows of the line.
    pub fn tcp(&self) -> Option<Tcp> {
        let figures = sys::tcp_info(self.peer.socket())?;
        Some(Tcp { rtt_us: figures.rtt, retransmits: figures.retransmits })
    }

    /// How far it is, for whoever asks by signal.
    pub fn figures(&self, now: Instant) -> String {
        let (sent, received) = self.moved();
        report::byte_totals(sent, received, now - self.started)
    }

    /// What came and is still with us, as a line without its end, is written if there is room for it.
    fn write_rest(&mut self, local: &mut dyn Endpoint, now: Instant) {
        self.unread = self.pump.inbound.is_held_up(local);
        if !self.unread && self.pump.inbound.pending() > 0 {
            self.pump.inbound.stop(true);
            self.pump.advance(local, &mut self.peer, now);
        }
    }

    fn scene(&mut self, local: &dyn Endpoint, paced: bool, now: Instant) -> Scene {
        let inbound = side(&self.pump.inbound, &mut self.inbound_end, now);
        let outbound = self.pump.outbound.as_ref().filter(|flow| flow.has_source());
        let outbound = outbound.map(|flow| side(flow, &mut self.outbound_end, now));
        // Only when a side has ended does it matter, and asking is a system call.
        let ours_ended = matches!(outbound, Some(Side::Finished(_)));
        let ended = !matches!(inbound, Side::Open) && outbound.is_some();
        let asked = ended || (ours_ended && self.ending.quiet.is_some());
        let unacknowledged = if asked { self.unacknowledged() } else { 0 };
        if self.acknowledged.0 != unacknowledged {
            self.acknowledged = (unacknowledged, now);
        }
        let unread = (ours_ended || self.ending.datagrams) && self.pump.inbound.is_held_up(local);
        let wanted = |flow: &Flow| self.ending.source == Source::File && flow.was_cut_off();
        let tcp = (unacknowledged > 0).then(|| sys::tcp_info(self.peer.socket())).flatten();
        Scene {
            outbound,
            inbound,
            heard: self.pump.inbound.reads() > 0,
            unread,
            paced,
            pending: self.pump.outbound.as_ref().is_some_and(|flow| flow.pending() > 0 || wanted(flow)),
            last_in: self.pump.inbound.last(),
            last_out: self.pump.outbound.as_ref().map_or(self.started, Flow::last),
            unacknowledged,
            last_acknowledged: self.acknowledged.1,
            since_heard: tcp.map(|figures| Duration::from_millis(figures.since_heard.into())),
            closed: tcp.is_some_and(|figures| figures.closed),
        }
    }

    /// Bytes of ours that the peer's system has not acknowledged. Answers are for the peer's sake only.
    fn unacknowledged(&self) -> u64 {
        let answered = self.pump.outbound.as_ref().map_or(0, Flow::answered);
        match (&self.peer, &self.names.peer) {
            (_, Address::Unix(_)) => 0,
            (Peer::Connection(connection), _) => connection.unacknowledged().saturating_sub(answered),
            (Peer::Datagram(_) | Peer::Mailbox(_), _) => 0,
        }
    }

    fn finish(&mut self, end: End, now: Instant) -> Status {
        let summary = self.summary(end, now);
        let cut_short = self.cut_short || self.outbound_end.is_none() || self.fault_of_source();
        // What the peer has is not the whole, and must not look as if it were.
        let incomplete = matches!(end, End::Behind) || (self.sends_file && cut_short);
        if let (false, None, Some(outbound)) = (incomplete, &summary.error, &mut self.pump.outbound) {
            outbound.wind_up(&mut self.peer, now);
        }
        if let Peer::Connection(connection) = &mut self.peer {
            // If it is closed already, there is nobody to be told.
            let _ = match connection {
                _ if incomplete => connection.stream_mut().abort(),
                // Where nothing went out, the end was not announced either.
                Connection::Secure(tls) if summary.error.is_none() => tls.finish(),
                Connection::Plain(_) | Connection::Secure(_) => Ok(()),
            };
        }
        Status::Finished(Box::new(summary))
    }

    /// Whether the peer's end was not announced, although somebody wants to know that it was one. Who has sent
    /// something, and has heard nothing at all, has met a receiver: not every program announces the end of nothing.
    fn was_cut(&self) -> bool {
        let Peer::Connection(connection) = &self.peer else { return false };
        let heard = self.pump.inbound.reads() > 0 || connection.was_cut_short();
        let sent = self.pump.outbound.as_ref().is_some_and(|flow| flow.moved() > 0);
        let wanted = heard || !sent || self.names.keeps;
        let left = self.pump.inbound.has_lost_its_reader();
        connection.was_cut() && !self.names.drops && !left && wanted
    }

    fn fault_of_source(&self) -> bool {
        let fault = self.pump.outbound.as_ref().and_then(Flow::fault);
        matches!(fault, Some(Fault::Source(_) | Fault::Stage(_)))
    }

    fn summary(&self, end: End, now: Instant) -> Summary {
        let (inbound, outbound) = (&self.pump.inbound, self.pump.outbound.as_ref());
        let datagrams = matches!(self.peer, Peer::Datagram(_));
        let pending = outbound.map_or(0, Flow::pending);
        // Our own end of file counts as one byte that is not acknowledged.
        let fin = u64::from(outbound.is_some_and(Flow::has_passed_end));
        let on_its_way = outbound.map_or(0, |_| self.unacknowledged()).saturating_sub(fin);
        let way = |flow: Option<&Flow>, count: u64| Way {
            bytes: flow.map_or(0, Flow::moved),
            content: flow.map_or(0, Flow::content),
            datagrams: datagrams.then_some(count),
            digest: digest(flow).map(ToString::to_string),
            digested: digest(flow).map_or(0, Digest::size),
        };
        // What TLS has taken, and has not passed on, is not sent. What a sink has refused was counted by the flow.
        let kept = match &self.peer {
            Peer::Connection(connection) if outbound.is_some_and(|flow| flow.fault().is_none()) => {
                connection.held() as u64
            }
            _ => 0,
        };
        let held = if inbound.fault().is_some() { 0 } else { self.held };
        let mut summary = Summary {
            transport: match &self.peer {
                _ if matches!(self.names.peer, Address::Unix(_)) => "unix",
                Peer::Datagram(_) => Transport::Datagram.name(),
                Peer::Mailbox(_) => "relay",
                Peer::Connection(_) => Transport::Stream.name(),
            },
            peer: Place(self.names.peer.clone()),
            local: Place(self.names.local.clone()),
            sent: way(outbound, outbound.map_or(0, Flow::pieces)),
            received: way(Some(inbound), self.peer.received()),
            seconds: (now - self.started).as_secs_f64(),
            end: end.name(),
            error: None,
            undelivered: pending + on_its_way + kept,
            unwritten: inbound.pending() + held,
            dropped: self.peer.dropped(),
            file: None,
            tcp: None,
            tls: Told::of(&self.peer),
            names: Shown {
                source: self.names.source.clone(),
                outbound: outbound.is_some_and(Flow::has_source),
                closed_by_peer: matches!(end, End::Over(Why::PeerClosed)),
            },
            interrupted: match end {
                End::Interrupted(signal) => Some(signal),
                End::Behind | End::Over(_) => None,
            },
        };
        summary.received.content -= held;
        if inbound.stages().decode.is_none() {
            summary.received.bytes -= held;
            summary.sent.bytes = summary.sent.bytes.saturating_sub(kept);
            summary.sent.content = summary.sent.content.saturating_sub(kept);
        }
        summary.error = self.error(end, &summary);
        summary
    }

    /// What went wrong, in words, with the counts of both directions.
    fn error(&self, end: End, summary: &Summary) -> Option<String> {
        let peer = &self.names.peer;
        let faults = [self.pump.inbound.fault(), self.pump.outbound.as_ref().and_then(Flow::fault)];
        let failed = matches!(end, End::Over(Why::Failed));
        let what = match (faults, end) {
            ([Some(Fault::Source(error)), _], _) if failed => {
                format!("receive from {peer}: {}", sys::reason(error))
            }
            ([Some(Fault::Sink(error)), _], _) if failed => {
                format!("write to {}: {}", self.names.sink, sys::reason(error))
            }
            ([_, Some(Fault::Source(error))], _) if failed => {
                format!("read {}: {}", self.names.source, sys::reason(error))
            }
            ([_, Some(Fault::Sink(error))], _) if failed => format!("send to {peer}: {}", refusal(error)),
            ([Some(Fault::Stage(error)), _] | [_, Some(Fault::Stage(error))], _) if failed => {
                format!("write the dump: {}", sys::reason(error))
            }
            (_, End::Over(Why::Gone)) => format!("{peer} does not answer any more"),
            (_, End::Over(Why::Idle)) => {
                let idle = self.ending.idle.unwrap_or_default();
                let who = if self.unread { self.names.sink.clone() } else { peer.to_string() };
                format!("{who}: nothing moved for {} s", idle.as_secs_f64())
            }
            (_, End::Behind) => format!("{peer} fell too far behind and was disconnected"),
            (_, End::Interrupted(_)) => return None,
            _ if self.was_cut() => {
                format!("receive from {peer}: the end was not announced, so what came may not be all")
            }
            _ if summary.dropped > 0 => {
                format!("{} datagrams from {peer} were lost: the receive buffer was full", summary.dropped)
            }
            (_, End::Over(Why::Quiet)) if summary.undelivered > 0 => format!("{peer} takes nothing more"),
            _ if self.held > 0 && summary.undelivered == 0 => {
                format!("{} takes nothing more", self.names.sink)
            }
            _ if summary.undelivered + summary.unwritten > 0 => format!("{peer} has closed"),
            _ => return None,
        };
        let mut counts = format!("{} bytes sent, {} received", summary.sent.bytes, summary.received.bytes);
        if summary.undelivered > 0 {
            counts += &format!("; {} bytes of ours were not delivered", summary.undelivered);
        }
        if summary.unwritten > 0 {
            counts += &format!("; {} received bytes were not written", summary.unwritten);
        }
        Some(format!("{what} ({counts})"))
    }
}

/// Begins a session of this plan; `sends` says whether there is anything that could be sent.
pub fn begin(
    plan: &plan::Session,
    mut peer: Peer,
    names: Names,
    source: Source,
    sends: bool,
    dump: Option<&File>,
) -> Result<Session> {
    let now = Instant::now();
    let inbound = open::inbound(plan, &names.peer, dump)?;
    let speaks = sends || plan.telnet;
    let mut outbound = if speaks { Some(open::outbound(plan, source, dump)?) } else { None };
    if let (Peer::Datagram(datagram), Address::Inet(_)) = (&mut peer, &names.peer) {
        if let Some(outbound) = &mut outbound {
            outbound.sink_joins = datagram.joins();
        }
        let sent = outbound.as_ref().and_then(Shape::segment);
        // Of many peers, each has only the memory that it must have.
        let messages = if plan.role == Role::Serve { 1 } else { sys::MAX_MESSAGES };
        datagram.put_together(Together { sent, received: inbound.joins().then_some(messages) });
    }
    let inbound = Flow::new(inbound, now);
    let flow = if sends { Flow::new } else { Flow::for_answers };
    let outbound = outbound.map(|shape| flow(shape, now));
    let ending = open::ending(plan, source);
    Ok(Session::new(peer, Pump { inbound, outbound }, ending, names, now))
}

/// Turns one session until it is over, and says what became of it.
pub fn run(
    reactor: &mut Reactor,
    token: Token,
    session: &mut Session,
    local: &mut Standard,
    report: &Report,
) -> Result<bool> {
    run_with(reactor, token, session, local, report, |_, _| Ok(()))
}

/// The same, with something to be seen to after each turn that is not the last.
pub fn run_with(
    reactor: &mut Reactor,
    token: Token,
    session: &mut Session,
    local: &mut Standard,
    report: &Report,
    mut after: impl FnMut(&mut Session, &mut Reactor) -> Result<()>,
) -> Result<bool> {
    let interactive = open::source(&local.input) == Source::Terminal;
    let length = local.input.length().filter(|_| session.sends_file);
    let transfer = length.is_some() || matches!(local.output, crate::endpoint::Output::Download(_));
    let shown = |session: &Session| match (length, session.moved()) {
        (Some(_), _) => session.sent_content(),
        (None, (sent, received)) => received.max(sent),
    };
    let mut meter = Meter::new(report.progress, report.quiet, transfer, length, Instant::now());
    reactor.again(token);
    let mut summary = loop {
        for event in reactor.wait()? {
            match event {
                Event::Hangup(_) => session.hangup(),
                Event::Signal(signal) => hear(signal, session, local, report),
                Event::Due(_) | Event::Ready(_) => {}
            }
        }
        let now = Instant::now();
        let until = match session.advance(local, now) {
            Status::Finished(summary) => break summary,
            Status::Waiting(until) => until,
            Status::Yielded => {
                reactor.again(token);
                None
            }
        };
        meter.show(shown(session), now);
        reactor.wake_at(token, earlier(until, meter.deadline()));
        after(session, reactor)?;
    };
    local.release_terminal();
    meter.finish(shown(session), Instant::now());
    summary.keep_file(local, report);
    summary.tcp = report.json.then(|| session.tcp()).flatten();
    let success = summary.tell(report, interactive);
    match summary.interrupted {
        Some(signal) => Err(Interrupted(signal).into()),
        None => Ok(success),
    }
}

fn hear(signal: Signal, session: &mut Session, local: &mut Standard, report: &Report) {
    match signal {
        Signal::Hangup | Signal::Interrupt | Signal::Terminate => {
            // The shell has its terminal back before anything can go wrong.
            local.release_terminal();
            session.interrupt(signal, Instant::now());
        }
        Signal::Info => report.result(session.figures(Instant::now())),
        Signal::Stop => {
            local.release_terminal();
            sys::stop_self();
        }
        Signal::Child | Signal::Continue => {}
    }
}

fn digest(flow: Option<&Flow>) -> Option<&Digest> {
    flow?.stages().digest.as_ref()
}

fn side(flow: &Flow, end: &mut Option<Instant>, now: Instant) -> Side {
    match flow.state() {
        State::Finished if matches!(flow.fault(), Some(Fault::Sink(error)) if error.kind() != io::ErrorKind::TimedOut) => {
            Side::Refused
        }
        State::Finished if flow.fault().is_some() => Side::Failed,
        State::Finished => Side::Finished(*end.get_or_insert(now)),
        State::Discarding => Side::Left(*end.get_or_insert(now)),
        State::Draining | State::Open => Side::Open,
    }
}

/// Bytes that our output has taken and not passed on; none of them counts if nobody is there to read them.
fn left_behind(local: &mut dyn Endpoint) -> u64 {
    let held = local.held() as u64;
    let left = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
    if held > 0 && local.broken().is_some_and(|error| left.contains(&error.kind())) { 0 } else { held }
}

/// What a peer that takes no more is said to have done.
fn refusal(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::BrokenPipe => "the peer takes no more".to_owned(),
        _ => sys::reason(error),
    }
}

/// How long a session may go on after the signal that ends it.
const FLUSH: Duration = Duration::from_secs(1);
