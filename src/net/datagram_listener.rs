//! A listener for datagrams: each address that sends one is a peer, and gets a socket of its own.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr},
};

use anyhow::Result;

use super::{
    Accepted, Address, Arrival, Family, Isolation, SocketConfig,
    address::canonical,
    bind::{Bound, local_address},
};
use crate::sys::{self, Descriptor};

/// Bound sockets for datagrams of any peer.
#[derive(Debug)]
pub struct DatagramListener {
    pub(super) bound: Bound,
    config: SocketConfig,
    /// Whether more than one peer will be accepted. A single one may take over the listener's own socket.
    many: bool,
    queue: VecDeque<QueuedDatagram>,
    /// Bytes in `queue`.
    queued_bytes: usize,
    buffer: Vec<u8>,
}

/// A datagram that was read from a socket of the listener and belongs to no peer yet.
#[derive(Debug)]
struct QueuedDatagram {
    from: SocketAddr,
    /// The local address that it was sent to; that of the socket if the kernel does not report it.
    to: SocketAddr,
    /// The index of the socket that received it.
    socket: usize,
    bytes: Vec<u8>,
}

impl DatagramListener {
    /// Binds at every address, as [`Bound::new`] does. `many` says that more than one peer will be accepted.
    pub fn bind(mut config: SocketConfig, addresses: &[Address], many: bool) -> Result<Self> {
        let bound = Bound::new(&mut config, addresses)?;
        let buffer = vec![0; MAX_DATAGRAM];
        Ok(Self { bound, config, many, queue: VecDeque::new(), queued_bytes: 0, buffer })
    }

    /// Returns the sockets, for peers that need none of their own.
    pub fn into_sockets(self) -> Vec<Descriptor> {
        self.bound.sockets
    }

    /// Returns the next arrival; `None` if no datagram is waiting. `known` tells whether a peer was accepted before and
    /// is still served. A [`sys::is_exhausted`] error leaves the datagram queued.
    pub fn accept(&mut self, known: &dyn Fn(&Address) -> bool) -> io::Result<Option<Arrival>> {
        if self.queue.is_empty() {
            self.fill_queue()?;
        }
        let Some(first) = self.queue.pop_front() else { return Ok(None) };
        self.queued_bytes -= first.bytes.len();

        let peer = Address::Inet(canonical(first.from));
        if !self.bound.access.admits(&peer) {
            return Ok(Some(Arrival::Denied(peer)));
        }
        if known(&peer) {
            return Ok(Some(Arrival::Datagram { peer, bytes: first.bytes }));
        }
        match self.socket_for(&first) {
            Ok((socket, isolation)) => self.accept_peer(peer, socket, isolation, first).map(Some),
            Err(error) if sys::is_exhausted(&error) => {
                self.queued_bytes += first.bytes.len();
                self.queue.push_front(first);
                Err(error)
            }
            Err(error) => Ok(Some(Arrival::Unreachable { peer, error })),
        }
    }

    /// Queues a datagram that reached the socket of a peer that has gone meanwhile, as if it had just arrived. `local` is
    /// the address that it was sent to. It is dropped if the queue is full.
    pub fn requeue(&mut self, from: SocketAddr, local: SocketAddr, bytes: Vec<u8>) {
        let own = |socket: &Descriptor| socket.socket().local_addr().ok().and_then(|at| at.as_socket());
        let fits = |at: SocketAddr| at.ip().is_unspecified() || canonical(at) == canonical(local);
        let sockets = &self.bound.sockets;
        let socket = sockets.iter().position(|socket| own(socket).is_some_and(fits)).unwrap_or(0);

        // A dual-stack socket reports IPv4 peers by their v4-mapped addresses (ipv6(7)).
        let is_v6 = sockets.get(socket).and_then(own).is_some_and(|at| at.is_ipv6());
        let as_reported = |address: SocketAddr| match address.ip() {
            IpAddr::V4(v4) if is_v6 => SocketAddr::from((v4.to_ipv6_mapped(), address.port())),
            _ => address,
        };

        if self.has_room() {
            self.push(QueuedDatagram { from: as_reported(from), to: as_reported(local), socket, bytes });
        }
    }

    /// Collects the datagrams that a new peer sent before `socket` became its own.
    fn accept_peer(
        &mut self,
        peer: Address,
        socket: Descriptor,
        mut isolation: Isolation,
        first: QueuedDatagram,
    ) -> io::Result<Arrival> {
        let local = local_address(&socket)?;
        // The listener's socket still holds datagrams that are older than those in the peer's own socket.
        self.fill_queue()?;
        let (theirs, others): (VecDeque<_>, VecDeque<_>) =
            self.queue.drain(..).partition(|other| other.from == first.from);
        self.queue = others;
        self.queued_bytes -= theirs.iter().map(|datagram| datagram.bytes.len()).sum::<usize>();

        let mut queued = VecDeque::from([first.bytes]);
        queued.extend(theirs.into_iter().map(|datagram| datagram.bytes));
        if matches!(isolation, Isolation::Full)
            && !self.separate(&socket, first.from, first.socket, &mut queued)?
        {
            isolation = Isolation::Pending(first.from.into());
        }
        Ok(Arrival::Accepted(Accepted { socket, peer, local, queued, isolation }))
    }

