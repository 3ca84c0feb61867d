//! How the program waits: one poll, the deadlines, the signals, and those who have more to do.
//!
//! mio is edge-triggered here. Whoever registers is told once that something changed, and then
//! attempts all it can until it would block; there are no interest sets to keep in step.

mod slots;

pub use self::slots::Slots;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

pub use mio::Token;
use mio::{Events, Interest, Poll};

use crate::sys::{self, Descriptor, Signal};

/// What a wait ends with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// The token's deadline has come, or it asked to go on.
    Due(Token),
    /// A descriptor of the token's reported an error or a hang-up. `Ready` follows.
    Hangup(Token),
    /// Something changed for a descriptor of the token's.
    Ready(Token),
    Signal(Signal),
}

/// The only thing in the program that waits.
pub struct Reactor {
    poll: Poll,
    events: Events,
    signals: sys::Signals,
    wakes: Wakes,
    again: Vec<Token>,
    deadlines: HashMap<Token, Instant>,
    /// Every deadline that was ever set; those that `deadlines` no longer agrees with are stale.
    queue: BinaryHeap<Reverse<(Instant, Token)>>,
    happened: Vec<Event>,
    /// Wakes the poll where milliseconds are too coarse.
    timer: Option<sys::Timer>,
}

impl Reactor {
    /// Makes the poll, and starts to listen for signals.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut signals = sys::Signals::new()?;
        poll.registry().register(&mut signals, SIGNALS, Interest::READABLE)?;
        let waker = mio::Waker::new(poll.registry(), WAKER)?;
        Ok(Self {
            poll,
            events: Events::with_capacity(256),
            signals,
            wakes: Wakes { waker: Arc::new(waker), tokens: Arc::default() },
            again: Vec::new(),
            deadlines: HashMap::new(),
            queue: BinaryHeap::new(),
            happened: Vec::new(),
            timer: None,
        })
    }

    /// From now on, deadlines are kept to less than a millisecond, where the system has a clock for that.
    pub fn be_precise(&mut self) -> io::Result<()> {
        match sys::Timer::new() {
            Ok(mut timer) => {
                self.poll.registry().register(&mut timer, TIMER, Interest::READABLE)?;
                self.timer = Some(timer);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Tells `token` from now on when `descriptor` changes, and nobody else who was told before. It is
    /// forgotten when it is closed.
    pub fn watch(&self, token: Token, descriptor: &mut Descriptor) -> io::Result<()> {
        self.watch_for(token, descriptor, Interest::READABLE | Interest::WRITABLE)
    }

    /// The same, but only for when a socket that somebody else reads and writes hangs up or fails.
    pub fn watch_end(&self, token: Token, descriptor: &mut Descriptor) -> io::Result<()> {
        self.watch_for(token, descriptor, sys::HANGUP_ONLY)
    }

    fn watch_for(&self, token: Token, descriptor: &mut Descriptor, what: Interest) -> io::Result<()> {
        let registry = self.poll.registry();
        match registry.register(descriptor, token, what) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                registry.reregister(descriptor, token, what)
            }
            result => result,
        }
    }

    /// Sets or clears the deadline of `token`: one each, the last call counts.
    pub fn wake_at(&mut self, token: Token, when: Option<Instant>) {
        match when {
            Some(when) => {
                if self.deadlines.insert(token, when) != Some(when) {
                    self.queue.push(Reverse((when, token)));
                }
            }
            None => {
                self.deadlines.remove(&token);
            }
        }
    }

    /// `token` has more to do, but others go first.
    pub fn again(&mut self, token: Token) {
        if !self.again.contains(&token) {
            self.again.push(token);
        }
    }

    /// Lets another thread say that something changed for `token`.
    pub fn waker(&self, token: Token) -> Waker {
        Waker { token, wakes: self.wakes.clone() }
    }

    /// Waits until something happens. May come back with nothing.
    pub fn wait(&mut self) -> io::Result<Vec<Event>> {
        let mut timeout = if self.again.is_empty() {
            self.next_deadline().map(|when| when.saturating_duration_since(Instant::now()))
        } else {
            Some(Duration::ZERO)
        };
        if let (Some(timer), Some(time)) = (&self.timer, timeout.filter(|time| !time.is_zero())) {
            timer.set(time)?;
            timeout = None;
        }
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => result?,
        }
        self.happened.clear();
        self.collect_due();
        for event in &self.events {
            match event.token() {
                SIGNALS => {
                    let pending = self.signals.pending();
                    self.happened.extend(pending.into_iter().map(Event::Signal));
                }
                // What is due is looked for anyway.
                TIMER => {}
                WAKER => self.happened.extend(self.wakes.take().into_iter().map(Event::Ready)),
                token => {
                    if event.is_error() || event.is_write_closed() {
                        self.happened.push(Event::Hangup(token));
                    }
                    self.happened.push(Event::Ready(token));
                }
            }
        }
        Ok(std::mem::take(&mut self.happened))
    }

    /// The earliest deadline that still counts.
    fn next_deadline(&mut self) -> Option<Instant> {
        while let Some(Reverse((when, token))) = self.queue.peek() {
            if self.deadlines.get(token) == Some(when) {
                return Some(*when);
            }
            self.queue.pop();
        }
        None
    }

    fn collect_due(&mut self) {
        self.happened.extend(self.again.drain(..).map(Event::Due));
        if self.queue.is_empty() {
            return;
        }
        let now = Instant::now();
        while self.next_deadline().is_some_and(|when| when <= now) {
            if let Some(Reverse((_, token))) = self.queue.pop() {
                self.deadlines.remove(&token);
                self.happened.push(Event::Due(token));
            }
        }
    }
}

/// Wakes the reactor from another thread, as if something had changed for one token.
#[derive(Clone, Debug)]
pub struct Waker {
    token: Token,
    wakes: Wakes,
}

impl Waker {
    /// Says that something changed.
    pub fn wake(&self) {
        let mut tokens = self.wakes.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if !tokens.contains(&self.token) {
            tokens.push(self.token);
        }
        drop(tokens);
        // It fails only when the poll is gone, and then nobody is left to be woken.
        let _ = self.wakes.waker.wake();
    }
}

/// mio allows one waker a poll, so all of ours share it.
#[derive(Clone, Debug)]
struct Wakes {
    waker: Arc<mio::Waker>,
    tokens: Arc<Mutex<Vec<Token>>>,
}

impl Wakes {
    fn take(&self) -> Vec<Token> {
        std::mem::take(&mut self.tokens.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

const SIGNALS: Token = Token(usize::MAX - 1);
const TIMER: Token = Token(usize::MAX - 2);
const WAKER: Token = Token(usize::MAX);
