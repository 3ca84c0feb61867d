//! The input of the relay: `name|`, then any number of `dest|len|payload`.

/// A complete header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header<'a> {
    pub dest: &'a [u8],
    /// Bytes of the payload that follows.
    pub len: u64,
    /// Bytes of the header itself.
    pub size: usize,
}

/// A malformed header, for which a client is disconnected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Violation {
    BadLength,
    BadName,
}

/// Parses the name at the front of `bytes`; `None` while its `|` is missing.
pub fn name(bytes: &[u8]) -> Result<Option<&[u8]>, Violation> {
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'|' if at == 0 => return Err(Violation::BadName),
            b'|' => return Ok(Some(&bytes[..at])),
            // At the first bad byte, so that a client of another protocol is closed at once.
            byte if is_control(*byte) || at == MAX_NAME => return Err(Violation::BadName),
            _ => {}
        }
    }
    Ok(None)
}

/// Parses the header at the front of `bytes`; `None` while its second `|` is missing.
pub fn header(bytes: &[u8]) -> Result<Option<Header<'_>>, Violation> {
    match name(bytes)? {
        Some(dest) => header_to(dest, bytes),
        None => Ok(None),
    }
}

/// Parses the header at the front of `bytes`, whose name is known to be `dest`.
pub fn header_to<'a>(dest: &'a [u8], bytes: &[u8]) -> Result<Option<Header<'a>>, Violation> {
    let start = dest.len() + 1;
    let mut len: u64 = 0;

    for (at, byte) in bytes.get(start..).unwrap_or_default().iter().enumerate() {
        match byte {
            // Bounded, because leading zeros could make a header of any length.
            b'0'..=b'9' if at < MAX_DIGITS => {
                let digit = u64::from(byte - b'0');
                let longer = len.checked_mul(10).and_then(|len| len.checked_add(digit));
                // The protocol limits a length to 2^63 - 1, which fits a signed number.
                len = longer.filter(|len| *len <= MAX_LENGTH).ok_or(Violation::BadLength)?;
            }
            b'|' if at > 0 => return Ok(Some(Header { dest, len, size: start + at + 1 })),
            _ => return Err(Violation::BadLength),
        }
    }
    Ok(None)
}

/// Tells whether a name may be registered or written to.
pub fn is_name(name: &[u8]) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && !name.iter().any(|byte| is_control(*byte) || *byte == b'|')
}

/// Counts the line ends at the front. They are skipped before a header, so that messages can be typed by hand.
pub fn line_ends(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count()
}

fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}

/// Bytes of a name.
pub const MAX_NAME: usize = 255;

/// Bytes of a header, both `|` included.
pub const MAX_HEADER: usize = MAX_NAME + MAX_DIGITS + 2;

/// Digits of a length.
const MAX_DIGITS: usize = 20;

/// The greatest length of a payload.
const MAX_LENGTH: u64 = i64::MAX as u64;

#[cfg(test)]
mod tests {
    use super::*;

    /// Input, and the expected length of the payload and size of the header.
    type Row<'a> = (&'a [u8], Result<Option<(u64, usize)>, Violation>);

    #[test]
    fn headers() {
        let long = [b'a'; MAX_NAME];
        let longest = [&long[..], b"|00000000000000000001|"].concat();
        let too_long = [&long[..], b"a"].concat();
        let table: [Row; 22] = [
            (b"", Ok(None)),
            (b"b", Ok(None)),
            (b"b|", Ok(None)),
            (b"b|5", Ok(None)),
            (b"b|5|hello", Ok(Some((5, 4)))),
            (b"b|0|", Ok(Some((0, 4)))),
            (b"b|007|", Ok(Some((7, 6)))),
            (b"b|9223372036854775807|", Ok(Some((MAX_LENGTH, 22)))),
            (b"b|9223372036854775808", Err(Violation::BadLength)),
            (b"b|99999999999999999999", Err(Violation::BadLength)),
            (b"b|000000000000000000000", Err(Violation::BadLength)),
            (b"b||", Err(Violation::BadLength)),
            (b"b|-5|", Err(Violation::BadLength)),
            (b"b|+5|", Err(Violation::BadLength)),
            (b"b| 5|", Err(Violation::BadLength)),
            (b"b|5 |", Err(Violation::BadLength)),
            (b"b|0x5|", Err(Violation::BadLength)),
            (b"|5|", Err(Violation::BadName)),
            (b"GET / HTTP/1.1\r\n", Err(Violation::BadName)),
            (b"a\x7f", Err(Violation::BadName)),
            (&longest, Ok(Some((1, MAX_HEADER)))),
            (&too_long, Err(Violation::BadName)),
        ];

        for (bytes, wanted) in table {
            let found = header(bytes).map(|header| header.map(|header| (header.len, header.size)));
            assert_eq!(found, wanted, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn names_are_octets() {
        let name = "ähm \u{202e}".as_bytes();
        assert!(is_name(name));
        let bytes = [name, b"|3|"].concat();
        assert_eq!(header(&bytes), Ok(Some(Header { dest: name, len: 3, size: name.len() + 3 })));
        for name in [&b""[..], b"a|b", b"a\nb", &[b'a'; 256]] {
            assert!(!is_name(name), "{}", name.escape_ascii());
        }
    }

    #[test]
    fn only_line_ends_are_skipped() {
        assert_eq!(line_ends(b"\r\n\n\rb|"), 4);
        assert_eq!(line_ends(b" \n"), 0);
    }
}
