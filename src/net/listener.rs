//! What clients come to: one or more sockets, and the peers that arrive there.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr},
};

use anyhow::{Context, Result, bail};
use socket2::SockAddr;

use super::{
    Access, Address, Family, SocketConfig, Transport,
    address::{SocketFile, canonical},
};
use crate::sys::{self, Descriptor};

/// All the sockets that one `-l` listens at.
#[derive(Debug)]
pub struct Listener {
    sockets: Vec<Descriptor>,
    config: SocketConfig,
    access: Access,
    file: Option<SocketFile>,
    /// Whether there will be more peers than one.
    many: bool,
    /// Datagrams that were read and not yet given to anybody.
    strays: VecDeque<Stray>,
    /// Bytes in them.
    held: usize,
    buffer: Vec<u8>,
}

/// What came to a listener.
#[derive(Debug)]
pub enum Arrival {
    /// A datagram for a peer that was accepted before.
    Datagram {
        peer: Address,
        bytes: Vec<u8>,
    },
    Peer(Accepted),
    /// A peer that is not let in.
    Refused(Address),
    /// A peer that cannot be answered, and why: what it sent is dropped.
    Unreachable {
        peer: Address,
        error: io::Error,
    },
}

/// A new peer.
#[derive(Debug)]
pub struct Accepted {
    pub socket: Descriptor,
    pub peer: Address,
    /// Our own address.
    pub local: Address,
    /// Datagrams that it had sent before it had a socket of its own.
    pub inbox: VecDeque<Vec<u8>>,
    pub hears: Hears,
}

/// Whose datagrams an accepted peer's socket brings.
#[derive(Debug)]
pub enum Hears {
    /// Everybody's, since it is not connected: only those from this address count.
    Everybody(SockAddr),
    /// The peer's alone.
    Peer,
    /// The peer's, after what others may have sent before the socket was connected to this address.
    PeerAfterOthers(SockAddr),
}

#[derive(Debug)]
struct Stray {
    from: SocketAddr,
    /// The address of ours that it was sent to, or the listener's own.
    to: SocketAddr,
    /// Which of the sockets it came to.
    socket: usize,
    bytes: Vec<u8>,
}

impl Listener {
    /// Binds and listens at every address. An address family that this machine lacks is left out, if
    /// another one remains; a port that is in use is an error. Port 0 is chosen by the kernel, one
    /// for all. `many` says that there will be more peers than one.
    pub fn bind(config: SocketConfig, addresses: &[Address], many: bool) -> Result<Self> {
        let mut tries = PORT_TRIES;
        loop {
            match bind_all(&config, addresses) {
                // A port that was free for the first address need not be for the second.
                Err((_, error))
                    if tries > 0 && addresses.len() > 1 && is_any_port(addresses) && in_use(&error) =>
                {
                    tries -= 1;
                }
                // Without IPv6 the dual-stack wildcard is the one of IPv4.
                Err((address, error))
                    if config.only.is_none() && is_wildcard(&address) && is_missing(&error) =>
                {
                    let port = address.port().unwrap_or(0);
                    let v4 = Address::Inet(SocketAddr::new(Family::V4.any(), port));
                    let config = SocketConfig { only: Some(Family::V4), ..config };
                    return Self::bind(config, &[v4], many);
                }
                Err((address, error)) => {
                    return Err(error).with_context(|| format!("listen on {address}"));
                }
                Ok(sockets) => {
                    let file = addresses.iter().find_map(|address| match address {
                        Address::Unix(path) if !is_abstract(path) => Some(SocketFile::new(path)),
                        _ => None,
                    });
                    let buffer = vec![0; if config.transport == Transport::Datagram { 1 << 16 } else { 0 }];
                    return Ok(Self {
                        sockets,
                        config,
                        access: Access::default(),
                        file,
                        many,
                        strays: VecDeque::new(),
                        held: 0,
                        buffer,
                    });
                }
            }
        }
    }

    /// Lets in only these from now on.
    pub fn restrict(&mut self, access: Access) {
        self.access = access;
    }

    fn admits(&self, peer: &Address) -> bool {
        match peer {
            Address::Inet(inet) => self.access.admits(*inet),
            Address::Name { .. } | Address::Unix(_) => true,
        }
    }

