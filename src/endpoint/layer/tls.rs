//! TLS over another endpoint: rustls does the protocol, and here it meets a socket that never waits.

use std::{
    io::{self, Read, Write},
    ops::Range,
    sync::Arc,
    time::Instant,
};

use rustls::{ClientConnection, Connection, ServerConnection};

use crate::{
    endpoint::{Endpoint, Peer, TlsInfo, Truncation},
    sys::MisalignedBuffer,
    tls::{
        self, Client, Server,
        words::{refusal, suite, version},
    },
};

/// An endpoint whose bytes travel encrypted over another one.
#[derive(Debug)]
pub struct Tls<E> {
    below: E,
    connection: Connection,
    /// What came from below, and what of it was not looked at yet.
    room: MisalignedBuffer,
    came: Range<usize>,
    /// Bytes that were written here since all that was encrypted last went below.
    held: usize,
    /// What rustls has said is wrong: it says it once.
    failure: Option<String>,
    /// The end of what we send was encrypted.
    closing: bool,
    /// Bytes below that only say so.
    close_notify_bytes: u64,
    /// The end of what comes was announced.
    ended: bool,
    /// What came has ended below, and not here.
    truncated: bool,
    records: Records,
}

/// Where in the stream below one record ends and the next one begins (RFC 8446, section 5.1): five bytes, the last two of
/// which tell how many follow.
#[derive(Debug, Default)]
struct Records {
    header: [u8; 5],
    /// Bytes of the header that have come.
    begun: usize,
    /// Bytes of the record that have not.
    left: usize,
}

impl Records {
    fn see(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let n = self.left.min(bytes.len());
                (self.left, bytes) = (self.left - n, &bytes[n..]);
                continue;
            }
            self.header[self.begun] = bytes[0];
            (self.begun, bytes) = (self.begun + 1, &bytes[1..]);
            if self.begun == self.header.len() {
                self.begun = 0;
                self.left = u16::from_be_bytes([self.header[3], self.header[4]]).into();
            }
        }
    }

    /// Whether more of a record has to come.
    fn is_within(&self) -> bool {
        self.begun > 0 || self.left > 0
    }
}

impl<E: Endpoint> Tls<E> {
    /// The side that has connected.
    pub fn client(below: E, client: &Client) -> io::Result<Self> {
        let connection = ClientConnection::new(Arc::clone(&client.config), client.name.clone());
        connection
            .map(|connection| Self::over(below, connection.into()))
            .map_err(|error| failed(refusal(&error)))
    }

    /// The side that was connected to.
    pub fn server(below: E, server: &Server) -> io::Result<Self> {
        let connection = ServerConnection::new(Arc::clone(&server.0));
        connection
            .map(|connection| Self::over(below, connection.into()))
            .map_err(|error| failed(refusal(&error)))
    }

    fn over(below: E, connection: Connection) -> Self {
        Self {
            below,
            connection,
            room: MisalignedBuffer::default(),
            came: 0..0,
            held: 0,
            failure: None,
            closing: false,
            close_notify_bytes: 0,
            ended: false,
            truncated: false,
            records: Records::default(),
        }
    }

    /// Goes on with the handshake. To be called again if it would block; before it is done, nothing is read or
    /// written.
    pub fn handshake(&mut self) -> io::Result<()> {
        while self.connection.is_handshaking() {
            self.flush()?;
            if !self.connection.is_handshaking() {
                break;
            }
            if !self.take_in()? {
                return Err(failed("the peer has closed in the middle of the handshake".into()));
            }
        }
        // The last words of it; what is in the way of them, the session will find out.
        match self.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    /// Has rustls look at what came from below, and reads more if there is nothing; `Ok(false)` is the end of it.
    fn take_in(&mut self) -> io::Result<bool> {
        if let Some(failure) = &self.failure {
            return Err(failed(failure.clone()));
        }
        if self.came.is_empty() {
            if self.room.is_empty() {
                self.room = MisalignedBuffer::new(ROOM);
            }
            self.came = 0..self.below.read(&mut self.room)?;
        }
        let n = self.connection.read_tls(&mut &self.room[self.came.clone()])?;
        self.records.see(&self.room[self.came.clone()][..n]);
        self.came.start += n;
        if let Err(error) = self.connection.process_new_packets() {
            // What was good before it can still be read.
            self.failure = Some(refusal(&error));
            // The peer is told why, if it still listens.
            let _ = self.flush();
            return Ok(true);
        }
        Ok(n > 0)
    }
}

impl<E: Endpoint> Read for Tls<E> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    self.truncated = true;
                    return Ok(0);
                }
                Ok(0) if !buf.is_empty() => {
                    self.ended = true;
                    return Ok(0);
                }
                result => return result,
            }
            // Answers of the protocol itself are not kept waiting for something of ours to send.
            // Who takes nothing more may still have said something.
            let _ = self.flush();
            self.take_in()?;
        }
    }
}

