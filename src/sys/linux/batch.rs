//! Many datagrams in one call.

use std::{
    collections::VecDeque,
    ffi::c_int,
    io, mem,
    ops::Range,
    os::fd::{AsFd, AsRawFd},
    ptr,
};

use crate::sys::{Descriptor, MisalignedBuffer, counted, retry};

/// The most datagrams that one call can send (udp(7), UDP_SEGMENT; UDP_MAX_SEGMENTS of linux/udp.h).
pub const MAX_SEGMENTS: usize = 64;

/// The most messages that one call can receive.
pub const MAX_MESSAGES: usize = 16;

/// Sends `buf` from a connected socket as datagrams of `segment` bytes each, the last one perhaps shorter; at most
/// [`MAX_SEGMENTS`]. A device or path without the offload refuses the whole call (udp(7), UDP_SEGMENT).
pub fn send_segments(socket: &Descriptor, buf: &[u8], segment: usize) -> io::Result<usize> {
    let segment = u16::try_from(segment).map_err(|_| io::ErrorKind::Unsupported)?;
    let mut control = [0_u64; CONTROL_WORDS];
    let mut part = libc::iovec { iov_base: buf.as_ptr().cast_mut().cast(), iov_len: buf.len() };
    // SAFETY: all zeroes is a valid `msghdr`.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();

    // SAFETY: there is room for one header and two bytes.
    unsafe { super::packet_info::put_control(&mut message, libc::SOL_UDP, libc::UDP_SEGMENT, segment) };
    retry(|| {
        // SAFETY: every pointer in `message` is valid for the length beside it.
        counted(unsafe { libc::sendmsg(socket.as_fd().as_raw_fd(), &raw const message, libc::MSG_DONTWAIT) })
    })
}

/// Datagrams that were received in one call and not consumed yet (recvmmsg(2)); the kernel may have put several of one
/// size into one message (udp(7), UDP_GRO). The batch starts with room for one message, and grows while calls fill it.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: MisalignedBuffer,
    /// Messages that the last call had room for.
    slots: usize,
    /// Messages that the last call received.
    received: usize,
    groups: VecDeque<Group>,
}

/// Datagrams of one message.
#[derive(Debug)]
struct Group {
    at: Range<usize>,
    /// Bytes of each datagram; the last one may be shorter.
    segment: usize,
}

impl Batch {
    /// Receives up to `most` messages from a connected socket, the first of them into `first`, which must have room for
    /// 64 KiB; never blocks. Returns the bytes of the first message, and the length of each datagram in it but the last.
    /// Must be called only after all datagrams of the last call were consumed.
    pub fn receive(
        &mut self,
        socket: &Descriptor,
        first: &mut [u8],
        most: usize,
    ) -> io::Result<(usize, usize)> {
        self.make_room(socket, most);
        let mut controls = [[0_u64; CONTROL_WORDS]; MAX_MESSAGES];
        let mut parts = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; MAX_MESSAGES];
        // SAFETY: all zeroes is a valid `mmsghdr`.
        let mut messages: [libc::mmsghdr; MAX_MESSAGES] = unsafe { mem::zeroed() };
        let slots = std::iter::once(first).chain(self.bytes.chunks_exact_mut(MAX_MESSAGE));
        for (((slot, control), part), message) in slots.zip(&mut controls).zip(&mut parts).zip(&mut messages)
        {
            *part = libc::iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: slot.len() };
            message.msg_hdr.msg_iov = part;
            message.msg_hdr.msg_iovlen = 1;
            message.msg_hdr.msg_control = control.as_mut_ptr().cast();
            message.msg_hdr.msg_controllen = mem::size_of_val(control) as _;
        }

        let (fd, room, flags) = (socket.as_fd().as_raw_fd(), self.slots as _, libc::MSG_DONTWAIT as _);
        let count = retry(|| {
            // SAFETY: the first `room` messages have pointers that are valid for the lengths beside them.
            let count = unsafe { libc::recvmmsg(fd, messages.as_mut_ptr(), room, flags, ptr::null_mut()) };
            counted(count as isize)
        })?;

        let sizes = |message: &libc::mmsghdr| {
            let size = message.msg_len as usize;
            (size, segment(&message.msg_hdr).unwrap_or(size))
        };
        // The first message went into the caller's buffer.
        for (slot, message) in messages[..count].iter().skip(1).enumerate() {
            let (size, segment) = sizes(message);
            self.groups.push_back(Group { at: slot * MAX_MESSAGE..slot * MAX_MESSAGE + size, segment });
        }
        self.received = count;
        Ok(sizes(&messages[0]))
    }

    /// Makes room for more messages if the last call has filled it. The first call turns offloading on.
    fn make_room(&mut self, socket: &Descriptor, most: usize) {
        if self.slots == 0 {
            // A kernel without the option delivers each datagram in a message of its own.
            let _ = super::sockets::set_option(socket.as_fd().as_raw_fd(), libc::SOL_UDP, libc::UDP_GRO, 1);
        }
        if self.received == self.slots && self.slots < most {
            self.slots = (self.slots * 4).clamp(1, most.min(MAX_MESSAGES));
            // Untouched pages take no memory.
            self.bytes = MisalignedBuffer::new((self.slots - 1) * MAX_MESSAGE);
        }
    }

    /// Returns the datagrams of the first message that is left, one after the other, and the length of each but the last.
    pub fn front(&self) -> Option<(&[u8], usize)> {
        self.groups.front().map(|group| (&self.bytes[group.at.clone()], group.segment))
    }

    /// Consumes the datagram at the front, which is empty.
    pub fn skip_empty(&mut self) {
        self.groups.pop_front();
    }

    /// Consumes `n` bytes at the front, which are whole datagrams.
    pub fn consume(&mut self, n: usize) {
        let Some(group) = self.groups.front_mut() else { return };
        group.at.start += n;
        if group.at.is_empty() {
            self.groups.pop_front();
        }
    }
}

