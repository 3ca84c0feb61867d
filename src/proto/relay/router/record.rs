//! The record of one client.

use std::{net::IpAddr, rc::Rc, time::Instant};

use super::{CloseReason, Id, SendQueue};

/// The state of a connected client.
#[derive(Debug)]
pub(super) struct ClientRecord {
    pub address: IpAddr,
    pub name: Option<Rc<[u8]>>,
    /// Whether messages to the name are delivered to it.
    pub listed: bool,
    pub phase: Phase,
    /// An incomplete header, or the message that is being assembled.
    pub partial: Vec<u8>,
    /// Bytes that were read and wait, because a destination has no room.
    pub pending: Vec<u8>,
    /// The destination that the client waits for. It is not read meanwhile.
    pub waiting_for: Option<Id>,
    /// Whether the client is not read because the memory limit is reached.
    pub memory_blocked: bool,
    /// Whether the client has sent EOF.
    pub ended: bool,
    /// Whether the last message was a large one, as the next one may be.
    pub after_large: bool,
    /// The destination of the last message.
    pub last_destination: Option<Id>,
    /// The time of the last byte from the client.
    pub last_received: Instant,
    /// The time when a phase with a timeout began.
    pub phase_start: Instant,
    /// The earliest timer that is set for the client.
    pub scheduled: Option<Instant>,
    /// Bytes of `partial` and `pending` that [`super::Router::used`] includes.
    pub counted: usize,
    /// The bytes to send to the client; `None` while the queue is idle.
    pub queue: Option<Box<SendQueue>>,
}

impl ClientRecord {
    /// Creates the record of a client that has just connected.
    pub fn new(address: IpAddr, now: Instant) -> Self {
        Self {
            address,
            name: None,
            listed: false,
            phase: Phase::Registering,
            partial: Vec::new(),
            pending: Vec::new(),
            waiting_for: None,
            memory_blocked: false,
            ended: false,
            after_large: false,
            last_destination: None,
            last_received: now,
            phase_start: now,
            scheduled: None,
            counted: 0,
            queue: None,
        }
    }

    /// Tells whether the client must not be read now.
    pub fn is_stopped(&self) -> bool {
        let waits = self.waiting_for.is_some() || self.memory_blocked || !self.pending.is_empty();
        waits || self.ended || matches!(self.phase, Phase::Leaving(_))
    }
}

/// The position of a client in its input.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    /// In a message that is stored before it is delivered; `left` is 0 while it waits for room.
    Assembling { to: Id, left: usize },
    /// In a message without a receiver.
    Discarding { left: u64 },
    /// Between messages, or in a header.
    Header,
    /// Not read any more; the client is closed once its queue was written.
    Leaving(CloseReason),
    /// In a large message that is passed on as it arrives; the destination is locked.
    Passing { to: Id, left: u64 },
    /// Before the `|` of the registration.
    Registering,
}
