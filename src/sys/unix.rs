//! What every Unix has.

use std::{
    ffi::{CStr, CString, c_int},
    fs::{File, Metadata},
    io::{self, IoSlice, Read, Write},
    mem,
    net::SocketAddr,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::FileTypeExt,
    },
    path::Path,
    time::Duration,
};

use mio::{Interest, Registry, Token, event::Source, unix::SourceFd};
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::{Access, AtFlags, Dir, FileType, Mode, OFlags, Stat},
    io::Errno,
    net::{RecvFlags, SendAncillaryBuffer, SendFlags},
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use socket2::{SockAddr, SockRef, Socket, TcpKeepalive};

use super::{destination, never_blocks, reopen, terminal::is_foreground};

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
    pub fn lookout(file: &File) -> io::Result<Self> {
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
pub enum Stream {
    Input,
    Output,
}

/// Takes over a standard stream. The description stays as it is: its flags are shared with the
/// shell and with every other process of the pipeline.
pub fn standard(stream: Stream) -> io::Result<Inherited> {
    let fd = match stream {
        Stream::Input => rustix::stdio::stdin(),
        Stream::Output => rustix::stdio::stdout(),
    };
    adopt(fd.try_clone_to_owned()?.into())
}

/// Finds out how a descriptor can be used, see [`Inherited`].
pub fn adopt(file: File) -> io::Result<Inherited> {
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

/// Lets go of stdout, so that its reader sees the end of file while we go on.
pub fn silence_stdout() -> io::Result<()> {
    let null = File::options().write(true).open("/dev/null")?;
    Ok(rustix::stdio::dup2_stdout(null)?)
}

/// Whether this is `/dev/null`, which is also what the runtime puts in a closed stream's place.
pub fn is_null(fd: impl AsFd) -> bool {
    let null = rustix::fs::stat("/dev/null").map(|null| null.st_rdev);
    rustix::fs::fstat(fd).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && Ok(stat.st_rdev) == null
    })
}

/// Whether this is a named pipe (fifo(7)).
pub fn is_fifo(found: &Metadata) -> bool {
    found.file_type().is_fifo()
}

/// Whether this is a socket (unix(7)).
pub fn is_socket(found: &Metadata) -> bool {
    found.file_type().is_socket()
}

/// Whether a write to a stream of ours would not block now.
pub fn has_room(fd: impl AsFd) -> bool {
    let mut poll = [PollFd::new(&fd, PollFlags::OUT)];
    let now = Timespec::default();
    rustix::event::poll(&mut poll, Some(&now)).is_ok() && poll[0].revents().contains(PollFlags::OUT)
}

/// Waits until a read from a description that others have made non-blocking would bring something, or an end.
pub fn wait_to_read(fd: impl AsFd) -> io::Result<()> {
    wait(fd, PollFlags::IN)
}

/// Waits until a write to a description that others have made non-blocking would take something, or fail.
pub fn wait_to_write(fd: impl AsFd) -> io::Result<()> {
    wait(fd, PollFlags::OUT)
}

fn wait(fd: impl AsFd, what: PollFlags) -> io::Result<()> {
    retry(|| rustix::event::poll(&mut [PollFd::new(&fd, what)], None).map(|_| ()))
}

/// Whether a read failed only because we are a background job (termios(3), SIGTTIN ignored).
pub fn is_background_read(error: &io::Error, terminal: impl AsFd) -> bool {
    error.raw_os_error() == Some(Errno::IO.raw_os_error()) && !is_foreground(terminal)
}

/// Whether this is a terminal.
pub fn is_terminal(fd: impl AsFd) -> bool {
    rustix::termios::isatty(fd)
}

/// Raises our limit of descriptors to what we may have, and tells it (getrlimit(2), RLIMIT_NOFILE).
pub fn raise_descriptor_limit() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    if limit.current != limit.maximum && setrlimit(Resource::Nofile, raised).is_ok() {
        limit = raised;
    }
    limit.current.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Whether so many more descriptors can be had now.
