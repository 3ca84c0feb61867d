//! Descriptors, ours and inherited.

use std::{
    fs::File,
    io::{self, IoSlice, Read, Write},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use mio::{Interest, Registry, Token, event::Source, unix::SourceFd};
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::{FileType, Mode, OFlags},
    net::{RecvFlags, SendAncillaryBuffer, SendFlags},
};
use socket2::{SockRef, Socket};

use super::{is_background_read, is_terminal, retry};
use crate::sys::{never_blocks, reopen};

/// The type of file behind a descriptor, as far as it decides how bytes move.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A regular file, or a device that never blocks.
    File,
    Pipe,
    Socket,
    Terminal,
}

/// A descriptor whose calls never block: its open file description is non-blocking, or, for sockets, every call
/// carries MSG_DONTWAIT.
#[derive(Debug)]
pub struct Descriptor {
    fd: OwnedFd,
    kind: Kind,
    /// Whether the description itself has O_NONBLOCK.
    nonblocking: bool,
}

impl Descriptor {
    /// Returns the type of file.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Lends the descriptor to sendfile(2) and splice(2). `None` for a terminal, and for a socket whose description
    /// blocks: of all calls, only recv(2) and send(2) take a flag against that.
    pub fn raw(&self) -> Option<Raw<'_>> {
        let able = self.nonblocking && self.kind != Kind::Terminal;
        able.then_some(Raw { fd: self.fd.as_fd(), kind: self.kind })
    }

    /// Returns the socket, for its options and addresses.
    pub fn socket(&self) -> SockRef<'_> {
        SockRef::from(&self.fd)
    }

    /// Returns the error that a write would meet although nothing was written: the reader of a pipe is gone, a
    /// connection was reset or timed out, a terminal hung up. `None` while the descriptor is intact. For a socket this
    /// clears the pending error (socket(7), SO_ERROR).
    pub fn broken(&self) -> Option<io::Error> {
        let mut poll = [PollFd::new(&self.fd, PollFlags::empty())];
        let now = Timespec::default();
        // A poll without a timeout cannot be interrupted.
        rustix::event::poll(&mut poll, Some(&now)).ok()?;
        if !poll[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) {
            return None;
        }

        let pending = (self.kind == Kind::Socket).then(|| self.socket().take_error());
        Some(pending.and_then(|error| error.ok().flatten()).unwrap_or(io::ErrorKind::BrokenPipe.into()))
    }

    /// Reads from a socket and leaves the bytes for the next read (recv(2), MSG_PEEK).
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        retry(|| {
            rustix::net::recv(&self.fd, &mut *buf, RecvFlags::DONTWAIT | RecvFlags::PEEK).map(|(n, _)| n)
        })
    }

    /// Opens the controlling terminal, whatever the standard streams are (tty(4)).
    pub fn terminal() -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = rustix::fs::open("/dev/tty", flags, Mode::empty())?;
        Ok(Self { fd, kind: Kind::Terminal, nonblocking: true })
    }

    /// Returns a second handle on a file that may block, only to be polled for a hang-up.
    pub fn hangup_watch(file: &File) -> io::Result<Self> {
        let is_pipe = FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode) == FileType::Fifo;
        let kind = if is_pipe { Kind::Pipe } else { Kind::File };
        Ok(Self { fd: file.as_fd().try_clone_to_owned()?, kind, nonblocking: false })
    }

    /// Returns a second handle on the same description (dup(2)).
    pub fn duplicate(&self) -> io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()?, ..*self })
    }
}

/// A descriptor that the kernel may read or write by itself (sendfile(2), splice(2)).
#[derive(Clone, Copy, Debug)]
pub struct Raw<'a> {
    fd: BorrowedFd<'a>,
    kind: Kind,
}

impl<'a> Raw<'a> {
    /// Borrows a file that never blocks.
    pub fn file(file: &'a File) -> Self {
        Self { fd: file.as_fd(), kind: Kind::File }
    }

    /// Returns the type of file.
    pub fn kind(self) -> Kind {
        self.kind
    }
}

impl AsFd for Raw<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd
    }
}

impl From<Descriptor> for OwnedFd {
    fn from(descriptor: Descriptor) -> Self {
        descriptor.fd
    }
}

