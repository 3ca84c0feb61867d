//! A proxy that connects in our place: its password, and the handshake with it.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    path::Path,
};

use anyhow::{Context, Result, anyhow, bail};

use crate::{
    event::{Reactor, Token},
    plan::{self, usage},
    proto::proxy::ProxyHandshake,
    report,
    sys::{Descriptor, NoEcho},
};

/// The password of a proxy.
#[derive(Debug)]
pub enum Password {
    /// It is known, and empty if there is none.
    Known(Vec<u8>),
    /// It has to be asked for.
    Prompt(PasswordPrompt),
}

impl Password {
    /// Finds the password in its file or in the environment, or begins to ask for it at the terminal.
    pub fn find(proxy: &plan::Proxy, reactor: &Reactor, token: Token) -> Result<Self> {
        Ok(match (proxy.request.user_with_password(), &proxy.password_file) {
            (None, _) => Self::Known(Vec::new()),
            (Some(_), Some(path)) => Self::Known(first_line(path)?),
            (Some(user), None) => {
                if let Some(password) = std::env::var_os(PASSWORD) {
                    return Ok(Self::Known(password.into_encoded_bytes()));
                }
                let prompt = format!("Password of {user} for the proxy {}: ", proxy.at);
                Self::Prompt(PasswordPrompt::begin(&prompt, reactor, token)?)
            }
        })
    }
}

/// A prompt for a password at our terminal, which shows nothing of what is typed.
#[derive(Debug)]
pub struct PasswordPrompt {
    terminal: Descriptor,
    prompt: String,
    /// `None` while the terminal is given back.
    echo: Option<NoEcho>,
    typed: Vec<u8>,
}

impl PasswordPrompt {
    fn begin(prompt: &str, reactor: &Reactor, token: Token) -> Result<Self> {
        let Ok(mut terminal) = Descriptor::terminal() else {
            return usage(format!(
                "-P needs a password: {PASSWORD} in the environment, --proxy-password-file FILE, or a terminal to ask at"
            ));
        };
        reactor.watch(token, &mut terminal).context(ASKING)?;
        Ok(Self { terminal, prompt: report::escaped(prompt).into_owned(), echo: None, typed: Vec::new() })
    }

    /// Reads what was typed. Returns the password, once it is whole.
    pub fn advance(&mut self) -> Result<Option<Vec<u8>>> {
        // Also after ctrl-Z and fg, when the shell has reset the terminal.
        if self.echo.is_none() {
            self.echo = Some(NoEcho::take(&self.terminal).context(ASKING)?);
            self.terminal.write_all(self.prompt.as_bytes()).context(ASKING)?;
        }

        let mut buf = [0; 4096];
        loop {
            // The terminal edits: a read is a line, or the start of one and the end of file.
            match self.terminal.read(&mut buf) {
                Ok(0) => return Err(anyhow!("none was given")).context(ASKING),
                Ok(n) => self.typed.extend(&buf[..n]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error).context(ASKING),
            }

            if self.typed.pop_if(|last| *last == b'\n').is_some() {
                return Ok(Some(std::mem::take(&mut self.typed)));
            }
            if self.typed.len() as u64 > MAX_PASSWORD {
                return Err(anyhow!("it is too long")).context(ASKING);
            }
        }
    }

    /// Gives the terminal back; the next [`advance`](Self::advance) asks again.
    pub fn release_terminal(&mut self) {
        self.echo = None;
    }
}

/// The handshake with a proxy, over a socket that is connected to it.
pub struct ProxyConnect {
    socket: Descriptor,
    handshake: ProxyHandshake,
}

impl ProxyConnect {
    /// Takes a socket that is connected to the proxy, and a handshake that has not begun.
    pub fn new(socket: Descriptor, handshake: ProxyHandshake) -> Self {
        Self { socket, handshake }
    }

    /// Sends and receives as long as nothing blocks. Returns whether the proxy has connected to the destination: bytes
    /// behind its last answer stay in the socket, for the session.
    pub fn advance(&mut self) -> Result<bool> {
        match self.exchange() {
            Ok(()) => Ok(true),
            Err(error) if is_would_block(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn exchange(&mut self) -> Result<()> {
        let mut buf = [0; 4096];
        loop {
            while !self.handshake.output().is_empty() {
                let sent = self.socket.write(self.handshake.output())?;
                self.handshake.written(sent);
            }
            if self.handshake.is_open() {
                return Ok(());
            }

            // MSG_PEEK: bytes behind the proxy's answer belong to the session and must stay in the socket.
            let seen = self.socket.peek(&mut buf)?;
            if seen == 0 {
                bail!("the proxy has closed the connection");
            }
            let taken = self.handshake.receive(&buf[..seen])?;
            // These bytes were seen in the receive queue, so that this read does not block.
            self.socket.read_exact(&mut buf[..taken])?;
        }
    }

    /// Returns the socket, which is the destination's now.
    pub fn into_socket(self) -> Descriptor {
        self.socket
    }
}

fn is_would_block(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// Reads the first line of a file, without its end.
fn first_line(path: &Path) -> Result<Vec<u8>> {
    let context = || format!("read {}", path.display());
    let file = File::open(path).with_context(context)?;
    let mut line = Vec::new();
    // Bounded, because a file that was given by mistake may have no line end.
    BufReader::new(file.take(MAX_PASSWORD)).read_until(b'\n', &mut line).with_context(context)?;

    line.pop_if(|last| *last == b'\n');
    line.pop_if(|last| *last == b'\r');
    if line.is_empty() {
        bail!("read {}: its first line is no password: it is empty", path.display());
    }
    Ok(line)
}

/// The environment variable of the password.
pub const PASSWORD: &str = "REMOTE_PROXY_PASSWORD";

/// Bytes of a password at most.
const MAX_PASSWORD: u64 = 64 << 10;

const ASKING: &str = "ask for the password";