impl<E: Endpoint> Write for Tls<E> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.flush()?;
        let n = self.connection.writer().write(buf)?;
        self.held = n;
        match self.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                // They count as not taken.
                self.held = 0;
                Err(error)
            }
            _ => Ok(n),
        }
    }

    /// Passes on what is encrypted; `WouldBlock` if not all of it could be.
    fn flush(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            let n = self.connection.write_tls(&mut self.below)?;
            self.close_notify_bytes += if self.closing { n as u64 } else { 0 };
        }
        self.held = 0;
        Ok(())
    }
}

impl<E: Endpoint> Endpoint for Tls<E> {
    fn finish(&mut self) -> io::Result<()> {
        self.flush()?;
        if !self.closing {
            self.closing = true;
            self.connection.send_close_notify();
        }
        self.flush()?;
        self.below.finish()
    }

    fn broken(&mut self) -> Option<io::Error> {
        self.below.broken()
    }

    fn tick(&mut self, now: Instant) -> Option<Instant> {
        self.below.tick(now)
    }

    /// What happens below after the end was announced takes nothing away.
    fn lost(&self) -> Option<io::Error> {
        if self.ended { None } else { self.below.lost() }
    }

    fn held(&self) -> usize {
        self.held
    }
}

impl<E: Peer + 'static> Peer for Tls<E> {
    fn below(&self) -> Option<&dyn Peer> {
        Some(&self.below)
    }

    fn below_mut(&mut self) -> Option<&mut dyn Peer> {
        Some(&mut self.below)
    }

    /// Whether a close_notify has arrived matters to the peer alone.
    fn unacknowledged(&self) -> u64 {
        self.below.unacknowledged().saturating_sub(self.close_notify_bytes)
    }

    fn truncated(&self) -> Option<Truncation> {
        match (self.truncated, self.records.is_within()) {
            (false, _) => None,
            (true, true) => Some(Truncation::InRecord),
            (true, false) => Some(Truncation::BetweenRecords),
        }
    }

    fn tls(&self) -> Option<TlsInfo> {
        let alpn = self.connection.alpn_protocol().map(|name| name.escape_ascii().to_string());
        let certificate = self.connection.peer_certificates().and_then(|chain| chain.first());
        Some(TlsInfo {
            version: version(self.connection.protocol_version()),
            suite: suite(self.connection.negotiated_cipher_suite()),
            alpn,
            certificate: certificate
                .and_then(|certificate| tls::describe(certificate).ok())
                .map(|(names, pin)| (names, pin.to_string())),
        })
    }
}

fn failed(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Bytes that one read takes: several records (RFC 8446, section 5.1: 16 KiB each).
const ROOM: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_end_where_their_headers_say() {
        let stream = [&[22, 3, 3, 0, 2, 7, 7][..], &[23, 3, 3, 0, 0], &[23, 3, 3, 1, 0], &[9; 256]].concat();
        let ends = [0, 7, 12, stream.len()];
        for at in 0..=stream.len() {
            let within = !ends.contains(&at);
            let (mut at_once, mut one_by_one) = (Records::default(), Records::default());
            at_once.see(&stream[..at]);
            stream[..at].iter().for_each(|byte| one_by_one.see(&[*byte]));
            assert_eq!((at_once.is_within(), one_by_one.is_within()), (within, within), "{at}");
        }
    }
}
