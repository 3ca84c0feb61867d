//! The rights that the process gives up (landlock(7)).

use std::{io, path::Path};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetStatus,
};

use crate::sys::{Enforcement, SandboxPolicy};

/// Gives up every right that `policy` does not name, permanently, for this thread and all threads and processes that it
/// starts. A kernel with an older Landlock, or none, enforces less.
pub fn confine(policy: &SandboxPolicy) -> io::Result<Enforcement> {
    let ruleset = Ruleset::default().handle_access(AccessFs::from_all(NEWEST)).map_err(io::Error::other)?;
    let ruleset = ruleset.handle_access(AccessNet::from_all(NEWEST)).map_err(io::Error::other)?;
    let mut rules = ruleset.create().map_err(io::Error::other)?;

    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = AccessFs::WriteFile | AccessFs::IoctlDev;
    let removes = AccessFs::RemoveFile.into();
    let table = [
        (&policy.read, read),
        (&policy.write, read | write),
        (&policy.make, write | AccessFs::MakeReg | AccessFs::RemoveFile),
        (&policy.remove, removes),
    ];
    for (paths, access) in table {
        for path in paths {
            allow(&mut rules, path, access);
        }
    }

    let status = rules.restrict_self().map_err(io::Error::other)?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Enforcement::Full,
        RulesetStatus::PartiallyEnforced => Enforcement::Partial,
        RulesetStatus::NotEnforced => Enforcement::None,
    })
}

/// Adds a rule for `path`. A path that does not exist gets none and needs none; nor does a pipe without a name
/// (`-s <(…)`), to which Landlock denies nothing.
fn allow(rules: &mut RulesetCreated, path: &Path, access: BitFlags<AccessFs>) {
    let Ok(fd) = PathFd::new(path) else { return };
    // Landlock refuses a rule that gives a file the rights of folders.
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(NEWEST) };
    let _ = rules.add_rule(PathBeneath::new(fd, access));
}

/// The Landlock version of Linux 6.10. An older kernel enforces the part that it knows.
const NEWEST: ABI = ABI::V5;

#[cfg(test)]
mod tests {
    use std::{fs, net::TcpListener, net::TcpStream, process::Command, thread};

    use super::*;

    /// Tells whether this kernel enforces everything; tried in a thread of its own, which ends confined.
    fn is_supported() -> bool {
        let enforced = thread::spawn(|| confine(&SandboxPolicy::default()).unwrap());
        let full = enforced.join().unwrap() == Enforcement::Full;
        if !full {
            println!("skipped: this kernel's Landlock is missing, or older");
        }
        full
    }

    #[test]
    fn unnamed_paths_and_ports_are_denied() {
        if !is_supported() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for folder in ["read", "make", "other"] {
            fs::create_dir(path(folder)).unwrap();
            fs::write(path(folder).join("file"), b"text").unwrap();
        }

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (at, root) = (listener.local_addr().unwrap(), dir.path().to_owned());
        let confined = move || {
            let path = |name: &str| root.join(name);
            confine(&SandboxPolicy {
                read: vec![path("read/file"), path("not/there")],
                write: vec!["/dev/null".into()],
                make: vec![path("make")],
                remove: vec![],
            })
            .unwrap();
            let denied = |result: io::Result<()>| {
                assert_eq!(result.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
            };
            assert_eq!(fs::read(path("read/file")).unwrap(), b"text");
            fs::write("/dev/null", b"text").unwrap();
            let part = path("make/part");
            fs::File::options().write(true).create_new(true).open(&part).unwrap();
            fs::rename(&part, path("make/whole")).unwrap();
            fs::remove_file(path("make/whole")).unwrap();
            denied(fs::read(path("other/file")).map(drop));
            denied(fs::read("/etc/passwd").map(drop));
            denied(fs::read(path("make/file")).map(drop));
            denied(fs::write(path("read/file"), b"x"));
            denied(fs::remove_file(path("other/file")));
            denied(fs::write(path("other/new"), b"x"));
            denied(Command::new("/bin/true").status().map(drop));
            denied(TcpStream::connect(at).map(drop));
            denied(TcpListener::bind("127.0.0.1:0").map(drop));
        };
        thread::spawn(confined).join().unwrap();
        fs::read("/etc/passwd").unwrap();
    }
}
