//! A datagram socket and one peer of it, or a group. A read is a datagram, a write is a datagram.

use std::{
    collections::VecDeque,
    io::{self, Write},
    net::SocketAddr,
};

use socket2::SockAddr;

use super::{Datagrams, Endpoint, Peer};
use crate::sys::{self, Batch, Descriptor};

/// A datagram socket, and how its peer is told from others.
#[derive(Debug)]
pub struct Datagram {
    socket: Descriptor,
    /// Datagrams that arrived before the socket was this peer's own, or another way.
    queued: VecDeque<Vec<u8>>,
    filter: PeerFilter,
    eof: EofDatagram,
    offload: Offload,
    /// The device on the route has refused UDP_SEGMENT.
    segments_refused: bool,
    batch: Batch,
    received: u64,
    dropped: u64,
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
        // A buffer of unknown size may hold any number of datagrams.
        let room = socket.socket().recv_buffer_size().unwrap_or(usize::MAX);
        Self::Settling { peer, left: room / MIN_TRUESIZE }
    }
}

/// The meaning of an empty datagram in a transfer of a file: UDP has no end of file of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct EofDatagram {
    /// Send one after the last.
    pub send: bool,
    /// Take one that is received for the end.
    pub honor: bool,
}

/// How many datagrams cross into the kernel in one call, where nothing has to see them one by one (udp(7)).
#[derive(Clone, Copy, Debug, Default)]
pub struct Offload {
    /// UDP_SEGMENT: a write is cut into datagrams of so many bytes.
    pub gso: Option<usize>,
    /// UDP_GRO: a read brings as many datagrams as there is room for, one behind the other, from so many messages at
    /// most; each but the first takes 64 KiB of memory.
    pub gro: Option<usize>,
}

impl Datagram {
    /// Takes a socket that is connected or bound.
    pub fn new(socket: Descriptor, filter: PeerFilter, eof: EofDatagram) -> Self {
        Self {
            socket,
            queued: VecDeque::new(),
            filter,
            eof,
            offload: Offload::default(),
            segments_refused: false,
            batch: Batch::default(),
            received: 0,
            dropped: 0,
        }
    }

    /// Sets how many datagrams cross in one call: at first, each is a read or a write of its own.
    pub fn set_offload(&mut self, offload: Offload) {
        self.offload = offload;
        if offload.gso.is_some() {
            // The kernel keeps half as much beside the bytes of a bundle as beside those of single datagrams: no more of them
            // should wait before a slow line, which drops bundles whole.
            let room = self.socket.socket().send_buffer_size().unwrap_or_default();
            // It doubles what it is given (socket(7), SO_SNDBUF).
            let _ = self.socket.socket().set_send_buffer_size(room / 4);
        }
    }

    /// Returns whether a write may be many datagrams: for that, the socket has to be connected.
    pub fn can_offload(&self) -> bool {
        matches!(self.filter, PeerFilter::Connected | PeerFilter::Settling { .. })
    }

    /// Adds datagrams that arrived before the socket was this peer's own.
    pub fn with_queued(self, queued: VecDeque<Vec<u8>>) -> Self {
        Self { queued, ..self }
    }

    /// Queues a datagram of this peer that arrived another way. Where many wait already, it is dropped, as it would be in
    /// the kernel.
    pub fn deliver(&mut self, bytes: Vec<u8>) {
        if self.queued.len() < MAX_QUEUED {
            self.queued.push_back(bytes);
        } else {
            self.dropped += 1;
        }
    }

    /// Takes the datagrams that were not read, with their senders where they are known: a sender may be another peer.
    pub fn take_queued(&mut self) -> Vec<(Option<SocketAddr>, Vec<u8>)> {
        let mut all: Vec<_> = self.queued.drain(..).map(|bytes| (None, bytes)).collect();
        let mut room = vec![0; 1 << 16];
        while all.len() < MAX_QUEUED
            && let Ok(datagram) = sys::receive_from(&self.socket, &mut room)
        {
            all.push((datagram.from.as_socket(), room[..datagram.size].to_vec()));
        }
        all
    }

