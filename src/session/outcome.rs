//! How the program ends.

use std::fmt;

use anyhow::Result;

use crate::sys::{self, Signal};

/// A signal has ended the program.
#[derive(Debug)]
pub struct Interrupted(pub Signal);

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// A program that we had on a connection has ended with this status.
#[derive(Debug)]
pub struct Exited(pub u8);

impl fmt::Display for Exited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the program has ended with status {}", self.0)
    }
}

impl std::error::Error for Exited {}

/// What a signal means while there is no session: ctrl-C ends the program, ctrl-Z stops it.
pub fn heed(signal: Signal) -> Result<()> {
    match signal {
        Signal::Hangup | Signal::Interrupt | Signal::Terminate => Err(Interrupted(signal).into()),
        Signal::Stop => {
            sys::stop_self();
            Ok(())
        }
        Signal::Child | Signal::Continue | Signal::Info => Ok(()),
    }
}
