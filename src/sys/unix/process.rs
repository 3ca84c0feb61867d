//! Programs that we start, and the limits of our own process.

use std::{
    io,
    os::{
        fd::OwnedFd,
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{Child, Command, ExitStatus},
};

use rustix::{
    io::Errno,
    process::{
        Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, WaitIdStatus, getrlimit, kill_process_group,
        setrlimit, test_kill_process_group, waitid,
    },
};
use socket2::{Domain, Socket, Type};

use crate::sys::Descriptor;

/// Starts a program in a process group of its own, with the signals as they are at first: what we ignore is no
/// business of its.
pub fn spawn_in_group(command: &mut Command) -> io::Result<Child> {
    command.process_group(0);
    let reset = || {
        for signal in super::IGNORED_SIGNALS {
            // SAFETY: signal(2) may be called between fork and exec (signal-safety(7)).
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        Ok(())
    };
    // SAFETY: `reset` only calls signal(2).
    unsafe { command.pre_exec(reset) };
    command.spawn()
}

/// Tells a program that was started here, and those that it has started in its group, that nobody is there any more.
pub fn hang_up_group(child: &Child) -> io::Result<()> {
    Ok(kill_process_group(Pid::from_child(child), Signal::HUP)?)
}

/// How a program has ended, if it has. It stays to be waited for, so that nobody else gets its number.
pub fn peek_exit_status(child: &Child) -> io::Result<Option<ExitStatus>> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let found = waitid(WaitId::Pid(Pid::from_child(child)), options)?;
    let raw = |found: WaitIdStatus| match found.exit_status() {
        // As wait(2) has it.
        Some(code) => (code & 0xff) << 8,
        None => found.terminating_signal().unwrap_or(0),
    };
    Ok(found.map(|found| ExitStatus::from_raw(raw(found))))
}

/// Returns the exit status as a shell reports it: 128 and the number of the signal if a signal ended the program.
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// Whether any of them is left, once the program itself was waited for. While one is, nobody else gets the number of the
/// group.
pub fn group_exists(child: &Child) -> bool {
    test_kill_process_group(Pid::from_child(child)) != Err(Errno::SRCH)
}

/// Ends them.
pub fn kill_group(child: &Child) -> io::Result<()> {
    Ok(kill_process_group(Pid::from_child(child), Signal::KILL)?)
}

/// Two sockets that are connected to each other (socketpair(2)): ours, and one that makes a program wait.
pub fn socket_pair() -> io::Result<(Descriptor, OwnedFd)> {
    let (ours, theirs) = Socket::pair(Domain::UNIX, Type::STREAM, None)?;
    ours.set_nonblocking(true)?;
    Ok((ours.into(), theirs.into()))
}

/// A socket as a program wants it, which it makes wait. The description is the same: from here on, ours is only to
/// learn of a hang-up.
pub fn duplicate_blocking(socket: &Descriptor) -> io::Result<OwnedFd> {
    socket.socket().set_nonblocking(false)?;
    Ok(socket.duplicate()?.into())
}

/// Raises our limit of descriptors to what we may have, and tells it (getrlimit(2), RLIMIT_NOFILE).
pub fn raise_descriptor_limit() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    if limit.current != limit.maximum && setrlimit(Resource::Nofile, raised).is_ok() {
        limit = raised;
    }
    limit.current.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Whether so many more descriptors can be had now.
pub fn can_open(count: usize) -> io::Result<()> {
    let tried: io::Result<Vec<OwnedFd>> =
        (0..count).map(|_| Ok(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 0)?)).collect();
    tried.map(drop)
}
