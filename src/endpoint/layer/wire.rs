//! The lower side of a layer that encodes: the bytes that wait to cross it, and those that have.

use std::{io, mem};

use crate::endpoint::Endpoint;

/// Encoded bytes on their way, and counts of those that have crossed.
#[derive(Debug, Default)]
pub struct Wire {
    /// Encoded, and from `done` on not yet taken by the endpoint below.
    queue: Vec<u8>,
    done: usize,
    sent: u64,
    received: u64,
    /// Those of them that `take_sent` and `take_received` have returned.
    sent_before: u64,
    received_before: u64,
    /// Bytes that may still be sent (`--rate`); `None` is no limit.
    allowance: Option<usize>,
    record: Option<Vec<Crossed>>,
}

/// Bytes that have crossed, for the taps.
#[derive(Debug)]
pub enum Crossed {
    Received(Vec<u8>),
    Sent(Vec<u8>),
}

impl Wire {
    /// Returns how many bytes the endpoint below has taken.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Returns how many bytes were read from the endpoint below.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Returns how many bytes were sent since the last call.
    pub fn take_sent(&mut self) -> u64 {
        self.sent - mem::replace(&mut self.sent_before, self.sent)
    }

    /// Returns how many bytes were received since the last call.
    pub fn take_received(&mut self) -> u64 {
        self.received - mem::replace(&mut self.received_before, self.received)
    }

    /// Limits the bytes that may be sent from now on.
    pub fn allow(&mut self, bytes: usize) {
        self.allowance = Some(bytes);
    }

    /// Returns whether bytes wait only because no more were allowed.
    pub fn is_exhausted(&self) -> bool {
        self.allowance == Some(0) && !self.is_clear()
    }

    /// Keeps a copy of all that crosses from now on, for [`take_record`](Self::take_record).
    pub fn start_record(&mut self) {
        self.record.get_or_insert_default();
    }

    /// Takes the copies of what has crossed since the last call, in order.
    pub fn take_record(&mut self) -> Vec<Crossed> {
        self.record.as_mut().map(mem::take).unwrap_or_default()
    }

    /// Returns whether everything encoded was taken by the endpoint below.
    pub fn is_clear(&self) -> bool {
        self.done == self.queue.len()
    }

    /// Returns how many of the `bytes` that were encoded into the queue still wait in it: the share of the queue that does.
    pub(super) fn waiting_of(&self, bytes: usize) -> usize {
        let waiting = (self.queue.len() - self.done) as u64;
        (bytes as u64 * waiting).div_ceil(self.queue.len().max(1) as u64) as usize
    }

    /// Returns the queue, to put encoded bytes at its end. Only while it is clear, so that it stays bounded.
    pub(super) fn queue(&mut self) -> &mut Vec<u8> {
        debug_assert!(self.is_clear(), "bytes are still on their way");
        self.queue.clear();
        self.done = 0;
        &mut self.queue
    }

    /// Drops the bytes that wait.
    pub(super) fn discard(&mut self) {
        self.queue.clear();
        self.done = 0;
    }

    /// Passes waiting bytes on; `WouldBlock` if not all of them could go.
    pub(super) fn push(&mut self, below: &mut dyn Endpoint) -> io::Result<()> {
        while !self.is_clear() {
            let rest = &self.queue[self.done..];
            let most = self.allowance.unwrap_or(usize::MAX).min(rest.len());
            if most == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }

            let n = below.write(&rest[..most])?;
            // A write that takes nothing, and does not block, would be repeated for ever.
            if n == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }

            if let Some(record) = &mut self.record {
                record.push(Crossed::Sent(rest[..n].to_vec()));
            }
            self.done += n;
            self.sent += n as u64;
            // `most` was limited by the allowance.
            self.allowance = self.allowance.map(|allowance| allowance - n);
        }
        Ok(())
    }

    /// Counts bytes that were read from the endpoint below.
    pub(super) fn arrived(&mut self, bytes: &[u8]) {
        self.received += bytes.len() as u64;
        if let Some(record) = &mut self.record {
            record.push(Crossed::Received(bytes.to_vec()));
        }
    }
}
