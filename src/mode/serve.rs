//! `-k`: many clients, all at once, in one loop.

use std::{
    fs::File,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    endpoint::{Connection, Endpoint, Input, Output, Peer, Shared, Standard, Table},
    event::{Event, Reactor, Slots, Token},
    net::{Accepted, Address, Arrival, Listener, access::site, listener::is_exhausted},
    plan::{self, Incoming, Listen, Outgoing},
    pump::Source,
    report::{self, Report},
    session::{
        self, Interrupted, Names, Session, Status,
        accept::{self, Arriving, MOST_ARRIVING, shown},
        open,
        program::{self, Programs, Started},
        tls::Security,
    },
    sys::{self, Signal},
};

/// Serves until a signal comes, or until there is nothing left to serve with.
pub fn run(
    plan: &Listen,
    most: usize,
    mut listener: Listener,
    security: Option<Security>,
    reactor: Reactor,
    dump: Option<&File>,
    report: &Report,
) -> Result<bool> {
    for socket in listener.sockets() {
        reactor.watch(LISTENER, socket)?;
    }
    let per_site = plan.access.max_per_ip;
    let plan = &plan.session;
    let table = table(plan, &reactor)?;
    let source = table.as_ref().map_or(Source::File, |(_, source)| *source);
    let idle = plan.idle.map(|idle| Instant::now() + idle);
    let crowd = Crowd {
        plan,
        most,
        per_site,
        listener,
        security,
        reactor,
        dump,
        report,
        table: table.map(|(table, _)| table),
        source,
        clients: Slots::new(FIRST_CLIENT),
        arriving: Slots::new(FIRST_CLIENT),
        programs: Programs::default(),
        paused: false,
        idle,
        turn: 0,
        leaving: None,
    };
    crowd.run()
}

/// The table that clients share, unless each has files of its own; and what its stdin is.
fn table(plan: &plan::Session, reactor: &Reactor) -> Result<Option<(Table, Source)>> {
    let input = match plan.input {
        Outgoing::Stdin => open::open_input(plan, &reactor.waker(TABLE))?,
        Outgoing::File(_) | Outgoing::Nothing => Input::Nothing,
    };
    let output = match plan.output {
        Incoming::Stdout => Output::stdout(reactor.waker(TABLE)).context("open stdout")?,
        Incoming::Automatic | Incoming::File { .. } | Incoming::Nowhere => Output::Nowhere,
    };
    if matches!((&input, &output), (Input::Nothing, Output::Nowhere)) {
        return Ok(None);
    }
    let source = open::source(&input);
    let mut standard = Standard { input, output };
    standard.watch(reactor, TABLE).context("watch stdin and stdout")?;
    Ok(Some((Table::new(standard), source)))
}

struct Crowd<'a> {
    plan: &'a plan::Session,
    most: usize,
    /// Clients of one address at once.
    per_site: Option<usize>,
    listener: Listener,
    security: Option<Security>,
    reactor: Reactor,
    dump: Option<&'a File>,
    report: &'a Report,
    table: Option<Table>,
    source: Source,
    clients: Slots<Client>,
    /// Those that TLS is not agreed on with yet; a token is a client's from the start.
    arriving: Slots<Arriving>,
    /// What runs for them.
    programs: Programs,
    /// There were no descriptors left; `PAUSE` later, or when a client has left, we try again.
    paused: bool,
    /// When nobody will have come for `-w`.
    idle: Option<Instant>,
    /// How often the table has changed.
    turn: usize,
    /// A signal ends it, then at the latest.
    leaving: Option<(Signal, Instant)>,
}

/// What a client has of its own, and what at the table.
struct Furnished {
    own: Standard,
    shared: Shared,
}

/// A client; what it does not have of its own is at the table.
struct Client {
    session: Session,
    own: Standard,
    shared: Shared,
}

