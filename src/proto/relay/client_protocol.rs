//! The other side of the relay: who registers a name, sends messages, and proves to itself that it is confirmed.
//!
//! The relay never answers. So a client sends a message to itself, which nobody else could know: when that comes back,
//! everything before it has been confirmed, the registration first of all.

use std::{
    collections::VecDeque,
    ops::Range,
    time::{Duration, Instant},
};

use super::{MAX_STORED, header::is_name};

/// Bytes that nobody can guess.
pub type Nonce = [u8; 24];

/// A client of the relay. It is told what is to be sent and what has come, and tells what there is to write.
#[derive(Debug)]
pub struct ClientProtocol {
    name: Vec<u8>,
    out: Vec<u8>,
    /// Bytes at the front of `out` that were written.
    start: usize,
    /// Where the last message that was to be sent stands in `out`.
    last: Range<usize>,
    /// Bytes of its payload.
    payload: usize,
    /// The messages to itself that have not come back, in their order, and how many others went before each.
    probes: VecDeque<(Nonce, u64)>,
    /// Messages that were to be sent, and how many of them are known to have been confirmed.
    sent: u64,
    confirmed: u64,
    /// What has come, and may be the probe_prefix of the probe.
    held_back: Vec<u8>,
    registered: bool,
    /// When it last said anything.
    last_sent: Instant,
}

impl ClientProtocol {
    /// Registers with `registration`, which makes `name` ours, and asks itself whether that was confirmed.
    pub fn new(registration: &[u8], name: &[u8], nonce: Nonce, now: Instant) -> Self {
        let mut client = Self {
            name: name.to_vec(),
            out: [registration, b"|"].concat(),
            start: 0,
            last: 0..0,
            payload: 0,
            probes: VecDeque::new(),
            sent: 0,
            confirmed: 0,
            held_back: Vec::new(),
            registered: false,
            last_sent: now,
        };
        client.probe(nonce, now);
        client
    }

    /// Begins anew, with another relay or the same: registers again, and says again what was not written whole.
    pub fn reconnect(&mut self, registration: &[u8], nonce: Nonce, now: Instant) {
        let payload = self.unwritten();
        let unwritten = self.start < self.last.end;
        let rest = if unwritten { self.out[self.last.clone()].to_vec() } else { Vec::new() };
        *self = Self::new(registration, &std::mem::take(&mut self.name), nonce, now);
        (self.last, self.payload) = (self.out.len()..self.out.len() + rest.len(), payload);
        self.sent = u64::from(unwritten);
        self.out.extend(rest);
    }

    /// Sends a message. More than [`MAX_STORED`] bytes go through the relay only as they come; `dest` has to be a name.
    pub fn send(&mut self, dest: &[u8], payload: &[u8], now: Instant) {
        let start = self.push(dest, payload, now);
        (self.last, self.payload) = (start..self.out.len(), payload.len());
        self.sent += 1;
    }

    /// Messages that were written and are not known to have been confirmed: they are lost if the relay is.
    pub fn unconfirmed(&self) -> u64 {
        self.sent - self.confirmed - u64::from(self.start < self.last.end)
    }

    /// Bytes of the last message that was to be sent, if it was not written whole.
    pub fn unwritten(&self) -> usize {
        if self.start < self.last.end { self.payload } else { 0 }
    }

    /// Puts a message behind what is to be written; where it begins.
    fn push(&mut self, dest: &[u8], payload: &[u8], now: Instant) -> usize {
        debug_assert!(is_name(dest) && payload.len() <= MAX_STORED, "not what a relay keeps whole");
        if self.start == self.out.len() {
            self.out.clear();
            (self.start, self.last) = (0, 0..0);
        }
        let start = self.out.len();
        self.out.extend_from_slice(dest);
        self.out.extend_from_slice(format!("|{}|", payload.len()).as_bytes());
        self.out.extend_from_slice(payload);
        self.last_sent = now;
        start
    }

    /// Asks itself whether everything up to here was confirmed.
    pub fn probe(&mut self, nonce: Nonce, now: Instant) {
        let name = std::mem::take(&mut self.name);
        self.push(&name, &nonce, now);
        self.name = name;
        self.probes.push_back((nonce, self.sent));
    }

    /// What is to be written.
    pub fn output(&self) -> &[u8] {
        &self.out[self.start..]
    }

    /// So many bytes of the output were written.
    pub fn written(&mut self, bytes: usize) {
        self.start += bytes;
    }

    /// These bytes have come: puts the payload among them into `payload`.
    pub fn receive(&mut self, bytes: &[u8], payload: &mut Vec<u8>) {
        self.held_back.extend_from_slice(bytes);
        while let Some((nonce, sent)) = self.probes.front() {
            let Some(at) = self.held_back.windows(nonce.len()).position(|window| window == nonce) else {
                let kept = self.probe_prefix(nonce);
                payload.extend(self.held_back.drain(..self.held_back.len() - kept));
                return;
            };
            // A relay that frames its messages says whose this one is.
            let frame = self.frame(nonce);
            let before = self.held_back[..at].strip_suffix(&frame[..]).map_or(at, <[u8]>::len);
            payload.extend_from_slice(&self.held_back[..before]);
            let end = at + nonce.len();
            self.held_back.drain(..end);
            self.confirmed = *sent;
            self.probes.pop_front();
            self.registered = true;
        }
        payload.append(&mut self.held_back);
    }

