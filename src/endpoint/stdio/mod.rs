//! Our side of a session: stdin and stdout, files, or one of each.

mod line_editor;
mod shared;
mod terminal;

pub use self::shared::{Shared, Table};

use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

use self::terminal::Terminal;
use super::{
    Download, Endpoint,
    blocking::{Inward, Outward},
};
use crate::{
    event::{Reactor, Token, Waker},
    sys::{self, Descriptor, Inherited, Kind, Raw},
};

/// What we read from and write to.
#[derive(Debug)]
pub struct Standard {
    pub input: Input,
    pub output: Output,
}

/// Where what we send comes from.
#[derive(Debug)]
pub enum Input {
    Descriptor(Descriptor),
    Ferry(Inward),
    /// Never makes us wait.
    File(File),
    /// The session sends nothing.
    Nothing,
    Terminal(Box<Terminal>),
    /// A terminal where nothing but a thread can wait for it: it edits its lines itself.
    TerminalFerry(Inward),
}

/// Where what we receive goes.
#[derive(Debug)]
pub enum Output {
    /// Its reader was told that nothing more comes.
    Closed,
    Descriptor(Descriptor),
    Download(Download),
    Ferry(Outward),
    /// Never makes us wait.
    File(File),
    /// Nobody wants it.
    Nowhere,
}

impl Input {
    /// Our stdin.
    pub fn stdin(waker: Waker) -> io::Result<Self> {
        Self::adopt(sys::standard_stream(sys::StandardStream::Input)?, waker)
    }

    /// A file, a FIFO, a device.
    pub fn open(path: &Path, waker: Waker) -> io::Result<Self> {
        if is_fifo(path) {
            // Opening waits for the writer: not here.
            let path = path.to_owned();
            return Ok(Self::Ferry(Inward::start(|| File::open(path), waker)?));
        }
        let file = File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Self::adopt(sys::classify(file)?, waker)
    }

    fn adopt(inherited: Inherited, waker: Waker) -> io::Result<Self> {
        Ok(match inherited {
            Inherited::Blocking(file) if sys::is_terminal(&file) => {
                Self::TerminalFerry(Inward::start(|| Ok(file), waker)?)
            }
            Inherited::Blocking(file) => Self::Ferry(Inward::start(|| Ok(file), waker)?),
            Inherited::Own(descriptor) if descriptor.kind() == Kind::Terminal => {
                Self::Terminal(Box::new(Terminal::new(descriptor)))
            }
            Inherited::Own(descriptor) => Self::Descriptor(descriptor),
            Inherited::Ready(file) => Self::File(file),
        })
    }

    /// Bytes that are still to be read, where that is known.
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::File(file) => {
                let size = file.metadata().ok().filter(std::fs::Metadata::is_file)?.len();
                let at = io::Seek::stream_position(&mut &*file).ok()?;
                Some(size.saturating_sub(at))
            }
            Self::Descriptor(_)
            | Self::Ferry(_)
            | Self::Nothing
            | Self::Terminal(_)
            | Self::TerminalFerry(_) => None,
        }
    }

    /// Whether it is a terminal that is no longer there.
    pub fn has_hung_up(&self) -> bool {
        matches!(self, Self::Terminal(terminal) if terminal.descriptor().broken().is_some())
    }
}

impl Output {
    /// Our stdout.
    pub fn stdout(waker: Waker) -> io::Result<Self> {
        Self::adopt(sys::standard_stream(sys::StandardStream::Output)?, waker)
    }

    /// A FIFO or a device, which are written as they are.
    pub fn open(path: &Path, waker: Waker) -> io::Result<Self> {
        let (at, mut how) = (path.to_owned(), File::options());
        how.write(true);
        if is_fifo(path) {
            // Opening waits for the reader: not here.
            return Ok(Self::Ferry(Outward::start(move || how.open(at), waker)?));
        }
        Self::adopt(sys::classify(how.open(path)?)?, waker)
    }

    fn adopt(inherited: Inherited, waker: Waker) -> io::Result<Self> {
        Ok(match inherited {
            Inherited::Blocking(file) => Self::Ferry(Outward::new(file, waker)?),
            Inherited::Own(descriptor) => Self::Descriptor(descriptor),
            Inherited::Ready(file) => Self::File(file),
        })
    }
}

