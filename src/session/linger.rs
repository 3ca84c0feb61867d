//! The lingering close: our end is told, what arrives is dropped, and the peer's end is awaited.

use std::{
    io,
    time::{Duration, Instant},
};

use crate::{
    endpoint::Peer,
    event::{Reactor, Token},
};

/// A connection that is to be closed with bytes unread. Closed at once, it would be reset (RFC 1122, section 4.2.2.13), and
/// the reset may overtake bytes that are on their way to the peer.
#[derive(Clone, Copy, Debug)]
pub struct Lingering {
    until: Instant,
}

impl Lingering {
    /// Half-closes the connection and watches it; `None` if it takes no half-close, or cannot be watched.
    pub fn begin(peer: &mut dyn Peer, reactor: &Reactor, token: Token, now: Instant) -> Option<Self> {
        peer.finish().ok()?;
        // Watched again: until now only the hang-up of this socket was of interest.
        reactor.watch(token, peer.descriptor_mut()?).ok()?;
        Some(Self { until: now + LINGER_TIMEOUT })
    }

    /// Drops what has arrived. Returns whether the connection can be closed: the peer has ended, or has had its time.
    pub fn advance(&self, peer: &mut dyn Peer, reactor: &mut Reactor, token: Token, now: Instant) -> bool {
        let mut buf = [0; 4096];
        for _ in 0..MAX_READS {
            match peer.read(&mut buf) {
                Ok(1..) if now < self.until => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return now >= self.until,
                Ok(_) | Err(_) => return true,
            }
        }
        // Edge-triggered: bytes that are left raise no event.
        reactor.again(token);
        false
    }

    /// Returns when the peer has had its time.
    pub fn deadline(&self) -> Instant {
        self.until
    }
}

/// How long a peer may take to end after us.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads before others have their turn.
const MAX_READS: usize = 64;
