//! What is sent for a request, and when. It is never built: a file of 123 MB is a number that counts down.

use std::time::{Duration, Instant};

use super::{MARKER, Request};

/// An answer that is under way.
#[derive(Debug)]
pub struct Answer {
    state: State,
    style: Style,
    start: Instant,
}

/// How the server answers.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Each piece is a datagram.
    pub datagrams: bool,
    /// Between the marker and the file, over TCP: a client that reads both at once takes them for one.
    pub marker_pause: Duration,
    /// Whether packets begin with a number, counting down to 1.
    pub sequence: bool,
}

#[derive(Debug)]
enum State {
    /// The file itself: bytes that are left.
    File(u64),
    Marker {
        size: u64,
        sent: usize,
    },
    Pause {
        size: u64,
        until: Instant,
    },
    Stream {
        packet: Vec<u8>,
        interval: Duration,
        count: u32,
        sent: u32,
        part: usize,
    },
    Text {
        text: Vec<u8>,
        sent: usize,
    },
}

/// What there is to do.
#[derive(Debug, Eq, PartialEq)]
pub enum Next<'a> {
    Done,
    /// Over datagrams, this is one of them.
    Send(&'a [u8]),
    Wait(Instant),
}

impl Answer {
    /// The answer to a request that came at `now`.
    pub fn new(request: Request, style: Style, now: Instant) -> Self {
        let state = match request {
            Request::File(size) => State::Marker { size, sent: 0 },
            Request::Refused(text) => State::Text { text: text.into_bytes(), sent: 0 },
            Request::Stream(stream) => State::Stream {
                packet: stream.packet,
                interval: stream.interval,
                count: stream.count,
                sent: 0,
                part: 0,
            },
            Request::Text(text) => State::Text { text: text.to_ascii_uppercase(), sent: 0 },
        };
        let mut answer = Self { state, style, start: now };
        answer.number();
        answer
    }

    /// What there is to do now.
    pub fn next(&mut self, now: Instant) -> Next<'_> {
        if let State::Pause { size, until } = self.state
            && now >= until
        {
            self.state = State::File(size);
        }
        match &self.state {
            State::File(0) => Next::Done,
            State::File(left) => {
                let most = if self.style.datagrams { DATAGRAM } else { FILLER.len() };
                Next::Send(&FILLER[..usize::try_from(*left).unwrap_or(most).min(most)])
            }
            State::Marker { sent, .. } => Next::Send(&MARKER[*sent..]),
            State::Pause { until, .. } => Next::Wait(*until),
            State::Stream { count, sent, .. } if sent == count => Next::Done,
            State::Stream { packet, interval, sent, part, .. } => {
                // However long it takes, each packet has its own place in time.
                let due = self.start + *interval * (sent + 1);
                if *part == 0 && now < due { Next::Wait(due) } else { Next::Send(&packet[*part..]) }
            }
            State::Text { text, sent } if *sent == text.len() => Next::Done,
            State::Text { text, sent } => Next::Send(&text[*sent..]),
        }
    }

    /// So many bytes were sent.
    pub fn sent(&mut self, bytes: usize, now: Instant) {
        match &mut self.state {
            State::File(left) => *left -= bytes as u64,
            State::Marker { size, sent } => {
                *sent += bytes;
                if *sent == MARKER.len() {
                    let pause = if self.style.datagrams { Duration::ZERO } else { self.style.marker_pause };
                    self.state = State::Pause { size: *size, until: now + pause };
                }
            }
            State::Pause { .. } => {}
            State::Stream { packet, sent, part, .. } => {
                *part += bytes;
                if *part == packet.len() {
                    (*part, *sent) = (0, *sent + 1);
                    self.number();
                }
            }
            State::Text { sent, .. } => *sent += bytes,
        }
    }

    /// Writes the next packet's number at its front.
    fn number(&mut self) {
        if let State::Stream { packet, count, sent, .. } = &mut self.state
            && self.style.sequence
            && sent < count
        {
            let number = (*count - *sent).to_string().into_bytes();
            packet.fill(b'A');
            let n = number.len().min(packet.len());
            packet[..n].copy_from_slice(&number[number.len() - n..]);
        }
    }
}

/// Bytes of the datagrams that a file is sent in.
const DATAGRAM: usize = 1024;

