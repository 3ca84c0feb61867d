//! Waiting: one poll for descriptors, deadlines, signals, threads, and tokens that have more to do.
//!
//! mio is edge-triggered here: a change is reported once, and the owner of the descriptor then attempts all it can until
//! a call would block. There are no interest sets to keep in step.

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

/// A reason to stop waiting.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// The token's deadline has passed, or it has more to do.
    Due(Token),
    /// A descriptor of the token reported an error or a hang-up. `Ready` follows.
    Hangup(Token),
    /// A descriptor of the token may be readable or writable now, or its thread made progress.
    Ready(Token),
    Signal(Signal),
}

/// The only type of the program that waits.
pub struct Reactor {
    poll: Poll,
    events: Events,
    signals: sys::Signals,
    wakes: Wakes,
    /// Tokens that have more to do.
    again: Vec<Token>,
    deadlines: HashMap<Token, Instant>,
    /// Every deadline that was set; those that differ from `deadlines` are stale.
    queue: BinaryHeap<Reverse<(Instant, Token)>>,
    pending: Vec<Event>,
    /// Wakes the poll where its milliseconds are too coarse.
    timer: Option<sys::Timer>,
    /// The token that was handed out last.
    last_token: usize,
}

impl Reactor {
    /// Creates the poll, and installs the signal handlers.
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
            pending: Vec::new(),
            timer: None,
            last_token: FIRST_TOKEN,
        })
    }

    /// Returns a token that was never used, so that a late event for another owner finds nothing.
    pub fn token(&mut self) -> Token {
        self.last_token += 1;
        Token(self.last_token)
    }

    /// Keeps deadlines to less than a millisecond from now on, if the system has a timer for that.
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

    /// Reports changes of `descriptor` as events of `token`, in place of the token that it had before. Closing the
    /// descriptor ends this.
    pub fn watch(&self, token: Token, descriptor: &mut Descriptor) -> io::Result<()> {
        self.watch_for(token, descriptor, Interest::READABLE | Interest::WRITABLE)
    }

    /// Reports only a hang-up or an error of a socket that another process reads and writes.
    pub fn watch_hangup(&self, token: Token, descriptor: &mut Descriptor) -> io::Result<()> {
        self.watch_for(token, descriptor, sys::HANGUP_ONLY)
    }

    fn watch_for(&self, token: Token, descriptor: &mut Descriptor, interest: Interest) -> io::Result<()> {
        let registry = self.poll.registry();
        // epoll_ctl(2), EEXIST: the descriptor changes its owner.
        match registry.register(descriptor, token, interest) {
            // epoll_ctl(2), EEXIST: the descriptor had another token.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                registry.reregister(descriptor, token, interest)
            }
            result => result,
        }
    }

    /// Sets or clears the deadline of `token`. Each token has one: the last call counts.
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

    /// Makes the next wait return at once with `Due(token)`: the token has more to do after others had their turn.
    pub fn again(&mut self, token: Token) {
        if !self.again.contains(&token) {
            self.again.push(token);
        }
    }

    /// Returns a handle by which another thread makes `token` ready.
    pub fn waker(&self, token: Token) -> Waker {
        Waker { token, wakes: self.wakes.clone() }
    }

    /// Waits for events. May return none.
    pub fn wait(&mut self) -> io::Result<Vec<Event>> {
        let mut timeout = if self.again.is_empty() {
            self.next_deadline().map(|when| when.saturating_duration_since(Instant::now()))
        } else {
            Some(Duration::ZERO)
        };
        // The timer wakes the poll by a descriptor, so that the poll itself needs no timeout.
        // epoll_wait(2) counts in milliseconds.
        if let (Some(timer), Some(time)) = (&self.timer, timeout.filter(|time| !time.is_zero())) {
            timer.set(time)?;
            timeout = None;
        }

        match self.poll.poll(&mut self.events, timeout) {
            // A signal: its handler has written to the self-pipe, so that the next poll returns at once.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => result?,
        }

        self.pending.clear();
        self.collect_due();
        for event in &self.events {
            match event.token() {
                SIGNALS => {
                    let signals = self.signals.pending();
                    self.pending.extend(signals.into_iter().map(Event::Signal));
                }
                // Deadlines were collected above.
                TIMER => {}
                WAKER => self.pending.extend(self.wakes.take().into_iter().map(Event::Ready)),
                token => {
                    // A hang-up is reported first, so that the owner knows it when it reads the rest.
                    if event.is_error() || event.is_write_closed() {
                        self.pending.push(Event::Hangup(token));
                    }
                    self.pending.push(Event::Ready(token));
                }
            }
        }
        Ok(std::mem::take(&mut self.pending))
    }

    /// Returns the earliest deadline, and drops stale ones before it.
    fn next_deadline(&mut self) -> Option<Instant> {
        // A deadline that was replaced or cleared stays in the heap until it is the first: removing it would cost a search.
        while let Some(Reverse((when, token))) = self.queue.peek() {
            if self.deadlines.get(token) == Some(when) {
                return Some(*when);
            }
            self.queue.pop();
        }
        None
    }

    /// Collects the tokens that have more to do, or whose deadline has passed.
    fn collect_due(&mut self) {
        self.pending.extend(self.again.drain(..).map(Event::Due));
        // The clock is not read where no deadline is set.
        if self.queue.is_empty() {
            return;
        }

        let now = Instant::now();
        while self.next_deadline().is_some_and(|when| when <= now) {
            if let Some(Reverse((_, token))) = self.queue.pop() {
                self.deadlines.remove(&token);
                self.pending.push(Event::Due(token));
            }
        }
    }
}

/// A handle that wakes the reactor from another thread, with `Ready` for one token.
#[derive(Clone, Debug)]
pub struct Waker {
    token: Token,
    wakes: Wakes,
}

impl Waker {
    /// Makes the token ready.
    pub fn wake(&self) {
        let mut tokens = self.wakes.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if !tokens.contains(&self.token) {
            tokens.push(self.token);
        }
        drop(tokens);
        // It fails only if the poll is closed, and then no thread waits.
        let _ = self.wakes.waker.wake();
    }
}

/// The tokens to wake. mio allows one waker for a poll, so all of ours share it.
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

/// Tokens below are for those that number theirs.
const FIRST_TOKEN: usize = 1 << 16;

const SIGNALS: Token = Token(usize::MAX - 1);
const TIMER: Token = Token(usize::MAX - 2);
const WAKER: Token = Token(usize::MAX);
