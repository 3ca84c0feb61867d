//! Files and devices, as only Linux has them.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::Path,
};

use rustix::{
    event::epoll,
    fs::{CWD, Mode, OFlags, RenameFlags, ResolveFlags},
    io::Errno,
};

use crate::sys::{Entry, Kind};

/// Opens a non-blocking description of our own for an inherited pipe or terminal (proc_pid_fd(5)). A terminal is opened
/// for writing too, for the echo.
pub fn reopen(fd: impl AsFd, kind: Kind) -> io::Result<OwnedFd> {
    let access = match kind {
        Kind::Terminal => OFlags::RDWR,
        Kind::File | Kind::Pipe | Kind::Socket => rustix::fs::fcntl_getfl(&fd)? & OFlags::ACCMODE,
    };
    let path = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Returns the type of the entry beneath a folder without opening it, which a FIFO or a device would notice (open(2),
/// O_PATH).
pub fn kind_beneath(root: &File, path: &[Vec<u8>]) -> io::Result<Entry> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let joined = path.join(&b'/');
    match rustix::fs::openat2(root, joined, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
        // A kernel older than 5.6, or a seccomp filter that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => crate::sys::look_beneath(root, path),
        found => Ok(Entry::of(&rustix::fs::fstat(found?)?)),
    }
}

/// Tells whether a device is always ready, as `/dev/null` is (epoll_ctl(2), EPERM).
pub fn never_blocks(fd: impl AsFd) -> bool {
    let Ok(poll) = epoll::create(epoll::CreateFlags::CLOEXEC) else { return false };
    let data = epoll::EventData::new_u64(0);
    epoll::add(&poll, fd, data, epoll::EventFlags::IN) == Err(Errno::PERM)
}

/// Renames a file, but never replaces one: `AlreadyExists` (rename(2), RENAME_NOREPLACE).
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system without the flag.
        Err(Errno::INVAL | Errno::NOSYS) => crate::sys::link_new(from, to),
        result => Ok(result?),
    }
}

/// Whether [`open_beneath`] follows a symbolic link that stays beneath the folder.
#[cfg(test)]
pub const FOLLOWS_LINKS_BENEATH: bool = true;

/// Opens a file or folder beneath `root` for reading: no name and no link in the path leads out of it, not even for a
/// moment (openat2(2), RESOLVE_BENEATH). Never blocks, as opening a FIFO would.
pub fn open_beneath(root: &File, path: &[Vec<u8>], folder: bool) -> io::Result<File> {
    let mut joined = path.join(&b'/');
    if joined.is_empty() {
        joined.push(b'.');
    }

    let mut flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    flags.set(OFlags::DIRECTORY, folder);
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(root, joined, flags, Mode::empty(), resolve) {
        // A kernel older than 5.6, or a seccomp filter that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => crate::sys::walk_beneath(root, path, folder),
        result => Ok(result?.into()),
    }
}
