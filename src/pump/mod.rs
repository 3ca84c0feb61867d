//! How bytes move between two endpoints: a flow each way, and the rules for the end.

mod buffer;
mod config;
mod crlf;
mod ending;
mod flow;
mod framing;
mod pace;
mod route;

pub use self::{
    config::FlowConfig,
    ending::{EndReason, Ending, FlowState, SessionState, Source, Verdict},
    flow::{Fault, Flow, Phase},
    framing::Framing,
    pace::Pace,
};

use std::{io, time::Instant};

use self::flow::Step;
use crate::{
    endpoint::{Crossed, Endpoint},
    tap::{Taps, Traffic},
};

/// Both directions of a session. `None` is a direction that the session does not have.
#[derive(Debug)]
pub struct Pump {
    pub inbound: Flow,
    pub outbound: Option<Flow>,
    pub taps: Taps,
}

/// The result of a turn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Turn {
    /// Nothing can move before something changes, or before then.
    Blocked(Option<Instant>),
    /// More could move, but others have waited.
    Yielded,
}

impl Pump {
    /// Moves all that can be moved, inbound first: what arrives may be what unblocks the other direction. The endpoints
    /// are lent: a tunnel lends a view into its own.
    pub fn advance(&mut self, local: &mut dyn Endpoint, peer: &mut dyn Endpoint, now: Instant) -> Turn {
        // Answers that a layer sends as it reads have the pace of the other direction.
        if let Some(outbound) = &mut self.outbound {
            let _ = outbound.allow(peer, now);
        }
        let inbound = self.inbound.run(peer, local, &mut self.taps, now, MAX_SHARE);

        let waiting = peer.wire().filter(|wire| !wire.is_clear()).map(|wire| wire.sent());
        let outbound = match &mut self.outbound {
            Some(flow) => flow.run(local, peer, &mut self.taps, now, MAX_SHARE),
            None => Step::Finished,
        };
        let went = waiting.is_some_and(|before| peer.wire().is_some_and(|wire| wire.sent() > before));

        self.count_wire(peer, now);
        self.hear_wire(peer, now);

        // A direction that moved may go on at once; the caller decides when.
        match (inbound, outbound) {
            (Step::Moved(_), _) | (_, Step::Moved(_)) => Turn::Yielded,
            // A layer does not read while too many of its answers wait. Now that some have gone, it may.
            (Step::Blocked(_), _) if went => Turn::Yielded,
            (one, other) => Turn::Blocked(earlier(one.until(), other.until())),
        }
    }

    /// Counts the bytes that have crossed the wire below a layer: they are movement, whatever the layer made of them.
    fn count_wire(&mut self, peer: &mut dyn Endpoint, now: Instant) {
        self.inbound.count_received(peer, now);
        if let Some(outbound) = &mut self.outbound {
            outbound.count_sent(peer, now);
        }
    }

    /// Lets the taps hear what has crossed the wire below a layer since the last time.
    pub fn hear_wire(&mut self, peer: &mut dyn Endpoint, now: Instant) {
        if self.taps.listen_below()
            && let Err(error) = self.tap_wire(peer, now)
        {
            self.inbound.fail(Fault::Tap(error));
        }
    }

    fn tap_wire(&mut self, peer: &mut dyn Endpoint, now: Instant) -> io::Result<()> {
        let Some(wire) = peer.wire() else { return Ok(()) };
        for crossed in wire.take_record() {
            match crossed {
                Crossed::Received(bytes) => self.taps.hear_wire(Traffic::Received, Some(&bytes), now)?,
                Crossed::Sent(bytes) => self.taps.hear_wire(Traffic::Sent, Some(&bytes), now)?,
            }
        }
        Ok(())
    }

    /// Looks for errors that the kernel reports with a hang-up, and that no write has met.
    pub fn check(&mut self, local: &mut dyn Endpoint, peer: &mut dyn Endpoint) {
        self.inbound.check(local);
        if let Some(outbound) = &mut self.outbound {
            outbound.check(peer);
        }
    }
}

/// Returns the earlier of two deadlines.
pub fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Bytes that one direction of a session moves before others have their turn.
const MAX_SHARE: usize = 2 << 20;

#[cfg(test)]
mod tests;
