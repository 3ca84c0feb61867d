//! The client's side of the file conversation.

use crate::{proto::practice::files::END, sys::Descriptor};

/// A conversation that is under way.
#[derive(Debug)]
pub struct Visit {
    pub socket: Descriptor,
    /// What has come and was not taken.
    pub bytes: Vec<u8>,
}

impl Visit {
    /// Takes a reply, if it is whole; its end is left out.
    pub fn reply(&mut self) -> Option<Vec<u8>> {
        let end = self.bytes.windows(END.len()).position(|end| end == END)?;
        let reply = self.bytes[..end].to_vec();
        self.bytes.drain(..end + END.len());
        Some(reply)
    }
}
