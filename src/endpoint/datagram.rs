//! A datagram socket and one peer of it, or a group. A read is a datagram, a write is a datagram.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    net::SocketAddr,
};

use socket2::SockAddr;

use super::Endpoint;
use crate::sys::{self, Batch, Descriptor};

/// The socket.
#[derive(Debug)]
pub struct Datagram {
    socket: Descriptor,
    /// What came before the socket was this peer's own.
    inbox: VecDeque<Vec<u8>>,
    filter: PeerFilter,
    ends: Ends,
    together: Together,
    /// The way to the peer has refused datagrams that go together.
    segments_refused: bool,
    batch: Batch,
    received: u64,
    lost: u64,
}

/// The peers whose datagrams count, and the one that is answered.
#[derive(Clone, Debug)]
pub enum PeerFilter {
    /// The peer that the socket is connected to.
    Connected,
    /// The sender of the first datagram; those of others are ignored from then on.
    First(Option<SockAddr>),
    /// The members of a multicast group, or the receivers of a broadcast; any of them may answer.
    Group(SockAddr),
    /// The peer that the socket is connected to; but the first `left` datagrams may be those that others sent before it
    /// was connected.
    Settling { peer: SockAddr, left: usize },
}

impl PeerFilter {
    /// Returns the filter for a socket that was connected a moment ago.
    pub fn settling(peer: SockAddr, socket: &Descriptor) -> Self {
        // What a buffer of unknown size can hold is not known either.
        let room = socket.socket().recv_buffer_size().unwrap_or(usize::MAX);
        Self::Settling { peer, left: room / LEAST_KEPT }
    }
}

/// What an empty datagram means in a transfer of a file: UDP has no end of file of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ends {
    /// Whether we send one after the last.
    pub mark: bool,
    /// Whether one that we receive is the end.
    pub heed: bool,
}

/// How datagrams go through the kernel together, where nobody has to see them one by one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Together {
    /// What is written is cut into datagrams of so many bytes.
    pub sent: Option<usize>,
    /// A read brings as many as there is room for, one behind the other, from so many messages at most;
    /// each takes 64 KiB of memory, but the first.
    pub received: Option<usize>,
}

impl Datagram {
    /// Takes a socket that is connected or bound.
    pub fn new(socket: Descriptor, filter: PeerFilter, ends: Ends) -> Self {
        Self {
            socket,
            inbox: VecDeque::new(),
            filter,
            ends,
            together: Together::default(),
            segments_refused: false,
            batch: Batch::default(),
            received: 0,
            lost: 0,
        }
    }

    /// Changes how datagrams go together: at first, each is a read or a write of its own.
    pub fn put_together(&mut self, together: Together) {
        self.together = together;
        if together.sent.is_some() {
            // The kernel keeps half as much beside the bytes of a bundle as beside those of single datagrams:
            // no more of them are to be under way before a slow line, which drops bundles whole.
            let room = self.socket.socket().send_buffer_size().unwrap_or_default();
            // It doubles what it is given (socket(7), SO_SNDBUF).
            let _ = self.socket.socket().set_send_buffer_size(room / 4);
        }
    }

    /// Whether datagrams can go through the kernel together: for that, it has to know whom they are for.
    pub fn joins(&self) -> bool {
        matches!(self.filter, PeerFilter::Connected | PeerFilter::Settling { .. })
    }

    /// Begins with what came before.
    pub fn with_inbox(self, inbox: VecDeque<Vec<u8>>) -> Self {
        Self { inbox, ..self }
    }

    /// A datagram of this peer that came another way. Where many wait already, it is lost, as it would
    /// be in the kernel.
    pub fn deliver(&mut self, bytes: Vec<u8>) {
        if self.inbox.len() < MOST_WAITING {
            self.inbox.push_back(bytes);
        } else {
            self.lost += 1;
        }
    }

    /// Takes what has come and was not read, with where it came from if that is known: it may be another's.
    pub fn rest(&mut self) -> Vec<(Option<SocketAddr>, Vec<u8>)> {
        let mut rest: Vec<_> = self.inbox.drain(..).map(|bytes| (None, bytes)).collect();
        let mut room = vec![0; 1 << 16];
        while rest.len() < MOST_WAITING
            && let Ok(datagram) = sys::receive_from(&self.socket, &mut room)
        {
            rest.push((datagram.from.as_socket(), room[..datagram.size].to_vec()));
        }
        rest
    }

    /// Datagrams that were read; an end of file is none.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Datagrams that came and found no room, here or in the kernel.
    pub fn dropped(&self) -> u64 {
        self.lost + sys::dropped(&self.socket)
    }

    /// The socket, for what the kernel knows of it.
    pub fn socket(&self) -> &Descriptor {
        &self.socket
    }

