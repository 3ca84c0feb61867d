//! The terminal: its line editing and echo, and the foreground job.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
};

use rustix::{
    io::Errno,
    termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios},
};

/// The keys that edit a line (termios(3)); 0 where a key is disabled.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Keys {
    pub end_of_file: u8,
    pub erase: u8,
    pub kill: u8,
    pub literal_next: u8,
    pub reprint: u8,
    pub word_erase: u8,
}

/// A terminal without its own line editing, which cuts lines at 4,095 bytes (termios(3), "Canonical and noncanonical
/// mode"). Restores the terminal when dropped.
#[derive(Debug)]
pub struct RawModeGuard {
    terminal: OwnedFd,
    saved: Termios,
}

impl RawModeGuard {
    /// Takes over the line editing. `None` if this is a background job, or if the terminal does not edit lines: the
    /// user has set it to raw mode, which is left alone.
    pub fn take(terminal: impl AsFd) -> io::Result<Option<(Self, Keys)>> {
        let terminal = terminal.as_fd().try_clone_to_owned()?;
        let saved = rustix::termios::tcgetattr(&terminal)?;
        let editing = LocalModes::ICANON | LocalModes::ECHO;
        if !saved.local_modes.contains(editing) || !is_foreground(&terminal) {
            return Ok(None);
        }

        let key = |index| match saved.special_codes[index] {
            // `_POSIX_VDISABLE` is 0 on Linux and 255 on the BSDs.
            255 => 0,
            key => key,
        };
        let keys = Keys {
            end_of_file: key(SpecialCodeIndex::VEOF),
            erase: key(SpecialCodeIndex::VERASE),
            kill: key(SpecialCodeIndex::VKILL),
            literal_next: key(SpecialCodeIndex::VLNEXT),
            reprint: key(SpecialCodeIndex::VREPRINT),
            word_erase: key(SpecialCodeIndex::VWERASE),
        };

        let mut ours = saved.clone();
        // With IEXTEN, the terminal would consume the literal-next key.
        ours.local_modes.remove(editing | LocalModes::IEXTEN);
        ours.special_codes[SpecialCodeIndex::VMIN] = 1;
        ours.special_codes[SpecialCodeIndex::VTIME] = 0;
        rustix::termios::tcsetattr(&terminal, OptionalActions::Now, &ours)?;
        Ok(Some((Self { terminal, saved }, keys)))
    }
}

impl Drop for RawModeGuard {
    fn drop(&mut self) {
        if is_foreground(&self.terminal) {
            // A terminal that hung up has no mode to restore.
            let _ = rustix::termios::tcsetattr(&self.terminal, OptionalActions::Now, &self.saved);
        }
    }
}

/// A terminal without echo, for a secret. Input that was typed before is discarded. Restores the echo when dropped.
#[derive(Debug)]
pub struct NoEcho {
    terminal: OwnedFd,
    saved: Termios,
}

impl NoEcho {
    /// Stops the echo. Fails in a background job, which SIGTTOU would stop (termios(3)).
    pub fn take(terminal: impl AsFd) -> io::Result<Self> {
        let terminal = terminal.as_fd().try_clone_to_owned()?;
        if !is_foreground(&terminal) {
            return Err(io::Error::other("not in the foreground"));
        }

        let saved = rustix::termios::tcgetattr(&terminal)?;
        let mut ours = saved.clone();
        ours.local_modes.remove(LocalModes::ECHO);
        // ECHONL still shows the end of the line.
        ours.local_modes.insert(LocalModes::ICANON | LocalModes::ISIG | LocalModes::ECHONL);
        rustix::termios::tcsetattr(&terminal, OptionalActions::Flush, &ours)?;
        Ok(Self { terminal, saved })
    }
}

impl Drop for NoEcho {
    fn drop(&mut self) {
        if is_foreground(&self.terminal) {
            // A terminal that hung up has no mode to restore.
            let _ = rustix::termios::tcsetattr(&self.terminal, OptionalActions::Now, &self.saved);
        }
    }
}

/// Returns the number of columns of a terminal; 80 where it is unknown.
pub fn terminal_width(terminal: impl AsFd) -> usize {
    let size = rustix::termios::tcgetwinsize(terminal).map_or(0, |size| size.ws_col.into());
    if size == 0 { 80 } else { size }
}

/// Tells whether this process is in the foreground job of the terminal, or the terminal controls no jobs.
pub(in crate::sys) fn is_foreground(terminal: impl AsFd) -> bool {
    match rustix::termios::tcgetpgrp(terminal) {
        Ok(group) => group == rustix::process::getpgrp(),
        Err(_) => true,
    }
}

/// Tells whether a read failed only because this is a background job that ignores SIGTTIN (termios(3), EIO).
pub fn is_background_read(error: &io::Error, terminal: impl AsFd) -> bool {
    error.raw_os_error() == Some(Errno::IO.raw_os_error()) && !is_foreground(terminal)
}

/// Tells whether this is a terminal (isatty(3)).
pub fn is_terminal(fd: impl AsFd) -> bool {
    rustix::termios::isatty(fd)
}

/// Returns the paths by which stdin and stdout can be opened once more, if they are terminals (proc_pid_fd(5)).
pub fn standard_terminals() -> impl Iterator<Item = PathBuf> {
    let terminals = [is_terminal(rustix::stdio::stdin()), is_terminal(rustix::stdio::stdout())];
    let paths = ["/proc/self/fd/0", "/proc/self/fd/1"];
    paths.into_iter().zip(terminals).filter(|(_, is_terminal)| *is_terminal).map(|(path, _)| path.into())
}
