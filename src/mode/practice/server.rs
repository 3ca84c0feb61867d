//! All practice servers in one loop: TCP, UDP, and files.

use std::{io::Read, time::Instant};

use anyhow::{Context, Result};

use super::{
    conn::ConnStatus, datagram_server::DatagramServer, echo_conn::EchoConn, file_conn::FileServerConn,
    folder::Folder,
};
use crate::{
    endpoint::Stream,
    event::{Event, Reactor, Slots, Token},
    net::{Accepted, Address, DatagramListener, Listener, Transport},
    plan::Practice,
    proto::practice::Style,
    report::Report,
    session::{Lingering, Outcome, accept::Acceptor, handle_signal, messages, sandbox},
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
    let echo = Listener::bind(stream.clone(), &plan.at(plan.port), true)?;
    let files = match folder {
        Some(_) => Some(Listener::bind(stream, &plan.at(plan.files_port), true)?),
        None => None,
    };
    let sockets = DatagramListener::bind(datagram, &plan.at(plan.udp_port), true)?.into_sockets();
    announce(plan, &echo, &sockets, files.as_ref(), report);

    let token = reactor.token();
    let echo = Acceptor::new(echo, &reactor, token)?;
    let token = reactor.token();
    let files = files.map(|files| Acceptor::new(files, &reactor, token)).transpose()?;
    let udp = reactor.token();
    let style = Style { datagrams: false, marker_pause: plan.marker_pause, sequence: plan.sequence };
    let mut datagrams: Vec<_> =
        sockets.into_iter().map(|socket| DatagramServer::new(socket, style, plan.open)).collect();
    for server in &mut datagrams {
        reactor.watch(udp, server.socket_mut())?;
    }
    let parent = if plan.while_open { watch_stdin(&mut reactor)? } else { None };

    // All sockets are bound and the root is open, so that reading beneath the root is all that is left to permit.
    let policy = SandboxPolicy { read: plan.root.iter().cloned().collect(), ..SandboxPolicy::default() };
    sandbox::confine(plan.sandbox.then_some(&policy), report);
    let conns = Slots::default();
    PracticeServers { style, folder, echo, files, udp, datagrams, conns, parent, reactor, report }.run()
}

/// Watches stdin for its end. `None` if its end cannot be watched, as that of a file.
fn watch_stdin(reactor: &mut Reactor) -> Result<Option<(Token, Descriptor)>> {
    let Inherited::Own(mut stdin) = sys::standard_stream(sys::StandardStream::Input)? else {
        return Ok(None);
    };
    let token = reactor.token();
    reactor.watch(token, &mut stdin)?;
    Ok(Some((token, stdin)))
}

/// Prints the addresses of the servers: random ports always, others with `-v`.
fn announce(
    plan: &Practice,
    echo: &Listener,
    datagrams: &[Descriptor],
    files: Option<&Listener>,
    report: &Report,
) {
    let bound = datagrams
        .iter()
        .filter_map(|socket| Some(Address::from(&socket.socket().local_addr().ok()?)))
        .collect();
    let servers = [
        ("tcp", plan.port, echo.addresses()),
        ("udp", plan.udp_port, bound),
        ("files", plan.files_port, files.map(Listener::addresses).unwrap_or_default()),
    ];

    for (server, port, addresses) in servers {
        for address in addresses {
            let line = format!("Listening on {} ({server})", messages::host_and_port(&address));
            if port == 0 { report.result(line) } else { report.verbose(line) }
        }
    }
    if plan.open {
        report.note("--open: whoever forges an address has its owner flooded");
    }
}

/// The listeners, and the connections of their clients.
struct PracticeServers<'a> {
    style: Style,
    /// The root, if files are served; each client gets a position in it.
    folder: Option<Folder>,
    echo: Acceptor,
    files: Option<Acceptor>,
    /// The token of all sockets in `datagrams`.
    udp: Token,
    datagrams: Vec<DatagramServer>,
    conns: Slots<Conn>,
    /// With `--while-open`: stdin, a pipe of the process that has started us.
    parent: Option<(Token, Descriptor)>,
    reactor: Reactor,
    report: &'a Report,
}

/// A connection of a client.
enum Conn {
    Echo(EchoConn),
    File(Box<FileServerConn>),
    /// The conversation is over. Closing a socket with unread bytes would send RST, which can overtake the answer
    /// (RFC 1122, section 4.2.2.13).
    Lingering(Stream, Lingering),
}

