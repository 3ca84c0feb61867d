//! The UDP server: each request is a datagram, and so is each piece of an answer.

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use socket2::SockAddr;

use super::echo_conn::log_request;
use crate::{
    net::{Address, address::canonical},
    proto::practice::{Answer, MAX_REQUEST, Next, Request, Style},
    pump::{Pace, earlier},
    report::Report,
    sys::{self, Descriptor},
};

/// A socket, and its recent clients.
#[derive(Debug)]
pub struct DatagramServer {
    socket: Descriptor,
    /// Our own port.
    port: Option<u16>,
    style: Style,
    /// `--open`: addresses other than loopback get more than they have sent.
    open: bool,
    clients: HashMap<SocketAddr, DatagramClient>,
}

/// A recent client.
#[derive(Debug)]
struct DatagramClient {
    address: SockAddr,
    /// Answers, each with the local address of its request.
    answers: VecDeque<(Answer, Option<SocketAddr>)>,
    /// The pace of files, which keeps within the receive buffer of the client.
    pace: Pace,
    /// The token bucket: requests that were allowed at `since`.
    tokens: f64,
    since: Instant,
}

impl DatagramServer {
    /// Takes a bound socket.
    pub fn new(socket: Descriptor, style: Style, open: bool) -> Self {
        let port = socket.socket().local_addr().ok().and_then(|at| at.as_socket()).map(|at| at.port());
        Self { socket, port, style: Style { datagrams: true, ..style }, open, clients: HashMap::new() }
    }

    /// Returns the socket, for registration.
    pub fn socket_mut(&mut self) -> &mut Descriptor {
        &mut self.socket
    }

    /// Receives requests and sends answers until it would block, or until others should have their turn. Returns the
    /// time to continue at.
    pub fn advance(&mut self, report: &Report, now: Instant) -> Option<Instant> {
        let mut bytes = [0; MAX_REQUEST];
        let mut received = 0;
        // A datagram that is too long is a request all the same; what is behind its end is ignored.
        while received < MAX_BATCH
            && let Ok(datagram) = sys::receive_from(&self.socket, &mut bytes)
        {
            received += 1;
            self.receive(&bytes[..datagram.size], datagram.from, datagram.to, report, now);
        }

        // The receive queue may hold more, and edge-triggered epoll(7) does not tell again.
        let mut next = (received == MAX_BATCH).then_some(now);
        for client in self.clients.values_mut() {
            next = earlier(next, client.answer(&self.socket, now));
        }
        next
    }

    /// Takes a request, unless its answer could flood another host, or its client sends too many.
    fn receive(
        &mut self,
        bytes: &[u8],
        from: SockAddr,
        to: Option<SocketAddr>,
        report: &Report,
        now: Instant,
    ) {
        // IPv4 clients of a dual-stack socket have mapped addresses (ipv6(7)), for which is_loopback is always false.
        let Some(inet) = from.as_socket().map(canonical) else { return };
        let address = Address::Inet(inet);
        let request = Request::parse(bytes);
        // Amplification is counted in bytes and in datagrams, whose headers are not in the answer's size.
        let more = request.answer_datagrams() > 1 || request.answer_size() > bytes.trim_ascii().len() as u64;
        if !self.open && !inet.ip().is_loopback() && more {
            // The source address of UDP can be forged: its owner would be flooded.
            report.verbose(format!(
                "{address} udp: not answered: that would be more than was sent (see --open)"
            ));
            return;
        }
        if Some(inet.port()) == self.port {
            // A forged request in the name of another practice server makes the two answer each other for ever.
            return;
        }

        // Without a limit, forged source addresses would fill the memory; the oldest client gives way.
        if self.clients.len() >= MAX_CLIENTS && !self.clients.contains_key(&inet) {
            self.remove_oldest();
        }
        let new = || DatagramClient {
            address: from,
            answers: VecDeque::new(),
            pace: Pace::for_datagrams(PACE_DATAGRAM, None),
            tokens: MAX_RATE,
            since: now,
        };
        let client = self.clients.entry(inet).or_insert_with(new);
        if client.allow_request(now) && client.answers.len() < MAX_ANSWERS {
            log_request(report, &address, "udp", &request);
            client.answers.push_back((Answer::new(request, self.style, now), to));
        }
    }

    /// Forgets the oldest client: one that waits for no answer, if there is one.
    fn remove_oldest(&mut self) {
        // A client takes its unsent answers along, so those without any go first.
        let idle = self.clients.iter().filter(|(_, client)| client.answers.is_empty());
        let oldest = idle
            .min_by_key(|(_, client)| client.since)
            .or_else(|| self.clients.iter().min_by_key(|(_, client)| client.since));
        if let Some(oldest) = oldest.map(|(address, _)| *address) {
            self.clients.remove(&oldest);
        }
    }
}

impl DatagramClient {
    /// Takes a token of the bucket, if there is one.
    fn allow_request(&mut self, now: Instant) -> bool {
        let gained = now.saturating_duration_since(self.since).as_secs_f64() * MAX_RATE;
        (self.tokens, self.since) = ((self.tokens + gained).min(MAX_RATE), now);
        let allowed = self.tokens >= 1.0;
        self.tokens -= f64::from(u8::from(allowed));
        allowed
    }

    /// Sends answers, one after the other, until it would block. Returns the time to continue at.
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
                            return Some(now + SEND_BACKOFF);
                        }
                        // A request to a broadcast address cannot be answered from it.
                        Err(_) if from.is_some() => *from = None,
                        // ECONNREFUSED reports an ICMP error for an earlier datagram: this one may still arrive.
                        Ok(_) | Err(_) => {
                            self.pace.spend(n);
                            self.pace.finish_piece(now);
                            answer.sent(n, now);
                        }
                    }
                }
            }
        }
        None
    }
}

/// Requests per second of one client, and the size of the token bucket.
const MAX_RATE: f64 = 1000.0;

/// Answers in the queue of a client; further requests are dropped.
const MAX_ANSWERS: usize = 4;

/// Clients at once.
const MAX_CLIENTS: usize = 256;

/// Datagrams received before others have their turn.
const MAX_BATCH: usize = 64;

/// Bytes of the datagrams of a file, which the pace is made for.
const PACE_DATAGRAM: usize = 1024;

/// Pause of sending when the device has no room (ENOBUFS).
const SEND_BACKOFF: Duration = Duration::from_millis(1);