    /// The sockets, to be watched.
    pub fn sockets(&mut self) -> impl Iterator<Item = &mut Descriptor> {
        self.sockets.iter_mut()
    }

    /// Where we listen, port included.
    pub fn addresses(&self) -> Vec<Address> {
        self.sockets.iter().filter_map(|socket| local_address(socket).ok()).collect()
    }

    /// Gives up its sockets, for datagrams of peers that need none of their own.
    pub fn into_sockets(self) -> Vec<Descriptor> {
        self.sockets
    }

    /// Gives up its socket, and the file that is the socket's name: for datagrams of a group, or of
    /// peers that cannot be told apart.
    pub fn into_socket(mut self) -> (Descriptor, Option<SocketFile>) {
        (self.sockets.swap_remove(0), self.file)
    }

    /// Takes a datagram back that came to the socket of a peer who has gone meanwhile: it is new again. `local` is the
    /// address of ours that it was sent to.
    pub fn put_back(&mut self, from: SocketAddr, local: SocketAddr, bytes: Vec<u8>) {
        let own = |socket: &Descriptor| socket.socket().local_addr().ok().and_then(|at| at.as_socket());
        let fits = |at: SocketAddr| at.ip().is_unspecified() || canonical(at) == canonical(local);
        let socket = self.sockets.iter().position(|socket| own(socket).is_some_and(fits)).unwrap_or(0);
        let is_v6 = self.sockets.get(socket).and_then(own).is_some_and(|at| at.is_ipv6());
        // As a dual-stack socket has it.
        let form = |address: SocketAddr| match address.ip() {
            IpAddr::V4(v4) if is_v6 => SocketAddr::from((v4.to_ipv6_mapped(), address.port())),
            _ => address,
        };
        if self.held < MOST_HELD && self.strays.len() < MOST_STRAYS {
            self.hold(Stray { from: form(from), to: form(local), socket, bytes });
        }
    }

    /// The next arrival, or `None` when nobody is waiting. `known` tells which peers have a session.
    pub fn accept(&mut self, known: &dyn Fn(&Address) -> bool) -> io::Result<Option<Arrival>> {
        match self.config.transport {
            Transport::Datagram => self.accept_datagram(known),
            Transport::Stream => self.accept_stream(),
        }
    }

