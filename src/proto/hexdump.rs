//! The lines of a hex dump in the format of `nc -o`: direction, offset, sixteen bytes, and the same bytes as text.

use std::fmt::Write;

/// Formats `bytes` as lines. `mark` is the sign of their direction, `offset` the position of the first one in it.
pub fn lines(mark: char, offset: u64, bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 5 + 80);
    for (row, line) in (0_u64..).zip(bytes.chunks(WIDTH)) {
        // Writing to a String cannot fail.
        let hex = line.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x} ");
            hex
        });
        let shown: String = line.iter().map(|byte| printable(*byte)).collect();
        let at = offset + row * WIDTH as u64;
        let _ = writeln!(text, "{mark} {at:08x} {hex:<48}# {shown}");
    }
    text
}

/// Returns the character of a byte, or a dot for one that cannot be printed.
fn printable(byte: u8) -> char {
    if byte.is_ascii_graphic() || byte == b' ' { byte.into() } else { '.' }
}

/// Bytes in a line.
const WIDTH: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_has_the_format_of_nc() {
        let dump = lines('<', 0x10, b"hello, world\n\x00\x7f\xff!");
        assert_eq!(
            dump,
            "< 00000010 68 65 6c 6c 6f 2c 20 77 6f 72 6c 64 0a 00 7f ff # hello, world....\n\
             < 00000020 21                                              # !\n"
        );
        assert_eq!(lines('>', 0, b""), "");
    }
}
