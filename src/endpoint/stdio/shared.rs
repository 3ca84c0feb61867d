//! One stdin and one stdout for many clients: bytes from stdin go to every client, and what the clients send goes to
//! stdout in turn.

use std::{
    collections::{HashMap, VecDeque},
    io::{self, Read},
};

use super::{Input, Stdio};
use crate::{
    endpoint::Endpoint,
    event::Token,
    sys::{MisalignedBuffer, Raw},
};

/// Stdin and stdout, and how far each client has read.
#[derive(Debug)]
pub struct SharedStdio {
    stdio: Stdio,
    /// Bytes of stdin that some client has not read yet.
    log: VecDeque<u8>,
    /// Bytes of stdin before the first one of `log`.
    forgotten: u64,
    clients: HashMap<Token, Position>,
    input: InputState,
    /// Bytes of one client that stdout has not taken yet, from `written` on.
    output: Vec<u8>,
    written: usize,
    /// The error that stdout has met: its reader has closed it, or a write has failed.
    stdout_error: Option<io::ErrorKind>,
    /// The clients were not told of that error yet.
    error_is_news: bool,
    buffer: MisalignedBuffer,
}

/// How far stdin is.
#[derive(Debug)]
enum InputState {
    Ended,
    Failed(io::ErrorKind),
    Open,
}

/// How far a client is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Position {
    /// It has read so many bytes of all that stdin ever brought.
    At(u64),
    /// It is too far behind to be served.
    Behind,
}

impl SharedStdio {
    /// Takes stdin and stdout; no client is attached.
    pub fn new(stdio: Stdio) -> Self {
        Self {
            stdio,
            log: VecDeque::new(),
            forgotten: 0,
            clients: HashMap::new(),
            input: InputState::Open,
            output: Vec::new(),
            written: 0,
            stdout_error: None,
            error_is_news: false,
            buffer: MisalignedBuffer::new(READ_SIZE),
        }
    }

    /// Attaches a client: it gets what stdin brings from now on.
    pub fn attach(&mut self, token: Token) {
        self.clients.insert(token, Position::At(self.end()));
    }

    /// Detaches a client.
    pub fn detach(&mut self, token: Token) {
        self.clients.remove(&token);
        self.forget();
    }

    /// Stops reading stdin.
    pub fn stop(&mut self) {
        self.input = InputState::Ended;
    }

    /// Returns whether stdin has ended, or there is none.
    pub fn has_ended(&self) -> bool {
        !matches!(self.input, InputState::Open) || matches!(self.stdio.input, Input::Nothing)
    }

    /// Lends a client's side of its session; a direction that is not `shared` is its `own`.
    pub fn handle<'a>(&'a mut self, token: Token, own: &'a mut Stdio, shared: Shared) -> StdioHandle<'a> {
        StdioHandle { stdio: self, token, own, shared }
    }

    /// Returns stdin and stdout themselves.
    pub fn stdio(&mut self) -> &mut Stdio {
        &mut self.stdio
    }

