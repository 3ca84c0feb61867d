//! The practice client: a prompt, a script or one command, each command after the other.

use std::{
    fs::File,
    io::{self, Read, Write},
    net::Shutdown,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};

use super::{
    command::{self, HELP, Task},
    figures::{Shown, text},
    own::Servers,
    visit::Visit,
};
use crate::{
    endpoint::{Download, Endpoint, Input, Name, Output, Standard},
    event::{Event, Reactor, Token},
    net::Transport,
    plan::{Practice, PracticeClient, Target},
    proto::practice::{
        Arrivals, MARKER, Request,
        files::{self, CLIENT_KEY, SERVER_KEY},
    },
    pump::Source,
    report::{self, Meter, Report},
    session::{Interrupted, dial, heed, open},
    sys::{self, Descriptor, Signal},
};

/// Does what it is told. `Ok(false)` if something of it went wrong.
pub fn run(plan: &PracticeClient, report: &Report) -> Result<bool> {
    let mut reactor = Reactor::new().context("set up the event loop")?;
    let own = match &plan.host {
        Some(_) => None,
        None => Some(Servers::start(plan.root.as_deref())?),
    };
    let places = match (&own, &plan.host) {
        (Some(own), _) => Places { host: "127.0.0.1".into(), tcp: own.tcp, udp: own.udp, files: own.files },
        (None, host) => Places {
            host: host.clone().unwrap_or_default(),
            tcp: plan.port,
            udp: plan.udp_port,
            files: Some(plan.files_port),
        },
    };
    let waker = reactor.waker(WAIT);
    let input = match plan.command {
        Some(_) => Input::Nothing,
        None => Input::stdin(waker.clone()).context("open stdin")?,
    };
    let mut local = Standard { input, output: Output::stdout(waker).context("open stdout")? };
    local.watch(&reactor, WAIT).context("watch stdin and stdout")?;
    let typed = open::source(&local.input) == Source::Terminal;
    if let (Some(own), true) = (&own, typed) {
        let files = own.files.map_or_else(|| "none (--root DIR)".to_owned(), |port| port.to_string());
        report.note(format!(
            "servers on 127.0.0.1: TCP {}, UDP {}, files {files}; 'help' tells what they can do",
            own.tcp, own.udp
        ));
    }
    if typed {
        local.set_prompt("practice> ".into());
    }
    reactor.be_precise().context("set up the clock")?;
    let mut client = Client {
        plan,
        report,
        places,
        reactor,
        local,
        typed: Vec::new(),
        ended: false,
        visit: None,
        here: None,
        file: None,
        failed: false,
        unread: false,
    };
    match &plan.command {
        Some(command) => drop(client.carry_out(command)?),
        None => client.converse()?,
    }
    // A server that is gone needs no leave-taking.
    let _ = client.leave();
    client.flush()?;
    client.local.release_terminal();
    Ok(!client.failed)
}

/// Where the servers are.
struct Places {
    host: String,
    tcp: u16,
    udp: u16,
    files: Option<u16>,
}

struct Client<'a> {
    plan: &'a PracticeClient,
    report: &'a Report,
    places: Places,
    reactor: Reactor,
    local: Standard,
    /// What was typed and not taken.
    typed: Vec<u8>,
    /// Nothing more will be typed.
    ended: bool,
    visit: Option<Visit>,
    /// The folder that the file server was told to go to.
    here: Option<Vec<u8>>,
    /// Where what is being received goes.
    file: Option<Sink>,
    /// A command went wrong.
    failed: bool,
    /// Whoever read our stdout has left: nothing more need be asked.
    unread: bool,
}

