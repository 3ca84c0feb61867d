//! `-t`: what the peer negotiates is refused, and taken out of what it says.

use crate::proto::telnet::Telnet;

/// The text of one direction, and what is to be answered.
#[derive(Debug, Default)]
pub struct Negotiation {
    telnet: Telnet,
    answers: Vec<u8>,
}

impl Negotiation {
    /// Puts the text in `bytes` into `out`, and tells how many of `bytes` that took, and how many it made.
    pub fn decode(&mut self, bytes: &[u8], out: &mut [u8]) -> (usize, usize) {
        // Each byte is at most one of text.
        let taken = bytes.len().min(out.len());
        let mut made = 0;
        for byte in &bytes[..taken] {
            if let Some(text) = self.telnet.receive(*byte, &mut self.answers) {
                out[made] = text;
                made += 1;
            }
        }
        (taken, made)
    }

    /// What is to be answered since this was last asked.
    pub fn answers(&mut self) -> &mut Vec<u8> {
        &mut self.answers
    }
}