pub fn can_open(count: usize) -> io::Result<()> {
    let tried: io::Result<Vec<OwnedFd>> =
        (0..count).map(|_| Ok(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 0)?)).collect();
    tried.map(drop)
}

/// Opens something beneath a folder, for reading, name by name; links are not followed at all, because nothing else
/// keeps them from leading out.
pub(super) fn walk_beneath(root: &File, place: &[Vec<u8>], folder: bool) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut here = rustix::fs::openat(root, ".", flags | OFlags::DIRECTORY, Mode::empty())?;
    for (name, left) in place.iter().zip((0..place.len()).rev()) {
        let kind = if left > 0 || folder { OFlags::DIRECTORY } else { OFlags::empty() };
        here = rustix::fs::openat(&here, &name[..], flags | kind, Mode::empty())?;
    }
    Ok(here.into())
}

/// What a name in a folder stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Entry {
    File,
    Folder,
    /// A FIFO, a device, a socket.
    Other,
}

impl Entry {
    pub(super) fn of(found: &Stat) -> Self {
        match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Folder,
            _ => Self::Other,
        }
    }
}

/// What is beneath a folder, where links are not followed.
pub(super) fn look_beneath(root: &File, place: &[Vec<u8>]) -> io::Result<Entry> {
    let Some((name, parents)) = place.split_last() else { return Ok(Entry::Folder) };
    let parent = walk_beneath(root, parents, true)?;
    Ok(Entry::of(&rustix::fs::statat(parent, &name[..], AtFlags::SYMLINK_NOFOLLOW)?))
}

/// The names in a folder, but for itself and its parent (readdir(3)).
pub fn names(folder: &File) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    Ok(names)
}

/// Whether we may make files in `folder`.
pub fn writable_folder(folder: &Path) -> io::Result<()> {
    Ok(rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
}

/// Renames a file by a link, so that it is never put in another one's place: `AlreadyExists`.
pub(super) fn link_new(from: &Path, to: &Path) -> io::Result<()> {
    // A hard link refuses an existing name on every file system that has links at all.
    match std::fs::hard_link(from, to) {
        Ok(()) => std::fs::remove_file(from),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        Err(_) if to.symlink_metadata().is_ok() => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => std::fs::rename(from, to),
    }
}

/// What an error says, without its number, as part of a sentence.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if !second.is_uppercase() => {
            first.to_lowercase().chain(text.chars().skip(1)).collect()
        }
        _ => text.to_owned(),
    }
}

