//! A connected stream socket of any family.

use std::{
    io::{self, IoSlice, Read, Write},
    net::Shutdown,
    time::Duration,
};

use super::{Endpoint, Peer};
use crate::sys::{self, Descriptor, Raw};

/// A connected stream socket.
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
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.read(buf)
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        use io::ErrorKind::{BrokenPipe, Interrupted, WouldBlock};
        // The kernel reports the error of a connection once, to a write or to a read, and says end of file afterwards.
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
        // SO_ERROR is cleared when it is read (socket(7)): the answer is kept.
        if self.lost.is_none() {
            let error = self.socket.broken()?;
            // Both sides have closed: the bytes before that are whole.
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

impl Peer for Stream {
    fn label(&self) -> &'static str {
        "tcp"
    }

    fn descriptor(&self) -> Option<&Descriptor> {
        Some(&self.socket)
    }

    fn descriptor_mut(&mut self) -> Option<&mut Descriptor> {
        Some(&mut self.socket)
    }

    /// Turns on TCP keepalive: once the peer has ended, only probes can tell one that listens from one that is gone.
    fn probe(&mut self) {
        if !self.probing {
            self.probing = true;
            // A socket that is no TCP refuses, and its peer cannot vanish unnoticed.
            let _ = sys::set_keepalive(&self.socket.socket(), PROBE_INTERVAL, MAX_PROBES);
        }
    }

    fn abort(&mut self) {
        // On a socket that is closed already, there is no peer to see it.
        let _ = self.socket.socket().set_linger(Some(Duration::ZERO));
    }

    fn unacknowledged(&self) -> u64 {
        sys::unacknowledged(&self.socket)
    }
}

/// Silence before the first probe, and between probes, once the peer has ended.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// Probes without an answer: with `PROBE_INTERVAL`, a dead peer is noticed within a minute.
const MAX_PROBES: u32 = 10;
