//! Whatever a proxy says: it does not matter how the network cuts it, no byte of the session is taken, and nothing panics.

#![no_main]

use std::net::{Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, unused_imports)]
#[path = "../../src/proto/mod.rs"]
mod proto;

use proto::proxy::{Handshake, Host, Protocol, Refusal, Request};

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
    let cut = converse(handshake, &bytes, piece % 300 + 1);
    assert_eq!(whole, cut);
});

/// What is sent for these bytes, how many of them are taken, and whether it is open then.
fn converse(
    mut handshake: Handshake,
    bytes: &[u8],
    piece: usize,
) -> (Vec<u8>, Result<(usize, bool), Refusal>) {
    let (mut sent, mut taken) = (Vec::new(), 0);
    loop {
        sent.extend(handshake.output());
        handshake.written(handshake.output().len());
        let end = bytes.len().min(taken + piece);
        match handshake.receive(&bytes[taken..end]) {
            Ok(n) => {
                let open = handshake.is_open();
                assert!(open || n > 0 || taken == end, "it would be asked again and again");
                taken += n;
                if open || (taken == bytes.len() && handshake.output().is_empty()) {
                    return (sent, Ok((taken, open)));
                }
            }
            Err(refusal) => {
                assert!(!refusal.to_string().contains(|c: char| c.is_control()));
                return (sent, Err(refusal));
            }
        }
    }
}
