//! An interactive terminal.

use std::io::{self, Read, Write};

use super::line_editor::LineEditor;
use crate::sys::{self, Descriptor, RawModeGuard};

/// The terminal. While we are in the foreground its lines are edited here, because the kernel cuts them at 4,095 bytes
/// (termios(3), MAX_CANON); a terminal that was set to raw is left as it is.
#[derive(Debug)]
pub struct Terminal {
    descriptor: Descriptor,
    mode: Option<RawModeGuard>,
    /// It was released: other programs may have written to it.
    released: bool,
    line: LineEditor,
}

impl Terminal {
    /// Takes a terminal; its mode changes at the first read.
    pub fn new(descriptor: Descriptor) -> Self {
        Self { descriptor, mode: None, released: false, line: LineEditor::default() }
    }

    /// Returns the descriptor.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// Returns the descriptor, to be watched.
    pub fn descriptor_mut(&mut self) -> &mut Descriptor {
        &mut self.descriptor
    }

    /// Restores the terminal's mode; the next read changes it again.
    pub fn release(&mut self) {
        if self.mode.take().is_some() {
            // The next read shows the prompt again.
            self.released = true;
            if self.line.is_waiting() {
                // Our prompt would stand in the way of the shell's. A stopped screen keeps it.
                let _ = self.descriptor.write(b"\r\x1b[K");
            }
        }
    }

    /// Sets the prompt before each line; received text appears above it.
    pub fn set_prompt(&mut self, prompt: String) {
        self.line.set_prompt(prompt);
    }

    /// Returns whether output has to go through here, so that it does not break the line being typed.
    pub fn has_prompt(&self) -> bool {
        self.line.has_prompt()
    }

    fn enter_line_mode(&mut self) -> io::Result<()> {
        if self.mode.is_none()
            && let Some((mode, keys)) = RawModeGuard::take(&self.descriptor)?
        {
            self.mode = Some(mode);
            self.line.set_keys(keys);
            if std::mem::take(&mut self.released) && self.line.has_prompt() {
                self.line.show_line();
            }
        }
        Ok(())
    }

    /// Echoes typed text. A stopped screen shows it later.
    fn write_echo(&mut self) -> io::Result<()> {
        // A terminal that was stopped by ctrl-S must not stop the session.
        while !self.line.echo().is_empty() {
            match self.descriptor.write(self.line.echo()) {
                Ok(n) => drop(self.line.echo().drain(..n)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Read for Terminal {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            self.enter_line_mode()?;
            self.write_echo()?;

            if !self.line.done().is_empty() {
                return self.line.done().read(buf);
            }
            if self.line.has_ended() {
                return Ok(0);
            }

            // While the screen is stopped, typed keys must not fill the memory with their echo.
            if self.line.echo().len() > MAX_ECHO {
                return Err(io::ErrorKind::WouldBlock.into());
            }

            // Raw mode was set by the user, or the job is in the background: there is nothing to edit.
            if self.mode.is_none() {
                return self.descriptor.read(buf);
            }

            match self.descriptor.read(buf)? {
                0 => return Ok(0),
                n => self.line.type_in(&buf[..n]),
            }
        }
    }
}

impl Write for Terminal {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_echo()?;
        if self.line.echo().len() > MAX_ECHO {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if self.mode.is_none() {
            return self.descriptor.write(buf);
        }
        let width = sys::terminal_width(&self.descriptor);
        self.line.show_above(buf, width);
        self.write_echo()?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes of echo that may wait for a stopped screen before input waits too.
const MAX_ECHO: usize = 64 << 10;