impl Crowd<'_> {
    fn run(mut self) -> Result<bool> {
        loop {
            for event in self.reactor.wait()? {
                match event {
                    Event::Due(LISTENER) => self.paused = false,
                    Event::Due(PROGRAMS) => self.look_after_programs(),
                    Event::Due(TABLE) | Event::Ready(LISTENER | TABLE) => {}
                    Event::Due(token) | Event::Ready(token) => {
                        self.agree(token);
                        self.advance(token);
                        if self.programs.is_bare(token) {
                            self.look_after_programs();
                        }
                    }
                    Event::Hangup(TABLE) => self.check_table(),
                    Event::Hangup(token) => self.hear_hangup(token),
                    Event::Signal(signal) => self.heed(signal),
                }
            }
            self.accept();
            self.turn_table();
            if let Some((signal, until)) = self.leaving
                && (self.clients.is_empty() && self.programs.may_be_left() || Instant::now() >= until)
            {
                return Err(Interrupted(signal).into());
            }
            if let Some(success) = self.is_over()? {
                return Ok(success);
            }
        }
    }

    fn hear_hangup(&mut self, token: Token) {
        if let Some(client) = self.clients.get_mut(token) {
            return client.session.hangup();
        }
        let now = Instant::now();
        self.programs.hang_up(token, now);
        self.time_programs(now);
    }

    /// Lets in who is waiting, some at a time.
    fn accept(&mut self) {
        for _ in 0..ACCEPTED_AT_ONCE {
            if self.paused || self.leaving.is_some() || self.is_full() {
                return;
            }
            let clients = &self.clients;
            let known =
                |address: &Address| clients.items().any(|client| client.session.peer_address() == address);
            // A program takes more descriptors than its client's own, who is better left waiting than turned away.
            let room = if self.plan.program.is_some() { sys::can_open(FOR_A_PROGRAM) } else { Ok(()) };
            match room.and_then(|()| self.listener.accept(&known)) {
                Ok(Some(Arrival::Accepted(accepted))) if self.has_too_many(&accepted.peer) => {
                    let peer = shown(&accepted.peer);
                    self.report.verbose(format!("Connection from {peer} refused: it has too many"));
                }
                Ok(Some(Arrival::Accepted(accepted))) => self.admit(accepted),
                Ok(Some(Arrival::Denied(peer))) => self.report.verbose(accept::refused(&peer)),
                Ok(Some(Arrival::Datagram { peer, bytes })) => self.deliver(&peer, bytes),
                Ok(Some(Arrival::Unreachable { peer, error })) => {
                    self.report.verbose(format!("remote: answer {peer}: {}", sys::reason(&error)));
                }
                Ok(None) => return,
                Err(error) => {
                    self.report.verbose(format!("remote: accept a client: {}; waiting", sys::reason(&error)));
                    self.paused = true;
                    self.reactor.wake_at(LISTENER, Some(Instant::now() + PAUSE));
                }
            }
        }
        self.reactor.again(LISTENER);
    }

    fn admit(&mut self, accepted: Accepted) {
        let peer = accepted.peer.clone();
        if self.report.verbose > 0 {
            self.report.verbose(format!("Connection received on {}", shown(&peer)));
        }
        let token = self.clients.token();
        let names = Names::new(self.plan, peer.clone(), accepted.local.clone());
        let peer = accept::peer(self.plan, accepted);
        let seated = match (&self.security, peer) {
            (Some(security), Peer::Connection(Connection::Plain(stream))) => {
                match security.begin(stream, self.plan.idle) {
                    Ok(handshake) => return self.receive(token, Arriving { handshake, names }),
                    Err(error) => Err(error),
                }
            }
            (_, peer) => self.seat(token, peer, names.clone()),
        };
        self.excuse(token, &names.peer, seated);
    }

    /// Begins to agree on TLS.
    fn receive(&mut self, token: Token, mut arriving: Arriving) {
        let watched = self.reactor.watch(token, arriving.handshake.stream_mut().socket_mut());
        if watched.is_ok() {
            self.reactor.wake_at(token, Some(arriving.handshake.limit));
            self.arriving.insert(token, arriving);
            self.agree(token);
        } else {
            self.excuse(token, &arriving.names.peer, watched.map_err(Into::into));
        }
    }

    /// Goes on agreeing on TLS, with who arrives.
    fn agree(&mut self, token: Token) {
        let Some(arriving) = self.arriving.get_mut(token) else { return };
        let agreed = arriving.handshake.go_on(Instant::now());
        // Who had to wait for a place may have left.
        let gone = arriving.handshake.stream_mut().broken().is_some();
        match agreed {
            Ok(false) => return,
            // There is no place; when there is one, we come back.
            Ok(true) if gone => {}
            Ok(true) if self.seated() >= self.most => return self.reactor.wake_at(token, None),
            Ok(true) | Err(_) => {}
        }
        let Some(Arriving { handshake, names }) = self.arriving.remove(token) else { return };
        self.reactor.wake_at(token, None);
        let peer = names.peer.clone();
        let seated = match agreed {
            Ok(_) if gone => Ok(()),
            Ok(_) => self.seat(token, Peer::Connection(handshake.finish(self.report)), names),
            Err(error) => Err(error),
        };
        // Somebody may be waiting for the place.
        self.reactor.again(LISTENER);
        self.excuse(token, &peer, seated);
    }

    /// One client's trouble is not another's. A program that was started for it has nothing to do.
    fn excuse(&mut self, token: Token, peer: &Address, seated: Result<()>) {
        let Err(error) = seated else { return };
        self.programs.release(token, true, Instant::now());
        self.time_programs(Instant::now());
        self.report.error(format!("serve {}: {}", shown(peer), report::sentence(&error)));
        if error.downcast_ref::<std::io::Error>().is_some_and(is_exhausted) {
            self.paused = true;
            self.reactor.wake_at(LISTENER, Some(Instant::now() + PAUSE));
        }
    }

    /// Whether as many clients of this address as may are there.
    fn has_too_many(&self, peer: &Address) -> bool {
        let site = |address: &Address| address.ip().map(site);
        let Some(most) = self.per_site else { return false };
        let clients = self.clients.items().map(|client| client.session.peer_address());
        let present = clients.chain(self.arriving.items().map(|arriving| &arriving.names.peer));
        let present = present.chain(self.programs.clients());
        present.filter(|address| site(address) == site(peer)).count() >= most
    }

    /// Whether nobody is accepted for now. Who arrives takes nobody's place yet, but may not come in great numbers.
    fn is_full(&self) -> bool {
        self.seated() >= self.most || self.arriving.len() >= MOST_ARRIVING
    }

    /// How many clients there are.
    fn seated(&self) -> usize {
        self.clients.len() + self.programs.clients().count()
    }

    /// Looks after the programs; the client of one may go with it.
    fn look_after_programs(&mut self) {
        let now = Instant::now();
        if self.programs.look(&mut self.reactor, self.report, now) {
            self.paused = false;
            self.rest(now);
            self.offer_place();
        }
        self.time_programs(now);
    }

    fn time_programs(&mut self, now: Instant) {
        let until = self.programs.tick(now);
        self.reactor.wake_at(PROGRAMS, until);
    }

    /// Somebody may be waiting for a place: who arrived, or who has still to be accepted.
    fn offer_place(&mut self) {
        for token in self.arriving.tokens() {
            self.reactor.again(token);
        }
        self.reactor.again(LISTENER);
    }

    /// If nobody is left, `-w` begins again. Who only arrives has not come yet.
    fn rest(&mut self, now: Instant) {
        if self.seated() == 0 {
            self.idle = self.plan.idle.map(|idle| now + idle);
        }
    }

    /// Datagrams that have come for a program that serves one of them are for another program.
    fn requeue(&mut self, client: &mut Client) {
        let (Address::Inet(own), Address::Inet(peer)) =
            (client.session.own_address().clone(), client.session.peer_address().clone())
        else {
            return;
        };
        if let Peer::Datagram(datagram) = client.session.peer() {
            for (from, bytes) in datagram.rest() {
                self.listener.requeue(from.unwrap_or(peer), own, bytes);
                self.reactor.again(LISTENER);
            }
        }
    }

    fn seat(&mut self, token: Token, mut peer: Peer, names: Names) -> Result<()> {
        let plan = self.plan;
        let furnished = self.furnish(token, &mut peer, &names);
        let Furnished { mut own, shared } = match furnished {
            Ok(Some(furnished)) => furnished,
            Ok(None) => {
                self.programs.serve(token, peer, names.peer);
                self.idle = None;
                return Ok(());
            }
            Err(error) => {
                peer.abort();
                return Err(error);
            }
        };
        own.watch(&self.reactor, token)?;
        let source = match shared.input {
            true => self.source,
            false if plan.program.is_some() => Source::File,
            false => open::source(&own.input),
        };
        let nothing = |input: &Input| matches!(input, Input::Nothing);
        let sends = match (&mut self.table, shared.input) {
            (Some(table), true) => !nothing(&table.standard().input),
            _ => !nothing(&own.input),
        };
        let session = session::begin(plan, peer, names, source, sends, self.dump)?;
        if let (Some(table), true) = (&mut self.table, shared.input && sends) {
            table.sit(token);
        }
        self.clients.insert(token, Client { session, own, shared });
        self.idle = None;
        self.advance(token);
        // Many say all they have to say at once, and need not be waited for.
        let Some(client) = self.clients.get_mut(token) else { return Ok(()) };
        if let Err(error) = self.reactor.watch(token, client.session.peer().socket_mut()) {
            self.clients.remove(token);
            if let Some(table) = &mut self.table {
                table.rise(token);
            }
            return Err(error.into());
        }
        Ok(())
    }

    /// Starts the program of a client, or opens his files; `None` if a program has his socket itself.
    fn furnish(&mut self, token: Token, peer: &mut Peer, names: &Names) -> Result<Option<Furnished>> {
        let plan = self.plan;
        if let Some(program) = &plan.program {
            let bare = plan.is_bare() && !self.report.json;
            return match program::start(program, peer, names, bare)? {
                Started::Beside(child, own) => {
                    self.programs.insert(token, child);
                    Ok(Some(Furnished { own, shared: Shared { input: false, output: false } }))
                }
                Started::OnSocket(child) => {
                    self.reactor.watch_end(token, peer.socket_mut())?;
                    self.programs.insert(token, child);
                    Ok(None)
                }
            };
        }
        let shared = Shared {
            input: self.table.is_some() && plan.input == Outgoing::Stdin,
            output: self.table.is_some() && plan.output == Incoming::Stdout,
        };
        let waker = self.reactor.waker(token);
        let own = Standard {
            input: if shared.input { Input::Nothing } else { open::open_input(plan, &waker)? },
            output: match shared.output {
                true => Output::Nowhere,
                false => open::open_output(plan, (&names.local.host(), names.local.port()), &waker)?,
            },
        };
        Ok(Some(Furnished { own, shared }))
    }

    /// A datagram of a client's that came to the listener all the same.
    fn deliver(&mut self, peer: &Address, bytes: Vec<u8>) {
        let Some((token, client)) = self.clients.find(|client| client.session.peer_address() == peer) else {
            return;
        };
        if let Peer::Datagram(datagram) = client.session.peer() {
            datagram.deliver(bytes);
        }
        self.advance(token);
    }

    fn advance(&mut self, token: Token) {
        let now = Instant::now();
        let Some(client) = self.clients.get_mut(token) else { return };
        let status = match &mut self.table {
            Some(table) if table.is_behind(token) => client.session.give_up(now),
            Some(table) => {
                let mut seat = table.seat(token, &mut client.own, client.shared);
                client.session.advance(&mut seat, now)
            }
            None => client.session.advance(&mut client.own, now),
        };
        match status {
            Status::Waiting(until) => self.reactor.wake_at(token, until),
            Status::Yielded => self.reactor.again(token),
            Status::Finished(mut summary) => {
                self.reactor.wake_at(token, None);
                let full = self.paused || self.is_full();
                if let Some(mut client) = self.clients.remove(token) {
                    if self.plan.program.is_some() {
                        self.programs.release(token, !client.session.has_sent_all(), now);
                        self.look_after_programs();
                        self.requeue(&mut client);
                    }
                    summary.keep_file(&mut client.own, self.report);
                    summary.tcp = self.report.json.then(|| client.session.tcp()).flatten();
                }
                if let Some(table) = &mut self.table {
                    table.rise(token);
                }
                summary.tell(self.report, false);
                self.paused = false;
                self.rest(now);
                if full {
                    self.offer_place();
                }
            }
        }
    }

    /// Lets stdin and stdout move, and the clients that this concerns.
    fn turn_table(&mut self) {
        for _ in 0..TURNS {
            let Some(table) = &mut self.table else { return };
            if !table.advance() {
                return;
            }
            // Whoever comes first has the next word: each in turn.
            let mut tokens = self.clients.tokens();
            if !tokens.is_empty() {
                self.turn = self.turn.wrapping_add(1);
                let first = self.turn % tokens.len();
                tokens.rotate_left(first);
            }
            for token in tokens {
                self.advance(token);
            }
        }
        self.reactor.again(TABLE);
    }

    fn check_table(&mut self) {
        if let Some(table) = &mut self.table {
            table.check();
        }
    }

    fn heed(&mut self, signal: Signal) {
        let now = Instant::now();
        match signal {
            Signal::Hangup | Signal::Interrupt | Signal::Terminate => {
                self.release_terminal();
                if let Some(table) = &mut self.table {
                    // Nor is the terminal taken again.
                    table.stop();
                }
                self.arriving = Slots::new(FIRST_CLIENT);
                self.programs.hang_up_all(now);
                self.look_after_programs();
                let time = if self.programs.may_be_left() { LEAVE } else { LEAVE_OF_PROGRAMS };
                if self.leaving.is_some() {
                    self.programs.kill_all();
                }
                let until = if self.leaving.is_some() { now } else { now + time };
                self.leaving = Some((signal, until));
                self.reactor.wake_at(TABLE, Some(until));
                for token in self.clients.tokens() {
                    if let Some(client) = self.clients.get_mut(token) {
                        client.session.interrupt(signal, now);
                        self.reactor.again(token);
                    }
                }
            }
            Signal::Child => self.look_after_programs(),
            Signal::Info => {
                let clients = self.seated();
                self.report.result(format!("{clients} clients"));
                for client in self.clients.items() {
                    let figures = client.session.figures(now);
                    self.report.result(format!("{}: {figures}", client.session.peer_address()));
                }
            }
            Signal::Stop => {
                self.release_terminal();
                sys::stop_self();
            }
            Signal::Continue => {}
        }
    }

    fn release_terminal(&mut self) {
        if let Some(table) = &mut self.table {
            table.standard().release_terminal();
        }
    }

    /// Whether there is nothing left to serve with, or nobody came for `-w`.
    fn is_over(&mut self) -> Result<Option<bool>> {
        if let Some(idle) = self.idle {
            if Instant::now() >= idle && self.arriving.is_empty() {
                bail!("nobody came within {} s", self.plan.idle.unwrap_or_default().as_secs_f64());
            }
            if !self.paused && self.arriving.is_empty() {
                self.reactor.wake_at(LISTENER, Some(idle));
            }
        }
        let Some(table) = &mut self.table else { return Ok(None) };
        match table.mute() {
            Some(std::io::ErrorKind::BrokenPipe) if table.has_ended() || self.source == Source::Terminal => {
                Ok(Some(true))
            }
            Some(std::io::ErrorKind::BrokenPipe) | None => Ok(None),
            Some(kind) => bail!("write to stdout: {}", sys::reason(&kind.into())),
        }
    }
}

/// How long accepting pauses when there are no descriptors left.
const PAUSE: Duration = Duration::from_millis(500);

/// How long clients have when a signal ends it all.
const LEAVE: Duration = Duration::from_millis(1500);

/// How long they have if programs run for them: a little longer than those may take to end.
const LEAVE_OF_PROGRAMS: Duration = Duration::from_secs(6);

/// Descriptors that it takes to start a program, its client's included.
const FOR_A_PROGRAM: usize = 10;

/// Arrivals before other events have their turn.
const ACCEPTED_AT_ONCE: usize = 64;

/// Turns of the table before other events have their turn.
const TURNS: usize = 16;

const LISTENER: Token = Token(3);
const TABLE: Token = Token(4);
const PROGRAMS: Token = Token(5);
const FIRST_CLIENT: Token = Token(16);
