//! Connecting through a proxy: its secret, and the handshake between the race and the session.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    path::Path,
    time::Instant,
};

use anyhow::{Context, Result, anyhow, bail};

use super::{dial::reach, heed};
use crate::{
    event::{Event, Reactor, Token},
    net::{Address, SocketConfig},
    plan::{self, Target, usage},
    proto::proxy::ProxyHandshake,
    report::{self, Report},
    sys::{Descriptor, NoEcho, Signal},
};

/// A destination, and the proxy that is to connect to it.
pub struct Errand<'a> {
    to: &'a Target,
    proxy: &'a plan::Proxy,
    /// One that has not begun.
    handshake: ProxyHandshake,
}

impl<'a> Errand<'a> {
    /// Finds out all that the proxy will want to know, before it is kept waiting.
    pub fn prepare(to: &'a Target, proxy: &'a plan::Proxy, reactor: &mut Reactor) -> Result<Self> {
        let password = match (proxy.request.user_with_password(), &proxy.password_file) {
            (None, _) => Vec::new(),
            (Some(_), Some(path)) => first_line(path)?,
            (Some(user), None) => match std::env::var_os(PASSWORD) {
                Some(password) => password.into_encoded_bytes(),
                None => ask(&format!("Password of {user} for the proxy {}: ", proxy.at), reactor)?,
            },
        };
        match proxy.request.begin(&password) {
            Ok(handshake) => Ok(Self { to, proxy, handshake }),
            Err(unfit) => usage(unfit.to_string()),
        }
    }

    /// Connects to the proxy, and has it connect; the address is that of the destination, as it was asked for.
    pub fn run(
        &self,
        socket_config: &SocketConfig,
        reactor: &mut Reactor,
        limit: Option<Instant>,
        report: &Report,
    ) -> Result<(Descriptor, Address)> {
        let (mut socket, address) =
            reach(&self.proxy.at, socket_config, reactor, limit, report).context("reach the proxy")?;
        report.detail(format!("through the proxy {address}"));
        reactor.watch(PROXY, &mut socket)?;
        let mut handshake = self.handshake.clone();
        while !advance(&mut socket, &mut handshake).with_context(|| self.name())? {
            if limit.is_some_and(|limit| Instant::now() >= limit) {
                bail!("{}: timed out", self.name());
            }
            reactor.wake_at(PROXY, limit);
            for event in reactor.wait()? {
                if let Event::Signal(signal) = event {
                    heed(signal)?;
                }
            }
        }
        reactor.wake_at(PROXY, None);
        Ok((socket, self.to.address()))
    }

    fn name(&self) -> String {
        format!("connect to {} through the proxy {}", self.to, self.proxy.at)
    }
}

/// Goes on for as long as nothing blocks; tells whether the socket is the destination's now.
fn advance(socket: &mut Descriptor, handshake: &mut ProxyHandshake) -> Result<bool> {
    match converse(socket, handshake) {
        Err(error) if is_blocked(&error) => Ok(false),
        result => result.map(|()| true),
    }
}

/// Sends and receives until it is open. What follows the proxy's last word stays in the socket, for the session.
fn converse(socket: &mut Descriptor, handshake: &mut ProxyHandshake) -> Result<()> {
    let mut buf = [0; 4096];
    loop {
        while !handshake.output().is_empty() {
            let sent = socket.write(handshake.output())?;
            handshake.written(sent);
        }
        if handshake.is_open() {
            return Ok(());
        }
        let seen = socket.peek(&mut buf)?;
        if seen == 0 {
            bail!("the proxy has closed the connection");
        }
        let taken = handshake.receive(&buf[..seen])?;
        socket.read_exact(&mut buf[..taken])?;
    }
}

fn is_blocked(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// The first line of a file, without its end.
fn first_line(path: &Path) -> Result<Vec<u8>> {
    let context = || format!("read {}", path.display());
    let file = File::open(path).with_context(context)?;
    let mut line = Vec::new();
    BufReader::new(file.take(LONGEST)).read_until(b'\n', &mut line).with_context(context)?;
    line.pop_if(|last| *last == b'\n');
    line.pop_if(|last| *last == b'\r');
    if line.is_empty() {
        bail!("read {}: its first line is no password: it is empty", path.display());
    }
    Ok(line)
}

/// Asks whoever sits at our terminal, and shows nothing of what is typed.
fn ask(prompt: &str, reactor: &mut Reactor) -> Result<Vec<u8>> {
    let Ok(mut terminal) = Descriptor::terminal() else {
        return usage(format!(
            "-P needs a password: {PASSWORD} in the environment, --proxy-password-file FILE, or a terminal to ask at"
        ));
    };
    let context = "ask for the password";
    reactor.watch(PROXY, &mut terminal).context(context)?;
    let (mut line, mut buf) = (Vec::new(), [0; 4096]);
    let prompt = report::escaped(prompt);
    let begin = |terminal: &mut Descriptor| {
        let hidden = NoEcho::take(&*terminal)?;
        terminal.write_all(prompt.as_bytes()).map(|()| hidden)
    };
    let mut hidden = begin(&mut terminal).context(context)?;
    loop {
        // The terminal edits: what comes is a line, or its beginning and the end of file.
        match terminal.read(&mut buf) {
            Ok(0) => return Err(anyhow!("none was given")).context(context),
            Ok(n) => line.extend(&buf[..n]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                for event in reactor.wait()? {
                    match event {
                        Event::Signal(signal @ Signal::Stop) => {
                            drop(hidden);
                            heed(signal)?;
                            hidden = begin(&mut terminal).context(context)?;
                        }
                        Event::Signal(signal) => heed(signal)?,
                        Event::Due(_) | Event::Hangup(_) | Event::Ready(_) => {}
                    }
                }
            }
            Err(error) => return Err(error).context(context),
        }
        if line.pop_if(|last| *last == b'\n').is_some() {
            return Ok(line);
        }
        if line.len() as u64 > LONGEST {
            return Err(anyhow!("it is too long")).context(context);
        }
    }
}

/// Where the environment has the password.
pub const PASSWORD: &str = "REMOTE_PROXY_PASSWORD";

/// Bytes that are read for a password.
const LONGEST: u64 = 64 << 10;

const PROXY: Token = Token(3);
