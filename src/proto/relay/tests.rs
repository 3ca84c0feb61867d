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

/// A relay and those who have connected to it.
pub(super) struct World {
    pub router: Router,
    pub now: Instant,
    pub clients: Vec<TestClient>,
    /// Bytes that the network brings at once.
    pub piece: usize,
}

/// A client, as its network sees it.
pub(super) struct TestClient {
    pub id: Option<Id>,
    /// What it has sent and nobody has read.
    pub sent: VecDeque<u8>,
    /// It has said that it will send no more.
    pub ended: bool,
    /// And the relay has read that.
    pub heard: bool,
    pub got: Vec<u8>,
    /// Bytes that it still reads.
    pub reads: usize,
    pub gone: Option<CloseReason>,
    /// How often it was said that it may be read again.
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

impl World {
    pub fn new(config: RouterConfig) -> Self {
        Self { router: Router::new(config), now: Instant::now(), clients: Vec::new(), piece: usize::MAX }
    }

    /// Clients that are registered, and no more than that.
    pub fn with(names: &[&str], config: RouterConfig) -> Self {
        let mut world = Self::new(config);
        for name in names {
            let who = world.connect();
            world.send(who, format!("{name}|").as_bytes());
        }
        world
    }

    pub fn connect(&mut self) -> usize {
        let Admission::Joined(id) = self.router.admit(IpAddr::V4(Ipv4Addr::LOCALHOST), self.now) else {
            panic!("nobody is let in");
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

    /// Reads so many bytes, and no more.
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

    /// Moves what can be moved.
    pub fn pump(&mut self) {
        loop {
            let mut moved = self.hear();
            for who in 0..self.clients.len() {
                moved |= self.read(who) | self.write(who);
                moved |= self.hear();
            }
            // What there is to write is looked for everywhere above.
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

    /// Whether the relay may not have taken all that it has sent.
    pub fn is_behind(&mut self, who: usize) -> bool {
        let client = &self.clients[who];
        let untaken = |id| !client.sent.is_empty() || self.router.read_budget(id) == 0;
        !client.heard && client.id.is_some_and(untaken)
    }

    fn got(&self, who: usize) -> String {
        String::from_utf8_lossy(&self.clients[who].got).into_owned()
    }

    /// Nothing is kept for anybody.
    fn assert_clean(&self) {
        assert_eq!(self.router.used(), 0, "something is kept");
    }
}

/// Two clients, `a` and `b`; what `a` sends, what `b` and `a` receive, and what becomes of `a`.
#[test]
#[rustfmt::skip]
fn rows() {
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
        ("to nobody", "c|5|hellob|1|x", "x", "", None),
        ("to nobody, much", "c|100|0123456789", "", "", None),
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
                let mut world = World::with(&["a", "b"], RouterConfig { max_message, ..config() });
                world.piece = piece;
                world.send(0, &sent.as_bytes()[..cut]);
                world.send(0, &sent.as_bytes()[cut..]);
                let found = (world.got(1), world.got(0), world.clients[0].gone);
                assert_eq!(found, (to_b.to_owned(), to_a.to_owned(), fate), "{what}, cut at {cut} and by {piece}");
                assert_eq!(world.clients[1].gone, None, "{what}");
                world.reset(0);
                world.assert_clean();
            }
        }
    }
}

#[test]
fn framed_messages_tell_their_sender() {
    let mut world = World::with(&["a", "b"], RouterConfig { framed: true, ..config() });
    world.send(0, b"b|5|hellob|0|a|0|a|1|x");
    assert_eq!(world.got(1), "a|5|helloa|0|");
    assert_eq!(world.got(0), "a|1|x");
    let large = vec![b'l'; MAX_STORED + 1];
    world.send(0, &[format!("b|{}|", large.len()).as_bytes(), &large].concat());
    assert_eq!(world.got(1)[13..], format!("a|{}|{}", large.len(), "l".repeat(large.len())));
    world.assert_clean();
}

#[test]
fn a_registration_may_come_with_its_messages() {
    for cut in 0..=12 {
        let mut world = World::with(&["b"], config());
        let a = world.connect();
        let sent = b"\r\na|b|5|hello";
        world.send(a, &sent[..cut]);
        world.send(a, &sent[cut..]);
        assert_eq!(world.got(0), "hello", "cut at {cut}");
    }
}

#[test]
fn a_name_is_registered_once() {
    let mut world = World::with(&["a"], config());
    let other = world.connect();
    world.send(other, b"a|a|2|hi");
    assert_eq!((world.clients[other].gone, world.clients[0].gone), (Some(CloseReason::Duplicate), None));
    assert_eq!(world.got(0), "");
    world.reset(0);
    let third = world.connect();
    world.send(third, b"a|a|2|hi");
    assert_eq!(world.got(third), "hi");
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
        let mut world = World::with(&[], config());
        let who = world.connect();
        world.send(who, bytes);
        assert_eq!(world.clients[who].gone, Some(why), "{}", bytes.escape_ascii());
        world.assert_clean();
    }
    let world = World::with(&[&long[..255]], config());
    assert_eq!((world.clients[0].gone, world.router.names()), (None, 1));
}

#[test]
fn three_seconds_to_register_and_a_trickle_does_not_make_them_more() {
    let mut world = World::new(config());
    let who = world.connect();
    for _ in 0..29 {
        world.pass(Duration::from_millis(100));
        world.send(who, b"n");
    }
    assert_eq!(world.clients[who].gone, None);
    world.pass(Duration::from_millis(100));
    assert_eq!(world.clients[who].gone, Some(CloseReason::RegisterTimeout));
}

#[test]
fn ten_seconds_for_a_header_and_a_trickle_does_not_make_them_more() {
    let mut world = World::with(&["a", "b"], config());
    world.pass_seconds(20);
    for _ in 0..9 {
        world.send(0, b"b");
        world.pass_seconds(1);
    }
    world.pass(Duration::from_millis(999));
    assert_eq!(world.clients[0].gone, None);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.clients[0].gone, Some(CloseReason::HeaderTimeout));
    // The payload has no such limit.
    let mut world = World::with(&["a", "b"], config());
    world.send(0, b"b|9|");
    for _ in 0..9 {
        world.pass_seconds(29);
        world.send(1, b"b|0|");
        world.send(0, b"x");
    }
    assert_eq!((world.got(1).as_str(), world.clients[0].gone), ("xxxxxxxxx", None));
}

