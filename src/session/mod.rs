//! One conversation, from dialing to the summary: two flows between a local side and a peer, and the rules for its end.

pub mod accept;
mod attempts;
mod conversation;
pub mod dial;
mod finish;
mod flows;
mod linger;
pub mod messages;
mod names;
pub mod open;
mod outcome;
pub mod prepare;
pub mod program;
mod proxy;
pub mod sandbox;
mod summary;
pub mod tls;

pub use self::{
    conversation::{Conversation, Setting},
    flows::{begin, inbound, layered, outbound, session},
    linger::Lingering,
    names::Names,
    outcome::{Outcome, handle_signal},
    summary::Summary,
};

use std::{
    io,
    time::{Duration, Instant},
};

use self::summary::{End, Tcp};
use crate::{
    endpoint::{Endpoint, Peer},
    net::Address,
    pump::{
        EndReason, Ending, Fault, Flow, FlowState, Phase, Pump, SessionState, Source, Turn, Verdict, earlier,
    },
    report,
    sys::{self, Signal},
};

/// A session that is under way. Both sides are lent to it at each turn.
#[derive(Debug)]
pub struct Session {
    pump: Pump,
    ending: Ending,
    names: Names,
    started: Instant,
    inbound_end: Option<Instant>,
    outbound_end: Option<Instant>,
    /// Bytes of ours that were not acknowledged when last asked, and when that number last changed.
    unacknowledged: (u64, Instant),
    /// The kernel has reported a hang-up whose cause is still to be found out.
    hung_up: bool,
    life: Life,
}

/// How far a session is.
#[derive(Clone, Copy, Debug)]
enum Life {
    Running,
    /// A signal ends it: bytes that are under way have until then.
    Stopping {
        signal: Signal,
        until: Instant,
        /// The signal came before everything was sent.
        interrupted_early: bool,
    },
    /// It is over: the output has until then to pass on what it has taken.
    Closing {
        reason: EndReason,
        until: Instant,
    },
}

/// The result of a turn.
#[derive(Debug)]
pub enum Status {
    Finished(Box<Summary>),
    /// There is nothing to do before something changes, or before then.
    Waiting(Option<Instant>),
    /// There is more to do, but others have waited.
    Yielded,
}

impl Session {
    /// Makes a session that has not begun.
    pub fn new(pump: Pump, ending: Ending, names: Names, now: Instant) -> Self {
        Self {
            pump,
            ending,
            names,
            started: now,
            inbound_end: None,
            outbound_end: None,
            unacknowledged: (0, now),
            hung_up: false,
            life: Life::Running,
        }
    }

    /// Returns the names of both sides.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Returns the peer's address.
    pub fn peer_address(&self) -> &Address {
        &self.names.peer
    }

    /// Returns whether our source came to its own end, and all of it was sent.
    pub fn has_sent_all(&self) -> bool {
        let interrupted = matches!(self.life, Life::Stopping { interrupted_early: true, .. });
        let whole = |flow: &Flow| flow.phase() == Phase::Finished && flow.fault().is_none();
        !interrupted && self.pump.outbound.as_ref().is_none_or(whole)
    }

