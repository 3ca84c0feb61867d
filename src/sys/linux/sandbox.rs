//! What the process gives up (landlock(7)).

use std::{io, path::Path};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetStatus,
};

use crate::sys::{Enforcement, SandboxPolicy};

/// Gives up all that `policy` does not name, for this thread and all that it starts, and for good. A kernel without
/// Landlock, or with less of it, gives up less.
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

/// What is not there cannot be permitted, and need not be; nor can a pipe without a name (`-s <(…)`), which is not denied
/// either.
fn allow(rules: &mut RulesetCreated, path: &Path, access: BitFlags<AccessFs>) {
    let Ok(fd) = PathFd::new(path) else { return };
    // A file has no use for what only folders can do.
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(NEWEST) };
    let _ = rules.add_rule(PathBeneath::new(fd, access));
}

/// What Linux 6.10 has; older ones have less, which is taken as it is.
const NEWEST: ABI = ABI::V5;

#[cfg(test)]
mod tests {
    use std::{fs, net::TcpListener, net::TcpStream, process::Command, thread};

    use super::*;

    /// Whether this kernel can do it; a thread of its own is all that it costs.
    fn is_possible() -> bool {
        let tried = thread::spawn(|| confine(&SandboxPolicy::default()).unwrap());
        let wholly = tried.join().unwrap() == Enforcement::Full;
        if !wholly {
            println!("skipped: this kernel's Landlock is missing, or older");
        }
        wholly
    }

    #[test]
    fn what_is_not_named_is_given_up() {
        if !is_possible() {
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
