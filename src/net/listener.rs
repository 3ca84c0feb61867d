//! A listener of either transport.

use std::{io, net::SocketAddr};

use anyhow::Result;

use super::{
    Access, Address, Arrival, DatagramListener, Denied, SocketConfig, StreamListener, Transport,
    address::SocketFile, bind::Bound,
};
use crate::sys::Descriptor;

pub use crate::sys::is_exhausted;

/// The sockets that one `-l` listens at.
#[derive(Debug)]
pub enum Listener {
    Datagram(Box<DatagramListener>),
    Stream(StreamListener),
}

impl Listener {
    /// Binds and listens at every address. An address family that this machine lacks is left out, if another one
    /// remains; a port that is in use is an error. The kernel chooses port 0, one for all addresses. `many` says that
    /// more than one peer will be accepted.
    pub fn bind(config: SocketConfig, addresses: &[Address], many: bool) -> Result<Self> {
        Ok(match config.transport {
            Transport::Datagram => Self::Datagram(Box::new(DatagramListener::bind(config, addresses, many)?)),
            Transport::Stream => Self::Stream(StreamListener::bind(config, addresses)?),
        })
    }

    /// Denies all peers but those that `access` admits, from now on.
    pub fn restrict(&mut self, access: Access) {
        self.bound_mut().access = access;
    }

    /// Returns the sockets, to be watched.
    pub fn sockets(&mut self) -> &mut [Descriptor] {
        &mut self.bound_mut().sockets
    }

    /// Returns the local addresses, ports included.
    pub fn addresses(&self) -> Vec<Address> {
        match self {
            Self::Datagram(listener) => listener.bound.addresses(),
            Self::Stream(listener) => listener.bound.addresses(),
        }
    }

    /// Returns the socket for the first address, and its file, which is removed when dropped: for a peer that is not
    /// accepted, such as a multicast group.
    pub fn into_socket(self) -> (Descriptor, Option<SocketFile>) {
        let Bound { mut sockets, file, .. } = match self {
            Self::Datagram(listener) => listener.bound,
            Self::Stream(listener) => listener.bound,
        };
        (sockets.swap_remove(0), file)
    }

    /// Returns the next arrival; `None` if no peer is waiting. `known` tells whether a peer was accepted before and is
    /// still served. After an error, the same peer may be accepted later: see [`is_exhausted`].
    pub fn accept(&mut self, known: &dyn Fn(&Address) -> bool) -> io::Result<Option<Arrival>> {
        match self {
            Self::Datagram(listener) => listener.accept(known),
            Self::Stream(listener) => Ok(listener.accept()?.map(|connection| match connection {
                Ok(accepted) => Arrival::Accepted(accepted),
                Err(Denied(peer)) => Arrival::Denied(peer),
            })),
        }
    }

    /// Queues a datagram that reached the socket of a peer that has gone meanwhile, see [`DatagramListener::requeue`].
    pub fn requeue(&mut self, from: SocketAddr, local: SocketAddr, bytes: Vec<u8>) {
        if let Self::Datagram(listener) = self {
            listener.requeue(from, local, bytes);
        }
    }

    fn bound_mut(&mut self) -> &mut Bound {
        match self {
            Self::Datagram(listener) => &mut listener.bound,
            Self::Stream(listener) => &mut listener.bound,
        }
    }
}
