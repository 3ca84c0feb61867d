//! A terminal that the test types at.

use std::{fs::File, io::Write, os::fd::OwnedFd, process::Stdio};

use super::{Collector, Remote};

/// A pseudo-terminal, from the side of its user.
pub struct Terminal {
    controller: File,
    user: OwnedFd,
    screen: Collector,
}

impl Terminal {
    pub fn new() -> Self {
        let (controller, user) = unread_terminal();
        let screen = Collector::new(controller.try_clone().unwrap());
        Self { controller, user, screen }
    }

    /// Returns the terminal as a standard stream.
    pub fn stdio(&self) -> Stdio {
        self.user.try_clone().unwrap().into()
    }

    /// The side that the program has.
    pub fn user(&self) -> OwnedFd {
        self.user.try_clone().unwrap()
    }

    /// Returns its settings (termios(3)).
    pub fn settings(&self) -> rustix::termios::Termios {
        rustix::termios::tcgetattr(&self.user).unwrap()
    }

    /// Returns the flags of the file description that is shared with the program.
    pub fn flags(&self) -> rustix::fs::OFlags {
        rustix::fs::fcntl_getfl(&self.user).unwrap()
    }

    pub fn type_in(&self, text: &[u8]) {
        (&self.controller).write_all(text).expect("the terminal takes it");
    }

    /// Waits until the screen shows `text`. Returns everything shown so far.
    pub fn shows(&self, text: &str) -> String {
        let all = self.screen.wait(|bytes, _| String::from_utf8_lossy(bytes).contains(text));
        String::from_utf8_lossy(&all).into_owned()
    }

    /// Whether the program edits the line.
    pub fn is_taken(&self) -> bool {
        !self.settings().local_modes.contains(rustix::termios::LocalModes::ICANON)
    }

    /// Makes it the terminal of all three streams of a program, and the controlling one of a new session, in the
    /// foreground.
    pub fn remote(&self, args: &[&str]) -> Remote {
        let prefix = ["setsid", "--ctty", "--wait"];
        Remote::through(&prefix, args)
            .stdin_from(self.stdio())
            .stdout_to(self.stdio())
            .stderr_to(self.stdio())
    }
}

/// A pseudo-terminal without a screen: the controlling side, and the program's.
pub fn unread_terminal() -> (File, OwnedFd) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let name = ptsname(&controller, Vec::new()).unwrap();
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    let user = rustix::fs::open(name, flags, rustix::fs::Mode::empty()).unwrap();
    (controller.into(), user)
}