impl From<Socket> for Descriptor {
    /// Takes a socket of our own, which must be non-blocking.
    fn from(socket: Socket) -> Self {
        let fd = socket.into();
        debug_assert!(is_nonblocking(&fd), "a socket of ours that blocks");
        Self { fd, kind: Kind::Socket, nonblocking: true }
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Read for Descriptor {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.kind {
            Kind::Socket => {
                retry(|| rustix::net::recv(&self.fd, &mut *buf, RecvFlags::DONTWAIT).map(|(n, _)| n))
            }
            Kind::File | Kind::Pipe => retry(|| rustix::io::read(&self.fd, &mut *buf)),
            // A background job gets EIO, because SIGTTIN is ignored; see `signals.rs`.
            Kind::Terminal => match retry(|| rustix::io::read(&self.fd, &mut *buf)) {
                Err(error) if is_background_read(&error, &self.fd) => Err(io::ErrorKind::WouldBlock.into()),
                // A terminal gives EIO while it hangs up, and EOF once it has: both are the end of input.
                Err(_) if self.broken().is_some() => Ok(0),
                result => result,
            },
        }
    }
}

impl Write for Descriptor {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self.kind {
            Kind::Socket => {
                // Rust's runtime ignores SIGPIPE, so MSG_NOSIGNAL is not needed.
                retry(|| rustix::net::send(&self.fd, buf, SendFlags::DONTWAIT))
            }
            Kind::File | Kind::Pipe | Kind::Terminal => retry(|| rustix::io::write(&self.fd, buf)),
        }
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.kind {
            Kind::Socket => retry(|| {
                let mut control = SendAncillaryBuffer::default();
                rustix::net::sendmsg(&self.fd, bufs, &mut control, SendFlags::DONTWAIT)
            }),
            Kind::File | Kind::Pipe | Kind::Terminal => retry(|| rustix::io::writev(&self.fd, bufs)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for Descriptor {
    fn register(&mut self, registry: &Registry, token: Token, on: Interest) -> io::Result<()> {
        SourceFd(&self.fd.as_raw_fd()).register(registry, token, on)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, on: Interest) -> io::Result<()> {
        SourceFd(&self.fd.as_raw_fd()).reregister(registry, token, on)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.fd.as_raw_fd()).deregister(registry)
    }
}

/// A descriptor that another process opened, by the way it can be used without changing its description.
#[derive(Debug)]
pub enum Inherited {
    /// Only a thread can wait for it.
    Blocking(File),
    /// Its calls never block, and the reactor can watch it.
    Own(Descriptor),
    /// It is always ready: a regular file, `/dev/null`.
    Ready(File),
}

/// A standard stream that carries data.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StandardStream {
    Input,
    Output,
}

/// Opens a standard stream. Its description keeps its flags, which the shell and every other process of the pipeline
/// share.
pub fn standard_stream(stream: StandardStream) -> io::Result<Inherited> {
    let fd = match stream {
        StandardStream::Input => rustix::stdio::stdin(),
        StandardStream::Output => rustix::stdio::stdout(),
    };
    classify(fd.try_clone_to_owned()?.into())
}

/// Determines how a descriptor can be used.
pub fn classify(file: File) -> io::Result<Inherited> {
    let kind = match FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) {
        FileType::Fifo => Kind::Pipe,
        FileType::Socket => {
            let fd = file.into();
            return Ok(Inherited::Own(Descriptor {
                nonblocking: is_nonblocking(&fd),
                fd,
                kind: Kind::Socket,
            }));
        }
        FileType::CharacterDevice if is_terminal(&file) => Kind::Terminal,
        FileType::CharacterDevice if !never_blocks(&file) => return Ok(Inherited::Blocking(file)),
        _ => return Ok(Inherited::Ready(file)),
    };

    // A description of our own can be non-blocking without a change to the shared one.
    Ok(match reopen(&file, kind) {
        Ok(fd) => Inherited::Own(Descriptor { fd, kind, nonblocking: true }),
        Err(_) => Inherited::Blocking(file),
    })
}

fn is_nonblocking(fd: &OwnedFd) -> bool {
    rustix::fs::fcntl_getfl(fd).is_ok_and(|flags| flags.contains(OFlags::NONBLOCK))
}

/// Returns a second handle on stderr.
pub fn duplicate_stderr() -> io::Result<File> {
    Ok(rustix::stdio::stderr().try_clone_to_owned()?.into())
}

/// Replaces stdout by `/dev/null`, so that its reader sees EOF while the process goes on.
pub fn silence_stdout() -> io::Result<()> {
    let null = File::options().write(true).open(super::NULL_DEVICE)?;
    Ok(rustix::stdio::dup2_stdout(null)?)
}

/// Tells whether a write would not block now (poll(2)).
pub fn is_writable(fd: impl AsFd) -> bool {
    let mut poll = [PollFd::new(&fd, PollFlags::OUT)];
    let now = Timespec::default();
    rustix::event::poll(&mut poll, Some(&now)).is_ok() && poll[0].revents().contains(PollFlags::OUT)
}

/// Waits until a description that another process made non-blocking has bytes or EOF to read.
pub fn wait_readable(fd: impl AsFd) -> io::Result<()> {
    wait(fd, PollFlags::IN)
}

/// Waits until a description that another process made non-blocking accepts bytes, or a write would fail.
pub fn wait_writable(fd: impl AsFd) -> io::Result<()> {
    wait(fd, PollFlags::OUT)
}

fn wait(fd: impl AsFd, flags: PollFlags) -> io::Result<()> {
    retry(|| rustix::event::poll(&mut [PollFd::new(&fd, flags)], None).map(|_| ()))
}
