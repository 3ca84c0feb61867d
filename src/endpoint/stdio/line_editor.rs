//! A line that is being typed: the canonical mode of a terminal (termios(3)) without its limit of 4,095 bytes. Keys in,
//! lines and echo out; no descriptor.

use std::collections::VecDeque;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::sys::Keys;

/// The line editor.
#[derive(Debug, Default)]
pub struct LineEditor {
    keys: Keys,
    /// The text since the last line feed, and the columns that each byte takes on the screen; those of a character stand at
    /// its first byte.
    text: Vec<u8>,
    columns: Vec<usize>,
    /// The next byte is text, whatever it is.
    literal: bool,
    /// Complete lines.
    done: VecDeque<u8>,
    /// Output for the screen.
    echo: Vec<u8>,
    ended: bool,
    /// The prompt before each line.
    prompt: String,
    /// Lines that were typed behind a prompt, the oldest first, and the one that is on the screen: behind the last is the
    /// line that is being typed.
    history: Vec<Vec<u8>>,
    recalled: usize,
    /// The state of a key that sends several bytes.
    escape: Escape,
}

/// A key that sends ESC [ and a letter (ECMA-48, CSI), perhaps with numbers before it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Escape {
    Begun,
    Inside,
    #[default]
    None,
}

impl LineEditor {
    /// Sets the prompt before each line.
    pub fn set_prompt(&mut self, prompt: String) {
        self.prompt = prompt;
        self.echo.extend_from_slice(self.prompt.as_bytes());
    }

    /// Returns whether there is a prompt.
    pub fn has_prompt(&self) -> bool {
        !self.prompt.is_empty()
    }

    /// Shows text above the line that is being typed, on a screen of `width` columns.
    pub fn show_above(&mut self, bytes: &[u8], width: usize) {
        let columns = self.prompt.width() + self.columns.iter().sum::<usize>();
        // The cursor stays in the last column until there is more.
        let rows = columns.saturating_sub(1) / width;

        self.echo.push(b'\r');
        if rows > 0 {
            self.echo.extend_from_slice(format!("\x1b[{rows}A").as_bytes());
        }

        self.echo.extend_from_slice(b"\x1b[J");
        self.echo.extend_from_slice(bytes);
        if !bytes.ends_with(b"\n") {
            self.echo.push(b'\n');
        }
        self.show_line();
    }

    /// Returns whether there is a prompt, and nothing behind it.
    pub fn is_waiting(&self) -> bool {
        self.has_prompt() && self.text.is_empty() && self.echo.is_empty()
    }

    /// Shows the prompt, and the text behind it.
    pub fn show_line(&mut self) {
        self.echo.extend_from_slice(self.prompt.as_bytes());
        self.echo.extend(self.text.iter().flat_map(|byte| visible(*byte)));
    }

    /// Sets the keys that edit the line; its text stays.
    pub fn set_keys(&mut self, keys: Keys) {
        self.keys = keys;
    }

