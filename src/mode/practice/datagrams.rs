//! The practice server over UDP: each request is a datagram, and so is each piece of an answer.

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use socket2::SockAddr;

use super::basic::tell;
use crate::{
    net::{Address, address::canonical},
    proto::practice::{Answer, LONGEST_REQUEST, Next, Request, Style},
    pump::{Pace, earlier},
    report::Report,
    sys::{self, Descriptor},
};

/// A socket, and all who ask there.
#[derive(Debug)]
pub struct Datagrams {
    socket: Descriptor,
    /// Our own port.
    port: Option<u16>,
    style: Style,
    /// Whether strangers get more than they have sent.
    open: bool,
    peers: HashMap<SocketAddr, Peer>,
}

/// Somebody who has asked of late.
#[derive(Debug)]
struct Peer {
    address: SockAddr,
    /// Each with the address of ours that was asked.
    answers: VecDeque<(Answer, Option<SocketAddr>)>,
    pace: Pace,
    /// Requests that may come at `since`.
    tokens: f64,
    since: Instant,
}

impl Datagrams {
    /// Takes a socket that is bound.
    pub fn new(socket: Descriptor, style: Style, open: bool) -> Self {
        let port = socket.socket().local_addr().ok().and_then(|at| at.as_socket()).map(|at| at.port());
        Self { socket, port, style: Style { datagrams: true, ..style }, open, peers: HashMap::new() }
    }

    /// The socket, to be watched.
    pub fn socket_mut(&mut self) -> &mut Descriptor {
        &mut self.socket
    }

    /// Hears who asks, and goes on with the answers. Tells when to go on.
    pub fn advance(&mut self, report: &Report, now: Instant) -> Option<Instant> {
        let mut bytes = [0; LONGEST_REQUEST];
        let mut heard = 0;
        // A datagram that is too long is a request all the same; what is behind its end is ignored.
        while heard < AT_ONCE
            && let Ok(datagram) = sys::receive_from(&self.socket, &mut bytes)
        {
            heard += 1;
            self.hear(&bytes[..datagram.size], datagram.from, datagram.to, report, now);
        }
        let mut next = (heard == AT_ONCE).then_some(now);
        for peer in self.peers.values_mut() {
            next = earlier(next, peer.answer(&self.socket, now));
        }
        next
    }

    fn hear(&mut self, bytes: &[u8], from: SockAddr, to: Option<SocketAddr>, report: &Report, now: Instant) {
        let Some(inet) = from.as_socket().map(canonical) else { return };
        let address = Address::Inet(inet);
        let request = Request::parse(bytes);
        let more = request.answer_datagrams() > 1 || request.answer_size() > bytes.trim_ascii().len() as u64;
        if !self.open && !inet.ip().is_loopback() && more {
            // Whoever forges an address would have its owner flooded.
            report.verbose(format!(
                "{address} udp: not answered: that would be more than was sent (see --open)"
            ));
            return;
        }
        if Some(inet.port()) == self.port {
            // Another server like us would answer for ever.
            return;
        }
        if self.peers.len() >= MOST_PEERS && !self.peers.contains_key(&inet) {
            let quiet = self.peers.iter().filter(|(_, peer)| peer.answers.is_empty());
            let oldest = quiet
                .min_by_key(|(_, peer)| peer.since)
                .or_else(|| self.peers.iter().min_by_key(|(_, peer)| peer.since));
            if let Some(oldest) = oldest.map(|(address, _)| *address) {
                self.peers.remove(&oldest);
            }
        }
        let new = || Peer {
            address: from,
            answers: VecDeque::new(),
            pace: Pace::for_datagrams(PIECE, None),
            tokens: RATE,
            since: now,
        };
        let peer = self.peers.entry(inet).or_insert_with(new);
        if peer.may_ask(now) && peer.answers.len() < MOST_WAITING {
            tell(report, &address, "udp", &request);
            peer.answers.push_back((Answer::new(request, self.style, now), to));
        }
    }
}

impl Peer {
    fn may_ask(&mut self, now: Instant) -> bool {
        let gained = now.saturating_duration_since(self.since).as_secs_f64() * RATE;
        (self.tokens, self.since) = ((self.tokens + gained).min(RATE), now);
        let may = self.tokens >= 1.0;
        self.tokens -= f64::from(u8::from(may));
        may
    }

    /// Sends what can be sent now, one answer after the other; when to go on.
    fn answer(&mut self, socket: &Descriptor, now: Instant) -> Option<Instant> {
        while let Some((answer, from)) = self.answers.front_mut() {
            match answer.next(now) {
                Next::Done => drop(self.answers.pop_front()),
                Next::Wait(until) => return Some(until),
                Next::Send(bytes) => {
                    if let Err(until) = self.pace.allow(now) {
                        return Some(until);
                    }
                    let n = bytes.len();
                    match sys::send_from(socket, bytes, &self.address, *from) {
                        Err(error)
                            if error.kind() == io::ErrorKind::WouldBlock || sys::is_exhausted(&error) =>
                        {
                            return Some(now + BUSY);
                        }
                        // Not every address that can be asked can be answered from: a broadcast cannot.
                        Err(_) if from.is_some() => *from = None,
                        // A refusal that came back is about an earlier one: this one may still arrive.
                        Ok(_) | Err(_) => {
                            self.pace.spend(n, true, now);
                            answer.sent(n, now);
                        }
                    }
                }
            }
        }
        None
    }
}

/// Requests a second of one peer; as many may come at once.
const RATE: f64 = 1000.0;

/// Answers that a peer may wait for; further requests are lost.
const MOST_WAITING: usize = 4;

/// Peers that are remembered at most.
const MOST_PEERS: usize = 256;

/// Datagrams before others have their turn.
const AT_ONCE: usize = 64;

/// Bytes of most datagrams that we send.
const PIECE: usize = 1024;

/// How long a device that has no room is left alone.
const BUSY: Duration = Duration::from_millis(1);
