//! Moves bytes between the sockets of clients and the router, and decides nothing.

use std::{
    collections::VecDeque,
    io::{self, Read},
    time::Instant,
};

use crate::{
    endpoint::Peer,
    net::Address,
    proto::relay::{Id, MAX_READ, Router, Splice},
    sys::{self, MisalignedBuffer, SplicePipe},
};

/// The connections of all clients, and the router between them.
pub struct Forwarder {
    pub router: Router,
    /// The time of this turn.
    pub now: Instant,
    /// By [`Id::index`].
    connections: Vec<Option<ClientConnection>>,
    /// Clients that may have more to read, in their order.
    readable: VecDeque<Id>,
    bypasses: Vec<Bypass>,
    /// Empty pipes that no bypass uses.
    idle_pipes: Vec<SplicePipe>,
    buffer: MisalignedBuffer,
}

/// The connection of a client.
struct ClientConnection {
    id: Id,
    connection: Box<dyn Peer>,
    /// Whether the connection uses TLS.
    encrypted: bool,
    peer: Address,
    /// Bytes that the connection has taken, and that are not all sent yet.
    unflushed: usize,
    /// Whether the last piece could not be sent at once.
    slow: bool,
    /// Whether the client is in [`Forwarder::readable`].
    queued: bool,
    /// Whether its bytes have to be copied, because the kernel cannot splice them.
    copies: bool,
}

/// The way of a large message past the router.
struct Bypass {
    pipe: SplicePipe,
    from: Id,
    to: Id,
}

impl Forwarder {
    /// Creates a forwarder without connections.
    pub fn new(router: Router) -> Self {
        Self {
            router,
            now: Instant::now(),
            connections: Vec::new(),
            readable: VecDeque::new(),
            bypasses: Vec::new(),
            idle_pipes: Vec::new(),
            buffer: MisalignedBuffer::new(MAX_READ),
        }
    }

    /// Adds the connection of a client that the router has admitted, and reads from it. An encrypted connection cannot
    /// be spliced, because the kernel has no key.
    pub fn add(&mut self, id: Id, connection: Box<dyn Peer>, peer: Address, encrypted: bool) {
        // Indexes are used again, so that the table grows only to the most clients there ever were at once.
        if self.connections.len() <= id.index() {
            self.connections.resize_with(id.index() + 1, || None);
        }

        self.connections[id.index()] = Some(ClientConnection {
            id,
            connection,
            encrypted,
            peer,
            unflushed: 0,
            slow: false,
            queued: false,
            copies: encrypted,
        });
        self.read(id);
    }

    /// Closes the connection of a client that has left, and returns the peer.
    pub fn remove(&mut self, id: Id) -> Option<Address> {
        self.connection(id)?;
        let mut client = self.connections[id.index()].take()?;
        if client.encrypted && client.unflushed == 0 {
            // close_notify tells the client that nothing was cut off (RFC 8446, section 6.1); it may be gone already.
            let _ = client.connection.finish();
        }

        if let Some(bypass) = self.take_bypass(id) {
            self.copy_back(bypass);
        }
        Some(client.peer)
    }

    /// Returns the peer of a client.
    pub fn peer(&self, id: Id) -> Option<&Address> {
        let client = self.connections.get(id.index())?.as_ref()?;
        (client.id == id).then_some(&client.peer)
    }

    /// Writes and reads after an event for the client at an index.
    pub fn advance(&mut self, index: usize) {
        let Some(Some(client)) = self.connections.get(index) else { return };
        let id = client.id;
        // Writing first makes room, so that clients that wait for this one can be read.
        self.write(id);
        self.read(id);
    }

    /// Writes the new output of all clients.
    pub fn write_output(&mut self) {
        while let Some(id) = self.router.next_output() {
            self.write(id);
        }
    }

    /// Reads again from each client that may have more.
    pub fn read_queued(&mut self) {
        // Only those that are queued now: a client that has still more waits for the next round.
        for _ in 0..self.readable.len() {
            if let Some(id) = self.readable.pop_front() {
                if let Some(client) = self.connection(id) {
                    client.queued = false;
                }
                self.read(id);
            }
        }
    }

    /// Tells whether clients may have more to read.
    pub fn has_queued(&self) -> bool {
        !self.readable.is_empty()
    }

    /// Queues a client to be read again, after the others.
    pub fn read_again(&mut self, id: Id) {
        if let Some(client) = self.connection(id)
            && !std::mem::replace(&mut client.queued, true)
        {
            self.readable.push_back(id);
        }
    }