impl Standard {
    /// Watches what can be watched.
    pub fn watch(&mut self, reactor: &Reactor, token: Token) -> io::Result<()> {
        match &mut self.input {
            Input::Descriptor(descriptor) => reactor.watch(token, descriptor)?,
            Input::Terminal(terminal) => reactor.watch(token, terminal.descriptor_mut())?,
            Input::Ferry(_) | Input::File(_) | Input::Nothing | Input::TerminalFerry(_) => {}
        }
        match &mut self.output {
            Output::Descriptor(descriptor) => reactor.watch(token, descriptor)?,
            Output::Ferry(ferry) => {
                // Where nothing tells of it, the next write will.
                let _ = ferry.lookout_mut().map(|lookout| reactor.watch(token, lookout));
            }
            Output::Closed | Output::Download(_) | Output::File(_) | Output::Nowhere => {}
        }
        Ok(())
    }

    /// Puts a prompt before each line that is typed, where both streams are a terminal: what comes is then shown
    /// above it.
    pub fn set_prompt(&mut self, prompt: String) {
        if let (Input::Terminal(terminal), Output::Descriptor(output)) = (&mut self.input, &self.output)
            && output.kind() == Kind::Terminal
        {
            terminal.set_prompt(prompt);
        }
    }

    /// Gives a terminal back as it was, until the next read.
    pub fn release_terminal(&mut self) {
        if let Input::Terminal(terminal) = &mut self.input {
            terminal.release();
        }
    }

    /// Takes the file that was received, if there is one.
    pub fn take_download(&mut self) -> Option<Download> {
        match std::mem::replace(&mut self.output, Output::Closed) {
            Output::Download(download) => Some(download),
            other => {
                self.output = other;
                None
            }
        }
    }
}

impl Read for Standard {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match &mut self.input {
            Input::Descriptor(descriptor) => descriptor.read(buf),
            Input::Ferry(ferry) | Input::TerminalFerry(ferry) => ferry.read(buf),
            Input::File(file) => loop {
                match file.read(buf) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    result => return result,
                }
            },
            Input::Nothing => Ok(0),
            Input::Terminal(terminal) => terminal.read(buf),
        }
    }
}

impl Write for Standard {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if let (Input::Terminal(terminal), Output::Descriptor(_)) = (&mut self.input, &self.output)
            && terminal.shows()
        {
            return terminal.write(buf);
        }
        let file: &mut dyn Write = match &mut self.output {
            Output::Closed => return Err(io::ErrorKind::BrokenPipe.into()),
            Output::Descriptor(descriptor) => return descriptor.write(buf),
            Output::Download(download) => download,
            Output::Ferry(ferry) => return ferry.write(buf),
            Output::File(file) => file,
            Output::Nowhere => return Ok(buf.len()),
        };
        loop {
            match file.write(buf) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Endpoint for Standard {
    fn finish(&mut self) -> io::Result<()> {
        match &mut self.output {
            // Whether it is whole, only the session knows.
            Output::Closed | Output::Download(_) | Output::Nowhere => return Ok(()),
            Output::Ferry(ferry) => ferry.finish()?,
            // Whoever gave us one socket for both streams sees the end of ours only so.
            Output::Descriptor(descriptor) if descriptor.kind() == Kind::Socket => {
                // A reader that has left needs no telling.
                let _ = descriptor.socket().shutdown(std::net::Shutdown::Write);
            }
            Output::Descriptor(_) | Output::File(_) => {}
        }
        self.output = Output::Closed;
        sys::silence_stdout()
    }

    fn broken(&mut self) -> Option<io::Error> {
        match &self.output {
            Output::Descriptor(descriptor) => descriptor.broken(),
            Output::Ferry(ferry) => ferry.broken(),
            Output::Closed | Output::Download(_) | Output::File(_) | Output::Nowhere => None,
        }
    }

    fn held(&self) -> usize {
        match &self.output {
            Output::Ferry(ferry) => ferry.held(),
            Output::Closed
            | Output::Descriptor(_)
            | Output::Download(_)
            | Output::File(_)
            | Output::Nowhere => 0,
        }
    }

    fn source(&self) -> Option<Raw<'_>> {
        match &self.input {
            Input::Descriptor(descriptor) => descriptor.raw(),
            Input::File(file) => Some(Raw::file(file)),
            Input::Ferry(_) | Input::Nothing | Input::Terminal(_) | Input::TerminalFerry(_) => None,
        }
    }

    fn sink(&self) -> Option<Raw<'_>> {
        match &self.output {
            Output::Descriptor(descriptor) => descriptor.raw(),
            Output::Download(download) => Some(download.raw()),
            Output::File(file) => Some(Raw::file(file)),
            Output::Closed | Output::Ferry(_) | Output::Nowhere => None,
        }
    }
}

fn is_fifo(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| sys::is_fifo(&found))
}
