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

/// What a descriptor refers to, as far as moving bytes is concerned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A regular file, or a device that never makes us wait.
    File,
    Pipe,
    Socket,
    Terminal,
}

/// A descriptor that never makes us wait: its own description is non-blocking, or, for sockets,
/// every call says so.
#[derive(Debug)]
pub struct Descriptor {
    fd: OwnedFd,
    kind: Kind,
    /// Whether the description itself is non-blocking.
    nonblocking: bool,
}

impl Descriptor {
    /// What it refers to.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Itself, for the kernel to move bytes by. Not a socket that others have left blocking: of all
    /// calls, only recv(2) and send(2) can be told not to wait for one. Nor a terminal.
    pub fn raw(&self) -> Option<Raw<'_>> {
        let able = self.nonblocking && self.kind != Kind::Terminal;
        able.then_some(Raw { fd: self.fd.as_fd(), kind: self.kind })
    }

    /// The socket inside, for its options and addresses.
    pub fn socket(&self) -> SockRef<'_> {
        SockRef::from(&self.fd)
    }

    /// Why what is written here can no longer be read by anybody, if that is so: the reader of a pipe
    /// is gone, a connection was reset or timed out, a terminal hung up.
    pub fn broken(&self) -> Option<io::Error> {
        let mut poll = [PollFd::new(&self.fd, PollFlags::empty())];
        let now = Timespec::default();
        // It waits for nothing, so nothing can interrupt it.
        rustix::event::poll(&mut poll, Some(&now)).ok()?;
        if !poll[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) {
            return None;
        }
        let told = (self.kind == Kind::Socket).then(|| self.socket().take_error());
        Some(told.and_then(|error| error.ok().flatten()).unwrap_or(io::ErrorKind::BrokenPipe.into()))
    }

    /// Reads from a socket what the next read will bring once more (recv(2), MSG_PEEK).
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        retry(|| {
            rustix::net::recv(&self.fd, &mut *buf, RecvFlags::DONTWAIT | RecvFlags::PEEK).map(|(n, _)| n)
        })
    }

    /// Our controlling terminal, whatever the standard streams are (tty(4)).
    pub fn terminal() -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = rustix::fs::open("/dev/tty", flags, Mode::empty())?;
        Ok(Self { fd, kind: Kind::Terminal, nonblocking: true })
    }

    /// A second handle on a file that may make us wait: only to learn of a hang-up.
    pub fn hangup_watch(file: &File) -> io::Result<Self> {
        let is_pipe = FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode) == FileType::Fifo;
        let kind = if is_pipe { Kind::Pipe } else { Kind::File };
        Ok(Self { fd: file.as_fd().try_clone_to_owned()?, kind, nonblocking: false })
    }

    /// A second handle on the same description.
    pub fn duplicate(&self) -> io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()?, ..*self })
    }
}

/// A descriptor that the kernel may read or write by itself, without anything of ours in between.
#[derive(Clone, Copy, Debug)]
pub struct Raw<'a> {
    fd: BorrowedFd<'a>,
    kind: Kind,
}

impl<'a> Raw<'a> {
    /// A file that never makes us wait.
    pub fn file(file: &'a File) -> Self {
        Self { fd: file.as_fd(), kind: Kind::File }
    }

    /// What it refers to.
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
    /// Takes a socket of our own, which was made non-blocking.
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
            // A background job gets EIO in place of what is typed; see `signal.rs`.
            Kind::Terminal => match retry(|| rustix::io::read(&self.fd, &mut *buf)) {
                Err(error) if is_background_read(&error, &self.fd) => Err(io::ErrorKind::WouldBlock.into()),
                // So does one whose terminal is just hanging up; once it has, the end is what it gets.
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
                // SIGPIPE is ignored from the start (Rust's runtime), so no flag is needed against it.
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

/// A descriptor that somebody else opened, and how it can be used without changing it.
#[derive(Debug)]
pub enum Inherited {
    /// Nothing but a thread can wait for it.
    Blocking(File),
    /// It never makes us wait, and can be waited for.
    Own(Descriptor),
    /// It never makes us wait: a regular file, `/dev/null`.
    Ready(File),
}

/// Which standard stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StandardStream {
    Input,
    Output,
}

/// Takes over a standard stream. The description stays as it is: its flags are shared with the
/// shell and with every other process of the pipeline.
pub fn standard_stream(stream: StandardStream) -> io::Result<Inherited> {
    let fd = match stream {
        StandardStream::Input => rustix::stdio::stdin(),
        StandardStream::Output => rustix::stdio::stdout(),
    };
    classify(fd.try_clone_to_owned()?.into())
}

/// Finds out how a descriptor can be used, see [`Inherited`].
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

/// Lets go of stdout, so that its reader sees the end of file while we go on.
pub fn silence_stdout() -> io::Result<()> {
    let null = File::options().write(true).open(super::NULL_DEVICE)?;
    Ok(rustix::stdio::dup2_stdout(null)?)
}

/// Whether a write to a stream of ours would not block now.
pub fn is_writable(fd: impl AsFd) -> bool {
    let mut poll = [PollFd::new(&fd, PollFlags::OUT)];
    let now = Timespec::default();
    rustix::event::poll(&mut poll, Some(&now)).is_ok() && poll[0].revents().contains(PollFlags::OUT)
}

/// Waits until a read from a description that others have made non-blocking would bring something, or an end.
pub fn wait_readable(fd: impl AsFd) -> io::Result<()> {
    wait(fd, PollFlags::IN)
}

/// Waits until a write to a description that others have made non-blocking would take something, or fail.
pub fn wait_writable(fd: impl AsFd) -> io::Result<()> {
    wait(fd, PollFlags::OUT)
}

fn wait(fd: impl AsFd, what: PollFlags) -> io::Result<()> {
    retry(|| rustix::event::poll(&mut [PollFd::new(&fd, what)], None).map(|_| ()))
}