    fn connection(&mut self, id: Id) -> Option<&mut ClientConnection> {
        self.connections.get_mut(id.index())?.as_mut().filter(|client| client.id == id)
    }

    /// Reads from a client until it has no more, or has had its share.
    fn read(&mut self, id: Id) {
        let mut share = READ_SHARE;
        while share > 0 {
            match self.take(id) {
                0 => return,
                n => share = share.saturating_sub(n),
            }
        }
        self.read_again(id);
    }

    /// Takes bytes from a client once, in the cheapest way. Returns their number; 0 if nothing can be done now.
    fn take(&mut self, id: Id) -> usize {
        if let Some(n) = self.bypass(id) {
            return n;
        }
        let Some(client) = self.connections.get_mut(id.index()).and_then(Option::as_mut) else { return 0 };
        if client.id != id {
            return 0;
        }

        // MSG_TRUNC works on the socket itself, so TLS has to read and decrypt.
        let discardable = self.router.discardable(id);
        let read = if discardable >= LARGE && client.connection.source().is_some() {
            let most = usize::try_from(discardable).unwrap_or(usize::MAX).min(MAX_DISCARD);
            let Some(socket) = client.connection.descriptor() else { return 0 };
            sys::discard(socket, most).inspect(|n| self.router.discarded(id, *n as u64, self.now))
        } else {
            match self.router.read_budget(id) {
                0 => return 0,
                most => client.connection.read(&mut self.buffer[..most]).inspect(|n| {
                    if *n > 0 {
                        self.router.receive(id, &self.buffer[..*n], self.now);
                    }
                }),
            }
        };
        match read {
            Ok(0) => self.router.ended(id, self.now),
            Ok(n) => return n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.router.lost(id, self.now),
        }
        0
    }

    /// Moves bytes of a large message through a pipe, so that they are not copied. Returns their number; `None` if they
    /// have to be copied.
    fn bypass(&mut self, id: Id) -> Option<usize> {
        let splice = self.splice(id);
        let mut bypass = self.take_bypass(id).or_else(|| self.open_bypass(id, splice?))?;

        let to = bypass.to;
        let taken = splice.map_or(Ok(0), |splice| self.fill(&mut bypass, splice.left));
        let given = self.drain(&mut bypass);
        let (n_in, n_out) = (*taken.as_ref().unwrap_or(&0), given.moved);
        self.router.spliced(id, to, n_in as u64, n_out as u64, self.now);
        // The router needs the count before the loss: it takes the bytes back from its books.
        if given.broken {
            self.router.lost(to, self.now);
        }

        let over = bypass.pipe.held() == 0 || self.connection(to).is_none();
        if !over {
            self.bypasses.push(bypass);
        } else if bypass.pipe.held() == 0 {
            // A pipe that holds bytes is closed: the next message must not find them.
            self.idle_pipes.push(bypass.pipe);
        }
        if taken.is_err() {
            self.router.lost(id, self.now);
        }

        let moved = n_in.max(n_out);
        let unspliceable = over && (splice.is_none() || self.connection(id)?.copies);
        if unspliceable && moved == 0 { None } else { Some(moved) }
    }

    /// Returns the splice of a client, after the bytes that have to arrive before it were written.
    fn splice(&mut self, id: Id) -> Option<Splice> {
        let splice = self.router.splice(id)?;
        if !splice.queued {
            return Some(splice);
        }
        self.write(splice.to);
        self.router.splice(id).filter(|splice| !splice.queued)
    }

    fn take_bypass(&mut self, from: Id) -> Option<Bypass> {
        let at = self.bypasses.iter().position(|bypass| bypass.from == from);
        at.map(|at| self.bypasses.swap_remove(at))
    }

    /// Opens a bypass for a message that is worth a pipe, if both sockets can be spliced.
    fn open_bypass(&mut self, from: Id, splice: Splice) -> Option<Bypass> {
        let to = splice.to;
        if splice.left < LARGE || self.connection(from)?.copies {
            return None;
        }
        // Without a sink, as with TLS, the kernel cannot write there.
        self.connection(to)?.connection.sink()?;

        let pipe = match self.idle_pipes.pop() {
            Some(pipe) => pipe,
            None if self.bypasses.len() < MAX_PIPES => SplicePipe::new().ok()?,
            None => return None,
        };
        Some(Bypass { pipe, from, to })
    }

