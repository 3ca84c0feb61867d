//! A connected stream socket of any family.

use std::{
    io::{self, Read, Write},
    net::Shutdown,
    time::Duration,
};

use super::Endpoint;
use crate::sys::{self, Descriptor, Raw};

/// The socket; it remembers that the peer has ended.
#[derive(Debug)]
pub struct Stream {
    socket: Descriptor,
    ended: bool,
}

impl Stream {
    /// Takes a socket that is connected.
    pub fn new(socket: Descriptor) -> Self {
        Self { socket, ended: false }
    }

    /// The socket, for what the kernel knows of it.
    pub fn socket(&self) -> &Descriptor {
        &self.socket
    }

    /// The socket, to be watched.
    pub fn socket_mut(&mut self) -> &mut Descriptor {
        &mut self.socket
    }

    /// Closes so that the peer sees a reset: what it has is not the whole.
    pub fn abort(&self) -> io::Result<()> {
        self.socket.socket().set_linger(Some(Duration::ZERO))
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.socket.read(buf)?;
        if n == 0 && !buf.is_empty() && !self.ended {
            self.ended = true;
            // From now on only probes can tell a peer that is listening from one that is gone. A
            // socket that is no TCP refuses, and its peer cannot vanish unnoticed.
            let _ = sys::keep_alive(&self.socket.socket(), PROBE, PROBES);
        }
        Ok(n)
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.socket.write(buf)
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
        self.socket.broken()
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
