//! Programs that we start.

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
        Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process_group, test_kill_process_group, waitid,
    },
};
use socket2::{Domain, Socket, Type};

use super::Descriptor;

/// Starts a program in a process group of its own, with the signals as they are at first: what we ignore is no
/// business of its.
pub fn start(command: &mut Command) -> io::Result<Child> {
    command.process_group(0);
    let reset = || {
        for signal in super::IGNORED {
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
pub fn hang_up(child: &Child) -> io::Result<()> {
    Ok(kill_process_group(Pid::from_child(child), Signal::HUP)?)
}

/// How a program has ended, if it has. It stays to be waited for, so that nobody else gets its number.
pub fn peek(child: &Child) -> io::Result<Option<ExitStatus>> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let found = waitid(WaitId::Pid(Pid::from_child(child)), options)?;
    let raw = |found: WaitIdStatus| match found.exit_status() {
        // As wait(2) has it.
        Some(code) => (code & 0xff) << 8,
        None => found.terminating_signal().unwrap_or(0),
    };
    Ok(found.map(|found| ExitStatus::from_raw(raw(found))))
}

/// Whether any of them is left, once the program itself was waited for. While one is, nobody else gets the number of the
/// group.
pub fn has_group(child: &Child) -> bool {
    test_kill_process_group(Pid::from_child(child)) != Err(Errno::SRCH)
}

/// Ends them.
pub fn kill(child: &Child) -> io::Result<()> {
    Ok(kill_process_group(Pid::from_child(child), Signal::KILL)?)
}

/// Two sockets that are connected to each other (socketpair(2)): ours, and one that makes a program wait.
pub fn pair() -> io::Result<(Descriptor, OwnedFd)> {
    let (ours, theirs) = Socket::pair(Domain::UNIX, Type::STREAM, None)?;
    ours.set_nonblocking(true)?;
    Ok((ours.into(), theirs.into()))
}

/// A socket as a program wants it, which it makes wait. The description is the same: from here on, ours is only to
/// learn of a hang-up.
pub fn hand_over(socket: &Descriptor) -> io::Result<OwnedFd> {
    socket.socket().set_nonblocking(false)?;
    Ok(socket.duplicate()?.into())
}
