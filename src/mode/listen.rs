//! Listen, and have one session, with the first client; `-k` is in `serve.rs`.

use std::time::Instant;

use anyhow::{Context, Error, Result, bail};

use crate::{
    endpoint::{Datagram, EofDatagram, Peer, PeerFilter},
    event::{Event, Reactor, Slots},
    net::{Address, Listener, Transport, address::SocketFile, listener::is_exhausted},
    plan::Listen,
    pump::earlier,
    report::{self, Report},
    session::{
        Conversation, Names, Outcome, Setting, Summary,
        accept::{self, Accept, Acceptor, Arrived, MAX_HANDSHAKES, PendingHandshake},
        handle_signal, layered,
        messages::host_and_port,
        open,
        prepare::{self, Preparation},
        sandbox,
        tls::TlsContext,
    },
};

/// How far the mode is.
enum Stage<'a> {
    Preparing(Preparation<'a>),
    Accepting(Box<Accepting<'a>>),
    /// The peer is closed before a program that goes on.
    Talking(Box<Conversation<'a>>, Option<Box<dyn Peer>>),
}

/// Listens, and has the session.
pub fn run(plan: &Listen, report: &Report) -> Result<Outcome> {
    open::check(&plan.session)?;
    let dump = open::open_dump(&plan.session)?;
    let mut reactor = Reactor::new().context("set up the event loop")?;

    let token = reactor.token();
    let started = Instant::now();
    let mut now = started;
    let setting = Setting { plan: &plan.session, dump: dump.as_ref(), token, report };
    let mut stage = Stage::Preparing(Preparation::new(plan, token));
    // The name of a UNIX socket, which goes when the session is over.
    let mut _file = None;
    loop {
        if let Stage::Preparing(preparation) = &mut stage {
            if let Some((addresses, access)) = preparation.advance(&reactor, now)? {
                let (listener, tls) = prepare::listen(plan, &addresses, access, false, report)?;
                sandbox::enter(&plan.session, &listener.addresses(), report);
                reactor.wake_at(token, None);
                (stage, _file) = match unaccepted_peer(plan, &addresses)? {
                    Some((filter, address)) => unaccepted(setting, listener, filter, address, &mut reactor)?,
                    None => (Stage::accepting(setting, listener, tls, &reactor, now)?, None),
                };
            } else {
                reactor.wake_at(token, preparation.deadline());
            }
        }
        if let Stage::Accepting(accepting) = &mut stage
            && let Some((peer, names)) = accepting.advance(&mut reactor, now)?
        {
            // Dropping the acceptor closes the listener, so that its backlog is refused and not left waiting.
            reactor.wake_at(token, None);
            stage = talking(setting, peer, names, &mut reactor)?;
        }
        if let Stage::Talking(conversation, peer) = &mut stage {
            if let Some(outcome) = conversation.advance(peer.as_deref_mut(), &mut reactor, now) {
                return Ok(outcome);
            }
            if !conversation.needs_peer() {
                *peer = None;
            }
        }

        let events = reactor.wait()?;
        now = Instant::now();
        for event in events {
            match (&mut stage, event) {
                (Stage::Talking(conversation, peer), event) => {
                    conversation.hear(event, peer.as_deref_mut(), now);
                }
                (Stage::Preparing(_) | Stage::Accepting(_), Event::Signal(signal)) => {
                    if let Some(outcome) = handle_signal(signal) {
                        let transport = plan.session.transport.name();
                        Summary::of_unstarted(None, transport, signal, now - started).print(report, false);
                        return Ok(outcome);
                    }
                }
                _ => {}
            }
        }
    }
}

impl<'a> Stage<'a> {
    fn accepting(
        setting: Setting<'a>,
        listener: Listener,
        tls: Option<TlsContext>,
        reactor: &Reactor,
        now: Instant,
    ) -> Result<Self> {
        let acceptor = Acceptor::new(listener, reactor, setting.token)?;
        let deadline = setting.plan.idle.map(|idle| now + idle);
        let handshakes = Slots::default();
        Ok(Self::Accepting(Box::new(Accepting { setting, acceptor, tls, deadline, handshakes })))
    }
}

/// Begins the session of a socket on which no peer is accepted. Returns the name of a UNIX socket too.
fn unaccepted<'a>(
    setting: Setting<'a>,
    listener: Listener,
    filter: PeerFilter,
    address: Address,
    reactor: &mut Reactor,
) -> Result<(Stage<'a>, Option<SocketFile>)> {
    let plan = setting.plan;
    let local = listener.addresses().swap_remove(0);
    let names = Names::new(plan, address, local);
    let (socket, file) = listener.into_socket();
    let eof = EofDatagram { send: plan.send_eof_datagram, honor: plan.honor_eof_datagram };
    let peer = Box::new(Datagram::new(socket, filter, eof));
    Ok((talking(setting, peer, names, reactor)?, file))
}

fn talking<'a>(
    setting: Setting<'a>,
    mut peer: Box<dyn Peer>,
    names: Names,
    reactor: &mut Reactor,
) -> Result<Stage<'a>> {
    let (host, port) = (names.local.host(), names.local.port());
    let conversation = Conversation::begin(setting, &mut *peer, names, (&host, port), reactor)?;
    Ok(Stage::Talking(Box::new(conversation), Some(peer)))
}

