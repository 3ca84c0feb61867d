//! The local side of a session: stdin and stdout, files, or one of each.

mod line_editor;
mod shared;
mod terminal;

pub use self::shared::{Shared, SharedStdio};

use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

use self::terminal::Terminal;
use super::{
    Download, Endpoint,
    blocking::{ReaderThread, WriterThread},
};
use crate::{
    event::{Reactor, Token, Waker},
    sys::{self, Descriptor, Inherited, Kind, Raw},
};

/// The source of what is sent, and the destination of what is received.
#[derive(Debug)]
pub struct Stdio {
    pub input: Input,
    pub output: Output,
    /// The error of the output, once it is known: the kernel reports that of a socket only once.
    broken: Option<io::Error>,
}

/// The source of the bytes that are sent.
#[derive(Debug)]
pub enum Input {
    Descriptor(Descriptor),
    Thread(ReaderThread),
    /// Reading it never blocks.
    File(File),
    /// The session sends nothing.
    Nothing,
    Terminal(Box<Terminal>),
    /// A terminal that only a thread can wait for; the system edits its lines.
    TerminalThread(ReaderThread),
}

/// The destination of the bytes that are received.
#[derive(Debug)]
pub enum Output {
    /// It was closed: its reader sees the end of file.
    Closed,
    Descriptor(Descriptor),
    Download(Download),
    Thread(WriterThread),
    /// Writing it never blocks.
    File(File),
    /// Received bytes are dropped.
    Nowhere,
}

impl Input {
    /// Opens stdin.
    pub fn stdin(waker: Waker) -> io::Result<Self> {
        Self::from_inherited(sys::standard_stream(sys::StandardStream::Input)?, waker)
    }

    /// Opens a file, a FIFO or a device.
    pub fn open(path: &Path, waker: Waker) -> io::Result<Self> {
        if is_fifo(path) {
            // fifo(7): opening waits for the writer, which a thread can do.
            let path = path.to_owned();
            return Ok(Self::Thread(ReaderThread::start(|| File::open(path), waker)?));
        }
        let file = File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Self::from_inherited(sys::classify(file)?, waker)
    }

    fn from_inherited(inherited: Inherited, waker: Waker) -> io::Result<Self> {
        Ok(match inherited {
            Inherited::Blocking(file) if sys::is_terminal(&file) => {
                Self::TerminalThread(ReaderThread::start(|| Ok(file), waker)?)
            }
            Inherited::Blocking(file) => Self::Thread(ReaderThread::start(|| Ok(file), waker)?),
            Inherited::Own(descriptor) if descriptor.kind() == Kind::Terminal => {
                Self::Terminal(Box::new(Terminal::new(descriptor)))
            }
            Inherited::Own(descriptor) => Self::Descriptor(descriptor),
            Inherited::Ready(file) => Self::File(file),
        })
    }

    /// Returns how many bytes are still to be read, where that is known.
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::File(file) => {
                let size = file.metadata().ok().filter(std::fs::Metadata::is_file)?.len();
                // A parent may have read a part of the file already.
                let at = io::Seek::stream_position(&mut &*file).ok()?;
                Some(size.saturating_sub(at))
            }
            Self::Descriptor(_)
            | Self::Thread(_)
            | Self::Nothing
            | Self::Terminal(_)
            | Self::TerminalThread(_) => None,
        }
    }

    /// Returns whether it is a terminal that has hung up.
    pub fn has_hung_up(&self) -> bool {
        matches!(self, Self::Terminal(terminal) if terminal.descriptor().broken().is_some())
    }
}

impl Output {
    /// Opens stdout.
    pub fn stdout(waker: Waker) -> io::Result<Self> {
        Self::from_inherited(sys::standard_stream(sys::StandardStream::Output)?, waker)
    }

    /// Opens a FIFO or a device, which have no other name until they are whole.
    pub fn open(path: &Path, waker: Waker) -> io::Result<Self> {
        let (at, mut how) = (path.to_owned(), File::options());
        how.write(true);
        if is_fifo(path) {
            // fifo(7): opening waits for the reader, which a thread can do.
            return Ok(Self::Thread(WriterThread::start(move || how.open(at), waker)?));
        }
        Self::from_inherited(sys::classify(how.open(path)?)?, waker)
    }

    fn from_inherited(inherited: Inherited, waker: Waker) -> io::Result<Self> {
        Ok(match inherited {
            Inherited::Blocking(file) => Self::Thread(WriterThread::new(file, waker)?),
            Inherited::Own(descriptor) => Self::Descriptor(descriptor),
            Inherited::Ready(file) => Self::File(file),
        })
    }
}

