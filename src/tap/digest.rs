//! `--digest`: BLAKE3 of what went one way.

use std::fmt;

/// The digest so far.
#[derive(Clone, Debug, Default)]
pub struct Digest(Box<blake3::Hasher>);

impl Digest {
    /// Takes in more.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Bytes that were taken in.
    pub fn size(&self) -> u64 {
        self.0.count()
    }
}

/// As `b3sum` prints it.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.finalize().fmt(f)
    }
}
