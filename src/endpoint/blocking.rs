//! Blocking descriptors: a thread reads or writes each, so that the loop never waits for it. Nothing here depends on a
//! platform.

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

/// A thread that reads from a descriptor. It is left to die with the process: a read that blocks cannot be cancelled.
#[derive(Debug)]
pub struct ReaderThread(Arc<Shared>);

/// A thread that writes to a descriptor.
#[derive(Debug)]
pub struct WriterThread {
    shared: Arc<Shared>,
    /// The same descriptor, to report a hang-up at once; none where it is still to be opened.
    hangup_watch: Option<Descriptor>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    moved: Condvar,
}

/// Bytes between the thread and the loop.
#[derive(Debug, Default)]
struct Queue {
    bytes: VecDeque<u8>,
    /// No more bytes will be added.
    last: bool,
    /// The thread has stopped: everything was written, or it has met the error.
    stopped: bool,
    error: Option<io::Error>,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        self.moved.wait(queue).unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReaderThread {
    /// Starts the thread that reads what `open` opens, which may block too.
    pub fn start(open: impl FnOnce() -> io::Result<File> + Send + 'static, waker: Waker) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let ours = Arc::clone(&shared);
        thread::Builder::new().name("reader".into()).stack_size(STACK_SIZE).spawn(move || {
            let mut file = match open() {
                Ok(file) => file,
                Err(error) => {
                    shared.queue().error = Some(error);
                    return waker.wake();
                }
            };

            let mut buf = MisalignedBuffer::new(MAX_QUEUED);
            loop {
                let read = file.read(&mut buf);
                if read.as_ref().is_err_and(|error| sys::is_background_read(error, &file)) {
                    // termios(3): no event tells a thread that the job is in the foreground again.
                    thread::sleep(FOREGROUND_CHECK_INTERVAL);
                    continue;
                }
                // Another process has made the description non-blocking, and it stays so.
                if would_block(&read) && sys::wait_readable(&file).is_ok() {
                    continue;
                }

                let mut queue = shared.queue();
                match read {
                    Ok(0) => queue.last = true,
                    Ok(n) => queue.bytes.extend(&buf[..n]),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => queue.error = Some(error),
                }

                let over = queue.last || queue.error.is_some();
                // The loop takes these bytes before more are read: memory stays bounded.
                while !over && !queue.bytes.is_empty() {
                    drop(queue);
                    waker.wake();
                    queue = shared.queue();
                    if !queue.bytes.is_empty() {
                        queue = shared.wait(queue);
                    }
                }
                if over {
                    drop(queue);
                    return waker.wake();
                }
            }
        })?;
        Ok(Self(ours))
    }
}

impl Read for ReaderThread {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut queue = self.0.queue();
        if !queue.bytes.is_empty() {
            let n = queue.bytes.read(buf)?;
            self.0.moved.notify_one();
            return Ok(n);
        }
        match &queue.error {
            Some(error) => Err(sys::clone_error(error)),
            None if queue.last => Ok(0),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl WriterThread {
    /// Starts the thread that writes to `file`.
    pub fn new(file: File, waker: Waker) -> io::Result<Self> {
        let hangup_watch = Descriptor::hangup_watch(&file).ok();
        Ok(Self { hangup_watch, ..Self::start(|| Ok(file), waker)? })
    }

    /// Starts the thread that writes to what `open` opens, which may block too.
    pub fn start(open: impl FnOnce() -> io::Result<File> + Send + 'static, waker: Waker) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let ours = Arc::clone(&shared);
        thread::Builder::new().name("writer".into()).stack_size(STACK_SIZE).spawn(move || {
            let mut file = match open() {
                Ok(file) => file,
                Err(error) => {
                    let mut queue = shared.queue();
                    queue.error = Some(error);
                    queue.stopped = true;
                    drop(queue);
                    return waker.wake();
                }
            };

            let mut buf = Vec::with_capacity(MAX_QUEUED);
            loop {
                let mut queue = shared.queue();
                while queue.bytes.is_empty() && !queue.last {
                    queue = shared.wait(queue);
                }
                buf.clear();
                buf.extend(queue.bytes.iter());
                drop(queue);

                let mut written = if buf.is_empty() { Ok(0) } else { file.write(&buf) };
                if would_block(&written) {
                    written = sys::wait_writable(&file).map(|()| 0);
                }
                let mut queue = shared.queue();

                match written {
                    Ok(n) => drop(queue.bytes.drain(..n)),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => queue.error = Some(error),
                }

                // Without bytes to write, the end has woken us.
                queue.stopped = buf.is_empty() || queue.error.is_some();
                let stopped = queue.stopped;
                drop(queue);
                if stopped {
                    // The reader sees the end of file before the loop hears of it.
                    drop(file);
                    return waker.wake();
                }
                waker.wake();
            }
        })?;
        Ok(Self { shared: ours, hangup_watch: None })
    }

    /// Returns the descriptor that reports a hang-up, to be watched.
    pub fn hangup_watch_mut(&mut self) -> Option<&mut Descriptor> {
        self.hangup_watch.as_mut()
    }

    /// Returns how many bytes were not written yet.
    pub fn held(&self) -> usize {
        self.shared.queue().bytes.len()
    }

    /// Ends the stream. Done when everything was written; to be called again after `WouldBlock`.
    pub fn finish(&mut self) -> io::Result<()> {
        let mut queue = self.shared.queue();
        queue.last = true;
        self.shared.moved.notify_one();
        match &queue.error {
            Some(error) => Err(sys::clone_error(error)),
            None if queue.stopped => Ok(()),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Returns the error that the thread has met, or that the descriptor has hung up.
    pub fn broken(&self) -> Option<io::Error> {
        let met = self.shared.queue().error.as_ref().map(sys::clone_error);
        met.or_else(|| self.hangup_watch.as_ref().and_then(Descriptor::broken))
    }
}

impl Write for WriterThread {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let mut queue = self.shared.queue();
        if let Some(error) = &queue.error {
            return Err(sys::clone_error(error));
        }
        let n = buf.len().min(MAX_QUEUED.saturating_sub(queue.bytes.len()));
        if n == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        queue.bytes.extend(&buf[..n]);
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

/// Bytes in a queue at most.
const MAX_QUEUED: usize = 64 << 10;

/// How often a background job looks whether it is in the foreground.
const FOREGROUND_CHECK_INTERVAL: Duration = Duration::from_millis(200);

const STACK_SIZE: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, Reactor, Token};

    fn pipe() -> (File, File) {
        let (read, write) = rustix::pipe::pipe().unwrap();
        (read.into(), write.into())
    }

    /// Calls until it does not block, waiting for the reader between.
    fn wait<T>(reactor: &mut Reactor, mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        loop {
            match call() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    reactor.wake_at(Token(9), Some(std::time::Instant::now() + Duration::from_secs(10)));
                    let events = reactor.wait()?;
                    assert!(!events.contains(&Event::Due(Token(9))), "the thread did not wake us");
                }
                result => return result,
            }
        }
    }

    #[test]
    fn bytes_come_in_order_and_then_the_end() {
        let mut reactor = Reactor::new().unwrap();
        let (read, mut write) = pipe();
        let mut thread = ReaderThread::start(|| Ok(read), reactor.waker(Token(1))).unwrap();

        let sent: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8).collect();
        let writer = {
            let sent = sent.clone();
            thread::spawn(move || write.write_all(&sent).unwrap())
        };

        let (mut got, mut buf) = (Vec::new(), [0; 7000]);
        loop {
            match wait(&mut reactor, || thread.read(&mut buf)).unwrap() {
                0 => break,
                n => got.extend_from_slice(&buf[..n]),
            }
        }

        writer.join().unwrap();
        assert!(got == sent);
    }

