//! All practice servers in one loop: over TCP, over UDP, and the file conversation.

use std::{
    fs::File,
    io,
    io::{Read, Write},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{
    basic::{Basic, Until},
    datagrams::Datagrams,
    folder::Folder,
};
use crate::{
    event::{Event, Reactor, Slots, Token},
    net::{Address, DatagramListener, Denied, StreamListener, Transport},
    plan::Practice,
    proto::practice::{
        Style,
        files::{self, Command, SERVER_KEY},
    },
    report::Report,
    session::{accept, heed, sandbox},
    sys::{self, Descriptor, Inherited, Raw, SandboxPolicy},
};

/// Serves until a signal comes.
pub fn run(plan: &Practice, report: &Report) -> Result<bool> {
    let style = Style { datagrams: false, marker_pause: plan.marker_pause, sequence: plan.sequence };
    let folder = match &plan.root {
        Some(root) => Some(Folder::open(root).with_context(|| format!("serve {}", root.display()))?),
        None => None,
    };
    sys::raise_descriptor_limit();
    let mut reactor = Reactor::new().context("set up the event loop")?;
    // Packets have their places in time.
    reactor.be_precise().context("set up the clock")?;
    let stream = Practice::socket_config(Transport::Stream);
    let mut basic = StreamListener::bind(stream.clone(), &plan.at(plan.port))?;
    let mut files = match folder {
        Some(_) => Some(StreamListener::bind(stream, &plan.at(plan.files_port))?),
        None => None,
    };
    let sockets =
        DatagramListener::bind(Practice::socket_config(Transport::Datagram), &plan.at(plan.udp_port), true)?
            .into_sockets();
    let announce = |what: &str, addresses: Vec<Address>, port: u16| {
        for address in addresses {
            let line = format!("Listening on {} ({what})", accept::shown(&address));
            if port == 0 { report.result(line) } else { report.verbose(line) }
        }
    };
    announce("tcp", basic.addresses(), plan.port);
    let bound = sockets
        .iter()
        .filter_map(|socket| Some(Address::from(&socket.socket().local_addr().ok()?)))
        .collect();
    announce("udp", bound, plan.udp_port);
    if let Some(files) = &files {
        announce("files", files.addresses(), plan.files_port);
    }
    if plan.open {
        report.note("--open: whoever forges an address has its owner flooded");
    }
    for socket in basic.sockets() {
        reactor.watch(BASIC, socket)?;
    }
    for socket in files.iter_mut().flat_map(StreamListener::sockets) {
        reactor.watch(FILES, socket)?;
    }
    let mut datagrams: Vec<_> =
        sockets.into_iter().map(|socket| Datagrams::new(socket, style, plan.open)).collect();
    for each in &mut datagrams {
        reactor.watch(DATAGRAMS, each.socket_mut())?;
    }
    let mut parent = None;
    if plan.while_open
        && let Inherited::Own(mut stdin) = sys::standard_stream(sys::StandardStream::Input)?
    {
        reactor.watch(PARENT, &mut stdin)?;
        parent = Some(stdin);
    }
    let permits = SandboxPolicy { read: plan.root.iter().cloned().collect(), ..SandboxPolicy::default() };
    sandbox::confine(plan.sandbox.then_some(&permits), report);
    let clients = Slots::new(FIRST);
    Server { style, folder, basic, files, datagrams, clients, parent, reactor, report }.run()
}

struct Server<'a> {
    style: Style,
    folder: Option<Folder>,
    basic: StreamListener,
    files: Option<StreamListener>,
    datagrams: Vec<Datagrams>,
    clients: Slots<Client>,
    /// Whoever has started us: we end with it.
    parent: Option<Descriptor>,
    reactor: Reactor,
    report: &'a Report,
}

enum Client {
    Basic(Basic),
    Visitor(Box<Visitor>),
}

