//! All clients of a relay that we write to, and all that they write to us.

use std::{
    io::{self, Read, Write},
    time::Instant,
};

use super::{Connection, Endpoint};
use crate::{
    proto::relay::{ClientProtocol, MAX_NAME, MAX_STORED, Nonce, is_name},
    sys::{self, MisalignedBuffer},
};

/// A registration with a relay. A write is a message; what is read is what others have sent, one behind the other.
#[derive(Debug)]
pub struct Mailbox {
    connection: Connection,
    client: ClientProtocol,
    post: Post,
    /// Read, and not yet taken.
    inbox: Vec<u8>,
    taken: usize,
    room: MisalignedBuffer,
    /// The end of what we send has been asked to be confirmed.
    confirming: bool,
    /// Why the relay is no longer there.
    gone: Option<String>,
    /// That is not to end anything: there will be another one.
    waits: bool,
    /// What is wrong with what was typed.
    complaints: Vec<String>,
    /// Messages that a relay may have taken with it.
    doubtful: u64,
    now: Instant,
}

/// How messages are addressed.
#[derive(Clone, Debug)]
pub struct Post {
    /// What registers us, without its `|`.
    pub registration: Vec<u8>,
    /// Our own name, as others write to it.
    pub name: Vec<u8>,
    /// What stands before every name: the relay's token.
    pub prefix: Vec<u8>,
    /// To whom everything goes; `None` if each line says it.
    pub to: Option<Vec<u8>>,
    /// Each write is a line, whose end is not a part of it.
    pub strips: bool,
    /// A line that makes no sense is complained about, and no more.
    pub forgives: bool,
    /// The end of what we send is over when the relay has heard it all.
    pub confirms: bool,
}

impl Mailbox {
    /// Takes a connection to a relay, and registers.
    pub fn new(connection: Connection, post: Post, waits: bool, now: Instant) -> Self {
        let client = ClientProtocol::new(&post.registration, &post.name, nonce(), now);
        Self {
            connection,
            client,
            post,
            inbox: Vec::new(),
            taken: 0,
            room: MisalignedBuffer::new(MAX_STORED),
            confirming: false,
            gone: None,
            waits,
            complaints: Vec::new(),
            doubtful: 0,
            now,
        }
    }

    /// Goes on with another connection, `waits` saying whether there would be one more.
    pub fn renew(&mut self, connection: Connection, now: Instant) {
        self.connection = connection;
        self.doubtful += self.client.unconfirmed();
        self.client.reconnect(&self.post.registration, nonce(), now);
        (self.gone, self.confirming, self.now) = (None, false, now);
    }

    /// Whether the loss of the relay is to be waited out.
    pub fn set_waits(&mut self, waits: bool) {
        self.waits = waits;
    }

    /// The connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The connection, to be watched.
    pub fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Whether the relay is known to have our registration.
    pub fn is_registered(&self) -> bool {
        self.client.is_registered()
    }

    /// Why the relay is no longer there.
    pub fn gone(&self) -> Option<&str> {
        self.gone.as_deref()
    }

    /// What is wrong with what was typed, once.
    pub fn complaints(&mut self) -> Vec<String> {
        std::mem::take(&mut self.complaints)
    }

    /// Messages that nobody knows to have been heard.
    pub fn unheard(&self) -> u64 {
        self.client.unconfirmed()
    }

    /// Writes what there is to write.
    fn push(&mut self) -> io::Result<()> {
        while !self.client.output().is_empty() && self.gone.is_none() {
            match self.connection.write(self.client.output()) {
                Ok(n) => self.client.written(n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(error) => self.lose(&sys::reason(&error)),
            }
        }
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
        self.gone.get_or_insert(why);
    }

    /// Whether the relay is there; if not, that is an error, or something to be waited out.
    fn check(&self) -> io::Result<()> {
        match &self.gone {
            None => Ok(()),
            Some(_) if self.waits => Err(io::ErrorKind::WouldBlock.into()),
            Some(why) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, why.clone())),
        }
    }

    /// Whom a write is for, and what.
    fn address<'a>(&self, buf: &'a [u8]) -> Result<(Vec<u8>, &'a [u8]), String> {
        let mut text = buf;
        let is_line = self.post.strips || self.post.to.is_none();
        if is_line && buf.len() >= LONGEST_LINE && !buf.ends_with(b"\n") {
            return Err(TOO_LONG.into());
        }
        if self.post.strips {
            text = text.strip_suffix(b"\n").unwrap_or(text);
            text = text.strip_suffix(b"\r").unwrap_or(text);
        }
        if let Some(to) = &self.post.to {
            return if text.len() > MAX_STORED { Err(TOO_LONG.into()) } else { Ok((to.clone(), text)) };
        }
        let bar = text.iter().position(|byte| *byte == b'|');
        let (name, text) = match bar {
            Some(bar) => (&text[..bar], &text[bar + 1..]),
            None => return Err("a line has to be 'name|text'".into()),
        };
        let to = [&self.post.prefix[..], name].concat();
        if name.is_empty() || !is_name(&to) {
            return Err(format!("'{}' is not a name", name.escape_ascii()));
        }
        if text.len() > MAX_STORED {
            return Err(TOO_LONG.into());
        }
        Ok((to, text))
    }
}

impl Read for Mailbox {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.taken < self.inbox.len() {
                let n = (&self.inbox[self.taken..]).read(buf)?;
                self.taken += n;
                return Ok(n);
            }
            self.inbox.clear();
            self.taken = 0;
            self.check()?;
            match self.connection.read(&mut self.room) {
                Ok(0) => self.lose("the relay has closed the connection"),
                Ok(n) => self.client.receive(&self.room[..n], &mut self.inbox),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(error) => self.lose(&sys::reason(&error)),
            }
        }
    }
}

impl Write for Mailbox {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        // One message after the other: what is not sent is not taken from the source.
        self.push()?;
        if self.post.to.is_none() && buf.trim_ascii().is_empty() {
            return Ok(buf.len());
        }
        match self.address(buf) {
            Ok((to, text)) => {
                self.client.send(&to, text, self.now);
                match self.push() {
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                    _ => {}
                }
            }
            Err(why) if self.post.forgives => self.complaints.push(why),
            Err(why) => return Err(io::Error::new(io::ErrorKind::InvalidInput, why)),
        }
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Endpoint for Mailbox {
    /// The relay is not told: an end of file would give our name away.
    fn finish(&mut self) -> io::Result<()> {
        self.push()?;
        if !self.post.confirms {
            return Ok(());
        }
        if !std::mem::replace(&mut self.confirming, true) {
            self.client.probe(nonce(), self.now);
            self.push()?;
        }
        match self.client.is_confirmed() {
            true if self.doubtful > 0 => {
                let why = format!("{} messages may have gone with the relay that was lost", self.doubtful);
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
        // What goes wrong here is met again by whoever reads.
        let _ = self.push();
        Some(self.client.deadline())
    }
}

/// Bytes of a line at most: a name, the bar, what the relay keeps whole, and the end.
pub const LONGEST_LINE: usize = MAX_NAME + 1 + MAX_STORED + 2;

const TOO_LONG: &str = "a line is longer than a message may be, 64 KiB";

fn nonce() -> Nonce {
    std::array::from_fn(|_| fastrand::alphanumeric() as u8)
}
