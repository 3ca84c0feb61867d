//! Bytes of a telnet server: they never become more, answers to them need no answer, and our text survives.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, unused_imports)]
#[path = "../../src/proto/mod.rs"]
mod proto;

use proto::telnet::{Telnet, escape};

fuzz_target!(|bytes: &[u8]| {
    let (text, answers) = receive(bytes);
    assert!(text.len() + answers.len() <= bytes.len());
    assert_eq!(receive(&answers), (Vec::new(), Vec::new()));
    // Text among commands is received unchanged.
    let mut sent = b"\xff\xfa\x18\x01\xff\xf0".to_vec();
    escape(bytes, &mut sent);
    sent.extend(b"\xff\xf9");
    assert_eq!(receive(&sent), (bytes.to_vec(), Vec::new()));
});

/// Returns the text, and the answers.
fn receive(bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut telnet, mut answers) = (Telnet::default(), Vec::new());
    let text = bytes.iter().filter_map(|byte| telnet.receive(*byte, &mut answers)).collect();
    (text, answers)
}
