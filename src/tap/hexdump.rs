//! `-o`: what goes over the wire, readable, in a file; the lines are netcat's.

use std::{
    fs::File,
    io::{self, Write},
};

use crate::proto::hexdump;

/// Which way the bytes went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    Received,
    Sent,
}

/// The dump of one direction.
#[derive(Debug)]
pub struct Hexdump {
    file: File,
    direction: Direction,
    offset: u64,
}

impl Hexdump {
    /// Dumps into `file`, which the other direction may share.
    pub fn new(file: File, direction: Direction) -> Self {
        Self { file, direction, offset: 0 }
    }

    /// Dumps the next bytes.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mark = match self.direction {
            Direction::Received => '<',
            Direction::Sent => '>',
        };
        // In pieces, so that a large read does not become an enormous text.
        for part in bytes.chunks(4096) {
            let text = hexdump::lines(mark, self.offset, part);
            self.file.write_all(text.as_bytes())?;
            self.offset += part.len() as u64;
        }
        Ok(())
    }
}
