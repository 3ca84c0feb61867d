//! What only Linux has. `portable.rs` mirrors it.

mod datagram;
#[cfg(target_env = "gnu")]
mod linked;
mod sandbox;
mod splice;

pub use self::{datagram::*, sandbox::*, splice::*};

use std::{
    ffi::c_int,
    fs::File,
    io, mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    path::Path,
    time::Duration,
};

use mio::{Interest, Registry, Token, event::Source, unix::SourceFd};
use rustix::{
    event::epoll,
    fs::{CWD, Mode, OFlags, RenameFlags, ResolveFlags},
    io::Errno,
    time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec},
};
use socket2::{SockAddr, SockAddrStorage, SockRef, Socket};

use super::{Descriptor, Entry, Kind, Raw};

/// A non-blocking description of our own for a pipe or a terminal that we inherited (`proc_pid_fd(5)`).
/// A terminal is opened for writing too, for the echo.
pub fn reopen(fd: impl AsFd, kind: Kind) -> io::Result<OwnedFd> {
    let access = match kind {
        Kind::Terminal => OFlags::RDWR,
        Kind::File | Kind::Pipe | Kind::Socket => rustix::fs::fcntl_getfl(&fd)? & OFlags::ACCMODE,
    };
    let path = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// What is beneath a folder, without opening it: a FIFO or a device would notice (open(2), O_PATH).
pub fn kind_beneath(root: &File, place: &[Vec<u8>]) -> io::Result<Entry> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let path = place.join(&b'/');
    match rustix::fs::openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
        Err(Errno::NOSYS | Errno::PERM) => super::look_beneath(root, place),
        found => Ok(Entry::of(&rustix::fs::fstat(found?)?)),
    }
}

/// A clock that wakes a poll at a time finer than the milliseconds a poll counts in (timerfd_create(2)).
#[derive(Debug)]
pub struct Timer(OwnedFd);

impl Timer {
    /// One that is not set.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Self(rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?))
    }

    /// Wakes once, after so long; what it was set to before is forgotten.
    pub fn set(&self, time: Duration) -> io::Result<()> {
        // All zeroes would mean never.
        let time = time.max(Duration::from_nanos(1));
        let it_value = Timespec { tv_sec: time.as_secs().cast_signed(), tv_nsec: time.subsec_nanos().into() };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let spec = Itimerspec { it_interval, it_value };
        rustix::time::timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &spec)?;
        Ok(())
    }
}

impl Source for Timer {
    fn register(&mut self, registry: &Registry, token: Token, on: Interest) -> io::Result<()> {
        SourceFd(&self.0.as_raw_fd()).register(registry, token, on)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, on: Interest) -> io::Result<()> {
        SourceFd(&self.0.as_raw_fd()).reregister(registry, token, on)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.0.as_raw_fd()).deregister(registry)
    }
}

/// Whether a device has no notion of waiting, as `/dev/null` (`epoll_ctl(2)`, EPERM).
pub fn never_blocks(fd: impl AsFd) -> bool {
    let Ok(poll) = epoll::create(epoll::CreateFlags::CLOEXEC) else { return false };
    let data = epoll::EventData::new_u64(0);
    epoll::add(&poll, fd, data, epoll::EventFlags::IN) == Err(Errno::PERM)
}

/// Renames a file, but never onto another one: `AlreadyExists` (rename(2), RENAME_NOREPLACE).
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that cannot.
        Err(Errno::INVAL | Errno::NOSYS) => super::link_new(from, to),
        result => Ok(result?),
    }
}

