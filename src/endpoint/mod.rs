//! What the program can read from and write to: each side of a session is one of these.

mod blocking;
mod connection;
mod datagram;
mod file;
pub mod layer;
mod relay;
mod stdio;
mod stream;

pub use self::{
    connection::Connection,
    datagram::{Datagram, Ends, PeerFilter, Together},
    file::{Download, Name},
    layer::Tls,
    relay::{LONGEST_LINE, Mailbox, Post},
    stdio::{Input, Output, Shared, Standard, Table},
    stream::Stream,
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
    Connection(Connection),
    Datagram(Box<Datagram>),
    /// The clients of a relay.
    Mailbox(Box<Mailbox>),
}

impl Peer {
    /// The socket, for what the kernel knows of it.
    pub fn socket(&self) -> &Descriptor {
        match self {
            Self::Connection(connection) => connection.stream().socket(),
            Self::Datagram(datagram) => datagram.socket(),
            Self::Mailbox(mailbox) => mailbox.connection().stream().socket(),
        }
    }

    /// The socket, to be watched.
    pub fn socket_mut(&mut self) -> &mut Descriptor {
        match self {
            Self::Connection(connection) => connection.stream_mut().socket_mut(),
            Self::Datagram(datagram) => datagram.socket_mut(),
            Self::Mailbox(mailbox) => mailbox.connection_mut().stream_mut().socket_mut(),
        }
    }

    /// Has the far side see a reset when it is closed: what it has is not the whole.
    pub fn abort(&mut self) {
        if let Self::Connection(connection) = self {
            // If it is closed already, there is nobody to be told.
            let _ = connection.stream_mut().abort();
        }
    }

    /// Datagrams that were read.
    pub fn received(&self) -> u64 {
        match self {
            Self::Datagram(datagram) => datagram.received(),
            Self::Connection(_) | Self::Mailbox(_) => 0,
        }
    }

    /// Datagrams that came and found no room.
    pub fn dropped(&self) -> u64 {
        match self {
            Self::Datagram(datagram) => datagram.dropped(),
            Self::Connection(_) | Self::Mailbox(_) => 0,
        }
    }

    fn endpoint(&self) -> &dyn Endpoint {
        match self {
            Self::Connection(connection) => connection,
            Self::Datagram(datagram) => &**datagram,
            Self::Mailbox(mailbox) => &**mailbox,
        }
    }

    fn endpoint_mut(&mut self) -> &mut dyn Endpoint {
        match self {
            Self::Connection(connection) => connection,
            Self::Datagram(datagram) => &mut **datagram,
            Self::Mailbox(mailbox) => &mut **mailbox,
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
        self.endpoint_mut().read(buf)
    }
}

impl Write for Peer {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.endpoint_mut().write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.endpoint_mut().flush()
    }
}

impl Endpoint for Peer {
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
