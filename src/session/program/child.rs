//! A program on a connection: it has the socket itself, or sits at the other end of a pair.

use std::{
    io,
    process::{Command, ExitStatus},
    time::{Duration, Instant},
};

use crate::{
    endpoint::{Input, Output, Standard},
    sys::{self, Descriptor},
};

/// A program that was started, with all that it starts in its process group.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    ended: Option<ExitStatus>,
    /// It was waited for: until then, nobody else can have its number, which is its group's.
    reaped: bool,
    /// It stays although its client has gone.
    stays: bool,
    /// It was told to end, and is made to then.
    limit: Option<Instant>,
}

impl Child {
    /// Starts it with a connected socket as its stdin and stdout; ours is then only to learn of a hang-up.
    pub fn on_socket(mut command: Command, socket: &Descriptor, stays: bool) -> io::Result<Self> {
        let theirs = sys::duplicate_blocking(socket)?;
        command.stdin(theirs.try_clone()?).stdout(theirs);
        Self::start(command, stays)
    }

    /// Starts it, and gives our end of what are its stdin and stdout.
    pub fn beside(mut command: Command, stays: bool) -> io::Result<(Self, Standard)> {
        let (ours, theirs) = sys::socket_pair()?;
        command.stdin(theirs.try_clone()?).stdout(theirs);
        let output = Output::Descriptor(ours.duplicate()?);
        Ok((Self::start(command, stays)?, Standard { input: Input::Descriptor(ours), output }))
    }

    /// The command keeps what it gives to the program, and goes.
    fn start(mut command: Command, stays: bool) -> io::Result<Self> {
        Ok(Self {
            process: sys::spawn_in_group(&mut command)?,
            ended: None,
            reaped: false,
            stays,
            limit: None,
        })
    }

    /// Whether it is to go on without its client.
    pub fn stays(&self) -> bool {
        self.stays
    }

    /// How it has ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            // It fails only for a child that is not ours.
            self.ended = sys::peek_exit_status(&self.process).ok().flatten();
        }
        self.ended
    }

    /// Whether there are others of its group, once it has ended.
    pub fn has_left_others(&mut self) -> bool {
        if self.ended().is_some() && !self.reaped {
            self.reaped = true;
            let _ = self.process.try_wait();
        }
        self.reaped && sys::group_exists(&self.process)
    }

    /// Whether nothing has to be done any more: it has ended, and, if it was told to, so have those that it has started
    /// in its group. It is forgotten then.
    pub fn is_gone(&mut self) -> bool {
        self.ended().is_some() && (!self.has_left_others() || self.limit.is_none())
    }

    /// Tells it that its client has gone, unless it is to stay; and those that it has left behind, if it was not known
    /// to be alone.
    pub fn hang_up(&mut self, now: Instant) {
        if !self.stays && self.limit.is_none() && !self.reaped {
            self.limit = Some(now + PATIENCE);
            // It may have left its group, which is its right.
            let _ = sys::hang_up_group(&self.process);
        }
    }

    /// Makes them end, unless they are to stay.
    pub fn kill(&mut self) {
        let told = self.limit.take().is_some();
        if !self.stays && (!self.reaped || told && self.has_left_others()) {
            let _ = sys::kill_group(&self.process);
        }
    }

    /// Makes them end if they were told to and do not; tells when to be called again.
    pub fn tick(&mut self, now: Instant) -> Option<Instant> {
        let limit = self.limit?;
        if now >= limit {
            self.kill();
            return None;
        }
        // Nothing tells of the end of those that are not ours.
        Some(if self.ended().is_some() { limit.min(now + LOOK) } else { limit })
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.ended().is_none() || self.limit.is_some() {
            self.kill();
        }
        if !self.reaped {
            let _ = self.process.try_wait();
        }
    }
}

/// How often to look whether those that a program has left behind have ended.
const LOOK: Duration = Duration::from_millis(200);

/// How long a program may take to end when it is told to.
const PATIENCE: Duration = Duration::from_secs(5);
