//! All that the program says. Payload goes to stdout, and only that; what is said goes to stderr.

mod progress;

pub use self::progress::{Meter, Progress};

use std::{
    fmt::{Display, Write as _},
    io::{self, IsTerminal, Write},
    time::Duration,
};

use serde::Serialize;

use crate::sys;

/// How much is said, and how.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// How often `-v` was given.
    pub verbose: u8,
    /// `-Q`.
    pub quiet: bool,
    /// `--json`.
    pub json: bool,
    pub progress: Progress,
}

impl Report {
    /// An error: always, as one line.
    pub fn error(&self, what: impl Display) {
        line(&format!("remote: {what}"));
    }

    /// What is said though nobody asked: a random port, who closed an interactive session.
    pub fn note(&self, what: impl Display) {
        if !self.quiet {
            line(&format!("remote: {what}"));
        }
    }

    /// Words of OpenBSD's nc, which scripts look for: with `-v`.
    pub fn verbose(&self, what: impl Display) {
        if self.verbose > 0 {
            line(&what.to_string());
        }
    }

    /// Details: with `-vv`.
    pub fn detail(&self, what: impl Display) {
        if self.verbose > 1 {
            line(&what.to_string());
        }
    }

    /// What is asked for by name: a digest, an answer to SIGUSR1, an open port.
    pub fn result(&self, what: impl Display) {
        line(&what.to_string());
    }

    /// One JSON object.
    pub fn object(&self, object: &impl Serialize) {
        if self.json {
            let text =
                serde_json::to_string(object).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"));
            write_line(&text);
        }
    }

    /// Whether somebody reads along.
    pub fn is_watched(&self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }
}

/// The object of `--json` where there was no session.
#[derive(Debug, Serialize)]
pub struct Failure<'a> {
    pub end: &'static str,
    pub error: &'a str,
}

/// Wrong usage: said before it is known how much is to be said.
pub fn usage(what: &str) {
    line(&format!("remote: {what}"));
}

/// How many bytes went each way, in how long, for people.
pub fn figures(sent: u64, received: u64, time: Duration) -> String {
    format!("{sent} bytes sent, {received} bytes received in {:.2} s", time.as_secs_f64())
}

/// An error and its causes, as one line, without the numbers of the system's errors.
pub fn sentence(error: &anyhow::Error) -> String {
    let causes = error.chain().map(|cause| match cause.downcast_ref::<io::Error>() {
        Some(error) => sys::reason(error),
        None => cause.to_string(),
    });
    causes.collect::<Vec<_>>().join(": ")
}

/// Text that may hold what a peer or a resolver said, without what could steer a terminal.
pub fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            let _ = write!(shown, "{}", character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

fn line(text: &str) {
    write_line(&escaped(text));
}

/// One write, so that the lines of several processes are not mixed. A stderr that is gone hears nothing.
fn write_line(text: &str) {
    let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_not_obeyed() {
        assert_eq!(escaped("a\u{1b}[31mb\nc\u{9b}é"), "a\\u{1b}[31mb\\nc\\u{9b}é");
    }
}
