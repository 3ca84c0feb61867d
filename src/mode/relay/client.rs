//! A client of the relay: our side, and a mailbox.

use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::secrets::first_line;
use crate::{
    endpoint::{Connection, Input, LONGEST_LINE, Mailbox, Peer, Post},
    event::{Reactor, Token},
    net::Address,
    plan::{self, Connect, Direction, RelayClient},
    proto::relay::{MAX_STORED, is_name},
    pump::{Cut, Ending, Flow, Pace, Pump, Shape, Source},
    report::Report,
    session::{
        self, Names, Session,
        dial::{self, keep_trying},
        open,
        tls::{Security, secure},
    },
};

/// Registers, and sends and receives.
pub fn run(plan: &RelayClient, report: &Report) -> Result<bool> {
    let connect = &plan.connect;
    open::check(&connect.session)?;
    let mut post = post(plan)?;
    let mut reactor = Reactor::new().context("set up the event loop")?;
    let security = match &connect.tls {
        Some(tls) => Some(Security::client(tls, &connect.to, report)?),
        None => None,
    };
    let (connection, address) = reach(connect, security.as_ref(), &mut reactor, report)?;
    let local_address = Address::from(&connection.stream().socket().socket().local_addr()?);
    report.detail(format!("from {local_address}"));

    let host = address.host();
    let mut local = open::open(&connect.session, (&host, address.port()), &reactor.waker(SESSION))?;
    local.watch(&reactor, SESSION).context("watch stdin and stdout")?;
    let source = open::source(&local.input);
    let typed = source == Source::Terminal;
    if typed {
        local.set_prompt(format!("{}> ", plan.name));
    }
    post.strips = (typed || plan.to.is_none()) && !connect.session.lines;
    post.forgives = typed;
    let lines = match (post.strips || plan.to.is_none(), connect.session.lines) {
        (true, _) => Some(LONGEST_LINE),
        (false, true) => Some(MAX_STORED),
        (false, false) => None,
    };

    let now = Instant::now();
    let mut mailbox = Mailbox::new(connection, post, connect.retry > 0, now);
    reactor.watch(SESSION, mailbox.connection_mut().stream_mut().socket_mut()).context("watch the socket")?;
    let inbound = open::inbound(&connect.session, &address, None)?;
    let outbound = match local.input {
        Input::Nothing => None,
        _ => Some(outbound(&connect.session, lines, source)?),
    };
    let pump =
        Pump { inbound: Flow::new(inbound, now), outbound: outbound.map(|shape| Flow::new(shape, now)) };
    let names = Names::new(&connect.session, address, local_address);
    let peer = Peer::Mailbox(Box::new(mailbox));
    let mut session = Session::new(peer, pump, ending(&connect.session, source), names, now);

    let mut attempts = Attempts {
        connect,
        security: security.as_ref(),
        name: &plan.name,
        left: connect.retry,
        registered: false,
        report,
    };
    session::run_with(&mut reactor, SESSION, &mut session, &mut local, report, |session, reactor| {
        match session.peer() {
            Peer::Mailbox(mailbox) => attempts.look_after(mailbox, reactor),
            Peer::Connection(_) | Peer::Datagram(_) => Ok(()),
        }
    })
}

/// Connects to the relay, and has TLS agreed on.
fn reach(
    connect: &Connect,
    security: Option<&Security>,
    reactor: &mut Reactor,
    report: &Report,
) -> Result<(Connection, Address)> {
    let deadline = connect.timeout.map(|timeout| Instant::now() + timeout);
    let (socket, address) = keep_trying(connect, reactor, report)?;
    let mut connection = Connection::plain(socket);
    if let Some(security) = security {
        reactor.watch(SESSION, connection.stream_mut().socket_mut()).context("watch the socket")?;
        connection = secure(security, connection, reactor, SESSION, deadline, report)
            .with_context(|| format!("connect to {}", connect.to))?;
    }
    Ok((connection, address))
}

/// How often we have tried, and may still try, to be registered.
struct Attempts<'a> {
    connect: &'a Connect,
    security: Option<&'a Security>,
    name: &'a str,
    left: u64,
    registered: bool,
    report: &'a Report,
}

impl Attempts<'_> {
    /// Says what there is to say of a mailbox, and finds it another relay if it has lost its own.
    fn look_after(&mut self, mailbox: &mut Mailbox, reactor: &mut Reactor) -> Result<()> {
        for complaint in mailbox.complaints() {
            self.report.error(complaint);
        }
        if mailbox.is_registered() && !self.registered {
            self.registered = true;
            self.report.verbose(format!("registered as {}", self.name));
            self.left = self.connect.retry;
            mailbox.set_waits(self.left > 0);
        }
        let Some(why) = mailbox.gone() else { return Ok(()) };
        if self.left == 0 {
            return Ok(());
        }
        let lost = match mailbox.unheard() {
            0 => String::new(),
            n => format!(" ({n} messages may be lost)"),
        };
        self.report.note(format!("{why}; trying again{lost}"));
        self.left -= 1;
        self.registered = false;
        dial::sleep(reactor, Instant::now() + dial::RETRY)?;
        let (connection, _) = reach(self.connect, self.security, reactor, self.report)?;
        mailbox.renew(connection, Instant::now());
        mailbox.set_waits(self.left > 0);
        reactor
            .watch(SESSION, mailbox.connection_mut().stream_mut().socket_mut())
            .context("watch the socket")?;
        reactor.again(SESSION);
        Ok(())
    }
}

/// Names as they are written on the wire.
fn post(plan: &RelayClient) -> Result<Post> {
    let prefix = match &plan.token {
        Some(path) => [&first_line(path)?[..], b":"].concat(),
        None => Vec::new(),
    };
    let name = [&prefix[..], plan.name.as_bytes()].concat();
    let registration = match &plan.key {
        Some(path) => [&first_line(path)?[..], b":", &name].concat(),
        None => name.clone(),
    };
    let to = plan.to.as_ref().map(|to| [&prefix[..], to.as_bytes()].concat());
    if !is_name(&registration) || to.as_ref().is_some_and(|to| !is_name(to)) {
        bail!("a name is 255 bytes at most, with the token or the key");
    }
    let confirms = plan.connect.session.direction == Direction::Send;
    Ok(Post { registration, name, prefix, to, strips: false, forgives: false, confirms })
}

/// How our side becomes messages.
fn outbound(plan: &plan::Session, lines: Option<usize>, source: Source) -> Result<Shape> {
    let shape = open::outbound(plan, source, None)?;
    Ok(Shape {
        // The relay keeps no more than that together.
        cut: lines.map_or(Cut::AsRead, Cut::Lines),
        pace: Pace::new(plan.rate, None),
        sink_datagram: Some(lines.unwrap_or(MAX_STORED)),
        ..shape
    })
}

/// The relay's clients have no end of file, as datagrams have none.
fn ending(plan: &plan::Session, source: Source) -> Ending {
    Ending {
        datagrams: true,
        source,
        listening: true,
        half_open: false,
        send_only: plan.direction == Direction::Send,
        quiet: plan.quit,
        idle: plan.idle,
        silence: plan.idle,
        marks_end: false,
        met: false,
        lingers: false,
    }
}

const SESSION: Token = Token(0);
