//! The pump between two made-up endpoints that read and write as little as they like, stall, and end
//! in any order: every byte arrives once, in order, and every session ends.

mod layers;

use std::{
    cell::RefCell,
    collections::VecDeque,
    fs::File,
    io::{self, Read},
    rc::Rc,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::{crlf::Crlf, *};
use crate::{
    endpoint::{Peer, Telnet, Zstd},
    tap::Hexdump,
};

/// The next reaction of an endpoint; when the list is used up, it does all that it is asked.
#[derive(Clone, Copy, Debug)]
enum Mood {
    /// Moves at most so many bytes.
    Short(usize),
    /// Fails.
    Fail,
    /// Would block.
    Stall,
}

#[derive(Debug)]
struct Actor {
    source: VecDeque<u8>,
    received: Vec<u8>,
    /// The lengths of the writes: the datagrams, where it takes datagrams.
    writes: Vec<usize>,
    moods: VecDeque<Mood>,
    finished: bool,
    /// Bytes after which it takes no more.
    refuses_after: Option<usize>,
    /// It takes nothing for now.
    stalled: bool,
}

impl Actor {
    fn new(source: &[u8], moods: &[Mood]) -> Self {
        Self {
            source: source.iter().copied().collect(),
            received: Vec::new(),
            writes: Vec::new(),
            moods: moods.iter().copied().collect(),
            finished: false,
            refuses_after: None,
            stalled: false,
        }
    }

    fn mood(&mut self, wanted: usize) -> io::Result<usize> {
        match self.moods.pop_front() {
            Some(Mood::Short(most)) => Ok(wanted.min(most.max(1))),
            Some(Mood::Fail) => Err(io::ErrorKind::InvalidInput.into()),
            Some(Mood::Stall) => Err(io::ErrorKind::WouldBlock.into()),
            None => Ok(wanted),
        }
    }
}

impl Endpoint for Actor {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.mood(buf.len())?;
        self.source.read(&mut buf[..n])
    }

    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        assert!(!self.finished, "it was written to after its end");
        if self.refuses_after.is_some_and(|most| self.received.len() >= most) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if self.stalled {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let n = self.mood(buf.len())?;
        self.received.extend_from_slice(&buf[..n]);
        self.writes.push(n);
        Ok(n)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.mood(1)?;
        assert!(!self.finished, "it was told twice");
        self.finished = true;
        Ok(())
    }

    fn broken(&mut self) -> Option<io::Error> {
        None
    }
}

/// A peer that can be looked at while a layer has it.
#[derive(Clone)]
struct Shared(Rc<RefCell<Actor>>);

impl Shared {
    fn new(actor: Actor) -> Self {
        Self(Rc::new(RefCell::new(actor)))
    }

    fn zstd(&self) -> Zstd {
        Zstd::new(Box::new(self.clone()), 3, true).unwrap()
    }

    fn received(&self) -> Vec<u8> {
        self.0.borrow().received.clone()
    }

    fn finished(&self) -> bool {
        self.0.borrow().finished
    }

    fn unsaid(&self) -> usize {
        self.0.borrow().source.len()
    }
}

impl Endpoint for Shared {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(buf)
    }

    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(buf)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.0.borrow_mut().finish()
    }

    fn broken(&mut self) -> Option<io::Error> {
        None
    }
}

impl Peer for Shared {}

fn moods() -> impl Strategy<Value = Vec<Mood>> {
    let mood = prop_oneof![(1_usize..3000).prop_map(Mood::Short), Just(Mood::Stall)];
    prop::collection::vec(mood, 0..200)
}

