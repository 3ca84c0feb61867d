//! One stdin and one stdout for many clients: what comes from stdin goes to every seat, what the seats
//! say goes to stdout, in turn.

use std::{
    collections::{HashMap, VecDeque},
    io::{self, Read, Write},
};

use super::{Input, Standard};
use crate::{
    endpoint::Endpoint,
    event::Token,
    sys::{MisalignedBuffer, Raw},
};

/// The table: it has stdin and stdout, and knows how far each seat has read.
#[derive(Debug)]
pub struct Table {
    standard: Standard,
    /// What was read from stdin and not yet by every seat.
    log: VecDeque<u8>,
    /// How much was forgotten before the first byte of `log`.
    forgotten: u64,
    seats: HashMap<Token, Place>,
    source: Source,
    /// What a seat said and stdout has not taken yet.
    saying: Vec<u8>,
    said: usize,
    /// Stdout's reader has left, or stdout has failed.
    mute: Option<io::ErrorKind>,
    /// That is news for the seats.
    muted: bool,
    buf: MisalignedBuffer,
}

/// How far stdin is.
#[derive(Debug)]
enum Source {
    Ended,
    Failed(io::ErrorKind),
    Open,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    /// Has read so many bytes of all that ever came.
    At(u64),
    /// Has fallen too far behind to be served.
    Behind,
}

impl Table {
    /// Sets the table; nobody sits at it.
    pub fn new(standard: Standard) -> Self {
        Self {
            standard,
            log: VecDeque::new(),
            forgotten: 0,
            seats: HashMap::new(),
            source: Source::Open,
            saying: Vec::new(),
            said: 0,
            mute: None,
            muted: false,
            buf: MisalignedBuffer::new(CHUNK),
        }
    }

    /// Seats a client: it hears what stdin brings from now on.
    pub fn sit(&mut self, token: Token) {
        self.seats.insert(token, Place::At(self.end()));
    }

    /// Reads no more of stdin.
    pub fn stop(&mut self) {
        self.source = Source::Ended;
    }

    /// Whether stdin has ended, or there is none.
    pub fn has_ended(&self) -> bool {
        !matches!(self.source, Source::Open) || matches!(self.standard.input, Input::Nothing)
    }

    /// A client has left.
    pub fn rise(&mut self, token: Token) {
        self.seats.remove(&token);
        self.forget();
    }

    /// The seat of a client, as one side of its session; what is not `shared` is its `own`.
    pub fn seat<'a>(&'a mut self, token: Token, own: &'a mut Standard, shared: Shared) -> Seat<'a> {
        Seat { table: self, token, own, shared }
    }

    /// Stdin and stdout themselves.
    pub fn standard(&mut self) -> &mut Standard {
        &mut self.standard
    }

    /// Sends on what was said, and reads stdin while a client is there that has heard all so far: the
    /// quickest sets the pace. Tells whether something changed for the seats.
    pub fn advance(&mut self) -> bool {
        let spoke = !self.saying.is_empty();
        self.speak();
        let mut changed = (spoke && self.saying.is_empty()) || std::mem::take(&mut self.muted);
        while matches!(self.source, Source::Open)
            && self.seats.values().any(|place| *place == Place::At(self.end()))
        {
            match self.standard.read(&mut self.buf) {
                Ok(0) => self.source = Source::Ended,
                Ok(n) => self.log.extend(&self.buf[..n]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => self.source = Source::Failed(error.kind()),
            }
            changed = true;
        }
        self.drop_stragglers();
        changed
    }

    /// Stdout's reader has left.
    pub fn check(&mut self) {
        if let Some(error) = self.standard.broken() {
            self.mute = Some(error.kind());
            self.muted = true;
            self.saying.clear();
            self.said = 0;
        }
    }

    /// Whether stdout takes nothing more, and why.
    pub fn mute(&self) -> Option<io::ErrorKind> {
        self.mute
    }

    /// Whether a client has fallen too far behind.
    pub fn is_behind(&self, token: Token) -> bool {
        self.seats.get(&token) == Some(&Place::Behind)
    }

    fn end(&self) -> u64 {
        self.forgotten + self.log.len() as u64
    }

    fn drop_stragglers(&mut self) {
        let end = self.end();
        for place in self.seats.values_mut() {
            if matches!(place, Place::At(at) if end - *at > BEHIND) {
                *place = Place::Behind;
            }
        }
        self.forget();
    }

    fn forget(&mut self) {
        let places = self.seats.values().filter_map(|place| match place {
            Place::At(at) => Some(*at),
            Place::Behind => None,
        });
        let keep = places.min().unwrap_or(self.end());
        let old = usize::try_from(keep - self.forgotten).unwrap_or(usize::MAX);
        self.log.drain(..old);
        self.forgotten = keep;
    }

    fn speak(&mut self) {
        while self.said < self.saying.len() {
            match self.standard.write(&self.saying[self.said..]) {
                Ok(n) => self.said += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    self.mute = Some(error.kind());
                    self.muted = true;
                    break;
                }
            }
        }
        self.saying.clear();
        self.said = 0;
    }
}