impl Server<'_> {
    fn run(mut self) -> Result<bool> {
        loop {
            let events = self.reactor.wait()?;
            let now = Instant::now();
            for event in events {
                match event {
                    Event::Due(token @ (BASIC | FILES)) | Event::Ready(token @ (BASIC | FILES)) => {
                        self.accept(token, now);
                    }
                    Event::Ready(PARENT) => {
                        if let Some(parent) = &mut self.parent
                            && let Ok(0) = parent.read(&mut [0; 64])
                        {
                            return Ok(true);
                        }
                    }
                    Event::Due(DATAGRAMS) | Event::Ready(DATAGRAMS) => self.answer(now),
                    Event::Due(token) | Event::Ready(token) => self.advance(token, now),
                    Event::Signal(signal) => heed(signal)?,
                    // Who has reset has gone, whatever is still due to him.
                    Event::Hangup(token) => drop(self.clients.remove(token)),
                }
            }
        }
    }

    fn answer(&mut self, now: Instant) {
        let next = self.datagrams.iter_mut().filter_map(|each| each.advance(self.report, now)).min();
        match next {
            Some(next) if next <= now => self.reactor.again(DATAGRAMS),
            next => self.reactor.wake_at(DATAGRAMS, next),
        }
    }

    fn accept(&mut self, at: Token, now: Instant) {
        for _ in 0..ACCEPTED_AT_ONCE {
            let listener = match (at, &mut self.files) {
                (FILES, Some(files)) => files,
                _ => &mut self.basic,
            };
            let (mut socket, peer) = match listener.accept() {
                Ok(Some(Ok(accepted))) => (accepted.socket, accepted.peer),
                Ok(Some(Err(Denied(_)))) => continue,
                Ok(None) => return,
                Err(error) => {
                    self.report.verbose(format!("remote: accept a client: {}; waiting", sys::reason(&error)));
                    self.reactor.wake_at(at, Some(now + PAUSE));
                    return;
                }
            };
            if self.clients.len() >= MOST_CLIENTS
                && let Some(oldest) = self.clients.tokens().first().copied()
            {
                // Nobody can keep the others out by staying.
                self.reactor.wake_at(oldest, None);
                self.clients.remove(oldest);
            }
            let token = self.clients.token();
            if self.reactor.watch(token, &mut socket).is_err() {
                continue;
            }
            let client = match (at, &self.folder) {
                (FILES, Some(folder)) => {
                    Client::Visitor(Box::new(Visitor::new(socket, peer, folder.clone(), now)))
                }
                _ => Client::Basic(Basic::new(socket, peer, now)),
            };
            self.clients.insert(token, client);
            self.advance(token, now);
        }
        self.reactor.again(at);
    }

    fn advance(&mut self, token: Token, now: Instant) {
        let until = match self.clients.get_mut(token) {
            Some(Client::Basic(basic)) => basic.advance(self.style, self.report, now),
            Some(Client::Visitor(visitor)) => visitor.advance(self.report, now),
            None => return,
        };
        match until {
            Ok(Some(until)) if until <= now => self.reactor.again(token),
            Ok(until) => self.reactor.wake_at(token, until),
            Err(()) => {
                self.reactor.wake_at(token, None);
                self.clients.remove(token);
            }
        }
    }
}

/// A client of the file conversation.
struct Visitor {
    socket: Descriptor,
    peer: Address,
    folder: Folder,
    listener: files::Listener,
    /// What is to be said, and how much of it was.
    reply: Vec<u8>,
    said: usize,
    /// What follows the reply.
    file: Option<(File, u64)>,
    /// All was said; until then, what comes is not looked at.
    leaving: Option<Instant>,
    moved: Instant,
}

impl Visitor {
    fn new(socket: Descriptor, peer: Address, folder: Folder, now: Instant) -> Self {
        let (listener, reply) = (files::Listener::default(), SERVER_KEY.to_vec());
        Self { socket, peer, folder, listener, reply, said: 0, file: None, leaving: None, moved: now }
    }

