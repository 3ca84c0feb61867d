//! Listen, and have one session; `-k` is in `serve.rs`.

use std::{io, time::Instant};

use anyhow::{Context, Result, bail};

use super::serve;
use crate::{
    endpoint::{Connection, Datagram, Ends, Input, Peer, PeerFilter},
    event::{Event, Reactor, Slots, Token},
    net::{
        Accepted, Access, Address, Arrival, Family, Listener, Transport,
        access::{Network, Rule},
        listener::is_exhausted,
    },
    plan::{Bind, Listen},
    report::{self, Report},
    session::{
        self, Names,
        accept::{Arriving, MOST_ARRIVING, announce, peer, refused, shown},
        dial::look_up,
        heed, open, program, sandbox,
        tls::Security,
    },
    sys,
};

/// Listens, and has the session, or the sessions: `max_clients` of them at once.
pub fn run(plan: &Listen, max_clients: Option<usize>, report: &Report) -> Result<bool> {
    open::check(&plan.session)?;
    let dump = open::open_dump(&plan.session)?;
    let mut reactor = Reactor::new().context("set up the event loop")?;
    let addresses = match &plan.at {
        Bind::Addresses(addresses) => addresses.clone(),
        Bind::Name { host, port } => {
            let limit = plan.session.idle.map(|idle| Instant::now() + idle);
            look_up(host, *port, &plan.socket_config, &mut reactor, limit)?
        }
    };
    let access = access(plan, &mut reactor)?;
    plan.check_exposure(&addresses)?;
    let random = addresses.iter().any(|address| address.port() == Some(0));
    let mut listener = Listener::bind(plan.socket_config.clone(), &addresses, max_clients.is_some())?;
    listener.restrict(access);
    announce(&listener.addresses(), random, report);
    let security = match &plan.tls {
        Some(tls) => {
            let rest = if plan.session.zstd.is_some() { " --zstd" } else { "" };
            Some(Security::server(tls, &listener.addresses(), ("remote", rest), report)?)
        }
        None => None,
    };
    sandbox::enter(&plan.session, &listener.addresses(), report);
    if let Some(max_clients) = max_clients {
        return serve::run(plan, max_clients, listener, security, reactor, dump.as_ref(), report);
    }
    let ends = Ends { mark: plan.session.send_eof_datagram, heed: plan.session.honor_eof_datagram };
    let (mut peer, names, _file) = if let Some((filter, address)) = alone(plan, &addresses)? {
        let own = listener.addresses().swap_remove(0);
        let names = Names::new(&plan.session, address, own);
        let (socket, file) = listener.into_socket();
        (Datagram::new(socket, filter, ends).into(), names, file)
    } else {
        for socket in listener.sockets() {
            reactor.watch(LISTENER, socket)?;
        }
        let (peer, names) = first(&mut listener, plan, security.as_ref(), &mut reactor, report)?;
        // Nobody else is let in.
        drop(listener);
        (peer, names, None)
    };
    if plan.session.program.is_some() {
        return program::run(&mut reactor, SESSION, peer, names, &plan.session, dump.as_ref(), report);
    }
    let own = (names.local.host(), names.local.port());
    let opened = open::open(&plan.session, (&own.0, own.1), &reactor.waker(SESSION));
    // What the peer has is not the whole.
    let mut local = opened.inspect_err(|_| peer.abort())?;
    local.watch(&reactor, SESSION).context("watch stdin and stdout")?;
    reactor.watch(SESSION, peer.socket_mut()).context("watch the socket")?;
    let source = open::source(&local.input);
    let sends = !matches!(local.input, Input::Nothing);
    let mut session = session::begin(&plan.session, peer, names, source, sends, dump.as_ref())?;
    session::run(&mut reactor, SESSION, &mut session, &mut local, report)
}

/// Who is let in, names looked up.
fn access(plan: &Listen, reactor: &mut Reactor) -> Result<Access> {
    let mut networks = |rules: &[Rule]| -> Result<Vec<Network>> {
        let mut networks = Vec::new();
        for rule in rules {
            match rule {
                Rule::Any => networks.extend([Family::V4, Family::V6].map(Network::all)),
                Rule::Network(network) => networks.push(*network),
                Rule::Name(name) => {
                    let limit = plan.session.idle.map(|idle| Instant::now() + idle);
                    for address in look_up(name, 0, &plan.socket_config, reactor, limit)? {
                        if let Address::Inet(inet) = address {
                            networks.push(Network::of(inet));
                        }
                    }
                }
            }
        }
        Ok(networks)
    };
    let allow = plan.access.allow.as_deref().map(&mut networks).transpose()?;
    Ok(Access { allow, deny: networks(&plan.access.deny)? })
}