#[test]
fn thirty_seconds_of_silence_and_what_is_received_does_not_count() {
    let mut world = World::with(&["a", "b"], config());
    world.pass_seconds(29);
    world.send(0, b"b|1|x");
    assert_eq!(world.clients[1].gone, None);
    world.pass_seconds(1);
    assert_eq!((world.clients[1].gone, world.clients[0].gone), (Some(CloseReason::Idle), None));
    world.pass_seconds(28);
    world.send(0, b"a|0|");
    world.pass_seconds(29);
    assert_eq!(world.clients[0].gone, None);
    world.pass_seconds(1);
    assert_eq!(world.clients[0].gone, Some(CloseReason::Idle));
}

#[test]
fn an_end_of_file_goes_on_receiving_until_somebody_takes_the_name() {
    let mut world = World::with(&["a", "b"], config());
    world.end(1);
    world.send(0, b"b|5|hello");
    assert_eq!(world.got(1), "hello");
    world.pass_seconds(29);
    world.send(0, b"b|1|!");
    let new = world.connect();
    world.send(new, b"b|");
    assert_eq!(world.clients[1].gone, Some(CloseReason::Ended), "it was told all there was");
    world.send(0, b"b|3|new");
    assert_eq!((world.got(1).as_str(), world.got(new).as_str()), ("hello!", "new"));
    // Nobody takes it: then the silence ends it.
    world.end(new);
    world.pass_seconds(30);
    assert_eq!(world.clients[new].gone, Some(CloseReason::Ended));
}