/// Returns the size of the datagrams that the kernel put into one message, if it did.
fn segment(message: &libc::msghdr) -> Option<usize> {
    // SAFETY: the kernel has written the control data and its length.
    let header = unsafe { libc::CMSG_FIRSTHDR(message) };
    if header.is_null() {
        return None;
    }
    // SAFETY: not null, so it points at a header inside the control data.
    let (level, kind) = unsafe { ((*header).cmsg_level, (*header).cmsg_type) };
    if (level, kind) != (libc::SOL_UDP, libc::UDP_GRO) {
        return None;
    }

    // SAFETY: a message of this type holds an int, perhaps not aligned.
    let size = unsafe { libc::CMSG_DATA(header).cast::<c_int>().read_unaligned() };
    usize::try_from(size).ok().filter(|size| *size > 0)
}

/// Bytes of the largest message: one datagram, or several that the kernel put together.
const MAX_MESSAGE: usize = 1 << 16;

/// 64-bit words of control data, which holds one number.
const CONTROL_WORDS: usize = 4;

#[cfg(test)]
mod tests {
    use socket2::{Domain, Socket, Type};

    use super::*;

    /// Returns two sockets that are connected to each other.
    fn pair() -> (Descriptor, Descriptor) {
        let [one, other] = [(); 2].map(|()| {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
            socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        });
        one.connect(&other.local_addr().unwrap()).unwrap();
        other.connect(&one.local_addr().unwrap()).unwrap();
        (one.into(), other.into())
    }

    /// Receives all pending datagrams: their sizes in order, and their bytes.
    fn receive_all(batch: &mut Batch, socket: &Descriptor) -> (Vec<usize>, Vec<u8>) {
        let (mut sizes, mut bytes) = (Vec::new(), Vec::new());
        let mut take = |group: &[u8], segment: usize| {
            if group.is_empty() {
                sizes.push(0);
            }
            sizes.extend(group.chunks(segment.max(1)).map(<[u8]>::len));
            bytes.extend_from_slice(group);
        };

        let mut first = vec![0; MAX_MESSAGE];
        while let Ok((size, segment)) = batch.receive(socket, &mut first, MAX_MESSAGES) {
            take(&first[..size], segment);
            while let Some((group, segment)) = batch.front() {
                take(group, segment);
                match group.len() {
                    0 => batch.skip_empty(),
                    n => batch.consume(n),
                }
            }
        }
        (sizes, bytes)
    }

    #[test]
    fn each_datagram_keeps_its_size_and_position() {
        let (from, to) = pair();
        let bytes: Vec<u8> = (0..200_000_u32).map(|i| (i % 251) as u8).collect();
        let mut batch = Batch::default();

        // The batch grows from call to call.
        for _ in 0..3 {
            let (mut sent, mut wanted) = (0, Vec::new());
            for (total, segment) in
                [(5, 5), (14_100, 1400), (0, 1), (60_000, 1000), (1, 1), (0, 1), (3000, 1400)]
            {
                let piece = &bytes[sent..sent + total];
                if total > segment {
                    assert_eq!(send_segments(&from, piece, segment).unwrap(), total);
                    wanted.extend(piece.chunks(segment).map(<[u8]>::len));
                } else {
                    assert_eq!(from.socket().send(piece).unwrap(), total);
                    wanted.push(total);
                }
                sent += total;
            }
            let (sizes, received) = receive_all(&mut batch, &to);
            assert_eq!(sizes, wanted);
            assert!(received == bytes[..sent]);
        }
        assert_eq!(batch.slots, MAX_MESSAGES);
    }

    #[test]
    fn segments_too_large_or_too_many_are_refused_as_a_whole() {
        let (from, to) = pair();
        for (total, segment) in [(2 * 65_000, 65_000), (200 * 300, 200), (70_000, 70_000)] {
            let error = send_segments(&from, &vec![7; total], segment).unwrap_err();
            assert!(crate::sys::is_offload_refusal(&error), "{total} by {segment}: {error}");
        }
        assert!(receive_all(&mut Batch::default(), &to).0.is_empty());
    }
}
