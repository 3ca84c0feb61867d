//! The pump between two made-up endpoints that read and write as little as they like, stall, and end
//! in any order: every byte arrives once, in order, and every session ends.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::*;
use crate::stage::{Compressor, Decode, Decompressor, Encode, Negotiation, Stages};

/// What an endpoint does next; when the list is used up it does all that it is asked.
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
    says: VecDeque<u8>,
    hears: Vec<u8>,
    /// The lengths of the writes: the datagrams, where it takes datagrams.
    writes: Vec<usize>,
    moods: VecDeque<Mood>,
    finished: bool,
    /// Bytes after which it takes no more.
    refuses_after: Option<usize>,
}

impl Actor {
    fn new(says: &[u8], moods: &[Mood]) -> Self {
        Self {
            says: says.iter().copied().collect(),
            hears: Vec::new(),
            writes: Vec::new(),
            moods: moods.iter().copied().collect(),
            finished: false,
            refuses_after: None,
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

impl Read for Actor {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.mood(buf.len())?;
        self.says.read(&mut buf[..n])
    }
}

impl Write for Actor {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        assert!(!self.finished, "it was written to after its end");
        if self.refuses_after.is_some_and(|most| self.hears.len() >= most) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let n = self.mood(buf.len())?;
        self.hears.extend_from_slice(&buf[..n]);
        self.writes.push(n);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Endpoint for Actor {
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

fn moods() -> impl Strategy<Value = Vec<Mood>> {
    let mood = prop_oneof![(1_usize..3000).prop_map(Mood::Short), Just(Mood::Stall)];
    prop::collection::vec(mood, 0..200)
}

/// Turns the pump until both flows are finished. The clock jumps to each deadline.
fn run(pump: &mut Pump, local: &mut Actor, peer: &mut Actor) {
    let mut now = Instant::now();
    for _ in 0..100_000 {
        if let Turn::Blocked(Some(until)) = pump.advance(local, peer, now) {
            assert!(until > now, "it would spin");
            now = until;
        }
        let outbound = pump.outbound.as_ref().map_or(State::Finished, Flow::state);
        if (pump.inbound.state(), outbound) == (State::Finished, State::Finished) {
            return;
        }
    }
    panic!("the session does not end");
}

fn shaped(shape: Shape) -> Flow {
    Flow::new(shape, Instant::now())
}

proptest! {
    #[test]
    fn every_byte_arrives_once_and_in_order(
        ours: Vec<u8>, theirs: Vec<u8>, here in moods(), there in moods(),
        rate in prop::option::of(1000_u64..10_000_000), size in prop::option::of(1_usize..100),
    ) {
        let (mut local, mut peer) = (Actor::new(&ours, &here), Actor::new(&theirs, &there));
        let cut = size.map_or(Cut::AsRead, Cut::Chunks);
        let pace = Pace::new(rate, None);
        let mut pump = Pump {
            inbound: shaped(Shape::plain()),
            outbound: Some(shaped(Shape { cut, pace, ..Shape::plain() })),
        };
        run(&mut pump, &mut local, &mut peer);
        prop_assert_eq!(&peer.hears, &ours);
        prop_assert_eq!(&local.hears, &theirs);
        prop_assert!(local.finished && peer.finished);
        let outbound = pump.outbound.unwrap();
        prop_assert_eq!((outbound.moved(), pump.inbound.moved()), (ours.len() as u64, theirs.len() as u64));
        prop_assert_eq!((outbound.pending(), pump.inbound.pending()), (0, 0));
    }

    #[test]
    fn a_filter_sees_every_byte_once(text in "[a\r\n]{0,300}", here in moods(), there in moods(), lines: bool) {
        let (mut local, mut peer) = (Actor::new(text.as_bytes(), &here), Actor::new(b"", &there));
        let cut = if lines { Cut::Lines(50) } else { Cut::AsRead };
        let stages = crate::stage::Stages { crlf: Some(crate::stage::Crlf::default()), ..Default::default() };
        let mut pump = Pump {
            inbound: shaped(Shape::plain()),
            outbound: Some(shaped(Shape { cut, stages, ..Shape::plain() })),
        };
        run(&mut pump, &mut local, &mut peer);
        let mut whole = Vec::new();
        crate::stage::Crlf::default().apply(text.as_bytes(), &mut whole);
        prop_assert_eq!(&peer.hears, &whole);
    }

    #[test]
    fn what_is_compressed_comes_out_and_is_counted(
        ours in prop::collection::vec(0_u8..3, 0..40_000), here in moods(), there in moods(),
        elsewhere in moods(), size in prop::option::of(1_usize..5000),
    ) {
        let (mut local, mut peer) = (Actor::new(&ours, &here), Actor::new(b"", &there));
        let outbound = shaped(Shape { cut: size.map_or(Cut::AsRead, Cut::Chunks), ..compressing() });
        let mut pump = Pump { inbound: shaped(Shape::plain()), outbound: Some(outbound) };
        run(&mut pump, &mut local, &mut peer);
        let outbound = pump.outbound.unwrap();
        prop_assert_eq!((outbound.moved(), outbound.content()), (peer.hears.len() as u64, ours.len() as u64));
        prop_assert_eq!((outbound.pending(), peer.finished), (0, true));

        let (mut local, mut peer) = (Actor::new(b"", &elsewhere), Actor::new(&peer.hears, &there));
        let mut pump = Pump { inbound: shaped(decompressing()), outbound: None };
        let sent = peer.says.len() as u64;
        run(&mut pump, &mut local, &mut peer);
        prop_assert!(local.hears == ours && local.finished && pump.inbound.fault().is_none());
        prop_assert_eq!((pump.inbound.moved(), pump.inbound.content()), (sent, ours.len() as u64));
        // An empty frame is nothing that was said.
        prop_assert_eq!(pump.inbound.reads() > 0, !ours.is_empty());
        prop_assert_eq!(pump.inbound.pending(), 0);
    }

    #[test]
    fn answers_tear_nothing_and_reach_whoever_reads(
        text in prop::collection::vec(any::<u8>(), 0..3000), says in prop::collection::vec(248_u8..=255, 0..3000),
        here in moods(), there in moods(), has_source: bool,
    ) {
        let text = if has_source { text } else { Vec::new() };
        let (mut local, mut peer) = (Actor::new(&text, &here), Actor::new(&says, &there));
        let mut negotiation = Negotiation::default();
        let mut heard = vec![0; says.len()];
        let (_, made) = negotiation.decode(&says, &mut heard);
        let shape = Shape { stages: Stages { encode: Some(Encode::Escape), ..Stages::default() }, pass_eof: false, ..Shape::plain() };
        let outbound = if has_source { shaped(shape) } else { Flow::for_answers(shape, Instant::now()) };
        let mut pump = Pump { inbound: shaped(negotiating()), outbound: Some(outbound) };
        run(&mut pump, &mut local, &mut peer);
        // What was answered last may still be on its way.
        for _ in 0..1000 {
            pump.advance(&mut local, &mut peer, Instant::now());
        }
        prop_assert_eq!(&local.hears, &heard[..made]);
        // Our own side of telnet sees the text as it was, and commands that are the answers, in their order.
        let (mut parsed, mut commands, mut at) = (Vec::new(), Vec::new(), 0);
        while at < peer.hears.len() {
            match peer.hears[at..] {
                [255, 255, ..] => { parsed.push(255); at += 2; }
                [255, verb, option, ..] => { commands.extend([255, verb, option]); at += 3; }
                [255, ..] => prop_assert!(false, "torn"),
                [byte, ..] => { parsed.push(byte); at += 1; }
                [] => {}
            }
        }
        prop_assert_eq!((&parsed, &commands), (&text, &*negotiation.answers()));
        prop_assert_eq!(pump.outbound.unwrap().pending(), 0);
    }

    #[test]
    fn whoever_refuses_the_other_direction_goes_on(
        ours: Vec<u8>, theirs: Vec<u8>, here in moods(), there in moods(), most in 0_usize..50,
    ) {
        let (mut local, mut peer) = (Actor::new(&ours, &here), Actor::new(&theirs, &there));
        local.refuses_after = Some(most);
        let inbound = shaped(Shape { reader_may_leave: true, ..Shape::plain() });
        let mut pump = Pump { inbound, outbound: Some(shaped(Shape::plain())) };
        run(&mut pump, &mut local, &mut peer);
        prop_assert_eq!(&peer.hears, &ours);
        prop_assert!(pump.inbound.fault().is_none() && theirs.starts_with(&local.hears));

        let (mut local, mut peer) = (Actor::new(&ours, &here), Actor::new(&theirs, &there));
        peer.refuses_after = Some(most);
        let mut pump = Pump { inbound: shaped(Shape::plain()), outbound: Some(shaped(Shape::plain())) };
        run(&mut pump, &mut local, &mut peer);
        prop_assert_eq!(&local.hears, &theirs);
        let outbound = pump.outbound.unwrap();
        prop_assert_eq!(outbound.fault().is_some(), ours.len() > peer.hears.len());
        prop_assert!(outbound.fault().is_none() || outbound.pending() > 0, "the loss is not counted");
    }

    #[test]
    fn datagrams_keep_their_sizes(text in "[ab\n]{0,400}", stalls in prop::collection::vec(any::<bool>(), 0..50)) {
        let moods: Vec<Mood> = stalls.iter().map(|stall| if *stall { Mood::Stall } else { Mood::Short(usize::MAX) }).collect();
        let (mut local, mut peer) = (Actor::new(text.as_bytes(), &[]), Actor::new(b"", &moods));
        let shape = Shape { cut: Cut::Lines(20), sink_datagram: Some(1000), ..Shape::plain() };
        let mut pump = Pump { inbound: shaped(Shape::plain()), outbound: Some(shaped(shape)) };
        run(&mut pump, &mut local, &mut peer);
        let lines: Vec<usize> = text.split_inclusive('\n').flat_map(|line| {
            line.as_bytes().chunks(20).map(<[u8]>::len)
        }).collect();
        prop_assert_eq!(&peer.writes, &lines);
    }
}

fn compressing() -> Shape {
    let encode = Encode::Compress(Compressor::new(3).unwrap().into());
    Shape { stages: Stages { encode: Some(encode), ..Stages::default() }, ..Shape::plain() }
}

fn decompressing() -> Shape {
    let decode = Decode::Decompress(Decompressor::new().unwrap().into());
    Shape { stages: Stages { decode: Some(decode), ..Stages::default() }, ..Shape::plain() }
}

fn negotiating() -> Shape {
    let decode = Decode::Negotiate(Negotiation::default());
    Shape { stages: Stages { decode: Some(decode), ..Stages::default() }, ..Shape::plain() }
}

/// What `zstd` would make of it, and whether it is whole.
fn decompressed(wire: &[u8]) -> (Vec<u8>, bool) {
    let (mut decompressor, mut buf) = (Decompressor::new().unwrap(), vec![0; 4 << 20]);
    let (taken, made) = decompressor.decode(wire, &mut buf).unwrap();
    assert_eq!(taken, wire.len());
    buf.truncate(made);
    (buf, decompressor.end().is_ok())
}

#[test]
fn a_pause_of_the_source_flushes() {
    // It is asked once more after what it brought has been sent; the peer takes nothing at first.
    let moods = [Mood::Short(6), Mood::Stall, Mood::Stall];
    let (mut local, mut peer) = (Actor::new(b"hello there", &moods), Actor::new(b"", &[Mood::Stall]));
    let (mut flow, now) = (shaped(compressing()), Instant::now());
    let heard = [(); 3].map(|()| {
        let step = flow.run(&mut local, &mut peer, now, SHARE);
        (step, decompressed(&peer.hears))
    });
    assert_eq!(heard[0], (Step::Blocked(None), (Vec::new(), true)));
    assert_eq!(heard[1], (Step::Blocked(None), (b"hello ".to_vec(), false)));
    assert_eq!(heard[2], (Step::Finished, (b"hello there".to_vec(), true)));
}

#[test]
fn what_is_cut_off_does_not_look_whole() {
    for pass_eof in [true, false] {
        let moods = [Mood::Short(5), Mood::Stall, Mood::Stall];
        let (mut local, mut peer) = (Actor::new(b"hello there", &moods), Actor::new(b"", &[Mood::Stall]));
        let (mut flow, now) = (shaped(compressing()), Instant::now());
        assert_eq!(flow.run(&mut local, &mut peer, now, SHARE), Step::Blocked(None));
        flow.stop(pass_eof);
        assert_eq!(flow.run(&mut local, &mut peer, now, SHARE), Step::Finished);
        assert_eq!(decompressed(&peer.hears), (b"hello".to_vec(), false));
        assert_eq!(peer.finished, pass_eof);
    }
    let (mut local, mut peer) =
        (Actor::new(b"hello there", &[Mood::Short(5), Mood::Fail]), Actor::new(b"", &[]));
    let mut flow = shaped(compressing());
    assert_eq!(flow.run(&mut local, &mut peer, Instant::now(), SHARE), Step::Finished);
    assert!(matches!(flow.fault(), Some(Fault::Source(_))) && !peer.finished);
    assert_eq!(decompressed(&peer.hears), (b"hello".to_vec(), false));
}

#[test]
fn what_the_compressor_holds_is_not_delivered() {
    let (mut local, mut peer) = (Actor::new(&[7; 1000], &[Mood::Short(1000)]), Actor::new(b"", &[]));
    peer.refuses_after = Some(0);
    let mut pump = Pump { inbound: shaped(Shape::plain()), outbound: Some(shaped(compressing())) };
    // The end of the source, the peer refuses; what it would have been sent is small, but it is there.
    run(&mut pump, &mut local, &mut peer);
    let outbound = pump.outbound.unwrap();
    assert!(outbound.fault().is_some() && outbound.pending() > 0);

    let (mut local, mut peer) = (Actor::new(&[7; 1000], &[Mood::Short(1000)]), Actor::new(b"", &[]));
    let mut flow = shaped(compressing());
    flow.run(&mut local, &mut peer, Instant::now(), 1);
    assert_eq!((flow.pending(), flow.content(), flow.moved()), (1000, 0, 0));
    flow.run(&mut local, &mut peer, Instant::now(), 1);
    assert_eq!((flow.pending(), flow.content(), flow.moved()), (1000, 1000, 0));
}

#[test]
fn what_was_read_is_decoded_though_no_more_is_read() {
    let text: Vec<u8> = (0..2_000_000_u32).map(|i| (i / 977 % 251) as u8).collect();
    let (mut wire, mut compressor) = (Vec::new(), Compressor::new(3).unwrap());
    compressor.write(&text, &mut wire).unwrap();
    compressor.end(&mut wire).unwrap();
    let (mut local, mut peer) = (Actor::new(b"", &[]), Actor::new(&wire, &[]));
    let mut pump = Pump { inbound: shaped(decompressing()), outbound: None };
    // A small piece of the wire has become so much that the sink has its turn before all is decoded.
    pump.inbound.run(&mut peer, &mut local, Instant::now(), 1);
    pump.inbound.stop(true);
    let read = wire.len() - peer.says.len();
    run(&mut pump, &mut local, &mut peer);
    assert!(local.hears == decompressed(&wire[..read]).0 && local.hears.len() > 1 << 17);
}

#[test]
fn lines_are_kept_whole_behind_a_decoder() {
    let (mut wire, mut compressor) = (Vec::new(), Compressor::new(3).unwrap());
    for part in ["on", "e\ntw", "o\nthree"] {
        compressor.write(part.as_bytes(), &mut wire).unwrap();
        compressor.flush(&mut wire).unwrap();
    }
    compressor.end(&mut wire).unwrap();
    for piece in [1, 5, 1000] {
        let (mut local, mut peer) =
            (Actor::new(b"", &[]), Actor::new(&wire, &vec![Mood::Short(piece); wire.len()]));
        let inbound = shaped(Shape { cut: Cut::Lines(100), ..decompressing() });
        run(&mut Pump { inbound, outbound: None }, &mut local, &mut peer);
        assert_eq!((local.writes, local.hears), (vec![4, 4, 5], b"one\ntwo\nthree".to_vec()));
    }
}

#[test]
fn answers_that_nobody_reads_stop_the_reading() {
    let says = [255, 253, 1].repeat(2_000_000);
    let (mut local, mut peer) = (Actor::new(b"", &[]), Actor::new(&says, &[]));
    let stages = Stages { encode: Some(Encode::Escape), ..Stages::default() };
    let outbound = Flow::for_answers(Shape { stages, ..Shape::plain() }, Instant::now());
    let mut pump = Pump { inbound: shaped(negotiating()), outbound: Some(outbound) };
    let mut mute = Mute(&mut peer);
    let now = Instant::now();
    let turns = (0..1000).take_while(|_| pump.advance(&mut local, &mut mute, now) == Turn::Yielded).count();
    assert!(turns < 1000, "it would spin");
    let read = says.len() - peer.says.len();
    assert!((4096..1 << 20).contains(&read), "{read}");
    run(&mut pump, &mut local, &mut peer);
    pump.advance(&mut local, &mut peer, now);
    assert_eq!(peer.hears.len(), says.len());
    assert!(peer.hears.chunks(3).all(|answer| answer == [255, 252, 1]));
}

/// A peer that reads nothing.
struct Mute<'a>(&'a mut Actor);

impl Read for Mute<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for Mute<'_> {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Endpoint for Mute<'_> {
    fn finish(&mut self) -> io::Result<()> {
        self.0.finish()
    }

    fn broken(&mut self) -> Option<io::Error> {
        None
    }
}

#[test]
fn a_delay_stands_between_lines() {
    let (mut local, mut peer) = (Actor::new(b"a\nb\nc\n", &[]), Actor::new(b"", &[]));
    let delay = Duration::from_secs(3);
    let shape = Shape { cut: Cut::Lines(100), pace: Pace::new(None, Some(delay)), ..Shape::plain() };
    let mut pump = Pump { inbound: shaped(Shape::plain()), outbound: Some(shaped(shape)) };
    let (start, mut heard) = (Instant::now(), Vec::new());
    let mut now = start;
    while let Turn::Blocked(Some(until)) = pump.advance(&mut local, &mut peer, now) {
        heard.push((now - start, peer.hears.len()));
        now = until;
    }
    heard.push((now - start, peer.hears.len()));
    assert_eq!(heard, [(Duration::ZERO, 2), (delay, 4), (delay * 2, 6)]);
}

#[test]
fn enough_is_enough() {
    let (mut local, mut peer) = (Actor::new(b"", &[]), Actor::new(b"abcdef", &[Mood::Short(2); 9]));
    let inbound = shaped(Shape { limit: Some(2), ..Shape::plain() });
    let mut pump = Pump { inbound, outbound: None };
    run(&mut pump, &mut local, &mut peer);
    assert_eq!(local.hears, b"abcd");
}