    fn accept_stream(&mut self) -> io::Result<Option<Arrival>> {
        let mut errors = 0;
        for listener in &self.sockets {
            loop {
                match sys::accept(listener) {
                    Ok((socket, peer)) => {
                        // It does not fail for a socket that is there; one that is not is no client.
                        let Ok(local) = local_address(&socket) else { continue };
                        let peer = Address::from(&peer);
                        if !self.admits(&peer) {
                            return Ok(Some(Arrival::Refused(peer)));
                        }
                        let inbox = VecDeque::new();
                        return Ok(Some(Arrival::Peer(Accepted {
                            socket,
                            peer,
                            local,
                            inbox,
                            hears: Hears::Peer,
                        })));
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // accept(2), "Error handling": errors of a connection that is already gone.
                    Err(error) if is_exhausted(&error) || errors >= ACCEPT_ERRORS => return Err(error),
                    Err(_) => errors += 1,
                }
            }
        }
        Ok(None)
    }

    fn accept_datagram(&mut self, known: &dyn Fn(&Address) -> bool) -> io::Result<Option<Arrival>> {
        if self.strays.is_empty() {
            self.drain()?;
        }
        let Some(stray) = self.strays.pop_front() else { return Ok(None) };
        self.held -= stray.bytes.len();
        let peer = Address::Inet(canonical(stray.from));
        if !self.admits(&peer) {
            return Ok(Some(Arrival::Refused(peer)));
        }
        if known(&peer) {
            return Ok(Some(Arrival::Datagram { peer, bytes: stray.bytes }));
        }
        let (socket, mut hears) = match self.adopt(&stray) {
            Ok(adopted) => adopted,
            Err(error) if is_exhausted(&error) => {
                self.hold_first(stray);
                return Err(error);
            }
            Err(error) => return Ok(Some(Arrival::Unreachable { peer, error })),
        };
        let local = local_address(&socket)?;
        // All that came before the socket was its own comes first.
        self.drain()?;
        let (theirs, others) = self.strays.drain(..).partition(|other| other.from == stray.from);
        self.strays = others;
        let theirs: VecDeque<Stray> = theirs;
        self.held -= theirs.iter().map(|stray| stray.bytes.len()).sum::<usize>();
        let mut inbox = VecDeque::from([stray.bytes]);
        inbox.extend(theirs.into_iter().map(|stray| stray.bytes));
        if matches!(hears, Hears::Peer) && !self.sort_out(&socket, stray.from, stray.socket, &mut inbox)? {
            hears = Hears::PeerAfterOthers(stray.from.into());
        }
        Ok(Some(Arrival::Peer(Accepted { socket, peer, local, inbox, hears })))
    }

    /// A socket for the peer of a stray datagram, and whom it hears.
    fn adopt(&self, stray: &Stray) -> io::Result<(Descriptor, Hears)> {
        let listener = &self.sockets[stray.socket];
        let own = listener.socket().local_addr()?.as_socket().unwrap_or(stray.to);
        // What is sent to a broadcast or a group does not reach a connected socket; and one that were made
        // in vain would take along what came to it. Whether there is a way back, any port can tell.
        let narrowed = || {
            way_back(stray.from)?;
            Ok((listener.duplicate()?, Hears::Everybody(stray.from.into())))
        };
        if !self.many && stray.to.ip().is_unspecified() {
            return narrowed();
        }
        // For a single peer the listener itself will do, if answers leave from where they must. What is
        // on its way to it now would be lost in any other socket's favour.
        if !self.many
            && (own == stray.to || canonical(way_back(stray.from)?).ip() == canonical(stray.to).ip())
        {
            let socket = listener.duplicate()?;
            socket.socket().connect(&stray.from.into())?;
            return Ok((socket, Hears::PeerAfterOthers(stray.from.into())));
        }
        let socket = match self.config.connected_socket(listener, stray.to, stray.from) {
            // It was sent to an address that nothing can be sent from: a broadcast.
            Err(error) if !is_exhausted(&error) && own != stray.to => {
                if !self.many {
                    return narrowed();
                }
                self.config.connected_socket(listener, own, stray.from)?
            }
            result => result?,
        };
        if !self.many {
            socket.socket().set_reuse_address(false)?;
        }
        Ok((socket, Hears::Peer))
    }

    /// Between being bound and being connected a peer's socket hears everybody: what others sent in
    /// that moment is put back. Tells whether that was all that waited there.
    fn sort_out(
        &mut self,
        socket: &Descriptor,
        peer: SocketAddr,
        listener: usize,
        inbox: &mut VecDeque<Vec<u8>>,
    ) -> io::Result<bool> {
        for _ in 0..SORT_LIMIT {
            let Some((from, to, bytes)) = receive(socket, &mut self.buffer)? else { return Ok(true) };
            if from == peer {
                inbox.push_back(bytes);
            } else {
                self.hold(Stray { from, to, socket: listener, bytes });
            }
        }
        Ok(false)
    }

    fn hold(&mut self, stray: Stray) {
        self.held += stray.bytes.len();
        self.strays.push_back(stray);
    }

    fn hold_first(&mut self, stray: Stray) {
        self.held += stray.bytes.len();
        self.strays.push_front(stray);
    }

    /// Reads what waits at the sockets, up to what may be held: what comes after a peer has its own
    /// socket goes there.
    fn drain(&mut self) -> io::Result<()> {
        for number in 0..self.sockets.len() {
            while self.held < MOST_HELD && self.strays.len() < MOST_STRAYS {
                let socket = &self.sockets[number];
                let Some((from, to, bytes)) = receive(socket, &mut self.buffer)? else { break };
                self.hold(Stray { from, to, socket: number, bytes });
            }
        }
        Ok(())
    }
}

/// Whether the process or the machine has run out of descriptors or memory (accept(2)); nothing else
/// stops a listener from accepting.
pub fn is_exhausted(error: &io::Error) -> bool {
    sys::is_exhausted(error)
}

/// Where a datagram to `peer` would leave from, the port aside.
fn way_back(peer: SocketAddr) -> io::Result<SocketAddr> {
    let probe = socket2::Socket::new(socket2::Domain::for_address(peer), socket2::Type::DGRAM, None)?;
    probe.connect(&peer.into())?;
    Ok(probe.local_addr()?.as_socket().unwrap_or(peer))
}

/// The next datagram of an IP socket.
fn receive(socket: &Descriptor, buffer: &mut [u8]) -> io::Result<Option<(SocketAddr, SocketAddr, Vec<u8>)>> {
    loop {
        match sys::receive_from(socket, buffer) {
            Ok(datagram) => {
                let Some(from) = datagram.from.as_socket() else { continue };
                let mut to = socket
                    .socket()
                    .local_addr()?
                    .as_socket()
                    .unwrap_or(SocketAddr::new(Family::of(from.ip()).any(), 0));
                if let (true, Some(mut told)) = (to.ip().is_unspecified(), datagram.to) {
                    told.set_port(to.port());
                    to = told;
                }
                return Ok(Some((from, to, buffer[..datagram.size].to_vec())));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            // An ICMP error for something sent earlier concerns nobody here.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(error),
        }
    }
}

fn bind_all(
    config: &SocketConfig,
    addresses: &[Address],
) -> Result<Vec<Descriptor>, (Address, anyhow::Error)> {
    let mut sockets = Vec::new();
    let mut missing = None;
    let mut port = None;
    for address in addresses {
        let mut address = address.clone();
        if let (Address::Inet(inet), Some(port)) = (&mut address, port) {
            inet.set_port(port);
        }
        let bound = clear_stale(&address).and_then(|()| Ok(config.listen(&address)?));
        match bound {
            Ok(socket) => {
                port = port.or(local_address(&socket).ok().and_then(|local| local.port()));
                sockets.push(socket);
            }
            Err(error) if addresses.len() > 1 && is_missing(&error) => missing = Some((address, error)),
            Err(error) => return Err((address, error)),
        }
    }
    match missing {
        Some(missing) if sockets.is_empty() => Err(missing),
        _ => Ok(sockets),
    }
}

/// Removes a UNIX socket that nobody listens at any more. Any other file stays.
fn clear_stale(address: &Address) -> Result<()> {
    let Address::Unix(path) = address else { return Ok(()) };
    if is_abstract(path) {
        return Ok(());
    }
    let Ok(found) = path.symlink_metadata() else { return Ok(()) };
    if !sys::is_socket(&found) {
        bail!("the file exists and is not a socket");
    }
    for kind in [socket2::Type::STREAM, socket2::Type::DGRAM] {
        let probe = socket2::Socket::new(socket2::Domain::UNIX, kind, None)?;
        probe.set_nonblocking(true)?;
        match probe.connect(&address.to_sockaddr()?) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            // The other type of socket listens there.
            Err(error) if sys::is_wrong_type(&error) => {}
            _ => return Err(sys::address_in_use().into()),
        }
    }
    Ok(std::fs::remove_file(path)?)
}

fn is_abstract(path: &std::path::Path) -> bool {
    path.to_str().is_some_and(|path| path.starts_with('@'))
}

fn is_wildcard(address: &Address) -> bool {
    matches!(address, Address::Inet(SocketAddr::V6(v6)) if v6.ip().is_unspecified())
}

fn is_any_port(addresses: &[Address]) -> bool {
    addresses.iter().any(|address| address.port() == Some(0))
}

fn in_use(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

fn is_missing(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable || sys::is_family_missing(error))
}

fn local_address(socket: &Descriptor) -> io::Result<Address> {
    Ok(Address::from(&socket.socket().local_addr()?))
}

/// How often a random port is tried for several addresses.
const PORT_TRIES: usize = 32;

/// Bytes of datagrams that are held at most: more than a receive buffer holds.
const MOST_HELD: usize = 4 << 20;

/// Datagrams that are held at most.
const MOST_STRAYS: usize = 1 << 14;

/// Datagrams that are sorted out of a new socket at most; behind that they are sorted as they are read.
const SORT_LIMIT: usize = 64;

/// Errors of connections that were gone before they were accepted, in a row, before we pause.
const ACCEPT_ERRORS: usize = 64;
