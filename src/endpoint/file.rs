//! A file that is being received: it gets its name only when it is whole.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::sys::{self, Raw};

/// The name that the file is to get.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Name {
    pub path: PathBuf,
    /// `--force`: another file of this name is replaced.
    pub force: bool,
    /// A name that is taken gets `_1`, `_2` …: an automatic name, or one for many clients.
    pub numbered: bool,
}

/// The file, as `NAME.part` until it is whole.
#[derive(Debug)]
pub struct Download {
    name: Name,
    number: usize,
    part: PathBuf,
    file: File,
}

impl Name {
    /// Fails if nothing could be received under this name. Changes nothing.
    pub fn check(&self) -> io::Result<()> {
        if self.path.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if !self.numbered && !self.force && self.path.symlink_metadata().is_ok() {
            let why = "the file exists; --force replaces it";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
        }
        // The part is made beside it, so that rename(2) stays within one file system.
        sys::check_writable_folder(folder(&self.path))
    }

    fn candidate(&self, number: usize) -> PathBuf {
        match number {
            0 => self.path.clone(),
            _ => with_suffix(&self.path, &format!("_{number}")),
        }
    }
}

impl Download {
    /// Creates the part.
    pub fn open(name: Name) -> io::Result<Self> {
        name.check()?;

        let mut number = 0;
        loop {
            let candidate = name.candidate(number);
            let taken = name.numbered && candidate.symlink_metadata().is_ok();
            let part = with_suffix(&candidate, ".part");

            // open(2), O_EXCL: of two receivers that want the same name, one gets it.
            match File::options().write(true).create_new(true).open(&part) {
                // The name is taken, and the part would be given no name: the next number is tried.
                Ok(_) if taken => fs::remove_file(&part)?,
                Ok(file) => {
                    let number = if name.numbered { number } else { 0 };
                    return Ok(Self { name, number, part, file });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }

            number += 1;
        }
    }

    /// Gives the whole file its name, and returns it.
    pub fn keep(mut self) -> io::Result<PathBuf> {
        self.file.flush()?;
        if self.name.force && !self.name.numbered {
            fs::rename(&self.part, &self.name.path)?;
            return Ok(self.name.path);
        }

        // rename(2) would replace a file that has appeared meanwhile.
        loop {
            let path = self.name.candidate(self.number);
            match sys::rename_new(&self.part, &path) {
                Ok(()) => return Ok(path),
                // Another process has taken the name while we received.
                Err(error) if self.name.numbered && error.kind() == io::ErrorKind::AlreadyExists => {
                    self.number += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Keeps the part of a file that is not whole, and returns its path; an empty part is removed.
    pub fn leave(self) -> io::Result<Option<PathBuf>> {
        if self.file.metadata()?.len() == 0 {
            fs::remove_file(&self.part)?;
            return Ok(None);
        }
        Ok(Some(self.part))
    }

    /// Returns the file itself.
    pub fn raw(&self) -> Raw<'_> {
        Raw::file(&self.file)
    }

    /// Returns the path of the part.
    pub fn part(&self) -> &Path {
        &self.part
    }
}

impl Write for Download {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.file.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(path: &Path) -> Name {
        Name { path: path.to_owned(), force: false, numbered: false }
    }

    fn receive(name: Name, bytes: &[u8]) -> Download {
        let mut download = Download::open(name).unwrap();
        download.write_all(bytes).unwrap();
        download
    }

    #[test]
    fn it_has_its_name_only_when_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let download = receive(name(&path), b"abc");
        assert!(!path.exists());
        assert_eq!(fs::read(dir.path().join("f.part")).unwrap(), b"abc");
        assert_eq!(download.keep().unwrap(), path);
        assert_eq!(fs::read(&path).unwrap(), b"abc");
        assert!(!dir.path().join("f.part").exists());
    }

    #[test]
    fn what_came_is_kept_and_nothing_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let part = receive(name(&path), b"abc").leave().unwrap().unwrap();
        assert_eq!(part, dir.path().join("f.part"));
        // The next try does not touch what the first one has received.
        let part = receive(name(&path), b"defg").leave().unwrap().unwrap();
        assert_eq!(part, dir.path().join("f_1.part"));
        assert_eq!(fs::read(dir.path().join("f.part")).unwrap(), b"abc");
        assert_eq!(receive(name(&path), b"").leave().unwrap(), None);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn nothing_is_overwritten_unless_forced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, b"old").unwrap();
        assert_eq!(Download::open(name(&path)).unwrap_err().kind(), io::ErrorKind::AlreadyExists);

        let forced = Name { force: true, ..name(&path) };
        receive(forced, b"new").keep().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");

        // It came into being while we received.
        let other = dir.path().join("g");
        let download = receive(name(&other), b"ours");
        fs::write(&other, b"theirs").unwrap();
        assert_eq!(download.keep().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&other).unwrap(), b"theirs");
    }

    #[test]
    fn numbered_names_pass_over_what_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let numbered = Name { numbered: true, ..name(&dir.path().join("f")) };
        let one = receive(numbered.clone(), b"1");
        let two = receive(numbered.clone(), b"2");
        fs::write(dir.path().join("f"), b"old").unwrap();
        let three = receive(numbered, b"3");
        assert_eq!(two.keep().unwrap(), dir.path().join("f_1"));
        assert_eq!(three.keep().unwrap(), dir.path().join("f_2"));
        assert_eq!(one.keep().unwrap(), dir.path().join("f_3"));
        assert_eq!(fs::read(dir.path().join("f")).unwrap(), b"old");
    }

    #[test]
    fn folders_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let error = Download::open(name(dir.path())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
        let error = Download::open(name(&dir.path().join("no/f"))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
