//! The error of a command line that makes no sense.

use std::{error, fmt};

use anyhow::Result;

/// Wrong usage: exit status 2.
#[derive(Debug)]
pub struct Usage(String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl error::Error for Usage {}

/// Refuses the command line.
pub fn usage<T>(reason: impl Into<String>) -> Result<T> {
    Err(Usage(reason.into()).into())
}

/// Makes an error of something that was typed an error of usage.
#[allow(clippy::needless_pass_by_value)]
pub fn to_usage(error: anyhow::Error) -> anyhow::Error {
    Usage(format!("{error:#}")).into()
}
