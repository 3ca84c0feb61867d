//! Sockets, beyond what socket2 has, and the names of interfaces and services.

use std::{
    ffi::{CStr, CString},
    io, mem,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd},
    time::Duration,
};

use socket2::{SockAddr, SockRef, TcpKeepalive};

use super::{counted, retry};
use crate::sys::{Descriptor, destination};

/// A datagram that was received into a buffer.
#[derive(Debug)]
pub struct ReceivedDatagram {
    /// Bytes in the buffer.
    pub size: usize,
    /// Whether the datagram was larger than the buffer.
    pub truncated: bool,
    /// The sender's address.
    pub from: SockAddr,
    /// The local address that it was sent to, if the kernel reports it ([`crate::sys::enable_packet_info`]).
    pub to: Option<SocketAddr>,
}

/// Sends one datagram from an unconnected socket (sendto(2)); never blocks.
pub fn send_to(socket: &Descriptor, buf: &[u8], to: &SockAddr) -> io::Result<usize> {
    socket.socket().send_to_with_flags(buf, to, libc::MSG_DONTWAIT)
}

/// Makes TCP probe a silent peer after `time`, and every `time` from then on; `probes` unanswered ones end the connection
/// (tcp(7), TCP_KEEPIDLE). `time` is cut to whole seconds, at least one.
pub fn set_keepalive(socket: &SockRef<'_>, time: Duration, probes: u32) -> io::Result<()> {
    let time = Duration::from_secs(time.as_secs().max(1));
    let settings = TcpKeepalive::new().with_time(time).with_interval(time).with_retries(probes);
    socket.set_tcp_keepalive(&settings)
}

/// Returns the number of received bytes that were not read yet (ioctl(2), FIONREAD).
pub fn unread(socket: &Descriptor) -> u64 {
    rustix::io::ioctl_fionread(socket).unwrap_or(0)
}

/// Receives one datagram (recvmsg(2)); never blocks.
pub fn receive_from(socket: &Descriptor, buf: &mut [u8]) -> io::Result<ReceivedDatagram> {
    let mut control = [0_u64; 16];
    let mut part = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
    // SAFETY: all zeroes is a valid `msghdr`.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = mem::size_of_val(&control) as _;

    let receive = |storage: *mut socket2::SockAddrStorage, length: *mut libc::socklen_t| {
        message.msg_name = storage.cast();
        // SAFETY: `length` is valid for reads and holds the size of `storage`.
        message.msg_namelen = unsafe { *length };
        let size = retry(|| {
            // SAFETY: every pointer in `message` is valid for the length beside it.
            counted(unsafe {
                libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT)
            })
        })?;
        // SAFETY: `length` is valid for writes.
        unsafe { *length = message.msg_namelen };
        Ok(size)
    };

    // SAFETY: recvmsg has filled in the address and its length.
    let (size, from) = unsafe { SockAddr::try_init(receive) }?;
    Ok(ReceivedDatagram {
        size,
        truncated: message.msg_flags & libc::MSG_TRUNC != 0,
        from,
        to: destination(&message),
    })
}

/// Returns the index of an interface (if_nametoindex(3)).
pub fn interface_index(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: `name` is a C string.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (index != 0).then_some(index)
}

/// Returns the name of an interface (if_indextoname(3)).
pub fn interface_name(index: u32) -> Option<String> {
    let mut name = [0_u8; libc::IF_NAMESIZE];
    // SAFETY: `name` has the size that the call demands.
    let found = unsafe { libc::if_indextoname(index, name.as_mut_ptr().cast()) };
    let name = CStr::from_bytes_until_nul(&name).ok()?;
    (!found.is_null()).then(|| name.to_string_lossy().into_owned())
}

/// Returns the name of the service at a port, such as `http` (getnameinfo(3), services(5)). No host is looked up.
pub fn service_name(port: u16, datagram: bool) -> Option<String> {
    let address = SocketAddr::from(([0, 0, 0, 0], port));
    let flags = libc::NI_NUMERICHOST | if datagram { libc::NI_DGRAM } else { 0 };
    let (_, service) = dns_lookup::getnameinfo(&address, flags).ok()?;
    service.parse::<u16>().is_err().then_some(service)
}
