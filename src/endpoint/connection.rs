//! A connection: a stream socket as it is, or encrypted.

use std::{
    io::{self, Read, Write},
    time::Instant,
};

use super::{Endpoint, Stream, Tls};
use crate::sys::{self, Descriptor, Raw};

/// A connected stream, whatever protects it.
#[derive(Debug)]
pub enum Connection {
    Plain(Stream),
    Secure(Box<Tls<Stream>>),
}

impl Connection {
    /// A connection as it is.
    pub fn plain(socket: Descriptor) -> Self {
        Self::Plain(Stream::new(socket))
    }

    /// The stream that carries it.
    pub fn stream(&self) -> &Stream {
        match self {
            Self::Plain(stream) => stream,
            Self::Secure(tls) => tls.below(),
        }
    }

    /// The stream that carries it, to be watched.
    pub fn stream_mut(&mut self) -> &mut Stream {
        match self {
            Self::Plain(stream) => stream,
            Self::Secure(tls) => tls.below_mut(),
        }
    }

    /// Bytes that the peer's system has not acknowledged. That the end has arrived matters to nobody but the peer.
    pub fn unacknowledged(&self) -> u64 {
        let farewell = match self {
            Self::Plain(_) => 0,
            Self::Secure(tls) => tls.farewell(),
        };
        sys::unacknowledged(self.stream().socket()).saturating_sub(farewell)
    }

    /// Whether its end was not announced, where ends are.
    pub fn was_cut(&self) -> bool {
        matches!(self, Self::Secure(tls) if tls.was_cut())
    }

    /// Whether it was in the middle of something.
    pub fn was_cut_short(&self) -> bool {
        matches!(self, Self::Secure(tls) if tls.was_cut_short())
    }

    fn endpoint(&self) -> &dyn Endpoint {
        match self {
            Self::Plain(stream) => stream,
            Self::Secure(tls) => &**tls,
        }
    }

    fn endpoint_mut(&mut self) -> &mut dyn Endpoint {
        match self {
            Self::Plain(stream) => stream,
            Self::Secure(tls) => &mut **tls,
        }
    }
}

impl Read for Connection {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.endpoint_mut().read(buf)
    }
}

impl Write for Connection {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.endpoint_mut().write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.endpoint_mut().flush()
    }
}

impl Endpoint for Connection {
    fn finish(&mut self) -> io::Result<()> {
        self.endpoint_mut().finish()
    }

    fn broken(&mut self) -> Option<io::Error> {
        self.endpoint_mut().broken()
    }

    fn tick(&mut self, now: Instant) -> Option<Instant> {
        self.endpoint_mut().tick(now)
    }

    fn lost(&self) -> Option<io::Error> {
        self.endpoint().lost()
    }

    fn held(&self) -> usize {
        self.endpoint().held()
    }

    fn source(&self) -> Option<Raw<'_>> {
        self.endpoint().source()
    }

    fn sink(&self) -> Option<Raw<'_>> {
        self.endpoint().sink()
    }
}
