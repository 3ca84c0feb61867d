//! The folder that is served, and the position of a client in it. Nothing outside it can be reached: every file is
//! opened beneath it (openat2(2)), whatever links and names say.

use std::{fs::File, io, path::Path, rc::Rc};

use crate::sys::{self, Entry};

/// The position of a client in the folder.
#[derive(Clone, Debug)]
pub struct Folder {
    /// The open root, which all clients share.
    root: Rc<File>,
    /// The names on the way from the root.
    names: Vec<Vec<u8>>,
}

/// The content of a folder: sorted names.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Listing {
    pub folders: Vec<Vec<u8>>,
    pub files: Vec<Vec<u8>>,
}

impl Folder {
    /// Opens the root.
    pub fn open(path: &Path) -> io::Result<Self> {
        let root = File::open(path)?;
        if !root.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self { root: Rc::new(root), names: Vec::new() })
    }

    /// Returns the path for display: `/` is the root.
    pub fn path(&self) -> Vec<u8> {
        [b"/", &self.names.join(&b'/')[..]].concat()
    }

    /// Changes to another folder.
    pub fn change(&mut self, path: &[u8]) -> io::Result<()> {
        let names = self.resolve(path)?;
        sys::open_beneath(&self.root, &names, true)?;
        self.names = names;
        Ok(())
    }

    /// Opens a regular file. Returns its size in bytes with it.
    pub fn file(&self, path: &[u8]) -> io::Result<(File, u64)> {
        let names = self.resolve(path)?;
        // To open a FIFO would wake its writer.
        if sys::kind_beneath(&self.root, &names)? != Entry::File {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let file = sys::open_beneath(&self.root, &names, false)?;
        // Between the two calls, the name may have come to be that of another file.
        let found = file.metadata()?;
        if found.is_file() { Ok((file, found.len())) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }

    /// Lists the folder.
    pub fn list(&self) -> io::Result<Listing> {
        let here = sys::open_beneath(&self.root, &self.names, true)?;
        let mut names = sys::list_names(&here)?;
        // readdir(3) has no order.
        names.sort();

        let mut listing = Listing::default();
        for name in names {
            let path = [&self.names[..], std::slice::from_ref(&name)].concat();
            // Links that lead out of the root fail here, and are not shown.
            match sys::kind_beneath(&self.root, &path) {
                Ok(Entry::Folder) => listing.folders.push(name),
                Ok(Entry::File) => listing.files.push(name),
                Ok(Entry::Other) | Err(_) => {}
            }
        }
        Ok(listing)
    }

    /// Resolves a path to the names on the way from the root. Fails for a path that would leave it.
    fn resolve(&self, path: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let mut resolved = if path.starts_with(b"/") { Vec::new() } else { self.names.clone() };
        for name in path.split(|byte| *byte == b'/') {
            match name {
                b"" | b"." => {}
                // Resolved here and not by the kernel: the parent of a link's target is not that of the link.
                b".." => drop(resolved.pop().ok_or(io::ErrorKind::PermissionDenied)?),
                name if name.contains(&0) => return Err(io::ErrorKind::InvalidInput.into()),
                name => resolved.push(name.to_vec()),
            }
        }
        Ok(resolved)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::symlink;

    use super::*;

    #[test]
    fn no_path_leads_out_of_the_root() {
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
