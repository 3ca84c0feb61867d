//! Dialing: from a plan to a peer, through a proxy and TLS, and again after failures. A value that a mode's loop advances.

use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, bail};

pub use super::attempts::{ConnectAttempts, Resolving};

use super::{
    Outcome, Summary,
    flows::layered,
    handle_signal,
    proxy::{Password, PasswordPrompt, ProxyConnect},
    tls::{TlsContext, TlsHandshake},
};
use crate::{
    endpoint::{Datagram, EofDatagram, Peer, PeerFilter, Stream},
    event::{Reactor, Token},
    net::{Address, Transport},
    plan::{Connect, usage},
    proto::proxy::ProxyHandshake,
    pump::earlier,
    report::{self, Report},
    sys::{Descriptor, Signal},
};

/// A connection that is being made.
pub struct Dial<'a> {
    plan: &'a Connect,
    tls: Option<&'a TlsContext>,
    token: Token,
    started: Instant,
    /// `-T`: over all attempts together. `None` before the first one too: a password may take long to type.
    deadline: Option<Instant>,
    /// Of the attempt that is under way.
    limit: Option<Instant>,
    retries: u64,
    /// The handshake with the proxy, before it has begun.
    proxy: Option<ProxyHandshake>,
    state: DialState,
}

enum DialState {
    Password(PasswordPrompt),
    /// The name is looked up, and the addresses are tried.
    Connecting(Box<ConnectAttempts>),
    Proxy(ProxyConnect),
    /// The caller was told that there is a connection.
    Connected(Descriptor, Addresses),
    Tls(TlsHandshake, Addresses),
    /// The next attempt is made then.
    Pausing(Instant),
    Over,
}

/// The addresses of a connection.
#[derive(Clone, Debug)]
struct Addresses {
    address: Address,
    local: Address,
}

/// The result of a step.
pub enum Progress {
    Pending,
    /// There is a connection; TLS, if it was asked for, is still to come. Reported once.
    Connected {
        address: Address,
        local: Address,
    },
    Ready(Dialed),
}

/// A connection that was made.
pub struct Dialed {
    pub peer: Box<dyn Peer>,
    /// As it was asked for, where a proxy has connected to it.
    pub address: Address,
    pub local: Address,
}

impl<'a> Dial<'a> {
    /// Starts to dial. All descriptors are watched under `token`.
    pub fn start(
        plan: &'a Connect,
        tls: Option<&'a TlsContext>,
        reactor: &mut Reactor,
        token: Token,
        now: Instant,
    ) -> Result<Self> {
        let mut dial = Self {
            plan,
            tls,
            token,
            started: now,
            deadline: None,
            limit: None,
            retries: plan.retry,
            proxy: None,
            state: DialState::Over,
        };

        // The password is asked for before the proxy is kept waiting.
        if let Some(proxy) = &plan.proxy {
            match Password::find(proxy, reactor, token)? {
                Password::Known(password) => dial.set_password(&password)?,
                Password::Prompt(prompt) => {
                    dial.state = DialState::Password(prompt);
                    return Ok(dial);
                }
            }
        }
        dial.attempt(reactor, now)?;
        Ok(dial)
    }

    fn set_password(&mut self, password: &[u8]) -> Result<()> {
        let Some(proxy) = &self.plan.proxy else { return Ok(()) };
        match proxy.request.begin(password) {
            Ok(handshake) => self.proxy = Some(handshake),
            Err(invalid) => return usage(invalid.to_string()),
        }
        Ok(())
    }

    /// Starts an attempt.
    fn attempt(&mut self, reactor: &mut Reactor, now: Instant) -> Result<()> {
        // -T covers all attempts together; -w begins anew with each.
        self.deadline = self.deadline.or_else(|| self.plan.timeout.map(|timeout| now + timeout));
        self.limit = earlier(self.deadline, self.plan.session.idle.map(|idle| now + idle));
        // With a proxy, the addresses of the destination are the proxy's business: it may see others than we do.
        let to = self.plan.proxy.as_ref().map_or(&self.plan.to, |proxy| &proxy.at);
        let config = &self.plan.socket_config;
        let attempts = ConnectAttempts::start(to, config, self.limit, reactor, self.token, now)?;
        self.state = DialState::Connecting(Box::new(attempts));
        Ok(())
    }

