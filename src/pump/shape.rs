//! What a direction is told before it begins.

use super::{Cut, Pace};
use crate::stage::Stages;

/// How a direction is to behave.
#[derive(Debug)]
pub struct Shape {
    pub cut: Cut,
    pub pace: Pace,
    pub stages: Stages,
    /// Bytes of the largest datagram of the source; `None` for a stream.
    pub source_datagram: Option<usize>,
    /// Bytes of the largest datagram of the sink, each piece being one; `None` for a stream.
    pub sink_datagram: Option<usize>,
    /// Whether the sink takes many datagrams at once, and cuts them where they end.
    pub sink_joins: bool,
    /// Whether the reader of the sink may leave without that being a failure (stdout, as in `| head`).
    pub reader_may_leave: bool,
    /// Whether a reset is how the source may end: a program that has not read all resets its pair (unix(7)).
    pub source_may_reset: bool,
    /// Whether the end of the source is passed on (`--no-shutdown` clears it).
    pub pass_eof: bool,
    /// Reads after which we have had enough (`-W`).
    pub limit: Option<u64>,
}

impl Shape {
    /// Bytes of the datagrams that may go to the sink many at once: nothing has to see them one by one.
    pub fn segment(&self) -> Option<usize> {
        match self.cut {
            Cut::Chunks(size) if self.sink_joins && !self.is_watched() => Some(size),
            Cut::AsRead | Cut::Chunks(_) | Cut::Lines(_) => None,
        }
    }

    /// Whether datagrams may come from the source many at once, which loses where each one ends.
    pub fn joins(&self) -> bool {
        self.source_datagram.is_some() && self.sink_datagram.is_none() && !self.is_watched()
    }

    /// Whether something has to see the pieces, or sets their pace, or counts how they are read.
    fn is_watched(&self) -> bool {
        self.stages.change() || self.stages.look() || self.pace.has_delay() || self.limit.is_some()
    }

    /// Whether the bytes can move without our seeing them.
    pub(super) fn is_blind(&self) -> bool {
        let datagrams = self.source_datagram.or(self.sink_datagram).is_some();
        self.cut == Cut::AsRead && !datagrams && !self.is_watched()
    }

    /// Moves everything as it comes.
    pub fn plain() -> Self {
        Self {
            cut: Cut::AsRead,
            pace: Pace::new(None, None),
            stages: Stages::default(),
            source_datagram: None,
            sink_datagram: None,
            sink_joins: false,
            reader_may_leave: false,
            source_may_reset: false,
            pass_eof: true,
            limit: None,
        }
    }
}
