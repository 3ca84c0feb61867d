//! The local address of a datagram: the one it was sent to, and the one its answer leaves from.

use std::{
    ffi::c_int,
    io, mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    os::fd::{AsFd, AsRawFd},
};

use socket2::{SockAddr, SockRef};

use super::sockets::set_option;
use crate::sys::Descriptor;

/// Makes the kernel report the address each datagram was sent to (ip(7), IP_PKTINFO; ipv6(7), IPV6_RECVPKTINFO).
pub fn enable_packet_info(socket: &SockRef<'_>, v6: bool) -> io::Result<()> {
    if v6 {
        set_option(socket.as_raw_fd(), libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)
    } else {
        set_option(socket.as_raw_fd(), libc::IPPROTO_IP, libc::IP_PKTINFO, 1)
    }
}

/// Sends one datagram from an unconnected socket and from one of our addresses, whose port is ignored; never blocks (ip(7),
/// IP_PKTINFO; ipv6(7), IPV6_PKTINFO).
pub fn send_from(
    socket: &Descriptor,
    buf: &[u8],
    to: &SockAddr,
    from: Option<SocketAddr>,
) -> io::Result<usize> {
    let Some(from) = from else { return crate::sys::send_to(socket, buf, to) };
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

    crate::sys::retry(|| {
        // SAFETY: every pointer in `message` is valid for the length beside it.
        crate::sys::counted(unsafe {
            libc::sendmsg(socket.as_fd().as_raw_fd(), &raw const message, libc::MSG_DONTWAIT)
        })
    })
}

/// Writes `value` as the only control message of `message` (cmsg(3)), whose control buffer must have room for it.
pub(super) unsafe fn put_control<T>(message: &mut libc::msghdr, level: c_int, kind: c_int, value: T) {
    let size = mem::size_of::<T>() as u32;
    // SAFETY: the caller guarantees the room, and `msg_controllen` limits the kernel to the part that is written.
    unsafe {
        message.msg_controllen = libc::CMSG_SPACE(size) as _;
        let header = libc::CMSG_FIRSTHDR(message);
        (*header).cmsg_level = level;
        (*header).cmsg_type = kind;
        (*header).cmsg_len = libc::CMSG_LEN(size) as _;
        libc::CMSG_DATA(header).cast::<T>().write_unaligned(value);
    }
}

/// Returns the address a datagram was sent to (port 0), with its scope, if [`enable_packet_info`] was called. `None` for
/// a multicast group or a broadcast, which cannot be the source of an answer.
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
                // ip(7): `ipi_addr` is the destination in the header; it differs from the local address for a broadcast.
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

        // SAFETY: `header` is one that the kernel wrote.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    None
}