    /// The socket, to be watched.
    pub fn socket_mut(&mut self) -> &mut Descriptor {
        &mut self.socket
    }

    /// Whether a datagram from there counts.
    fn is_meant(&mut self, from: &SockAddr) -> bool {
        match &mut self.filter {
            PeerFilter::Connected | PeerFilter::Group(_) => true,
            PeerFilter::First(first) => first.get_or_insert_with(|| from.clone()) == from,
            PeerFilter::Settling { peer, left } => {
                let meant = peer == from;
                *left = left.saturating_sub(1);
                if *left == 0 {
                    self.filter = PeerFilter::Connected;
                }
                meant
            }
        }
    }

    fn next(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if let Some(bytes) = self.inbox.pop_front() {
            buf[..bytes.len()].copy_from_slice(&bytes);
            return Ok(bytes.len());
        }
        for _ in 0..MOST_SKIPPED {
            let datagram = match (sys::receive_from(&self.socket, buf), &self.filter) {
                // The last of what had waited.
                (Err(error), PeerFilter::Settling { .. }) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.filter = PeerFilter::Connected;
                    return Err(error);
                }
                (received, _) => received?,
            };
            if !self.is_meant(&datagram.from) {
                continue;
            }
            if datagram.truncated {
                let what = format!("a datagram was larger than {} bytes and was cut", buf.len());
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
            return Ok(datagram.size);
        }
        Err(io::ErrorKind::Interrupted.into())
    }

    /// Reads as many as there is room for, up to an empty one.
    fn read_batch(&mut self, buf: &mut [u8], most: usize) -> io::Result<usize> {
        let mut filled = 0;
        if self.batch.front().is_none() {
            let (size, segment) = self.batch.receive(&self.socket, buf, most)?;
            if size == 0 {
                return Ok(0);
            }
            self.received += size.div_ceil(segment) as u64;
            filled = size;
        }
        while let Some((bytes, segment)) = self.batch.front() {
            let room = buf.len() - filled;
            let n = if bytes.len() <= room { bytes.len() } else { room - room % segment };
            if n == 0 {
                break;
            }
            buf[filled..][..n].copy_from_slice(&bytes[..n]);
            self.received += n.div_ceil(segment) as u64;
            self.batch.consume(n);
            filled += n;
        }
        if filled == 0 {
            self.batch.skip_empty();
        }
        Ok(filled)
    }

    fn write_segments(&mut self, buf: &[u8], segment: usize) -> io::Result<usize> {
        if !self.segments_refused {
            match sys::send_segments(&self.socket, buf, segment) {
                // A device may be unable, or a datagram would have to be fragmented.
                Err(error) if sys::is_offload_refusal(&error) => self.segments_refused = true,
                result => return result,
            }
        }
        self.socket.write(&buf[..segment])
    }
}

impl Read for Datagram {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        for _ in 0..MOST_SKIPPED {
            let alone = matches!(self.filter, PeerFilter::Connected);
            let together = self.together.received.filter(|_| alone && self.inbox.is_empty());
            let read = match together {
                Some(most) => self.read_batch(buf, most),
                None => self.next(buf),
            };
            match read {
                // An empty datagram is no end, unless a file is being transferred.
                Ok(0) if !self.ends.heed => self.received += 1,
                Ok(n) => {
                    self.received += u64::from(n > 0 && together.is_none());
                    return Ok(n);
                }
                result => return result,
            }
        }
        Err(io::ErrorKind::Interrupted.into())
    }
}

impl Write for Datagram {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match &self.filter {
            PeerFilter::Connected | PeerFilter::Settling { .. } => match self.together.sent {
                Some(segment) if buf.len() > segment => self.write_segments(buf, segment),
                _ => self.socket.write(buf),
            },
            PeerFilter::First(Some(to)) | PeerFilter::Group(to) => sys::send_to(&self.socket, buf, to),
            PeerFilter::First(None) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Endpoint for Datagram {
    fn finish(&mut self) -> io::Result<()> {
        if self.ends.mark {
            // Empty is all of it.
            let _: usize = self.write(&[])?;
            self.ends.mark = false;
        }
        Ok(())
    }

    /// An error of an earlier datagram says nothing about the next.
    fn broken(&mut self) -> Option<io::Error> {
        None
    }
}

/// Bytes of a receive buffer that the smallest datagram takes, at least (socket(7), SO_RCVBUF counts what
/// the kernel keeps beside the data).
const LEAST_KEPT: usize = 512;

/// Datagrams that wait for a session beside its socket.
const MOST_WAITING: usize = 256;

/// Datagrams that nobody wants, in a row, before others have their turn (`Interrupted`).
const MOST_SKIPPED: usize = 64;
