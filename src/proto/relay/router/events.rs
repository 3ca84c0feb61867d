//! The events and counters of the router.

use std::{rc::Rc, time::Instant};

use super::Id;

/// The reason why a client was closed or refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CloseReason {
    BadLength,
    BadName,
    Crowded,
    Duplicate,
    Ended,
    Evicted,
    HeaderTimeout,
    Idle,
    Lost,
    Memory,
    RegisterTimeout,
    Shutdown,
    Slow,
    Stuck,
    TooLarge,
    TooMany,
    Unwelcome,
}

impl CloseReason {
    /// Returns its name in the event log.
    pub fn name(self) -> &'static str {
        match self {
            Self::BadLength => "bad-length",
            Self::BadName => "bad-name",
            Self::Crowded => "crowded",
            Self::Duplicate => "dup",
            Self::Ended => "eof",
            Self::Evicted => "evicted",
            Self::HeaderTimeout => "header-timeout",
            Self::Idle => "idle",
            Self::Lost => "lost",
            Self::Memory => "memory",
            Self::RegisterTimeout => "register-timeout",
            Self::Shutdown => "shutdown",
            Self::Slow => "slow",
            Self::Stuck => "stuck",
            Self::TooLarge => "too-large",
            Self::TooMany => "too-many",
            Self::Unwelcome => "unwelcome",
        }
    }
}

/// A change that the driver must act on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// A client has registered a name.
    Joined { id: Id, name: Rc<[u8]> },
    /// A client has left; its connection must be closed.
    Left { id: Id, name: Option<Rc<[u8]>>, reason: CloseReason },
    /// A client may be read again.
    Resumed(Id),
}

/// The outcome of admitting a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Admission {
    Joined(Id),
    /// The rate limit of the address is reached; the connection may be admitted at this time.
    Later(Instant),
    Refused(CloseReason),
}

/// Bytes of a large message that may bypass the router.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Splice {
    pub to: Id,
    /// Bytes of the message that the sender has yet to send.
    pub left: u64,
    /// Whether output of the destination must be written before.
    pub queued: bool,
}

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RelayStats {
    pub admitted: u64,
    pub refused: u64,
    pub registered: u64,
    /// Messages that were delivered completely.
    pub messages: u64,
    /// Bytes of payload that were queued or spliced for delivery.
    pub bytes: u64,
    /// Messages without a receiver.
    pub unknown: u64,
    /// Bytes of payload without a receiver.
    pub discarded: u64,
    /// Messages that were delivered in part.
    pub truncated: u64,
    /// Clients that were disconnected by a limit, a timeout or a violation.
    pub evicted: u64,
}