/// Returns the peer of a socket on which none is accepted: a group, or, for UNIX datagrams, the first sender.
fn unaccepted_peer(plan: &Listen, addresses: &[Address]) -> Result<Option<(PeerFilter, Address)>> {
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

/// The wait for the first client. A client that is silent in its handshake holds up no other.
struct Accepting<'a> {
    setting: Setting<'a>,
    acceptor: Acceptor,
    tls: Option<TlsContext>,
    /// When no client will have connected for `-w`.
    deadline: Option<Instant>,
    handshakes: Slots<PendingHandshake>,
}

impl Accepting<'_> {
    /// Accepts clients, and goes on with their handshakes. Returns the first that is ready.
    fn advance(&mut self, reactor: &mut Reactor, now: Instant) -> Result<Option<(Box<dyn Peer>, Names)>> {
        if let Some(client) = self.accept(reactor, now)? {
            return Ok(Some(client));
        }
        if let Some(client) = self.continue_handshakes(reactor, now)? {
            return Ok(Some(client));
        }

        // -w waits for a client; one that is in its handshake has come.
        if !self.handshakes.is_empty() {
            reactor.wake_at(self.setting.token, self.acceptor.backoff());
            return Ok(None);
        }
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            bail!("nobody came within {} s", self.setting.plan.idle.unwrap_or_default().as_secs_f64())
        }
        reactor.wake_at(self.setting.token, earlier(self.deadline, self.acceptor.backoff()));
        Ok(None)
    }

    fn accept(&mut self, reactor: &mut Reactor, now: Instant) -> Result<Option<(Box<dyn Peer>, Names)>> {
        while self.handshakes.len() < MAX_HANDSHAKES {
            let accepted = match self.acceptor.try_accept(&|_| false, now, self.setting.report) {
                Ok(Some(Arrived::Client(accepted))) => accepted,
                // Datagrams of known peers: there is none.
                Ok(Some(Arrived::Datagram { .. })) => continue,
                Ok(None) => return Ok(None),
                // The handshakes hold descriptors, and each gives its own back when it fails.
                Err(error) if is_exhausted(&error) && !self.handshakes.is_empty() => {
                    self.acceptor.pause(reactor, now);
                    return Ok(None);
                }
                Err(error) => return Err(error).context("accept a client"),
            };
            self.setting.report.verbose(format!("Connection received on {}", host_and_port(&accepted.peer)));

            let names = Names::new(self.setting.plan, accepted.peer.clone(), accepted.local.clone());
            match accept::peer(self.setting.plan, accepted, self.tls.as_ref(), now) {
                Ok(Accept::Peer(peer)) => return Ok(Some((peer, names))),
                Ok(Accept::Handshake(handshake)) => {
                    let token = reactor.token();
                    match handshake.watch(reactor, token) {
                        Ok(handshake) => self.handshakes.insert(token, PendingHandshake { handshake, names }),
                        Err(error) => complain(&names, &error, self.setting.report),
                    }
                }
                Err(error) => complain(&names, &error, self.setting.report),
            }
        }
        Ok(None)
    }

    fn continue_handshakes(
        &mut self,
        reactor: &mut Reactor,
        now: Instant,
    ) -> Result<Option<(Box<dyn Peer>, Names)>> {
        let before = self.handshakes.len();
        for token in self.handshakes.tokens() {
            let Some(PendingHandshake { handshake, .. }) = self.handshakes.get_mut(token) else { continue };
            let advanced = handshake.advance(now);
            if let Ok(false) = advanced {
                reactor.wake_at(token, Some(handshake.deadline()));
                continue;
            }

            reactor.wake_at(token, None);
            let Some(PendingHandshake { handshake, names }) = self.handshakes.remove(token) else { continue };
            match advanced {
                Ok(_) => {
                    let peer = layered(handshake.finish(self.setting.report), self.setting.plan)?;
                    return Ok(Some((peer, names)));
                }
                Err(error) => complain(&names, &error, self.setting.report),
            }
        }

        // Another client may have waited for the place.
        if self.handshakes.len() < before {
            self.acceptor.resume(reactor);
        }
        Ok(None)
    }
}

/// Reports a client that has failed: another one is waited for.
fn complain(names: &Names, error: &Error, report: &Report) {
    report.error(format!("{}: {}", host_and_port(&names.peer), report::sentence(error)));
}
