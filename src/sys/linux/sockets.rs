//! Sockets, as only Linux has them.

use std::{
    ffi::c_int,
    io, mem,
    os::fd::{AsFd, AsRawFd, FromRawFd},
};

use mio::Interest;
use socket2::{SockAddr, SockAddrStorage, SockRef, Socket};

use crate::sys::{Descriptor, Raw};

/// Accepts a connection, as a socket that never makes us wait (accept4(2)).
pub fn accept(listener: &Descriptor) -> io::Result<(Descriptor, SockAddr)> {
    let accept = |storage: *mut SockAddrStorage, length: *mut libc::socklen_t| {
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: `length` holds the size of `storage`, and both are valid for writes.
        let fd = unsafe { libc::accept4(listener.as_fd().as_raw_fd(), storage.cast(), length, flags) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made it, and nobody else has it.
        Ok(unsafe { Socket::from_raw_fd(fd) })
    };
    // SAFETY: accept4 has filled in the address, and told its length.
    let (socket, peer) = unsafe { SockAddr::try_init(accept) }?;
    Ok((socket.into(), peer))
}

/// Bytes that a TCP peer has not acknowledged yet (tcp(7), SIOCOUTQ); an end of ours that is under
/// way counts as one.
pub fn unacknowledged(socket: &Descriptor) -> u64 {
    let mut held: c_int = 0;
    // SAFETY: SIOCOUTQ, which is TIOCOUTQ, writes one int.
    let asked = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut held) };
    if asked == 0 { u64::try_from(held).unwrap_or(0) } else { 0 }
}

/// Whether the next byte of a socket is urgent (sockatmark(3)): splice(2) stops there, as if nothing more had come.
pub fn at_mark(socket: Raw<'_>) -> bool {
    let mut at: c_int = 0;
    // SAFETY: SIOCATMARK writes one int.
    let asked = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), SIOCATMARK, &raw mut at) };
    asked == 0 && at != 0
}

/// Datagrams that came but found the socket's buffer full (socket(7), `SO_MEMINFO`).
pub fn dropped(socket: &Descriptor) -> u64 {
    // sock_diag(7): SK_MEMINFO_DROPS is the ninth and last.
    let figures: [u32; 9] = option(socket, libc::SOL_SOCKET, libc::SO_MEMINFO).unwrap_or_default();
    figures[8].into()
}

/// What TCP knows of the line (tcp(7), `TCP_INFO`).
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

/// Asks TCP; `None` where the socket is not TCP.
pub fn tcp_info(socket: &Descriptor) -> Option<TcpInfo> {
    let info: libc::tcp_info = option(socket, libc::IPPROTO_TCP, libc::TCP_INFO)?;
    Some(TcpInfo {
        rtt: info.tcpi_rtt,
        retransmits: info.tcpi_total_retrans,
        since_heard: info.tcpi_last_ack_recv,
        closed: info.tcpi_state == TCP_CLOSE,
    })
}

/// Sets the receive buffer beyond the system's limit where we may (socket(7), `SO_RCVBUFFORCE`).
pub fn force_receive_buffer(socket: &SockRef<'_>, bytes: usize) -> io::Result<()> {
    let bytes = c_int::try_from(bytes).unwrap_or(c_int::MAX);
    set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes)
}

/// Lets traffic use no other device (socket(7), `SO_BINDTODEVICE`).
pub fn bind_device(socket: &Socket, name: &str, _index: u32) -> io::Result<()> {
    socket.bind_device(Some(name.as_bytes()))
}

/// Chooses the congestion control (tcp(7), `TCP_CONGESTION`).
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

/// Wakes us for a hang-up or an error, and not for what is for others (epoll_ctl(2): those are always told).
pub const HANGUP_ONLY: Interest = Interest::PRIORITY;

/// The state in `tcp_info` (linux/tcp_states.h).
const TCP_CLOSE: u8 = 7;

/// `linux/sockios.h`; libc has no name for it.
const SIOCATMARK: libc::Ioctl = 0x8905;
