//! The folder that is served, and where in it a client is. Nothing outside it can be reached: every file is opened
//! beneath it, whatever links and names say.

use std::{fs::File, io, path::Path, rc::Rc};

use crate::sys::{self, Entry};

/// A client's place in the folder.
#[derive(Clone, Debug)]
pub struct Folder {
    root: Rc<File>,
    /// The names that lead from the root to it.
    place: Vec<Vec<u8>>,
}

/// What is in a folder: names, sorted.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Listing {
    pub folders: Vec<Vec<u8>>,
    pub files: Vec<Vec<u8>>,
}

impl Folder {
    /// The root itself.
    pub fn open(path: &Path) -> io::Result<Self> {
        let root = File::open(path)?;
        if !root.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self { root: Rc::new(root), place: Vec::new() })
    }

    /// The path as it is shown: `/` is the root.
    pub fn path(&self) -> Vec<u8> {
        [b"/", &self.place.join(&b'/')[..]].concat()
    }

    /// Goes elsewhere, if that is a folder.
    pub fn change(&mut self, path: &[u8]) -> io::Result<()> {
        let place = self.resolve(path)?;
        sys::open_beneath(&self.root, &place, true)?;
        self.place = place;
        Ok(())
    }

    /// Opens a regular file; its size in bytes comes with it.
    pub fn file(&self, path: &[u8]) -> io::Result<(File, u64)> {
        let place = self.resolve(path)?;
        // Whoever waits at a FIFO is not to be woken for nothing.
        if sys::kind_beneath(&self.root, &place)? != Entry::File {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let file = sys::open_beneath(&self.root, &place, false)?;
        let found = file.metadata()?;
        if found.is_file() { Ok((file, found.len())) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }

    /// What is here.
    pub fn list(&self) -> io::Result<Listing> {
        let here = sys::open_beneath(&self.root, &self.place, true)?;
        let mut names = sys::list_names(&here)?;
        names.sort();
        let mut listing = Listing::default();
        for name in names {
            let place = [&self.place[..], std::slice::from_ref(&name)].concat();
            // What leads out, as some links do, is not shown; nor is what is neither.
            match sys::kind_beneath(&self.root, &place) {
                Ok(Entry::Folder) => listing.folders.push(name),
                Ok(Entry::File) => listing.files.push(name),
                Ok(Entry::Other) | Err(_) => {}
            }
        }
        Ok(listing)
    }

    /// The names that lead from the root to a path; one that would leave the root leads nowhere.
    fn resolve(&self, path: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let mut place = if path.starts_with(b"/") { Vec::new() } else { self.place.clone() };
        for name in path.split(|byte| *byte == b'/') {
            match name {
                b"" | b"." => {}
                b".." => drop(place.pop().ok_or(io::ErrorKind::PermissionDenied)?),
                name if name.contains(&0) => return Err(io::ErrorKind::InvalidInput.into()),
                name => place.push(name.to_vec()),
            }
        }
        Ok(place)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_leads_out() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(outer.path().join("secret"), "secret").unwrap();
        fs::write(root.join("a/file"), "12345").unwrap();
        symlink("../../secret", root.join("a/out")).unwrap();
        symlink("/etc", root.join("etc")).unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink("file", root.join("a/link")).unwrap();
        symlink("self", root.join("self")).unwrap();
        let folder = Folder::open(&root).unwrap();
        let within = |path: &str| {
            let mut folder = folder.clone();
            folder.change(path.as_bytes()).map(|()| String::from_utf8(folder.path()).unwrap()).ok()
        };
        for (path, place) in [
            ("a", Some("/a")),
            ("a/b", Some("/a/b")),
            ("/a/", Some("/a")),
            ("a/../a/./b/..", Some("/a")),
            (".", Some("/")),
            ("..", None),
            ("a/../..", None),
            ("up", None),
            ("etc", None),
            ("self", None),
            ("nothing", None),
            ("a/file", None),
            ("\0", None),
        ] {
            assert_eq!(within(path).as_deref(), place, "{path}");
        }
        let size = |path: &str| folder.file(path.as_bytes()).map(|(_, size)| size).ok();
        for (path, wanted) in [
            ("a/file", Some(5)),
            ("/a/file", Some(5)),
            // Without openat2(2), no link is followed.
            ("a/link", (sys::FOLLOWS_LINKS_BENEATH).then_some(5)),
            ("a/out", None),
            ("../secret", None),
            ("/etc/passwd", None),
            ("etc/passwd", None),
            ("a", None),
        ] {
            assert_eq!(size(path), wanted, "{path}");
        }
        let names = |names: &[&str]| names.iter().map(|name| name.as_bytes().to_vec()).collect::<Vec<_>>();
        assert_eq!(folder.list().unwrap(), Listing { folders: names(&["a"]), files: Vec::new() });
        let mut inner = folder.clone();
        inner.change(b"a").unwrap();
        let files = if sys::FOLLOWS_LINKS_BENEATH { names(&["file", "link"]) } else { names(&["file"]) };
        assert_eq!(inner.list().unwrap(), Listing { folders: names(&["b"]), files });
    }
}
