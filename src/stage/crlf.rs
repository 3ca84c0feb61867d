//! `-C`: each line feed leaves as carriage return and line feed, unless it has one already (nc(1)).

/// The filter; it remembers how the last piece ended.
#[derive(Debug, Default)]
pub struct Crlf {
    after_return: bool,
}

impl Crlf {
    /// Puts what `bytes` become at the end of `out`.
    pub fn apply(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for &byte in bytes {
            if byte == b'\n' && !self.after_return {
                out.push(b'\r');
            }
            out.push(byte);
            self.after_return = byte == b'\r';
        }
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
                crlf.apply(piece.as_bytes(), &mut out);
            }
            assert_eq!(String::from_utf8(out).unwrap(), sent, "{pieces:?}");
        }
    }
}
