//! Taps: they look at the bytes of a session and change none. Each hears the direction, the bytes or their end, and the
//! time.

mod digest;
mod hexdump;

pub use self::{digest::Digest, hexdump::Hexdump};

use std::{io, time::Instant};

/// The direction of bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Traffic {
    Received,
    Sent,
}

/// The taps of one session.
#[derive(Debug, Default)]
pub struct Taps {
    /// `--digest`: of the bytes that both sides have in common, whatever a layer makes of them on the wire.
    pub digests: Option<Digests>,
    /// `-o`: the bytes that cross the wire.
    pub dump: Option<Hexdump>,
    /// A layer encodes the bytes: the wire then carries others than the session moves.
    pub encoded: bool,
}

/// The digests of both directions.
#[derive(Debug, Default)]
pub struct Digests {
    pub received: Digest,
    pub sent: Digest,
}

impl Taps {
    /// Returns whether a tap has to hear the bytes below the layer that encodes.
    pub fn listen_below(&self) -> bool {
        self.encoded && self.dump.is_some()
    }

    /// Hears bytes that the session has moved, or their end (`None`). Fails if a tap cannot write what it hears.
    pub fn hear(&mut self, traffic: Traffic, bytes: Option<&[u8]>, now: Instant) -> io::Result<()> {
        if let (Some(digests), Some(bytes)) = (&mut self.digests, bytes) {
            match traffic {
                Traffic::Received => digests.received.update(bytes),
                Traffic::Sent => digests.sent.update(bytes),
            }
        }

        // Encoded bytes are dumped below their layer, where they cross the wire.
        if self.encoded { Ok(()) } else { self.hear_wire(traffic, bytes, now) }
    }

    /// Hears bytes that have crossed the wire, or their end (`None`). Fails as [`hear`](Self::hear) does.
    pub fn hear_wire(&mut self, traffic: Traffic, bytes: Option<&[u8]>, _now: Instant) -> io::Result<()> {
        match (&mut self.dump, bytes) {
            (Some(dump), Some(bytes)) => dump.write(traffic, bytes),
            _ => Ok(()),
        }
    }
}
