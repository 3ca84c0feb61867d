//! A registration with a relay, as an endpoint: a write is a message to other clients, and reads bring the messages of
//! other clients, one behind the other.

use std::{
    io::{self, Read},
    time::Instant,
};

use super::{Endpoint, Peer, TlsInfo};
use crate::{
    proto::relay::{ClientProtocol, MAX_NAME, MAX_STORED, Nonce, is_name},
    sys::{self, Descriptor, MisalignedBuffer},
};

/// A client's connection to a relay.
pub struct RelayConnection {
    connection: Box<dyn Peer>,
    client: ClientProtocol,
    addressing: Addressing,
    /// Payload that was received, and not read here yet from `read` on.
    received: Vec<u8>,
    read: usize,
    buffer: MisalignedBuffer,
    /// The relay was asked to confirm all that we have sent.
    confirming: bool,
    /// The reason why the relay is no longer there.
    lost: Option<String>,
    /// There will be another connection: a lost one ends nothing.
    reconnects: bool,
    /// Errors in lines that were typed.
    bad_lines: Vec<String>,
    /// Messages that a relay may have taken with it.
    possibly_lost: u64,
    now: Instant,
}

/// How messages are addressed.
#[derive(Clone, Debug)]
pub struct Addressing {
    /// The bytes that register us, without their `|`.
    pub registration: Vec<u8>,
    /// Our own name, as others write to it.
    pub name: Vec<u8>,
    /// The bytes before every name: the relay's token.
    pub prefix: Vec<u8>,
    /// The client that every message goes to; `None` if each line names one.
    pub to: Option<Vec<u8>>,
    /// Each write is a line, whose end is not sent.
    pub strip_line_ends: bool,
    /// A line without a valid name is reported, and ends nothing.
    pub skip_bad_lines: bool,
    /// Our end of file has been sent when the relay has confirmed all that came before it.
    pub confirm: bool,
}

impl RelayConnection {
    /// Registers over a connection to a relay.
    pub fn new(connection: Box<dyn Peer>, addressing: Addressing, reconnects: bool, now: Instant) -> Self {
        let client = ClientProtocol::new(&addressing.registration, &addressing.name, nonce(), now);

        Self {
            connection,
            client,
            addressing,
            received: Vec::new(),
            read: 0,
            buffer: MisalignedBuffer::new(MAX_STORED),
            confirming: false,
            lost: None,
            reconnects,
            bad_lines: Vec::new(),
            possibly_lost: 0,
            now,
        }
    }

    /// Registers again, over another connection.
    pub fn reconnect(&mut self, connection: Box<dyn Peer>, now: Instant) {
        self.connection = connection;
        self.possibly_lost += self.client.unconfirmed();
        self.client.reconnect(&self.addressing.registration, nonce(), now);
        (self.lost, self.confirming, self.now) = (None, false, now);
    }

    /// Sets whether there will be another connection if this one is lost.
    pub fn set_reconnects(&mut self, reconnects: bool) {
        self.reconnects = reconnects;
    }

    /// Ends the hope for another connection, for this reason: reads and writes fail with it.
    pub fn give_up(&mut self, why: String) {
        self.reconnects = false;
        self.lost = Some(why);
    }

    /// Returns whether the relay is known to have our registration.
    pub fn is_registered(&self) -> bool {
        self.client.is_registered()
    }

    /// Returns the reason why the relay is no longer there, once that is so.
    pub fn lost_reason(&self) -> Option<&str> {
        self.lost.as_deref()
    }

