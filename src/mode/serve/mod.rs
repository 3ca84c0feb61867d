//! `-k`: many clients, all at once, in one loop.

mod clients;

use std::{
    fs::File,
    io,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use self::clients::ServeClient;
use crate::{
    endpoint::{Input, Output, SharedStdio, Stdio},
    event::{Event, Reactor, Slots, Token},
    net::Address,
    plan::{self, Incoming, Outgoing, Serve},
    pump::Source,
    report::Report,
    session::{
        Names, Outcome,
        accept::{self, Accept, Acceptor, Arrived, MAX_HANDSHAKES, PendingHandshake},
        handle_signal,
        messages::host_and_port,
        open,
        prepare::{self, Preparation},
        program::Programs,
        sandbox,
        tls::TlsContext,
    },
    sys::{self, Signal},
};

/// How far the mode is.
enum Stage<'a> {
    Preparing(Preparation<'a>),
    Serving(Box<Server<'a>>),
}

/// Serves until a signal ends it, or until there is nothing left to serve with.
pub fn run(plan: &Serve, report: &Report) -> Result<Outcome> {
    let session = &plan.listen.session;
    open::check(session)?;
    let dump = open::open_dump(session)?;
    let mut reactor = Reactor::new().context("set up the event loop")?;

    let token = reactor.token();
    let mut now = Instant::now();
    let mut events = Vec::new();
    let mut stage = Stage::Preparing(Preparation::new(&plan.listen, token));
    loop {
        if let Stage::Preparing(preparation) = &mut stage {
            // No client is connected yet, so there is nothing to wind down.
            let outcome = events.iter().find_map(|event| match event {
                Event::Signal(signal) => handle_signal(*signal),
                Event::Due(_) | Event::Hangup(_) | Event::Ready(_) => None,
            });
            if let Some(outcome) = outcome {
                return Ok(outcome);
            }

            if let Some((addresses, access)) = preparation.advance(&reactor, now)? {
                let (listener, tls) = prepare::listen(&plan.listen, &addresses, access, true, report)?;
                // Not earlier: in the sandbox, the listener could not be bound, nor the certificate be read.
                sandbox::enter(session, &listener.addresses(), report);
                reactor.wake_at(token, None);
                let acceptor = Acceptor::new(listener, &reactor, token)?;
                let server = Server::new(plan, acceptor, tls, dump.as_ref(), &mut reactor, report)?;
                stage = Stage::Serving(Box::new(server));
            } else {
                reactor.wake_at(token, preparation.deadline());
            }
        }
        if let Stage::Serving(server) = &mut stage
            && let Some(outcome) = server.turn(events, &mut reactor, now)?
        {
            return Ok(outcome);
        }

        events = reactor.wait()?;
        now = Instant::now();
    }
}

/// The clients, and all that they share.
struct Server<'a> {
    plan: &'a plan::Session,
    max_clients: usize,
    /// Clients of one address at once.
    max_per_ip: Option<usize>,
    acceptor: Acceptor,
    tls: Option<TlsContext>,
    dump: Option<&'a File>,
    report: &'a Report,
    /// `None` where each client has files or a program of its own.
    stdio: Option<SharedStdio>,
    source: Source,
    clients: Slots<ServeClient>,
    /// Clients whose TLS handshake is under way; a token is a client's from the start.
    handshakes: Slots<PendingHandshake>,
    programs: Programs,
    tokens: Tokens,
    /// When no client will have connected for `-w`.
    idle: Option<Instant>,
    /// Counts the changes of stdin and stdout, so that the clients take turns.
    stdio_turn: usize,
    /// A signal ends it, then at the latest.
    leaving: Option<(Signal, Instant)>,
}

/// The tokens of what clients share.
#[derive(Clone, Copy)]
struct Tokens {
    listener: Token,
    programs: Token,
    stdio: Token,
}

impl<'a> Server<'a> {
    fn new(
        plan: &'a Serve,
        acceptor: Acceptor,
        tls: Option<TlsContext>,
        dump: Option<&'a File>,
        reactor: &mut Reactor,
        report: &'a Report,
    ) -> Result<Self> {
        let tokens = Tokens { listener: acceptor.token(), programs: reactor.token(), stdio: reactor.token() };
        let session = &plan.listen.session;
        let acceptor = match session.program {
            Some(_) => acceptor.with_reserve(DESCRIPTORS_OF_PROGRAM),
            None => acceptor,
        };

        let stdio = shared_stdio(session, reactor, tokens.stdio)?;
        let source = stdio.as_ref().map_or(Source::File, |(_, source)| *source);
        Ok(Self {
            plan: session,
            max_clients: plan.max_clients,
            max_per_ip: plan.listen.access.max_per_ip,
            acceptor,
            tls,
            dump,
            report,
            stdio: stdio.map(|(stdio, _)| stdio),
            source,
            clients: Slots::default(),
            handshakes: Slots::default(),
            programs: Programs::default(),
            tokens,
            idle: session.idle.map(|idle| Instant::now() + idle),
            stdio_turn: 0,
            leaving: None,
        })
    }

    /// Acts on events, and accepts clients. Returns the outcome when serving is over.
    fn turn(&mut self, events: Vec<Event>, reactor: &mut Reactor, now: Instant) -> Result<Option<Outcome>> {
        for event in events {
            self.hear(event, reactor);
        }
        // Events first: a client that leaves makes room for one in the backlog.
        self.accept(reactor);
        self.advance_stdio(reactor);

        if let Some((signal, until)) = self.leaving
            && (self.clients.is_empty() && self.programs.may_be_left() || now >= until)
        {
            return Ok(Some(Outcome::Signalled(signal)));
        }
        self.outcome(reactor)
    }

    fn hear(&mut self, event: Event, reactor: &mut Reactor) {
        match event {
            Event::Due(token) if token == self.tokens.programs => self.reap_programs(reactor),
            Event::Hangup(token) if token == self.tokens.stdio => {
                if let Some(stdio) = &mut self.stdio {
                    stdio.check();
                }
            }
            Event::Hangup(token) => self.hang_up(token, reactor),
            Event::Signal(signal) => self.handle_signal(signal, reactor),
            // The listener and stdin and stdout are looked at in every turn.
            Event::Due(token) | Event::Ready(token) => {
                self.continue_handshake(token, reactor);
                self.advance(token, reactor);
                if self.programs.is_bare(token) {
                    self.reap_programs(reactor);
                }
            }
        }
    }

    /// Accepts clients that wait, some at a time.
    fn accept(&mut self, reactor: &mut Reactor) {
        for _ in 0..MAX_ACCEPTS {
            if self.leaving.is_some() || self.is_full() {
                return;
            }
            let now = Instant::now();
            // A UDP peer is known by its address alone: its next datagram may reach the listener before its own socket
            // exists.
            let clients = &self.clients;
            let known =
                |address: &Address| clients.items().any(|client| client.session.peer_address() == address);
            match self.acceptor.accept(&known, reactor, now, self.report) {
                Some(Arrived::Client(accepted)) if self.has_too_many(&accepted.peer) => {
                    let peer = host_and_port(&accepted.peer);
                    self.report.verbose(format!("Connection from {peer} refused: it has too many"));
                }
                Some(Arrived::Client(accepted)) => {
                    if self.report.verbose > 0 {
                        self.report
                            .verbose(format!("Connection received on {}", host_and_port(&accepted.peer)));
                    }
                    let token = reactor.token();
                    let names = Names::new(self.plan, accepted.peer.clone(), accepted.local.clone());
                    let begun = match accept::peer(self.plan, accepted, self.tls.as_ref(), now) {
                        Ok(Accept::Peer(peer)) => self.begin(token, peer, names.clone(), reactor),
                        Ok(Accept::Handshake(handshake)) => match handshake.watch(reactor, token) {
                            Ok(handshake) => {
                                reactor.wake_at(token, Some(handshake.deadline()));
                                self.handshakes.insert(token, PendingHandshake { handshake, names });
                                self.continue_handshake(token, reactor);
                                continue;
                            }
                            Err(error) => Err(error),
                        },
                        Err(error) => Err(error),
                    };
                    if let Err(error) = begun {
                        self.reject(token, &names.peer, &error, reactor);
                    }
                }
                Some(Arrived::Datagram { peer, bytes }) => self.deliver(&peer, bytes, reactor),
                None => return,
            }
        }
        reactor.again(self.tokens.listener);
    }

    /// Returns whether this address has as many clients as it may have.
    fn has_too_many(&self, peer: &Address) -> bool {
        let site = |address: &Address| address.ip().map(crate::net::access::site);
        let Some(max) = self.max_per_ip else { return false };
        let clients = self.clients.items().map(|client| client.session.peer_address());
        // Clients in a handshake count too: an address could otherwise hold as many handshakes as it likes.
        let present = clients.chain(self.handshakes.items().map(|pending| &pending.names.peer));
        let present = present.chain(self.programs.clients());
        present.filter(|address| site(address) == site(peer)).count() >= max
    }

    /// Returns whether no client is accepted for now. A handshake takes no client's place, but there is a limit of them.
    fn is_full(&self) -> bool {
        self.client_count() >= self.max_clients || self.handshakes.len() >= MAX_HANDSHAKES
    }

    fn client_count(&self) -> usize {
        self.clients.len() + self.programs.clients().count()
    }

    /// Moves stdin and stdout, and turns the sessions of the clients.
    fn advance_stdio(&mut self, reactor: &mut Reactor) {
        for _ in 0..MAX_STDIO_TURNS {
            let Some(stdio) = &mut self.stdio else { return };
            if !stdio.advance() {
                return;
            }

            // The first client can write first: each in turn.
            let mut tokens = self.clients.tokens();
            if !tokens.is_empty() {
                self.stdio_turn = self.stdio_turn.wrapping_add(1);
                let first = self.stdio_turn % tokens.len();
                tokens.rotate_left(first);
            }
            for token in tokens {
                self.advance(token, reactor);
            }
        }
        reactor.again(self.tokens.stdio);
    }

    fn handle_signal(&mut self, signal: Signal, reactor: &mut Reactor) {
        let now = Instant::now();

        match signal {
            Signal::Hangup | Signal::Interrupt | Signal::Terminate => self.leave(signal, reactor, now),
            Signal::Child => self.reap_programs(reactor),
            Signal::Info => {
                self.report.result(format!("{} clients", self.client_count()));
                for token in self.clients.tokens() {
                    let Some(client) = self.clients.get_mut(token) else { continue };
                    let progress = client.session.progress(&mut *client.peer, now);
                    self.report.result(format!("{}: {progress}", client.session.peer_address()));
                }
            }
            Signal::Stop => {
                self.release_terminal();
                // After the terminal is restored: the shell must not find it in our mode.
                sys::stop_self();
            }
            Signal::Continue => {}
        }
    }

    /// Ends all sessions and programs, for which there is some time; at the second signal, none.
    fn leave(&mut self, signal: Signal, reactor: &mut Reactor, now: Instant) {
        self.release_terminal();
        if let Some(stdio) = &mut self.stdio {
            // Reading would take the terminal again.
            stdio.stop();
        }
        // Without a session, these clients have nothing under way that could be lost.
        self.handshakes = Slots::default();
        self.programs.hang_up_all(now);
        self.reap_programs(reactor);

        // Programs get SIGHUP and some time, as a shell gives them when its terminal goes.
        let timeout = if self.programs.may_be_left() { LEAVE_TIMEOUT } else { LEAVE_TIMEOUT_OF_PROGRAMS };
        if self.leaving.is_some() {
            self.programs.kill_all();
        }
        let until = if self.leaving.is_some() { now } else { now + timeout };
        self.leaving = Some((signal, until));
        reactor.wake_at(self.tokens.stdio, Some(until));

        for token in self.clients.tokens() {
            if let Some(client) = self.clients.get_mut(token) {
                client.session.interrupt(signal, now);
                reactor.again(token);
            }
        }
    }

    fn release_terminal(&mut self) {
        if let Some(stdio) = &mut self.stdio {
            stdio.stdio().release_terminal();
        }
    }

    /// Returns the outcome if there is nothing left to serve with; fails if no client connected for `-w`.
    fn outcome(&mut self, reactor: &mut Reactor) -> Result<Option<Outcome>> {
        if let Some(idle) = self.idle
            && self.handshakes.is_empty()
        {
            if Instant::now() >= idle {
                bail!("nobody came within {} s", self.plan.idle.unwrap_or_default().as_secs_f64());
            }
            // The listener has one deadline: a pause in accepting ends sooner.
            if self.acceptor.backoff().is_none() {
                reactor.wake_at(self.tokens.listener, Some(idle));
            }
        }

        let Some(stdio) = &mut self.stdio else { return Ok(None) };
        // With stdout gone, clients are served only while stdin has something for them.
        match stdio.stdout_error() {
            Some(io::ErrorKind::BrokenPipe) if stdio.has_ended() || self.source == Source::Terminal => {
                Ok(Some(Outcome::Done))
            }
            Some(io::ErrorKind::BrokenPipe) | None => Ok(None),
            Some(kind) => bail!("write to stdout: {}", sys::reason(&kind.into())),
        }
    }
}

/// Opens the streams that clients share, unless each has files of its own; and classifies stdin.
fn shared_stdio(
    plan: &plan::Session,
    reactor: &Reactor,
    token: Token,
) -> Result<Option<(SharedStdio, Source)>> {
    let input = match plan.input {
        Outgoing::Stdin => open::open_input(plan, &reactor.waker(token))?,
        Outgoing::File(_) | Outgoing::Nothing => Input::Nothing,
    };
    let output = match plan.output {
        Incoming::Stdout => Output::stdout(reactor.waker(token)).context("open stdout")?,
        Incoming::Automatic | Incoming::File { .. } | Incoming::Nowhere => Output::Nowhere,
    };
    if matches!((&input, &output), (Input::Nothing, Output::Nowhere)) {
        return Ok(None);
    }

    let source = open::source(&input);
    let mut stdio = Stdio::new(input, output);
    stdio.watch(reactor, token).context("watch stdin and stdout")?;
    Ok(Some((SharedStdio::new(stdio), source)))
}

/// How long clients have when a signal ends it all.
const LEAVE_TIMEOUT: Duration = Duration::from_millis(1500);

/// How long they have if programs run for them: a little longer than those may take to end.
const LEAVE_TIMEOUT_OF_PROGRAMS: Duration = Duration::from_secs(6);

/// Descriptors that it takes to start a program, its client's included.
const DESCRIPTORS_OF_PROGRAM: usize = 10;

/// Clients that are accepted before other events have their turn.
const MAX_ACCEPTS: usize = 64;

/// Turns of stdin and stdout before other events have their turn.
const MAX_STDIO_TURNS: usize = 16;
