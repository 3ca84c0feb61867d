//! A pump over layers that encode: what crosses the wire, when, and how it is counted.

use super::*;

/// Returns the frame that `--zstd` sends for these bytes, flushed after each part.
fn compressed(parts: &[&[u8]]) -> Vec<u8> {
    let wire = Shared::new(Actor::new(b"", &[]));
    let mut zstd = wire.zstd();
    for part in parts {
        write_all(&mut zstd, part);
        zstd.flush().unwrap();
    }
    zstd.finish().unwrap();
    wire.received()
}

/// Returns the bytes in a frame, and whether it is whole.
fn decompressed(wire: &[u8]) -> (Vec<u8>, bool) {
    let (mut bytes, mut zstd) = (Vec::new(), Shared::new(Actor::new(wire, &[])).zstd());
    let is_whole = read_to_end(&mut zstd, &mut bytes).is_ok();
    (bytes, is_whole)
}

/// Runs the outbound direction alone until it blocks or has moved `share` bytes.
fn send(flow: &mut Flow, local: &mut Actor, peer: &mut dyn Endpoint, share: usize) -> Step {
    flow.run(local, peer, &mut Taps::default(), Instant::now(), share)
}

#[test]
fn a_pause_of_the_source_flushes() {
    // It is asked once more after what it brought has been sent; the peer takes nothing at first.
    let moods = [Mood::Short(6), Mood::Stall, Mood::Stall];
    let (mut local, peer) =
        (Actor::new(b"hello there", &moods), Shared::new(Actor::new(b"", &[Mood::Stall])));
    let mut flow = flow(encoded());
    let mut zstd = peer.zstd();

    let seen = [(); 3].map(|()| {
        let step = send(&mut flow, &mut local, &mut zstd, MAX_SHARE);
        (step, decompressed(&peer.received()))
    });

    assert_eq!(seen[0], (Step::Blocked(None), (Vec::new(), true)));
    assert_eq!(seen[1], (Step::Blocked(None), (b"hello ".to_vec(), false)));
    assert_eq!(seen[2], (Step::Finished, (b"hello there".to_vec(), true)));
}

#[test]
fn what_is_broken_off_does_not_look_whole() {
    for pass_eof in [true, false] {
        let moods = [Mood::Short(5), Mood::Stall, Mood::Stall];
        let (mut local, peer) =
            (Actor::new(b"hello there", &moods), Shared::new(Actor::new(b"", &[Mood::Stall])));
        let mut flow = flow(encoded());
        let mut zstd = peer.zstd();

        assert_eq!(send(&mut flow, &mut local, &mut zstd, MAX_SHARE), Step::Blocked(None));

        flow.stop(pass_eof);
        assert_eq!(send(&mut flow, &mut local, &mut zstd, MAX_SHARE), Step::Finished);
        assert_eq!(decompressed(&peer.received()), (b"hello".to_vec(), false));
        assert_eq!(peer.finished(), pass_eof);
    }

    let (mut local, peer) =
        (Actor::new(b"hello there", &[Mood::Short(5), Mood::Fail]), Shared::new(Actor::new(b"", &[])));
    let mut flow = flow(encoded());
    let mut zstd = peer.zstd();
    assert_eq!(send(&mut flow, &mut local, &mut zstd, MAX_SHARE), Step::Finished);
    assert!(matches!(flow.fault(), Some(Fault::Source(_))) && !peer.finished());
    assert_eq!(decompressed(&peer.received()), (b"hello".to_vec(), false));
}

#[test]
fn what_the_compressor_holds_is_not_delivered() {
    let (mut local, peer) = (Actor::new(&[7; 1000], &[Mood::Short(1000)]), Shared::new(Actor::new(b"", &[])));
    peer.0.borrow_mut().refuses_after = Some(0);
    let mut pump = pump(encoded());
    let mut zstd = peer.zstd();
    // The end of the source, the peer refuses; what it would have been sent is small, but it is there.
    run(&mut pump, &mut local, &mut zstd);
    let outbound = pump.outbound.unwrap();
    assert!(outbound.fault().is_some() && outbound.pending() + zstd.held() as u64 > 0);

    let (mut local, peer) = (Actor::new(&[7; 1000], &[Mood::Short(1000)]), Shared::new(Actor::new(b"", &[])));
    let mut flow = flow(encoded());
    let mut zstd = peer.zstd();
    send(&mut flow, &mut local, &mut zstd, 1);
    assert_eq!((flow.pending(), zstd.held(), flow.moved()), (1000, 0, 0));
    send(&mut flow, &mut local, &mut zstd, 1);
    assert_eq!((flow.pending(), zstd.held(), flow.moved()), (0, 1000, 1000));
    assert_eq!(zstd.wire().map(|wire| wire.sent()), Some(0));
}

