//! `-C`: each line feed leaves as carriage return and line feed, unless it has a carriage return already (nc(1)).

use std::{io, time::Instant};

use crate::{endpoint::Endpoint, sys::Raw};

/// The state of the conversion; it remembers how the last read ended.
#[derive(Debug, Default)]
pub struct Crlf {
    after_return: bool,
    /// A line feed that the last read had no room for.
    carried: bool,
    read_bytes: u64,
}

impl Crlf {
    /// Returns how many bytes were read, before they were converted.
    pub fn read_bytes(&self) -> u64 {
        self.read_bytes
    }

    /// Lends an endpoint whose source is converted.
    pub fn over<'a>(&'a mut self, below: &'a mut dyn Endpoint) -> WithCrlf<'a> {
        WithCrlf { crlf: self, below }
    }
}

/// An endpoint whose line feeds become two bytes as they are read; writes go through as they are.
pub struct WithCrlf<'a> {
    crlf: &'a mut Crlf,
    below: &'a mut dyn Endpoint,
}

impl Endpoint for WithCrlf<'_> {
    /// Reads at most half of the room, since each byte may become two: a read stays one datagram.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if std::mem::take(&mut self.crlf.carried) {
            buf[0] = b'\n';
            return Ok(1);
        }

        // The bytes are read into the back half, so that none is overwritten before it is converted.
        let most = (buf.len() / 2).max(1);
        let start = buf.len() - most;
        let n = self.below.read(&mut buf[start..])?;
        self.crlf.read_bytes += n as u64;

        let mut end = 0;
        for at in start..start + n {
            let byte = buf[at];
            if byte == b'\n' && !self.crlf.after_return {
                buf[end] = b'\r';
                end += 1;
            }
            // Kept over reads, since CR and LF may arrive in two of them.
            self.crlf.after_return = byte == b'\r';

            if end == buf.len() {
                self.crlf.carried = true;
            } else {
                buf[end] = byte;
                end += 1;
            }
        }
        Ok(end)
    }

    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.below.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.below.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.below.finish()
    }

    fn broken(&mut self) -> Option<io::Error> {
        self.below.broken()
    }

    fn tick(&mut self, now: Instant) -> Option<Instant> {
        self.below.tick(now)
    }

    fn lost(&self) -> Option<io::Error> {
        self.below.lost()
    }

    fn held(&self) -> usize {
        self.below.held()
    }

    fn unread(&self) -> usize {
        usize::from(self.crlf.carried)
    }

    fn sink(&self) -> Option<Raw<'_>> {
        // Only reads are converted: the kernel may write in our place, but `source` stays `None`.
        self.below.sink()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// A source that brings one piece at each read.
    struct Pieces(VecDeque<Vec<u8>>);

    impl Endpoint for Pieces {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let Some(mut piece) = self.0.pop_front() else { return Ok(0) };
            let n = piece.len().min(buf.len());
            buf[..n].copy_from_slice(&piece[..n]);
            if n < piece.len() {
                self.0.push_front(piece.split_off(n));
            }
            Ok(n)
        }

        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            unreachable!("only the source is read")
        }

        fn finish(&mut self) -> io::Result<()> {
            Ok(())
        }

        fn broken(&mut self) -> Option<io::Error> {
            None
        }
    }

    #[test]
    fn line_feeds() {
        let table: [(&[&str], &str); 6] = [
            (&["a\nb\n"], "a\r\nb\r\n"),
            (&["a\r\n"], "a\r\n"),
            (&["a\r", "\n"], "a\r\n"),
            (&["\n\n"], "\r\n\r\n"),
            (&["\r\r\n\r"], "\r\r\n\r"),
            (&["a"], "a"),
        ];

        for (pieces, sent) in table {
            for room in [1, 2, 3, 100] {
                let mut source = Pieces(pieces.iter().map(|piece| piece.as_bytes().to_vec()).collect());
                let (mut crlf, mut out, mut buf) = (Crlf::default(), Vec::new(), vec![0; room]);
                while let Ok(n @ 1..) = crlf.over(&mut source).read(&mut buf) {
                    out.extend_from_slice(&buf[..n]);
                }
                assert_eq!(String::from_utf8(out).unwrap(), sent, "{pieces:?} into {room} bytes");
            }
        }
    }
}
