//! The relay without sockets: clients are byte strings, and the clock is moved by hand.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use super::*;

mod limits;
mod messages;
mod splice;

/// A relay and its clients.
pub struct Simulation {
    pub router: Router,
    pub now: Instant,
    pub clients: Vec<TestClient>,
    /// Bytes that the network delivers at once.
    pub piece: usize,
}

/// A client and its connection.
pub struct TestClient {
    pub id: Option<Id>,
    /// Bytes that it has sent and the relay has not read.
    pub sent: VecDeque<u8>,
    /// It has sent EOF.
    pub ended: bool,
    /// The relay has read the EOF.
    pub heard: bool,
    /// Bytes that it has received.
    pub got: Vec<u8>,
    /// Bytes that it will still read.
    pub reads: usize,
    pub gone: Option<CloseReason>,
    /// Times that it was resumed.
    resumed: usize,
}

pub fn config() -> RouterConfig {
    RouterConfig {
        max_clients: 1000,
        max_per_address: 0,
        max_message: u64::MAX,
        register_timeout: Duration::from_secs(3),
        header_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(30),
        stall_timeout: Duration::from_secs(10),
        framed: false,
        memory_limit: 256 << 20,
        authenticator: Authenticator::Open,
    }
}

impl Simulation {
    /// Creates a relay without clients.
    pub fn new(config: RouterConfig) -> Self {
        Self { router: Router::new(config), now: Instant::now(), clients: Vec::new(), piece: usize::MAX }
    }

    /// Creates a relay with registered clients.
    pub fn with(names: &[&str], config: RouterConfig) -> Self {
        let mut sim = Self::new(config);
        for name in names {
            let who = sim.connect();
            sim.send(who, format!("{name}|").as_bytes());
        }
        sim
    }

    /// Connects a client, and returns its number.
    pub fn connect(&mut self) -> usize {
        let Admission::Joined(id) = self.router.admit(IpAddr::V4(Ipv4Addr::LOCALHOST), self.now) else {
            panic!("no client is admitted");
        };

        self.clients.push(TestClient {
            id: Some(id),
            sent: VecDeque::new(),
            ended: false,
            heard: false,
            got: Vec::new(),
            reads: usize::MAX,
            gone: None,
            resumed: 0,
        });

        self.pump();
        self.clients.len() - 1
    }

    /// Sends bytes from a client.
    pub fn send(&mut self, who: usize, bytes: &[u8]) {
        self.clients[who].sent.extend(bytes);
        self.pump();
    }

    /// Sends EOF from a client.
    pub fn end(&mut self, who: usize) {
        self.clients[who].ended = true;
        self.pump();
    }

    /// Resets the connection of a client.
    pub fn reset(&mut self, who: usize) {
        if let Some(id) = self.clients[who].id {
            self.router.lost(id, self.now);
        }
        self.pump();
    }

    /// Lets a client read `bytes` more.
    pub fn read_only(&mut self, who: usize, bytes: usize) {
        self.clients[who].reads = bytes;
        self.pump();
    }

    /// Lets time pass, and calls the router at each deadline.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(deadline) = self.router.deadline().filter(|deadline| *deadline <= end) {
            self.now = deadline.max(self.now);
            self.router.tick(self.now);
            self.pump();
        }
        self.now = end;
    }

    pub fn pass_seconds(&mut self, seconds: u64) {
        self.pass(Duration::from_secs(seconds));
    }

    /// Returns the number of a client.
    fn who(&self, id: Id) -> usize {
        self.clients.iter().position(|client| client.id == Some(id)).expect("it is known")
    }

    /// Moves bytes until no more can be moved.
    pub fn pump(&mut self) {
        loop {
            let mut moved = self.hear();
            for who in 0..self.clients.len() {
                moved |= self.read(who) | self.write(who);
                moved |= self.hear();
            }
            // Every client was written to above.
            while self.router.next_output().is_some() {}
            if !moved {
                return;
            }
        }
    }

    /// Acts on events; returns whether there were any.
    fn hear(&mut self) -> bool {
        let mut heard = false;

        while let Some(event) = self.router.next_event() {
            heard = true;
            match event {
                Event::Joined { .. } => {}
                Event::Left { id, reason, .. } => {
                    let who = self.who(id);
                    self.clients[who].id = None;
                    self.clients[who].gone = Some(reason);
                }
                Event::Resumed(id) => {
                    if let Some(client) = self.clients.iter_mut().find(|client| client.id == Some(id)) {
                        client.resumed += 1;
                    }
                }
            }
        }
        heard
    }

    /// Lets the relay read from a client; returns whether it did.
    fn read(&mut self, who: usize) -> bool {
        let client = &mut self.clients[who];
        let Some(id) = client.id else { return false };
        if client.sent.is_empty() && !client.ended {
            return false;
        }

        let most = self.router.read_budget(id).min(self.piece);
        if most == 0 {
            return false;
        }
        if client.sent.is_empty() {
            client.heard = true;
            self.router.ended(id, self.now);
            return true;
        }

        let bytes: Vec<u8> = client.sent.drain(..most.min(client.sent.len())).collect();
        self.router.receive(id, &bytes, self.now);
        true
    }

    /// Lets the relay write to a client; returns whether it did.
    fn write(&mut self, who: usize) -> bool {
        let client = &mut self.clients[who];
        let Some(id) = client.id else { return false };

        let output = self.router.output(id);
        let n = output.len().min(client.reads).min(self.piece);
        if n == 0 {
            return false;
        }

        client.got.extend_from_slice(&output[..n]);
        client.reads = client.reads.saturating_sub(if client.reads == usize::MAX { 0 } else { n });
        self.router.written(id, n, self.now);
        true
    }

    /// Tells whether the relay may have bytes of a client yet to take.
    pub fn is_behind(&mut self, who: usize) -> bool {
        let client = &self.clients[who];
        let untaken = |id| !client.sent.is_empty() || self.router.read_budget(id) == 0;
        !client.heard && client.id.is_some_and(untaken)
    }

    fn got(&self, who: usize) -> String {
        String::from_utf8_lossy(&self.clients[who].got).into_owned()
    }

    /// Checks that no bytes are stored.
    fn assert_clean(&self) {
        assert_eq!(self.router.used(), 0, "something is kept");
    }
}

/// Returns a message with a recognizable payload.
fn large(to: &str, length: usize) -> Vec<u8> {
    let mut message = format!("{to}|{length}|").into_bytes();
    message.extend((0..length).map(|at| (at % 251) as u8));
    message
}
