//! All practice servers in one loop: TCP, UDP, and files.

use std::{
    io::Read,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{
    datagram_server::DatagramServer, echo_conn::EchoConn, file_conn::FileServerConn, folder::Folder,
};
use crate::{
    event::{Event, Reactor, Slots, Token},
    net::{Address, DatagramListener, Denied, StreamListener, Transport},
    plan::Practice,
    proto::practice::Style,
    report::Report,
    session::{Outcome, accept, handle_signal, sandbox},
    sys::{self, Descriptor, Inherited, SandboxPolicy},
};

/// Serves until a signal ends it, or with `--while-open` the end of stdin.
pub fn run(plan: &Practice, report: &Report) -> Result<Outcome> {
    let folder = match &plan.root {
        Some(root) => Some(Folder::open(root).with_context(|| format!("serve {}", root.display()))?),
        None => None,
    };
    sys::raise_descriptor_limit();
    let mut reactor = Reactor::new().context("set up the event loop")?;
    // Packets of streams are sent at times of less than a millisecond.
    reactor.be_precise().context("set up the clock")?;

    let stream = Practice::socket_config(Transport::Stream);
    let datagram = Practice::socket_config(Transport::Datagram);
    let mut echo = StreamListener::bind(stream.clone(), &plan.at(plan.port))?;
    let mut files = match folder {
        Some(_) => Some(StreamListener::bind(stream, &plan.at(plan.files_port))?),
        None => None,
    };
    let sockets = DatagramListener::bind(datagram, &plan.at(plan.udp_port), true)?.into_sockets();
    announce(plan, &echo, &sockets, files.as_ref(), report);

    for socket in echo.sockets() {
        reactor.watch(ECHO, socket)?;
    }
    for socket in files.iter_mut().flat_map(StreamListener::sockets) {
        reactor.watch(FILES, socket)?;
    }
    let style = Style { datagrams: false, marker_pause: plan.marker_pause, sequence: plan.sequence };
    let mut datagrams: Vec<_> =
        sockets.into_iter().map(|socket| DatagramServer::new(socket, style, plan.open)).collect();
    for server in &mut datagrams {
        reactor.watch(DATAGRAMS, server.socket_mut())?;
    }
    let parent = if plan.while_open { watch_stdin(&reactor)? } else { None };

    let policy = SandboxPolicy { read: plan.root.iter().cloned().collect(), ..SandboxPolicy::default() };
    sandbox::confine(plan.sandbox.then_some(&policy), report);
    let conns = Slots::default();
    Server { style, folder, echo, files, datagrams, conns, parent, reactor, report }.run()
}

/// Watches stdin for its end. `None` if its end cannot be watched, as that of a file.
fn watch_stdin(reactor: &Reactor) -> Result<Option<Descriptor>> {
    let Inherited::Own(mut stdin) = sys::standard_stream(sys::StandardStream::Input)? else {
        return Ok(None);
    };
    reactor.watch(PARENT, &mut stdin)?;
    Ok(Some(stdin))
}

/// Prints the addresses of the servers: random ports always, others with `-v`.
fn announce(
    plan: &Practice,
    echo: &StreamListener,
    datagrams: &[Descriptor],
    files: Option<&StreamListener>,
    report: &Report,
) {
    let bound = datagrams
        .iter()
        .filter_map(|socket| Some(Address::from(&socket.socket().local_addr().ok()?)))
        .collect();
    let servers = [
        ("tcp", plan.port, echo.addresses()),
        ("udp", plan.udp_port, bound),
        ("files", plan.files_port, files.map(StreamListener::addresses).unwrap_or_default()),
    ];

    for (server, port, addresses) in servers {
        for address in addresses {
            let line = format!("Listening on {} ({server})", accept::host_and_port(&address));
            if port == 0 { report.result(line) } else { report.verbose(line) }
        }
    }
    if plan.open {
        report.note("--open: whoever forges an address has its owner flooded");
    }
}

/// The listeners, and the connections of their clients.
struct Server<'a> {
    style: Style,
    folder: Option<Folder>,
    echo: StreamListener,
    files: Option<StreamListener>,
    datagrams: Vec<DatagramServer>,
    conns: Slots<Conn>,
    /// With `--while-open`: stdin, a pipe of the process that has started us.
    parent: Option<Descriptor>,
    reactor: Reactor,
    report: &'a Report,
}