    /// Returns whether a datagram from this address counts.
    fn is_meant(&mut self, from: &SockAddr) -> bool {
        // connect(2) on a UDP socket does not drop what was queued before.
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
        if let Some(bytes) = self.queued.pop_front() {
            buf[..bytes.len()].copy_from_slice(&bytes);
            return Ok(bytes.len());
        }

        for _ in 0..MAX_SKIPPED {
            let datagram = match (sys::receive_from(&self.socket, buf), &self.filter) {
                // All that had waited before the socket was connected was read.
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

    /// Reads as many datagrams as there is room for, up to an empty one.
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

        // Only whole datagrams: the rest of a message waits for the next read.
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

        // An empty datagram ends the batch, and is reported by itself.
        if filled == 0 {
            self.batch.skip_empty();
        }
        Ok(filled)
    }

    fn write_segments(&mut self, buf: &[u8], segment: usize) -> io::Result<usize> {
        // The first segment goes alone after a refusal, and the flow offers the others again.
        if !self.segments_refused {
            match sys::send_segments(&self.socket, buf, segment) {
                // udp(7): the device may be unable, or a datagram would have to be fragmented.
                Err(error) if sys::is_offload_refusal(&error) => self.segments_refused = true,
                result => return result,
            }
        }
        self.socket.write(&buf[..segment])
    }
}

impl Endpoint for Datagram {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        for _ in 0..MAX_SKIPPED {
            let is_connected = matches!(self.filter, PeerFilter::Connected);
            let merged = self.offload.gro.filter(|_| is_connected && self.queued.is_empty());
            let read = match merged {
                Some(most) => self.read_batch(buf, most),
                None => self.next(buf),
            };

            match read {
                // An empty datagram is no end, unless a file is being transferred.
                Ok(0) if !self.eof.honor => self.received += 1,
                Ok(n) => {
                    self.received += u64::from(n > 0 && merged.is_none());
                    return Ok(n);
                }
                result => return result,
            }
        }
        Err(io::ErrorKind::Interrupted.into())
    }

    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match &self.filter {
            PeerFilter::Connected | PeerFilter::Settling { .. } => match self.offload.gso {
                Some(segment) if buf.len() > segment => self.write_segments(buf, segment),
                _ => self.socket.write(buf),
            },
            PeerFilter::First(Some(to)) | PeerFilter::Group(to) => sys::send_to(&self.socket, buf, to),
            // There is no peer before the first datagram has arrived.
            PeerFilter::First(None) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        if self.eof.send {
            // The empty datagram is sent whole.
            let _: usize = self.write(&[])?;
            self.eof.send = false;
        }
        Ok(())
    }

    /// Returns nothing: an error of an earlier datagram says nothing about the next.
    fn broken(&mut self) -> Option<io::Error> {
        None
    }
}

impl Peer for Datagram {
    fn label(&self) -> &'static str {
        "udp"
    }

    fn descriptor(&self) -> Option<&Descriptor> {
        Some(&self.socket)
    }

    fn descriptor_mut(&mut self) -> Option<&mut Descriptor> {
        Some(&mut self.socket)
    }

    fn datagrams(&self) -> Option<Datagrams> {
        Some(Datagrams { received: self.received, dropped: self.dropped + sys::dropped(&self.socket) })
    }

    fn as_datagram(&mut self) -> Option<&mut Datagram> {
        Some(self)
    }
}

/// Bytes of a receive buffer that the smallest datagram takes, at least (socket(7), SO_RCVBUF counts what
/// the kernel keeps beside the data).
const MIN_TRUESIZE: usize = 512;

/// Datagrams that may wait for a session beside its socket.
const MAX_QUEUED: usize = 256;

/// Datagrams that do not count, in a row, before others have their turn (`Interrupted`).
const MAX_SKIPPED: usize = 64;