#[test]
fn who_leaves_gets_what_is_there_for_five_seconds() {
    for reads in [0, usize::MAX] {
        let mut world = World::with(&["a", "b"], config());
        world.read_only(1, 0);
        world.pass_seconds(25);
        world.send(0, b"b|5|hello");
        world.pass_seconds(5);
        assert_eq!(world.clients[1].gone, None, "it still has something to read");
        world.send(0, b"b|1|x");
        world.read_only(1, reads);
        world.pass(FLUSH_TIMEOUT);
        assert_eq!(world.clients[1].gone, Some(CloseReason::Idle));
        assert_eq!(world.got(1), if reads == 0 { "" } else { "hello" }, "the name was gone at once");
        world.assert_clean();
    }
}

fn large(to: &str, length: usize) -> Vec<u8> {
    let mut message = format!("{to}|{length}|").into_bytes();
    message.extend((0..length).map(|at| (at % 251) as u8));
    message
}

#[test]
fn a_large_message_is_contiguous_and_others_wait() {
    let mut world = World::with(&["a", "b", "c"], config());
    let message = large("b", 1 << 20);
    world.send(0, &message[..500_000]);
    world.send(2, b"b|5|helloa|3|sec");
    assert_eq!(world.got(0), "", "c is read in order, and waits for b");
    world.send(0, &message[500_000..]);
    assert!(world.clients[1].got[..1 << 20] == message[10..]);
    assert_eq!(world.clients[1].got[1 << 20..], *b"hello");
    assert_eq!(world.got(0), "sec");
    world.assert_clean();
}

#[test]
fn large_messages_have_their_turns() {
    let mut world = World::with(&["a", "b", "c", "d"], config());
    let message = large("b", 300_000);
    world.send(0, &message[..1000]);
    world.send(2, &message);
    world.send(3, &message);
    world.send(0, &message[1000..]);
    assert_eq!(world.clients[1].got.len(), 900_000);
    for part in world.clients[1].got.chunks(300_000) {
        assert!(part == &message[9..]);
    }
    world.assert_clean();
}

#[test]
fn who_dies_within_a_message() {
    // A small one never was.
    let mut world = World::with(&["a", "b"], config());
    world.send(0, b"b|5|hell");
    world.reset(0);
    assert_eq!((world.got(1).as_str(), world.router.stats().truncated), ("", 0));
    // A large one is a prefix, and the next one follows at once.
    for end in [World::reset, World::end] {
        let mut world = World::with(&["a", "b", "c"], config());
        let message = large("b", 200_000);
        world.send(0, &message[..100_009]);
        world.send(2, b"b|5|hello");
        end(&mut world, 0);
        assert_eq!(world.clients[1].got.len(), 100_005);
        assert_eq!(world.clients[1].got[100_000..], *b"hello");
        assert_eq!((world.router.stats().truncated, world.clients[1].gone), (1, None));
        world.assert_clean();
    }
}

#[test]
fn the_destination_dies_within_a_message() {
    for length in [1000, 200_000] {
        let mut world = World::with(&["a", "b"], config());
        let message = large("b", length);
        world.send(0, &message[..500]);
        world.reset(1);
        let new = world.connect();
        world.send(new, b"b|");
        world.send(0, &message[500..]);
        world.send(0, b"b|5|hello");
        assert_eq!(world.got(new), "hello", "nothing of {length} bytes for the one before");
        assert_eq!(world.clients[0].gone, None);
        world.assert_clean();
    }
}

