//! A descriptor that can only be waited for by a thread, made to look like one that never waits.
//! Nothing here depends on a platform.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use crate::{
    event::Waker,
    sys::{self, Descriptor, MisalignedBuffer},
};

/// Brings bytes from a descriptor. Its thread is left to die with the process: a read that blocks
/// cannot be called off.
#[derive(Debug)]
pub struct Inward(Arc<Shared>);

/// Takes bytes to a descriptor.
#[derive(Debug)]
pub struct Outward {
    shared: Arc<Shared>,
    /// The same descriptor, to learn at once that its reader has left; none before it was opened.
    lookout: Option<Descriptor>,
}

#[derive(Debug, Default)]
struct Shared {
    deck: Mutex<Deck>,
    moved: Condvar,
}

/// What is on board.
#[derive(Debug, Default)]
struct Deck {
    bytes: VecDeque<u8>,
    /// No more will come on board.
    last: bool,
    /// The thread has stopped, after everything was unloaded or for this error.
    stopped: bool,
    error: Option<io::Error>,
}

impl Shared {
    fn deck(&self) -> MutexGuard<'_, Deck> {
        self.deck.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, deck: MutexGuard<'a, Deck>) -> MutexGuard<'a, Deck> {
        self.moved.wait(deck).unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inward {
    /// Starts the thread that reads what `open` opens, which may block too.
    pub fn start(open: impl FnOnce() -> io::Result<File> + Send + 'static, waker: Waker) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let ours = Arc::clone(&shared);
        thread::Builder::new().name("ferry in".into()).stack_size(STACK).spawn(move || {
            let mut file = match open() {
                Ok(file) => file,
                Err(error) => {
                    shared.deck().error = Some(error);
                    return waker.wake();
                }
            };
            let mut buf = MisalignedBuffer::new(ROOM);
            loop {
                let read = file.read(&mut buf);
                if read.as_ref().is_err_and(|error| sys::is_background_read(error, &file)) {
                    // Nothing tells a thread that the job is in the foreground again.
                    thread::sleep(FOREGROUND);
                    continue;
                }
                // Whoever else has the description wants it so.
                if would_block(&read) && sys::wait_readable(&file).is_ok() {
                    continue;
                }
                let mut deck = shared.deck();
                match read {
                    Ok(0) => deck.last = true,
                    Ok(n) => deck.bytes.extend(&buf[..n]),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => deck.error = Some(error),
                }
                let over = deck.last || deck.error.is_some();
                // What was read is taken off before more is read: memory stays bounded.
                while !over && !deck.bytes.is_empty() {
                    drop(deck);
                    waker.wake();
                    deck = shared.deck();
                    if !deck.bytes.is_empty() {
                        deck = shared.wait(deck);
                    }
                }
                if over {
                    drop(deck);
                    return waker.wake();
                }
            }
        })?;
        Ok(Self(ours))
    }
}

impl Read for Inward {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut deck = self.0.deck();
        if !deck.bytes.is_empty() {
            let n = deck.bytes.read(buf)?;
            self.0.moved.notify_one();
            return Ok(n);
        }
        match deck.error.take() {
            Some(error) => Err(error),
            None if deck.last => Ok(0),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Outward {
    /// Starts the thread that writes to `file`.
    pub fn new(file: File, waker: Waker) -> io::Result<Self> {
        let lookout = Descriptor::hangup_watch(&file).ok();
        Ok(Self { lookout, ..Self::start(|| Ok(file), waker)? })
    }

    /// Starts the thread that writes to what `open` opens, which may block too.
    pub fn start(open: impl FnOnce() -> io::Result<File> + Send + 'static, waker: Waker) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let ours = Arc::clone(&shared);
        thread::Builder::new().name("ferry out".into()).stack_size(STACK).spawn(move || {
            let mut file = match open() {
                Ok(file) => file,
                Err(error) => {
                    let mut deck = shared.deck();
                    deck.error = Some(error);
                    deck.stopped = true;
                    drop(deck);
                    return waker.wake();
                }
            };
            let mut buf = Vec::with_capacity(ROOM);
            loop {
                let mut deck = shared.deck();
                while deck.bytes.is_empty() && !deck.last {
                    deck = shared.wait(deck);
                }
                buf.clear();
                buf.extend(deck.bytes.iter());
                drop(deck);
                let mut written = if buf.is_empty() { Ok(0) } else { file.write(&buf) };
                if would_block(&written) {
                    written = sys::wait_writable(&file).map(|()| 0);
                }
                let mut deck = shared.deck();
                match written {
                    Ok(n) => drop(deck.bytes.drain(..n)),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => deck.error = Some(error),
                }
                // Nothing was left to be written, so it was the end that woke us.
                deck.stopped = buf.is_empty() || deck.error.is_some();
                let stopped = deck.stopped;
                drop(deck);
                if stopped {
                    // Its reader is to see the end before we are told that it has.
                    drop(file);
                    return waker.wake();
                }
                waker.wake();
            }
        })?;
        Ok(Self { shared: ours, lookout: None })
    }

    /// What tells of a hang-up, to be watched.
    pub fn lookout_mut(&mut self) -> Option<&mut Descriptor> {
        self.lookout.as_mut()
    }

    /// Bytes that are still on board.
    pub fn held(&self) -> usize {
        self.shared.deck().bytes.len()
    }

    /// Says that no more will come; done when everything was unloaded.
    pub fn finish(&mut self) -> io::Result<()> {
        let mut deck = self.shared.deck();
        deck.last = true;
        self.shared.moved.notify_one();
        match deck.error.take() {
            Some(error) => Err(error),
            None if deck.stopped => Ok(()),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// The error that the thread has met, once; or that nobody reads what it writes.
    pub fn broken(&self) -> Option<io::Error> {
        let met = self.shared.deck().error.take();
        met.or_else(|| self.lookout.as_ref().and_then(Descriptor::broken))
    }
}

impl Write for Outward {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let mut deck = self.shared.deck();
        if let Some(error) = deck.error.take() {
            return Err(error);
        }
        let n = buf.len().min(ROOM.saturating_sub(deck.bytes.len()));
        if n == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        deck.bytes.extend(&buf[..n]);
        self.shared.moved.notify_one();
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn would_block(result: &io::Result<usize>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// Bytes on board at most.
const ROOM: usize = 64 << 10;

/// How often a background job looks whether what is typed is for it.
const FOREGROUND: Duration = Duration::from_millis(200);

const STACK: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, Reactor, Token};

    fn pipe() -> (File, File) {
        let (read, write) = rustix::pipe::pipe().unwrap();
        (read.into(), write.into())
    }

    /// Calls until it does not block, waiting for the ferry in between.
    fn wait<T>(reactor: &mut Reactor, mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        loop {
            match call() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    reactor.wake_at(Token(9), Some(std::time::Instant::now() + Duration::from_secs(10)));
                    let events = reactor.wait()?;
                    assert!(!events.contains(&Event::Due(Token(9))), "the ferry did not wake us");
                }
                result => return result,
            }
        }
    }

    #[test]
    fn bytes_come_in_order_and_then_the_end() {
        let mut reactor = Reactor::new().unwrap();
        let (read, mut write) = pipe();
        let mut ferry = Inward::start(|| Ok(read), reactor.waker(Token(1))).unwrap();
        let sent: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8).collect();
        let writer = {
            let sent = sent.clone();
            thread::spawn(move || write.write_all(&sent).unwrap())
        };
        let (mut got, mut buf) = (Vec::new(), [0; 7000]);
        loop {
            match wait(&mut reactor, || ferry.read(&mut buf)).unwrap() {
                0 => break,
                n => got.extend_from_slice(&buf[..n]),
            }
        }
        writer.join().unwrap();
        assert!(got == sent);
    }

    #[test]
    fn what_is_loaded_is_unloaded_before_the_end() {
        let mut reactor = Reactor::new().unwrap();
        let (mut read, write) = pipe();
        let mut ferry = Outward::start(|| Ok(write), reactor.waker(Token(1))).unwrap();
        let reader = thread::spawn(move || {
            let mut got = Vec::new();
            read.read_to_end(&mut got).unwrap();
            got
        });
        let sent: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8).collect();
        let mut rest = &sent[..];
        while !rest.is_empty() {
            let n = wait(&mut reactor, || ferry.write(rest)).unwrap();
            rest = &rest[n..];
        }
        wait(&mut reactor, || ferry.finish()).unwrap();
        assert!(reader.join().unwrap() == sent);
    }

    #[test]
    fn a_reader_that_has_left_is_an_error() {
        let mut reactor = Reactor::new().unwrap();
        let (read, write) = pipe();
        drop(read);
        let mut ferry = Outward::start(|| Ok(write), reactor.waker(Token(1))).unwrap();
        let error = wait(&mut reactor, || {
            let _: usize = ferry.write(b"x")?;
            Err::<(), _>(io::ErrorKind::WouldBlock.into())
        })
        .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
