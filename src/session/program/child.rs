//! A program on a connection: it has the socket itself, or the other end of a pair.

use std::{
    io,
    process::{Command, ExitStatus},
    time::{Duration, Instant},
};

use crate::{
    endpoint::{Input, Output, Stdio},
    sys::{self, Descriptor},
};

/// A program that was started, with all that it starts in its process group.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    exit_status: Option<ExitStatus>,
    /// It was waited for (wait(2)): until then, no other process can get its number, which is its group's.
    reaped: bool,
    /// It goes on although its client has gone (`--keep`).
    keep: bool,
    /// It was told to end, and is killed then.
    kill_at: Option<Instant>,
}

impl Child {
    /// Starts it with a connected socket as its stdin and stdout. Our handle then only reports a hang-up.
    pub fn on_socket(mut command: Command, socket: &Descriptor, keep: bool) -> io::Result<Self> {
        let theirs = sys::duplicate_blocking(socket)?;
        command.stdin(theirs.try_clone()?).stdout(theirs);
        Self::start(command, keep)
    }

    /// Starts it with one end of a pair as its stdin and stdout, and returns ours.
    pub fn beside(mut command: Command, keep: bool) -> io::Result<(Self, Stdio)> {
        let (ours, theirs) = sys::socket_pair()?;
        command.stdin(theirs.try_clone()?).stdout(theirs);
        let output = Output::Descriptor(ours.duplicate()?);
        Ok((Self::start(command, keep)?, Stdio::new(Input::Descriptor(ours), output)))
    }

    /// Starts the command, which closes what it has given to the program.
    fn start(mut command: Command, keep: bool) -> io::Result<Self> {
        Ok(Self {
            process: sys::spawn_in_group(&mut command)?,
            exit_status: None,
            reaped: false,
            keep,
            kill_at: None,
        })
    }

    /// Returns whether it goes on without its client.
    pub fn keeps_running(&self) -> bool {
        self.keep
    }

    /// Returns its exit status, if it has ended.
    pub fn status(&mut self) -> Option<ExitStatus> {
        if self.exit_status.is_none() {
            // It fails only for a child that is not ours.
            self.exit_status = sys::peek_exit_status(&self.process).ok().flatten();
        }
        self.exit_status
    }

    /// Returns whether processes of its group are left, once it has ended.
    pub fn has_left_others(&mut self) -> bool {
        if self.status().is_some() && !self.reaped {
            self.reaped = true;
            let _ = self.process.try_wait();
        }
        self.reaped && sys::group_exists(&self.process)
    }

    /// Returns whether nothing is left to be done: it has ended, and, if it was told to, so has its whole group.
    pub fn is_gone(&mut self) -> bool {
        self.status().is_some() && (!self.has_left_others() || self.kill_at.is_none())
    }

    /// Sends SIGHUP to it and its group, unless it goes on without its client.
    pub fn hang_up(&mut self, now: Instant) {
        if !self.keep && self.kill_at.is_none() && !self.reaped {
            self.kill_at = Some(now + EXIT_TIMEOUT);
            // It may have left its group, which is its right.
            let _ = sys::hang_up_group(&self.process);
        }
    }

    /// Kills it and its group, unless it goes on without its client.
    pub fn kill(&mut self) {
        let told = self.kill_at.take().is_some();
        // Once waited for, its number may be another process's, unless others of its group hold it (fork(2)).
        if !self.keep && (!self.reaped || told && self.has_left_others()) {
            let _ = sys::kill_group(&self.process);
        }
    }

    /// Kills it and its group if they were told to end and did not. Returns when to call again.
    pub fn tick(&mut self, now: Instant) -> Option<Instant> {
        let limit = self.kill_at?;
        if now >= limit {
            self.kill();
            return None;
        }
        // No signal tells of the end of processes that are not our children.
        Some(if self.status().is_some() { limit.min(now + GROUP_CHECK_INTERVAL) } else { limit })
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.status().is_none() || self.kill_at.is_some() {
            self.kill();
        }
        // Not a wait that blocks: a killed process may take a moment to end, and other clients are being served.
        if !self.reaped {
            let _ = self.process.try_wait();
        }
    }
}

/// How often to look whether the processes that a program has left behind have ended.
const GROUP_CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// How long a program may take to end after SIGHUP.
const EXIT_TIMEOUT: Duration = Duration::from_secs(5);
