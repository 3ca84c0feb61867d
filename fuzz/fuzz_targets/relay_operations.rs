//! Arbitrary operations in arbitrary order: nothing panics, stored bytes are bounded, and none is left at the end.

#![no_main]

use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

#[allow(dead_code, unused_imports)]
#[path = "../../src/proto/mod.rs"]
mod proto;

use proto::relay::{Admission, Authenticator, Event, Id, Router, RouterConfig};

#[derive(Arbitrary, Debug)]
enum Operation {
    Connect,
    Register(u8, u8),
    Send { from: u8, to: u8, length: u32 },
    Bytes(u8, Vec<u8>),
    Write { to: u8, bytes: u16 },
    Fill { from: u8, bytes: u16 },
    Drain { to: u8, bytes: u16 },
    End(u8),
    Lose(u8),
    Pass(u16),
    CloseDown,
}

fuzz_target!(|input: (bool, Vec<Operation>)| {
    let (framed, operations) = input;
    let mut now = Instant::now();
    let mut router = Router::new(RouterConfig {
        max_clients: 20,
        max_per_address: 0,
        max_message: 1 << 22,
        register_timeout: Duration::from_secs(3),
        header_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(30),
        stall_timeout: Duration::from_secs(10),
        framed,
        memory_limit: MEMORY,
        authenticator: Authenticator::Open,
    });
    let mut ids: Vec<Id> = Vec::new();
    // Bytes in a pipe, with their sender and their destination.
    let mut piped: Vec<(Id, Id, u64)> = Vec::new();
    for operation in operations {
        let who = |n: u8, ids: &[Id]| (!ids.is_empty()).then(|| ids[usize::from(n) % ids.len()]);
        match operation {
            Operation::Connect => {
                if let Admission::Joined(id) = router.admit(IpAddr::V4(Ipv4Addr::LOCALHOST), now) {
                    ids.push(id);
                }
            }
            Operation::Register(n, name) => {
                if let Some(id) = who(n, &ids) {
                    hear(&mut router, id, &[b'a' + name % 8, b'|'], now);
                }
            }
            Operation::Send { from, to, length } => {
                if let Some(id) = who(from, &ids) {
                    let mut bytes = format!("{}|{length}|", char::from(b'a' + to % 8)).into_bytes();
                    bytes.resize(bytes.len() + length.min(1 << 18) as usize, b'x');
                    hear(&mut router, id, &bytes, now);
                }
            }
            Operation::Bytes(n, bytes) => {
                if let Some(id) = who(n, &ids) {
                    hear(&mut router, id, &bytes, now);
                }
            }
            Operation::Write { to, bytes } => {
                if let Some(id) = who(to, &ids) {
                    let n = router.output(id).len().min(bytes.into());
                    router.written(id, n, now);
                }
            }
            Operation::Fill { from, bytes } => {
                if let Some(id) = who(from, &ids)
                    && let Some(splice) = router.splice(id).filter(|splice| !splice.queued)
                {
                    let n = splice.left.min(bytes.into());
                    router.spliced(id, splice.to, n, 0, now);
                    piped.push((id, splice.to, n));
                }
            }
            Operation::Drain { to, bytes } => {
                if !piped.is_empty() {
                    let at = usize::from(to) % piped.len();
                    let (from, to, held) = piped[at];
                    let n = held.min(bytes.into());
                    router.spliced(from, to, 0, n, now);
                    piped[at].2 -= n;
                }
            }
            Operation::End(n) => {
                if let Some(id) = who(n, &ids)
                    && router.read_budget(id) > 0
                {
                    router.ended(id, now);
                }
            }
            Operation::Lose(n) => {
                if let Some(id) = who(n, &ids) {
                    router.lost(id, now);
                }
            }
            Operation::Pass(time) => {
                now += Duration::from_millis(time.into());
                router.tick(now);
            }
            Operation::CloseDown => router.close_down(now),
        }
        while router.next_output().is_some() {}
        while let Some(event) = router.next_event() {
            if let Event::Left { id, .. } = event {
                ids.retain(|known| *known != id);
            }
        }
        // One read and one prefix may exceed the limit.
        assert!(router.used() <= MEMORY + (1 << 19), "{} bytes are kept", router.used());
        assert!(router.deadline().is_none_or(|deadline| deadline > now) || router.clients() > 0);
    }
    for id in ids {
        router.lost(id, now);
    }
    assert_eq!((router.clients(), router.names(), router.used()), (0, 0, 0));
});

/// Delivers input as far as the router has a budget for it.
fn hear(router: &mut Router, id: Id, bytes: &[u8], now: Instant) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let n = router.read_budget(id).min(rest.len());
        if n == 0 {
            return;
        }
        router.receive(id, &rest[..n], now);
        rest = &rest[n..];
    }
}

const MEMORY: usize = 1 << 20;