/// What the clients have in common.
#[derive(Clone, Copy, Debug)]
pub struct Shared {
    /// Stdin.
    pub input: bool,
    /// Stdout.
    pub output: bool,
}

/// One client's view of the table.
#[derive(Debug)]
pub struct Seat<'a> {
    table: &'a mut Table,
    token: Token,
    own: &'a mut Standard,
    shared: Shared,
}

impl Read for Seat<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if !self.shared.input {
            return self.own.read(buf);
        }
        let table = &mut *self.table;
        let at = match table.seats.get(&self.token) {
            Some(Place::At(at)) => *at,
            Some(Place::Behind) | None => return Err(io::ErrorKind::WouldBlock.into()),
        };
        let skip = usize::try_from(at - table.forgotten).unwrap_or(usize::MAX);
        let (front, back) = table.log.as_slices();
        let mut rest = if skip < front.len() { &front[skip..] } else { &back[skip - front.len()..] };
        let n = rest.read(buf)?;
        if n == 0 {
            return match table.source {
                Source::Open => Err(io::ErrorKind::WouldBlock.into()),
                Source::Ended => Ok(0),
                Source::Failed(kind) => Err(kind.into()),
            };
        }
        table.seats.insert(self.token, Place::At(at + n as u64));
        table.forget();
        Ok(n)
    }
}

impl Write for Seat<'_> {
    /// Takes all of it or nothing: what one client sent is not mixed with what another did.
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if !self.shared.output {
            return self.own.write(buf);
        }
        let table = &mut *self.table;
        if let Some(kind) = table.mute {
            return Err(kind.into());
        }
        if !table.saying.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        table.saying.extend_from_slice(buf);
        table.speak();
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Endpoint for Seat<'_> {
    /// At the table the others go on.
    fn finish(&mut self) -> io::Result<()> {
        if self.shared.output { Ok(()) } else { self.own.finish() }
    }

    fn broken(&mut self) -> Option<io::Error> {
        if self.shared.output { self.table.mute.map(io::Error::from) } else { self.own.broken() }
    }

    fn source(&self) -> Option<Raw<'_>> {
        if self.shared.input { None } else { self.own.source() }
    }

    fn sink(&self) -> Option<Raw<'_>> {
        if self.shared.output { None } else { self.own.sink() }
    }
}

/// Bytes that a client may be behind the quickest before it is given up.
const BEHIND: u64 = 1 << 20;

/// Bytes read from stdin at once.
const CHUNK: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::endpoint::Output;

    const BOTH: Shared = Shared { input: true, output: true };

    fn nothing() -> Standard {
        Standard { input: Input::Nothing, output: Output::Nowhere }
    }

    fn table(input: &[u8]) -> (Table, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("in"), dir.path().join("out"));
        std::fs::write(&from, input).unwrap();
        let input = Input::File(File::open(from).unwrap());
        let output = Output::File(File::create(to).unwrap());
        (Table::new(Standard { input, output }), dir)
    }

    fn read(table: &mut Table, token: Token) -> Vec<u8> {
        let (mut got, mut buf) = (Vec::new(), [0; 1000]);
        while let Ok(n @ 1..) = table.seat(token, &mut nothing(), BOTH).read(&mut buf) {
            got.extend_from_slice(&buf[..n]);
        }
        got
    }

    #[test]
    fn every_client_hears_stdin_from_when_it_came() {
        let input: Vec<u8> = (0..200_000_u32).map(|i| (i % 251) as u8).collect();
        let (mut table, _dir) = table(&input);
        assert!(!table.advance(), "stdin was read though nobody was there");
        table.sit(Token(1));
        assert!(table.advance());
        table.sit(Token(2));
        let (mut one, mut two) = (Vec::new(), Vec::new());
        for _ in 0..10 {
            one.extend(read(&mut table, Token(1)));
            two.extend(read(&mut table, Token(2)));
            table.advance();
        }
        assert!(one == input && two == input[CHUNK..]);
        assert_eq!(table.seat(Token(1), &mut nothing(), BOTH).read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn the_quickest_sets_the_pace_and_who_falls_behind_is_given_up() {
        let (mut table, _dir) = table(&vec![7; 3 << 20]);
        table.sit(Token(1));
        table.sit(Token(2));
        for _ in 0..100 {
            table.advance();
            assert!(table.log.len() as u64 <= BEHIND + CHUNK as u64);
            if table.is_behind(Token(2)) {
                break;
            }
            read(&mut table, Token(1));
        }
        assert!(table.is_behind(Token(2)) && !table.is_behind(Token(1)));
    }

    #[test]
    fn what_clients_say_is_not_mixed() {
        let (mut table, dir) = table(b"");
        table.sit(Token(1));
        table.seat(Token(1), &mut nothing(), BOTH).write_all(b"one").unwrap();
        table.seat(Token(2), &mut nothing(), BOTH).write_all(b"two").unwrap();
        table.advance();
        assert_eq!(std::fs::read(dir.path().join("out")).unwrap(), b"onetwo");
    }
}