    /// Takes typed bytes.
    pub fn type_in(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.key(byte);
        }
    }

    /// Returns complete lines, to be read.
    pub fn done(&mut self) -> &mut VecDeque<u8> {
        &mut self.done
    }

    /// Returns the output for the screen, to be taken off the front.
    pub fn echo(&mut self) -> &mut Vec<u8> {
        &mut self.echo
    }

    /// Returns whether the end-of-file key was typed at the start of a line.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    fn key(&mut self, byte: u8) {
        let keys = self.keys;
        // termios(3): a key that is disabled has the code 0.
        let is = |key: u8| key != 0 && byte == key;

        if self.literal {
            self.literal = false;
            self.insert(byte);
        } else if self.escape(byte) {
            // It is a part of a key.
        } else if byte == b'\n' {
            self.echo.push(b'\n');
            self.remember();
            self.text.push(b'\n');
            self.release();
            self.show_line();
        } else if is(keys.end_of_file) {
            // termios(3), VEOF: behind text, the key passes on the text; only at the start of a line is it the end.
            if self.text.is_empty() { self.ended = true } else { self.release() }
        } else if is(keys.erase) {
            self.erase();
        } else if is(keys.word_erase) {
            while self.text.last().is_some_and(u8::is_ascii_whitespace) {
                self.erase();
            }
            while self.text.last().is_some_and(|byte| !byte.is_ascii_whitespace()) {
                self.erase();
            }
        } else if is(keys.kill) {
            self.clear();
        } else if is(keys.literal_next) {
            self.literal = true;
        } else if is(keys.reprint) {
            self.echo.extend_from_slice(b"^R\n");
            self.show_line();
        } else {
            self.insert(byte);
        }
    }

    fn insert(&mut self, byte: u8) {
        self.echo.extend(visible(byte));
        self.text.push(byte);

        self.columns.push(match byte {
            b'\t' => TAB_WIDTH - self.columns.iter().sum::<usize>() % TAB_WIDTH,
            0..=0x1f | 0x7f => 2,
            0x20..=0x7e => 1,
            _ => 0,
        });

        // The width of a character is known when its last byte has been typed.
        if byte >= 0x80 {
            let start = last_character(&self.text);
            if let Some(character) =
                std::str::from_utf8(&self.text[start..]).ok().and_then(|s| s.chars().next())
            {
                self.columns[start] = character.width().unwrap_or(0);
            }
        }

        // A line without end must not grow without bound.
        if self.text.len() >= MAX_LINE {
            self.release();
        }
    }

    /// Takes the bytes of keys that send several. Only behind a prompt: elsewhere they may be meant for the peer.
    fn escape(&mut self, byte: u8) -> bool {
        let was = std::mem::take(&mut self.escape);
        match (was, byte) {
            (Escape::None, 0x1b) if self.has_prompt() => self.escape = Escape::Begun,
            (Escape::None, _) => return false,
            (Escape::Begun, b'[' | b'O') => self.escape = Escape::Inside,
            (Escape::Inside, b'A') => self.recall(self.recalled.checked_sub(1)),
            (Escape::Inside, b'B') => self.recall(Some(self.recalled + 1)),
            (Escape::Inside, b'0'..=b'9' | b';') => self.escape = Escape::Inside,
            (Escape::Begun | Escape::Inside, _) => {}
        }
        true
    }

    /// Shows another line of the history in place of the one being typed.
    fn recall(&mut self, which: Option<usize>) {
        let Some(which) = which.filter(|which| *which <= self.history.len()) else { return };
        self.recalled = which;
        let text = self.history.get(which).cloned().unwrap_or_default();
        self.clear();
        for byte in text {
            self.insert(byte);
        }
    }

    fn remember(&mut self) {
        // Text that is typed for a peer is not kept.
        if self.has_prompt() && !self.text.is_empty() && self.history.last() != Some(&self.text) {
            self.history.push(self.text.clone());
            if self.history.len() > MAX_HISTORY {
                self.history.remove(0);
            }
        }
        self.recalled = self.history.len();
    }

    fn clear(&mut self) {
        while !self.text.is_empty() {
            self.erase();
        }
    }

    /// Removes the last character.
    fn erase(&mut self) {
        let start = last_character(&self.text);
        let columns: usize = self.columns.drain(start..).sum();
        self.text.truncate(start);
        for _ in 0..columns {
            // A backspace only moves the cursor: a blank is written over the column.
            self.echo.extend_from_slice(b"\x08 \x08");
        }
    }

    fn release(&mut self) {
        self.done.extend(self.text.drain(..));
        self.columns.clear();
    }
}

/// Returns where the last character of UTF-8 text starts; of other text, the last byte.
fn last_character(text: &[u8]) -> usize {
    let tail = text.len().saturating_sub(4)..text.len();
    let start = tail.rev().find(|at| text[*at] & 0xc0 != 0x80);
    start.unwrap_or(text.len().saturating_sub(1))
}

/// Returns a byte as it is shown: control characters as `^A`.
fn visible(byte: u8) -> Vec<u8> {
    match byte {
        b'\t' | 0x20..=0x7e | 0x80.. => vec![byte],
        _ => vec![b'^', byte ^ 0x40],
    }
}

/// Bytes after which a line is passed on without its end: the largest datagram.
const MAX_LINE: usize = 65_507;

/// Lines in the history at most.
const MAX_HISTORY: usize = 500;

