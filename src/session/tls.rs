//! TLS of the plan: set up before anything goes over the network, and negotiated before a session.

use std::{
    io,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    endpoint::{Endpoint, Peer, Stream, Tls},
    event::{Reactor, Token},
    net::{Address, interface},
    plan::{Target, tls as plan},
    report::Report,
    tls::{self, Identity, Pin, Roots, Trust},
};

/// The local side of TLS, ready for connections.
#[derive(Debug)]
pub enum TlsContext {
    Client(tls::TlsClient),
    Server(tls::TlsServer),
}

impl TlsContext {
    /// Sets up a client that connects to `to`.
    pub fn client(plan: &plan::Tls, to: &Target, report: &Report) -> Result<Self> {
        if plan.trust == plan::Trust::Unverified {
            report.note("the other side is not verified (--tls-insecure)");
        }
        let host = match (&plan.name, to) {
            (Some(name), _) => name,
            // The scope of a link-local address has no meaning on another machine.
            (None, Target::Host { host, .. }) => host.split('%').next().unwrap_or(host),
            (None, Target::Unix(_)) => "localhost",
        };
        Ok(Self::Client(tls::client(&trust(plan), identity(plan)?, &plan.alpn, host)?))
    }

    /// Sets up a listener. One without a certificate makes one, and prints the command for the other side, of which
    /// `command` is the program and its last options.
    pub fn server(
        plan: &plan::Tls,
        addresses: &[Address],
        command: (&str, &str),
        report: &Report,
    ) -> Result<Self> {
        let clients = trust(plan);
        let clients = (plan.trust != plan::Trust::Unverified).then_some(&clients);

        let (identity, invitation) = match identity(plan)? {
            Some(identity) => (identity, None),
            None => {
                self_signed(addresses, command).map(|(identity, invitation)| (identity, Some(invitation)))?
            }
        };

        let pin = identity.pin()?;
        let server = tls::server(identity, clients, &plan.alpn)?;

        // Printed last: a client that follows it finds a server that has been set up.
        if let Some(invitation) = invitation {
            report.result(invitation);
        }
        report.verbose(format!("TLS: our key is {pin}"));
        Ok(Self::Server(server))
    }

    /// Begins a handshake; it may take as long as `limit`, but not longer than usual.
    pub fn begin(&self, stream: Stream, limit: Option<Duration>, now: Instant) -> Result<TlsHandshake> {
        let timeout = limit.map_or(HANDSHAKE_TIMEOUT, |limit| limit.min(HANDSHAKE_TIMEOUT));
        let tls = Box::new(self.layer(stream)?);
        Ok(TlsHandshake { tls, timeout, deadline: now + timeout })
    }

    /// Puts TLS over a connection, and leaves the handshake to the first reads and writes.
    pub fn layer(&self, stream: Stream) -> Result<Tls<Stream>> {
        let tls = match self {
            Self::Client(client) => Tls::client(stream, client),
            Self::Server(server) => Tls::server(stream, server),
        };
        tls.context("TLS")
    }
}

/// A handshake that is under way.
#[derive(Debug)]
pub struct TlsHandshake {
    tls: Box<Tls<Stream>>,
    timeout: Duration,
    deadline: Instant,
}

impl TlsHandshake {
    /// Watches the connection under `token`.
    pub fn watch(mut self, reactor: &Reactor, token: Token) -> Result<Self> {
        if let Some(descriptor) = self.tls.descriptor_mut() {
            reactor.watch(token, descriptor).context("watch the socket")?;
        }
        Ok(self)
    }

    /// Returns whether the connection has been reset, or given up by the peer.
    pub fn is_broken(&mut self) -> bool {
        self.tls.broken().is_some()
    }

    /// Goes on as long as nothing blocks. Returns whether the handshake is over; fails if it took too long.
    pub fn advance(&mut self, now: Instant) -> Result<bool> {
        match self.tls.handshake() {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if now >= self.deadline {
                    bail!("TLS: no handshake within {} s", self.timeout.as_secs_f64());
                }
                Ok(false)
            }
            Err(error) => Err(error).context("TLS"),
        }
    }

    /// Returns when it has taken too long.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Returns the peer, ready for a session, and prints with `-v` what was negotiated.
    pub fn finish(self, report: &Report) -> Box<Tls<Stream>> {
        if let Some(info) = self.tls.tls().filter(|_| report.verbose > 0) {
            let mut text = format!("{}, {}", info.version, info.suite);
            if let Some(alpn) = &info.alpn {
                text += &format!(", {alpn}");
            }
            if let Some((names, pin)) = &info.certificate {
                let names = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
                text += &format!("; the peer's certificate is for {names}, its key is {pin}");
            }
            report.verbose(text);
        }
        self.tls
    }
}

fn trust(plan: &plan::Tls) -> Trust {
    let roots = match &plan.trust {
        plan::Trust::Pins | plan::Trust::Unverified => Roots::Any,
        plan::Trust::CaFile(path) => Roots::File(path.clone()),
        plan::Trust::System => Roots::System,
    };
    Trust { roots, pins: plan.pins.iter().copied().map(Pin).collect() }
}

fn identity(plan: &plan::Tls) -> Result<Option<Identity>> {
    plan.identity.as_ref().map(|(certificate, key)| Identity::load(certificate, key)).transpose()
}

/// Makes a certificate, and the command to run on the other side.
fn self_signed(addresses: &[Address], (program, options): (&str, &str)) -> Result<(Identity, String)> {
    let address = addresses.first().context("there is no address to listen at")?;
    let (mut names, place) = match address {
        // From another machine, 0.0.0.0 and :: cannot be connected to, and no certificate is for them.
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
            // Quoting fails only for NUL, which no path holds.
            (Vec::new(), shlex::try_quote(&place).map(Into::into).unwrap_or_default())
        }
    };

    // A client may check the name in spite of the pin.
    names.push("localhost".into());
    let identity = Identity::make(names)?;
    let pin = identity.pin()?;
    Ok((identity, format!("on the other side run: {program} --tls --tls-pin {pin} {place}{options}")))
}

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
