//! The names of `linux/` where there is no such thing. A refusal (`Unsupported`) is what callers
//! already know from kernels that lack something.

use std::{
    fs::File,
    io::{self, Read},
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    time::Duration,
};

use mio::{Interest, Registry, Token, event::Source};
use rustix::fs::{Mode, OFlags};
use socket2::{SockAddr, SockRef, Socket};

use super::{Descriptor, Enforcement, Entry, Kind, Raw, SandboxPolicy};

/// A non-blocking description of our own for a terminal that we inherited (ttyname(3)). For a pipe there
/// is no way: a ferry reads and writes.
pub fn reopen(fd: impl AsFd, kind: Kind) -> io::Result<OwnedFd> {
    if kind != Kind::Terminal {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let name = rustix::termios::ttyname(fd, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(name, flags, Mode::empty())?)
}

/// Only `/dev/null` is known not to block.
pub fn never_blocks(fd: impl AsFd) -> bool {
    super::is_null(fd)
}

/// Renames a file, but never onto another one: `AlreadyExists`.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    super::link_new(from, to)
}

/// What is beneath a folder, without opening it.
pub fn kind_beneath(root: &File, place: &[Vec<u8>]) -> io::Result<Entry> {
    super::look_beneath(root, place)
}

/// There is none.
#[derive(Debug)]
pub enum Timer {}

impl Timer {
    /// A poll counts milliseconds.
    pub fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// See `linux/`.
    pub fn set(&self, _time: Duration) -> io::Result<()> {
        match *self {}
    }
}

impl Source for Timer {
    fn register(&mut self, _registry: &Registry, _token: Token, _on: Interest) -> io::Result<()> {
        match *self {}
    }

    fn reregister(&mut self, _registry: &Registry, _token: Token, _on: Interest) -> io::Result<()> {
        match *self {}
    }

    fn deregister(&mut self, _registry: &Registry) -> io::Result<()> {
        match *self {}
    }
}

/// Without openat2(2), no link is followed.
#[cfg(test)]
pub const FOLLOWS_LINKS_BENEATH: bool = false;

/// Opens something beneath a folder, for reading.
pub fn open_beneath(root: &File, place: &[Vec<u8>], folder: bool) -> io::Result<File> {
    super::walk_beneath(root, place, folder)
}

/// Accepts a connection, as a socket that never makes us wait.
pub fn accept(listener: &Descriptor) -> io::Result<(Descriptor, SockAddr)> {
    let (socket, peer) = listener.socket().accept()?;
    socket.set_nonblocking(true)?;
    Ok((socket.into(), peer))
}

/// The kernel moves nothing by itself.
pub fn send_file(_from: Raw<'_>, _to: Raw<'_>, _most: usize) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The kernel moves nothing by itself.
pub fn splice(_from: impl AsFd, _to: impl AsFd, _most: usize) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Throws away up to `most` bytes that have come to a socket; 0 is the end.
pub fn discard(socket: &Descriptor, most: usize) -> io::Result<usize> {
    let mut bytes = [0; 4096];
    let most = most.min(bytes.len());
    let (n, _) =
        super::retry(|| rustix::net::recv(socket, &mut bytes[..most], rustix::net::RecvFlags::DONTWAIT))?;
    Ok(n)
}

/// A pipe is as large as it is.
pub fn enlarge(_pipe: impl AsFd) {}

/// There is never one.
#[derive(Debug)]
pub enum SplicePipe {}

impl SplicePipe {
    /// It would be of no use.
    pub fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// See `linux/`.
    pub fn held(&self) -> usize {
        match *self {}
    }

    /// See `linux/`.
    pub fn fill(&mut self, _from: Raw<'_>, _most: usize) -> io::Result<usize> {
        match *self {}
    }

    /// See `linux/`.
    pub fn drain(&mut self, _to: Raw<'_>, _most: usize) -> io::Result<usize> {
        match *self {}
    }
}

impl Read for SplicePipe {
    fn read(&mut self, _buf: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }
}

/// Datagrams that one call can send.
pub const MAX_SEGMENTS: usize = 1;

/// They go one by one.
pub fn send_segments(_socket: &Descriptor, _buf: &[u8], _segment: usize) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Messages that one call can receive.
pub const MAX_MESSAGES: usize = 1;

/// Nothing is ever waiting to be taken.
#[derive(Debug, Default)]
pub struct Batch {}

impl Batch {
    /// Receives one datagram; never waits. Tells its size, twice.
    pub fn receive(
        &mut self,
        socket: &Descriptor,
        first: &mut [u8],
        _most: usize,
    ) -> io::Result<(usize, usize)> {
        let size = super::receive_from(socket, first)?.size;
        Ok((size, size))
    }

    /// See `linux/`.
    pub fn front(&self) -> Option<(&[u8], usize)> {
        None
    }

    /// See `linux/`.
    pub fn skip_empty(&mut self) {}

    /// See `linux/`.
    pub fn consume(&mut self, _n: usize) {}
}

/// Nothing is spliced here that could stop at it.
pub fn at_mark(_socket: Raw<'_>) -> bool {
    false
}

/// Nothing is given up.
pub fn confine(_policy: &SandboxPolicy) -> io::Result<Enforcement> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A hang-up is told with everything else.
pub const HANGUP_ONLY: Interest = Interest::READABLE;

/// Not known.
pub fn unacknowledged(_socket: &Descriptor) -> u64 {
    0
}

/// Not known.
pub fn dropped(_socket: &Descriptor) -> u64 {
    0
}

/// See `linux/`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TcpInfo {
    /// Smoothed round trip time, in microseconds.
    pub rtt: u32,
    /// Segments that were sent again.
    pub retransmits: u32,
    /// Milliseconds since the peer last acknowledged anything, a probe included.
    pub since_heard: u32,
    /// Whether the connection is over on both sides, a reset being one way: nothing will be acknowledged any more.
    pub closed: bool,
}

/// Not known.
pub fn tcp_info(_socket: &Descriptor) -> Option<TcpInfo> {
    None
}

/// No limit can be passed.
pub fn force_receive_buffer(_socket: &SockRef<'_>, _bytes: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Lets traffic use no other device (macOS: IP_BOUND_IF).
#[cfg(target_vendor = "apple")]
pub fn bind_device(socket: &Socket, _name: &str, index: u32) -> io::Result<()> {
    let index = std::num::NonZeroU32::new(index);
    // The option of the other family is refused.
    socket.bind_device_by_index_v6(index).or_else(|_| socket.bind_device_by_index_v4(index))
}

/// Lets traffic use no other device.
#[cfg(not(target_vendor = "apple"))]
pub fn bind_device(_socket: &Socket, _name: &str, _index: u32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The system's own it is.
pub fn set_congestion(_socket: &Socket, _name: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Not told.
pub fn enable_packet_info(_socket: &SockRef<'_>, _v6: bool) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Sends one datagram; it leaves from the address that the route prefers.
pub fn send_from(
    socket: &Descriptor,
    buf: &[u8],
    to: &SockAddr,
    _from: Option<SocketAddr>,
) -> io::Result<usize> {
    super::send_to(socket, buf, to)
}

/// Not told.
pub fn destination(_message: &libc::msghdr) -> Option<SocketAddr> {
    None
}
