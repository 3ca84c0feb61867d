//! From a listener to peers: accepting, pausing where descriptors run out, and handshakes that hold up no other client.

use std::{
    io,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{
    Names,
    messages::denied,
    tls::{TlsContext, TlsHandshake},
};
use crate::{
    endpoint::{Datagram, EofDatagram, Peer, PeerFilter, Stream},
    event::{Reactor, Token},
    net::{Accepted, Address, Arrival, Isolation, Listener, Transport, listener::is_exhausted},
    plan,
    report::Report,
    session::layered,
    sys,
};

/// A listener, and the pauses in accepting.
#[derive(Debug)]
pub struct Acceptor {
    listener: Listener,
    token: Token,
    /// Descriptors that must be free before a client is accepted, its own included.
    reserve: usize,
    /// There were no descriptors left: the next attempt is made then, or when a client has left.
    backoff: Option<Instant>,
}

/// The result of accepting.
#[derive(Debug)]
pub enum Arrived {
    Client(Accepted),
    /// A datagram of a peer that was accepted before.
    Datagram {
        peer: Address,
        bytes: Vec<u8>,
    },
}

impl Acceptor {
    /// Watches a listener under `token`.
    pub fn new(mut listener: Listener, reactor: &Reactor, token: Token) -> io::Result<Self> {
        for socket in listener.sockets() {
            reactor.watch(token, socket)?;
        }
        Ok(Self { listener, token, reserve: 1, backoff: None })
    }

    /// Accepts clients only while this many descriptors are free: a client that takes more than its own is better left
    /// in the backlog than turned away.
    pub fn with_reserve(mut self, descriptors: usize) -> Self {
        self.reserve = descriptors;
        self
    }

    /// Accepts the next client; `None` if none is waiting, or accepting pauses, as it does after errors. `known` tells
    /// whether a peer of datagrams is still served.
    pub fn accept(
        &mut self,
        known: &dyn Fn(&Address) -> bool,
        reactor: &mut Reactor,
        now: Instant,
        report: &Report,
    ) -> Option<Arrived> {
        self.try_accept(known, now, report).unwrap_or_else(|error| {
            report.verbose(format!("remote: accept a client: {}; waiting", sys::reason(&error)));
            self.pause(reactor, now);
            None
        })
    }

    /// Accepts the next client; `None` if none is waiting, or accepting pauses. Clients that are not admitted are
    /// reported with `-v`. Fails if there is no descriptor for a client, which stays in the backlog: accept(2), EMFILE.
    pub fn try_accept(
        &mut self,
        known: &dyn Fn(&Address) -> bool,
        now: Instant,
        report: &Report,
    ) -> io::Result<Option<Arrived>> {
        if self.backoff.is_some_and(|until| now < until) {
            return Ok(None);
        }
        // The pause is over; if descriptors are still missing, the next error starts another.
        self.backoff = None;

        loop {
            // accept(2) itself tells whether there is a descriptor for the client alone.
            if self.reserve > 1 {
                sys::can_open(self.reserve)?;
            }
            match self.listener.accept(known)? {
                Some(Arrival::Accepted(accepted)) => return Ok(Some(Arrived::Client(accepted))),
                Some(Arrival::Datagram { peer, bytes }) => {
                    return Ok(Some(Arrived::Datagram { peer, bytes }));
                }
                Some(Arrival::Denied(peer)) => report.verbose(denied(&peer)),
                Some(Arrival::Unreachable { peer, error }) => {
                    report.verbose(format!("remote: answer {peer}: {}", sys::reason(&error)));
                }
                None => return Ok(None),
            }
        }
    }

    /// Accepts the next client of a listener for streams, which has no datagrams.
    pub fn accept_stream(
        &mut self,
        reactor: &mut Reactor,
        now: Instant,
        report: &Report,
    ) -> Option<Accepted> {
        loop {
            match self.accept(&|_| false, reactor, now, report)? {
                Arrived::Client(accepted) => return Some(accepted),
                Arrived::Datagram { .. } => {}
            }
        }
    }

    /// Pauses accepting.
    pub fn pause(&mut self, reactor: &mut Reactor, now: Instant) {
        let until = now + ACCEPT_BACKOFF;
        self.backoff = Some(until);
        reactor.wake_at(self.token, Some(until));
    }

    /// Ends a pause: a client has left, and with it its descriptors.
    pub fn resume(&mut self, reactor: &mut Reactor) {
        self.backoff = None;
        reactor.again(self.token);
    }

    /// Returns when a pause ends; `None` without one.
    pub fn backoff(&self) -> Option<Instant> {
        self.backoff
    }

    /// Returns the token of the listener.
    pub fn token(&self) -> Token {
        self.token
    }

    /// Returns the local addresses, ports included.
    pub fn addresses(&self) -> Vec<Address> {
        self.listener.addresses()
    }

    /// Returns the listener.
    pub fn listener(&mut self) -> &mut Listener {
        &mut self.listener
    }
}

/// A client whose TLS handshake is under way.
#[derive(Debug)]
pub struct PendingHandshake {
    pub handshake: TlsHandshake,
    pub names: Names,
}

/// A client that was accepted.
pub enum Accept {
    /// It is ready for its session.
    Peer(Box<dyn Peer>),
    /// Its handshake comes first.
    Handshake(TlsHandshake),
}

/// Makes a peer of an accepted client, or begins its handshake.
pub fn peer(
    plan: &plan::Session,
    accepted: Accepted,
    tls: Option<&TlsContext>,
    now: Instant,
) -> Result<Accept> {
    Ok(match (plan.transport, tls) {
        // `plan` refuses TLS over datagrams.
        (Transport::Datagram, _) => Accept::Peer(Box::new(datagram(plan, accepted))),
        (Transport::Stream, None) => Accept::Peer(layered(Box::new(Stream::new(accepted.socket)), plan)?),
        (Transport::Stream, Some(tls)) => {
            Accept::Handshake(tls.begin(Stream::new(accepted.socket), plan.idle, now)?)
        }
    })
}

fn datagram(plan: &plan::Session, accepted: Accepted) -> Datagram {
    let eof = EofDatagram { send: plan.send_eof_datagram, honor: plan.honor_eof_datagram };
    let filter = match accepted.isolation {
        Isolation::Full => PeerFilter::Connected,
        Isolation::None(only) => PeerFilter::First(Some(only)),
        // connect(2) keeps the datagrams that other senders had queued before it.
        Isolation::Pending(peer) => PeerFilter::settling(peer, &accepted.socket),
    };
    Datagram::new(accepted.socket, filter, eof).with_queued(accepted.queued)
}

/// Returns whether an error says that descriptors or memory have run out.
pub fn is_out_of_descriptors(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(is_exhausted)
}

/// How long accepting pauses when there are no descriptors left.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(500);

/// Handshakes at once: clients beyond them wait in the backlog.
pub const MAX_HANDSHAKES: usize = 256;