    /// Takes the errors in lines that were typed since the last call.
    pub fn take_bad_lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.bad_lines)
    }

    /// Returns how many messages the relay has not confirmed.
    pub fn unconfirmed(&self) -> u64 {
        self.client.unconfirmed()
    }

    /// Sends what the protocol has to send.
    fn push(&mut self) -> io::Result<()> {
        while !self.client.output().is_empty() && self.lost.is_none() {
            match self.connection.write(self.client.output()) {
                Ok(n) => self.client.written(n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(error) => self.lose(&sys::reason(&error)),
            }
        }
        // Also when there was nothing to send: the connection may be lost all the same.
        self.check()
    }

    fn lose(&mut self, why: &str) {
        let why = match self.client.is_registered() {
            true => why.to_owned(),
            false => format!(
                "{why} before it had taken the name: somebody has it (who has gone keeps it for 30 s at most), or we are \
                 not welcome"
            ),
        };
        // The first reason is the cause; later errors of the same connection only follow from it.
        self.lost.get_or_insert(why);
    }

    /// Fails if the relay is no longer there; with `WouldBlock` if there will be another connection.
    fn check(&self) -> io::Result<()> {
        match &self.lost {
            None => Ok(()),
            Some(_) if self.reconnects => Err(io::ErrorKind::WouldBlock.into()),
            Some(why) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, why.clone())),
        }
    }

    /// Parts a write into the name that it is for and its text.
    fn address<'a>(&self, buf: &'a [u8]) -> Result<(Vec<u8>, &'a [u8]), String> {
        let mut text = buf;
        let is_line = self.addressing.strip_line_ends || self.addressing.to.is_none();
        if is_line && buf.len() >= MAX_LINE && !buf.ends_with(b"\n") {
            return Err(TOO_LONG.into());
        }

        if self.addressing.strip_line_ends {
            text = text.strip_suffix(b"\n").unwrap_or(text);
            text = text.strip_suffix(b"\r").unwrap_or(text);
        }
        if let Some(to) = &self.addressing.to {
            return if text.len() > MAX_STORED { Err(TOO_LONG.into()) } else { Ok((to.clone(), text)) };
        }

        let bar = text.iter().position(|byte| *byte == b'|');
        let (name, text) = match bar {
            Some(bar) => (&text[..bar], &text[bar + 1..]),
            None => return Err("a line has to be 'name|text'".into()),
        };
        let to = [&self.addressing.prefix[..], name].concat();
        if name.is_empty() || !is_name(&to) {
            return Err(format!("'{}' is not a name", name.escape_ascii()));
        }
        if text.len() > MAX_STORED {
            return Err(TOO_LONG.into());
        }
        Ok((to, text))
    }
}

impl Endpoint for RelayConnection {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.read < self.received.len() {
                let n = (&self.received[self.read..]).read(buf)?;
                self.read += n;
                return Ok(n);
            }
            self.received.clear();
            self.read = 0;

            self.check()?;
            match self.connection.read(&mut self.buffer) {
                Ok(0) => self.lose("the relay has closed the connection"),
                Ok(n) => self.client.receive(&self.buffer[..n], &mut self.received),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(error) => self.lose(&sys::reason(&error)),
            }
        }
    }

    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        // One message after the other: what is not sent is not taken from the source.
        self.push()?;
        // A blank line names no client, and is no mistake that is worth an error.
        if self.addressing.to.is_none() && buf.trim_ascii().is_empty() {
            return Ok(buf.len());
        }

        match self.address(buf) {
            Ok((to, text)) => {
                self.client.send(&to, text, self.now);
                match self.push() {
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                    // WouldBlock: the message is in the output of the protocol, and counts as written.
                    _ => {}
                }
            }
            Err(why) if self.addressing.skip_bad_lines => self.bad_lines.push(why),
            Err(why) => return Err(io::Error::new(io::ErrorKind::InvalidInput, why)),
        }
        Ok(buf.len())
    }

    /// Waits for the relay's confirmation. The relay is not told of our end of file, which would give our name away.
    fn finish(&mut self) -> io::Result<()> {
        self.push()?;
        if !self.addressing.confirm {
            return Ok(());
        }

        if !std::mem::replace(&mut self.confirming, true) {
            self.client.probe(nonce(), self.now);
            self.push()?;
        }
        match self.client.is_confirmed() {
            true if self.possibly_lost > 0 => {
                let n = self.possibly_lost;
                let why = format!("{n} messages may have gone with the relay that was lost");
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, why))
            }
            true => Ok(()),
            false => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn broken(&mut self) -> Option<io::Error> {
        None
    }

    fn held(&self) -> usize {
        self.client.unwritten()
    }

    fn tick(&mut self, now: Instant) -> Option<Instant> {
        self.now = now;
        self.client.tick(now);
        // An error shows again at the next read.
        let _ = self.push();
        // The protocol keeps the registration alive, and has a deadline of its own.
        Some(self.client.deadline())
    }
}

impl Peer for RelayConnection {
    fn label(&self) -> &'static str {
        "relay"
    }

    fn descriptor(&self) -> Option<&Descriptor> {
        self.connection.descriptor()
    }

    fn descriptor_mut(&mut self) -> Option<&mut Descriptor> {
        self.connection.descriptor_mut()
    }

    fn tls(&self) -> Option<TlsInfo> {
        self.connection.tls()
    }
}

/// Bytes of a line at most: a name, the bar, the text that a relay keeps whole, and the end of the line.
pub const MAX_LINE: usize = MAX_NAME + 1 + MAX_STORED + 2;

const TOO_LONG: &str = "a line is longer than a message may be, 64 KiB";

fn nonce() -> Nonce {
    std::array::from_fn(|_| fastrand::alphanumeric() as u8)
}