#[test]
fn what_was_read_is_decoded_though_no_more_is_read() {
    let text: Vec<u8> = (0..2_000_000_u32).map(|i| (i / 977 % 251) as u8).collect();
    let wire = compressed(&[&text]);
    let (mut local, peer) = (Actor::new(b"", &[]), Shared::new(Actor::new(&wire, &[])));
    let mut pump = receiver(FlowConfig::plain(Traffic::Received));
    let mut zstd = peer.zstd();
    // A small piece of the wire has become so much that the sink has its turn before all is decoded.
    pump.inbound.run(&mut zstd, &mut local, &mut Taps::default(), Instant::now(), 1);
    pump.inbound.stop(true);
    let read = zstd.wire().map_or(0, |wire| wire.received()) as usize;
    run(&mut pump, &mut local, &mut zstd);
    assert!(local.received == decompressed(&wire[..read]).0 && local.received.len() > 1 << 17);
}

#[test]
fn lines_are_kept_whole_behind_a_decoder() {
    let wire = compressed(&[b"on", b"e\ntw", b"o\nthree"]);
    for piece in [1, 5, 1000] {
        let peer = Shared::new(Actor::new(&wire, &vec![Mood::Short(piece); wire.len()]));
        let mut local = Actor::new(b"", &[]);
        let inbound = FlowConfig { framing: Framing::Lines(100), ..FlowConfig::plain(Traffic::Received) };
        let mut zstd = peer.zstd();
        run(&mut receiver(inbound), &mut local, &mut zstd);
        assert_eq!((local.writes, local.received), (vec![4, 4, 5], b"one\ntwo\nthree".to_vec()));
    }
}

#[test]
fn answers_that_are_not_read_stop_the_reading() {
    let source = [255, 253, 1].repeat(2_000_000);
    let (mut local, peer) = (Actor::new(b"", &[]), Shared::new(Actor::new(&source, &[])));
    peer.0.borrow_mut().stalled = true;
    let mut layer = Telnet::new(Box::new(peer.clone()));
    let mut pump = receiver(FlowConfig::plain(Traffic::Received));

    let now = Instant::now();
    let turns = (0..1000).take_while(|_| pump.advance(&mut local, &mut layer, now) == Turn::Yielded).count();
    assert!(turns < 1000, "it would spin");

    let read = source.len() - peer.unsaid();
    assert!((4096..1 << 20).contains(&read), "{read}");

    peer.0.borrow_mut().stalled = false;
    run(&mut pump, &mut local, &mut layer);
    layer.tick(now);
    assert_eq!(peer.received().len(), source.len());
    assert!(peer.received().chunks(3).all(|answer| answer == [255, 252, 1]));
}

/// Returns both layers, over peers that take all.
fn layers() -> [(Shared, Box<dyn Peer>); 2] {
    let [one, other] = [(); 2].map(|()| Shared::new(Actor::new(b"", &[])));
    [(one.clone(), Box::new(one.zstd())), (other.clone(), Box::new(Telnet::new(Box::new(other))))]
}

/// Returns bytes that do not become fewer when they are compressed.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| byte()).collect()
}

#[test]
fn bytes_that_are_no_text_yet_are_movement() {
    let block = compressed(&[&b"abcdefgh".repeat(100)]);
    let nop = [255, 241];
    for ((peer, mut layer), source) in layers().into_iter().zip([&block[..], &nop]) {
        let moods = [Mood::Stall, Mood::Short(source.len() / 2), Mood::Stall];
        *peer.0.borrow_mut() = Actor::new(source, &moods);
        let mut local = Actor::new(b"", &[]);
        let mut pump = receiver(FlowConfig::plain(Traffic::Received));
        let start = pump.inbound.last();

        pump.advance(&mut local, &mut *layer, start + Duration::from_secs(1));
        assert_eq!(pump.inbound.last(), start);
        pump.advance(&mut local, &mut *layer, start + Duration::from_secs(2));
        assert_eq!((pump.inbound.last(), pump.inbound.reads()), (start + Duration::from_secs(2), 0));
    }
}

