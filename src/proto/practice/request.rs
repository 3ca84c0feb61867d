//! Requests.

use std::time::Duration;

/// A parsed request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Request {
    /// Generate this many bytes: 1 to [`MAX_FILE`].
    File(u64),
    /// A refusal, in the words of the protocol.
    Refused(String),
    Stream(Stream),
    /// Send this back in upper case.
    Text(Vec<u8>),
}

/// Packets at an interval.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stream {
    /// Between two packets, and before the first one.
    pub interval: Duration,
    /// 1 to [`MAX_PACKETS`].
    pub count: u32,
    /// The bytes of each packet.
    pub packet: Vec<u8>,
}

impl Request {
    /// Parses a request. Never fails: the rest is text.
    pub fn parse(bytes: &[u8]) -> Self {
        let bytes = bytes[..bytes.len().min(MAX_REQUEST)].trim_ascii();
        let Ok(text) = std::str::from_utf8(bytes) else { return Self::Text(bytes.to_vec()) };
        if let Some(fields) = text.strip_prefix("stream-") {
            return stream(text, fields);
        }

        let digits = text.strip_prefix('+').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Self::Text(bytes.to_vec());
        }
        // Zeros in front do not count, but are part of a text. A number too large for u64 is refused in the same words.
        let number = digits.trim_start_matches('0');
        match number.parse() {
            _ if number.is_empty() => Self::Text(bytes.to_vec()),
            Ok(size) if size <= MAX_FILE => Self::File(size),
            _ => Self::Refused(format!(
                "Request for file of {number} chars. Server limit is: {MAX_FILE} chars."
            )),
        }
    }

    /// Returns the least number of datagrams in the answer over UDP.
    pub fn answer_datagrams(&self) -> u32 {
        match self {
            // The marker, and one datagram of the file at least.
            Self::File(_) => 2,
            Self::Refused(_) | Self::Text(_) => 1,
            Self::Stream(stream) => stream.count,
        }
    }

    /// Returns the bytes of the answer.
    pub fn answer_size(&self) -> u64 {
        match self {
            Self::File(size) => MARKER.len() as u64 + size,
            Self::Refused(text) => text.len() as u64,
            Self::Stream(stream) => u64::from(stream.count) * stream.packet.len() as u64,
            Self::Text(text) => text.len() as u64,
        }
    }
}

/// Parses `MS-COUNT`, with the request itself as packet, or `MS-COUNT-SIZE`.
fn stream(text: &str, fields: &str) -> Request {
    let fields: Vec<&str> = fields.split('-').collect();
    let stream = match fields[..] {
        [ms, count] => whole(ms).filter(|ms| (1..=MAX_INTERVAL_MS).contains(ms)).and_then(|ms| {
            let packet = text.as_bytes().to_vec();
            Some(Stream { interval: Duration::from_millis(ms.into()), count: whole(count)?, packet })
        }),
        [ms, count, size] => decimal(ms).and_then(|interval| {
            let size = usize::try_from(whole(size)?).ok()?.min(MAX_PACKET);
            Some(Stream { interval, count: whole(count)?, packet: vec![b'A'; size] })
        }),
        _ => None,
    };

    match stream {
        Some(stream) if stream.count > 0 && !stream.packet.is_empty() => {
            Request::Stream(Stream { count: stream.count.min(MAX_PACKETS), ..stream })
        }
        _ => {
            let (ms, count) = (fields[0], fields.get(1).copied().unwrap_or_default());
            Request::Refused(format!("Request for transfer of {count} pakets at: {ms} has errors."))
        }
    }
}

