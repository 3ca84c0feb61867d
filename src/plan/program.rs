//! `-e` and `-c`: the program that runs on a connection.

use std::{ffi::OsString, fmt, path::Path};

use anyhow::{Result, bail};

use super::usage::usage;
use crate::cli;

/// A program for each connection.
#[derive(Clone, Debug)]
pub struct Program {
    command: Command,
    /// `--keep-children`: it goes on when its client has gone.
    pub keep: bool,
}

#[derive(Clone, Debug)]
enum Command {
    /// For the shell.
    Shell(String),
    /// The program and its arguments.
    Words(Vec<String>),
}

impl Program {
    /// Parses the command; `None` if there is none. Fails if the program does not exist.
    pub(super) fn from_args(args: &cli::Program) -> Result<Option<Self>> {
        let command = match (&args.exec, &args.sh_exec) {
            (Some(text), _) => Command::Words(words(text)?),
            (None, Some(text)) => Command::Shell(text.clone()),
            (None, None) => return Ok(None),
        };
        let program = Self { command, keep: args.keep_children };
        // A client would only learn of it by a lost connection.
        let (name, _) = program.words();
        if !exists(Path::new(&name), std::env::var_os("PATH")) {
            bail!("run {}: there is no such program", name.display());
        }
        Ok(Some(program))
    }

    /// Returns the program and its arguments.
    pub fn words(&self) -> (OsString, Vec<OsString>) {
        match &self.command {
            // The shell of system(3), and not SHELL: a command means the same for every user.
            Command::Shell(text) => ("/bin/sh".into(), vec!["-c".into(), text.into()]),
            Command::Words(words) => (
                words.first().map_or_else(OsString::new, Into::into),
                words.iter().skip(1).map(Into::into).collect(),
            ),
        }
    }
}

/// The command as typed.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.command {
            Command::Shell(text) => f.write_str(text),
            Command::Words(words) => f.write_str(&words.join(" ")),
        }
    }
}

/// Splits a command into words, quoted as for a shell. The path of an existing file is one word, spaces or not.
fn words(text: &str) -> Result<Vec<String>> {
    // A path with a blank in it needs no quotes; of a bare word, a file of that name here is not the program.
    if text.contains('/') && Path::new(text).is_file() {
        return Ok(vec![text.to_owned()]);
    }
    match shlex::split(text) {
        Some(words) if !words.is_empty() => Ok(words),
        Some(_) => usage("-e needs a program"),
        None => usage(format!("-e '{text}': a quote is not closed")),
    }
}

/// Returns whether a program of this name exists, in the folders of PATH if it is no path (execvp(3)).
fn exists(name: &Path, path: Option<OsString>) -> bool {
    // A name with a slash is not searched for. Permissions are left to execve(2), which reports them.
    if name.components().count() > 1 || name.is_absolute() {
        return name.is_file();
    }
    let path = path.unwrap_or_else(|| DEFAULT_PATH.into());
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

/// The folders that execvp(3) searches without PATH in the environment.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_a_shell() {
        let table: [(&str, &[&str]); 4] = [
            ("cat", &["cat"]),
            ("/bin/sh -i", &["/bin/sh", "-i"]),
            ("printf '%s\\n' \"a b\"", &["printf", "%s\\n", "a b"]),
            ("  tr   a b ", &["tr", "a", "b"]),
        ];
        for (text, parts) in table {
            assert_eq!(words(text).unwrap(), parts, "{text}");
        }
        assert!(words("").is_err() && words("'").is_err());
    }

    #[test]
    fn programs_are_found_in_path() {
        let table = [
            ("sh", Some("/no/such:/bin"), true),
            ("sh", Some("/no/such"), false),
            ("sh", None, true),
            ("/bin/sh", Some("/no/such"), true),
            ("no-such-program", Some("/bin"), false),
            ("no-such-program", None, false),
            ("/", None, false),
        ];
        for (name, path, there) in table {
            assert_eq!(exists(Path::new(name), path.map(Into::into)), there, "{name} in {path:?}");
        }
    }
}