/// Columns between tabulator stops.
const TAB_WIDTH: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: Keys =
        Keys { end_of_file: 4, erase: 127, kill: 21, literal_next: 22, reprint: 18, word_erase: 23 };

    fn typed(text: &str) -> (String, String, bool) {
        let mut line = LineEditor::default();
        line.set_keys(KEYS);
        line.type_in(text.as_bytes());
        let done: Vec<u8> = line.done().drain(..).collect();
        let echo = String::from_utf8(line.echo().clone()).unwrap();
        (String::from_utf8(done).unwrap(), echo, line.has_ended())
    }

    #[test]
    fn keys() {
        let table = [
            ("nothing is sent before the line ends", "ab", "", "ab", false),
            ("a line", "ab\n", "ab\n", "ab\n", false),
            ("two lines", "a\nb\n", "a\nb\n", "a\nb\n", false),
            ("erase", "ab\x7fc\n", "ac\n", "ab\x08 \x08c\n", false),
            ("erase at the start", "\x7fa\n", "a\n", "a\n", false),
            ("erase takes a whole character", "é\x7f\n", "\n", "é\x08 \x08\n", false),
            ("erase takes a wide character's two columns", "あ\x7f\n", "\n", "あ\x08 \x08\x08 \x08\n", false),
            (
                "erase takes a control character's two columns",
                "\x01\x7f\n",
                "\n",
                "^A\x08 \x08\x08 \x08\n",
                false,
            ),
            ("erase takes a tabulator", "abcdef\t\x7f\n", "abcdef\n", "abcdef\t\x08 \x08\x08 \x08\n", false),
            (
                "word erase",
                "ab cd  \x17e\n",
                "ab e\n",
                "ab cd  \x08 \x08\x08 \x08\x08 \x08\x08 \x08e\n",
                false,
            ),
            ("kill", "ab\x15c\n", "c\n", "ab\x08 \x08\x08 \x08c\n", false),
            ("literal next", "\x16\x04\n", "\x04\n", "^D\n", false),
            ("reprint", "ab\x12\n", "ab\n", "ab^R\nab\n", false),
            ("the end", "a\n\x04", "a\n", "a\n", true),
            ("the end's key within a line passes the line on", "ab\x04", "ab", "ab", false),
        ];

        for (what, text, done, echo, ended) in table {
            assert_eq!(typed(text), (done.to_owned(), echo.to_owned(), ended), "{what}");
        }
    }

    #[test]
    fn received_text_appears_above_the_line_being_typed() {
        let table = [
            ("hel", "hi", 80, "\r\x1b[Jhi\nme> hel"),
            ("hel", "hi\n", 80, "\r\x1b[Jhi\nme> hel"),
            ("", "hi", 80, "\r\x1b[Jhi\nme> "),
            ("123456", "hi", 10, "\r\x1b[Jhi\nme> 123456"),
            ("1234567", "hi", 10, "\r\x1b[1A\x1b[Jhi\nme> 1234567"),
            ("あああああああああ", "hi", 10, "\r\x1b[2A\x1b[Jhi\nme> あああああああああ"),
        ];

        for (typed, received, width, screen) in table {
            let mut line = LineEditor::default();
            line.set_keys(KEYS);
            line.set_prompt("me> ".into());
            line.type_in(typed.as_bytes());
            line.echo().clear();
            line.show_above(received.as_bytes(), width);
            assert_eq!(String::from_utf8_lossy(line.echo()), screen, "{typed:?} {received:?}");
        }
    }

    #[test]
    fn lines_are_recalled_behind_a_prompt() {
        let table = [
            ("one\ntwo\n\x1b[A\n", "one\ntwo\ntwo\n"),
            ("one\ntwo\n\x1b[A\x1b[A\n", "one\ntwo\none\n"),
            ("one\n\x1b[A\x1b[A\x1b[A!\n", "one\none!\n"),
            ("one\ntwo\n\x1b[A\x1b[A\x1b[B\n", "one\ntwo\ntwo\n"),
            ("one\nhalf\x1b[A\x1b[Bnew\n", "one\nnew\n"),
            ("one\n\x1bOA\x7f\n", "one\non\n"),
            ("a\x1b[1;5Cb\x1b[Dc\x1bxd\n", "abcd\n"),
        ];

        for (typed, done) in table {
            let mut line = LineEditor::default();
            line.set_keys(KEYS);
            line.set_prompt("> ".into());
            line.type_in(typed.as_bytes());
            let found: Vec<u8> = line.done().drain(..).collect();
            assert_eq!(String::from_utf8_lossy(&found), done, "{typed:?}");
        }
        assert_eq!(typed("a\x1b[A\n").0, "a\x1b[A\n", "without a prompt, the peer may want it");
    }

    #[test]
    fn a_long_line_is_whole() {
        let text = format!("{}\n", "x".repeat(10_000));
        assert_eq!(typed(&text).0, text);
    }

    #[test]
    fn a_line_without_end_is_passed_on() {
        assert_eq!(typed(&"x".repeat(70_000)).0.len(), MAX_LINE);
    }
}
