//! The pieces that are sent one by one: lines, datagrams, chunks of a file.

/// How the bytes of a direction are divided into pieces.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    /// Not at all: the bytes of one read are sent at once.
    AsRead,
    /// Pieces of this many bytes; the last one may be shorter.
    Chunks(usize),
    /// After each line feed; a longer line after this many bytes.
    Lines(usize),
}

impl Framing {
    /// Returns the length of the piece at the front of `bytes`; `None` if more must be read to know it. `last` says that
    /// there is no more.
    pub fn next(self, bytes: &[u8], last: bool) -> Option<usize> {
        let all = (!bytes.is_empty()).then_some(bytes.len());
        match self {
            Self::AsRead => all,
            Self::Chunks(size) if bytes.len() >= size => Some(size),
            Self::Lines(most) => {
                let front = &bytes[..bytes.len().min(most)];
                match front.iter().position(|b| *b == b'\n') {
                    Some(at) => Some(at + 1),
                    None if bytes.len() >= most => Some(most),
                    None => all.filter(|_| last),
                }
            }
            Self::Chunks(_) => all.filter(|_| last),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pieces() {
        use Framing::{AsRead, Chunks, Lines};
        let table: [(Framing, &[u8], bool, Option<usize>); 13] = [
            (AsRead, b"", true, None),
            (AsRead, b"a\nb", false, Some(3)),
            (Chunks(4), b"abc", false, None),
            (Chunks(4), b"abc", true, Some(3)),
            (Chunks(4), b"abcde", false, Some(4)),
            (Chunks(4), b"", true, None),
            (Lines(9), b"ab", false, None),
            (Lines(9), b"ab", true, Some(2)),
            (Lines(9), b"\nab", false, Some(1)),
            (Lines(9), b"ab\ncd\n", false, Some(3)),
            (Lines(3), b"abcd\n", false, Some(3)),
            (Lines(3), b"abc", false, Some(3)),
            (Lines(9), b"", true, None),
        ];

        for (framing, bytes, last, piece) in table {
            assert_eq!(framing.next(bytes, last), piece, "{framing:?} of {bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn pieces_make_up_the_whole(bytes: Vec<u8>, size in 1_usize..9, lines: bool) {
            let framing = if lines { Framing::Lines(size) } else { Framing::Chunks(size) };
            let mut left = &bytes[..];
            while let Some(n) = framing.next(left, true) {
                prop_assert!(0 < n && n <= size);
                left = &left[n..];
            }
            prop_assert!(left.is_empty());
        }
    }
}
