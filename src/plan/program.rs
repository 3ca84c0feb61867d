//! `-e` and `-c`: which program runs on a connection.

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

use super::{Listen, tls::Tls, usage};
use crate::{cli::Args, net::Address};

/// A program for each connection.
#[derive(Clone, Debug)]
pub struct Program {
    command: Command,
    /// It goes on although its client has gone.
    pub stays: bool,
}

#[derive(Clone, Debug)]
enum Command {
    /// For the shell.
    Shell(String),
    /// The program and its arguments.
    Words(Vec<String>),
}

impl Program {
    /// Finds out what was meant; `None` if no program was. Fails for one that is not there.
    pub fn new(args: &Args) -> Result<Option<Self>> {
        let command = match (&args.exec, &args.command) {
            (Some(_), Some(_)) => return usage("-e and -c exclude each other"),
            (Some(text), None) => Command::Words(words(text)?),
            (None, Some(text)) => Command::Shell(text.clone()),
            (None, None) if args.keep_children => return usage("--keep-children needs -e or -c"),
            (None, None) => return Ok(None),
        };
        let program = Self { command, stays: args.keep_children };
        let (name, _) = program.words();
        if !is_there(Path::new(&name)) {
            bail!("run {}: there is no such program", name.display());
        }
        Ok(Some(program))
    }

    /// The program, and its arguments.
    pub fn words(&self) -> (OsString, Vec<OsString>) {
        match &self.command {
            Command::Shell(text) => ("/bin/sh".into(), vec!["-c".into(), text.into()]),
            Command::Words(words) => (
                words.first().map_or_else(OsString::new, Into::into),
                words.iter().skip(1).map(Into::into).collect(),
            ),
        }
    }
}

/// As it was typed.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.command {
            Command::Shell(text) => f.write_str(text),
            Command::Words(words) => f.write_str(&words.join(" ")),
        }
    }
}

impl Listen {
    /// Refuses to run programs for whoever comes, unless that was said. `addresses` are where it listens.
    pub fn check_exposure(&self, addresses: &[Address]) -> Result<()> {
        let verified = self.tls.as_ref().is_some_and(Tls::verifies);
        let near =
            addresses.iter().all(|address| address.ip().is_none_or(|ip| ip.to_canonical().is_loopback()));
        if self.session.program.is_none() || self.access.allow.is_some() || verified || near {
            return Ok(());
        }
        usage(
            "to run programs for others than this machine, say for whom: --allow 10.0.0.0/8, --tls-client-ca FILE, or --allow any; \
             for this machine alone listen on 127.0.0.1",
        )
    }
}

/// The words of a command, quoted as for a shell; a file that is there is a word, whatever its name.
fn words(text: &str) -> Result<Vec<String>> {
    if text.contains('/') && Path::new(text).is_file() {
        return Ok(vec![text.to_owned()]);
    }
    match shlex::split(text) {
        Some(words) if !words.is_empty() => Ok(words),
        Some(_) => usage("-e needs a program"),
        None => usage(format!("-e '{text}': a quote is not closed")),
    }
}

/// Whether there is such a program (execvp(3)).
fn is_there(name: &Path) -> bool {
    if name.components().count() > 1 || name.is_absolute() {
        return name.is_file();
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).map(|folder: PathBuf| folder.join(name)).any(|path| path.is_file())
}

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
    fn programs_are_looked_for() {
        for (name, there) in [("sh", true), ("/bin/sh", true), ("no-such-program", false), ("/", false)] {
            assert_eq!(is_there(Path::new(name)), there, "{name}");
        }
    }
}