    /// Does all that can be done now.
    pub fn advance(&mut self, reactor: &mut Reactor, now: Instant, report: &Report) -> Result<Progress> {
        loop {
            // A step leaves its next state behind; `Over` stays only where an error or a result ends the dial.
            let stepped = match std::mem::replace(&mut self.state, DialState::Over) {
                DialState::Password(prompt) => {
                    self.ask(prompt, reactor, now)?;
                    None
                }
                DialState::Pausing(until) if now >= until => {
                    self.attempt(reactor, now).or_else(|error| self.retry(error, now, report))?;
                    None
                }
                DialState::Pausing(until) => {
                    self.state = DialState::Pausing(until);
                    Some(Progress::Pending)
                }
                DialState::Connected(socket, addresses) => self.begin_session(socket, addresses, now)?,
                DialState::Tls(handshake, addresses) => {
                    Some(self.continue_handshake(handshake, addresses, now, report)?)
                }
                state => match self.connect(state, reactor, now, report) {
                    Ok(progress) => progress,
                    Err(error) => {
                        self.retry(error, now, report)?;
                        None
                    }
                },
            };

            if let Some(progress) = stepped {
                return Ok(progress);
            }
            if matches!(self.state, DialState::Password(_)) {
                return Ok(Progress::Pending);
            }
        }
    }

    /// Goes on with an attempt: the race, and then the proxy.
    fn connect(
        &mut self,
        state: DialState,
        reactor: &mut Reactor,
        now: Instant,
        report: &Report,
    ) -> Result<Option<Progress>> {
        match state {
            DialState::Connecting(mut attempts) => {
                let through_proxy = self.proxy.is_some();
                let reached = attempts.advance(reactor, now, report);
                let reached = if through_proxy { reached.context("reach the proxy") } else { reached }?;
                let Some((socket, address)) = reached else {
                    self.state = DialState::Connecting(attempts);
                    return Ok(Some(Progress::Pending));
                };

                // The handshake is cloned, because a retry begins it anew.
                match &self.proxy {
                    Some(handshake) => {
                        report.detail(format!("through the proxy {address}"));
                        self.state = DialState::Proxy(ProxyConnect::new(socket, handshake.clone()));
                        Ok(None)
                    }
                    None => self.connected(socket, address).map(Some),
                }
            }
            DialState::Proxy(mut proxy) => {
                if proxy.advance().with_context(|| self.through_proxy())? {
                    return self.connected(proxy.into_socket(), self.plan.to.address()).map(Some);
                }
                if self.limit.is_some_and(|limit| now >= limit) {
                    bail!("{}: timed out", self.through_proxy());
                }
                self.state = DialState::Proxy(proxy);
                Ok(Some(Progress::Pending))
            }
            _ => Ok(Some(Progress::Pending)),
        }
    }

    /// Plans another attempt, if there may be one.
    fn retry(&mut self, error: Error, now: Instant, report: &Report) -> Result<()> {
        // A retry that would begin after the deadline would only delay the error.
        let again = now + RETRY_DELAY;
        if self.retries == 0 || self.deadline.is_some_and(|deadline| again >= deadline) {
            return Err(error);
        }
        self.retries -= 1;
        report.verbose(format!("remote: {}; trying again", report::sentence(&error)));
        self.state = DialState::Pausing(again);
        Ok(())
    }

    fn ask(&mut self, mut prompt: PasswordPrompt, reactor: &mut Reactor, now: Instant) -> Result<()> {
        let Some(password) = prompt.advance()? else {
            self.state = DialState::Password(prompt);
            return Ok(());
        };
        // The terminal is given back before anything is waited for.
        drop(prompt);
        self.set_password(&password)?;
        self.attempt(reactor, now)
    }

