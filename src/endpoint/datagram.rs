//! A datagram socket and one peer of it, or a group. A read is a datagram, a write is a datagram.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
};

use socket2::SockAddr;

use super::Endpoint;
use crate::sys::{self, Descriptor};

/// The socket.
#[derive(Debug)]
pub struct Datagram {
    socket: Descriptor,
    /// What came before the socket was this peer's own.
    inbox: VecDeque<Vec<u8>>,
    whom: Whom,
    ends: Ends,
    lost: u64,
}

/// Who is at the other end.
#[derive(Clone, Debug)]
pub enum Whom {
    /// The one that the socket is connected to.
    Connected,
    /// Whoever sends something first; nobody else is heard from then on.
    First(Option<SockAddr>),
    /// All of a group, or whoever hears a broadcast; anybody may answer.
    Group(SockAddr),
}

/// What an empty datagram means in a transfer of a file: UDP has no end of file of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ends {
    /// Whether we send one after the last.
    pub mark: bool,
    /// Whether one that we receive is the end.
    pub heed: bool,
}

impl Datagram {
    /// Takes a socket that is connected or bound.
    pub fn new(socket: Descriptor, whom: Whom, ends: Ends) -> Self {
        Self { socket, inbox: VecDeque::new(), whom, ends, lost: 0 }
    }

    /// Begins with what came before.
    pub fn with_inbox(self, inbox: VecDeque<Vec<u8>>) -> Self {
        Self { inbox, ..self }
    }

    /// A datagram of this peer that came another way. Where many wait already, it is lost, as it would
    /// be in the kernel.
    pub fn deliver(&mut self, bytes: Vec<u8>) {
        if self.inbox.len() < MOST_WAITING {
            self.inbox.push_back(bytes);
        } else {
            self.lost += 1;
        }
    }

    /// Datagrams that came and found no room, here or in the kernel.
    pub fn dropped(&self) -> u64 {
        self.lost + sys::dropped(&self.socket)
    }

    /// The socket, for what the kernel knows of it.
    pub fn socket(&self) -> &Descriptor {
        &self.socket
    }

    /// The socket, to be watched.
    pub fn socket_mut(&mut self) -> &mut Descriptor {
        &mut self.socket
    }

    fn next(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if let Some(bytes) = self.inbox.pop_front() {
            buf[..bytes.len()].copy_from_slice(&bytes);
            return Ok(bytes.len());
        }
        for _ in 0..MOST_SKIPPED {
            let datagram = sys::receive_from(&self.socket, buf)?;
            if let Whom::First(first) = &mut self.whom
                && *first.get_or_insert_with(|| datagram.from.clone()) != datagram.from
            {
                continue;
            }
            if datagram.truncated {
                let what = format!("a datagram was larger than {} bytes and was cut", buf.len());
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
            return Ok(datagram.size);
        }
        Err(io::ErrorKind::Interrupted.into())
    }
}

impl Read for Datagram {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        for _ in 0..MOST_SKIPPED {
            match self.next(buf) {
                // An empty datagram is no end, unless a file is being transferred.
                Ok(0) if !self.ends.heed => {}
                result => return result,
            }
        }
        Err(io::ErrorKind::Interrupted.into())
    }
}

impl Write for Datagram {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match &self.whom {
            Whom::Connected => self.socket.write(buf),
            Whom::First(Some(to)) | Whom::Group(to) => sys::send_to(&self.socket, buf, to),
            Whom::First(None) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Endpoint for Datagram {
    fn finish(&mut self) -> io::Result<()> {
        if self.ends.mark {
            // Empty is all of it.
            let _: usize = self.write(&[])?;
            self.ends.mark = false;
        }
        Ok(())
    }

    /// An error of an earlier datagram says nothing about the next.
    fn broken(&mut self) -> Option<io::Error> {
        None
    }
}

/// Datagrams that wait for a session beside its socket.
const MOST_WAITING: usize = 256;

/// Datagrams that nobody wants, in a row, before others have their turn (`Interrupted`).
const MOST_SKIPPED: usize = 64;
