//! Replies of proxies, in any pieces: they mean the same, no byte of the session is taken, and nothing panics.

#![no_main]

use std::net::{Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, unused_imports)]
#[path = "../../src/proto/mod.rs"]
mod proto;

use proto::proxy::{Host, Protocol, ProxyHandshake, Request};

fuzz_target!(|input: (Vec<u8>, usize, u8, u8, String, Option<String>, Vec<u8>)| {
    let (bytes, piece, protocol, host, name, user, password) = input;
    let protocol = [Protocol::Connect, Protocol::Socks4, Protocol::Socks5][usize::from(protocol % 3)];
    let host = match host % 3 {
        0 => Host::Ip(Ipv4Addr::LOCALHOST.into()),
        1 => Host::Ip(Ipv6Addr::LOCALHOST.into()),
        _ => Host::Name(name),
    };
    let Ok(request) = Request::new(protocol, host, 22, user) else { return };
    let Ok(handshake) = request.begin(&password) else { return };
    if protocol == Protocol::Connect {
        // The lines are ours: the request line, the host, perhaps the user, and the end.
        let lines = handshake.output().split(|byte| *byte == b'\n').count() - 1;
        assert_eq!(lines, 3 + usize::from(request.user_with_password().is_some()));
    }
    let whole = converse(handshake.clone(), &bytes, bytes.len().max(1));
    let chopped = converse(handshake, &bytes, piece % 300 + 1);
    assert_eq!(whole, chopped);
});

/// Returns the bytes sent for these replies, and how many of them were taken and whether the proxy has connected.
fn converse(
    mut handshake: ProxyHandshake,
    bytes: &[u8],
    piece: usize,
) -> (Vec<u8>, Result<(usize, bool), String>) {
    let (mut sent, mut taken) = (Vec::new(), 0);
    loop {
        sent.extend(handshake.output());
        handshake.written(handshake.output().len());
        let end = bytes.len().min(taken + piece);
        match handshake.receive(&bytes[taken..end]) {
            Ok(n) => {
                let open = handshake.is_open();
                assert!(open || n > 0 || taken == end, "the handshake takes no byte, and is not open");
                taken += n;
                if open || (taken == bytes.len() && handshake.output().is_empty()) {
                    return (sent, Ok((taken, open)));
                }
            }
            Err(refusal) => {
                let refusal = refusal.to_string();
                assert!(!refusal.contains(|c: char| c.is_control()));
                return (sent, Err(refusal));
            }
        }
    }
}
