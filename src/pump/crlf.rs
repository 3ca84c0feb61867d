//! `-C`: each line feed leaves as carriage return and line feed, unless it has a carriage return already (nc(1)).

/// The state of the conversion, and the piece that was converted last.
#[derive(Debug, Default)]
pub struct Crlf {
    after_return: bool,
    piece: Vec<u8>,
}

impl Crlf {
    /// Converts the next piece, which takes the place of the one before, and returns how many bytes it has become.
    pub fn convert(&mut self, bytes: &[u8]) -> usize {
        self.piece.clear();
        for &byte in bytes {
            if byte == b'\n' && !self.after_return {
                self.piece.push(b'\r');
            }
            self.piece.push(byte);
            // Kept over pieces, since CR and LF may be in two of them.
            self.after_return = byte == b'\r';
        }
        self.piece.len()
    }

    /// Returns the last `n` bytes of the piece.
    pub fn rest(&self, n: usize) -> &[u8] {
        &self.piece[self.piece.len() - n..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_feeds() {
        let table: [(&[&str], &str); 6] = [
            (&["a\nb\n"], "a\r\nb\r\n"),
            (&["a\r\n"], "a\r\n"),
            (&["a\r", "\n"], "a\r\n"),
            (&["\n\n"], "\r\n\r\n"),
            (&["\r\r\n\r"], "\r\r\n\r"),
            (&["", "a"], "a"),
        ];

        for (pieces, sent) in table {
            let (mut crlf, mut out) = (Crlf::default(), Vec::new());
            for piece in pieces {
                let n = crlf.convert(piece.as_bytes());
                out.extend_from_slice(crlf.rest(n));
            }
            assert_eq!(String::from_utf8(out).unwrap(), sent, "{pieces:?}");
        }
    }
}
