//! The pump between two made-up endpoints that read and write as little as they like, stall, and end
//! in any order: every byte arrives once, in order, and every session ends.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::*;

/// What an endpoint does next; when the list is used up it does all that it is asked.
#[derive(Clone, Copy, Debug)]
enum Mood {
    /// Moves at most so many bytes.
    Short(usize),
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