impl Stdio {
    /// Takes both sides.
    pub fn new(input: Input, output: Output) -> Self {
        Self { input, output, broken: None }
    }

    /// Watches the descriptors that can be watched.
    pub fn watch(&mut self, reactor: &Reactor, token: Token) -> io::Result<()> {
        match &mut self.input {
            Input::Descriptor(descriptor) => reactor.watch(token, descriptor)?,
            Input::Terminal(terminal) => reactor.watch(token, terminal.descriptor_mut())?,
            Input::Thread(_) | Input::File(_) | Input::Nothing | Input::TerminalThread(_) => {}
        }

        match &mut self.output {
            Output::Descriptor(descriptor) => reactor.watch(token, descriptor)?,
            Output::Thread(thread) => {
                // Without it, the next write meets the error.
                let _ = thread.hangup_watch_mut().map(|hangup_watch| reactor.watch(token, hangup_watch));
            }
            Output::Closed | Output::Download(_) | Output::File(_) | Output::Nowhere => {}
        }

        Ok(())
    }

    /// Sets a prompt before each line that is typed, if both streams are a terminal: received text then appears above
    /// it.
    pub fn set_prompt(&mut self, prompt: String) {
        if let (Input::Terminal(terminal), Output::Descriptor(output)) = (&mut self.input, &self.output)
            && output.kind() == Kind::Terminal
        {
            terminal.set_prompt(prompt);
        }
    }

    /// Restores a terminal's mode, until the next read.
    pub fn release_terminal(&mut self) {
        if let Input::Terminal(terminal) = &mut self.input {
            terminal.release();
        }
    }

    /// Takes the file that is being received, if there is one.
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

impl Endpoint for Stdio {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match &mut self.input {
            Input::Descriptor(descriptor) => descriptor.read(buf),
            Input::Thread(thread) | Input::TerminalThread(thread) => thread.read(buf),
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

    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        // Text that bypasses the editor would stand in the middle of the line that is being typed.
        if let (Input::Terminal(terminal), Output::Descriptor(_)) = (&mut self.input, &self.output)
            && terminal.has_prompt()
        {
            return terminal.write(buf);
        }

        let file: &mut dyn Write = match &mut self.output {
            Output::Closed => return Err(io::ErrorKind::BrokenPipe.into()),
            Output::Descriptor(descriptor) => return descriptor.write(buf),
            Output::Download(download) => download,
            Output::Thread(thread) => return thread.write(buf),
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

    fn finish(&mut self) -> io::Result<()> {
        match &mut self.output {
            // Only the session knows whether a file is whole.
            Output::Closed | Output::Download(_) | Output::Nowhere => return Ok(()),
            Output::Thread(thread) => thread.finish()?,
            // A parent that gave us one socket for both streams sees our end of file only by a half-close.
            Output::Descriptor(descriptor) if descriptor.kind() == Kind::Socket => {
                // It fails when the reader has closed already.
                let _ = descriptor.socket().shutdown(std::net::Shutdown::Write);
            }
            Output::Descriptor(_) | Output::File(_) => {}
        }

        self.output = Output::Closed;
        sys::silence_stdout()
    }

    fn broken(&mut self) -> Option<io::Error> {
        if self.broken.is_none() {
            self.broken = match &self.output {
                Output::Descriptor(descriptor) => descriptor.broken(),
                Output::Thread(thread) => thread.broken(),
                Output::Closed | Output::Download(_) | Output::File(_) | Output::Nowhere => None,
            };
        }
        self.broken.as_ref().map(sys::clone_error)
    }

    fn held(&self) -> usize {
        // Only a thread takes bytes before they are written.
        match &self.output {
            Output::Thread(thread) => thread.held(),
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
            Input::Thread(_) | Input::Nothing | Input::Terminal(_) | Input::TerminalThread(_) => None,
        }
    }

    fn sink(&self) -> Option<Raw<'_>> {
        match &self.output {
            Output::Descriptor(descriptor) => descriptor.raw(),
            Output::Download(download) => Some(download.raw()),
            Output::File(file) => Some(Raw::file(file)),
            Output::Closed | Output::Thread(_) | Output::Nowhere => None,
        }
    }
}

fn is_fifo(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| sys::is_fifo(&found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_of_a_socket_is_answered_the_same_twice() {
        let (mut ours, theirs) = sys::socket_pair().unwrap();
        ours.write_all(b"unread").unwrap();
        // unix(7): a socket that is closed with unread bytes resets its pair.
        drop(theirs);

        let mut stdio = Stdio::new(Input::Nothing, Output::Descriptor(ours));
        for _ in 0..2 {
            let kind = stdio.broken().map(|error| error.kind());
            assert_eq!(kind, Some(io::ErrorKind::ConnectionReset));
        }
    }
}
