//! The settings of one direction.

use super::{Framing, Pace};
use crate::tap::Traffic;

/// How a direction is to behave.
#[derive(Debug)]
pub struct FlowConfig {
    pub framing: Framing,
    /// Each piece is converted (`-C`).
    pub crlf: bool,
    pub pace: Pace,
    /// The direction, as the taps call it.
    pub traffic: Traffic,
    /// A tap hears the bytes.
    pub watched: bool,
    /// A layer of the sink encodes them: a pace is then that of the wire.
    pub encoded: bool,
    /// Bytes of the largest datagram of the source; `None` for a stream.
    pub source_datagram: Option<usize>,
    /// Bytes of the largest datagram of the sink, each piece being one; `None` for a stream.
    pub sink_datagram: Option<usize>,
    /// The sink takes many datagrams in one write (udp(7), UDP_SEGMENT).
    pub sink_offload: bool,
    /// The reader of the sink may close it without that being a failure (stdout, as in `| head`).
    pub sink_close_ok: bool,
    /// A reset is how the source may end: a program that has not read all resets its pair (unix(7)).
    pub source_may_reset: bool,
    /// The end of the source is passed on (`--no-shutdown` clears it).
    pub pass_eof: bool,
    /// Reads after which the direction ends (`-W`).
    pub limit: Option<u64>,
}

impl FlowConfig {
    /// Returns the settings of a direction that moves everything as it is read.
    pub fn plain(traffic: Traffic) -> Self {
        Self {
            framing: Framing::AsRead,
            crlf: false,
            pace: Pace::new(None, None),
            traffic,
            watched: false,
            encoded: false,
            source_datagram: None,
            sink_datagram: None,
            sink_offload: false,
            sink_close_ok: false,
            source_may_reset: false,
            pass_eof: true,
            limit: None,
        }
    }

    /// Returns the size of the datagrams that may go many in one write, because nothing has to see them one by one.
    pub fn segment(&self) -> Option<usize> {
        match self.framing {
            Framing::Chunks(size) if self.sink_offload && !self.needs_pieces() => Some(size),
            Framing::AsRead | Framing::Chunks(_) | Framing::Lines(_) => None,
        }
    }

    /// Returns whether a read may bring many datagrams, which loses where each one ends.
    pub fn can_merge(&self) -> bool {
        self.source_datagram.is_some() && self.sink_datagram.is_none() && !self.needs_pieces()
    }

    /// Returns whether the kernel may move the bytes without our seeing them.
    pub(super) fn is_blind(&self) -> bool {
        let datagrams = self.source_datagram.or(self.sink_datagram).is_some();
        self.framing == Framing::AsRead && !datagrams && !self.needs_pieces()
    }

    /// Returns whether the pieces are seen, converted, kept apart in time or counted.
    fn needs_pieces(&self) -> bool {
        self.watched || self.crlf || self.pace.has_delay() || self.limit.is_some()
    }
}