    #[test]
    fn queued_bytes_are_written_before_the_end() {
        let mut reactor = Reactor::new().unwrap();
        let (mut read, write) = pipe();
        let mut thread = WriterThread::start(|| Ok(write), reactor.waker(Token(1))).unwrap();

        let reader = thread::spawn(move || {
            let mut got = Vec::new();
            read.read_to_end(&mut got).unwrap();
            got
        });

        let sent: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8).collect();
        let mut rest = &sent[..];
        while !rest.is_empty() {
            let n = wait(&mut reactor, || thread.write(rest)).unwrap();
            rest = &rest[n..];
        }

        wait(&mut reactor, || thread.finish()).unwrap();
        assert!(reader.join().unwrap() == sent);
    }

    #[test]
    fn a_reader_that_has_left_is_an_error() {
        let mut reactor = Reactor::new().unwrap();
        let (read, write) = pipe();
        drop(read);
        let mut thread = WriterThread::start(|| Ok(write), reactor.waker(Token(1))).unwrap();
        let error = wait(&mut reactor, || {
            let _: usize = thread.write(b"x")?;
            Err::<(), _>(io::ErrorKind::WouldBlock.into())
        })
        .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);

        // Asked again, it answers the same.
        for _ in 0..2 {
            assert_eq!(thread.broken().map(|error| error.kind()), Some(io::ErrorKind::BrokenPipe));
            assert_eq!(thread.write(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        }
    }
}
