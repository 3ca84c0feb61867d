//! Files, folders and devices.

use std::{
    fs::{File, Metadata},
    io,
    os::{fd::AsFd, unix::fs::FileTypeExt},
    path::Path,
};

use rustix::fs::{Access, AtFlags, Dir, FileType, Mode, OFlags, Stat};

/// Whether this is `/dev/null`, which is also what the runtime puts in a closed stream's place.
pub fn is_null(fd: impl AsFd) -> bool {
    let null = rustix::fs::stat(NULL_DEVICE).map(|null| null.st_rdev);
    rustix::fs::fstat(fd).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && Ok(stat.st_rdev) == null
    })
}

/// The device that discards what is written to it (null(4)).
pub const NULL_DEVICE: &str = "/dev/null";

/// The files from which the system's time zone is read (tzset(3)).
pub const TIME_ZONES: [&str; 2] = ["/etc/localtime", "/usr/share/zoneinfo"];

/// The standard streams, as paths (stdin(4)).
const STANDARD_STREAMS: [&str; 3] = ["/dev/stdin", "/dev/stdout", "/dev/stderr"];

/// Tells whether a file at this path is written in place: a pipe or a device has no second name under which a part
/// of it could stand until it is whole.
pub fn is_written_directly(path: &Path) -> bool {
    // These are names of descriptors that are already open; a rename cannot replace one: /dev/stdout, /dev/fd/3.
    let is_open = path.starts_with("/proc")
        || path.starts_with("/dev/fd")
        || STANDARD_STREAMS.iter().any(|name| path == Path::new(name));

    is_open || path.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir())
}

/// Whether this is a named pipe (fifo(7)).
pub fn is_fifo(found: &Metadata) -> bool {
    found.file_type().is_fifo()
}

/// Whether this is a socket (unix(7)).
pub fn is_socket(found: &Metadata) -> bool {
    found.file_type().is_socket()
}

/// Opens something beneath a folder, for reading, name by name; links are not followed at all, because nothing else
/// keeps them from leading out.
pub(in crate::sys) fn walk_beneath(root: &File, place: &[Vec<u8>], folder: bool) -> io::Result<File> {
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
    pub(in crate::sys) fn of(found: &Stat) -> Self {
        match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Folder,
            _ => Self::Other,
        }
    }
}

/// What is beneath a folder, where links are not followed.
pub(in crate::sys) fn look_beneath(root: &File, place: &[Vec<u8>]) -> io::Result<Entry> {
    let Some((name, parents)) = place.split_last() else { return Ok(Entry::Folder) };
    let parent = walk_beneath(root, parents, true)?;
    Ok(Entry::of(&rustix::fs::statat(parent, &name[..], AtFlags::SYMLINK_NOFOLLOW)?))
}

/// The names in a folder, but for itself and its parent (readdir(3)).
pub fn list_names(folder: &File) -> io::Result<Vec<Vec<u8>>> {
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
pub fn check_writable_folder(folder: &Path) -> io::Result<()> {
    Ok(rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
}

/// Renames a file by a link, so that it is never put in another one's place: `AlreadyExists`.
pub(in crate::sys) fn link_new(from: &Path, to: &Path) -> io::Result<()> {
    // A hard link refuses an existing name on every file system that has links at all.
    match std::fs::hard_link(from, to) {
        Ok(()) => std::fs::remove_file(from),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        Err(_) if to.symlink_metadata().is_ok() => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => std::fs::rename(from, to),
    }
}
