//! Files, folders and devices.

use std::{
    fs::{File, Metadata},
    io,
    os::{fd::AsFd, unix::fs::FileTypeExt},
    path::Path,
};

use rustix::fs::{Access, AtFlags, Dir, FileType, Mode, OFlags, Stat};

/// Tells whether this is `/dev/null`; Rust's runtime also opens it in place of a closed standard stream.
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

/// Tells whether this is a named pipe (fifo(7)).
pub fn is_fifo(found: &Metadata) -> bool {
    found.file_type().is_fifo()
}

/// Tells whether this is a socket (unix(7)).
pub fn is_socket(found: &Metadata) -> bool {
    found.file_type().is_socket()
}

/// Opens a file or folder beneath `root` for reading, name by name. Follows no symbolic link: openat(2) alone cannot
/// keep one from leading out.
pub(in crate::sys) fn walk_beneath(root: &File, path: &[Vec<u8>], folder: bool) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut here = rustix::fs::openat(root, ".", flags | OFlags::DIRECTORY, Mode::empty())?;

    for (name, left) in path.iter().zip((0..path.len()).rev()) {
        let kind = if left > 0 || folder { OFlags::DIRECTORY } else { OFlags::empty() };
        here = rustix::fs::openat(&here, &name[..], flags | kind, Mode::empty())?;
    }
    Ok(here.into())
}

/// The type of a directory entry.
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

/// Returns the type of the entry beneath a folder; a symbolic link is not followed.
pub(in crate::sys) fn look_beneath(root: &File, path: &[Vec<u8>]) -> io::Result<Entry> {
    let Some((name, parents)) = path.split_last() else { return Ok(Entry::Folder) };
    let parent = walk_beneath(root, parents, true)?;
    Ok(Entry::of(&rustix::fs::statat(parent, &name[..], AtFlags::SYMLINK_NOFOLLOW)?))
}

/// Lists the names in a folder (readdir(3)), without `.` and `..`.
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

/// Checks that files can be created in `folder` (access(2)).
pub fn check_writable_folder(folder: &Path) -> io::Result<()> {
    Ok(rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
}

/// Renames a file by a hard link, which never replaces a file that exists: `AlreadyExists`.
pub(in crate::sys) fn link_new(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::hard_link(from, to) {
        Ok(()) => std::fs::remove_file(from),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // The file system has no links, so that only a look beforehand guards an existing file.
        Err(_) if to.symlink_metadata().is_ok() => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => std::fs::rename(from, to),
    }
}
