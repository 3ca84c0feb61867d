//! A request over TCP. Its end is that of a line, the maximum size, the end of the stream, or silence.

use std::time::{Duration, Instant};

use super::request::{MAX_REQUEST, Request};

/// The bytes received so far of a request.
#[derive(Debug, Default)]
pub struct Collector {
    bytes: Vec<u8>,
    /// The time of the last of them.
    last: Option<Instant>,
}

impl Collector {
    /// Takes received bytes. Returns the request if it is complete.
    pub fn receive(&mut self, bytes: &[u8], now: Instant) -> Option<Request> {
        // Bytes behind the request are dropped: there is one request a connection.
        let room = MAX_REQUEST - self.bytes.len();
        let line = bytes.iter().position(|byte| *byte == b'\n');
        let taken = line.map_or(bytes.len(), |end| end + 1).min(room);
        self.bytes.extend_from_slice(&bytes[..taken]);
        self.last = Some(now);
        (line.is_some() || taken == room).then(|| self.request())
    }

    /// Returns the request at the end of the stream; `None` if nothing was received.
    pub fn ended(&mut self) -> Option<Request> {
        self.last.map(|_| self.request())
    }

    /// Returns the time at which silence completes the request.
    pub fn deadline(&self) -> Option<Instant> {
        self.last.map(|last| last + END_SILENCE)
    }

    /// Returns the request if silence has completed it.
    pub fn tick(&mut self, now: Instant) -> Option<Request> {
        self.deadline().is_some_and(|deadline| deadline <= now).then(|| self.request())
    }

    /// Parses the collected bytes, and starts over.
    fn request(&mut self) -> Request {
        self.last = None;
        Request::parse(&std::mem::take(&mut self.bytes))
    }
}

/// Silence that completes a request: programs often write one in several pieces.
const END_SILENCE: Duration = Duration::from_millis(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_an_end_or_silence_completes_a_request() {
        let (now, hello) = (Instant::now(), Some(Request::Text(b"hello".to_vec())));
        let mut collector = Collector::default();

        assert_eq!(collector.receive(b"hel", now), None);
        assert_eq!(collector.receive(b"lo\nignored", now), hello);

        assert_eq!(collector.receive(b"hello", now), None);
        assert_eq!(collector.ended(), hello);
        assert_eq!((collector.ended(), collector.deadline()), (None, None));

        assert_eq!(collector.receive(b"hel", now), None);
        let later = now + Duration::from_millis(29);
        assert_eq!(collector.tick(later), None);
        assert_eq!(collector.receive(b"lo", later), None);
        assert_eq!(collector.tick(now + Duration::from_millis(58)), None);
        assert_eq!(collector.tick(now + Duration::from_millis(59)), hello);
    }

    #[test]
    fn a_request_in_any_pieces_is_the_same() {
        let (now, long) = (Instant::now(), "x".repeat(3000));
        for sent in ["10\n", "stream-5-5\r\nmore", &long] {
            for piece in [1, 2, 7, 1000, 5000] {
                let mut collector = Collector::default();
                let found = sent.as_bytes().chunks(piece).find_map(|part| collector.receive(part, now));
                let wanted = Request::parse(sent.lines().next().unwrap().as_bytes());
                assert_eq!(found, Some(wanted), "{sent:.20} by {piece}");
            }
        }
    }
}
