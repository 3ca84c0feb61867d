//! Bytes that the kernel moves without a copy into the process.

use std::{
    io::{self, Read},
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use rustix::pipe::{PipeFlags, SpliceFlags};

use crate::sys::{Descriptor, Raw, retry};

/// Moves up to `most` bytes from a file to a socket (sendfile(2)); 0 means EOF.
pub fn send_file(from: Raw<'_>, to: Raw<'_>, most: usize) -> io::Result<usize> {
    retry(|| rustix::fs::sendfile(to, from, None, most))
}

/// Moves up to `most` bytes between two descriptors of which one is a pipe (splice(2)); 0 means EOF.
pub fn splice(from: impl AsFd, to: impl AsFd, most: usize) -> io::Result<usize> {
    retry(|| rustix::pipe::splice(&from, None, &to, None, most, SpliceFlags::NONBLOCK))
}

/// Discards up to `most` received bytes of a TCP socket without copying them (tcp(7), MSG_TRUNC); 0 means EOF.
pub fn discard(socket: &Descriptor, most: usize) -> io::Result<usize> {
    let flags = libc::MSG_TRUNC | libc::MSG_DONTWAIT;
    // SAFETY: with MSG_TRUNC, TCP writes nothing to the buffer, which may be null.
    let n = unsafe { libc::recv(socket.as_fd().as_raw_fd(), std::ptr::null_mut(), most, flags) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// Gives a pipe the capacity of ours if that is permitted (fcntl(2), F_SETPIPE_SZ). Another descriptor is left as it is.
pub fn enlarge_pipe(pipe: impl AsFd) {
    // The pipes of a user share a limit (pipe(7), pipe-user-pages-soft): a small one serves as well.
    if rustix::pipe::fcntl_getpipe_size(&pipe).is_ok_and(|size| size < PIPE_SIZE) {
        let _ = rustix::pipe::fcntl_setpipe_size(&pipe, PIPE_SIZE);
    }
}

/// A pipe between two descriptors that are none, which splice(2) needs.
#[derive(Debug)]
pub struct SplicePipe {
    reader: OwnedFd,
    writer: OwnedFd,
    held: usize,
}

impl SplicePipe {
    /// Creates an empty pipe. `Unsupported` if it would be too small to be worth it.
    pub fn new() -> io::Result<Self> {
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        enlarge_pipe(&writer);
        // Beyond pipe-user-pages-soft, new pipes are one or two pages (pipe(7)).
        if rustix::pipe::fcntl_getpipe_size(&writer)? < MIN_PIPE_SIZE {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Self { reader, writer, held: 0 })
    }

    /// Returns the number of bytes in the pipe.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Moves up to `most` bytes from the source into the pipe; 0 means EOF.
    pub fn fill(&mut self, from: Raw<'_>, most: usize) -> io::Result<usize> {
        let n = splice(from, &self.writer, most.min(PIPE_SIZE))?;
        self.held += n;
        Ok(n)
    }

    /// Moves up to `most` bytes from the pipe to the sink.
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

/// Bytes of the smallest pipe worth using.
const MIN_PIPE_SIZE: usize = 64 << 10;

/// Bytes of a pipe: the default limit for an unprivileged user (pipe(7), pipe-max-size).
const PIPE_SIZE: usize = 1 << 20;