    /// Goes on as far as it can, but not so far that others have to wait.
    fn advance(&mut self, report: &Report, now: Instant) -> Until {
        let mut bytes = [0; 4096];
        for _ in 0..STEPS {
            let moved = if self.said < self.reply.len() {
                self.socket.write(&self.reply[self.said..]).inspect(|n| self.said += n)
            } else if let Some((file, left)) = &mut self.file {
                let most = usize::try_from(*left).unwrap_or(usize::MAX).min(AT_ONCE);
                match send(file, &mut self.socket, most) {
                    // It was announced with more bytes than it has: a reset tells that, an end of file would not.
                    Ok(0) if *left > 0 => {
                        let _ = self.socket.socket().set_linger(Some(Duration::ZERO));
                        return Err(());
                    }
                    Ok(n) => {
                        *left -= n as u64;
                        if *left == 0 {
                            self.file = None;
                        }
                        Ok(n)
                    }
                    Err(error) => Err(error),
                }
            } else if let Some(until) = self.leaving {
                // What is still sent must not turn our end of file into a reset.
                match self.socket.read(&mut bytes) {
                    Ok(1..) if now < until => continue,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock && now < until => {
                        return Ok(Some(until));
                    }
                    _ => return Err(()),
                }
            } else {
                match self.listener.next_command() {
                    Ok(Some(command)) => {
                        // A listing may take long: others have their turn.
                        self.obey(command, report);
                        return Ok(Some(now));
                    }
                    Ok(None) => match self.socket.read(&mut bytes) {
                        Ok(0) => return Err(()),
                        Ok(n) => {
                            self.listener.receive(&bytes[..n]);
                            Ok(n)
                        }
                        Err(error) => Err(error),
                    },
                    Err(files::TooLong) => {
                        self.leave(now);
                        continue;
                    }
                }
            };
            match moved {
                Ok(_) => self.moved = now,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && now < self.moved + PATIENCE => {
                    return Ok(Some(self.moved + PATIENCE));
                }
                Err(_) => return Err(()),
            }
        }
        Ok(Some(now))
    }

    fn leave(&mut self, now: Instant) {
        // Who is gone already needs no end of file.
        let _ = self.socket.socket().shutdown(std::net::Shutdown::Write);
        self.leaving = Some(now + LINGER);
    }

    fn obey(&mut self, command: Command, report: &Report) {
        if report.verbose > 0 {
            report.verbose(format!("{} files: {}", self.peer, shown(&command)));
        }
        self.said = 0;
        self.reply = match command {
            Command::List => match self.folder.list() {
                Ok(found) => files::listing(&self.folder.path(), &found.folders, &found.files),
                Err(_) => files::ended(b"Invalid Path!".to_vec()),
            },
            Command::ChangeFolder(path) => match self.folder.change(&path) {
                Ok(()) => files::changed(&self.folder.path()),
                Err(_) => files::ended(b"Invalid Path!".to_vec()),
            },
            Command::Download(path) => match self.folder.file(&path) {
                Ok((file, size)) => {
                    self.file = (size > 0).then_some((file, size));
                    files::sending(&path, size)
                }
                Err(_) => files::ended(b"Invalid File!".to_vec()),
            },
            Command::Echo(text) => files::ended(text),
            Command::Quit => {
                self.leave(self.moved);
                Vec::new()
            }
        };
    }
}

/// Sends up to `most` bytes of a file, without copying them where the kernel can.
fn send(file: &mut File, socket: &mut Descriptor, most: usize) -> io::Result<usize> {
    let sent = match socket.raw() {
        Some(raw) => sys::send_file(Raw::file(file), raw, most),
        None => Err(io::ErrorKind::Unsupported.into()),
    };
    match sent {
        Err(error) if sys::is_refusal(&error) => {
            let mut bytes = [0; 16 << 10];
            let at = io::Seek::stream_position(file)?;
            let n = file.read(&mut bytes[..most.min(16 << 10)])?;
            let sent = if n == 0 { Ok(0) } else { socket.write(&bytes[..n]) };
            io::Seek::seek(file, io::SeekFrom::Start(at + *sent.as_ref().unwrap_or(&0) as u64))?;
            sent
        }
        sent => sent,
    }
}

fn shown(command: &Command) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match command {
        Command::ChangeFolder(path) => format!("chdir {}", text(path)),
        Command::Download(path) => format!("dl {}", text(path)),
        Command::Echo(echo) => format!("'{}'", text(echo)),
        Command::List => "ls".to_owned(),
        Command::Quit => "quit".to_owned(),
    }
}

/// Clients at once.
const MOST_CLIENTS: usize = 1024;

/// Steps of a client before others have their turn.
const STEPS: usize = 16;

/// Bytes of a file in one step.
const AT_ONCE: usize = 256 << 10;

/// How long somebody may say nothing and read nothing.
const PATIENCE: Duration = Duration::from_secs(300);

/// How long somebody may take to leave.
const LINGER: Duration = Duration::from_secs(2);

/// Arrivals before other events have their turn.
const ACCEPTED_AT_ONCE: usize = 64;

/// How long accepting pauses when there are no descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

const BASIC: Token = Token(3);
const FILES: Token = Token(4);
const DATAGRAMS: Token = Token(5);
const PARENT: Token = Token(6);
const FIRST: Token = Token(16);
