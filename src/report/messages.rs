//! Messages on stderr: lines for people, objects for `--json`.

use std::{
    borrow::Cow,
    fmt::{Display, Write as _},
    io::{self, IsTerminal, Write},
    time::Duration,
};

use serde::Serialize;

use crate::sys;

/// The amount and form of messages.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// The count of `-v`.
    pub verbose: u8,
    /// `-Q`.
    pub quiet: bool,
    /// `--json`.
    pub json: bool,
    pub progress: Progress,
}

impl Report {
    /// Prints an error, with `-Q` too, as one line.
    pub fn error(&self, message: impl Display) {
        line(&format!("remote: {message}"));
    }

    /// Prints what a user should know without having asked: the side that closed an interactive session.
    pub fn note(&self, message: impl Display) {
        if !self.quiet {
            line(&format!("remote: {message}"));
        }
    }

    /// Prints with `-v`: sentences of OpenBSD's nc, which scripts look for, and events of sessions.
    pub fn verbose(&self, message: impl Display) {
        if self.verbose > 0 {
            line(&message.to_string());
        }
    }

    /// Prints details with `-vv`.
    pub fn detail(&self, message: impl Display) {
        if self.verbose > 1 {
            line(&message.to_string());
        }
    }

    /// Prints what an option or a signal asks for: a digest, the progress at SIGUSR1, an open port.
    pub fn result(&self, message: impl Display) {
        line(&message.to_string());
    }

    /// Prints one JSON object on a line, with `--json`.
    pub fn object(&self, object: &impl Serialize) {
        if self.json {
            // No type of ours fails to serialize, but a message must not end the program.
            let text =
                serde_json::to_string(object).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"));
            write_line(&text);
        }
    }

    /// Whether stderr is a terminal, and messages are not switched off.
    pub fn is_interactive(&self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }
}

/// The cases in which progress is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    Always,
    /// For transfers of files, if stderr is a terminal.
    Auto,
    Never,
}

/// The object of `--json` for a failure before the session.
#[derive(Debug, Serialize)]
pub struct Failure<'a> {
    /// The way in which the program ends, as in the objects of sessions.
    pub end: &'static str,
    pub error: &'a str,
}

/// Prints an error of usage, before there is a [`Report`].
pub fn usage(message: &str) {
    line(&format!("remote: {message}"));
}

/// Formats the bytes of both directions and the time of a session, for people.
pub fn byte_totals(sent: u64, received: u64, time: Duration) -> String {
    format!("{sent} bytes sent, {received} bytes received in {:.2} s", time.as_secs_f64())
}

/// Formats an error and its causes as one line, without the numbers of the system's errors.
pub fn sentence(error: &anyhow::Error) -> String {
    let causes = error.chain().map(|cause| match cause.downcast_ref::<io::Error>() {
        Some(error) => sys::reason(error),
        None => cause.to_string(),
    });
    causes.collect::<Vec<_>>().join(": ")
}

/// Escapes control characters in text that may stem from a peer or a resolver: they could steer the terminal.
pub fn escaped(text: &str) -> Cow<'_, str> {
    // Nearly every line is printable ASCII, and a busy server prints many.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Cow::Borrowed(text);
    }

    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        // C1 controls are among them: on some terminals U+009B alone begins a sequence (ECMA-48, CSI).
        if character.is_control() {
            let _ = write!(shown, "{}", character.escape_default());
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

/// Writes an escaped line.
fn line(text: &str) {
    write_line(&escaped(text));
}

/// Writes a line in one call, so that lines of several processes do not mix. A closed stderr is no error.
pub(super) fn write_line(text: &str) {
    // eprintln! would panic, and write several times.
    let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(escaped("a\u{1b}[31mb\nc\u{9b}é"), "a\\u{1b}[31mb\\nc\\u{9b}é");
        assert_eq!(escaped("a \u{7f}~"), "a \\u{7f}~");
    }
}