    /// Whether the registration is known to have been confirmed.
    pub fn is_registered(&self) -> bool {
        self.registered
    }

    /// Whether everything up to the last probe is known to have been confirmed.
    pub fn is_confirmed(&self) -> bool {
        self.probes.is_empty()
    }

    /// When [`ClientProtocol::tick`] has something to do.
    pub fn deadline(&self) -> Instant {
        self.last_sent + KEEPALIVE
    }

    /// Says that it is still there, if it has said nothing for a while.
    pub fn tick(&mut self, now: Instant) {
        if now >= self.deadline() {
            let name = std::mem::take(&mut self.name);
            self.push(&name, b"", now);
            self.name = name;
        }
    }

    /// How many of the last bytes that came may be the probe_prefix of a probe, with or without its frame.
    fn probe_prefix(&self, nonce: &Nonce) -> usize {
        let framed = [&self.frame(nonce)[..], nonce].concat();
        let part = |whole: &[u8]| (1..whole.len()).rev().find(|n| self.held_back.ends_with(&whole[..*n]));
        part(&framed).max(part(nonce)).unwrap_or(0)
    }

    /// What stands before a message to oneself where messages are framed.
    fn frame(&self, nonce: &Nonce) -> Vec<u8> {
        [&self.name[..], format!("|{}|", nonce.len()).as_bytes()].concat()
    }
}

/// How long a client may be silent before it says that it is still there.
const KEEPALIVE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: Nonce = *b"0123456789abcdefghijklmn";

    fn client() -> ClientProtocol {
        ClientProtocol::new(b"key:me", b"me", NONCE, Instant::now())
    }

    #[test]
    fn it_registers_and_sends() {
        let (mut client, now) = (client(), Instant::now());
        client.send(b"you", b"hello", now);
        assert_eq!(client.output(), b"key:me|me|24|0123456789abcdefghijklmnyou|5|hello");
        client.written(client.output().len());
        client.send(b"you", b"", now);
        assert_eq!(client.output(), b"you|0|");
    }

    #[test]
    fn the_probe_is_no_payload_however_it_comes() {
        for frame in ["", "me|24|"] {
            let came = [b"before0123", frame.as_bytes(), &NONCE, b"after|24|me|"].concat();
            for first in 0..=came.len() {
                for second in first..=came.len() {
                    let (mut client, mut payload) = (client(), Vec::new());
                    for part in [&came[..first], &came[first..second], &came[second..]] {
                        client.receive(part, &mut payload);
                    }
                    assert_eq!(
                        payload.escape_ascii().to_string(),
                        "before0123after|24|me|",
                        "{first} {second}"
                    );
                    assert!(client.is_registered() && client.is_confirmed());
                }
            }
        }
    }

    #[test]
    fn what_is_not_the_probe_is_not_kept() {
        let (mut client, mut payload) = (client(), Vec::new());
        client.receive(b"hello", &mut payload);
        assert_eq!(payload, b"hello");
        client.receive(b"0123", &mut payload);
        assert_eq!(payload, b"hello", "it may be the probe");
        client.receive(b"x", &mut payload);
        assert_eq!(payload, b"hello0123x");
        assert!(!client.is_registered());
    }

    #[test]
    fn what_was_not_written_whole_is_said_again() {
        let (mut client, now) = (client(), Instant::now());
        client.written(client.output().len());
        client.receive(&NONCE, &mut Vec::new());
        client.send(b"you", b"hello", now);
        client.written(7);
        client.reconnect(b"me", NONCE, now);
        assert_eq!(client.output(), b"me|me|24|0123456789abcdefghijklmnyou|5|hello");
        assert!(!client.is_registered());
        client.probe(NONCE, now);
        client.reconnect(b"me", NONCE, now);
        assert_eq!(client.output(), b"me|me|24|0123456789abcdefghijklmnyou|5|hello");
        client.written(client.output().len());
        client.reconnect(b"me", NONCE, now);
        assert_eq!(client.output(), b"me|me|24|0123456789abcdefghijklmn");
    }

    #[test]
    fn it_keeps_itself_alive() {
        let (mut client, start) = (client(), Instant::now());
        client.written(client.output().len());
        client.tick(start + Duration::from_secs(9));
        assert_eq!(client.output(), b"");
        let later = start + Duration::from_secs(11);
        client.tick(later);
        assert_eq!((client.output(), client.deadline()), (&b"me|0|"[..], later + KEEPALIVE));
    }

    #[test]
    fn a_later_probe_tells_that_all_was_confirmed() {
        for apart in [true, false] {
            let (mut client, mut payload, now) = (client(), Vec::new(), Instant::now());
            if apart {
                client.receive(&NONCE, &mut payload);
            }
            client.send(b"you", b"hello", now);
            let nonce = [b'z'; 24];
            client.probe(nonce, now);
            if !apart {
                client.receive(&NONCE[..10], &mut payload);
                client.receive(&NONCE[10..], &mut payload);
            }
            assert!(client.is_registered() && !client.is_confirmed());
            client.receive(&nonce, &mut payload);
            assert!(client.is_confirmed() && payload.is_empty());
        }
    }
}