/// What a file is made of.
static FILLER: [u8; 64 << 10] = [b'A'; 64 << 10];

#[cfg(test)]
mod tests {
    use super::*;

    const STYLE: Style = Style { datagrams: false, marker_pause: Duration::from_millis(50), sequence: false };

    /// All pieces, each with the milliseconds at which it could go; at most `most` bytes go at once.
    fn run(request: &str, style: Style, most: usize) -> Vec<(u64, Vec<u8>)> {
        let start = Instant::now();
        let mut now = start;
        let mut answer = Answer::new(Request::parse(request.as_bytes()), style, now);
        let mut pieces = Vec::new();
        loop {
            let n = match answer.next(now) {
                Next::Done => return pieces,
                Next::Wait(until) => {
                    assert!(until > now, "it would spin");
                    now = until;
                    continue;
                }
                Next::Send(bytes) => {
                    let bytes = &bytes[..bytes.len().min(most)];
                    pieces.push(((now - start).as_millis() as u64, bytes.to_vec()));
                    bytes.len()
                }
            };
            answer.sent(n, now);
        }
    }

    fn whole(pieces: &[(u64, Vec<u8>)]) -> Vec<u8> {
        pieces.iter().flat_map(|(_, bytes)| bytes.clone()).collect()
    }

    #[test]
    fn text_comes_back_in_upper_case() {
        assert_eq!(whole(&run("hello, Ünal", STYLE, 3)), "HELLO, ÜNAL".as_bytes());
        assert_eq!(run("", STYLE, 3), []);
    }

    #[test]
    fn a_file_has_a_marker_and_its_size_and_nothing_else() {
        for most in [1, 5, 1000, usize::MAX] {
            let pieces = run("2000", STYLE, most);
            assert_eq!(whole(&pieces), [MARKER, &[b'A'; 2000]].concat());
            assert!(
                pieces.iter().all(|(at, bytes)| (*at == 0) == (bytes[0] != b'A')),
                "the file waits for 50 ms"
            );
        }
        let bytes: u64 =
            run("123456789", STYLE, usize::MAX).iter().map(|(_, bytes)| bytes.len() as u64).sum();
        assert_eq!(bytes, 123_456_789 + 13);
    }

    #[test]
    fn datagrams_are_of_1024_bytes() {
        let style = Style { datagrams: true, ..STYLE };
        let sizes: Vec<usize> = run("2500", style, usize::MAX).iter().map(|(_, bytes)| bytes.len()).collect();
        assert_eq!(sizes, [13, 1024, 1024, 452]);
    }

    #[test]
    fn packets_have_their_places_in_time() {
        let pieces = run("stream-10-3-100", STYLE, usize::MAX);
        let wanted: Vec<_> = [10, 20, 30].map(|at| (at, vec![b'A'; 100])).into();
        assert_eq!(pieces, wanted);
        let pieces = run("stream-7-10000", STYLE, usize::MAX);
        assert_eq!((pieces.len(), pieces[9999].0), (10_000, 70_000));
        assert!(pieces.iter().all(|(_, bytes)| bytes == b"stream-7-10000"));
        // One that goes late does not make the next ones late.
        let start = Instant::now();
        let mut answer = Answer::new(Request::parse(b"stream-10-3"), STYLE, start);
        let late = start + Duration::from_millis(25);
        for _ in 0..2 {
            assert_eq!(answer.next(late), Next::Send(b"stream-10-3"));
            answer.sent(11, late);
        }
        assert_eq!(answer.next(late), Next::Wait(start + Duration::from_millis(30)));
    }

    #[test]
    fn numbers_count_down() {
        let style = Style { sequence: true, ..STYLE };
        let texts: Vec<String> = run("stream-1-3-4", style, 3)
            .chunks(2)
            .map(|pair| String::from_utf8(whole(pair)).unwrap())
            .collect();
        assert_eq!(texts, ["3AAA", "2AAA", "1AAA"]);
        assert_eq!(whole(&run("stream-0-12-1", style, 9)), b"210987654321");
    }

    #[test]
    fn refusals_have_the_protocols_words() {
        let refusal = b"Request for file of 123456790 chars. Server limit is: 123456789 chars.";
        assert_eq!(whole(&run("123456790", STYLE, 9)), refusal);
    }
}