#[test]
fn a_name_is_taken_within_a_message_to_its_holder() {
    // How long the message is, how much of it was sent before, and how much of it the old holder gets.
    let table = [
        ("a small one that is not whole", 50_000, 49_999, 0),
        ("a small one", 50_000, 50_000, 50_000),
        ("a large one that is not whole", 200_000, 100_000, 100_000),
        ("a large one that fills the queue", MAX_QUEUE, MAX_QUEUE, MAX_QUEUE),
        ("a large one with one byte more than the queue takes", MAX_QUEUE + 1, MAX_QUEUE + 1, MAX_QUEUE),
    ];
    for (what, length, before, arrives) in table {
        for piece in [1000, 50_000, usize::MAX] {
            let mut world = World::with(&["a", "b"], config());
            world.piece = piece;
            world.read_only(1, 0);
            world.end(1);
            let message = large("b", length);
            let header = message.len() - length;
            world.send(0, &message[..header + before]);
            let new = world.connect();
            world.send(new, b"b|");
            world.send(0, &message[header + before..]);
            world.send(0, b"b|5|hello");
            world.read_only(1, usize::MAX);
            assert!(world.clients[1].got == message[header..header + arrives], "{what}, by {piece}");
            let fates = (world.clients[0].gone, world.clients[1].gone, world.clients[new].gone);
            assert_eq!(fates, (None, Some(CloseReason::Ended), None), "{what}: nobody else is to blame");
            assert_eq!(world.got(new), "hello", "{what}: nothing of it is for the new one");
            let cut = u64::from((1..length).contains(&arrives));
            assert_eq!(world.router.stats().truncated, cut, "{what}");
            world.assert_clean();
        }
    }
}

#[test]
fn an_end_that_waits_behind_a_message_does_not_give_the_name_away() {
    let mut world = World::with(&["a", "b"], config());
    let message = large("b", 100_000);
    world.send(0, &message[..1000]);
    // b is not read before a's message is whole, and so it is not known that it has ended.
    world.send(1, b"b|5|hello");
    world.end(1);
    let early = world.connect();
    world.send(early, b"b|");
    assert_eq!((world.clients[early].gone, world.clients[1].gone), (Some(CloseReason::Duplicate), None));
    world.send(0, &message[1000..]);
    assert!(world.got(1).ends_with("hello"));
    let late = world.connect();
    world.send(late, b"b|");
    assert_eq!((world.clients[late].gone, world.clients[1].gone), (None, Some(CloseReason::Ended)));
}

#[test]
fn a_full_queue_stops_its_senders_and_nobody_else() {
    let mut world = World::with(&["a", "slow", "c"], config());
    world.read_only(1, 0);
    let message = large("slow", 50_000);
    for _ in 0..20 {
        world.send(0, &message);
    }
    let unread = world.clients[0].sent.len();
    assert!(unread > 500_000, "{unread} bytes were not read");
    assert!(world.router.used() < 400_000, "{} bytes are kept", world.router.used());
    world.send(2, b"c|2|hi");
    assert_eq!(world.got(2), "hi");
    world.read_only(1, usize::MAX);
    assert_eq!(world.clients[1].got.len(), 1_000_000);
    world.assert_clean();
}

#[test]
fn who_accepts_next_to_nothing_for_ten_seconds_is_gone_and_its_senders_go_on() {
    let mut world = World::with(&["a", "slow"], config());
    world.read_only(1, 0);
    for _ in 0..10 {
        world.send(0, &large("slow", 60_000));
    }
    world.send(0, b"a|4|here");
    for _ in 0..9 {
        world.pass_seconds(1);
        world.read_only(1, 400);
        world.send(1, b"slow|0|");
    }
    assert_eq!((world.clients[1].gone, world.got(0).as_str()), (None, ""));
    world.pass_seconds(1);
    assert_eq!((world.clients[1].gone, world.got(0).as_str()), (Some(CloseReason::Slow), "here"));
    world.assert_clean();
}

#[test]
fn who_accepts_a_little_is_not_gone() {
    let mut world = World::with(&["a", "slow"], config());
    world.read_only(1, 0);
    for _ in 0..10 {
        world.send(0, &large("slow", 60_000));
    }
    for _ in 0..60 {
        world.pass_seconds(9);
        world.read_only(1, 5000);
        world.send(1, b"slow|0|");
    }
    assert_eq!((world.clients[1].gone, world.clients[0].gone), (None, None), "a waits, and is not idle");
}

