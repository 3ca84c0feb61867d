//! The client's side of the relay: registers a name, sends messages, and confirms that the relay has read them.
//!
//! The relay never answers. So the client sends a probe to itself, a message that no other client can guess: when it comes
//! back, the relay has read everything before it, the registration first of all.

use std::{
    collections::VecDeque,
    ops::Range,
    time::{Duration, Instant},
};

use super::{MAX_STORED, header::is_name};

/// Random bytes of a probe.
pub type Nonce = [u8; 24];

/// The state of a client. The driver writes [`ClientProtocol::output`] and reports it by [`ClientProtocol::written`], passes
/// received bytes to [`ClientProtocol::receive`], and calls [`ClientProtocol::tick`] at [`ClientProtocol::deadline`].
#[derive(Debug)]
pub struct ClientProtocol {
    name: Vec<u8>,
    out: Vec<u8>,
    /// Bytes at the front of `out` that were written.
    start: usize,
    /// The position of the last message in `out`.
    last: Range<usize>,
    /// Bytes of its payload.
    payload: usize,
    /// The probes that have not come back, oldest first, and the messages that were sent before each.
    probes: VecDeque<(Nonce, u64)>,
    /// Messages that were given to [`ClientProtocol::send`].
    sent: u64,
    /// Messages that the relay has certainly read.
    confirmed: u64,
    /// Received bytes that may be the beginning of a probe.
    held_back: Vec<u8>,
    registered: bool,
    /// The time when bytes were last queued.
    last_sent: Instant,
}

impl ClientProtocol {
    /// Registers with `registration`, which makes `name` ours, and sends a probe with `nonce`.
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

    /// Starts again over a new connection: registers, and sends the message again that was not written completely.
    pub fn reconnect(&mut self, registration: &[u8], nonce: Nonce, now: Instant) {
        // Messages that were written may have arrived, and are not sent twice.
        let unwritten = (self.start < self.last.end).then(|| self.out[self.last.clone()].to_vec());
        let payload = self.payload;
        *self = Self::new(registration, &std::mem::take(&mut self.name), nonce, now);

        // Without one there is no last message either: the registration is none that could be lost.
        if let Some(message) = unwritten {
            (self.last, self.payload) = (self.out.len()..self.out.len() + message.len(), payload);
            self.sent = 1;
            self.out.extend(message);
        }
    }

    /// Queues a message. `dest` must be a name, and `payload` at most [`MAX_STORED`] bytes, which the relay delivers as a
    /// whole or not at all.
    pub fn send(&mut self, dest: &[u8], payload: &[u8], now: Instant) {
        let start = self.push(dest, payload, now);
        (self.last, self.payload) = (start..self.out.len(), payload.len());
        self.sent += 1;
    }

    /// Returns the number of messages that were written but not confirmed; they may be lost with the connection.
    pub fn unconfirmed(&self) -> u64 {
        self.sent - self.confirmed - u64::from(self.start < self.last.end)
    }

    /// Returns the payload bytes of the last message, if it was not written completely.
    pub fn unwritten(&self) -> usize {
        if self.start < self.last.end { self.payload } else { 0 }
    }

