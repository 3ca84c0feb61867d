//! TLS as the plan has it: set up before anything goes over the network, and agreed on before a session.

use std::{
    io,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::heed;
use crate::{
    endpoint::{Connection, Peer, Stream, Tls, layer},
    event::{Event, Reactor, Token},
    net::{Address, interface},
    plan::{
        Target,
        tls::{Tls as Plan, Trust as Whom},
    },
    pump::earlier,
    report::Report,
    tls::{self, Identity, Pin, Roots, Trust},
};

/// Our side of TLS, ready for connections.
#[derive(Debug)]
pub enum Security {
    Client(tls::Client),
    Server(tls::Server),
}

impl Security {
    /// For connecting to `to`.
    pub fn client(plan: &Plan, to: &Target, report: &Report) -> Result<Self> {
        if plan.trust == Whom::Unverified {
            report.note("the other side is not verified (--tls-insecure)");
        }
        let host = match (&plan.name, to) {
            (Some(name), _) => name,
            // The scope of an address is a matter of this machine.
            (None, Target::Host { host, .. }) => host.split('%').next().unwrap_or(host),
            (None, Target::Unix(_)) => "localhost",
        };
        Ok(Self::Client(tls::client(&trust(plan), own(plan)?, &plan.alpn, host)?))
    }

    /// For a listener. One without a certificate makes one, and says the command for the other side: the program, the
    /// options of TLS, where to, and what else it takes.
    pub fn server(
        plan: &Plan,
        addresses: &[Address],
        command: (&str, &str),
        report: &Report,
    ) -> Result<Self> {
        let clients = trust(plan);
        let clients = (plan.trust != Whom::Unverified).then_some(&clients);
        let (identity, invitation) = match own(plan)? {
            Some(identity) => (identity, None),
            None => make(addresses, command).map(|(identity, invitation)| (identity, Some(invitation)))?,
        };
        let pin = identity.pin()?;
        let server = tls::server(identity, clients, &plan.alpn)?;
        if let Some(invitation) = invitation {
            report.result(invitation);
        }
        report.verbose(format!("TLS: our key is {pin}"));
        Ok(Self::Server(server))
    }

    /// Begins TLS on a connection; it may take no longer than `limit`, or than is usual.
    pub fn begin(&self, stream: Stream, limit: Option<Duration>) -> Result<Handshake> {
        let patience = limit.map_or(PATIENCE, |limit| limit.min(PATIENCE));
        let tls = match self {
            Self::Client(client) => Tls::client(stream, client),
            Self::Server(server) => Tls::server(stream, server),
        };
        Ok(Handshake { tls: Box::new(tls.context("TLS")?), patience, limit: Instant::now() + patience })
    }

    /// Begins TLS on a connection, and leaves it to reading and writing to agree on it.
    pub fn begin_at_once(&self, connection: Connection) -> Result<Connection> {
        match connection {
            Connection::Plain(stream) => Ok(Connection::Secure(self.begin(stream, None)?.tls)),
            Connection::Secure(_) => Ok(connection),
        }
    }
}

/// Has TLS agreed on over a connection, before `limit`.
pub fn secure(
    security: &Security,
    connection: Connection,
    reactor: &mut Reactor,
    token: Token,
    limit: Option<Instant>,
    report: &Report,
) -> Result<Connection> {
    let Connection::Plain(stream) = connection else { return Ok(connection) };
    let mut handshake = security.begin(stream, None)?;
    loop {
        let now = Instant::now();
        if handshake.go_on(now)? {
            reactor.wake_at(token, None);
            return Ok(handshake.finish(report));
        }
        if limit.is_some_and(|limit| now >= limit) {
            bail!("TLS: timed out");
        }
        reactor.wake_at(token, earlier(Some(handshake.limit), limit));
        for event in reactor.wait()? {
            if let Event::Signal(signal) = event {
                heed(signal)?;
            }
        }
    }
}

/// TLS that is not agreed on yet.
#[derive(Debug)]
pub struct Handshake {
    tls: Box<Tls<Stream>>,
    patience: Duration,
    /// It is given up then.
    pub limit: Instant,
}

impl Handshake {
    /// The stream, to be watched.
    pub fn stream_mut(&mut self) -> &mut Stream {
        self.tls.below_mut()
    }

    /// Goes on; `Ok(false)` says that the other side has to say something first.
    pub fn go_on(&mut self, now: Instant) -> Result<bool> {
        match self.tls.shake_hands() {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if now >= self.limit {
                    bail!("TLS: no handshake within {} s", self.patience.as_secs_f64());
                }
                Ok(false)
            }
            Err(error) => Err(error).context("TLS"),
        }
    }

    /// What was agreed on, told with `-v`; and the connection, ready for a session.
    pub fn finish(self, report: &Report) -> Connection {
        if report.verbose > 0 {
            let agreement = self.tls.agreement();
            let mut text = format!("{}, {}", agreement.version, agreement.suite);
            if let Some(alpn) = &agreement.alpn {
                text += &format!(", {alpn}");
            }
            if let Some((names, pin)) = &agreement.peer {
                let names = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
                text += &format!("; the peer's certificate is for {names}, its key is {pin}");
            }
            report.verbose(text);
        }
        Connection::Secure(self.tls)
    }
}

