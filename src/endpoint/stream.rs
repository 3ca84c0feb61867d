//! A connected stream socket of any family.

use std::{
    io::{self, IoSlice, Read, Write},
    net::Shutdown,
    time::Duration,
};

use super::Endpoint;
use crate::sys::{self, Descriptor, Raw};

/// The socket.
#[derive(Debug)]
pub struct Stream {
    socket: Descriptor,
    probing: bool,
    /// The error of the connection. The kernel tells it once, and then says end of file.
    lost: Option<io::Error>,
}

impl Stream {
    /// Takes a socket that is connected.
    pub fn new(socket: Descriptor) -> Self {
        Self { socket, probing: false, lost: None }
    }

    /// The socket, for what the kernel knows of it.
    pub fn socket(&self) -> &Descriptor {
        &self.socket
    }

    /// The socket, to be watched.
    pub fn socket_mut(&mut self) -> &mut Descriptor {
        &mut self.socket
    }

    /// Has TCP ask whether the peer is still there: once it has ended, only probes can tell one that
    /// listens from one that is gone.
    pub fn probe(&mut self) {
        if !self.probing {
            self.probing = true;
            // A socket that is no TCP refuses, and its peer cannot vanish unnoticed.
            let _ = sys::set_keepalive(&self.socket.socket(), PROBE, PROBES);
        }
    }

    /// Closes so that the peer sees a reset: what it has is not the whole.
    pub fn abort(&self) -> io::Result<()> {
        self.socket.socket().set_linger(Some(Duration::ZERO))
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.read(buf)
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        use io::ErrorKind::{BrokenPipe, Interrupted, WouldBlock};
        let written = self.socket.write(buf);
        if let Err(error) = &written
            && !matches!(error.kind(), BrokenPipe | Interrupted | WouldBlock)
        {
            self.lost = Some(sys::clone_error(error));
        }
        written
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.socket.write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Endpoint for Stream {
    fn finish(&mut self) -> io::Result<()> {
        self.socket.socket().shutdown(Shutdown::Write)
    }

    fn broken(&mut self) -> Option<io::Error> {
        if self.lost.is_none() {
            let error = self.socket.broken()?;
            // Both sides have closed: what came before that is whole.
            if error.kind() == io::ErrorKind::BrokenPipe {
                return Some(error);
            }
            self.lost = Some(error);
        }
        self.lost()
    }

    fn lost(&self) -> Option<io::Error> {
        self.lost.as_ref().map(sys::clone_error)
    }

    fn source(&self) -> Option<Raw<'_>> {
        self.socket.raw()
    }

    fn sink(&self) -> Option<Raw<'_>> {
        self.socket.raw()
    }
}

/// Silence before the first probe, and between probes, once the peer has ended.
const PROBE: Duration = Duration::from_secs(5);

/// Probes without an answer: with `PROBE`, a dead peer is noticed within a minute.
const PROBES: u32 = 10;
