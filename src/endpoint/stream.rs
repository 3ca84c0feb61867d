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

    /// Keeps the error of a write, for the reader.
    fn keep_error(&mut self, written: io::Result<usize>) -> io::Result<usize> {
        use io::ErrorKind::{BrokenPipe, Interrupted, WouldBlock};
        // The kernel reports the error of a connection once, to a write or to a read, and says end of file afterwards.
        if let Err(error) = &written
            && !matches!(error.kind(), BrokenPipe | Interrupted | WouldBlock)
        {
            self.lost = Some(sys::clone_error(error));
        }
        written
    }
}

impl Endpoint for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.read(buf)
    }

    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let written = self.socket.write(buf);
        self.keep_error(written)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let written = self.socket.write_vectored(bufs);
        self.keep_error(written)
    }

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

#[cfg(test)]
mod tests {
    use socket2::Socket;

    use super::*;

    #[test]
    fn error_that_a_write_meets_is_kept_for_the_reader() {
        type Send = fn(&mut Stream) -> io::Result<usize>;
        let sends: [Send; 2] =
            [|stream| stream.write(b"more"), |stream| stream.write_vectored(&[IoSlice::new(b"more")])];
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        for send in sends {
            let ours = Socket::from(std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap());
            let theirs = Socket::from(listener.accept().unwrap().0);
            ours.set_nonblocking(true).unwrap();
            // Without a linger time, closing resets the connection (socket(7)).
            theirs.set_linger(Some(Duration::ZERO)).unwrap();
            drop(theirs);

            let mut stream = Stream::new(ours.into());
            assert_eq!(send(&mut stream).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
            assert_eq!(stream.read(&mut [0; 10]).unwrap(), 0);
            assert_eq!(stream.lost().map(|error| error.kind()), Some(io::ErrorKind::ConnectionReset));
        }
    }
}
