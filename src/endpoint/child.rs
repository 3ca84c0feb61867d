//! A program on a connection: it has the socket itself, or sits at the other end of a pair.

use std::{
    io,
    process::{Command, ExitStatus},
    time::{Duration, Instant},
};

use super::{Input, Output, Standard};
use crate::sys::{self, Descriptor};

/// A program that was started, with all that it starts in its process group.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    ended: Option<ExitStatus>,
    /// It stays although its client has gone.
    stays: bool,
    /// It was told to end, and is made to then.
    limit: Option<Instant>,
}

impl Child {
    /// Starts it with a connected socket as its stdin and stdout; ours is then only to learn of a hang-up.
    pub fn on_socket(mut command: Command, socket: &Descriptor, stays: bool) -> io::Result<Self> {
        let theirs = sys::hand_over(socket)?;
        command.stdin(theirs.try_clone()?).stdout(theirs);
        Self::start(command, stays)
    }

    /// Starts it, and gives our end of what are its stdin and stdout.
    pub fn beside(mut command: Command, stays: bool) -> io::Result<(Self, Standard)> {
        let (ours, theirs) = sys::pair()?;
        command.stdin(theirs.try_clone()?).stdout(theirs);
        let output = Output::Descriptor(ours.duplicate()?);
        Ok((Self::start(command, stays)?, Standard { input: Input::Descriptor(ours), output }))
    }

    /// The command keeps what it gives to the program, and goes.
    fn start(mut command: Command, stays: bool) -> io::Result<Self> {
        Ok(Self { process: sys::start(&mut command)?, ended: None, stays, limit: None })
    }

    /// Whether it is to go on without its client.
    pub fn stays(&self) -> bool {
        self.stays
    }

    /// How it has ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            // It fails only for a child that is not ours.
            self.ended = self.process.try_wait().ok().flatten();
        }
        self.ended
    }

    /// Tells it that its client has gone, unless it is to stay.
    pub fn hang_up(&mut self, now: Instant) {
        if self.ended().is_none() && !self.stays && self.limit.is_none() {
            self.limit = Some(now + PATIENCE);
            // It may have left its group, which is its right.
            let _ = sys::hang_up(&self.process);
        }
    }

    /// Makes it end if it was told to and does not; tells when to be called again.
    pub fn tick(&mut self, now: Instant) -> Option<Instant> {
        if self.limit.is_some_and(|limit| now >= limit) && self.ended().is_none() {
            self.limit = None;
            let _ = sys::kill(&self.process);
        }
        self.limit.filter(|_| self.ended.is_none())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.ended().is_none() && !self.stays {
            let _ = sys::kill(&self.process);
        }
    }
}

/// How long a program may take to end when it is told to.
const PATIENCE: Duration = Duration::from_secs(5);
