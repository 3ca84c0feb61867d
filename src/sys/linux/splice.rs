//! Bytes that the kernel moves by itself.

use std::{
    io::{self, Read},
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use rustix::pipe::{PipeFlags, SpliceFlags};

use crate::sys::{Descriptor, Raw, retry};

/// Moves up to `most` bytes of a file to a socket; 0 is the end of the file (sendfile(2)).
pub fn send_file(from: Raw<'_>, to: Raw<'_>, most: usize) -> io::Result<usize> {
    retry(|| rustix::fs::sendfile(to, from, None, most))
}

/// Moves up to `most` bytes, one of both being a pipe; 0 is the end of the source (splice(2)).
pub fn splice(from: impl AsFd, to: impl AsFd, most: usize) -> io::Result<usize> {
    retry(|| rustix::pipe::splice(&from, None, &to, None, most, SpliceFlags::NONBLOCK))
}

/// Throws away up to `most` bytes that have come to a TCP socket, without copying them (tcp(7), MSG_TRUNC); 0 is the
/// end.
pub fn discard(socket: &Descriptor, most: usize) -> io::Result<usize> {
    let flags = libc::MSG_TRUNC | libc::MSG_DONTWAIT;
    // SAFETY: with MSG_TRUNC, TCP writes nothing to the buffer, which may be null.
    let n = unsafe { libc::recv(socket.as_fd().as_raw_fd(), std::ptr::null_mut(), most, flags) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// Lets a pipe hold as much as one of ours does, if we may (fcntl(2), F_SETPIPE_SZ). What is no pipe stays
/// as it is.
pub fn enlarge(pipe: impl AsFd) {
    // The system may limit what all pipes of a user hold (pipe(7)): a small one serves as well.
    if rustix::pipe::fcntl_getpipe_size(&pipe).is_ok_and(|size| size < PIPE_SIZE) {
        let _ = rustix::pipe::fcntl_setpipe_size(&pipe, PIPE_SIZE);
    }
}

/// A pipe of ours, where splice(2) must have one and neither side is.
#[derive(Debug)]
pub struct SplicePipe {
    reader: OwnedFd,
    writer: OwnedFd,
    held: usize,
}

impl SplicePipe {
    /// An empty one.
    pub fn new() -> io::Result<Self> {
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        enlarge(&writer);
        // A user who has many pipes gets very small ones (pipe(7)).
        if rustix::pipe::fcntl_getpipe_size(&writer)? < LEAST {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Self { reader, writer, held: 0 })
    }

    /// Bytes that are in it.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Moves in what the source has, up to `most` bytes; 0 is its end.
    pub fn fill(&mut self, from: Raw<'_>, most: usize) -> io::Result<usize> {
        let n = splice(from, &self.writer, most.min(PIPE_SIZE))?;
        self.held += n;
        Ok(n)
    }

    /// Moves up to `most` bytes out.
    pub fn drain(&mut self, to: Raw<'_>, most: usize) -> io::Result<usize> {
        let n = splice(&self.reader, to, most.min(self.held))?;
        self.held -= n;
        Ok(n)
    }
}

impl Read for SplicePipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = retry(|| rustix::io::read(&self.reader, &mut *buf))?;
        self.held -= n;
        Ok(n)
    }
}

/// Bytes in a pipe that is worth having.
const LEAST: usize = 64 << 10;

/// Bytes in a pipe: what an unprivileged user may have (pipe(7), pipe-max-size).
const PIPE_SIZE: usize = 1 << 20;