#[test]
fn the_clock_of_a_sender_stands_while_it_is_not_read() {
    let mut world =
        World::with(&["a", "slow"], RouterConfig { stall_timeout: Duration::from_secs(1000), ..config() });
    world.read_only(1, 0);
    for _ in 0..10 {
        world.send(0, &large("slow", 60_000));
    }
    for _ in 0..30 {
        world.pass_seconds(29);
        world.send(1, b"slow|0|");
    }
    assert_eq!(world.clients[0].gone, None);
    world.read_only(1, usize::MAX);
    assert_eq!(world.clients[1].got.len(), 600_000);
    world.pass_seconds(29);
    world.send(1, b"slow|0|");
    assert_eq!(world.clients[0].gone, None);
    world.pass_seconds(1);
    assert_eq!(world.clients[0].gone, Some(CloseReason::Idle));
}

#[test]
fn who_holds_up_others_with_half_a_message_is_gone() {
    let mut world = World::with(&["a", "b", "c"], config());
    world.send(0, &large("b", 200_000)[..1000]);
    world.pass_seconds(20);
    assert_eq!(world.clients[0].gone, None, "nobody waits");
    world.send(2, b"b|5|hello");
    world.pass_seconds(5);
    assert_eq!(world.clients[0].gone, Some(CloseReason::Stuck));
    assert!(world.got(1).ends_with("hello"));
    assert_eq!(world.router.stats().truncated, 1);
}

#[test]
fn memory_has_an_end_and_the_oldest_half_message_goes_first() {
    let mut world = World::with(&["a", "b", "c", "slow"], RouterConfig { memory_limit: 100_000, ..config() });
    world.send(0, &large("b", 60_000)[..45_000]);
    world.pass_seconds(1);
    world.send(1, &large("b", 60_000)[..45_000]);
    world.pass_seconds(1);
    world.send(2, &large("b", 60_000)[..45_000]);
    assert_eq!((world.clients[0].gone, world.clients[1].gone), (Some(CloseReason::Memory), None));
    // A full queue is no reason to cut anybody, only to read no more.
    let mut world = World::with(&["a", "b", "c", "slow"], RouterConfig { memory_limit: 100_000, ..config() });
    world.read_only(3, 0);
    world.send(0, &large("slow", 60_000));
    world.send(1, &large("slow", 60_000));
    world.send(2, b"a|2|hi");
    assert_eq!(world.got(0), "");
    world.pass_seconds(10);
    assert_eq!((world.clients[3].gone, world.got(0).as_str()), (Some(CloseReason::Slow), "hi"));
    world.assert_clean();
}

#[test]
fn bytes_that_go_past_the_queue() {
    let mut world = World::with(&["a", "b", "c"], config());
    let now = world.now;
    world.send(0, &large("b", 1 << 20)[..100_010]);
    let (a, b) = (world.clients[0].id.unwrap(), world.clients[1].id.unwrap());
    let left = (1 << 20) - 100_000;
    assert_eq!(world.router.splice(a), Some(Splice { to: b, left, queued: false }));
    world.router.spliced(a, b, 500_000, 0, now);
    assert_eq!((world.router.lock_holder(b), world.router.read_budget(a)), (Some(a), 0));
    world.router.spliced(a, b, 0, 400_000, now);
    world.router.spliced(a, b, left - 500_000, 0, now);
    assert_eq!(world.router.splice(a), None, "all of it was taken");
    // The next message waits for its end, and so does everybody else.
    world.send(2, b"b|5|hello");
    world.send(0, b"b|1|!");
    assert_eq!(world.clients[1].got.len(), 100_000);
    world.router.spliced(a, b, 0, 100_000, now);
    world.router.copied_back(b, &vec![7; left as usize - 500_000], now);
    world.pump();
    assert_eq!(world.clients[1].got.len(), 100_000 + left as usize - 500_000 + 6);
    assert!(world.got(1).ends_with("hello!") || world.got(1).ends_with("!hello"));
    assert_eq!(world.router.stats().messages, 3);
    world.assert_clean();
}

