//! How a flow's bytes travel: through our buffer, or moved by the kernel without our seeing them.

use std::io::{self, Read};

use super::buffer::Buffer;
use crate::{
    endpoint::Endpoint,
    sys::{self, Kind, SplicePipe},
};

/// The way of one flow, chosen once.
#[derive(Debug)]
pub enum Route {
    /// Read into our buffer, written from there.
    Copy,
    /// A file to a socket in one call.
    SendFile,
    /// A socket to a pipe in one call; `wide` once the pipe was made as large as one of ours.
    Splice { wide: bool },
    /// Through a pipe of ours. There is none before the flow has shown that it is busy.
    Through(Option<SplicePipe>),
}

impl Route {
    /// The cheapest way between two descriptors; `None` is an end that only we can read or write.
    pub fn choose(from: Option<Kind>, to: Option<Kind>) -> Self {
        match (from, to) {
            (Some(Kind::File), Some(Kind::Socket)) => Self::SendFile,
            (Some(Kind::Socket), Some(Kind::Pipe)) => Self::Splice { wide: false },
            // One call would do from a pipe to a socket too, but it keeps the writer out of the pipe
            // while the network takes its time.
            (Some(Kind::Pipe | Kind::Socket), Some(Kind::Socket)) => Self::Through(None),
            (Some(Kind::Socket), Some(Kind::File)) => Self::Through(None),
            _ => Self::Copy,
        }
    }

    /// Whether one call moves bytes from the source to the sink, so that nothing is held on the way.
    pub fn is_direct(&self) -> bool {
        matches!(self, Self::SendFile | Self::Splice { .. })
    }

    /// Moves up to `most` bytes from the source to the sink. Only for a direct route; `Ok(0)` is the
    /// end of the source.
    pub fn pass(&mut self, from: &dyn Endpoint, to: &dyn Endpoint, most: usize) -> io::Result<usize> {
        let (Some(source), Some(sink)) = (from.source(), to.sink()) else { return Err(refused()) };
        match self {
            Self::SendFile => sys::send_file(source, sink, most),
            Self::Splice { wide } => {
                let n = sys::splice(source, sink, most)?;
                if !*wide && n >= BUSY {
                    *wide = true;
                    sys::enlarge_pipe(sink);
                }
                Ok(n)
            }
            Self::Copy | Self::Through(_) => Err(refused()),
        }
    }

    /// Reads once into what stands between the source and the sink, at most `most` bytes where that is
    /// the buffer. Only while nothing is held.
    pub fn fill(&mut self, from: &mut dyn Endpoint, buffer: &mut Buffer, most: usize) -> io::Result<usize> {
        if let Self::Through(pipe) = self {
            let source = from.source().ok_or_else(refused)?;
            if pipe.is_none() && buffer.was_filled() {
                sys::enlarge_pipe(source);
                *pipe = Some(SplicePipe::new().map_err(|_| refused())?);
            }
            if let Some(pipe) = pipe {
                return pipe.fill(source, usize::MAX);
            }
        }
        buffer.fill(from, most)
    }

    /// Whether there is something that only a read gets past, although the kernel moves nothing more (tcp(7), urgent
    /// data).
    pub fn is_stopped(&self, from: &dyn Endpoint) -> bool {
        match self {
            Self::Splice { .. } | Self::Through(Some(_)) => from.source().is_some_and(sys::at_mark),
            Self::Copy | Self::SendFile | Self::Through(None) => false,
        }
    }

    /// Bytes that are held outside the buffer.
    pub fn held(&self) -> usize {
        match self {
            Self::Through(Some(pipe)) => pipe.held(),
            Self::Copy | Self::SendFile | Self::Splice { .. } | Self::Through(None) => 0,
        }
    }

    /// Writes once what is held outside the buffer, at most `most` bytes.
    pub fn drain(&mut self, to: &dyn Endpoint, most: usize) -> io::Result<usize> {
        match self {
            Self::Through(Some(pipe)) => pipe.drain(to.sink().ok_or_else(refused)?, most),
            Self::Copy | Self::SendFile | Self::Splice { .. } | Self::Through(None) => Ok(0),
        }
    }

    /// Copies from now on. What is held comes into the buffer first.
    pub fn fall_back(&mut self, buffer: &mut Buffer) -> io::Result<()> {
        if let Self::Through(Some(pipe)) = self {
            while pipe.held() > 0 {
                if buffer.fill(pipe as &mut dyn Read, usize::MAX)? == 0 {
                    break;
                }
            }
        }
        *self = Self::Copy;
        Ok(())
    }
}

/// A way that is not there, as a kernel would say it.
fn refused() -> io::Error {
    io::ErrorKind::Unsupported.into()
}

/// Bytes in one call that fill a pipe as it was made (pipe(7)): then it is made as large as ours, though it
/// is not ours. Whoever is at its other side is no hand at a keyboard, and sees only that more goes in.
const BUSY: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn the_cheapest_way() {
        use Kind::{File, Pipe, Socket, Terminal};
        let table = [
            (Some(File),     Some(Socket),   "SendFile"),
            (Some(File),     Some(File),     "Copy"),
            (Some(File),     Some(Pipe),     "Copy"),
            (Some(Pipe),     Some(Socket),   "Through"),
            (Some(Pipe),     Some(File),     "Copy"),
            (Some(Pipe),     Some(Pipe),     "Copy"),
            (Some(Socket),   Some(Pipe),     "Splice"),
            (Some(Socket),   Some(File),     "Through"),
            (Some(Socket),   Some(Socket),   "Through"),
            (Some(Terminal), Some(Socket),   "Copy"),
            (Some(Socket),   Some(Terminal), "Copy"),
            (None,           Some(Socket),   "Copy"),
            (Some(Socket),   None,           "Copy"),
            (None,           None,           "Copy"),
        ];
        for (from, to, way) in table {
            let chosen = format!("{:?}", Route::choose(from, to));
            assert!(chosen.starts_with(way), "{from:?} to {to:?}: {chosen}");
        }
    }
}
