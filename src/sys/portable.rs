//! The names of `linux/` for kernels without these abilities. Callers already handle `Unsupported`, which older Linux
//! kernels return as well.

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

/// Opens a non-blocking description of our own for an inherited terminal (ttyname(3)). A pipe has no name: a thread reads
/// and writes it.
pub fn reopen(fd: impl AsFd, kind: Kind) -> io::Result<OwnedFd> {
    if kind != Kind::Terminal {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let name = rustix::termios::ttyname(fd, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(name, flags, Mode::empty())?)
}

/// Tells whether this is `/dev/null`, the only device that is known not to block.
pub fn never_blocks(fd: impl AsFd) -> bool {
    super::is_null(fd)
}

/// Renames a file, but never replaces one: `AlreadyExists`.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    super::link_new(from, to)
}

/// Returns the type of the entry beneath a folder without opening it.
pub fn kind_beneath(root: &File, path: &[Vec<u8>]) -> io::Result<Entry> {
    super::look_beneath(root, path)
}

/// A timer that cannot exist.
#[derive(Debug)]
pub enum Timer {}

impl Timer {
    /// Fails: the timeout of a poll must do.
    pub fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Never called: no value exists.
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

/// Whether [`open_beneath`] follows a symbolic link that stays beneath the folder.
#[cfg(test)]
pub const FOLLOWS_LINKS_BENEATH: bool = false;

/// Opens a file or folder beneath `root` for reading; follows no link.
pub fn open_beneath(root: &File, path: &[Vec<u8>], folder: bool) -> io::Result<File> {
    super::walk_beneath(root, path, folder)
}

/// Accepts a connection as a non-blocking socket.
pub fn accept(listener: &Descriptor) -> io::Result<(Descriptor, SockAddr)> {
    let (socket, peer) = listener.socket().accept()?;
    socket.set_nonblocking(true)?;
    Ok((socket.into(), peer))
}

/// Fails: sendfile(2) differs between systems.
pub fn send_file(_from: Raw<'_>, _to: Raw<'_>, _most: usize) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Fails: only Linux has splice(2).
pub fn splice(_from: impl AsFd, _to: impl AsFd, _most: usize) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Discards up to `most` received bytes of a socket; 0 means EOF.
pub fn discard(socket: &Descriptor, most: usize) -> io::Result<usize> {
    let mut bytes = [0; 4096];
    let most = most.min(bytes.len());
    let (n, _) =
        super::retry(|| rustix::net::recv(socket, &mut bytes[..most], rustix::net::RecvFlags::DONTWAIT))?;
    Ok(n)
}

/// Does nothing: the capacity of a pipe is fixed.
pub fn enlarge_pipe(_pipe: impl AsFd) {}

/// A pipe that cannot exist.
#[derive(Debug)]
pub enum SplicePipe {}

impl SplicePipe {
    /// Fails: splice(2) is missing.
    pub fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Never called: no value exists.
    pub fn held(&self) -> usize {
        match *self {}
    }

    /// Never called: no value exists.
    pub fn fill(&mut self, _from: Raw<'_>, _most: usize) -> io::Result<usize> {
        match *self {}
    }

    /// Never called: no value exists.
    pub fn drain(&mut self, _to: Raw<'_>, _most: usize) -> io::Result<usize> {
        match *self {}
    }
}

impl Read for SplicePipe {
    fn read(&mut self, _buf: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }
}

/// The most datagrams that one call can send.
pub const MAX_SEGMENTS: usize = 1;

/// Fails: each datagram needs its own call.
pub fn send_segments(_socket: &Descriptor, _buf: &[u8], _segment: usize) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The most messages that one call can receive.
pub const MAX_MESSAGES: usize = 1;

/// A batch that never holds a datagram back.
#[derive(Debug, Default)]
pub struct Batch {}

impl Batch {
    /// Receives one datagram into `first`; never blocks. Returns its size, twice.
    pub fn receive(
        &mut self,
        socket: &Descriptor,
        first: &mut [u8],
        _most: usize,
    ) -> io::Result<(usize, usize)> {
        let size = super::receive_from(socket, first)?.size;
        Ok((size, size))
    }

    /// Returns `None`: each datagram is received by a call of its own.
    pub fn front(&self) -> Option<(&[u8], usize)> {
        None
    }

    /// Does nothing.
    pub fn skip_empty(&mut self) {}

    /// Does nothing.
    pub fn consume(&mut self, _n: usize) {}
}

/// Returns `false`: without splice(2), the urgent mark stops no read.
pub fn at_mark(_socket: Raw<'_>) -> bool {
    false
}

/// Fails: no rights can be given up.
pub fn confine(_policy: &SandboxPolicy) -> io::Result<Enforcement> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The interest in a hang-up, which is reported only together with readiness.
pub const HANGUP_ONLY: Interest = Interest::READABLE;

/// Returns 0: the number is unknown.
pub fn unacknowledged(_socket: &Descriptor) -> u64 {
    0
}

/// Returns 0: the number is unknown.
pub fn dropped(_socket: &Descriptor) -> u64 {
    0
}

/// The state of a TCP connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TcpInfo {
    /// Smoothed round trip time, in microseconds.
    pub rtt: u32,
    /// Segments that were retransmitted.
    pub retransmits: u32,
    /// Milliseconds since the last ACK of the peer, those to keepalive probes included.
    pub since_heard: u32,
    /// Whether the connection is closed in both directions, by FINs or a reset: no further ACK will follow.
    pub closed: bool,
}

/// Returns `None`: the state is unknown.
pub fn tcp_info(_socket: &Descriptor) -> Option<TcpInfo> {
    None
}

/// Fails: the system's limit holds.
pub fn force_receive_buffer(_socket: &SockRef<'_>, _bytes: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Binds a socket to an interface (macOS: IP_BOUND_IF).
#[cfg(target_vendor = "apple")]
pub fn bind_device(socket: &Socket, _name: &str, index: u32) -> io::Result<()> {
    let index = std::num::NonZeroU32::new(index);
    // A socket refuses the option of the other address family.
    socket.bind_device_by_index_v6(index).or_else(|_| socket.bind_device_by_index_v4(index))
}

/// Fails: a socket cannot be bound to an interface.
#[cfg(not(target_vendor = "apple"))]
pub fn bind_device(_socket: &Socket, _name: &str, _index: u32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Fails: the system chooses the algorithm.
pub fn set_congestion(_socket: &Socket, _name: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Fails: the kernel does not report the address.
pub fn enable_packet_info(_socket: &SockRef<'_>, _v6: bool) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Sends one datagram; its source is the address that the route prefers.
pub fn send_from(
    socket: &Descriptor,
    buf: &[u8],
    to: &SockAddr,
    _from: Option<SocketAddr>,
) -> io::Result<usize> {
    super::send_to(socket, buf, to)
}

/// Returns `None`: the kernel does not report the address.
pub fn destination(_message: &libc::msghdr) -> Option<SocketAddr> {
    None
}