    /// Moves all that can be moved, and finds out whether that was all.
    pub fn advance(&mut self, local: &mut dyn Endpoint, peer: &mut dyn Peer, now: Instant) -> Status {
        let tick = peer.tick(now);
        let turn = self.turn(local, peer, now);
        let state = self.state(local, peer, matches!(turn, Turn::Blocked(Some(_))), now);

        // In `Closing` the rules are not asked again: a late event must not revive a session that is over.
        let verdict = match self.life {
            Life::Running => self.ending.verdict(&state, now),
            Life::Closing { reason, .. } => Verdict::Over(reason),
            Life::Stopping { signal, until, .. } => {
                let running = |side| matches!(side, FlowState::SinkClosed(_) | FlowState::Open);
                let flushed = !running(state.inbound) && !state.outbound.is_some_and(running);
                return match turn {
                    _ if flushed && local.held() == 0 || now >= until => {
                        self.finish(End::Interrupted(signal), local, peer, false, now)
                    }
                    Turn::Blocked(wake) => Status::Waiting(earlier(wake, Some(until))),
                    Turn::Yielded => Status::Yielded,
                };
            }
        };

        match (verdict, turn) {
            (Verdict::Over(reason), _) => self.close(reason, local, peer, now),
            (Verdict::Continue(until), Turn::Blocked(wake)) => {
                // Only now: a peer that has ended sends nothing that would tell whether it is still there.
                if self.inbound_end.is_some() {
                    peer.probe();
                }
                Status::Waiting(earlier(earlier(until, wake), tick))
            }
            (Verdict::Continue(_), Turn::Yielded) => Status::Yielded,
        }
    }

    fn turn(&mut self, local: &mut dyn Endpoint, peer: &mut dyn Peer, now: Instant) -> Turn {
        let turn = self.pump.advance(local, peer, now);

        // All that could still be read has been: now it matters which side has hung up.
        if self.hung_up && matches!(turn, Turn::Blocked(_)) {
            self.hung_up = false;
            self.pump.check(local, peer);
            return self.pump.advance(local, peer, now);
        }
        turn
    }

    /// Lets the output pass on what it has taken, and finishes.
    fn close(
        &mut self,
        reason: EndReason,
        local: &mut dyn Endpoint,
        peer: &mut dyn Peer,
        now: Instant,
    ) -> Status {
        let sink_blocked = self.pump.inbound.is_blocked_by_sink(local);
        // A line without its end is written, if there is room for it.
        if !sink_blocked && self.pump.inbound.pending() > 0 {
            self.pump.inbound.stop(true);
            self.pump.advance(local, peer, now);
        }

        let until = match self.life {
            Life::Closing { until, .. } => until,
            Life::Running | Life::Stopping { .. } => now + FLUSH_TIMEOUT,
        };
        self.life = Life::Closing { reason, until };
        if finish::held(local) > 0 && now < until {
            return Status::Waiting(Some(until));
        }
        self.finish(End::Over(reason), local, peer, sink_blocked, now)
    }

    /// Remembers that the kernel has reported a hang-up: the next turn finds out of which side.
    pub fn hang_up(&mut self) {
        // A session that is over has settled its end.
        self.hung_up = !matches!(self.life, Life::Closing { .. });
    }

    /// Ends the session by a signal: bytes that were read are sent, for at most a second. A second signal ends it at
    /// once.
    pub fn interrupt(&mut self, signal: Signal, now: Instant) {
        // The second signal finds the session stopping, and ends the wait.
        if let Life::Stopping { signal: first, until, .. } = &mut self.life {
            (*first, *until) = (signal, now);
            return;
        }

        // Bytes that were read are still written: they may be all that a pipeline gets.
        self.pump.inbound.stop(true);
        let mut interrupted_early = false;
        let sends_file = self.sends_file();
        if let Some(outbound) = &mut self.pump.outbound {
            interrupted_early = outbound.phase() != Phase::Finished;
            // An end of file would make a file look whole that is not.
            outbound.stop(!sends_file);
        }
        self.life = Life::Stopping { signal, until: now + FLUSH_TIMEOUT, interrupted_early };
    }

    /// Ends the session at once, because its client is too far behind.
    pub fn give_up(&mut self, local: &mut dyn Endpoint, peer: &mut dyn Peer, now: Instant) -> Status {
        self.finish(End::Behind, local, peer, false, now)
    }

    /// Returns whether a file is sent, which must not look whole when it is not.
    pub fn sends_file(&self) -> bool {
        self.ending.source == Source::File && self.pump.outbound.is_some()
    }