    /// Writes what clients have sent, and reads stdin while some client has read all that it brought so far: the
    /// fastest client sets the pace. Returns whether something changed for the clients.
    pub fn advance(&mut self) -> bool {
        let waited = !self.output.is_empty();
        self.write_output();
        let mut changed = (waited && self.output.is_empty()) || std::mem::take(&mut self.error_is_news);

        // While no client is attached, stdin is not read: its bytes would be lost.
        while matches!(self.input, InputState::Open) && self.has_reader_at_end() {
            match self.stdio.read(&mut self.buffer) {
                Ok(0) => self.input = InputState::Ended,
                Ok(n) => self.log.extend(&self.buffer[..n]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => self.input = InputState::Failed(error.kind()),
            }
            changed = true;
        }

        self.drop_stragglers();
        changed
    }

    /// Looks for an error of stdout that no write has met: its reader may have closed it.
    pub fn check(&mut self) {
        if let Some(error) = self.stdio.broken() {
            self.fail_output(error.kind());
        }
    }

    /// Returns the error after which stdout takes nothing more.
    pub fn stdout_error(&self) -> Option<io::ErrorKind> {
        self.stdout_error
    }

    /// Returns whether a client is too far behind to be served.
    pub fn is_behind(&self, token: Token) -> bool {
        self.clients.get(&token) == Some(&Position::Behind)
    }

    /// The number of bytes that stdin has brought.
    fn end(&self) -> u64 {
        self.forgotten + self.log.len() as u64
    }

    fn has_reader_at_end(&self) -> bool {
        let end = Position::At(self.end());
        self.clients.values().any(|position| *position == end)
    }

    fn drop_stragglers(&mut self) {
        // One slow client must not hold up the others, nor make the log grow without bound.
        let end = self.end();
        for position in self.clients.values_mut() {
            if matches!(position, Position::At(at) if end - *at > MAX_BEHIND) {
                *position = Position::Behind;
            }
        }
        self.forget();
    }

    /// Forgets the bytes that every client has read.
    fn forget(&mut self) {
        let positions = self.clients.values().filter_map(|position| match position {
            Position::At(at) => Some(*at),
            Position::Behind => None,
        });
        // If no client is left that has yet to read them, all bytes go.
        let keep = positions.min().unwrap_or(self.end());
        let old = usize::try_from(keep - self.forgotten).unwrap_or(usize::MAX);
        self.log.drain(..old);
        self.forgotten = keep;
    }

    fn write_output(&mut self) {
        while self.written < self.output.len() {
            match self.stdio.write(&self.output[self.written..]) {
                Ok(n) => self.written += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => return self.fail_output(error.kind()),
            }
        }
        self.output.clear();
        self.written = 0;
    }

    fn fail_output(&mut self, kind: io::ErrorKind) {
        self.stdout_error = Some(kind);
        self.error_is_news = true;
        // The bytes that wait will never be written.
        self.output.clear();
        self.written = 0;
    }
}

/// The streams that clients share.
#[derive(Clone, Copy, Debug)]
pub struct Shared {
    /// Stdin.
    pub input: bool,
    /// Stdout.
    pub output: bool,
}

/// The local side of one client's session.
#[derive(Debug)]
pub struct StdioHandle<'a> {
    stdio: &'a mut SharedStdio,
    token: Token,
    own: &'a mut Stdio,
    shared: Shared,
}

impl Endpoint for StdioHandle<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if !self.shared.input {
            return self.own.read(buf);
        }

        let stdio = &mut *self.stdio;
        let at = match stdio.clients.get(&self.token) {
            Some(Position::At(at)) => *at,
            Some(Position::Behind) | None => return Err(io::ErrorKind::WouldBlock.into()),
        };
        let skip = usize::try_from(at - stdio.forgotten).unwrap_or(usize::MAX);
        let (front, back) = stdio.log.as_slices();
        let mut rest = if skip < front.len() { &front[skip..] } else { &back[skip - front.len()..] };
        let n = rest.read(buf)?;
        if n == 0 {
            return match stdio.input {
                InputState::Open => Err(io::ErrorKind::WouldBlock.into()),
                InputState::Ended => Ok(0),
                InputState::Failed(kind) => Err(kind.into()),
            };
        }

        stdio.clients.insert(self.token, Position::At(at + n as u64));
        stdio.forget();
        Ok(n)
    }

    /// Takes all of it or nothing, so that the bytes of two clients are not mixed.
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if !self.shared.output {
            return self.own.write(buf);
        }

        let stdio = &mut *self.stdio;
        if let Some(kind) = stdio.stdout_error {
            return Err(kind.into());
        }
        if !stdio.output.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }

        stdio.output.extend_from_slice(buf);
        stdio.write_output();
        // All counts as taken: the rest stands in `output`, and the writes of other clients wait for it.
        Ok(buf.len())
    }

    /// Leaves a shared stdout open: the other clients go on.
    fn finish(&mut self) -> io::Result<()> {
        if self.shared.output { Ok(()) } else { self.own.finish() }
    }

    fn broken(&mut self) -> Option<io::Error> {
        match self.shared.output {
            true => self.stdio.stdout_error.map(io::Error::from),
            false => self.own.broken(),
        }
    }

    fn held(&self) -> usize {
        // Bytes that a shared stdout has not taken yet outlive the client's session.
        if self.shared.output { 0 } else { self.own.held() }
    }

    fn source(&self) -> Option<Raw<'_>> {
        if self.shared.input { None } else { self.own.source() }
    }

    fn sink(&self) -> Option<Raw<'_>> {
        if self.shared.output { None } else { self.own.sink() }
    }
}

