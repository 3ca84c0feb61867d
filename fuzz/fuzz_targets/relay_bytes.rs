//! Arbitrary input of a client: its pieces do not matter, and nothing panics.

#![no_main]

use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, unused_imports)]
#[path = "../../src/proto/mod.rs"]
mod proto;

use proto::relay::{Admission, Authenticator, Event, Id, Router, RouterConfig};

fuzz_target!(|input: (Vec<u8>, usize, bool)| {
    let (bytes, piece, framed) = input;
    let whole = deliver(&bytes, bytes.len().max(1), framed);
    let cut = deliver(&bytes, piece % 300 + 1, framed);
    assert_eq!(whole, cut);
});

/// Delivers the input of a client in pieces. Returns the bytes that the clients `a` and `b` receive, and whether the sender was
/// closed.
fn deliver(bytes: &[u8], piece: usize, framed: bool) -> (Vec<u8>, Vec<u8>, bool) {
    let now = Instant::now();
    let mut router = Router::new(RouterConfig {
        max_clients: 10,
        max_per_address: 0,
        max_message: u64::MAX,
        register_timeout: Duration::from_secs(3),
        header_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(30),
        stall_timeout: Duration::from_secs(10),
        framed,
        memory_limit: 1 << 20,
        authenticator: Authenticator::Open,
    });
    let mut connect = |name: &[u8]| {
        let Admission::Joined(id) = router.admit(IpAddr::V4(Ipv4Addr::LOCALHOST), now) else { panic!() };
        router.receive(id, name, now);
        id
    };
    let (a, b, sender) = (connect(b"a|"), connect(b"b|"), connect(b""));
    let (mut to_a, mut to_b, mut gone) = (Vec::new(), Vec::new(), false);
    for part in bytes.chunks(piece) {
        if gone || router.read_budget(sender) == 0 {
            break;
        }
        router.receive(sender, part, now);
        for (id, got) in [(a, &mut to_a), (b, &mut to_b)] {
            take(&mut router, id, got, now);
        }
        while let Some(event) = router.next_event() {
            gone |= matches!(event, Event::Left { id, .. } if id == sender);
        }
    }
    (to_a, to_b, gone)
}

fn take(router: &mut Router, id: Id, got: &mut Vec<u8>, now: Instant) {
    loop {
        let output = router.output(id).to_vec();
        if output.is_empty() {
            return;
        }
        router.written(id, output.len(), now);
        got.extend(output);
    }
}