/// Opens something beneath a folder, for reading: no name and no link in the path leads out of it, not even for a moment
/// (openat2(2), RESOLVE_BENEATH). It never waits, as a FIFO would.
pub fn open_beneath(root: &File, place: &[Vec<u8>], folder: bool) -> io::Result<File> {
    let mut path = place.join(&b'/');
    if path.is_empty() {
        path.push(b'.');
    }
    let mut flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    flags.set(OFlags::DIRECTORY, folder);
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
        // A kernel older than 5.6, or a sandbox that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => super::walk_beneath(root, place, folder),
        result => Ok(result?.into()),
    }
}

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
pub struct Figures {
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
pub fn figures(socket: &Descriptor) -> Option<Figures> {
    let info: libc::tcp_info = option(socket, libc::IPPROTO_TCP, libc::TCP_INFO)?;
    Some(Figures {
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

/// Asks for the address each datagram was sent to (ip(7), `IP_PKTINFO`; ipv6(7), `IPV6_RECVPKTINFO`).
pub fn want_destination(socket: &SockRef<'_>, v6: bool) -> io::Result<()> {
    if v6 {
        set_option(socket.as_raw_fd(), libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)
    } else {
        set_option(socket.as_raw_fd(), libc::IPPROTO_IP, libc::IP_PKTINFO, 1)
    }
}

/// Sends one datagram from one of our addresses (its port does not count) to an address that the socket is not connected
/// to; never waits (ip(7), `IP_PKTINFO`; ipv6(7), `IPV6_PKTINFO`).
pub fn send_from(
    socket: &Descriptor,
    buf: &[u8],
    to: &SockAddr,
    from: Option<SocketAddr>,
) -> io::Result<usize> {
    let Some(from) = from else { return super::send_to(socket, buf, to) };
    let mut control = [0_u64; 8];
    let mut part = libc::iovec { iov_base: buf.as_ptr().cast_mut().cast(), iov_len: buf.len() };
    // SAFETY: all zeroes is a valid `msghdr`.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_name = to.as_ptr().cast_mut().cast();
    message.msg_namelen = to.len();
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: both structures are plain integers, for which all zeroes is valid; there is room for a header and the
    // larger of them, as the control length says.
    unsafe {
        match from {
            SocketAddr::V4(v4) => {
                let mut info: libc::in_pktinfo = mem::zeroed();
                info.ipi_spec_dst.s_addr = u32::from(*v4.ip()).to_be();
                put_control(&mut message, libc::IPPROTO_IP, libc::IP_PKTINFO, info);
            }
            SocketAddr::V6(v6) => {
                let mut info: libc::in6_pktinfo = mem::zeroed();
                info.ipi6_addr.s6_addr = v6.ip().octets();
                info.ipi6_ifindex = v6.scope_id() as _;
                put_control(&mut message, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
            }
        }
    }
    super::retry(|| {
        // SAFETY: every pointer in `message` is valid for the length beside it.
        super::counted(unsafe {
            libc::sendmsg(socket.as_fd().as_raw_fd(), &raw const message, libc::MSG_DONTWAIT)
        })
    })
}

/// Makes `value` the one control message of `message` (cmsg(3)), which must have room for it.
unsafe fn put_control<T>(message: &mut libc::msghdr, level: c_int, kind: c_int, value: T) {
    let size = mem::size_of::<T>() as u32;
    // SAFETY: the caller has seen to the room, and `msg_controllen` tells how much of it is used.
    unsafe {
        message.msg_controllen = libc::CMSG_SPACE(size) as _;
        let header = libc::CMSG_FIRSTHDR(message);
        (*header).cmsg_level = level;
        (*header).cmsg_type = kind;
        (*header).cmsg_len = libc::CMSG_LEN(size) as _;
        libc::CMSG_DATA(header).cast::<T>().write_unaligned(value);
    }
}

/// The address a datagram was sent to (port 0), with its scope, if we asked. Not for a group or a broadcast: nothing can be
/// sent from those.
pub fn destination(message: &libc::msghdr) -> Option<SocketAddr> {
    // SAFETY: the kernel has written the control data and its length.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !header.is_null() {
        // SAFETY: not null, so it points at a header inside the control data.
        let (level, kind) = unsafe { ((*header).cmsg_level, (*header).cmsg_type) };
        // SAFETY: as above.
        let data = unsafe { libc::CMSG_DATA(header) };
        let address = match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                // SAFETY: a message of this type holds an `in_pktinfo`, perhaps not aligned.
                let info: libc::in_pktinfo = unsafe { data.cast::<libc::in_pktinfo>().read_unaligned() };
                let [to, local] =
                    [info.ipi_addr, info.ipi_spec_dst].map(|a| Ipv4Addr::from(u32::from_be(a.s_addr)));
                (to == local).then_some(SocketAddr::new(IpAddr::V4(to), 0))
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                // SAFETY: a message of this type holds an `in6_pktinfo`, perhaps not aligned.
                let info: libc::in6_pktinfo = unsafe { data.cast::<libc::in6_pktinfo>().read_unaligned() };
                let to = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                let scope = if to.is_unicast_link_local() { info.ipi6_ifindex } else { 0 };
                Some(SocketAddrV6::new(to, 0, 0, scope as u32).into())
            }
            _ => None,
        };
        if let Some(address) = address {
            let ip = address.ip().to_canonical();
            return (!ip.is_multicast() && ip != IpAddr::V4(Ipv4Addr::BROADCAST)).then_some(address);
        }
        // SAFETY: `header` is the one the kernel wrote before this.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    None
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

fn set_option(socket: c_int, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
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
pub const END: Interest = Interest::PRIORITY;

/// The state in `tcp_info` (linux/tcp_states.h).
const TCP_CLOSE: u8 = 7;

/// `linux/sockios.h`; libc has no name for it.
const SIOCATMARK: libc::Ioctl = 0x8905;