    /// Returns a socket for the sender of a datagram, which answers from the address that the datagram was sent to.
    fn socket_for(&self, datagram: &QueuedDatagram) -> io::Result<(Descriptor, Isolation)> {
        let listener = &self.bound.sockets[datagram.socket];
        let own = listener.socket().local_addr()?.as_socket().unwrap_or(datagram.to);
        // A connected socket does not receive datagrams to a broadcast or group address; and one that was created in
        // vain would swallow those that reached it. So the listener's socket serves, if there is a route back.
        let shared = || {
            source_towards(datagram.from)?;
            Ok((listener.duplicate()?, Isolation::None(datagram.from.into())))
        };
        if !self.many && datagram.to.ip().is_unspecified() {
            return shared();
        }

        // A single peer can have the listener's socket, connected, if answers leave from the right address. Another
        // socket would lose the datagrams that are on their way to the listener now.
        if !self.many
            && (own == datagram.to
                || canonical(source_towards(datagram.from)?).ip() == canonical(datagram.to).ip())
        {
            let socket = listener.duplicate()?;
            socket.socket().connect(&datagram.from.into())?;
            return Ok((socket, Isolation::Pending(datagram.from.into())));
        }

        let socket = match self.config.connected_socket(listener, datagram.to, datagram.from) {
            // The address cannot be a source: it is a broadcast address.
            Err(error) if !sys::is_exhausted(&error) && own != datagram.to => {
                if !self.many {
                    return shared();
                }
                self.config.connected_socket(listener, own, datagram.from)?
            }
            result => result?,
        };
        // No other socket will share the port, so that no other program may.
        if !self.many {
            socket.socket().set_reuse_address(false)?;
        }
        Ok((socket, Isolation::Full))
    }

    /// Separates the datagrams that a new socket received between bind(2) and connect(2): those of the peer go to
    /// `queued`, those of others to the listener's queue. Returns whether the socket was emptied.
    fn separate(
        &mut self,
        socket: &Descriptor,
        peer: SocketAddr,
        listener: usize,
        queued: &mut VecDeque<Vec<u8>>,
    ) -> io::Result<bool> {
        for _ in 0..MAX_SEPARATED {
            let Some((from, to, bytes)) = receive(socket, &mut self.buffer)? else { return Ok(true) };

            if from == peer {
                queued.push_back(bytes);
            } else {
                self.push(QueuedDatagram { from, to, socket: listener, bytes });
            }
        }
        Ok(false)
    }

    /// Reads the datagrams that wait at the sockets, up to the limits of the queue.
    fn fill_queue(&mut self) -> io::Result<()> {
        for number in 0..self.bound.sockets.len() {
            while self.has_room() {
                let socket = &self.bound.sockets[number];
                let Some((from, to, bytes)) = receive(socket, &mut self.buffer)? else { break };
                self.push(QueuedDatagram { from, to, socket: number, bytes });
            }
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.queued_bytes < MAX_QUEUED_BYTES && self.queue.len() < MAX_QUEUED
    }

    fn push(&mut self, datagram: QueuedDatagram) {
        self.queued_bytes += datagram.bytes.len();
        self.queue.push_back(datagram);
    }
}

/// Returns the source address of a datagram to `peer` by the kernel's route, without its port.
fn source_towards(peer: SocketAddr) -> io::Result<SocketAddr> {
    let probe = socket2::Socket::new(socket2::Domain::for_address(peer), socket2::Type::DGRAM, None)?;
    probe.connect(&peer.into())?;
    Ok(probe.local_addr()?.as_socket().unwrap_or(peer))
}

/// Receives the next datagram of an IP socket: its sender, its destination, its bytes.
fn receive(socket: &Descriptor, buffer: &mut [u8]) -> io::Result<Option<(SocketAddr, SocketAddr, Vec<u8>)>> {
    loop {
        let datagram = match sys::receive_from(socket, buffer) {
            Ok(datagram) => datagram,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            // udp(7): an ICMP error for an earlier datagram, to a peer that has a socket of its own by now.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            Err(error) => return Err(error),
        };
        let Some(from) = datagram.from.as_socket() else { continue };

        let own = socket.socket().local_addr()?.as_socket();
        let mut to = own.unwrap_or(SocketAddr::new(Family::of(from.ip()).any(), 0));
        if let (true, Some(mut reported)) = (to.ip().is_unspecified(), datagram.to) {
            reported.set_port(to.port());
            to = reported;
        }
        return Ok(Some((from, to, buffer[..datagram.size].to_vec())));
    }
}

/// Bytes of the largest datagram, rounded up.
const MAX_DATAGRAM: usize = 1 << 16;

/// Bytes of queued datagrams: more than a receive buffer holds.
const MAX_QUEUED_BYTES: usize = 4 << 20;

/// Queued datagrams.
const MAX_QUEUED: usize = 1 << 14;

/// Datagrams that are separated when a peer is accepted; those behind are filtered as they are read.
const MAX_SEPARATED: usize = 64;
