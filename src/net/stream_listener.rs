//! A listener for streams: each connection is a peer.

use std::{collections::VecDeque, io};

use anyhow::Result;

use super::{
    Accepted, Address, Denied, Isolation, SocketConfig,
    bind::{Bound, local_address},
};
use crate::sys;

/// Listening sockets for streams.
#[derive(Debug)]
pub struct StreamListener {
    pub(super) bound: Bound,
}

impl StreamListener {
    /// Binds and listens at every address, as [`Bound::new`] does.
    pub fn bind(mut config: SocketConfig, addresses: &[Address]) -> Result<Self> {
        Ok(Self { bound: Bound::new(&mut config, addresses)? })
    }

    /// Accepts the next connection; `None` if none is waiting. The connection of a denied client is closed. An
    /// [`sys::is_exhausted`] error leaves the connection in the backlog.
    pub fn accept(&mut self) -> io::Result<Option<Result<Accepted, Denied>>> {
        let mut errors = 0;
        for listener in &self.bound.sockets {
            loop {
                match sys::accept(listener) {
                    Ok((socket, peer)) => {
                        // getsockname(2) fails only where the connection is already gone (macOS: EINVAL).
                        let Ok(local) = local_address(&socket) else { continue };
                        let peer = Address::from(&peer);
                        if !self.bound.access.admits(&peer) {
                            return Ok(Some(Err(Denied(peer))));
                        }

                        let (queued, isolation) = (VecDeque::new(), Isolation::Full);
                        return Ok(Some(Ok(Accepted { socket, peer, local, queued, isolation })));
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // accept(2), "Error handling": other errors belong to a connection that is already gone.
                    Err(error) if sys::is_exhausted(&error) || errors >= MAX_ACCEPT_ERRORS => {
                        return Err(error);
                    }
                    Err(_) => errors += 1,
                }
            }
        }
        Ok(None)
    }
}

/// Consecutive failed connections after which the error is returned, so that the caller pauses.
const MAX_ACCEPT_ERRORS: usize = 64;
