//! The programs of many clients.

use std::{collections::HashMap, time::Instant};

use super::Child;
use crate::{
    endpoint::Peer,
    event::{Reactor, Token},
    net::Address,
    pump::earlier,
    report::Report,
    session::Lingering,
    sys,
};

/// Programs by the token of their client.
#[derive(Default)]
pub struct Programs(HashMap<Token, Running>);

struct Running {
    child: Child,
    client: ProgramClient,
}

/// The connection of a program with its client.
enum ProgramClient {
    /// The program has the socket itself, of which this is our handle.
    Bare { peer: Box<dyn Peer>, address: Address, lingering: Option<Lingering> },
    /// The client has gone, or has got all.
    Gone,
    /// A session stands between them.
    Session,
}

impl Programs {
    /// Adds a program that serves the client of a token through a session.
    pub fn insert(&mut self, token: Token, child: Child) {
        self.0.insert(token, Running { child, client: ProgramClient::Session });
    }

    /// Notes that the program of a token has the socket itself.
    pub fn serve_bare(&mut self, token: Token, peer: Box<dyn Peer>, address: Address) {
        if let Some(running) = self.0.get_mut(&token) {
            running.client = ProgramClient::Bare { peer, address, lingering: None };
        }
    }

    /// Returns whether this is the token of a client without a session.
    pub fn is_bare(&self, token: Token) -> bool {
        self.0.get(&token).is_some_and(|running| matches!(running.client, ProgramClient::Bare { .. }))
    }

    /// Notes that the session of this token's client is over. `gone` says that the client has not got all.
    pub fn release(&mut self, token: Token, gone: bool, now: Instant) {
        if let Some(running) = self.0.get_mut(&token) {
            running.client = ProgramClient::Gone;
            if gone {
                running.child.hang_up(now);
            }
        }
    }

    /// Tells the program that has the socket of this token itself that its client has gone. A program beside a session is
    /// told when that ends.
    pub fn hang_up(&mut self, token: Token, now: Instant) {
        if let Some(Running { child, client: ProgramClient::Bare { .. } }) = self.0.get_mut(&token) {
            child.hang_up(now);
        }
    }

    /// Tells all programs that their clients have gone.
    pub fn hang_up_all(&mut self, now: Instant) {
        self.0.values_mut().for_each(|running| running.child.hang_up(now));
    }

    /// Kills all programs.
    pub fn kill_all(&mut self) {
        self.0.values_mut().for_each(|running| running.child.kill());
    }

    /// Forgets the programs that have ended, with their clients. Returns whether clients without a session were among
    /// them.
    pub fn reap(&mut self, reactor: &mut Reactor, report: &Report, now: Instant) -> bool {
        let before = self.clients().count();
        self.0.retain(|token, running| !running.is_done(*token, reactor, report, now));
        self.clients().count() < before
    }

    /// Kills programs that were told to end and did not. Returns when to call again.
    pub fn tick(&mut self, now: Instant) -> Option<Instant> {
        self.0.values_mut().filter_map(|running| running.tick(now)).min()
    }

    /// Returns the clients without a session.
    pub fn clients(&self) -> impl Iterator<Item = &Address> {
        self.0.values().filter_map(|running| match &running.client {
            ProgramClient::Bare { address, .. } => Some(address),
            ProgramClient::Gone | ProgramClient::Session => None,
        })
    }

    /// Returns whether all programs that are left go on without us.
    pub fn may_be_left(&self) -> bool {
        self.0.values().all(|running| running.child.keeps_running())
    }
}

impl Running {
    fn is_done(&mut self, token: Token, reactor: &mut Reactor, report: &Report, now: Instant) -> bool {
        let Some(status) = self.child.status() else { return false };
        // The zombie is kept until its client is settled: until then no other process group has its number.
        match &mut self.client {
            ProgramClient::Session => return false,
            ProgramClient::Gone => return self.child.is_gone(),
            ProgramClient::Bare { peer, lingering: Some(lingering), .. } => {
                if !lingering.advance(&mut **peer, reactor, token, now) {
                    return false;
                }
            }
            ProgramClient::Bare { peer, address, lingering } => {
                report.verbose(format!("{address}: the program has ended: {status}"));
                if has_unread(&mut self.child, &**peer) {
                    *lingering = Lingering::begin(&mut **peer, reactor, token, now);
                }
                if lingering.is_some() {
                    // No event tells of bytes that have arrived already.
                    reactor.again(token);
                    return false;
                }
            }
        }

        // The client is let go.
        self.client = ProgramClient::Gone;
        self.child.is_gone()
    }

    fn tick(&mut self, now: Instant) -> Option<Instant> {
        let lingering = match &self.client {
            ProgramClient::Bare { lingering: Some(lingering), .. } => Some(lingering.deadline()),
            ProgramClient::Bare { .. } | ProgramClient::Gone | ProgramClient::Session => None,
        };
        earlier(self.child.tick(now), lingering)
    }
}

/// Returns whether a program has left bytes of its client unread, and no other process has the connection.
pub fn has_unread(child: &mut Child, peer: &dyn Peer) -> bool {
    let unread = peer.descriptor().is_some_and(|socket| sys::unread(socket) > 0);
    unread && !child.keeps_running() && !child.has_left_others()
}
