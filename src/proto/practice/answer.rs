//! The answer to a request: its bytes, and the time of each. It is never held in memory: a file of 123 MB is a number
//! that counts down.

use std::time::{Duration, Instant};

use super::request::{MARKER, Request};

/// An answer in progress.
#[derive(Debug)]
pub struct Answer {
    state: AnswerState,
    style: Style,
    /// The time of the request, which due times count from.
    start: Instant,
}

/// Options of the server for its answers.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Each piece is a datagram.
    pub datagrams: bool,
    /// Pause between the marker and the file over TCP: a client that reads both at once takes them for the marker.
    pub marker_pause: Duration,
    /// Whether packets begin with a number, counting down to 1.
    pub sequence: bool,
}

#[derive(Debug)]
enum AnswerState {
    /// Bytes left of the file.
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

/// The next step of an answer.
#[derive(Debug, Eq, PartialEq)]
pub enum Next<'a> {
    Done,
    /// Over UDP, these are one datagram.
    Send(&'a [u8]),
    Wait(Instant),
}

impl Answer {
    /// Begins the answer to a request that was received at `now`.
    pub fn new(request: Request, style: Style, now: Instant) -> Self {
        let state = match request {
            Request::File(size) => AnswerState::Marker { size, sent: 0 },
            Request::Refused(text) => AnswerState::Text { text: text.into_bytes(), sent: 0 },
            Request::Stream(stream) => AnswerState::Stream {
                packet: stream.packet,
                interval: stream.interval,
                count: stream.count,
                sent: 0,
                part: 0,
            },
            Request::Text(text) => AnswerState::Text { text: text.to_ascii_uppercase(), sent: 0 },
        };

        let mut answer = Self { state, style, start: now };
        answer.number();
        answer
    }

    /// Returns the step to take now.
    pub fn next(&mut self, now: Instant) -> Next<'_> {
        if let AnswerState::Pause { size, until } = self.state
            && now >= until
        {
            self.state = AnswerState::File(size);
        }

        match &self.state {
            AnswerState::File(0) => Next::Done,
            AnswerState::File(left) => {
                let max = if self.style.datagrams { DATAGRAM } else { FILLER.len() };
                Next::Send(&FILLER[..usize::try_from(*left).unwrap_or(max).min(max)])
            }
            AnswerState::Marker { sent, .. } => Next::Send(&MARKER[*sent..]),
            AnswerState::Pause { until, .. } => Next::Wait(*until),
            AnswerState::Stream { count, sent, .. } if sent == count => Next::Done,
            AnswerState::Stream { packet, interval, sent, part, .. } => {
                // Due times count from the start, so that a late packet does not delay the next ones.
                let due = self.start + *interval * (sent + 1);
                // The rest of a packet that TCP has taken in part follows at once.
                if *part == 0 && now < due { Next::Wait(due) } else { Next::Send(&packet[*part..]) }
            }
            AnswerState::Text { text, sent } if *sent == text.len() => Next::Done,
            AnswerState::Text { text, sent } => Next::Send(&text[*sent..]),
        }
    }

    /// Counts `n` bytes as sent.
    pub fn sent(&mut self, n: usize, now: Instant) {
        match &mut self.state {
            AnswerState::File(left) => *left -= n as u64,
            AnswerState::Marker { size, sent } => {
                *sent += n;
                if *sent == MARKER.len() {
                    // Datagrams keep the marker and the file apart by themselves.
                    let pause = if self.style.datagrams { Duration::ZERO } else { self.style.marker_pause };
                    self.state = AnswerState::Pause { size: *size, until: now + pause };
                }
            }
            // Nothing is sent in a pause.
            AnswerState::Pause { .. } => {}
            AnswerState::Stream { packet, sent, part, .. } => {
                *part += n;
                if *part == packet.len() {
                    (*part, *sent) = (0, *sent + 1);
                    self.number();
                }
            }
            AnswerState::Text { sent, .. } => *sent += n,
        }
    }

    /// Writes the number of the next packet at its front, with `--sequence`.
    fn number(&mut self) {
        if let AnswerState::Stream { packet, count, sent, .. } = &mut self.state
            && self.style.sequence
            && sent < count
        {
            let number = (*count - *sent).to_string().into_bytes();
            // The number may be shorter than the last one, whose digits would stay.
            packet.fill(b'A');
            // A packet that is too small for its number gets the last digits of it.
            let n = number.len().min(packet.len());
            packet[..n].copy_from_slice(&number[number.len() - n..]);
        }
    }
}

/// Bytes of a file in one datagram.
const DATAGRAM: usize = 1024;

/// The content of a generated file.
static FILLER: [u8; 64 << 10] = [b'A'; 64 << 10];

#[cfg(test)]
mod tests {
    use super::*;

    const STYLE: Style = Style { datagrams: false, marker_pause: Duration::from_millis(50), sequence: false };

    /// Returns all pieces of up to `max` bytes, each with the milliseconds after the request at which it can be sent.
    fn run(request: &str, style: Style, max: usize) -> Vec<(u64, Vec<u8>)> {
        let start = Instant::now();
        let mut now = start;
        let mut answer = Answer::new(Request::parse(request.as_bytes()), style, now);
        let mut pieces = Vec::new();

        loop {
            let n = match answer.next(now) {
                Next::Done => return pieces,
                Next::Wait(until) => {
                    assert!(until > now, "the answer waits for the past");
                    now = until;
                    continue;
                }
                Next::Send(bytes) => {
                    let bytes = &bytes[..bytes.len().min(max)];
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
        for max in [1, 5, 1000, usize::MAX] {
            let pieces = run("2000", STYLE, max);
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
    fn datagrams_have_1024_bytes() {
        let style = Style { datagrams: true, ..STYLE };
        let sizes: Vec<usize> = run("2500", style, usize::MAX).iter().map(|(_, bytes)| bytes.len()).collect();
        assert_eq!(sizes, [13, 1024, 1024, 452]);
    }

    #[test]
    fn packets_have_their_due_times() {
        let pieces = run("stream-10-3-100", STYLE, usize::MAX);
        let wanted: Vec<_> = [10, 20, 30].map(|at| (at, vec![b'A'; 100])).into();
        assert_eq!(pieces, wanted);

        let pieces = run("stream-7-10000", STYLE, usize::MAX);
        assert_eq!((pieces.len(), pieces[9999].0), (10_000, 70_000));
        assert!(pieces.iter().all(|(_, bytes)| bytes == b"stream-7-10000"));

        // A late packet does not delay the next ones.
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
    fn refusals_have_the_text_of_the_protocol() {
        let refusal = b"Request for file of 123456790 chars. Server limit is: 123456789 chars.";
        assert_eq!(whole(&run("123456790", STYLE, 9)), refusal);
    }
}