#[test]
fn a_sender_that_dies_leaves_what_is_under_way() {
    let mut world = World::with(&["a", "b", "c"], config());
    let now = world.now;
    world.send(0, &large("b", 1 << 20)[..100_010]);
    let (a, b) = (world.clients[0].id.unwrap(), world.clients[1].id.unwrap());
    world.router.spliced(a, b, 1000, 0, now);
    world.reset(0);
    world.send(2, b"b|5|hello");
    assert_eq!(world.clients[1].got.len(), 100_000, "the end of the prefix comes first");
    world.router.copied_back(b, &[7; 1000], now);
    world.pump();
    assert_eq!(world.clients[1].got.len(), 101_005);
    world.assert_clean();
}

#[test]
fn a_destination_that_leaves_with_bytes_under_way_frees_their_sender() {
    let mut world = World::with(&["a", "b"], config());
    world.send(0, &large("b", 1 << 20)[..100_010]);
    let (a, b) = (world.clients[0].id.unwrap(), world.clients[1].id.unwrap());
    world.router.spliced(a, b, 1000, 0, world.now);
    world.end(1);
    let heir = world.connect();
    world.send(heir, b"b|");
    let before = world.clients[0].resumed;
    world.pass(FLUSH_TIMEOUT);
    assert_eq!(world.clients[1].gone, Some(CloseReason::Ended));
    assert!(world.clients[0].resumed > before, "nobody else would read it again");
    assert_eq!(world.router.discardable(a), (1 << 20) - 101_000);
    world.assert_clean();
}

#[test]
fn who_waits_for_a_pipe_is_not_idle() {
    let mut world =
        World::with(&["a", "b"], RouterConfig { stall_timeout: Duration::from_secs(1000), ..config() });
    world.send(0, &large("b", 1 << 20)[..100_010]);
    let (a, b) = (world.clients[0].id.unwrap(), world.clients[1].id.unwrap());
    world.router.spliced(a, b, 1000, 0, world.now);
    for _ in 0..3 {
        world.pass_seconds(29);
        world.send(1, b"b|0|");
    }
    assert_eq!(world.clients[0].gone, None);
    world.router.spliced(a, b, 0, 1000, world.now);
    world.pump();
    world.pass_seconds(30);
    assert_eq!(world.clients[0].gone, Some(CloseReason::Idle));
}

#[test]
fn what_waits_with_a_client_is_not_thrown_away_twice() {
    let mut world = World::with(&["a", "b", "c"], RouterConfig { max_clients: 3, ..config() });
    world.read_only(1, 0);
    world.end(1);
    for _ in 0..5 {
        world.send(0, &large("b", 50_000));
    }
    // A part of the large one waits with its sender; then its destination has to make room.
    world.send(0, &large("b", 300_000)[..240_000]);
    let a = world.clients[0].id.unwrap();
    assert_eq!((world.router.read_budget(a), world.router.discardable(a)), (0, 0));
    world.connect();
    assert_eq!(world.clients[1].gone, Some(CloseReason::Ended));
    world.send(0, &large("b", 300_000)[240_000..]);
    world.send(0, b"c|5|hello");
    assert_eq!((world.got(2).as_str(), world.clients[0].gone), ("hello", None));
}

