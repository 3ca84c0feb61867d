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

/// Starts a program in a process group of its own, with the default action for the signals that this process ignores.
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

/// Sends SIGHUP to the process group of a program that was started by [`spawn_in_group`].
pub fn hang_up_group(child: &Child) -> io::Result<()> {
    Ok(kill_process_group(Pid::from_child(child), Signal::HUP)?)
}

/// Returns the exit status of a program that has ended, and leaves it a zombie, so that its process ID is not reused
/// (waitid(2), WNOWAIT).
pub fn peek_exit_status(child: &Child) -> io::Result<Option<ExitStatus>> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let found = waitid(WaitId::Pid(Pid::from_child(child)), options)?;
    let raw = |found: WaitIdStatus| match found.exit_status() {
        // The encoding of wait(2): the exit code in the high byte, a signal in the low one.
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

/// Tells whether the process group of a program still has a member. While it has, its number is not reused.
pub fn group_exists(child: &Child) -> bool {
    test_kill_process_group(Pid::from_child(child)) != Err(Errno::SRCH)
}

/// Sends SIGKILL to the process group of a program.
pub fn kill_group(child: &Child) -> io::Result<()> {
    Ok(kill_process_group(Pid::from_child(child), Signal::KILL)?)
}

/// Creates two connected sockets (socketpair(2)): a non-blocking one for us, a blocking one for a program.
pub fn socket_pair() -> io::Result<(Descriptor, OwnedFd)> {
    let (ours, theirs) = Socket::pair(Domain::UNIX, Type::STREAM, None)?;
    ours.set_nonblocking(true)?;
    Ok((ours.into(), theirs.into()))
}

/// Makes a socket blocking, as programs expect, and returns a second handle for one. Both share the description, so ours
/// must from here on only be polled for a hang-up.
pub fn duplicate_blocking(socket: &Descriptor) -> io::Result<OwnedFd> {
    socket.socket().set_nonblocking(false)?;
    Ok(socket.duplicate()?.into())
}

/// Raises the soft limit of descriptors to the hard one, and returns it (getrlimit(2), RLIMIT_NOFILE).
pub fn raise_descriptor_limit() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    if limit.current != limit.maximum && setrlimit(Resource::Nofile, raised).is_ok() {
        limit = raised;
    }
    limit.current.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Checks that `count` more descriptors can be opened now.
pub fn can_open(count: usize) -> io::Result<()> {
    let opened: io::Result<Vec<OwnedFd>> =
        (0..count).map(|_| Ok(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 0)?)).collect();
    opened.map(drop)
}
