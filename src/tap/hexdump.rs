//! `-o`: the bytes on the wire, readable, in a file; the lines are those of nc(1).

use std::{
    fs::File,
    io::{self, Write},
};

use super::Traffic;
use crate::proto::hexdump;

/// The dump of both directions of a session.
#[derive(Debug)]
pub struct Hexdump {
    file: File,
    received: u64,
    sent: u64,
}

impl Hexdump {
    /// Dumps into `file`, which other sessions may share.
    pub fn new(file: File) -> Self {
        Self { file, received: 0, sent: 0 }
    }

    /// Dumps the next bytes of one direction.
    pub fn write(&mut self, traffic: Traffic, bytes: &[u8]) -> io::Result<()> {
        let (mark, offset) = match traffic {
            Traffic::Received => ('<', &mut self.received),
            Traffic::Sent => ('>', &mut self.sent),
        };

        // In pieces, so that a large read does not become an enormous text.
        for part in bytes.chunks(PIECE) {
            let text = hexdump::lines(mark, *offset, part);
            self.file.write_all(text.as_bytes())?;
            *offset += part.len() as u64;
        }
        Ok(())
    }
}

/// Bytes that become text at once: 256 lines.
const PIECE: usize = 4096;