#[test]
fn those_who_were_starved_are_fed_again() {
    let mut world =
        World::with(&["a", "b", "c", "d", "e"], RouterConfig { memory_limit: 200_000, ..config() });
    // Half messages, and bytes that are under way.
    world.send(0, &large("c", 60_000)[..47_000]);
    world.send(1, &large("c", 60_000)[..45_000]);
    world.send(4, &large("d", 1 << 20)[..10]);
    let (e, d) = (world.clients[4].id.unwrap(), world.clients[3].id.unwrap());
    world.router.spliced(e, d, 150_000, 0, world.now);
    world.send(0, &large("c", 60_000)[47_000..]);
    world.send(1, &large("c", 60_000)[45_000..]);
    assert_eq!(world.clients[2].got.len(), 0, "there is no memory");
    // A newcomer is let in all the same.
    let new = world.connect();
    world.send(new, b"new|");
    assert_eq!(world.router.names(), 6);
    world.router.spliced(e, d, 0, 150_000, world.now);
    world.pump();
    assert_eq!(world.clients[2].got.len(), 120_000);
}

#[test]
fn who_takes_a_little_now_and_then_is_tried_now_and_then() {
    let mut world = World::with(&["a", "slow"], config());
    world.read_only(1, 0);
    world.send(0, &large("slow", 60_000));
    let id = world.clients[1].id.unwrap();
    while world.router.next_output().is_some() {}
    for second in [2.5, 5.0, 7.5] {
        world.now += Duration::from_millis(2500);
        world.router.tick(world.now);
        assert_eq!(world.router.next_output(), Some(id), "at {second} s");
    }
    assert_eq!(world.clients[1].gone, None);
    world.pass_seconds(3);
    assert_eq!(world.clients[1].gone, Some(CloseReason::Slow));
}

#[test]
fn the_oldest_newcomer_makes_room() {
    let mut world = World::new(RouterConfig { max_clients: 5000, ..config() });
    for _ in 0..1025 {
        world.connect();
    }
    assert_eq!(world.clients[0].gone, Some(CloseReason::Evicted));
    assert!(world.clients[1..].iter().all(|client| client.gone.is_none()));
}

#[test]
fn more_than_may_come_are_refused() {
    let mut router = Router::new(RouterConfig { max_clients: 1, ..config() });
    let (now, ip) = (Instant::now(), "192.0.2.1".parse().unwrap());
    assert!(matches!(router.admit(ip, now), Admission::Joined(_)));
    assert_eq!(router.admit(ip, now), Admission::Refused(CloseReason::TooMany));
    // But one that only listens makes room.
    let mut world = World::with(&["a", "b"], RouterConfig { max_clients: 2, ..config() });
    world.end(1);
    world.connect();
    assert_eq!((world.clients[0].gone, world.clients[1].gone), (None, Some(CloseReason::Ended)));
}

#[test]
fn closing_down_delivers_what_is_there() {
    let mut world = World::with(&["a", "b"], config());
    world.read_only(1, 0);
    world.send(0, b"b|5|hello");
    world.router.close_down(world.now);
    world.pump();
    assert_eq!((world.clients[0].gone, world.clients[1].gone), (Some(CloseReason::Shutdown), None));
    world.read_only(1, usize::MAX);
    assert_eq!((world.got(1).as_str(), world.clients[1].gone), ("hello", Some(CloseReason::Shutdown)));
}

#[test]
fn an_hour_of_coming_and_going_leaves_nothing_behind() {
    let mut world = World::with(&["sink"], config());
    for turn in 0..3600_usize {
        let who = world.connect();
        world.send(who, format!("c{}|sink|5|hello", turn % 20).as_bytes());
        match turn % 4 {
            0 => world.reset(who),
            1 => world.end(who),
            _ => {}
        }
        world.send(0, b"sink|0|");
        world.pass_seconds(1);
        world.clients[0].got.clear();
        assert!(world.router.clients() <= 32, "{} clients", world.router.clients());
        if turn % 100 == 99 {
            // Those who are gone need not be looked at again.
            assert!(world.clients[1..turn - 40].iter().all(|client| client.gone.is_some()));
        }
    }
    world.pass_seconds(60);
    assert_eq!((world.router.clients(), world.router.names(), world.router.deadline()), (0, 0, None));
    world.assert_clean();
}

#[test]
fn a_hundred_thousand_idle_clients() {
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
