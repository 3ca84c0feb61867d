//! What the router knows of one client.

use std::{net::IpAddr, rc::Rc, time::Instant};

use super::{CloseReason, Id, SendQueue};

#[derive(Debug)]
pub(super) struct ClientRecord {
    pub address: IpAddr,
    pub name: Option<Rc<[u8]>>,
    /// Whether the name leads to it.
    pub listed: bool,
    pub phase: Phase,
    /// A header that is not whole, or the message that is being assembled.
    pub partial: Vec<u8>,
    /// What was read and could not be taken.
    pub pending: Vec<u8>,
    /// Whose queue it waits for.
    pub waiting_for: Option<Id>,
    /// There was no memory for what it would say.
    pub memory_blocked: bool,
    /// It will never say anything again.
    pub ended: bool,
    /// Its last message was a large one, and so the next one may be.
    pub after_large: bool,
    /// To whom it has sent last.
    pub last_destination: Option<Id>,
    /// When it last said anything.
    pub last_received: Instant,
    /// When the phase began, where that matters.
    pub phase_start: Instant,
    /// When the clock is looked at for it at the latest.
    pub scheduled: Option<Instant>,
    /// Bytes of `partial` and `pending` that were counted.
    pub counted: usize,
    pub queue: Option<Box<SendQueue>>,
}

/// Where a client is in what it sends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    /// A message that is stored before it is delivered; nothing is left once it only waits for room.
    Assembling {
        to: Id,
        left: usize,
    },
    /// A message to nobody.
    Discarding {
        left: u64,
    },
    /// Between two messages, or in a header.
    Header,
    /// What is there for it is delivered, and then it is gone.
    Leaving(CloseReason),
    /// A message that goes through as it comes, the destination being locked.
    Passing {
        to: Id,
        left: u64,
    },
    Registering,
}