    /// Returns how many bytes have crossed the wire: (sent, received).
    pub fn moved(&self, peer: &mut dyn Peer) -> (u64, u64) {
        if let Some(wire) = peer.wire() {
            return (wire.sent(), wire.received());
        }
        (self.pump.outbound.as_ref().map_or(0, Flow::moved), self.pump.inbound.moved())
    }

    /// Returns how many bytes of the source were sent.
    pub fn sent_content(&self) -> u64 {
        self.pump.outbound.as_ref().map_or(0, Flow::content)
    }

    /// Returns the totals so far, as a sentence.
    pub fn progress(&self, peer: &mut dyn Peer, now: Instant) -> String {
        let (sent, received) = self.moved(peer);
        report::byte_totals(sent, received, now - self.started)
    }

    fn state(
        &mut self,
        local: &dyn Endpoint,
        peer: &mut dyn Peer,
        paced: bool,
        now: Instant,
    ) -> SessionState {
        let inbound = flow_state(&self.pump.inbound, &mut self.inbound_end, now);
        let outbound = self.pump.outbound.as_ref();
        let outbound_state = outbound.map(|flow| flow_state(flow, &mut self.outbound_end, now));

        // It matters only when a side has ended, and asking is a system call.
        let ours_ended = matches!(outbound_state, Some(FlowState::Finished(_)));
        let ended = !matches!(inbound, FlowState::Open) && outbound.is_some();
        let asked = ended || (ours_ended && self.ending.quiet.is_some());
        let unacknowledged = if asked { self.unacknowledged(peer) } else { 0 };
        if self.unacknowledged.0 != unacknowledged {
            self.unacknowledged = (unacknowledged, now);
        }
        let tcp = match peer.descriptor() {
            Some(socket) if unacknowledged > 0 => sys::tcp_info(socket),
            _ => None,
        };

        let file_left = |flow: &Flow| self.ending.source == Source::File && flow.sink_failed_early();
        SessionState {
            outbound: outbound_state,
            inbound,
            heard: self.pump.inbound.reads() > 0,
            // Polling a sink is a system call, so it is asked only where the rules look at it.
            sink_blocked: (ours_ended || self.ending.datagrams)
                && self.pump.inbound.is_blocked_by_sink(local),
            paced,
            pending: outbound.is_some_and(|flow| flow.pending() > 0 || file_left(flow)),
            last_in: self.pump.inbound.last(),
            last_out: outbound.map_or(self.started, Flow::last),
            unacknowledged,
            last_acknowledged: self.unacknowledged.1,
            since_heard: tcp.map(|info| Duration::from_millis(info.since_heard.into())),
            closed: tcp.is_some_and(|info| info.closed),
        }
    }

    /// Returns how many bytes of ours the peer's system has not acknowledged, where systems acknowledge.
    fn unacknowledged(&self, peer: &dyn Peer) -> u64 {
        match &self.names.peer {
            Address::Unix(_) => 0,
            Address::Inet(_) | Address::Name { .. } => peer.unacknowledged(),
        }
    }
}

/// Returns what TCP knows of the line.
pub fn tcp(peer: &dyn Peer) -> Option<Tcp> {
    let info = sys::tcp_info(peer.descriptor()?)?;
    Some(Tcp { rtt_us: info.rtt, retransmits: info.retransmits })
}

fn flow_state(flow: &Flow, end: &mut Option<Instant>, now: Instant) -> FlowState {
    match (flow.phase(), flow.fault()) {
        // A write that has timed out says that the peer is gone, not that it refuses.
        (Phase::Finished, Some(Fault::Sink(error))) if error.kind() != io::ErrorKind::TimedOut => {
            FlowState::Refused
        }
        (Phase::Finished, Some(_)) => FlowState::Failed,
        (Phase::Finished, None) => FlowState::Finished(*end.get_or_insert(now)),
        (Phase::Discarding, _) => FlowState::SinkClosed(*end.get_or_insert(now)),
        (Phase::Draining | Phase::Open, _) => FlowState::Open,
    }
}

/// How long a session may go on after a signal, or for its output, once it is over.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
