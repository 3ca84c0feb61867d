//! The relay without sockets: clients are byte strings, and the clock is moved by hand.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use super::{
    router::{FLUSH_TIMEOUT, Splice},
    send_queue::MAX_QUEUE,
    *,
};

/// A relay and its clients.
pub(super) struct Simulation {
    pub router: Router,
    pub now: Instant,
    pub clients: Vec<TestClient>,
    /// Bytes that the network delivers at once.
    pub piece: usize,
}

/// A client and its connection.
pub(super) struct TestClient {
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

pub(super) fn config() -> RouterConfig {
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

    pub fn send(&mut self, who: usize, bytes: &[u8]) {
        self.clients[who].sent.extend(bytes);
        self.pump();
    }

    pub fn end(&mut self, who: usize) {
        self.clients[who].ended = true;
        self.pump();
    }

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

/// Two clients, `a` and `b`: the bytes that `a` sends, those that `b` and `a` receive, and the reason why `a` is closed.
#[test]
#[rustfmt::skip]
fn messages() {
    use CloseReason::*;
    let table: [(&str, &str, &str, &str, Option<CloseReason>); 27] = [
        ("a message", "b|5|hello", "hello", "", None),
        ("two messages", "b|5|hellob|1|!", "hello!", "", None),
        ("leading zeros", "b|0005|hello", "hello", "", None),
        ("any bytes", "b|6|a|1|b\n", "a|1|b\n", "", None),
        ("line ends before a header are skipped", "\r\n\nb|1|x\r\nb|1|y\n", "xy", "", None),
        ("a line end within a name is not", "b\n|1|x", "", "", Some(BadName)),
        ("to oneself", "a|2|hi", "", "hi", None),
        ("nothing to oneself", "a|0|", "", "", None),
        ("nothing to another", "b|0|b|1|x", "x", "", None),
        ("without a receiver", "c|5|hellob|1|x", "x", "", None),
        ("without a receiver, a longer one", "c|100|0123456789", "", "", None),
        ("a name is as it is written", "B|1|xb |1|y", "", "", None),
        ("no name", "|1|x", "", "", Some(BadName)),
        ("a control byte", "b\x01|1|x", "", "", Some(BadName)),
        ("DEL", "b\x7f|1|x", "", "", Some(BadName)),
        ("HTTP", "GET / HTTP/1.1\r\n\r\n", "", "", Some(BadName)),
        ("no length", "b||x", "", "", Some(BadLength)),
        ("a negative length", "b|-1|x", "", "", Some(BadLength)),
        ("a signed length", "b|+1|x", "", "", Some(BadLength)),
        ("a length with a space", "b| 1|x", "", "", Some(BadLength)),
        ("a hexadecimal length", "b|0x1|x", "", "", Some(BadLength)),
        ("a length of 21 digits", "b|000000000000000000001|x", "", "", Some(BadLength)),
        ("2^63", "b|9223372036854775808|x", "", "", Some(BadLength)),
        ("2^63-1", "b|9223372036854775807|x", "x", "", None),
        ("too large a message", "b|2000000|x", "", "", Some(TooLarge)),
        ("what came before a fault has come", "b|1|xb|z", "x", "", Some(BadLength)),
        ("a message that is not whole", "b|5|hell", "", "", None),
    ];
    for (what, sent, to_b, to_a, fate) in table {
        for cut in 0..=sent.len() {
            for piece in [1, 3, usize::MAX] {
                let limited = fate == Some(TooLarge);
                let max_message = if limited { 1_000_000 } else { u64::MAX };
                let mut sim = Simulation::with(&["a", "b"], RouterConfig { max_message, ..config() });
                sim.piece = piece;
                sim.send(0, &sent.as_bytes()[..cut]);
                sim.send(0, &sent.as_bytes()[cut..]);
                let found = (sim.got(1), sim.got(0), sim.clients[0].gone);
                assert_eq!(found, (to_b.to_owned(), to_a.to_owned(), fate), "{what}, cut at {cut} and by {piece}");
                assert_eq!(sim.clients[1].gone, None, "{what}");
                sim.reset(0);
                sim.assert_clean();
            }
        }
    }
}

#[test]
fn framed_messages_name_their_sender() {
    let mut sim = Simulation::with(&["a", "b"], RouterConfig { framed: true, ..config() });
    sim.send(0, b"b|5|hellob|0|a|0|a|1|x");
    assert_eq!(sim.got(1), "a|5|helloa|0|");
    assert_eq!(sim.got(0), "a|1|x");
    let large = vec![b'l'; MAX_STORED + 1];
    sim.send(0, &[format!("b|{}|", large.len()).as_bytes(), &large].concat());
    assert_eq!(sim.got(1)[13..], format!("a|{}|{}", large.len(), "l".repeat(large.len())));
    sim.assert_clean();
}

#[test]
fn registration_and_messages_may_arrive_together() {
    for cut in 0..=12 {
        let mut sim = Simulation::with(&["b"], config());
        let a = sim.connect();
        let sent = b"\r\na|b|5|hello";
        sim.send(a, &sent[..cut]);
        sim.send(a, &sent[cut..]);
        assert_eq!(sim.got(0), "hello", "cut at {cut}");
    }
}

#[test]
fn names_are_registered_once() {
    let mut sim = Simulation::with(&["a"], config());
    let other = sim.connect();
    sim.send(other, b"a|a|2|hi");
    assert_eq!((sim.clients[other].gone, sim.clients[0].gone), (Some(CloseReason::Duplicate), None));
    assert_eq!(sim.got(0), "");
    sim.reset(0);
    let third = sim.connect();
    sim.send(third, b"a|a|2|hi");
    assert_eq!(sim.got(third), "hi");
}

#[test]
fn bad_registrations() {
    let long = "n".repeat(256);
    let table: [(&[u8], CloseReason); 4] = [
        (b"|", CloseReason::BadName),
        (b"a\tb", CloseReason::BadName),
        (b"GET / HTTP/1.1\r\n", CloseReason::BadName),
        (long.as_bytes(), CloseReason::BadName),
    ];
    for (bytes, why) in table {
        let mut sim = Simulation::with(&[], config());
        let who = sim.connect();
        sim.send(who, bytes);
        assert_eq!(sim.clients[who].gone, Some(why), "{}", bytes.escape_ascii());
        sim.assert_clean();
    }
    let sim = Simulation::with(&[&long[..255]], config());
    assert_eq!((sim.clients[0].gone, sim.router.names()), (None, 1));
}

#[test]
fn register_timeout_is_not_extended_by_a_trickle() {
    let mut sim = Simulation::new(config());
    let who = sim.connect();
    for _ in 0..29 {
        sim.pass(Duration::from_millis(100));
        sim.send(who, b"n");
    }
    assert_eq!(sim.clients[who].gone, None);
    sim.pass(Duration::from_millis(100));
    assert_eq!(sim.clients[who].gone, Some(CloseReason::RegisterTimeout));
}

#[test]
fn header_timeout_is_not_extended_by_a_trickle() {
    let mut sim = Simulation::with(&["a", "b"], config());
    sim.pass_seconds(20);
    for _ in 0..9 {
        sim.send(0, b"b");
        sim.pass_seconds(1);
    }
    sim.pass(Duration::from_millis(999));
    assert_eq!(sim.clients[0].gone, None);
    sim.pass(Duration::from_millis(1));
    assert_eq!(sim.clients[0].gone, Some(CloseReason::HeaderTimeout));
    // The payload has no such limit.
    let mut sim = Simulation::with(&["a", "b"], config());
    sim.send(0, b"b|9|");
    for _ in 0..9 {
        sim.pass_seconds(29);
        sim.send(1, b"b|0|");
        sim.send(0, b"x");
    }
    assert_eq!((sim.got(1).as_str(), sim.clients[0].gone), ("xxxxxxxxx", None));
}

#[test]
fn idle_timeout_counts_sent_bytes_only() {
    let mut sim = Simulation::with(&["a", "b"], config());
    sim.pass_seconds(29);
    sim.send(0, b"b|1|x");
    assert_eq!(sim.clients[1].gone, None);
    sim.pass_seconds(1);
    assert_eq!((sim.clients[1].gone, sim.clients[0].gone), (Some(CloseReason::Idle), None));
    sim.pass_seconds(28);
    sim.send(0, b"a|0|");
    sim.pass_seconds(29);
    assert_eq!(sim.clients[0].gone, None);
    sim.pass_seconds(1);
    assert_eq!(sim.clients[0].gone, Some(CloseReason::Idle));
}

#[test]
fn client_after_eof_receives_until_its_name_is_taken() {
    let mut sim = Simulation::with(&["a", "b"], config());
    sim.end(1);
    sim.send(0, b"b|5|hello");
    assert_eq!(sim.got(1), "hello");
    sim.pass_seconds(29);
    sim.send(0, b"b|1|!");
    let new = sim.connect();
    sim.send(new, b"b|");
    assert_eq!(sim.clients[1].gone, Some(CloseReason::Ended), "it was told all there was");
    sim.send(0, b"b|3|new");
    assert_eq!((sim.got(1).as_str(), sim.got(new).as_str()), ("hello!", "new"));
    // If the name is not taken, the idle timeout closes the client.
    sim.end(new);
    sim.pass_seconds(30);
    assert_eq!(sim.clients[new].gone, Some(CloseReason::Ended));
}

#[test]
fn leaving_client_gets_its_queue_for_five_seconds() {
    for reads in [0, usize::MAX] {
        let mut sim = Simulation::with(&["a", "b"], config());
        sim.read_only(1, 0);
        sim.pass_seconds(25);
        sim.send(0, b"b|5|hello");
        sim.pass_seconds(5);
        assert_eq!(sim.clients[1].gone, None, "it still has something to read");
        sim.send(0, b"b|1|x");
        sim.read_only(1, reads);
        sim.pass(FLUSH_TIMEOUT);
        assert_eq!(sim.clients[1].gone, Some(CloseReason::Idle));
        assert_eq!(sim.got(1), if reads == 0 { "" } else { "hello" }, "the name was gone at once");
        sim.assert_clean();
    }
}

fn large(to: &str, length: usize) -> Vec<u8> {
    let mut message = format!("{to}|{length}|").into_bytes();
    message.extend((0..length).map(|at| (at % 251) as u8));
    message
}

#[test]
fn large_message_is_contiguous_and_others_wait() {
    let mut sim = Simulation::with(&["a", "b", "c"], config());
    let message = large("b", 1 << 20);
    sim.send(0, &message[..500_000]);
    sim.send(2, b"b|5|helloa|3|sec");
    assert_eq!(sim.got(0), "", "c is read in order, and waits for b");
    sim.send(0, &message[500_000..]);
    assert!(sim.clients[1].got[..1 << 20] == message[10..]);
    assert_eq!(sim.clients[1].got[1 << 20..], *b"hello");
    assert_eq!(sim.got(0), "sec");
    sim.assert_clean();
}

#[test]
fn large_messages_take_turns() {
    let mut sim = Simulation::with(&["a", "b", "c", "d"], config());
    let message = large("b", 300_000);
    sim.send(0, &message[..1000]);
    sim.send(2, &message);
    sim.send(3, &message);
    sim.send(0, &message[1000..]);
    assert_eq!(sim.clients[1].got.len(), 900_000);
    for part in sim.clients[1].got.chunks(300_000) {
        assert!(part == &message[9..]);
    }
    sim.assert_clean();
}

#[test]
fn sender_lost_within_a_message() {
    // A small message is dropped.
    let mut sim = Simulation::with(&["a", "b"], config());
    sim.send(0, b"b|5|hell");
    sim.reset(0);
    assert_eq!((sim.got(1).as_str(), sim.router.stats().truncated), ("", 0));
    // Of a large one a prefix is delivered, and the next one follows at once.
    for end in [Simulation::reset, Simulation::end] {
        let mut sim = Simulation::with(&["a", "b", "c"], config());
        let message = large("b", 200_000);
        sim.send(0, &message[..100_009]);
        sim.send(2, b"b|5|hello");
        end(&mut sim, 0);
        assert_eq!(sim.clients[1].got.len(), 100_005);
        assert_eq!(sim.clients[1].got[100_000..], *b"hello");
        assert_eq!((sim.router.stats().truncated, sim.clients[1].gone), (1, None));
        sim.assert_clean();
    }
}

#[test]
fn destination_lost_within_a_message() {
    for length in [1000, 200_000] {
        let mut sim = Simulation::with(&["a", "b"], config());
        let message = large("b", length);
        sim.send(0, &message[..500]);
        sim.reset(1);
        let new = sim.connect();
        sim.send(new, b"b|");
        sim.send(0, &message[500..]);
        sim.send(0, b"b|5|hello");
        assert_eq!(sim.got(new), "hello", "nothing of {length} bytes for the one before");
        assert_eq!(sim.clients[0].gone, None);
        sim.assert_clean();
    }
}

#[test]
fn name_taken_within_a_message_to_its_holder() {
    // The length of the message, the bytes that were sent before, and those that the old holder gets.
    let table = [
        ("a small one that is not whole", 50_000, 49_999, 0),
        ("a small one", 50_000, 50_000, 50_000),
        ("a large one that is not whole", 200_000, 100_000, 100_000),
        ("a large one that fills the queue", MAX_QUEUE, MAX_QUEUE, MAX_QUEUE),
        ("a large one with one byte more than the queue takes", MAX_QUEUE + 1, MAX_QUEUE + 1, MAX_QUEUE),
    ];
    for (what, length, before, arrives) in table {
        for piece in [1000, 50_000, usize::MAX] {
            let mut sim = Simulation::with(&["a", "b"], config());
            sim.piece = piece;
            sim.read_only(1, 0);
            sim.end(1);
            let message = large("b", length);
            let header = message.len() - length;
            sim.send(0, &message[..header + before]);
            let new = sim.connect();
            sim.send(new, b"b|");
            sim.send(0, &message[header + before..]);
            sim.send(0, b"b|5|hello");
            sim.read_only(1, usize::MAX);
            assert!(sim.clients[1].got == message[header..header + arrives], "{what}, by {piece}");
            let fates = (sim.clients[0].gone, sim.clients[1].gone, sim.clients[new].gone);
            assert_eq!(fates, (None, Some(CloseReason::Ended), None), "{what}: no other client is closed");
            assert_eq!(sim.got(new), "hello", "{what}: nothing of it is for the new one");
            let cut = u64::from((1..length).contains(&arrives));
            assert_eq!(sim.router.stats().truncated, cut, "{what}");
            sim.assert_clean();
        }
    }
}

#[test]
fn unread_eof_does_not_give_the_name_away() {
    let mut sim = Simulation::with(&["a", "b"], config());
    let message = large("b", 100_000);
    sim.send(0, &message[..1000]);
    // b is not read before a's message is whole, and so it is not known that it has ended.
    sim.send(1, b"b|5|hello");
    sim.end(1);
    let early = sim.connect();
    sim.send(early, b"b|");
    assert_eq!((sim.clients[early].gone, sim.clients[1].gone), (Some(CloseReason::Duplicate), None));
    sim.send(0, &message[1000..]);
    assert!(sim.got(1).ends_with("hello"));
    let late = sim.connect();
    sim.send(late, b"b|");
    assert_eq!((sim.clients[late].gone, sim.clients[1].gone), (None, Some(CloseReason::Ended)));
}

#[test]
fn full_queue_stops_only_its_senders() {
    let mut sim = Simulation::with(&["a", "slow", "c"], config());
    sim.read_only(1, 0);
    let message = large("slow", 50_000);
    for _ in 0..20 {
        sim.send(0, &message);
    }
    let unread = sim.clients[0].sent.len();
    assert!(unread > 500_000, "{unread} bytes were not read");
    assert!(sim.router.used() < 400_000, "{} bytes are kept", sim.router.used());
    sim.send(2, b"c|2|hi");
    assert_eq!(sim.got(2), "hi");
    sim.read_only(1, usize::MAX);
    assert_eq!(sim.clients[1].got.len(), 1_000_000);
    sim.assert_clean();
}

#[test]
fn stalled_client_is_closed_and_its_senders_go_on() {
    let mut sim = Simulation::with(&["a", "slow"], config());
    sim.read_only(1, 0);
    for _ in 0..10 {
        sim.send(0, &large("slow", 60_000));
    }
    sim.send(0, b"a|4|here");
    for _ in 0..9 {
        sim.pass_seconds(1);
        sim.read_only(1, 400);
        sim.send(1, b"slow|0|");
    }
    assert_eq!((sim.clients[1].gone, sim.got(0).as_str()), (None, ""));
    sim.pass_seconds(1);
    assert_eq!((sim.clients[1].gone, sim.got(0).as_str()), (Some(CloseReason::Slow), "here"));
    sim.assert_clean();
}

#[test]
fn slow_client_is_not_closed() {
    let mut sim = Simulation::with(&["a", "slow"], config());
    sim.read_only(1, 0);
    for _ in 0..10 {
        sim.send(0, &large("slow", 60_000));
    }
    for _ in 0..60 {
        sim.pass_seconds(9);
        sim.read_only(1, 5000);
        sim.send(1, b"slow|0|");
    }
    assert_eq!((sim.clients[1].gone, sim.clients[0].gone), (None, None), "a waits, and is not idle");
}

#[test]
fn idle_timeout_stands_while_a_sender_is_not_read() {
    let mut sim = Simulation::with(
        &["a", "slow"],
        RouterConfig { stall_timeout: Duration::from_secs(1000), ..config() },
    );
    sim.read_only(1, 0);
    for _ in 0..10 {
        sim.send(0, &large("slow", 60_000));
    }
    for _ in 0..30 {
        sim.pass_seconds(29);
        sim.send(1, b"slow|0|");
    }
    assert_eq!(sim.clients[0].gone, None);
    sim.read_only(1, usize::MAX);
    assert_eq!(sim.clients[1].got.len(), 600_000);
    sim.pass_seconds(29);
    sim.send(1, b"slow|0|");
    assert_eq!(sim.clients[0].gone, None);
    sim.pass_seconds(1);
    assert_eq!(sim.clients[0].gone, Some(CloseReason::Idle));
}

#[test]
fn lock_holder_that_stops_is_closed_if_others_wait() {
    let mut sim = Simulation::with(&["a", "b", "c"], config());
    sim.send(0, &large("b", 200_000)[..1000]);
    sim.pass_seconds(20);
    assert_eq!(sim.clients[0].gone, None, "no client waits");
    sim.send(2, b"b|5|hello");
    sim.pass_seconds(5);
    assert_eq!(sim.clients[0].gone, Some(CloseReason::Stuck));
    assert!(sim.got(1).ends_with("hello"));
    assert_eq!(sim.router.stats().truncated, 1);
}

#[test]
fn memory_limit_closes_the_oldest_incomplete_message() {
    let mut sim =
        Simulation::with(&["a", "b", "c", "slow"], RouterConfig { memory_limit: 100_000, ..config() });
    sim.send(0, &large("b", 60_000)[..45_000]);
    sim.pass_seconds(1);
    sim.send(1, &large("b", 60_000)[..45_000]);
    sim.pass_seconds(1);
    sim.send(2, &large("b", 60_000)[..45_000]);
    assert_eq!((sim.clients[0].gone, sim.clients[1].gone), (Some(CloseReason::Memory), None));
    // A full queue closes no client, but no more is read.
    let mut sim =
        Simulation::with(&["a", "b", "c", "slow"], RouterConfig { memory_limit: 100_000, ..config() });
    sim.read_only(3, 0);
    sim.send(0, &large("slow", 60_000));
    sim.send(1, &large("slow", 60_000));
    sim.send(2, b"a|2|hi");
    assert_eq!(sim.got(0), "");
    sim.pass_seconds(10);
    assert_eq!((sim.clients[3].gone, sim.got(0).as_str()), (Some(CloseReason::Slow), "hi"));
    sim.assert_clean();
}

#[test]
fn splice_bypasses_the_queue() {
    let mut sim = Simulation::with(&["a", "b", "c"], config());
    let now = sim.now;
    sim.send(0, &large("b", 1 << 20)[..100_010]);
    let (a, b) = (sim.clients[0].id.unwrap(), sim.clients[1].id.unwrap());
    let left = (1 << 20) - 100_000;
    assert_eq!(sim.router.splice(a), Some(Splice { to: b, left, queued: false }));
    sim.router.spliced(a, b, 500_000, 0, now);
    assert_eq!((sim.router.lock_holder(b), sim.router.read_budget(a)), (Some(a), 0));
    sim.router.spliced(a, b, 0, 400_000, now);
    sim.router.spliced(a, b, left - 500_000, 0, now);
    assert_eq!(sim.router.splice(a), None, "all of it was taken");
    // The next message waits for its end, and so do those of other clients.
    sim.send(2, b"b|5|hello");
    sim.send(0, b"b|1|!");
    assert_eq!(sim.clients[1].got.len(), 100_000);
    sim.router.spliced(a, b, 0, 100_000, now);
    sim.router.copied_back(b, &vec![7; left as usize - 500_000], now);
    sim.pump();
    assert_eq!(sim.clients[1].got.len(), 100_000 + left as usize - 500_000 + 6);
    assert!(sim.got(1).ends_with("hello!") || sim.got(1).ends_with("!hello"));
    assert_eq!(sim.router.stats().messages, 3);
    sim.assert_clean();
}

#[test]
fn bytes_in_the_pipe_outlive_their_sender() {
    let mut sim = Simulation::with(&["a", "b", "c"], config());
    let now = sim.now;
    sim.send(0, &large("b", 1 << 20)[..100_010]);
    let (a, b) = (sim.clients[0].id.unwrap(), sim.clients[1].id.unwrap());
    sim.router.spliced(a, b, 1000, 0, now);
    sim.reset(0);
    sim.send(2, b"b|5|hello");
    assert_eq!(sim.clients[1].got.len(), 100_000, "the end of the prefix comes first");
    sim.router.copied_back(b, &[7; 1000], now);
    sim.pump();
    assert_eq!(sim.clients[1].got.len(), 101_005);
    sim.assert_clean();
}

#[test]
fn destination_that_leaves_frees_the_sender_of_a_splice() {
    let mut sim = Simulation::with(&["a", "b"], config());
    sim.send(0, &large("b", 1 << 20)[..100_010]);
    let (a, b) = (sim.clients[0].id.unwrap(), sim.clients[1].id.unwrap());
    sim.router.spliced(a, b, 1000, 0, sim.now);
    sim.end(1);
    let heir = sim.connect();
    sim.send(heir, b"b|");
    let before = sim.clients[0].resumed;
    sim.pass(FLUSH_TIMEOUT);
    assert_eq!(sim.clients[1].gone, Some(CloseReason::Ended));
    assert!(sim.clients[0].resumed > before, "otherwise it would never be read again");
    assert_eq!(sim.router.discardable(a), (1 << 20) - 101_000);
    sim.assert_clean();
}

#[test]
fn sender_that_waits_for_a_pipe_is_not_idle() {
    let mut sim =
        Simulation::with(&["a", "b"], RouterConfig { stall_timeout: Duration::from_secs(1000), ..config() });
    sim.send(0, &large("b", 1 << 20)[..100_010]);
    let (a, b) = (sim.clients[0].id.unwrap(), sim.clients[1].id.unwrap());
    sim.router.spliced(a, b, 1000, 0, sim.now);
    for _ in 0..3 {
        sim.pass_seconds(29);
        sim.send(1, b"b|0|");
    }
    assert_eq!(sim.clients[0].gone, None);
    sim.router.spliced(a, b, 0, 1000, sim.now);
    sim.pump();
    sim.pass_seconds(30);
    assert_eq!(sim.clients[0].gone, Some(CloseReason::Idle));
}

#[test]
fn pending_bytes_are_not_discardable() {
    let mut sim = Simulation::with(&["a", "b", "c"], RouterConfig { max_clients: 3, ..config() });
    sim.read_only(1, 0);
    sim.end(1);
    for _ in 0..5 {
        sim.send(0, &large("b", 50_000));
    }
    // A part of the large one waits with its sender; then its destination must make room.
    sim.send(0, &large("b", 300_000)[..240_000]);
    let a = sim.clients[0].id.unwrap();
    assert_eq!((sim.router.read_budget(a), sim.router.discardable(a)), (0, 0));
    sim.connect();
    assert_eq!(sim.clients[1].gone, Some(CloseReason::Ended));
    sim.send(0, &large("b", 300_000)[240_000..]);
    sim.send(0, b"c|5|hello");
    assert_eq!((sim.got(2).as_str(), sim.clients[0].gone), ("hello", None));
}

#[test]
fn memory_blocked_clients_are_resumed() {
    let mut sim =
        Simulation::with(&["a", "b", "c", "d", "e"], RouterConfig { memory_limit: 200_000, ..config() });
    // Incomplete messages, and bytes in a pipe.
    sim.send(0, &large("c", 60_000)[..47_000]);
    sim.send(1, &large("c", 60_000)[..45_000]);
    sim.send(4, &large("d", 1 << 20)[..10]);
    let (e, d) = (sim.clients[4].id.unwrap(), sim.clients[3].id.unwrap());
    sim.router.spliced(e, d, 150_000, 0, sim.now);
    sim.send(0, &large("c", 60_000)[47_000..]);
    sim.send(1, &large("c", 60_000)[45_000..]);
    assert_eq!(sim.clients[2].got.len(), 0, "there is no memory");
    // A new client is admitted all the same.
    let new = sim.connect();
    sim.send(new, b"new|");
    assert_eq!(sim.router.names(), 6);
    sim.router.spliced(e, d, 0, 150_000, sim.now);
    sim.pump();
    assert_eq!(sim.clients[2].got.len(), 120_000);
}

#[test]
fn stalled_client_is_retried() {
    let mut sim = Simulation::with(&["a", "slow"], config());
    sim.read_only(1, 0);
    sim.send(0, &large("slow", 60_000));
    let id = sim.clients[1].id.unwrap();
    while sim.router.next_output().is_some() {}
    for second in [2.5, 5.0, 7.5] {
        sim.now += Duration::from_millis(2500);
        sim.router.tick(sim.now);
        assert_eq!(sim.router.next_output(), Some(id), "at {second} s");
    }
    assert_eq!(sim.clients[1].gone, None);
    sim.pass_seconds(3);
    assert_eq!(sim.clients[1].gone, Some(CloseReason::Slow));
}

#[test]
fn oldest_unregistered_client_makes_room() {
    let mut sim = Simulation::new(RouterConfig { max_clients: 5000, ..config() });
    for _ in 0..1025 {
        sim.connect();
    }
    assert_eq!(sim.clients[0].gone, Some(CloseReason::Evicted));
    assert!(sim.clients[1..].iter().all(|client| client.gone.is_none()));
}

#[test]
fn clients_beyond_the_limit_are_refused() {
    let mut router = Router::new(RouterConfig { max_clients: 1, ..config() });
    let (now, ip) = (Instant::now(), "192.0.2.1".parse().unwrap());
    assert!(matches!(router.admit(ip, now), Admission::Joined(_)));
    assert_eq!(router.admit(ip, now), Admission::Refused(CloseReason::TooMany));
    // But one that only listens makes room.
    let mut sim = Simulation::with(&["a", "b"], RouterConfig { max_clients: 2, ..config() });
    sim.end(1);
    sim.connect();
    assert_eq!((sim.clients[0].gone, sim.clients[1].gone), (None, Some(CloseReason::Ended)));
}

#[test]
fn closing_down_writes_the_queues() {
    let mut sim = Simulation::with(&["a", "b"], config());
    sim.read_only(1, 0);
    sim.send(0, b"b|5|hello");
    sim.router.close_down(sim.now);
    sim.pump();
    assert_eq!((sim.clients[0].gone, sim.clients[1].gone), (Some(CloseReason::Shutdown), None));
    sim.read_only(1, usize::MAX);
    assert_eq!((sim.got(1).as_str(), sim.clients[1].gone), ("hello", Some(CloseReason::Shutdown)));
}

#[test]
fn hour_of_connections_leaves_nothing_behind() {
    let mut sim = Simulation::with(&["sink"], config());
    for turn in 0..3600_usize {
        let who = sim.connect();
        sim.send(who, format!("c{}|sink|5|hello", turn % 20).as_bytes());
        match turn % 4 {
            0 => sim.reset(who),
            1 => sim.end(who),
            _ => {}
        }
        sim.send(0, b"sink|0|");
        sim.pass_seconds(1);
        sim.clients[0].got.clear();
        assert!(sim.router.clients() <= 32, "{} clients", sim.router.clients());
        if turn % 100 == 99 {
            // Clients that have left are not checked again.
            assert!(sim.clients[1..turn - 40].iter().all(|client| client.gone.is_some()));
        }
    }
    sim.pass_seconds(60);
    assert_eq!((sim.router.clients(), sim.router.names(), sim.router.deadline()), (0, 0, None));
    sim.assert_clean();
}

#[test]
fn hundred_thousand_idle_clients() {
    let mut router = Router::new(RouterConfig { max_clients: 200_000, ..config() });
    let now = Instant::now();
    let mut ids = Vec::new();
    for number in 0..100_000 {
        let Admission::Joined(id) = router.admit(IpAddr::V4(Ipv4Addr::LOCALHOST), now) else { panic!() };
        router.receive(id, format!("client_{number}|").as_bytes(), now);
        ids.push(id);
    }
    assert_eq!((router.clients(), router.names()), (100_000, 100_000));
    router.receive(ids[0], b"client_99999|5|hello", now);
    assert_eq!(router.output(ids[99_999]), b"hello");
    router.tick(now + Duration::from_secs(30));
    assert_eq!((router.clients(), router.used()), (0, 0));
}