    fn connected(&mut self, socket: Descriptor, address: Address) -> Result<Progress> {
        let local = Address::from(&socket.socket().local_addr()?);
        // Between TCP and TLS the caller announces the connection and enters the sandbox: TLS meets the network inside
        // it.
        let addresses = Addresses { address: address.clone(), local: local.clone() };
        self.state = DialState::Connected(socket, addresses);
        Ok(Progress::Connected { address, local })
    }

    /// Begins TLS, or is ready where there is none.
    fn begin_session(
        &mut self,
        socket: Descriptor,
        addresses: Addresses,
        now: Instant,
    ) -> Result<Option<Progress>> {
        let session = &self.plan.session;
        if self.plan.socket_config.transport == Transport::Datagram {
            // Answers to what a group was asked come from its members.
            let filter = match self.plan.socket_config.reaches_many(&addresses.address) {
                true => PeerFilter::Group(addresses.address.to_sockaddr()?),
                false => PeerFilter::Connected,
            };
            let eof = EofDatagram { send: session.send_eof_datagram, honor: session.honor_eof_datagram };
            return Ok(Some(ready(Box::new(Datagram::new(socket, filter, eof)), addresses)));
        }

        let stream = Stream::new(socket);
        match self.tls {
            Some(tls) => {
                // The handshake has the time that an attempt would have.
                self.limit = earlier(self.deadline, session.idle.map(|idle| now + idle));
                self.state = DialState::Tls(tls.begin(stream, None, now)?, addresses);
                Ok(None)
            }
            None => Ok(Some(ready(layered(Box::new(stream), session)?, addresses))),
        }
    }

    fn continue_handshake(
        &mut self,
        mut handshake: TlsHandshake,
        addresses: Addresses,
        now: Instant,
        report: &Report,
    ) -> Result<Progress> {
        let context = || format!("connect to {}", self.plan.to);
        if handshake.advance(now).with_context(context)? {
            return Ok(ready(layered(handshake.finish(report), &self.plan.session)?, addresses));
        }
        if self.limit.is_some_and(|limit| now >= limit) {
            bail!("connect to {}: TLS: timed out", self.plan.to);
        }
        self.state = DialState::Tls(handshake, addresses);
        Ok(Progress::Pending)
    }

    /// Obeys a signal. Returns the outcome if it is over, and prints the summary of a session that has not begun.
    pub fn handle_signal(
        &mut self,
        signal: Signal,
        transport: &'static str,
        now: Instant,
        report: &Report,
    ) -> Option<Outcome> {
        // The shell gets its terminal back as it was; after ctrl-Z, the next step asks again.
        let leaves = !matches!(signal, Signal::Child | Signal::Continue | Signal::Info);
        if let DialState::Password(prompt) = &mut self.state
            && leaves
        {
            prompt.release_terminal();
        }

        let outcome = handle_signal(signal)?;
        let to = Some(self.plan.to.address());
        Summary::of_unstarted(to, transport, signal, now - self.started).print(report, false);
        Some(outcome)
    }

    /// Returns when to advance even if nothing has happened.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            DialState::Connecting(attempts) => attempts.deadline(),
            DialState::Proxy(_) => self.limit,
            DialState::Tls(handshake, _) => earlier(Some(handshake.deadline()), self.limit),
            DialState::Pausing(until) => Some(*until),
            DialState::Connected(..) | DialState::Over | DialState::Password(_) => None,
        }
    }

    /// Returns the token of its descriptors.
    pub fn token(&self) -> Token {
        self.token
    }

    fn through_proxy(&self) -> String {
        let proxy = self.plan.proxy.as_ref().map_or_else(String::new, |proxy| proxy.at.to_string());
        format!("connect to {} through the proxy {proxy}", self.plan.to)
    }
}

fn ready(peer: Box<dyn Peer>, Addresses { address, local }: Addresses) -> Progress {
    Progress::Ready(Dialed { peer, address, local })
}

/// The time between one attempt and the next (`--retry`).
pub const RETRY_DELAY: Duration = Duration::from_secs(1);