impl PracticeServers<'_> {
    /// Waits for events, and advances the socket of each.
    fn run(mut self) -> Result<Outcome> {
        loop {
            let events = self.reactor.wait()?;
            let now = Instant::now();

            for event in events {
                match event {
                    Event::Due(token) | Event::Ready(token) if token == self.udp => self.answer(now),
                    Event::Due(token) | Event::Ready(token) if self.acceptor(token).is_some() => {
                        self.accept(token, now);
                    }
                    Event::Ready(token) if self.has_parent_ended(token) => return Ok(Outcome::Done),
                    Event::Due(token) | Event::Ready(token) => self.advance(token, now),
                    Event::Signal(signal) => {
                        if let Some(outcome) = handle_signal(signal) {
                            return Ok(outcome);
                        }
                    }
                    // After a reset, nothing can be sent any more.
                    Event::Hangup(token) => self.remove(token),
                }
            }
        }
    }

    /// Answers over UDP.
    fn answer(&mut self, now: Instant) {
        let next = self.datagrams.iter_mut().filter_map(|server| server.advance(self.report, now)).min();
        match next {
            Some(next) if next <= now => self.reactor.again(self.udp),
            next => self.reactor.wake_at(self.udp, next),
        }
    }

    /// Whether this is the token of stdin, and stdin has ended. Bytes on it have no meaning.
    fn has_parent_ended(&mut self, token: Token) -> bool {
        match &mut self.parent {
            Some((parent, stdin)) if *parent == token => matches!(stdin.read(&mut [0; 64]), Ok(0)),
            _ => false,
        }
    }

    /// Returns the acceptor of a token, if it is one's.
    fn acceptor(&mut self, token: Token) -> Option<&mut Acceptor> {
        [Some(&mut self.echo), self.files.as_mut()]
            .into_iter()
            .flatten()
            .find(|acceptor| acceptor.token() == token)
    }

    /// Accepts clients, some at a time.
    fn accept(&mut self, at: Token, now: Instant) {
        for _ in 0..MAX_ACCEPTS {
            let acceptor = match &mut self.files {
                Some(files) if files.token() == at => files,
                _ => &mut self.echo,
            };

            match acceptor.accept_stream(&mut self.reactor, now, self.report) {
                Some(accepted) => self.admit(accepted, at, now),
                None => return,
            }
        }
        self.reactor.again(at);
    }

    /// Begins to serve a client, in the place of the oldest one if there are too many.
    fn admit(&mut self, accepted: Accepted, at: Token, now: Instant) {
        let Accepted { mut socket, peer, .. } = accepted;
        // Idle clients could otherwise keep all others out.
        if self.conns.len() >= MAX_CONNS
            && let Some(oldest) = self.conns.tokens().first().copied()
        {
            self.remove(oldest);
        }

        let token = self.reactor.token();
        if self.reactor.watch(token, &mut socket).is_err() {
            return;
        }
        let stream = Stream::new(socket);
        let conn = match &self.folder {
            Some(folder) if at != self.echo.token() => {
                Conn::File(Box::new(FileServerConn::new(stream, peer, folder.clone(), now)))
            }
            _ => Conn::Echo(EchoConn::new(stream, peer, now)),
        };
        self.conns.insert(token, conn);
        self.advance(token, now);
    }

    /// Advances a connection, and closes it when it is over.
    fn advance(&mut self, token: Token, now: Instant) {
        let status = match self.conns.get_mut(token) {
            Some(Conn::Echo(conn)) => conn.advance(self.style, self.report, now),
            Some(Conn::File(conn)) => conn.advance(self.report, now),
            Some(Conn::Lingering(stream, lingering)) => {
                match lingering.advance(stream, &mut self.reactor, token, now) {
                    true => ConnStatus::Closed,
                    false => ConnStatus::Open(lingering.deadline()),
                }
            }
            None => return,
        };

        match status {
            ConnStatus::Open(until) if until <= now => self.reactor.again(token),
            ConnStatus::Open(until) => self.reactor.wake_at(token, Some(until)),
            ConnStatus::Finished => self.linger(token, now),
            ConnStatus::Closed => self.remove(token),
        }
    }

    /// Begins the lingering close of a connection.
    fn linger(&mut self, token: Token, now: Instant) {
        let mut stream = match self.conns.remove(token) {
            Some(Conn::Echo(conn)) => conn.into_stream(),
            Some(Conn::File(conn)) => conn.into_stream(),
            Some(Conn::Lingering(..)) | None => return,
        };
        let Some(lingering) = Lingering::begin(&mut stream, &self.reactor, token, now) else {
            // The peer has reset the connection.
            return self.closed(token);
        };
        self.conns.insert(token, Conn::Lingering(stream, lingering));
        self.advance(token, now);
    }

    /// Closes a connection.
    fn remove(&mut self, token: Token) {
        if self.conns.remove(token).is_some() {
            self.closed(token);
        }
    }

    /// Clears up after a connection. Its descriptor may be the one that an acceptor waits for.
    fn closed(&mut self, token: Token) {
        self.reactor.wake_at(token, None);
        for acceptor in [Some(&mut self.echo), self.files.as_mut()].into_iter().flatten() {
            if acceptor.backoff().is_some() {
                acceptor.resume(&mut self.reactor);
            }
        }
    }
}

/// Connections at once.
const MAX_CONNS: usize = 1024;

/// Clients accepted before other events have their turn.
const MAX_ACCEPTS: usize = 64;
