//! `--digest`: BLAKE3 of the bytes of one direction.

use std::fmt;

/// The digest so far.
// Boxed: the state has about 2 KB, which sessions without --digest would carry too.
#[derive(Clone, Debug, Default)]
pub struct Digest(Box<blake3::Hasher>);

impl Digest {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns how many bytes were added.
    pub fn size(&self) -> u64 {
        self.0.count()
    }
}

/// Formats the digest as b3sum(1) does.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.finalize().fmt(f)
    }
}