    /// Moves bytes from the sender into the pipe of a bypass.
    fn fill(&mut self, bypass: &mut Bypass, left: u64) -> io::Result<usize> {
        let from = bypass.from;
        let Some(client) = self.connections.get_mut(from.index()).and_then(Option::as_mut) else {
            return Ok(0);
        };
        // Pages of a socket buffer need not be full, so that a pipe may hold far more than its size.
        let room = MAX_PIPED.saturating_sub(bypass.pipe.held());
        let Some(source) = client.connection.source().filter(|_| !client.copies && room > 0) else {
            return Ok(0);
        };

        let filled = bypass.pipe.fill(source, usize::try_from(left).unwrap_or(usize::MAX).min(room));
        let blocked = filled.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        match filled {
            // tcp(7): splice(2) stops before urgent data, which only a read passes.
            Ok(0) | Err(_) if (blocked || filled.is_ok()) && sys::at_mark(source) => client.copies = true,
            Ok(0) => self.router.ended(from, self.now),
            // The socket is empty, or the pipe is full.
            Err(_) if blocked => {}
            Err(error) if sys::is_refusal(&error) => client.copies = true,
            result => return result,
        }
        Ok(0)
    }

    /// Moves bytes from the pipe of a bypass to the destination.
    fn drain(&mut self, bypass: &mut Bypass) -> Drained {
        let mut moved = 0;
        // Output of the router was sent before the bytes in the pipe.
        while bypass.pipe.held() > 0 && self.router.output(bypass.to).is_empty() {
            let Some(sink) = self.connection(bypass.to).and_then(|client| client.connection.sink()) else {
                break;
            };
            match bypass.pipe.drain(sink, usize::MAX) {
                Ok(n) => moved += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return Drained { moved, broken: true },
            }
        }

        Drained { moved, broken: false }
    }

    /// Ends a bypass whose sender has left: the bytes in the pipe still arrive, by way of the router.
    fn copy_back(&mut self, bypass: Bypass) {
        let Bypass { mut pipe, to, .. } = bypass;
        let (mut bytes, mut piece) = (Vec::with_capacity(pipe.held()), [0; 4096]);
        while pipe.held() > 0
            && let Ok(n @ 1..) = pipe.read(&mut piece)
        {
            bytes.extend_from_slice(&piece[..n]);
        }

        self.router.copied_back(to, &bytes, self.now);
        if pipe.held() == 0 {
            self.idle_pipes.push(pipe);
        }
    }

    /// Writes the output of a client, until it would block.
    fn write(&mut self, id: Id) {
        loop {
            let output = self.router.output(id);
            if output.is_empty() {
                break;
            }
            let Some(client) = self.connections.get_mut(id.index()).and_then(Option::as_mut) else { return };
            let piece = match client.encrypted {
                false => output.len(),
                true if client.slow => SLOW_PIECE,
                true => PIECE,
            };

            // A connection that has taken bytes must not get them again; only the flush is repeated.
            let taken = match client.unflushed {
                0 => client.connection.write(&output[..piece.min(output.len())]),
                unflushed => Ok(unflushed),
            };
            client.unflushed = 0;
            client.slow = false;
            // Bytes that TLS has taken count as written only once all of their record is sent.
            match taken.map(|n| (n, client.connection.flush())) {
                Ok((n, Ok(()))) => self.router.written(id, n, self.now),
                Ok((n, Err(error))) if error.kind() == io::ErrorKind::WouldBlock => {
                    client.unflushed = n;
                    client.slow = true;
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok((_, Err(_))) | Err(_) => return self.router.lost(id, self.now),
            }
        }

        // The destination may accept bytes of a pipe as well; moving them is a part of reading the sender.
        if let Some(bypass) = self.bypasses.iter().find(|bypass| bypass.to == id) {
            self.read_again(bypass.from);
        }
    }
}

/// The outcome of draining a pipe.
struct Drained {
    /// Bytes that the destination accepted.
    moved: usize,
    /// Whether the connection of the destination is lost.
    broken: bool,
}

/// Bytes that are encrypted at once, and count as written together: a record (RFC 8446, section 5.1).
const PIECE: usize = 16 << 10;

/// Bytes of a record for a slow client, so that the router sees it accept some within the stall timeout.
const SLOW_PIECE: usize = 2 << 10;

/// Bytes of one client before others have their turn.
const READ_SHARE: usize = 512 << 10;

/// Bytes of a message that is worth a pipe, or being discarded unread.
const LARGE: u64 = 128 << 10;

/// Bytes that are discarded in one call.
const MAX_DISCARD: usize = 1 << 20;

/// Bytes in a pipe.
const MAX_PIPED: usize = 1 << 20;

/// Pipes at once.
pub const MAX_PIPES: usize = 64;
