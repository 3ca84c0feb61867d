//! What the program can read from and write to: each side of a session is one of these.

mod child;
mod datagram;
mod download;
mod ferry;
mod line;
mod mailbox;
mod standard;
mod stream;
mod table;
mod terminal;
pub mod tls;

pub use self::{
    child::Child,
    datagram::{Datagram, Ends, Together, Whom},
    download::{Download, Name},
    mailbox::{LONGEST_LINE, Mailbox, Post},
    standard::{Input, Output, Standard},
    stream::Stream,
    table::{Shared, Table},
    tls::Tls,
};

use std::{
    io::{self, Read, Write},
    time::Instant,
};

use crate::sys::{Descriptor, Raw};

/// One side of a session. Reading and writing never wait (`WouldBlock`), and `Ok(0)` from a read is the
/// end of what comes from there. `Interrupted` says that there is more, but others should have a turn.
pub trait Endpoint: Read + Write {
    /// Tells the other end that nothing more will come. To be called again if it would block.
    fn finish(&mut self) -> io::Result<()>;

    /// Why what is written here can no longer be read by anybody, if that is so.
    fn broken(&mut self) -> Option<io::Error>;

    /// Does what the clock asks for, before anything else in a turn; tells when to be called again.
    fn tick(&mut self, _now: Instant) -> Option<Instant> {
        None
    }

    /// Why nothing more came from here, if that was no end of file: an error that was learnt of another way.
    fn lost(&self) -> Option<io::Error> {
        None
    }

    /// Bytes that were written here and are not on their way yet: after a failure, they never will be.
    fn held(&self) -> usize {
        0
    }

    /// What the kernel may read in our place, if nothing of ours stands before it.
    fn source(&self) -> Option<Raw<'_>> {
        None
    }

    /// What the kernel may write in our place, if nothing of ours stands before it.
    fn sink(&self) -> Option<Raw<'_>> {
        None
    }
}

/// The far side of a session.
#[derive(Debug)]
pub enum Peer {
    Datagram(Box<Datagram>),
    /// The clients of a relay.
    Mailbox(Box<Mailbox>),
    Stream(Stream),
    Tls(Box<Tls<Stream>>),
}

impl Peer {
    /// The stream that carries it, of a connection of its own.
    pub fn stream_mut(&mut self) -> Option<&mut Stream> {
        match self {
            Self::Stream(stream) => Some(stream),
            Self::Tls(tls) => Some(tls.below_mut()),
            Self::Datagram(_) | Self::Mailbox(_) => None,
        }
    }

    /// The socket, for what the kernel knows of it.
    pub fn socket(&self) -> &Descriptor {
        match self {
            Self::Datagram(datagram) => datagram.socket(),
            Self::Mailbox(mailbox) => mailbox.stream().socket(),
            Self::Stream(stream) => stream.socket(),
            Self::Tls(tls) => tls.below().socket(),
        }
    }

    /// The socket, to be watched.
    pub fn socket_mut(&mut self) -> &mut Descriptor {
        match self {
            Self::Datagram(datagram) => datagram.socket_mut(),
            Self::Mailbox(mailbox) => mailbox.stream_mut().socket_mut(),
            Self::Stream(stream) => stream.socket_mut(),
            Self::Tls(tls) => tls.below_mut().socket_mut(),
        }
    }

    /// Datagrams that were read.
    pub fn received(&self) -> u64 {
        match self {
            Self::Datagram(datagram) => datagram.received(),
            Self::Mailbox(_) | Self::Stream(_) | Self::Tls(_) => 0,
        }
    }

    /// Datagrams that came and found no room.
    pub fn dropped(&self) -> u64 {
        match self {
            Self::Datagram(datagram) => datagram.dropped(),
            Self::Mailbox(_) | Self::Stream(_) | Self::Tls(_) => 0,
        }
    }

    /// Whether its end was not announced, where ends are.
    pub fn was_cut(&self) -> bool {
        matches!(self, Self::Tls(tls) if tls.was_cut())
    }

    fn endpoint(&mut self) -> &mut dyn Endpoint {
        match self {
            Self::Datagram(datagram) => &mut **datagram,
            Self::Mailbox(mailbox) => &mut **mailbox,
            Self::Stream(stream) => stream,
            Self::Tls(tls) => &mut **tls,
        }
    }
}

impl From<Datagram> for Peer {
    fn from(datagram: Datagram) -> Self {
        Self::Datagram(Box::new(datagram))
    }
}

impl Read for Peer {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.endpoint().read(buf)
    }
}

impl Write for Peer {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.endpoint().write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.endpoint().flush()
    }
}

impl Endpoint for Peer {
    fn finish(&mut self) -> io::Result<()> {
        self.endpoint().finish()
    }

    fn broken(&mut self) -> Option<io::Error> {
        self.endpoint().broken()
    }

    fn tick(&mut self, now: Instant) -> Option<Instant> {
        self.endpoint().tick(now)
    }

    fn held(&self) -> usize {
        match self {
            Self::Mailbox(mailbox) => mailbox.held(),
            Self::Tls(tls) => tls.held(),
            Self::Datagram(_) | Self::Stream(_) => 0,
        }
    }

    fn lost(&self) -> Option<io::Error> {
        match self {
            Self::Datagram(datagram) => datagram.lost(),
            Self::Mailbox(mailbox) => mailbox.lost(),
            Self::Stream(stream) => stream.lost(),
            Self::Tls(tls) => tls.lost(),
        }
    }

    fn source(&self) -> Option<Raw<'_>> {
        match self {
            Self::Datagram(datagram) => datagram.source(),
            Self::Mailbox(_) | Self::Tls(_) => None,
            Self::Stream(stream) => stream.source(),
        }
    }

    fn sink(&self) -> Option<Raw<'_>> {
        match self {
            Self::Datagram(datagram) => datagram.sink(),
            Self::Mailbox(_) | Self::Tls(_) => None,
            Self::Stream(stream) => stream.sink(),
        }
    }
}