/// A connection of a client.
enum Conn {
    Echo(EchoConn),
    File(Box<FileServerConn>),
}

impl Server<'_> {
    /// Waits for events, and advances the socket of each.
    fn run(mut self) -> Result<Outcome> {
        loop {
            let events = self.reactor.wait()?;
            let now = Instant::now();

            for event in events {
                match event {
                    Event::Due(token @ (ECHO | FILES)) | Event::Ready(token @ (ECHO | FILES)) => {
                        self.accept(token, now);
                    }
                    Event::Ready(PARENT) => {
                        // Bytes on stdin have no meaning; its end has.
                        if let Some(parent) = &mut self.parent
                            && let Ok(0) = parent.read(&mut [0; 64])
                        {
                            return Ok(Outcome::Done);
                        }
                    }
                    Event::Due(DATAGRAMS) | Event::Ready(DATAGRAMS) => self.answer(now),
                    Event::Due(token) | Event::Ready(token) => self.advance(token, now),
                    Event::Signal(signal) => {
                        if let Some(outcome) = handle_signal(signal) {
                            return Ok(outcome);
                        }
                    }
                    // After a reset, nothing can be sent any more.
                    Event::Hangup(token) => drop(self.conns.remove(token)),
                }
            }
        }
    }

    /// Answers over UDP.
    fn answer(&mut self, now: Instant) {
        let next = self.datagrams.iter_mut().filter_map(|each| each.advance(self.report, now)).min();
        match next {
            Some(next) if next <= now => self.reactor.again(DATAGRAMS),
            next => self.reactor.wake_at(DATAGRAMS, next),
        }
    }

    /// Accepts clients of a listener, some at a time.
    fn accept(&mut self, at: Token, now: Instant) {
        for _ in 0..MAX_ACCEPTS {
            let listener = match (at, &mut self.files) {
                (FILES, Some(files)) => files,
                _ => &mut self.echo,
            };

            let (socket, peer) = match listener.accept() {
                Ok(Some(Ok(accepted))) => (accepted.socket, accepted.peer),
                Ok(Some(Err(Denied(_)))) => continue,
                Ok(None) => return,
                Err(error) => {
                    self.report.verbose(format!("remote: accept a client: {}; waiting", sys::reason(&error)));
                    self.reactor.wake_at(at, Some(now + ACCEPT_BACKOFF));
                    return;
                }
            };
            self.admit(socket, peer, at, now);
        }
        self.reactor.again(at);
    }

    /// Begins to serve a client, in the place of the oldest one if there are too many.
    fn admit(&mut self, mut socket: Descriptor, peer: Address, at: Token, now: Instant) {
        // Idle clients could otherwise keep all others out.
        if self.conns.len() >= MAX_CONNS
            && let Some(oldest) = self.conns.tokens().first().copied()
        {
            self.reactor.wake_at(oldest, None);
            self.conns.remove(oldest);
        }

        let token = self.reactor.token();
        if self.reactor.watch(token, &mut socket).is_err() {
            return;
        }
        let conn = match (at, &self.folder) {
            (FILES, Some(folder)) => {
                Conn::File(Box::new(FileServerConn::new(socket, peer, folder.clone(), now)))
            }
            _ => Conn::Echo(EchoConn::new(socket, peer, now)),
        };
        self.conns.insert(token, conn);
        self.advance(token, now);
    }

    /// Advances a connection, and removes it when it is over.
    fn advance(&mut self, token: Token, now: Instant) {
        let until = match self.conns.get_mut(token) {
            Some(Conn::Echo(conn)) => conn.advance(self.style, self.report, now),
            Some(Conn::File(conn)) => conn.advance(self.report, now),
            None => return,
        };
        match until {
            Some(until) if until <= now => self.reactor.again(token),
            Some(until) => self.reactor.wake_at(token, Some(until)),
            None => {
                self.reactor.wake_at(token, None);
                self.conns.remove(token);
            }
        }
    }
}

/// Connections at once.
const MAX_CONNS: usize = 1024;

/// Clients accepted before other events have their turn.
const MAX_ACCEPTS: usize = 64;

/// Pause of accepting when there are no descriptors left.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

const ECHO: Token = Token(3);
const FILES: Token = Token(4);
const DATAGRAMS: Token = Token(5);
const PARENT: Token = Token(6);