impl Client<'_> {
    // ---- the conversation with whoever types ----

    fn converse(&mut self) -> Result<()> {
        while !self.unread
            && let Some(line) = self.line()?
        {
            match self.carry_out(&line) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) if error.is::<Interrupted>() => return Err(error),
                Err(error) => {
                    self.failed = true;
                    self.report.error(report::sentence(&error));
                }
            }
        }
        Ok(())
    }

    /// The next line; `None` at the end.
    fn line(&mut self) -> Result<Option<String>> {
        let mut bytes = [0; 4096];
        loop {
            if let Some(end) = self.typed.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.typed.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
            }
            if self.ended {
                let rest = std::mem::take(&mut self.typed);
                return Ok((!rest.is_empty()).then(|| String::from_utf8_lossy(&rest).into_owned()));
            }
            match self.local.read(&mut bytes) {
                // A terminal that hangs up ends like one that ends: the signal need not have come yet.
                Ok(0) if self.local.input.has_hung_up() => {
                    return Err(Interrupted(sys::Signal::Hangup).into());
                }
                Ok(0) => self.ended = true,
                Ok(n) if self.typed.len() < LONGEST_LINE => self.typed.extend_from_slice(&bytes[..n]),
                Ok(_) => bail!("a command is too long"),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(None)?,
                Err(error) => return Err(error).context("read stdin"),
            }
        }
    }

    /// Carries out a command; `Ok(false)` ends the conversation. What was received before it failed is kept, and named.
    fn carry_out(&mut self, line: &str) -> Result<bool> {
        let done = self.obey(line);
        if done.is_err() {
            let kept = self.keep(false)?;
            if !kept.is_empty() {
                self.report.note(format!("what was received is{}", kept.trim_start_matches(',')));
            }
        }
        done
    }

    fn obey(&mut self, line: &str) -> Result<bool> {
        let task = command::parse(line).map_err(|why| anyhow!(why))?;
        match task {
            None => {}
            Some(Task::Help) => self.say(HELP.as_bytes())?,
            Some(Task::Quit) => return Ok(false),
            Some(Task::Echo(text)) => self.echo(&text)?,
            Some(Task::Generate { size, into }) => self.generate(&size, into.as_deref())?,
            Some(Task::Stream { count, interval, size }) => self.stream(count, interval, size)?,
            Some(Task::List) => {
                let reply = self.request(b"ls")?;
                self.say(&reply)?;
            }
            Some(Task::ChangeFolder(path)) => {
                let reply = self.request(format!("chdir {path}").as_bytes())?;
                match files::changed_to(&reply) {
                    Some(here) => self.here = Some(here.to_vec()),
                    None => self.failed = true,
                }
                self.say(&[&reply[..], b"\n"].concat())?;
            }
            Some(Task::Download(path)) => self.download(&path)?,
        }
        Ok(true)
    }

    /// Writes to stdout.
    fn say(&mut self, bytes: &[u8]) -> Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.local.write(rest) {
                Ok(n) => rest = &rest[n..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(None)?,
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    self.unread = true;
                    return Ok(());
                }
                Err(error) => return Err(error).context("write to stdout"),
            }
        }
        Ok(())
    }

    /// Has all that was said written.
    fn flush(&mut self) -> Result<()> {
        loop {
            match self.local.finish() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(None)?,
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                result => return result.context("write to stdout"),
            }
        }
    }

    // ---- waiting ----

    /// Waits until something changes, or until then.
    fn wait(&mut self, until: Option<Instant>) -> Result<()> {
        self.reactor.wake_at(WAIT, until);
        for event in self.reactor.wait()? {
            if let Event::Signal(signal) = event {
                if !matches!(signal, Signal::Child | Signal::Continue | Signal::Info) {
                    self.local.release_terminal();
                }
                heed(signal)?;
            }
        }
        Ok(())
    }

    fn dial(&mut self, port: u16, transport: Transport) -> Result<Descriptor> {
        let to = Target::Host { host: self.places.host.clone(), port, random: false };
        let limit = self.plan.timeout.map(|timeout| Instant::now() + timeout);
        let socket_config = Practice::socket_config(transport);
        let (mut socket, _) = dial::reach(&to, &socket_config, &mut self.reactor, limit, self.report)?;
        self.reactor.watch(WAIT, &mut socket).context("watch the socket")?;
        Ok(socket)
    }

    fn write(&mut self, socket: &mut Descriptor, bytes: &[u8]) -> Result<()> {
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

    /// Reads once; `None` if nothing came until then.
    fn read(&mut self, socket: &mut Descriptor, bytes: &mut [u8], until: Instant) -> Result<Option<usize>> {
        loop {
            match socket.read(bytes) {
                Ok(n) => return Ok(Some(n)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if Instant::now() >= until {
                        return Ok(None);
                    }
                    self.wait(Some(until))?;
                }
                Err(error) => return Err(error).context("receive the answer"),
            }
        }
    }

    /// Connects, and asks. The answer is to come on the socket.
    fn ask(&mut self, request: &str) -> Result<Descriptor> {
        let (port, transport) = match self.plan.udp {
            true => (self.places.udp, Transport::Datagram),
            false => (self.places.tcp, Transport::Stream),
        };
        let mut socket = self.dial(port, transport)?;
        self.write(&mut socket, request.as_bytes())?;
        if !self.plan.udp {
            // Nothing more comes: the server need not wait to find that out.
            socket.socket().shutdown(Shutdown::Write).context("end the request")?;
        }
        Ok(socket)
    }

    /// All of an answer that is text, and that had begun with `bytes`.
    fn rest(&mut self, socket: &mut Descriptor, mut bytes: Vec<u8>) -> Result<Vec<u8>> {
        let mut room = [0; 4096];
        while !self.plan.udp {
            if bytes.len() > LONGEST_LINE {
                bail!("the answer does not end");
            }
            match self.read(socket, &mut room, Instant::now() + PATIENCE)? {
                None | Some(0) => break,
                Some(n) => bytes.extend_from_slice(&room[..n]),
            }
        }
        Ok(bytes)
    }

    // ---- the basic conversation ----

    fn echo(&mut self, text: &str) -> Result<()> {
        let mut socket = self.ask(text)?;
        let mut bytes = vec![0; 1 << 16];
        let Some(n) = self.read(&mut socket, &mut bytes, Instant::now() + SILENCE)? else {
            bail!("no answer within {} s", SILENCE.as_secs());
        };
        if n == 0 && !self.plan.udp {
            bail!("the server has closed the connection without an answer");
        }
        bytes.truncate(n);
        let answer = self.rest(&mut socket, bytes)?;
        self.failed |= is_refusal(&answer);
        self.say(&[&answer[..], b"\n"].concat())
    }

    fn generate(&mut self, size: &str, into: Option<&Path>) -> Result<()> {
        // For any other number the server has its own words.
        let Request::File(wanted) = Request::parse(size.as_bytes()) else { return self.echo(size) };
        self.file = into.map(|path| self.open(path)).transpose()?;
        let mut socket = self.ask(size)?;
        let start = Instant::now();
        let mut bytes = vec![0; 1 << 17];
        let mut marker = Vec::new();
        // However the network cuts it, the marker is 13 bytes, and what follows is the file.
        while marker.len() < MARKER.len() {
            match self.read(&mut socket, &mut bytes, start + MARKER_PATIENCE)? {
                Some(n @ 1..) => marker.extend_from_slice(&bytes[..n]),
                // Over UDP, nothing is no end.
                Some(_) if self.plan.udp && start.elapsed() < MARKER_PATIENCE => {}
                Some(_) => break,
                None => bail!("no file was prepared within {} s", MARKER_PATIENCE.as_secs()),
            }
        }
        if !marker.starts_with(MARKER) {
            let answer = self.rest(&mut socket, marker)?;
            self.failed = true;
            self.keep(false)?;
            return self.say(&[&answer[..], b"\n"].concat());
        }
        let first = marker.split_off(MARKER.len());
        let mut came = self.take(&first, wanted)?;
        let mut meter = self.meter(wanted);
        let mut last = Instant::now();
        while came < wanted {
            match self.read(&mut socket, &mut bytes, last + SILENCE)? {
                Some(0) if self.plan.udp && last.elapsed() < SILENCE => continue,
                None if self.plan.udp => break,
                // TCP may be slow, and says when it is over.
                None => {}
                Some(0) => break,
                Some(n) => came += self.take(&bytes[..n], wanted - came)?,
            }
            last = Instant::now();
            meter.show(came, Instant::now());
        }
        meter.finish(came, Instant::now());
        let time = start.elapsed();
        let kept = self.keep(came == wanted)?;
        let lost = wanted - came;
        self.failed |= lost > 0;
        let lost = if lost > 0 { format!(", {lost} bytes lost") } else { String::new() };
        self.say(format!("{came} bytes in {:.2} s{lost}{kept}\n", time.as_secs_f64()).as_bytes())
    }

    fn stream(&mut self, count: u32, interval: Duration, size: Option<u32>) -> Result<()> {
        let ms = ((interval.as_nanos() + 500) / 1000) as f64 / 1000.0;
        let request = match size {
            None => format!("stream-{ms}-{count}"),
            Some(size) => format!("stream-{ms}-{count}-{size}"),
        };
        let Request::Stream(stream) = Request::parse(request.as_bytes()) else { return self.echo(&request) };
        let mut socket = self.ask(&request)?;
        let mut arrivals = Arrivals::new(stream.count, interval, Instant::now());
        let (mut bytes, mut begun) = (vec![0; 1 << 16], Vec::new());
        while !arrivals.is_whole() {
            let until = Instant::now() + interval + SILENCE;
            let Some(n @ 1..) = self.read(&mut socket, &mut bytes, until)? else { break };
            let now = Instant::now();
            if is_refusal(&bytes[..n]) {
                self.failed = true;
                return self.say(&[&bytes[..n], b"\n"].concat());
            }
            if self.plan.udp {
                arrivals.packet(&bytes[..n], now);
                continue;
            }
            begun.extend_from_slice(&bytes[..n]);
            let whole = begun.len() - begun.len() % stream.packet.len();
            for packet in begun[..whole].chunks(stream.packet.len()) {
                arrivals.packet(packet, now);
            }
            begun.drain(..whole);
        }
        let figures = arrivals.figures();
        self.failed |= figures.lost > 0;
        self.report.object(&Shown::from(&figures));
        let watched = sys::is_terminal(io::stdout());
        self.say(text(&figures, watched).as_bytes())
    }

    // ---- the file conversation ----

    /// Says something to the file server, and hears its reply.
    fn request(&mut self, command: &[u8]) -> Result<Vec<u8>> {
        if command.windows(files::END.len()).any(|part| part == files::END) {
            bail!("a command cannot hold '929Z', which ends it");
        }
        let mut visit = match self.visit.take() {
            Some(visit) => visit,
            None => self.visit()?,
        };
        let reply = self.converse_with(&mut visit, command)?;
        self.visit = Some(visit);
        Ok(reply)
    }

    fn converse_with(&mut self, visit: &mut Visit, command: &[u8]) -> Result<Vec<u8>> {
        self.write(&mut visit.socket, &files::ended(command.to_vec()))?;
        let mut bytes = vec![0; 1 << 16];
        loop {
            if let Some(reply) = visit.reply() {
                return Ok(reply);
            }
            match self.read(&mut visit.socket, &mut bytes, Instant::now() + PATIENCE)? {
                None => bail!("no reply within {} s", PATIENCE.as_secs()),
                Some(0) => bail!("the file server has closed the connection"),
                Some(_) if visit.bytes.len() > LONGEST_REPLY => bail!("a reply is too long"),
                Some(n) => visit.bytes.extend_from_slice(&bytes[..n]),
            }
        }
    }

    fn visit(&mut self) -> Result<Visit> {
        let Some(port) = self.places.files else { bail!("these servers have no folder (--root DIR)") };
        let mut socket = self.dial(port, Transport::Stream)?;
        let (mut key, mut came) = ([0; SERVER_KEY.len()], 0);
        while came < key.len() {
            match self.read(&mut socket, &mut key[came..], Instant::now() + PATIENCE)? {
                Some(n @ 1..) => came += n,
                _ => bail!("that is no file server: it does not say its key"),
            }
        }
        if key != *SERVER_KEY {
            bail!("that is no file server: its key is another");
        }
        self.write(&mut socket, CLIENT_KEY)?;
        let mut visit = Visit { socket, bytes: Vec::new() };
        // A server begins each conversation at its root.
        if let Some(here) = self.here.clone() {
            let reply = self.converse_with(&mut visit, &[b"chdir ", &here[..]].concat())?;
            if files::changed_to(&reply).is_none() {
                self.here = None;
                bail!(
                    "the folder {} is not there any more: 'chdir' leads to another one",
                    here.escape_ascii()
                );
            }
        }
        Ok(visit)
    }

    fn download(&mut self, path: &str) -> Result<()> {
        let name = path.rsplit('/').next().unwrap_or_default();
        if matches!(name, "" | "." | "..") {
            bail!("'{path}' has no name");
        }
        // What cannot be written is not asked for.
        self.file = Some(self.open(Path::new(name))?);
        let reply = self.request(format!("dl {path}").as_bytes())?;
        let Some(size) = files::announced(&reply) else {
            self.failed = true;
            self.keep(false)?;
            return self.say(&[&reply[..], b"\n"].concat());
        };
        let Some(mut visit) = self.visit.take() else { bail!("the conversation has ended") };
        let start = Instant::now();
        let mut came = self.take(&visit.bytes, size)?;
        visit.bytes.drain(..usize::try_from(came).unwrap_or(usize::MAX));
        let mut meter = self.meter(size);
        let mut bytes = vec![0; 1 << 17];
        while came < size {
            let most = usize::try_from(size - came).unwrap_or(usize::MAX).min(bytes.len());
            match self.read(&mut visit.socket, &mut bytes[..most], Instant::now() + PATIENCE) {
                Ok(Some(n @ 1..)) => came += self.take(&bytes[..n], size - came)?,
                Err(error) if error.is::<Interrupted>() => return Err(error),
                Ok(_) | Err(_) => break,
            }
            meter.show(came, Instant::now());
        }
        meter.finish(came, Instant::now());
        let whole = came == size;
        self.failed |= !whole;
        if whole {
            self.visit = Some(visit);
        }
        let kept = self.keep(whole)?;
        let lost = if whole { String::new() } else { format!(" of {size}") };
        self.say(format!("{came} bytes{lost} in {:.2} s{kept}\n", start.elapsed().as_secs_f64()).as_bytes())
    }

    /// Takes leave of the file server.
    fn leave(&mut self) -> Result<()> {
        match self.visit.take() {
            Some(mut visit) => self.write(&mut visit.socket, &files::ended(b"quit".to_vec())),
            None => Ok(()),
        }
    }

    // ---- files ----

    fn open(&self, path: &Path) -> Result<Sink> {
        let context = || format!("receive into {}", path.display());
        if sys::is_written_directly(path) {
            return Ok(Sink::Direct(File::options().write(true).open(path).with_context(context)?));
        }
        let name = Name { path: path.to_owned(), force: self.plan.force, numbered: false };
        Ok(Sink::Part(Download::open(name).with_context(context)?))
    }

    /// Gives what was received its name if it is whole; what there is to say of that.
    fn keep(&mut self, whole: bool) -> Result<String> {
        let Some(Sink::Part(file)) = self.file.take() else { return Ok(String::new()) };
        let part = file.part().display().to_string();
        let kept: Option<PathBuf> = match whole {
            true => Some(file.keep().with_context(|| format!("give {part} its name"))?),
            false => file.leave().with_context(|| part.clone())?,
        };
        Ok(kept.map_or_else(String::new, |path| format!(", in {}", path.display())))
    }

    /// Writes up to `most` bytes into the file, if there is one; how many that was.
    fn take(&mut self, bytes: &[u8], most: u64) -> Result<u64> {
        let n = usize::try_from(most).unwrap_or(usize::MAX).min(bytes.len());
        match &mut self.file {
            Some(Sink::Direct(file)) => file.write_all(&bytes[..n]),
            Some(Sink::Part(file)) => file.write_all(&bytes[..n]),
            None => Ok(()),
        }
        .context("write the file")?;
        Ok(n as u64)
    }

    fn meter(&self, length: u64) -> Meter {
        Meter::new(self.report.progress, self.report.quiet, true, Some(length), Instant::now())
    }
}

/// Where what is received goes.
enum Sink {
    /// A device or a FIFO, which is written as it is.
    Direct(File),
    Part(Download),
}

fn is_refusal(answer: &[u8]) -> bool {
    answer.starts_with(b"Request for ") && (answer.ends_with(b" chars.") || answer.ends_with(b" has errors."))
}

/// How long an answer over UDP may be silent.
const SILENCE: Duration = Duration::from_secs(2);

/// How long a server may take to prepare a file.
const MARKER_PATIENCE: Duration = Duration::from_secs(100);

/// How long a server may be silent otherwise.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of a line, or of an answer that is text.
const LONGEST_LINE: usize = 64 << 10;

/// Bytes of a reply of the file server.
const LONGEST_REPLY: usize = 16 << 20;

const WAIT: Token = Token(0);
