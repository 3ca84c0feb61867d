//! The input and output of the practice client. It does one thing at a time: each call attempts its work, and waits
//! while that would block.

use std::{
    io::{self, Read, Write},
    time::Instant,
};

use anyhow::{Context, Result, bail};

use super::interrupted::Interrupted;
use crate::{
    endpoint::{Endpoint, Input, Output, Stdio},
    event::{Event, Reactor, Token},
    net::Transport,
    plan::{Practice, PracticeClient, Target},
    pump::Source,
    report::{Meter, Report},
    session::{Outcome, dial::ConnectAttempts, handle_signal, open},
    sys::{Descriptor, Signal},
};

/// Standard input and output, and sockets to the servers.
pub struct Client<'a> {
    pub plan: &'a PracticeClient,
    pub report: &'a Report,
    reactor: Reactor,
    /// The token of stdin, stdout and all sockets: each wait attempts the one thing that is under way.
    token: Token,
    /// stdin and stdout.
    local: Stdio,
    /// Bytes of stdin that are not a complete line yet.
    typed: Vec<u8>,
    /// No more lines follow those in `typed`.
    stdin_ended: bool,
    /// The reader of stdout has closed it: further commands would be of no use.
    pub stdout_closed: bool,
}

impl<'a> Client<'a> {
    /// Opens standard input, unless there is a command in its place, and standard output.
    pub fn new(plan: &'a PracticeClient, report: &'a Report) -> Result<Self> {
        let mut reactor = Reactor::new().context("set up the event loop")?;
        let token = reactor.token();
        let waker = reactor.waker(token);
        let input = match plan.command {
            Some(_) => Input::Nothing,
            None => Input::stdin(waker.clone()).context("open stdin")?,
        };

        let mut local = Stdio::new(input, Output::stdout(waker).context("open stdout")?);
        local.watch(&reactor, token).context("watch stdin and stdout")?;
        // Gaps between packets are shorter than a millisecond.
        reactor.be_precise().context("set up the clock")?;

        Ok(Self {
            plan,
            report,
            reactor,
            token,
            local,
            typed: Vec::new(),
            stdin_ended: false,
            stdout_closed: false,
        })
    }

    /// Whether commands are typed at a terminal.
    pub fn is_interactive(&self) -> bool {
        open::source(&self.local.input) == Source::Terminal
    }

    /// Shows a prompt in front of each line that is typed.
    pub fn set_prompt(&mut self, prompt: &str) {
        self.local.set_prompt(prompt.to_owned());
    }

    /// Restores the terminal.
    pub fn release_terminal(&mut self) {
        self.local.release_terminal();
    }

    /// Reads the next line; `None` at the end of stdin.
    pub fn line(&mut self) -> Result<Option<String>> {
        let mut bytes = [0; 4096];
        loop {
            if let Some(end) = self.typed.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.typed.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
            }
            // The last line may have no end.
            if self.stdin_ended {
                let rest = std::mem::take(&mut self.typed);
                return Ok((!rest.is_empty()).then(|| String::from_utf8_lossy(&rest).into_owned()));
            }

            match self.local.read(&mut bytes) {
                // A terminal that hangs up reads as the end of a file, perhaps before SIGHUP arrives.
                Ok(0) if self.local.input.has_hung_up() => {
                    return Err(Interrupted(Signal::Hangup).into());
                }
                Ok(0) => self.stdin_ended = true,
                Ok(n) if self.typed.len() < MAX_LINE => self.typed.extend_from_slice(&bytes[..n]),
                Ok(_) => bail!("a command is too long"),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(None)?,
                Err(error) => return Err(error).context("read stdin"),
            }
        }
    }

    /// Writes to stdout.
    pub fn print(&mut self, bytes: &[u8]) -> Result<()> {
        let mut rest = bytes;

        while !rest.is_empty() {
            match self.local.write(rest) {
                Ok(n) => rest = &rest[n..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(None)?,
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    // EPIPE: a reader such as head(1) that has enough is no failure.
                    self.stdout_closed = true;
                    return Ok(());
                }
                Err(error) => return Err(error).context("write to stdout"),
            }
        }
        Ok(())
    }

    /// Writes a line to stdout.
    pub fn print_line(&mut self, bytes: &[u8]) -> Result<()> {
        self.print(&[bytes, b"\n"].concat())
    }

    /// Waits until all output is written.
    pub fn flush(&mut self) -> Result<()> {
        loop {
            match self.local.finish() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(None)?,
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                result => return result.context("write to stdout"),
            }
        }
    }

    /// Connects to a server.
    pub fn connect(&mut self, host: &str, port: u16, transport: Transport) -> Result<Descriptor> {
        let to = Target::Host { host: host.to_owned(), port, random: false };
        let limit = self.plan.timeout.map(|timeout| Instant::now() + timeout);
        let socket_config = Practice::socket_config(transport);
        let now = Instant::now();
        let mut attempts =
            ConnectAttempts::start(&to, &socket_config, limit, &self.reactor, self.token, now)?;
        loop {
            if let Some((socket, _)) = attempts.advance(&self.reactor, Instant::now(), self.report)? {
                return Ok(socket);
            }
            self.wait(attempts.deadline())?;
        }
    }

    /// Writes all bytes to a server.
    pub fn write(&mut self, socket: &mut Descriptor, bytes: &[u8]) -> Result<()> {
        let mut rest = bytes;

        while !rest.is_empty() {
            match socket.write(rest) {
                Ok(n) => rest = &rest[n..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(None)?,
                Err(error) => return Err(error).context("send the request"),
            }
        }
        Ok(())
    }

    /// Reads once from a server; `None` if there is nothing to read before `until`.
    pub fn read(
        &mut self,
        socket: &mut Descriptor,
        bytes: &mut [u8],
        until: Instant,
    ) -> Result<Option<usize>> {
        loop {
            // The read comes first: with edge-triggered epoll(7), only WouldBlock makes it safe to wait.
            match socket.read(bytes) {
                Ok(n) => return Ok(Some(n)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // A wait may end early, for a signal or another descriptor.
                    if Instant::now() >= until {
                        return Ok(None);
                    }

                    self.wait(Some(until))?;
                }
                Err(error) => return Err(error).context("receive the answer"),
            }
        }
    }

    /// Begins to show the progress of a file of `length` bytes.
    pub fn meter(&self, length: u64) -> Meter {
        Meter::new(self.report.progress, self.report.quiet, true, Some(length), Instant::now())
    }

    /// Waits until something changes, or until a time. A signal that ends the program is an error.
    fn wait(&mut self, until: Option<Instant>) -> Result<()> {
        self.reactor.wake_at(self.token, until);

        for event in self.reactor.wait()? {
            if let Event::Signal(signal) = event {
                // The others end or stop the process: a shell must not find the terminal in our mode.
                if !matches!(signal, Signal::Child | Signal::Continue | Signal::Info) {
                    self.local.release_terminal();
                }
                if let Some(Outcome::Signalled(signal)) = handle_signal(signal) {
                    return Err(Interrupted(signal).into());
                }
            }
        }
        Ok(())
    }
}

/// Bytes of a line of stdin.
const MAX_LINE: usize = 64 << 10;