/// Parses a number without a sign.
fn whole(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Parses milliseconds, with or without a decimal part.
fn decimal(text: &str) -> Option<Duration> {
    // f64 would parse signs, `inf` and `nan` as well, for which `Duration::from_secs_f64` panics.
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let ms: f64 = plain.then(|| text.parse().ok())??;
    (ms <= f64::from(MAX_INTERVAL_MS)).then(|| Duration::from_secs_f64(ms / 1000.0))
}

/// The bytes before a generated file.
pub const MARKER: &[u8] = b"file_prepared";

/// Bytes of a request; the rest is ignored.
pub const MAX_REQUEST: usize = 1024;

/// Bytes of a generated file.
pub const MAX_FILE: u64 = 123_456_789;

/// Packets of a stream.
pub const MAX_PACKETS: u32 = 10_000;

/// Milliseconds between two packets: a client of a stream must not hold its connection for days.
const MAX_INTERVAL_MS: u32 = 60_000;

/// Bytes of a packet: the payload of the largest UDP datagram.
const MAX_PACKET: usize = 65_507;

#[cfg(test)]
mod tests {
    use super::*;

    fn echo(text: &str) -> Request {
        Request::Text(text.as_bytes().to_vec())
    }

    fn made(ms: f64, count: u32, size: usize) -> Request {
        let interval = Duration::from_secs_f64(ms / 1000.0);
        Request::Stream(Stream { interval, count, packet: vec![b'A'; size] })
    }

    fn same(ms: u64, count: u32, text: &str) -> Request {
        let packet = text.as_bytes().to_vec();
        Request::Stream(Stream { interval: Duration::from_millis(ms), count, packet })
    }

    #[test]
    fn requests() {
        let refused = |number: &str| {
            Request::Refused(format!("Request for file of {number} chars. Server limit is: 123456789 chars."))
        };
        let fault = |count: &str, ms: &str| {
            Request::Refused(format!("Request for transfer of {count} pakets at: {ms} has errors."))
        };
        let huge = "9".repeat(100);
        let table = [
            ("hello", echo("hello")),
            ("  hello you\r\n", echo("hello you")),
            ("", echo("")),
            ("10", Request::File(10)),
            ("+10", Request::File(10)),
            ("0010", Request::File(10)),
            ("123456789", Request::File(123_456_789)),
            ("123456790", refused("123456790")),
            ("000123456790", refused("123456790")),
            (&huge, refused(&huge)),
            ("0", echo("0")),
            ("+0", echo("+0")),
            ("+", echo("+")),
            ("-5", echo("-5")),
            ("3.5", echo("3.5")),
            ("1 000", echo("1 000")),
            ("stream", echo("stream")),
            ("streaming-5-5", echo("streaming-5-5")),
            ("stream-10-3", same(10, 3, "stream-10-3")),
            ("stream-10-20000", same(10, 10_000, "stream-10-20000")),
            ("stream-10-3-100", made(10.0, 3, 100)),
            ("stream-0.5-3-100", made(0.5, 3, 100)),
            ("stream-0-3-100", made(0.0, 3, 100)),
            ("stream-1-3-99999", made(1.0, 3, 65_507)),
            ("stream-0-3", fault("3", "0")),
            ("stream-0.5-3", fault("3", "0.5")),
            ("stream-10-0", fault("0", "10")),
            ("stream-10-3-0", fault("3", "10")),
            ("stream-x-3", fault("3", "x")),
            ("stream-10", fault("", "10")),
            ("stream--", fault("", "")),
            ("stream-1-2-3-4", fault("2", "1")),
            ("stream-1e3-2-3", fault("2", "1e3")),
            ("stream-9999999999-2", fault("2", "9999999999")),
            ("stream-60000-2", same(60_000, 2, "stream-60000-2")),
            ("stream-60001-2", fault("2", "60001")),
            ("stream-60001-2-5", fault("2", "60001")),
        ];

        for (text, wanted) in table {
            assert_eq!(Request::parse(text.as_bytes()), wanted, "{text:?}");
        }
        assert_eq!(Request::parse(b"\xff\xfe "), Request::Text(b"\xff\xfe".to_vec()));
    }
}