/// Who is at the other end where nobody is accepted: a group, or, for UNIX datagrams, whoever is first.
fn alone(plan: &Listen, addresses: &[Address]) -> Result<Option<(PeerFilter, Address)>> {
    let address = addresses.first().cloned().context("there is no address to listen at")?;
    Ok(match (plan.session.transport, &address) {
        (Transport::Datagram, Address::Unix(_)) => Some((PeerFilter::First(None), Address::Unix("".into()))),
        (Transport::Datagram, _) if plan.socket_config.options.join.is_some() => {
            let group = plan.socket_config.scoped(&address)?;
            Some((PeerFilter::Group(group.to_sockaddr()?), group))
        }
        _ => None,
    })
}

/// Waits for the first client that is let in: who says nothing in a handshake holds up nobody.
fn first(
    listener: &mut Listener,
    plan: &Listen,
    security: Option<&Security>,
    reactor: &mut Reactor,
    report: &Report,
) -> Result<(Peer, Names)> {
    let plan = &plan.session;
    let limit = plan.idle.map(|idle| Instant::now() + idle);
    let mut arriving: Slots<Arriving> = Slots::new(FIRST_ARRIVAL);
    loop {
        while arriving.len() < MOST_ARRIVING {
            let accepted = match accept(listener, report) {
                Ok(Some(accepted)) => accepted,
                // When one of those has gone, there is room again.
                Err(error) if is_exhausted(&error) && !arriving.is_empty() => break,
                Err(error) => return Err(error).context("accept a client"),
                Ok(None) => break,
            };
            report.verbose(format!("Connection received on {}", shown(&accepted.peer)));
            let names = Names::new(plan, accepted.peer.clone(), accepted.local.clone());
            match (security, peer(plan, accepted)) {
                (Some(security), Peer::Connection(Connection::Plain(mut stream))) => {
                    let token = arriving.token();
                    let watched = reactor.watch(token, stream.socket_mut()).context("watch the socket");
                    match watched.and_then(|()| security.begin(stream, plan.idle)) {
                        Ok(handshake) => arriving.insert(token, Arriving { handshake, names }),
                        Err(error) => complain(&names, &error, report),
                    }
                }
                (_, peer) => return Ok((peer, names)),
            }
        }
        let before = arriving.len();
        let now = Instant::now();
        for token in arriving.tokens() {
            let Some(Arriving { handshake, .. }) = arriving.get_mut(token) else { continue };
            reactor.wake_at(token, Some(handshake.limit));
            let agreed = match handshake.go_on(now) {
                Ok(false) => continue,
                agreed => agreed,
            };
            reactor.wake_at(token, None);
            let Some(Arriving { handshake, names }) = arriving.remove(token) else { continue };
            match agreed {
                Ok(_) => return Ok((Peer::Connection(handshake.finish(report)), names)),
                Err(error) => complain(&names, &error, report),
            }
        }
        if arriving.len() < before {
            // Somebody may have waited for the place.
            reactor.again(LISTENER);
        }
        if arriving.is_empty() && limit.is_some_and(|limit| now >= limit) {
            bail!("nobody came within {} s", plan.idle.unwrap_or_default().as_secs_f64())
        }
        reactor.wake_at(LISTENER, limit.filter(|_| arriving.is_empty()));
        for event in reactor.wait()? {
            if let Event::Signal(signal) = event {
                heed(signal)?;
            }
        }
    }
}

/// It was not the one that is waited for.
fn complain(names: &Names, error: &anyhow::Error, report: &Report) {
    report.error(format!("{}: {}", shown(&names.peer), report::sentence(error)));
}

/// The next client, if there is one.
fn accept(listener: &mut Listener, report: &Report) -> io::Result<Option<Accepted>> {
    loop {
        match listener.accept(&|_| false)? {
            Some(Arrival::Accepted(accepted)) => return Ok(Some(accepted)),
            Some(Arrival::Denied(peer)) => report.verbose(refused(&peer)),
            Some(Arrival::Unreachable { peer, error }) => {
                report.verbose(format!("remote: answer {peer}: {}", sys::reason(&error)));
            }
            // Nobody is known yet.
            Some(Arrival::Datagram { .. }) => {}
            None => return Ok(None),
        }
    }
}

const SESSION: Token = Token(0);
const LISTENER: Token = Token(3);
const FIRST_ARRIVAL: Token = Token(16);