/// Reads to the end of file. Fails if the endpoint blocks before.
fn read_to_end(from: &mut dyn Endpoint, whole: &mut Vec<u8>) -> io::Result<()> {
    let mut buf = [0; 1000];
    loop {
        match from.read(&mut buf) {
            Ok(0) => return Ok(()),
            Ok(n) => whole.extend_from_slice(&buf[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes everything to an endpoint that does not block.
fn write_all(to: &mut dyn Endpoint, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let n = to.write(bytes).unwrap();
        bytes = &bytes[n..];
    }
}

/// Turns the pump until both flows are finished. The clock jumps to each deadline.
fn run(pump: &mut Pump, local: &mut dyn Endpoint, peer: &mut dyn Endpoint) {
    let mut now = Instant::now();
    for _ in 0..100_000 {
        if let Turn::Blocked(Some(until)) = pump.advance(local, peer, now) {
            assert!(until > now, "it would spin");
            now = until;
        }
        let outbound = pump.outbound.as_ref().map_or(Phase::Finished, Flow::phase);
        if (pump.inbound.phase(), outbound) == (Phase::Finished, Phase::Finished) {
            return;
        }
    }
    panic!("the session does not end");
}

fn flow(config: FlowConfig) -> Flow {
    Flow::new(config, Instant::now())
}

/// A direction from us to the peer.
fn out() -> FlowConfig {
    FlowConfig::plain(Traffic::Sent)
}

/// A direction from the peer to us.
fn inward() -> Flow {
    flow(FlowConfig::plain(Traffic::Received))
}

fn pump(outbound: FlowConfig) -> Pump {
    Pump { inbound: inward(), outbound: Some(flow(outbound)), taps: Taps::default() }
}

fn receiver(inbound: FlowConfig) -> Pump {
    Pump { inbound: flow(inbound), outbound: None, taps: Taps::default() }
}

proptest! {
    #[test]
    fn every_byte_arrives_once_and_in_order(
        ours: Vec<u8>, theirs: Vec<u8>, here in moods(), there in moods(),
        rate in prop::option::of(1000_u64..10_000_000), size in prop::option::of(1_usize..100),
    ) {
        let (mut local, mut peer) = (Actor::new(&ours, &here), Actor::new(&theirs, &there));
        let framing = size.map_or(Framing::AsRead, Framing::Chunks);
        let mut pump = pump(FlowConfig { framing, pace: Pace::new(rate, None), ..out() });
        run(&mut pump, &mut local, &mut peer);
        prop_assert_eq!(&peer.received, &ours);
        prop_assert_eq!(&local.received, &theirs);
        prop_assert!(local.finished && peer.finished);
        let outbound = pump.outbound.unwrap();
        prop_assert_eq!((outbound.moved(), pump.inbound.moved()), (ours.len() as u64, theirs.len() as u64));
        prop_assert_eq!((outbound.pending(), pump.inbound.pending()), (0, 0));
    }

    #[test]
    fn pieces_are_converted_after_they_are_framed(
        text in "[a\r\n]{0,300}", here in moods(), there in moods(), size in prop::option::of(1_usize..50),
    ) {
        let (mut local, mut peer) = (Actor::new(text.as_bytes(), &here), Actor::new(b"", &there));
        let framing = size.map_or(Framing::Lines(50), Framing::Chunks);
        let mut pump = pump(FlowConfig { framing, crlf: true, ..out() });
        run(&mut pump, &mut local, &mut peer);
        let (mut crlf, mut whole) = (Crlf::default(), Vec::new());
        let n = crlf.convert(text.as_bytes());
        whole.extend_from_slice(crlf.rest(n));
        prop_assert_eq!(&peer.received, &whole);
        let outbound = pump.outbound.unwrap();
        prop_assert_eq!((outbound.moved(), outbound.content()), (n as u64, text.len() as u64));
        prop_assert_eq!(outbound.pending(), 0);
    }

    #[test]
    fn what_is_compressed_comes_out_and_is_counted(
        ours in prop::collection::vec(0_u8..3, 0..40_000), here in moods(), there in moods(),
        elsewhere in moods(), size in prop::option::of(1_usize..5000),
        rate in prop::option::of(1000_u64..10_000_000),
    ) {
        let (mut local, peer) = (Actor::new(&ours, &here), Shared::new(Actor::new(b"", &there)));
        let framing = size.map_or(Framing::AsRead, Framing::Chunks);
        let mut pump = pump(FlowConfig { framing, pace: Pace::new(rate, None), ..encoded() });
        let mut zstd = peer.zstd();
        run(&mut pump, &mut local, &mut zstd);
        let sent = zstd.wire().unwrap().sent();
        prop_assert_eq!(zstd.held(), 0);
        let outbound = pump.outbound.unwrap();
        prop_assert_eq!((sent, outbound.moved()), (peer.received().len() as u64, ours.len() as u64));
        prop_assert_eq!((outbound.pending(), peer.finished()), (0, true));

        let (mut local, peer) = (Actor::new(b"", &elsewhere), Shared::new(Actor::new(&peer.received(), &there)));
        let mut pump = receiver(FlowConfig::plain(Traffic::Received));
        let sent = peer.unsaid() as u64;
        let mut zstd = peer.zstd();
        run(&mut pump, &mut local, &mut zstd);
        let received = zstd.wire().unwrap().received();
        prop_assert!(local.received == ours && local.finished && pump.inbound.fault().is_none());
        prop_assert_eq!((received, pump.inbound.moved()), (sent, ours.len() as u64));
        // An empty frame is nothing that was said.
        prop_assert_eq!(pump.inbound.reads() > 0, !ours.is_empty());
        prop_assert_eq!(pump.inbound.pending(), 0);
    }

    #[test]
    fn answers_tear_nothing_and_reach_a_peer_that_reads(
        text in prop::collection::vec(any::<u8>(), 0..3000), source in prop::collection::vec(248_u8..=255, 0..3000),
        here in moods(), there in moods(), has_source: bool,
    ) {
        let text = if has_source { text } else { Vec::new() };
        let (mut local, peer) = (Actor::new(&text, &here), Shared::new(Actor::new(&source, &there)));
        // The same bytes, read at once.
        let (alone, mut expected) = (Shared::new(Actor::new(&source, &[])), Vec::new());
        read_to_end(&mut Telnet::new(Box::new(alone.clone())), &mut expected).unwrap();
        let answers = alone.received();
        let mut pump = match has_source {
            true => pump(FlowConfig { pass_eof: false, ..encoded() }),
            false => receiver(FlowConfig::plain(Traffic::Received)),
        };
        let mut layer = Telnet::new(Box::new(peer.clone()));
        run(&mut pump, &mut local, &mut layer);

        // The last answers may still be on their way.
        for _ in 0..1000 {
            layer.tick(Instant::now());
            pump.advance(&mut local, &mut layer, Instant::now());
        }
        prop_assert_eq!(layer.held(), 0);
        prop_assert_eq!(&local.received, &expected);
        // Our own side of telnet sees the text as it was, and commands that are the answers, in their order.
        let (wire, mut parsed, mut commands, mut at) = (peer.received(), Vec::new(), Vec::new(), 0);
        while at < wire.len() {
            match wire[at..] {
                [255, 255, ..] => { parsed.push(255); at += 2; }
                [255, verb, option, ..] => { commands.extend([255, verb, option]); at += 3; }
                [255, ..] => prop_assert!(false, "torn"),
                [byte, ..] => { parsed.push(byte); at += 1; }
                [] => {}
            }
        }
        prop_assert_eq!((&parsed, &commands), (&text, &answers));
        prop_assert_eq!(pump.outbound.map_or(0, |flow| flow.pending()), 0);
    }

    #[test]
    fn when_one_side_refuses_the_other_direction_goes_on(
        ours: Vec<u8>, theirs: Vec<u8>, here in moods(), there in moods(), most in 0_usize..50,
    ) {
        let (mut local, mut peer) = (Actor::new(&ours, &here), Actor::new(&theirs, &there));
        local.refuses_after = Some(most);
        let inbound = flow(FlowConfig { sink_close_ok: true, ..FlowConfig::plain(Traffic::Received) });
        let mut one = Pump { inbound, ..pump(out()) };
        run(&mut one, &mut local, &mut peer);
        prop_assert_eq!(&peer.received, &ours);
        prop_assert!(one.inbound.fault().is_none() && theirs.starts_with(&local.received));

        let (mut local, mut peer) = (Actor::new(&ours, &here), Actor::new(&theirs, &there));
        peer.refuses_after = Some(most);
        let mut other = pump(out());
        run(&mut other, &mut local, &mut peer);
        prop_assert_eq!(&local.received, &theirs);
        let outbound = other.outbound.unwrap();
        prop_assert_eq!(outbound.fault().is_some(), ours.len() > peer.received.len());
        prop_assert!(outbound.fault().is_none() || outbound.pending() > 0, "the loss is not counted");
    }

    #[test]
    fn datagrams_keep_their_sizes(text in "[ab\n]{0,400}", stalls in prop::collection::vec(any::<bool>(), 0..50)) {
        let moods: Vec<Mood> = stalls.iter().map(|stall| if *stall { Mood::Stall } else { Mood::Short(usize::MAX) }).collect();
        let (mut local, mut peer) = (Actor::new(text.as_bytes(), &[]), Actor::new(b"", &moods));
        let config = FlowConfig { framing: Framing::Lines(20), sink_datagram: Some(1000), ..out() };
        run(&mut pump(config), &mut local, &mut peer);
        let lines: Vec<usize> = text.split_inclusive('\n').flat_map(|line| {
            line.as_bytes().chunks(20).map(<[u8]>::len)
        }).collect();
        prop_assert_eq!(&peer.writes, &lines);
    }
}

/// A direction to a layer that encodes.
fn encoded() -> FlowConfig {
    FlowConfig { encoded: true, ..out() }
}

#[test]
fn a_delay_stands_between_lines() {
    let (mut local, mut peer) = (Actor::new(b"a\nb\nc\n", &[]), Actor::new(b"", &[]));
    let delay = Duration::from_secs(3);
    let pace = Pace::new(None, Some(delay));
    let mut pump = pump(FlowConfig { framing: Framing::Lines(100), pace, ..out() });
    let (start, mut seen) = (Instant::now(), Vec::new());
    let mut now = start;
    while let Turn::Blocked(Some(until)) = pump.advance(&mut local, &mut peer, now) {
        seen.push((now - start, peer.received.len()));
        now = until;
    }
    seen.push((now - start, peer.received.len()));
    assert_eq!(seen, [(Duration::ZERO, 2), (delay, 4), (delay * 2, 6)]);
}

#[test]
fn bytes_that_a_tap_cannot_write_are_sent_once() {
    // A file that is open only for reading refuses every write.
    let dump = || Some(Hexdump::new(File::open("Cargo.toml").unwrap()));
    let watched = |traffic| FlowConfig { watched: true, ..FlowConfig::plain(traffic) };

    for traffic in [Traffic::Sent, Traffic::Received] {
        let (mut from, mut to) = (Actor::new(b"abc", &[]), Actor::new(b"", &[]));
        let (mut flow, mut taps) = (flow(watched(traffic)), Taps { dump: dump(), ..Taps::default() });
        assert_eq!(flow.run(&mut from, &mut to, &mut taps, Instant::now(), MAX_SHARE), Step::Finished);
        assert!(matches!(flow.fault(), Some(Fault::Tap(_))));
        assert_eq!(to.received, b"abc");
    }
}

#[test]
fn datagrams_have_their_size_before_line_feeds_are_converted() {
    let (mut local, mut peer) = (Actor::new(b"a\nb\nc\n", &[]), Actor::new(b"", &[]));
    let config = FlowConfig {
        framing: Framing::Chunks(4),
        crlf: true,
        sink_datagram: Some(1000),
        sink_offload: true,
        ..out()
    };
    run(&mut pump(config), &mut local, &mut peer);
    assert_eq!((peer.received, peer.writes), (b"a\r\nb\r\nc\r\n".to_vec(), vec![6, 3]));
}

#[test]
fn a_limit_of_reads_is_kept() {
    let (mut local, mut peer) = (Actor::new(b"", &[]), Actor::new(b"abcdef", &[Mood::Short(2); 9]));
    let inbound = FlowConfig { limit: Some(2), ..FlowConfig::plain(Traffic::Received) };
    run(&mut receiver(inbound), &mut local, &mut peer);
    assert_eq!(local.received, b"abcd");
}