/// What TLS was, for `--json`.
#[derive(Debug, Serialize)]
pub struct Told {
    pub version: &'static str,
    pub suite: String,
    pub alpn: Option<String>,
    /// The pin of the peer's key.
    pub peer: Option<String>,
}

impl Told {
    /// Of a peer; `None` without TLS.
    pub fn of(peer: &Peer) -> Option<Self> {
        let connection = match peer {
            Peer::Connection(connection) => connection,
            Peer::Mailbox(mailbox) => mailbox.connection(),
            Peer::Datagram(_) => return None,
        };
        let Connection::Secure(tls) = connection else { return None };
        let layer::tls::Agreement { version, suite, alpn, peer } = tls.agreement();
        Some(Self { version, suite, alpn, peer: peer.map(|(_, pin)| pin.to_string()) })
    }
}

fn trust(plan: &Plan) -> Trust {
    let roots = match &plan.trust {
        Whom::Pins | Whom::Unverified => Roots::Anybody,
        Whom::CaFile(path) => Roots::File(path.clone()),
        Whom::System => Roots::System,
    };
    Trust { roots, pins: plan.pins.iter().copied().map(Pin).collect() }
}

fn own(plan: &Plan) -> Result<Option<Identity>> {
    plan.identity.as_ref().map(|(certificate, key)| Identity::load(certificate, key)).transpose()
}

/// Makes a certificate, and the command for the other side.
fn make(addresses: &[Address], (program, rest): (&str, &str)) -> Result<(Identity, String)> {
    let address = addresses.first().context("there is no address to listen at")?;
    let (mut names, place) = match address {
        Address::Inet(inet) if inet.ip().is_unspecified() => {
            let host = interface::reachable(inet.is_ipv6()).to_string();
            (vec![host.clone()], format!("{host} {}", inet.port()))
        }
        Address::Inet(inet) => {
            let host = address.host();
            (vec![inet.ip().to_string()], format!("{host} {}", inet.port()))
        }
        Address::Name { .. } | Address::Unix(_) => {
            let place = format!("unix:{}", address.host());
            // A path can hold anything but what no path holds.
            (Vec::new(), shlex::try_quote(&place).map(Into::into).unwrap_or_default())
        }
    };
    names.push("localhost".into());
    let identity = Identity::make(names)?;
    let pin = identity.pin()?;
    Ok((identity, format!("on the other side run: {program} --tls --tls-pin {pin} {place}{rest}")))
}

/// How long a handshake may take.
const PATIENCE: Duration = Duration::from_secs(10);
