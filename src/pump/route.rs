//! How a flow's bytes travel: through our buffer, or moved by the kernel without our seeing them.

use std::io::{self, Read};

use super::buffer::Buffer;
use crate::{
    endpoint::Endpoint,
    sys::{self, Kind, SplicePipe},
};

/// The route of one flow, chosen once.
#[derive(Debug)]
pub enum Route {
    /// Read into our buffer, written from there.
    Copy,
    /// A file to a socket in one call.
    SendFile,
    /// A socket to a pipe in one call; `wide` once the pipe was enlarged.
    Splice { wide: bool },
    /// Through a pipe of ours, which is made once the flow has shown that it is busy.
    Through(Option<SplicePipe>),
}

impl Route {
    /// Chooses the cheapest route between two descriptors; `None` is an end that only we can read or write.
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

    /// Returns whether one call moves bytes from the source to the sink, so that nothing is held on the way.
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
                if !*wide && n >= DEFAULT_PIPE_SIZE {
                    *wide = true;
                    sys::enlarge_pipe(sink);
                }
                Ok(n)
            }
            Self::Copy | Self::Through(_) => Err(refused()),
        }
    }

    /// Reads once into the pipe or the buffer, at most `most` bytes into the buffer. Only while the pipe is empty.
    pub fn fill(&mut self, from: &mut dyn Endpoint, buffer: &mut Buffer, most: usize) -> io::Result<usize> {
        if let Self::Through(pipe) = self {
            let source = from.source().ok_or_else(refused)?;
            // A pipe costs two descriptors and 16 pages: only a flow that fills its buffer is worth one.
            if pipe.is_none() && buffer.was_filled() {
                sys::enlarge_pipe(source);
                *pipe = Some(SplicePipe::new().map_err(|_| refused())?);
            }
            if let Some(pipe) = pipe {
                return pipe.fill(source, usize::MAX);
            }
        }
        buffer.fill(|buf| from.read(buf), most)
    }

    /// Returns whether the source stands at urgent data (tcp(7)), which only a read gets past.
    pub fn is_stopped(&self, from: &dyn Endpoint) -> bool {
        match self {
            Self::Splice { .. } | Self::Through(Some(_)) => from.source().is_some_and(sys::at_mark),
            Self::Copy | Self::SendFile | Self::Through(None) => false,
        }
    }

    /// Returns how many bytes the pipe holds.
    pub fn held(&self) -> usize {
        match self {
            Self::Through(Some(pipe)) => pipe.held(),
            Self::Copy | Self::SendFile | Self::Splice { .. } | Self::Through(None) => 0,
        }
    }

    /// Writes once from the pipe, at most `most` bytes.
    pub fn drain(&mut self, to: &dyn Endpoint, most: usize) -> io::Result<usize> {
        match self {
            Self::Through(Some(pipe)) => pipe.drain(to.sink().ok_or_else(refused)?, most),
            Self::Copy | Self::SendFile | Self::Splice { .. } | Self::Through(None) => Ok(0),
        }
    }

    /// Copies from now on. Bytes in the pipe are poured into the buffer first.
    pub fn fall_back(&mut self, buffer: &mut Buffer) -> io::Result<()> {
        if let Self::Through(Some(pipe)) = self {
            // The bytes in the pipe precede all that is read from now on.
            while pipe.held() > 0 {
                if buffer.fill(|buf| pipe.read(buf), usize::MAX)? == 0 {
                    break;
                }
            }
        }
        *self = Self::Copy;
        Ok(())
    }
}

/// Returns the error of a route that does not exist, as a kernel would report it.
fn refused() -> io::Error {
    io::ErrorKind::Unsupported.into()
}

/// Bytes in one call that fill a pipe of the default size (pipe(7)). The pipe is enlarged then, although it is not ours:
/// its other end sees only that more goes in.
const DEFAULT_PIPE_SIZE: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn the_cheapest_route() {
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