/// Bytes that a client may be behind the fastest one before it is disconnected.
const MAX_BEHIND: u64 = 1 << 20;

/// Bytes that are read from stdin at once.
const READ_SIZE: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::endpoint::{Output, blocking::WriterThread};

    const BOTH: Shared = Shared { input: true, output: true };

    fn nothing() -> Stdio {
        Stdio::new(Input::Nothing, Output::Nowhere)
    }

    fn shared_stdio(input: &[u8]) -> (SharedStdio, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("in"), dir.path().join("out"));
        std::fs::write(&from, input).unwrap();
        let input = Input::File(File::open(from).unwrap());
        let output = Output::File(File::create(to).unwrap());
        (SharedStdio::new(Stdio::new(input, output)), dir)
    }

    fn read(stdio: &mut SharedStdio, token: Token) -> Vec<u8> {
        let (mut got, mut buf) = (Vec::new(), [0; 1000]);
        while let Ok(n @ 1..) = stdio.handle(token, &mut nothing(), BOTH).read(&mut buf) {
            got.extend_from_slice(&buf[..n]);
        }
        got
    }

    #[test]
    fn every_client_gets_stdin_from_its_start_on() {
        let input: Vec<u8> = (0..200_000_u32).map(|i| (i % 251) as u8).collect();
        let (mut stdio, _dir) = shared_stdio(&input);
        assert!(!stdio.advance(), "stdin was read although no client was attached");
        stdio.attach(Token(1));
        assert!(stdio.advance());
        stdio.attach(Token(2));
        let (mut one, mut two) = (Vec::new(), Vec::new());

        for _ in 0..10 {
            one.extend(read(&mut stdio, Token(1)));
            two.extend(read(&mut stdio, Token(2)));
            stdio.advance();
        }
        assert!(one == input && two == input[READ_SIZE..]);
        assert_eq!(stdio.handle(Token(1), &mut nothing(), BOTH).read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn the_fastest_sets_the_pace_and_a_client_too_far_behind_is_given_up() {
        let (mut stdio, _dir) = shared_stdio(&vec![7; 3 << 20]);
        stdio.attach(Token(1));
        stdio.attach(Token(2));
        for _ in 0..100 {
            stdio.advance();
            assert!(stdio.log.len() as u64 <= MAX_BEHIND + READ_SIZE as u64);
            if stdio.is_behind(Token(2)) {
                break;
            }
            read(&mut stdio, Token(1));
        }
        assert!(stdio.is_behind(Token(2)) && !stdio.is_behind(Token(1)));
    }

    #[test]
    fn output_of_clients_is_not_mixed() {
        let (mut stdio, dir) = shared_stdio(b"");
        stdio.attach(Token(1));
        stdio.handle(Token(1), &mut nothing(), BOTH).write(b"one").unwrap();
        stdio.handle(Token(2), &mut nothing(), BOTH).write(b"two").unwrap();
        stdio.advance();
        assert_eq!(std::fs::read(dir.path().join("out")).unwrap(), b"onetwo");
    }

    #[test]
    fn bytes_in_an_own_output_are_held() {
        use crate::event::Reactor;

        let reactor = Reactor::new().unwrap();
        let (mut stdio, _dir) = shared_stdio(b"");
        // As a FIFO that has no reader yet (fifo(7)).
        let (reader, opening) = std::sync::mpsc::channel::<()>();
        let open = move || {
            let _ = opening.recv();
            tempfile::tempfile()
        };
        let thread = WriterThread::start(open, reactor.waker(Token(1))).unwrap();
        let mut own = Stdio::new(Input::Nothing, Output::Thread(thread));

        let shared = Shared { input: true, output: false };
        let mut handle = stdio.handle(Token(1), &mut own, shared);
        handle.write(b"waits").unwrap();
        assert_eq!(handle.held(), 5);
        drop(reader);
    }
}