    /// Appends a message to the output, and returns its position.
    fn push(&mut self, dest: &[u8], payload: &[u8], now: Instant) -> usize {
        debug_assert!(
            is_name(dest) && payload.len() <= MAX_STORED,
            "a message that the relay would not store"
        );

        // Everything was written: the buffer begins anew, so that it does not grow over a long session.
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

    /// Sends a probe, which confirms everything before it when it comes back.
    pub fn probe(&mut self, nonce: Nonce, now: Instant) {
        let name = std::mem::take(&mut self.name);
        self.push(&name, &nonce, now);
        self.name = name;
        self.probes.push_back((nonce, self.sent));
    }

    /// Returns the bytes to write.
    pub fn output(&self) -> &[u8] {
        &self.out[self.start..]
    }

    /// Records that bytes of the output were written.
    pub fn written(&mut self, bytes: usize) {
        self.start += bytes;
    }

    /// Takes received bytes, and appends the payload among them to `payload`.
    pub fn receive(&mut self, bytes: &[u8], payload: &mut Vec<u8>) {
        self.held_back.extend_from_slice(bytes);
        while let Some((nonce, sent)) = self.probes.front() {
            let Some(at) = self.held_back.windows(nonce.len()).position(|window| window == nonce) else {
                // All but the beginning of a probe is certainly payload.
                let kept = self.probe_prefix(nonce);
                payload.extend(self.held_back.drain(..self.held_back.len() - kept));
                return;
            };

            // With --framed, the prefix of the probe belongs to it.
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

    /// Tells whether the relay has certainly read the registration.
    pub fn is_registered(&self) -> bool {
        self.registered
    }

    /// Tells whether the relay has certainly read everything up to the last probe.
    pub fn is_confirmed(&self) -> bool {
        self.probes.is_empty()
    }

    /// Returns the time when [`ClientProtocol::tick`] must be called.
    pub fn deadline(&self) -> Instant {
        self.last_sent + KEEPALIVE_INTERVAL
    }

    /// Sends an empty message to itself if nothing was sent for a while, so that the relay does not take it for idle.
    pub fn tick(&mut self, now: Instant) {
        if now >= self.deadline() {
            let name = std::mem::take(&mut self.name);
            self.push(&name, b"", now);
            self.name = name;
        }
    }

    /// Returns how many of the last received bytes may be the beginning of a probe, with or without its prefix.
    fn probe_prefix(&self, nonce: &Nonce) -> usize {
        let framed = [&self.frame(nonce)[..], nonce].concat();
        let part = |whole: &[u8]| (1..whole.len()).rev().find(|n| self.held_back.ends_with(&whole[..*n]));
        // The longest beginning counts: bytes of a probe that were passed on as payload could not be taken back.
        part(&framed).max(part(nonce)).unwrap_or(0)
    }

    /// Returns the prefix of the probe if the relay frames messages.
    fn frame(&self, nonce: &Nonce) -> Vec<u8> {
        [&self.name[..], format!("|{}|", nonce.len()).as_bytes()].concat()
    }
}

/// The silence after which an empty message is sent; the relay closes idle clients after 30 s by default.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: Nonce = *b"0123456789abcdefghijklmn";

    fn client() -> ClientProtocol {
        ClientProtocol::new(b"key:me", b"me", NONCE, Instant::now())
    }

    #[test]
    fn registers_and_sends() {
        let (mut client, now) = (client(), Instant::now());
        client.send(b"you", b"hello", now);
        assert_eq!(client.output(), b"key:me|me|24|0123456789abcdefghijklmnyou|5|hello");
        client.written(client.output().len());
        client.send(b"you", b"", now);
        assert_eq!(client.output(), b"you|0|");
    }

    #[test]
    fn probe_is_no_payload_however_it_arrives() {
        for frame in ["", "me|24|"] {
            let received = [b"before0123", frame.as_bytes(), &NONCE, b"after|24|me|"].concat();
            for first in 0..=received.len() {
                for second in first..=received.len() {
                    let (mut client, mut payload) = (client(), Vec::new());

                    for part in [&received[..first], &received[first..second], &received[second..]] {
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
    fn bytes_that_are_no_probe_are_released() {
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
    fn incomplete_messages_are_sent_again() {
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
    fn keeps_itself_alive() {
        let (mut client, start) = (client(), Instant::now());
        client.written(client.output().len());
        client.tick(start + Duration::from_secs(9));
        assert_eq!(client.output(), b"");
        let later = start + Duration::from_secs(11);
        client.tick(later);
        assert_eq!((client.output(), client.deadline()), (&b"me|0|"[..], later + KEEPALIVE_INTERVAL));
    }

    #[test]
    fn reconnections_count_no_message_that_there_is_not() {
        let (mut client, now) = (client(), Instant::now());
        client.send(b"you", b"hello", now);
        client.written(client.output().len());
        assert_eq!(client.unconfirmed(), 1);
        for _ in 0..2 {
            client.reconnect(b"key:me", NONCE, now);
            assert_eq!((client.unconfirmed(), client.unwritten()), (0, 0));
            assert_eq!(client.output(), b"key:me|me|24|0123456789abcdefghijklmn");
        }

        client.send(b"you", b"again", now);
        client.written(1);
        client.reconnect(b"key:me", NONCE, now);
        assert_eq!((client.unconfirmed(), client.unwritten()), (0, 5));
        assert!(client.output().ends_with(b"you|5|again"));
    }

    #[test]
    fn later_probe_confirms_everything() {
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