#[test]
fn bytes_that_leave_the_queue_are_movement() {
    // The layer takes all at once, and the peer only as much as it likes.
    let moods = [Mood::Short(100), Mood::Stall, Mood::Stall, Mood::Short(100), Mood::Stall, Mood::Stall];
    let here = [Mood::Short(1000), Mood::Stall, Mood::Stall, Mood::Stall];
    let (mut local, peer) = (Actor::new(&noise(2000), &here), Shared::new(Actor::new(b"", &moods)));
    let mut layer = Telnet::new(Box::new(peer.clone()));
    let mut flow = flow(encoded());
    let start = flow.last();

    let mut last = Vec::new();
    for seconds in 1..=3 {
        let now = start + Duration::from_secs(seconds);
        flow.run(&mut local, &mut layer, &mut Taps::default(), now, MAX_SHARE);
        flow.count_sent(&mut layer, now);
        last.push((flow.last() - start).as_secs());
    }
    assert_eq!((last, peer.received().len()), (vec![1, 2, 2], 200));
}

#[test]
fn a_reader_goes_on_once_its_answers_have_gone() {
    // The peer takes no answers while it is read, and all of them in the other direction's turn.
    let moods = [Mood::Short(6000), Mood::Stall, Mood::Short(6000), Mood::Stall];
    let source = [255, 253, 1].repeat(6000);
    let (mut local, peer) = (Actor::new(b"", &[Mood::Stall; 100]), Shared::new(Actor::new(&source, &moods)));
    let mut layer = Telnet::new(Box::new(peer.clone()));
    let (mut pump, now) = (pump(encoded()), Instant::now());

    while pump.advance(&mut local, &mut layer, now) == Turn::Yielded {}
    assert_eq!((peer.unsaid(), peer.received().len()), (0, source.len()));
}

#[test]
fn answers_keep_to_the_pace_and_go_after_our_end_too() {
    // Commands arrive before the source has ended, and after that.
    for moods in [&[][..], &[Mood::Stall]] {
        let source = [255, 253, 1].repeat(11);
        let (mut local, peer) = (Actor::new(b"", &[]), Shared::new(Actor::new(&source, moods)));
        let mut layer = Telnet::new(Box::new(peer.clone()));
        let pace = Pace::new(Some(10), None);
        let mut pump = pump(FlowConfig { pass_eof: false, pace, ..encoded() });

        let start = Instant::now();
        pump.advance(&mut local, &mut layer, start);

        let mut now = start;
        loop {
            layer.tick(now);
            match pump.advance(&mut local, &mut layer, now) {
                Turn::Blocked(Some(until)) => now = until,
                Turn::Blocked(None) => break,
                Turn::Yielded => {}
            }
        }
        assert_eq!(pump.outbound.as_ref().map(Flow::phase), Some(Phase::Finished));
        assert_eq!(peer.received().len(), source.len());
        let seconds = (now - start).as_secs_f64();
        assert!((3.0..3.5).contains(&seconds), "{seconds}");
    }
}

#[test]
fn a_delay_stands_between_lines_on_the_wire() {
    for (peer, mut layer) in layers() {
        let mut local = Actor::new(b"a\nb\n", &[]);
        peer.0.borrow_mut().stalled = true;
        let delay = Duration::from_secs(3);
        let pace = Pace::new(None, Some(delay));
        let mut flow = flow(FlowConfig { framing: Framing::Lines(100), pace, ..encoded() });

        let start = Instant::now();
        let mut step = |now| {
            // The layer may find room before the flow does.
            layer.tick(now);
            flow.run(&mut local, &mut *layer, &mut Taps::default(), now, MAX_SHARE)
        };
        assert_eq!(step(start), Step::Blocked(None));

        peer.0.borrow_mut().stalled = false;
        let now = start + Duration::from_secs(1);
        while let Step::Moved(_) = step(now) {}
        let first = peer.received();
        assert!(first == b"a\n" || decompressed(&first).0 == b"a\n");
        assert_eq!(step(now), Step::Blocked(Some(now + delay)));
    }
}

#[test]
fn bytes_that_wait_in_a_queue_are_counted_as_far_as_they_wait() {
    let text = noise(100_000);
    let half = text.len() / 2;
    for (peer, mut layer) in layers() {
        peer.0.borrow_mut().stalled = true;
        assert_eq!(layer.write(&text).unwrap(), text.len());
        layer.flush().unwrap_err();
        assert_eq!(layer.held(), text.len());

        peer.0.borrow_mut().stalled = false;
        peer.0.borrow_mut().moods = VecDeque::from([Mood::Short(half), Mood::Stall]);
        layer.flush().unwrap_err();
        // A header, or bytes that are sent twice, belong to the queue too.
        assert!((half..half + half / 100).contains(&layer.held()), "{}", layer.held());

        layer.flush().unwrap();
        assert_eq!(layer.held(), 0);
    }
}
