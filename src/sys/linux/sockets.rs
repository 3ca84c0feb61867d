//! Sockets, as only Linux has them.

use std::{
    ffi::c_int,
    io, mem,
    os::fd::{AsFd, AsRawFd, FromRawFd},
};

use mio::Interest;
use socket2::{SockAddr, SockAddrStorage, SockRef, Socket};

use crate::sys::{Descriptor, Raw};

/// Accepts a connection as a non-blocking socket (accept4(2)).
pub fn accept(listener: &Descriptor) -> io::Result<(Descriptor, SockAddr)> {
    let accept = |storage: *mut SockAddrStorage, length: *mut libc::socklen_t| {
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: `length` holds the size of `storage`, and both are valid for writes.
        let fd = unsafe { libc::accept4(listener.as_fd().as_raw_fd(), storage.cast(), length, flags) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just created it, so no other value owns it.
        Ok(unsafe { Socket::from_raw_fd(fd) })
    };

    // SAFETY: accept4 has filled in the address and its length.
    let (socket, peer) = unsafe { SockAddr::try_init(accept) }?;
    Ok((socket.into(), peer))
}

/// Returns the number of bytes that a TCP peer has not acknowledged yet (tcp(7), SIOCOUTQ); an unacknowledged FIN of ours
/// counts as one.
pub fn unacknowledged(socket: &Descriptor) -> u64 {
    let mut held: c_int = 0;
    // SAFETY: SIOCOUTQ, which is TIOCOUTQ, writes one int.
    let asked = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut held) };
    if asked == 0 { u64::try_from(held).unwrap_or(0) } else { 0 }
}

/// Tells whether the next byte of a socket is urgent (sockatmark(3)): splice(2) stops there, as if no byte followed.
pub fn at_mark(socket: Raw<'_>) -> bool {
    let mut at: c_int = 0;
    // SAFETY: SIOCATMARK writes one int.
    let asked = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), SIOCATMARK, &raw mut at) };
    asked == 0 && at != 0
}

/// Returns the number of datagrams that were dropped because the receive buffer was full (socket(7), SO_MEMINFO).
pub fn dropped(socket: &Descriptor) -> u64 {
    // sock_diag(7): SK_MEMINFO_DROPS is the ninth and last.
    let counters: [u32; 9] = option(socket, libc::SOL_SOCKET, libc::SO_MEMINFO).unwrap_or_default();
    counters[8].into()
}

/// The state of a TCP connection (tcp(7), TCP_INFO).
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

/// Returns the state of a TCP connection; `None` for another socket.
pub fn tcp_info(socket: &Descriptor) -> Option<TcpInfo> {
    let info: libc::tcp_info = option(socket, libc::IPPROTO_TCP, libc::TCP_INFO)?;
    Some(TcpInfo {
        rtt: info.tcpi_rtt,
        retransmits: info.tcpi_total_retrans,
        since_heard: info.tcpi_last_ack_recv,
        closed: info.tcpi_state == TCP_CLOSE,
    })
}

/// Sets the receive buffer beyond the system's limit, which needs CAP_NET_ADMIN (socket(7), SO_RCVBUFFORCE).
pub fn force_receive_buffer(socket: &SockRef<'_>, bytes: usize) -> io::Result<()> {
    let bytes = c_int::try_from(bytes).unwrap_or(c_int::MAX);
    set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes)
}

/// Binds a socket to an interface (socket(7), SO_BINDTODEVICE).
pub fn bind_device(socket: &Socket, name: &str, _index: u32) -> io::Result<()> {
    socket.bind_device(Some(name.as_bytes()))
}

/// Chooses the congestion control algorithm (tcp(7), TCP_CONGESTION).
pub fn set_congestion(socket: &Socket, name: &str) -> io::Result<()> {
    socket.set_tcp_congestion(name.as_bytes())
}

fn option<T>(socket: &Descriptor, level: c_int, name: c_int) -> Option<T> {
    // SAFETY: every `T` we ask for is plain integers, for which all zeroes is valid.
    let mut value: T = unsafe { mem::zeroed() };
    let mut length = libc::socklen_t::try_from(mem::size_of::<T>()).ok()?;
    // SAFETY: `value` is valid for writes of `length` bytes.
    let asked = unsafe {
        libc::getsockopt(socket.as_fd().as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut length)
    };
    (asked == 0).then_some(value)
}

pub(super) fn set_option(socket: c_int, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: `value` is valid for reads of its own size.
    let asked = unsafe {
        libc::setsockopt(
            socket,
            level,
            name,
            (&raw const value).cast(),
            mem::size_of::<c_int>() as libc::socklen_t,
        )
    };
    if asked == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The interest in a hang-up or an error alone, which epoll_ctl(2) always reports: another process reads this socket.
pub const HANGUP_ONLY: Interest = Interest::PRIORITY;

/// A closed connection in `tcpi_state` (linux/tcp_states.h).
const TCP_CLOSE: u8 = 7;

/// From linux/sockios.h; libc has no name for it.
const SIOCATMARK: libc::Ioctl = 0x8905;
