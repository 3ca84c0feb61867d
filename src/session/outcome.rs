//! How a mode ends, and what a signal means where no session hears it.

use crate::sys::{self, Signal};

/// How a mode has ended: the exit status of the program follows from it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    Done,
    /// A program that ran on our connection has ended with this status, which is ours too.
    Exited(u8),
    /// It failed, and that was reported.
    Failed,
    /// A signal has ended it.
    Signalled(Signal),
}

impl Outcome {
    /// Returns the outcome of something that was reported where it failed.
    pub fn of(success: bool) -> Self {
        if success { Self::Done } else { Self::Failed }
    }
}

/// Obeys a signal outside of a session: ctrl-C ends the program, ctrl-Z stops it. Returns the outcome if it is over.
pub fn handle_signal(signal: Signal) -> Option<Outcome> {
    match signal {
        Signal::Hangup | Signal::Interrupt | Signal::Terminate => Some(Outcome::Signalled(signal)),
        Signal::Stop => {
            sys::stop_self();
            None
        }
        Signal::Child | Signal::Continue | Signal::Info => None,
    }
}
