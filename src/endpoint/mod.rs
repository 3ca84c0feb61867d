//! Everything that the program reads from and writes to: each side of a session is one of these.

mod blocking;
mod datagram;
mod file;
pub mod layer;
mod relay;
mod stdio;
mod stream;

pub use self::{
    datagram::{Datagram, EofDatagram, Offload, PeerFilter},
    file::{Download, Name},
    layer::{Crossed, Telnet, Tls, Wire, Zstd},
    relay::{Addressing, MAX_LINE, RelayConnection},
    stdio::{Input, Output, Shared, SharedStdio, Stdio},
    stream::Stream,
};

use std::{
    io::{self, IoSlice},
    time::Instant,
};

use crate::sys::{Descriptor, Raw};

/// One side of a session. Reading and writing never wait: they fail with `WouldBlock`, or with `Interrupted` if there is
/// more but others should have a turn. That is why an endpoint is no [`io::Read`] or [`io::Write`]: their provided
/// methods, such as `read_to_end`, would give up in the middle or spin.
pub trait Endpoint {
    /// Reads what has arrived, at most as many bytes as `buf` has. `Ok(0)` is the end of file.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize>;

    /// Writes bytes. Returns how many were taken.
    fn write(&mut self, buf: &[u8]) -> io::Result<usize>;

    /// Writes the bytes of several slices (writev(2)), or of the first that is not empty.
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let first = bufs.iter().find(|buf| !buf.is_empty());
        self.write(first.map_or(&[], |buf| buf))
    }

    /// Passes on what a layer still has inside. To be called again after `WouldBlock`.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Ends what is written here: the end mark of each layer once, and the half-close. To be called again after
    /// `WouldBlock`.
    fn finish(&mut self) -> io::Result<()>;

    /// Writes the end mark of each layer, but leaves the connection open (`--no-shutdown`). To be called again after
    /// `WouldBlock`.
    fn end(&mut self) -> io::Result<()> {
        // Without a layer there is no end mark.
        self.flush()
    }

    /// Leaves out the layer's end mark from now on: the bytes that were written are not the whole.
    fn leave_unended(&mut self) {}

    /// Returns the error that keeps written bytes from being read by anyone, if there is one.
    fn broken(&mut self) -> Option<io::Error>;

    /// Does what is due at this time, before anything else in a turn, and returns when to call again.
    fn tick(&mut self, _now: Instant) -> Option<Instant> {
        None
    }

    /// Returns the error behind an end of file, if the end was none: a write may have met it.
    fn lost(&self) -> Option<io::Error> {
        None
    }

    /// Returns how many bytes were written here and are not on their way yet: after a failure, they never will be.
    fn held(&self) -> usize {
        0
    }

    /// Returns how many bytes have arrived here and were not read yet; a read brings them without asking the system.
    fn unread(&self) -> usize {
        0
    }

    /// Returns the descriptor that the kernel may read in our place, if no layer stands before it.
    fn source(&self) -> Option<Raw<'_>> {
        None
    }

    /// Returns the descriptor that the kernel may write in our place, if no layer stands before it.
    fn sink(&self) -> Option<Raw<'_>> {
        None
    }

    /// Returns the lower side of a layer that encodes, whose bytes are not those that are read and written here.
    fn wire(&mut self) -> Option<&mut Wire> {
        None
    }
}

/// The far side of a session. A layer answers with the peer below it.
pub trait Peer: Endpoint {
    /// Returns the peer that this one is a layer over.
    fn below(&self) -> Option<&dyn Peer> {
        None
    }

    /// Returns the same, to be changed.
    fn below_mut(&mut self) -> Option<&mut dyn Peer> {
        None
    }

    /// Returns the name of its transport in `--json`.
    fn label(&self) -> &'static str {
        self.below().map_or("", Peer::label)
    }

    /// Returns the socket that it has for itself.
    fn descriptor(&self) -> Option<&Descriptor> {
        self.below()?.descriptor()
    }

    /// Returns the socket, to be watched.
    fn descriptor_mut(&mut self) -> Option<&mut Descriptor> {
        self.below_mut()?.descriptor_mut()
    }

    /// Begins to probe a peer that has ended, so that one that is gone is noticed.
    fn probe(&mut self) {
        if let Some(below) = self.below_mut() {
            below.probe();
        }
    }

    /// Makes the peer see a reset when the socket is closed: what it has received is not the whole.
    fn abort(&mut self) {
        if let Some(below) = self.below_mut() {
            below.abort();
        }
    }

    /// Returns how many bytes of the session's the peer's system has not acknowledged.
    fn unacknowledged(&self) -> u64 {
        self.below().map_or(0, Peer::unacknowledged)
    }

    /// Returns how the peer's end of file came too early, where ends are announced.
    fn truncated(&self) -> Option<Truncation> {
        self.below()?.truncated()
    }

    /// Returns the counts of datagrams; `None` for a stream.
    fn datagrams(&self) -> Option<Datagrams> {
        self.below()?.datagrams()
    }

    /// Returns the result of its TLS handshake.
    fn tls(&self) -> Option<TlsInfo> {
        self.below()?.tls()
    }

    /// Returns the datagram socket that it is.
    fn as_datagram(&mut self) -> Option<&mut Datagram> {
        None
    }
}

/// Where a stream ended without its close_notify (RFC 8446, section 6.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Truncation {
    /// Between two records: the bytes may be all.
    BetweenRecords,
    /// Inside a record: bytes are missing.
    InRecord,
}

/// Datagrams of one peer.
#[derive(Clone, Copy, Debug)]
pub struct Datagrams {
    /// Those that were read; an end of file is none.
    pub received: u64,
    /// Those that found no room, here or in the kernel.
    pub dropped: u64,
}

/// The result of a TLS handshake.
#[derive(Debug)]
pub struct TlsInfo {
    /// As `TLS 1.3`.
    pub version: &'static str,
    /// The cipher suite, by its name at IANA.
    pub suite: String,
    /// The protocol that ALPN has chosen (RFC 7301).
    pub alpn: Option<String>,
    /// The names of the peer's certificate, and the pin of its key; `None` for a client without one.
    pub certificate: Option<(Vec<String>, String)>,
}
