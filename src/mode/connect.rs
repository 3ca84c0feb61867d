//! Connect, and have one session.

use std::time::Instant;

use anyhow::{Context, Result};

use super::succeeded;
use crate::{
    endpoint::{Input, Peer},
    event::{Reactor, Token},
    net::Address,
    plan::{Connect, Target},
    pump::earlier,
    report::Report,
    session::{
        self, Names,
        dial::{keep_trying, peer},
        open, program, sandbox,
        tls::{Security, secure},
    },
};

/// Connects, and has the session.
pub fn run(plan: &Connect, report: &Report) -> Result<bool> {
    open::check(&plan.session)?;
    let dump = open::open_dump(&plan.session)?;
    let mut reactor = Reactor::new().context("set up the event loop")?;
    if let Target::Host { port, random: true, .. } = &plan.to {
        report.note(format!("no port was given: port {port} was chosen at random"));
    }
    let security = match &plan.tls {
        Some(tls) => Some(Security::client(tls, &plan.to, report)?),
        None => None,
    };
    let deadline = plan.timeout.map(|timeout| Instant::now() + timeout);
    let (socket, address) = keep_trying(plan, &mut reactor, report)?;
    let local_address = Address::from(&socket.socket().local_addr()?);
    let whom = match &plan.to {
        Target::Host { host, port, .. } => (host.as_str(), Some(*port)),
        Target::Unix(path) => (path.to_str().unwrap_or("unix"), None),
    };
    if report.verbose > 0 {
        // Asking what the port is called opens files.
        report.verbose(succeeded(whom.0, &address, plan.session.transport));
    }
    report.detail(format!("from {local_address}"));

    sandbox::enter(&plan.session, &[], report);
    let mut peer = match (security, peer(plan, socket, &address)?) {
        (Some(security), Peer::Connection(mut connection)) => {
            reactor.watch(SESSION, connection.stream_mut().socket_mut()).context("watch the socket")?;
            let limit = earlier(deadline, plan.session.idle.map(|idle| Instant::now() + idle));
            let secured = secure(&security, connection, &mut reactor, SESSION, limit, report);
            Peer::Connection(secured.with_context(|| format!("connect to {}", plan.to))?)
        }
        (_, peer) => peer,
    };
    let names = Names::new(&plan.session, address, local_address);
    if plan.session.program.is_some() {
        return program::run(&mut reactor, SESSION, peer, names, &plan.session, dump.as_ref(), report);
    }
    reactor.watch(SESSION, peer.socket_mut()).context("watch the socket")?;
    let opened = open::open(&plan.session, whom, &reactor.waker(SESSION));
    // What the peer has is not the whole.
    let mut local = opened.inspect_err(|_| peer.abort())?;
    local.watch(&reactor, SESSION).context("watch stdin and stdout")?;
    let source = open::source(&local.input);
    let sends = !matches!(local.input, Input::Nothing);
    let mut session = session::begin(&plan.session, peer, names, source, sends, dump.as_ref())?;
    session::run(&mut reactor, SESSION, &mut session, &mut local, report)
}

const SESSION: Token = Token(0);