/// The same error once more: errors of the standard library cannot be copied.
pub fn same(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

/// Whether the process or the machine has run out of descriptors or memory.
pub fn is_exhausted(error: &io::Error) -> bool {
    has_code(error, &[libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM])
}

/// Whether a kernel refuses a call as such, so that another one must do.
pub fn is_refusal(error: &io::Error) -> bool {
    let codes = [libc::EINVAL, libc::ENOSYS, libc::EOPNOTSUPP, libc::EPERM, libc::ESPIPE];
    error.kind() == io::ErrorKind::Unsupported || has_code(error, &codes)
}

/// Whether datagrams that were to go together have to go one by one (udp(7), UDP_SEGMENT).
pub fn is_segments_refusal(error: &io::Error) -> bool {
    is_refusal(error) || has_code(error, &[libc::EIO, libc::EMSGSIZE])
}

/// The error of an address that somebody has (bind(2)).
pub fn address_in_use() -> io::Error {
    io::Error::from_raw_os_error(libc::EADDRINUSE)
}

/// Whether a connection is only under way (connect(2)).
pub fn is_in_progress(error: &io::Error) -> bool {
    has_code(error, &[libc::EINPROGRESS])
}

/// Whether this machine lacks an address family.
pub fn is_family_missing(error: &io::Error) -> bool {
    has_code(error, &[libc::EAFNOSUPPORT])
}

/// Whether the socket at an address is of another type than ours (unix(7), EPROTOTYPE).
pub fn is_wrong_type(error: &io::Error) -> bool {
    has_code(error, &[libc::EPROTOTYPE])
}

fn has_code(error: &io::Error, codes: &[c_int]) -> bool {
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

/// One datagram, as it came.
#[derive(Debug)]
pub struct Received {
    /// Bytes that were put into the buffer.
    pub size: usize,
    /// Whether the datagram was larger than the buffer.
    pub truncated: bool,
    /// Who sent it.
    pub from: SockAddr,
    /// The address of ours that it was sent to, where the kernel tells ([`super::want_destination`]).
    pub to: Option<SocketAddr>,
}

/// Sends one datagram to an address that the socket is not connected to; never waits.
pub fn send_to(socket: &Descriptor, buf: &[u8], to: &SockAddr) -> io::Result<usize> {
    socket.socket().send_to_with_flags(buf, to, libc::MSG_DONTWAIT)
}

/// Makes TCP probe a silent peer after `time`, and every `time` from then on; `probes` without an
/// answer end the connection (tcp(7)). Whole seconds, at least one.
pub fn keep_alive(socket: &SockRef<'_>, time: Duration, probes: u32) -> io::Result<()> {
    let time = Duration::from_secs(time.as_secs().max(1));
    let settings = TcpKeepalive::new().with_time(time).with_interval(time).with_retries(probes);
    socket.set_tcp_keepalive(&settings)
}

/// Bytes that have come and that nobody has read.
pub fn unread(socket: &Descriptor) -> u64 {
    rustix::io::ioctl_fionread(socket).unwrap_or(0)
}

/// Receives one datagram (recvmsg(2)); never waits.
pub fn receive_from(socket: &Descriptor, buf: &mut [u8]) -> io::Result<Received> {
    let mut control = [0_u64; 16];
    let mut part = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
    // SAFETY: all zeroes is a valid `msghdr`.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = mem::size_of_val(&control) as _;
    let receive = |storage: *mut socket2::SockAddrStorage, length: *mut libc::socklen_t| {
        message.msg_name = storage.cast();
        // SAFETY: `length` is valid for reads, and holds the size of `storage`.
        message.msg_namelen = unsafe { *length };
        let size = retry(|| {
            // SAFETY: every pointer in `message` is valid for the length beside it.
            counted(unsafe { libc::recvmsg(socket.fd.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) })
        })?;
        // SAFETY: `length` is valid for writes.
        unsafe { *length = message.msg_namelen };
        Ok(size)
    };
    // SAFETY: recvmsg has filled in the address, and told its length.
    let (size, from) = unsafe { SockAddr::try_init(receive) }?;
    Ok(Received {
        size,
        truncated: message.msg_flags & libc::MSG_TRUNC != 0,
        from,
        to: destination(&message),
    })
}

/// The number of an interface (`if_nametoindex(3)`).
pub fn interface_index(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: `name` is a C string.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (index != 0).then_some(index)
}

/// The name of an interface (`if_indextoname(3)`).
pub fn interface_name(index: u32) -> Option<String> {
    let mut name = [0_u8; libc::IF_NAMESIZE];
    // SAFETY: `name` has the size that the call demands.
    let found = unsafe { libc::if_indextoname(index, name.as_mut_ptr().cast()) };
    let name = CStr::from_bytes_until_nul(&name).ok()?;
    (!found.is_null()).then(|| name.to_string_lossy().into_owned())
}

/// The service that has a port, as `tcp/http` (getnameinfo(3), services(5)); never a look-up of the host.
pub fn service_name(port: u16, datagram: bool) -> Option<String> {
    let address = SocketAddr::from(([0, 0, 0, 0], port));
    let flags = libc::NI_NUMERICHOST | if datagram { libc::NI_DGRAM } else { 0 };
    let (_, service) = dns_lookup::getnameinfo(&address, flags).ok()?;
    service.parse::<u16>().is_err().then_some(service)
}

/// What a call of libc counted; it returns a negative number for an error.
pub(super) fn counted(result: isize) -> rustix::io::Result<usize> {
    let error = || Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO);
    usize::try_from(result).map_err(|_| error())
}

/// Calls again what a signal interrupted.
pub(super) fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}
