//! The peers that arrive at a listener.

use std::{collections::VecDeque, io};

use socket2::SockAddr;

use super::Address;
use crate::sys::Descriptor;

/// The outcome of accepting.
#[derive(Debug)]
pub enum Arrival {
    /// A new peer.
    Accepted(Accepted),
    /// A datagram of a peer that was accepted before.
    Datagram { peer: Address, bytes: Vec<u8> },
    /// A peer that the access rules deny; its connection is closed, or its datagram dropped.
    Denied(Address),
    /// A peer that cannot be answered, and the error that says why; its datagram is dropped.
    Unreachable { peer: Address, error: io::Error },
}

/// A new peer.
#[derive(Debug)]
pub struct Accepted {
    /// The socket for this peer.
    pub socket: Descriptor,
    /// The peer's address.
    pub peer: Address,
    /// The local address.
    pub local: Address,
    /// Datagrams that the peer had sent before the socket existed, oldest first.
    pub queued: VecDeque<Vec<u8>>,
    pub isolation: Isolation,
}

/// How far an accepted socket keeps the datagrams of other peers out.
#[derive(Debug)]
pub enum Isolation {
    /// The socket is connected: it receives the peer's datagrams alone.
    Full,
    /// The socket is not connected: only datagrams from this address are the peer's.
    None(SockAddr),
    /// The socket is connected to this address, but datagrams that others had sent before may come first.
    Pending(SockAddr),
}

/// The address of a client that the access rules deny.
#[derive(Debug)]
pub struct Denied(pub Address);
