//! TLS over an endpoint: rustls speaks the protocol, over a socket that never blocks.

use std::{
    io::{self, IoSlice, Read, Write},
    ops::Range,
    sync::Arc,
    time::Instant,
};

use rustls::{ClientConnection, Connection, ServerConnection};

use crate::{
    endpoint::{Endpoint, Peer, TlsInfo, Truncation},
    sys::MisalignedBuffer,
    tls::{
        self, TlsClient, TlsServer,
        words::{refusal, suite, version},
    },
};

/// An endpoint whose bytes travel encrypted over the one below.
#[derive(Debug)]
pub struct Tls<E> {
    below: E,
    connection: Connection,
    /// Bytes from below, and those of them that rustls has not seen yet.
    buffer: MisalignedBuffer,
    filled: Range<usize>,
    /// Bytes that were written here since the endpoint below last took all records.
    held: usize,
    /// The error of rustls, which it returns only once.
    failure: Option<String>,
    /// The close_notify was encrypted.
    closing: bool,
    /// Bytes of it that went below.
    close_notify_bytes: u64,
    /// The peer has sent its close_notify.
    ended: bool,
    /// The connection was closed without one.
    truncated: bool,
    records: Records,
}

/// The boundaries of records in the stream below (RFC 8446, section 5.1): a header of five bytes, the last two of which
/// tell how many follow.
#[derive(Debug, Default)]
struct Records {
    header: [u8; 5],
    /// Bytes of the header that were received.
    begun: usize,
    /// Bytes of the record that were not.
    left: usize,
}

impl Records {
    fn observe(&mut self, mut bytes: &[u8]) {
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

    /// Returns whether the stream stands inside a record.
    fn is_within(&self) -> bool {
        self.begun > 0 || self.left > 0
    }
}

impl<E: Endpoint> Tls<E> {
    /// Begins as the client.
    pub fn client(below: E, client: &TlsClient) -> io::Result<Self> {
        let connection = ClientConnection::new(Arc::clone(&client.config), client.name.clone());
        connection
            .map(|connection| Self::over(below, connection.into()))
            .map_err(|error| failed(refusal(&error)))
    }

    /// Begins as the server.
    pub fn server(below: E, server: &TlsServer) -> io::Result<Self> {
        let connection = ServerConnection::new(Arc::clone(&server.0));
        connection
            .map(|connection| Self::over(below, connection.into()))
            .map_err(|error| failed(refusal(&error)))
    }

    fn over(below: E, connection: Connection) -> Self {
        Self {
            below,
            connection,
            buffer: MisalignedBuffer::default(),
            filled: 0..0,
            held: 0,
            failure: None,
            closing: false,
            close_notify_bytes: 0,
            ended: false,
            truncated: false,
            records: Records::default(),
        }
    }

    /// Goes on with the handshake; to be called again after `WouldBlock`. Before it is over, nothing is read or written.
    pub fn handshake(&mut self) -> io::Result<()> {
        while self.connection.is_handshaking() {
            self.flush()?;
            if !self.connection.is_handshaking() {
                break;
            }
            if !self.receive()? {
                return Err(failed("the peer has closed in the middle of the handshake".into()));
            }
        }

        // Its last record may have to wait for the socket: the session flushes it.
        match self.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    /// Shows rustls the bytes from below, and reads more if there are none; `Ok(false)` is the end of file.
    fn receive(&mut self) -> io::Result<bool> {
        if let Some(failure) = &self.failure {
            return Err(failed(failure.clone()));
        }

        if self.filled.is_empty() {
            if self.buffer.is_empty() {
                self.buffer = MisalignedBuffer::new(READ_SIZE);
            }
            self.filled = 0..self.below.read(&mut self.buffer)?;
        }

        // rustls bounds its own buffer: it may take only a part of the bytes.
        let n = self.connection.read_tls(&mut &self.buffer[self.filled.clone()])?;
        self.records.observe(&self.buffer[self.filled.clone()][..n]);
        self.filled.start += n;

        if let Err(error) = self.connection.process_new_packets() {
            // The records before the bad one can still be read.
            self.failure = Some(refusal(&error));
            // An alert tells the peer why (RFC 8446, section 6.2), if it still reads.
            let _ = self.flush();
            return Ok(true);
        }

        Ok(n > 0)
    }
}

/// The endpoint below, as rustls writes its records.
struct Below<'a, E>(&'a mut E);

impl<E: Endpoint> Write for Below<'_, E> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<E: Endpoint> Endpoint for Tls<E> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            // In rustls, Ok(0) is a close_notify, and UnexpectedEof is an end of the stream below without one.
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

            // Answers of the protocol itself do not wait for a write of ours. A peer that takes nothing more may still have
            // sent something.
            let _ = self.flush();
            self.receive()?;
        }
    }

    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.flush()?;
        let n = self.connection.writer().write(buf)?;
        // rustls has taken them; whether the socket takes their records is still open.
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

    /// Passes records on; `WouldBlock` if not all of them could go.
    fn flush(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            let n = self.connection.write_tls(&mut Below(&mut self.below))?;
            self.close_notify_bytes += if self.closing { n as u64 } else { 0 };
        }
        self.held = 0;
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.flush()?;
        // rustls would send a second close_notify.
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

    /// Returns no error after a close_notify: all bytes had arrived by then.
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

    /// Leaves out the close_notify: whether it has arrived matters to the peer alone.
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
const READ_SIZE: usize = 128 << 10;

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
            at_once.observe(&stream[..at]);
            stream[..at].iter().for_each(|byte| one_by_one.observe(&[*byte]));
            assert_eq!((at_once.is_within(), one_by_one.is_within()), (within, within), "{at}");
        }
    }
}
