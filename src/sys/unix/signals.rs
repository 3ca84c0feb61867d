//! Signals, as events.

use std::{
    ffi::c_int,
    io, mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use mio::{Interest, Registry, Token, event::Source};
use signal_hook::{consts, flag, low_level};

/// A signal that means something to us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signal {
    /// A program of ours has ended.
    Child,
    /// We go on after a stop.
    Continue,
    Hangup,
    /// Somebody asks how far we are.
    Info,
    Interrupt,
    /// Ctrl-Z.
    Stop,
    Terminate,
}

impl Signal {
    fn number(self) -> c_int {
        match self {
            Self::Child => consts::SIGCHLD,
            Self::Continue => consts::SIGCONT,
            Self::Hangup => consts::SIGHUP,
            Self::Info => consts::SIGUSR1,
            Self::Interrupt => consts::SIGINT,
            Self::Stop => consts::SIGTSTP,
            Self::Terminate => consts::SIGTERM,
        }
    }
}

/// The signals that have come (a self-pipe that can be waited for).
pub struct Signals {
    pipe: signal_hook_mio::v1_0::Signals,
    /// An INT, or a TERM, has come and was not heard of yet: another one kills.
    again: [Arc<AtomicBool>; 2],
}

impl Signals {
    /// Starts to listen for all of [`Signal`]. One that our parent ignores (nohup, a script's
    /// background job) stays ignored. A second INT, or TERM, that comes before the first was heard of kills, whatever we are
    /// doing.
    pub fn new() -> io::Result<Self> {
        use Signal::{Child, Continue, Hangup, Info, Interrupt, Stop, Terminate};
        ignore_what_calls_tell();
        let wanted = [Child, Continue, Hangup, Info, Interrupt, Stop, Terminate];
        let numbers: Vec<c_int> = wanted
            .into_iter()
            .map(Signal::number)
            .filter(|number| !is_ignored(*number) || *number == consts::SIGCHLD)
            .collect();
        let again: [Arc<AtomicBool>; 2] = Default::default();
        for (number, again) in [consts::SIGINT, consts::SIGTERM].into_iter().zip(&again) {
            if numbers.contains(&number) {
                flag::register_conditional_default(number, Arc::clone(again))?;
                flag::register(number, Arc::clone(again))?;
            }
        }
        Ok(Self { pipe: signal_hook_mio::v1_0::Signals::new(numbers)?, again })
    }

    /// What has come since the last call.
    pub fn pending(&mut self) -> Vec<Signal> {
        use Signal::{Child, Continue, Hangup, Info, Interrupt, Stop, Terminate};
        let wanted = [Child, Continue, Hangup, Info, Interrupt, Stop, Terminate];
        let find = |number| wanted.into_iter().find(|signal| signal.number() == number);
        for again in &self.again {
            again.store(false, Ordering::Relaxed);
        }
        self.pipe.pending().filter_map(find).collect()
    }
}

impl Source for Signals {
    fn register(&mut self, registry: &Registry, token: Token, on: Interest) -> io::Result<()> {
        self.pipe.register(registry, token, on)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, on: Interest) -> io::Result<()> {
        self.pipe.reregister(registry, token, on)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.pipe.deregister(registry)
    }
}

/// Ends the process as `signal` would have, so that the shell sees the truth.
pub fn exit_by_signal(signal: Signal) -> ! {
    let _ = low_level::emulate_default_handler(signal.number());
    std::process::exit(128 + signal.number())
}

/// Stops the process, as ctrl-Z does; returns when it is continued.
pub fn stop_self() {
    let _ = low_level::raise(consts::SIGSTOP);
}

/// Whether a signal with this number was ignored when we were started.
fn is_ignored(number: c_int) -> bool {
    // SAFETY: all zeroes is a valid `sigaction`.
    let mut now: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: a null pointer asks for the present action, and `now` is valid for writes.
    let asked = unsafe { libc::sigaction(number, std::ptr::null(), &raw mut now) };
    asked == 0 && now.sa_sigaction == libc::SIG_IGN
}

/// What we ignore, see [`ignore_what_calls_tell`].
pub(in crate::sys) const IGNORED_SIGNALS: [c_int; 2] = [libc::SIGTTIN, libc::SIGXFSZ];

/// We attempt before we wait: without this, a background job would be stopped by its first read of
/// the terminal (SIGTTIN). Ignored, the read fails with EIO.
///
/// A file that grows beyond the limit of the shell (SIGXFSZ) fails with EFBIG, which is an error as any other.
fn ignore_what_calls_tell() {
    for signal in IGNORED_SIGNALS {
        // SAFETY: ignoring a signal runs no code of ours.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}
