//! Requests to the practice servers, in any pieces: they mean the same, answers end, and nothing panics.

#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, unused_imports)]
#[path = "../../src/proto/mod.rs"]
mod proto;

use proto::practice::{
    Answer, Collector, MAX_REQUEST, Next, Request, StreamStats, Style,
    files::{CommandReader, announced_size},
};

fuzz_target!(|input: (Vec<u8>, usize, bool, bool)| {
    let (bytes, piece, datagrams, sequence) = input;
    let piece = piece % 2000 + 1;
    let now = Instant::now();

    // A request, all at once and in pieces.
    let collect = |piece: usize| {
        let mut collector = Collector::default();
        let found = bytes.chunks(piece).find_map(|part| collector.receive(part, now));
        found.or_else(|| collector.ended())
    };
    let request = collect(bytes.len().max(1));
    assert_eq!(request, collect(piece));
    assert!(
        bytes.len() > MAX_REQUEST
            || bytes.contains(&b'\n')
            || bytes.is_empty()
            || request == Some(Request::parse(&bytes))
    );

    // Its answer has the size that was computed.
    if let Some(request) = request.filter(|request| request.answer_size() < 1 << 20) {
        let computed = request.answer_size();
        let style = Style { datagrams, marker_pause: Duration::from_millis(50), sequence };
        let (mut answer, mut now, mut sent) = (Answer::new(request, style, now), now, 0);
        loop {
            let n = match answer.next(now) {
                Next::Done => break,
                Next::Wait(until) => {
                    assert!(until > now);
                    now = until;
                    continue;
                }
                Next::Send(bytes) => {
                    if datagrams {
                        bytes.len()
                    } else {
                        bytes.len().min(piece)
                    }
                }
            };
            assert!(n > 0);
            sent += n as u64;
            answer.sent(n, now);
        }
        assert_eq!(sent, computed);
    }

    // Commands, all at once and in pieces.
    let commands = |piece: usize| {
        let (mut reader, mut found) = (CommandReader::default(), Vec::new());
        for part in bytes.chunks(piece) {
            reader.receive(part);
            loop {
                match reader.next_command() {
                    Ok(Some(command)) => found.push(command),
                    Ok(None) => break,
                    Err(_) => return (found, true),
                }
            }
        }
        (found, false)
    };
    assert_eq!(commands(1), commands(piece));

    // Replies and packets of a server.
    let _ = announced_size(&bytes);
    let mut packets = StreamStats::new(piece as u32, Duration::from_millis(10), now);
    for (part, at) in bytes.chunks(4).zip(0..) {
        packets.receive(part, now + Duration::from_millis(at));
    }
    let stats = packets.stats();
    assert!(stats.lost <= stats.sent);
});
