//! What the router tells, and counts.

use std::{rc::Rc, time::Instant};

use super::Id;

/// CloseReason a client is gone.
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
    /// Its name in the log.
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

/// What has happened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// A client has registered a name.
    Joined { id: Id, name: Rc<[u8]> },
    /// A client is no more, and its connection is to be closed.
    Left { id: Id, name: Option<Rc<[u8]>>, why: CloseReason },
    /// A client that was not to be read may be read again.
    Resumed(Id),
}

/// What becomes of somebody who has connected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Admission {
    Joined(Id),
    /// Its address has sent too many of late; ask again then.
    Later(Instant),
    Refused(CloseReason),
}

/// Bytes that may go from one client to another without being looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Splice {
    pub to: Id,
    /// Bytes of the message that were not taken from the sender yet.
    pub left: u64,
}

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RelayStats {
    pub admitted: u64,
    pub refused: u64,
    pub registered: u64,
    /// Messages that were delivered whole.
    pub messages: u64,
    /// Bytes of payload that were delivered, or are on their way.
    pub bytes: u64,
    /// Messages to nobody.
    pub unknown: u64,
    /// Bytes of payload to nobody.
    pub discarded: u64,
    /// Messages of which the receiver has a part.
    pub truncated: u64,
    /// Clients that were disconnected for something they did or did not do.
    pub evicted: u64,
}
