//! How bytes move between two endpoints: a flow each way, and the rules for the end.

mod buffer;
mod cut;
mod ending;
mod flow;
mod pace;
mod route;
mod shape;

pub use self::{
    cut::Cut,
    ending::{Ending, Scene, Side, Source, Verdict, Why},
    flow::{Fault, Flow, State},
    pace::Pace,
    shape::Shape,
};

use std::time::Instant;

use self::flow::Step;
use crate::endpoint::Endpoint;

/// Both directions of a session. `None` is a direction that the session does not have.
#[derive(Debug)]
pub struct Pump {
    pub inbound: Flow,
    pub outbound: Option<Flow>,
}

/// What became of a turn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Turn {
    /// Nothing can move before something changes, or before then.
    Blocked(Option<Instant>),
    /// More could move, but others have waited.
    Yielded,
}

impl Pump {
    /// Moves what can be moved, inbound first: what the peer says may be what unblocks what we say. The
    /// endpoints are lent: a tunnel lends a view into its own.
    pub fn advance(&mut self, local: &mut dyn Endpoint, peer: &mut dyn Endpoint, now: Instant) -> Turn {
        // A peer that does not read our answers is not read: there would be ever more of them.
        let unheard = self.is_unheard();
        let inbound = match unheard {
            true => Step::Blocked(None),
            false => self.inbound.run(peer, local, now, SHARE),
        };
        if let Some(answers) = self.inbound.answers() {
            if let Some(outbound) = &mut self.outbound {
                outbound.answer(answers);
            }
            answers.clear();
        }
        let outbound =
            self.outbound.as_mut().map_or(Step::Finished, |flow| flow.run(local, peer, now, SHARE));
        match (inbound, outbound) {
            (Step::Moved(_), _) | (_, Step::Moved(_)) => Turn::Yielded,
            _ if unheard && !self.is_unheard() => Turn::Yielded,
            (one, other) => Turn::Blocked(earlier(one.until(), other.until())),
        }
    }

    fn is_unheard(&self) -> bool {
        self.outbound.as_ref().is_some_and(Flow::is_busy_answering)
    }

    /// What the kernel says with a hang-up: looks whether anybody still reads what the flows write.
    pub fn check(&mut self, local: &mut dyn Endpoint, peer: &mut dyn Endpoint) {
        self.inbound.check(local);
        if let Some(outbound) = &mut self.outbound {
            outbound.check(peer);
        }
    }
}

/// The earlier of two deadlines.
pub fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Bytes that one direction of a session moves before the others have their turn.
const SHARE: usize = 2 << 20;

#[cfg(test)]
mod tests;
