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

/// A signal that the program handles.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signal {
    /// A child process has ended.
    Child,
    /// The process continues after a stop.
    Continue,
    Hangup,
    /// The user asks for progress.
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

/// The signals that were delivered, behind a self-pipe that the reactor watches.
pub struct Signals {
    pipe: signal_hook_mio::v1_0::Signals,
    /// Set while an INT, or a TERM, is pending: a second one then has its default action.
    again: [Arc<AtomicBool>; 2],
}

impl Signals {
    /// Installs handlers for every [`Signal`]. One that the parent process ignores (nohup(1), a background job of a
    /// script) stays ignored. A second INT, or TERM, that is delivered before the first was read kills the process.
    pub fn new() -> io::Result<Self> {
        use Signal::{Child, Continue, Hangup, Info, Interrupt, Stop, Terminate};
        ignore_signals_that_calls_report();
        let wanted = [Child, Continue, Hangup, Info, Interrupt, Stop, Terminate];
        let numbers: Vec<c_int> = wanted
            .into_iter()
            .map(Signal::number)
            .filter(|number| !is_ignored(*number) || *number == consts::SIGCHLD)
            .collect();

        // The conditional default comes first, so that the first signal finds the flag still clear.
        let again: [Arc<AtomicBool>; 2] = Default::default();
        for (number, again) in [consts::SIGINT, consts::SIGTERM].into_iter().zip(&again) {
            if numbers.contains(&number) {
                flag::register_conditional_default(number, Arc::clone(again))?;
                flag::register(number, Arc::clone(again))?;
            }
        }
        Ok(Self { pipe: signal_hook_mio::v1_0::Signals::new(numbers)?, again })
    }

    /// Takes the signals that were delivered since the last call.
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

/// Ends the process by the default action of `signal`, so that the shell sees the true cause.
pub fn exit_by_signal(signal: Signal) -> ! {
    let _ = low_level::emulate_default_handler(signal.number());
    std::process::exit(128 + signal.number())
}

/// Stops the process, as Ctrl-Z does; returns when it is continued.
pub fn stop_self() {
    let _ = low_level::raise(consts::SIGSTOP);
}

/// Tells whether this process inherited the signal as ignored (sigaction(2)).
fn is_ignored(number: c_int) -> bool {
    // SAFETY: all zeroes is a valid `sigaction`.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: a null pointer asks for the present action, and `action` is valid for writes.
    let asked = unsafe { libc::sigaction(number, std::ptr::null(), &raw mut action) };
    asked == 0 && action.sa_sigaction == libc::SIG_IGN
}

/// The signals that stay ignored, see [`ignore_signals_that_calls_report`].
pub(in crate::sys) const IGNORED_SIGNALS: [c_int; 2] = [libc::SIGTTIN, libc::SIGXFSZ];

/// Ignores signals whose cause the failing call reports as well. SIGTTIN would stop a background job at its first attempt
/// to read the terminal; ignored, the read fails with EIO (termios(3)). SIGXFSZ would kill; ignored, a write beyond the
/// shell's file size limit fails with EFBIG (setrlimit(2)).
fn ignore_signals_that_calls_report() {
    for signal in IGNORED_SIGNALS {
        // SAFETY: ignoring a signal runs no code of ours.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}
