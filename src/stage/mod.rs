//! What may stand between a source and a sink: filters change bytes, taps look at them.

mod crlf;
mod digest;
mod hexdump;

pub use self::{
    crlf::Crlf,
    digest::Digest,
    hexdump::{Direction, Hexdump},
};

use std::io;

/// The stages of one direction. Taps stand on the wire's side of filters: they see what is sent.
#[derive(Debug, Default)]
pub struct Stages {
    /// `-C`.
    pub crlf: Option<Crlf>,
    /// `--digest`.
    pub digest: Option<Digest>,
    /// `-o`.
    pub dump: Option<Hexdump>,
}

impl Stages {
    /// Whether a filter changes the bytes.
    pub fn change(&self) -> bool {
        self.crlf.is_some()
    }

    /// Whether a tap looks at the bytes.
    pub fn look(&self) -> bool {
        self.digest.is_some() || self.dump.is_some()
    }

    /// Puts what the filters make of `bytes` at the end of `out`.
    pub fn filter(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        match &mut self.crlf {
            Some(crlf) => crlf.apply(bytes, out),
            None => out.extend_from_slice(bytes),
        }
    }

    /// Shows the taps what went over the wire. Fails if one cannot write down what it sees.
    pub fn tap(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(digest) = &mut self.digest {
            digest.update(bytes);
        }
        match &mut self.dump {
            Some(dump) => dump.write(bytes),
            None => Ok(()),
        }
    }
}
