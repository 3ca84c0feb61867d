//! The clients of a server: how each begins, goes on, and leaves.

use std::time::Instant;

use anyhow::{Error, Result};

use super::Server;
use crate::{
    endpoint::{Input, Output, Peer, Shared, Stdio},
    event::{Reactor, Token},
    net::Address,
    plan::{Incoming, Outgoing},
    pump::Source,
    report,
    session::{
        self, Names, Session, Status, Summary,
        accept::{PendingHandshake, is_out_of_descriptors},
        layered,
        messages::host_and_port,
        open,
        program::{self, Started},
    },
};

/// A client; the streams that are not its own are shared.
pub(super) struct ServeClient {
    pub(super) session: Session,
    pub(super) peer: Box<dyn Peer>,
    own: Stdio,
    shared: Shared,
}

/// The local side of a client.
struct Local {
    own: Stdio,
    shared: Shared,
}

impl Server<'_> {
    /// Goes on with a TLS handshake. A client that is ready waits for a place.
    pub(super) fn continue_handshake(&mut self, token: Token, reactor: &mut Reactor) {
        let now = Instant::now();
        let Some(pending) = self.handshakes.get_mut(token) else { return };
        let advanced = pending.handshake.advance(now);
        // A client that had to wait may have left.
        // TLS succeeds from bytes that are buffered, even after the peer has reset.
        let gone = pending.handshake.is_broken();
        match advanced {
            Ok(false) => return,
            Ok(true) if gone => {}
            Ok(true) if self.client_count() >= self.max_clients => return reactor.wake_at(token, None),
            Ok(true) | Err(_) => {}
        }

        let Some(PendingHandshake { handshake, names }) = self.handshakes.remove(token) else { return };
        reactor.wake_at(token, None);
        let address = names.peer.clone();
        let begun = match advanced {
            Ok(_) if gone => Ok(()),
            Ok(_) => layered(handshake.finish(self.report), self.plan)
                .and_then(|peer| self.begin(token, peer, names, reactor)),
            Err(error) => Err(error),
        };
        // Another client may wait for the place.
        reactor.again(self.tokens.listener);
        if let Err(error) = begun {
            self.reject(token, &address, &error, reactor);
        }
    }

    /// Reports a client that could not be served; a program that was started for it has nothing to do.
    pub(super) fn reject(&mut self, token: Token, peer: &Address, error: &Error, reactor: &mut Reactor) {
        let now = Instant::now();
        self.programs.release(token, true, now);
        self.time_programs(reactor, now);
        self.report.error(format!("serve {}: {}", host_and_port(peer), report::sentence(error)));
        // Without a pause, all clients of the backlog would be accepted and turned away.
        if is_out_of_descriptors(error) {
            self.acceptor.pause(reactor, now);
        }
    }

    /// Begins the session of a client, or starts a program that has its socket.
    pub(super) fn begin(
        &mut self,
        token: Token,
        mut peer: Box<dyn Peer>,
        names: Names,
        reactor: &mut Reactor,
    ) -> Result<()> {
        let plan = self.plan;
        let opened = self.open_stdio(token, &mut *peer, &names, reactor);
        // A reset, because FIN would look like a session that went well and sent nothing.
        let Some(Local { mut own, shared }) = opened.inspect_err(|_| peer.abort())? else {
            self.programs.serve_bare(token, peer, names.peer);
            self.idle = None;
            return Ok(());
        };

        own.watch(reactor, token)?;
        let source = match shared.input {
            true => self.source,
            false if plan.program.is_some() => Source::File,
            false => open::source(&own.input),
        };
        let sends = match (&mut self.stdio, shared.input) {
            (Some(stdio), true) => !matches!(stdio.stdio().input, Input::Nothing),
            _ => !matches!(own.input, Input::Nothing),
        };
        let session = session::begin(plan, &mut *peer, names, source, sends, self.dump)?;
        if let (Some(stdio), true) = (&mut self.stdio, shared.input && sends) {
            stdio.attach(token);
        }
        // Inserted before its first turn, which may already finish and remove it.
        self.clients.insert(token, ServeClient { session, peer, own, shared });
        self.idle = None;
        self.advance(token, reactor);

        // Many clients send all they have at once, and need not be watched.
        let Some(client) = self.clients.get_mut(token) else { return Ok(()) };
        let Some(descriptor) = client.peer.descriptor_mut() else { return Ok(()) };
        if let Err(error) = reactor.watch(token, descriptor) {
            self.clients.remove(token);
            self.detach(token);
            return Err(error.into());
        }
        Ok(())
    }

    /// Opens the files of a client, or starts its program; `None` if the program has the socket itself.
    fn open_stdio(
        &mut self,
        token: Token,
        peer: &mut dyn Peer,
        names: &Names,
        reactor: &mut Reactor,
    ) -> Result<Option<Local>> {
        let plan = self.plan;
        if let Some(program) = &plan.program {
            // --json counts the bytes of a session, which a program with the socket itself passes by.
            let bare = plan.is_bare() && !self.report.json;
            return match program::start(program, peer, names, bare)? {
                Started::Beside(child, own) => {
                    self.programs.insert(token, child);
                    Ok(Some(Local { own, shared: Shared { input: false, output: false } }))
                }
                Started::OnSocket(child) => {
                    if let Some(descriptor) = peer.descriptor_mut() {
                        reactor.watch_hangup(token, descriptor)?;
                    }
                    self.programs.insert(token, child);
                    Ok(None)
                }
            };
        }

        let shared = Shared {
            input: self.stdio.is_some() && plan.input == Outgoing::Stdin,
            output: self.stdio.is_some() && plan.output == Incoming::Stdout,
        };
        let waker = reactor.waker(token);
        let input = if shared.input { Input::Nothing } else { open::open_input(plan, &waker)? };
        let output = match shared.output {
            true => Output::Nowhere,
            false => open::open_output(plan, (&names.local.host(), names.local.port()), &waker)?,
        };
        Ok(Some(Local { own: Stdio::new(input, output), shared }))
    }

    /// Passes a client's datagram on that has reached the listener all the same.
    pub(super) fn deliver(&mut self, peer: &Address, bytes: Vec<u8>, reactor: &mut Reactor) {
        let Some((token, client)) = self.clients.find(|client| client.session.peer_address() == peer) else {
            return;
        };
        if let Some(datagram) = client.peer.as_datagram() {
            datagram.deliver(bytes);
        }
        self.advance(token, reactor);
    }

    /// Turns the session of a client.
    pub(super) fn advance(&mut self, token: Token, reactor: &mut Reactor) {
        let now = Instant::now();
        let Some(ServeClient { session, peer, own, shared }) = self.clients.get_mut(token) else { return };
        let peer = &mut **peer;
        let status = match &mut self.stdio {
            // Stdin's log drops bytes that only clients far behind have not read: this one would get a gap.
            Some(stdio) if stdio.is_behind(token) => session.give_up(own, peer, now),
            Some(stdio) => session.advance(&mut stdio.handle(token, own, *shared), peer, now),
            None => session.advance(own, peer, now),
        };

        match status {
            Status::Waiting(until) => reactor.wake_at(token, until),
            Status::Yielded => reactor.again(token),
            Status::Finished(summary) => self.finish(token, *summary, reactor, now),
        }
    }

    /// Lets go of a client whose session is over.
    fn finish(&mut self, token: Token, mut summary: Summary, reactor: &mut Reactor, now: Instant) {
        reactor.wake_at(token, None);
        // Asked before the client is removed: only then may others have waited for a place.
        let was_full = self.acceptor.backoff().is_some() || self.is_full();
        if let Some(mut client) = self.clients.remove(token) {
            if self.plan.program.is_some() {
                self.programs.release(token, !client.session.has_sent_all(), now);
                self.reap_programs(reactor);
                self.requeue(&mut client, reactor);
            }
            summary.finish_file(client.own.take_download());
            summary.tcp = if self.report.json { session::tcp(&*client.peer) } else { None };
        }
        self.detach(token);
        summary.print(self.report, false);

        self.restart_idle(now);
        if was_full {
            self.offer_place(reactor);
        }
    }

    fn detach(&mut self, token: Token) {
        if let Some(stdio) = &mut self.stdio {
            stdio.detach(token);
        }
    }

    /// Gives datagrams back to the listener: a program serves one of them, and the others are for other programs.
    fn requeue(&mut self, client: &mut ServeClient, reactor: &mut Reactor) {
        let names = client.session.names();
        let (Address::Inet(local), Address::Inet(peer)) = (names.local.clone(), names.peer.clone()) else {
            return;
        };
        if let Some(datagram) = client.peer.as_datagram() {
            for (from, bytes) in datagram.take_queued() {
                self.acceptor.listener().requeue(from.unwrap_or(peer), local, bytes);
                reactor.again(self.tokens.listener);
            }
        }
    }

    /// Acts on a hang-up that the kernel has reported.
    pub(super) fn hang_up(&mut self, token: Token, reactor: &mut Reactor) {
        if let Some(client) = self.clients.get_mut(token) {
            return client.session.hang_up();
        }
        let now = Instant::now();
        self.programs.hang_up(token, now);
        self.time_programs(reactor, now);
    }

    /// Lets go of programs that have ended, and of clients that go with them.
    pub(super) fn reap_programs(&mut self, reactor: &mut Reactor) {
        let now = Instant::now();
        if self.programs.reap(reactor, self.report, now) {
            self.restart_idle(now);
            self.offer_place(reactor);
        }
        self.time_programs(reactor, now);
    }

    fn time_programs(&mut self, reactor: &mut Reactor, now: Instant) {
        let until = self.programs.tick(now);
        reactor.wake_at(self.tokens.programs, until);
    }

    /// Offers a place to clients that wait for it: after their handshake, or before they are accepted.
    fn offer_place(&mut self, reactor: &mut Reactor) {
        for token in self.handshakes.tokens() {
            reactor.again(token);
        }
        self.acceptor.resume(reactor);
    }

    /// Starts the time of `-w` again if no client is left.
    fn restart_idle(&mut self, now: Instant) {
        if self.client_count() == 0 {
            self.idle = self.plan.idle.map(|idle| now + idle);
        }
    }
}
