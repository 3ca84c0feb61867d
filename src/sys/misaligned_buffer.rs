//! Memory for the kernel to copy into.

use std::ops::{Deref, DerefMut};

/// Zeroed bytes that begin in the middle of a page. The kernel's own buffers mostly begin where a page does; if ours
/// lay alike in their pages, some processors would copy several times slower (glibc bug 30994: `rep movsb` on AMD's Zen).
#[derive(Debug, Default)]
pub struct MisalignedBuffer {
    memory: Vec<u8>,
    start: usize,
}

impl MisalignedBuffer {
    /// Reserves `size` bytes; the kernel maps each page only when it is used.
    pub fn new(size: usize) -> Self {
        let memory = vec![0; size + PAGE];
        let start = (PAGE + PAGE / 2 - memory.as_ptr().addr() % PAGE) % PAGE;
        Self { memory, start }
    }
}

impl Deref for MisalignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.start..][..self.memory.len().saturating_sub(PAGE)]
    }
}

impl DerefMut for MisalignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        let size = self.len();
        &mut self.memory[self.start..][..size]
    }
}

/// Bytes of the smallest page; larger pages are a multiple.
const PAGE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begins_in_the_middle_of_a_page() {
        for size in [0, 1, 100, 16 << 10, 1 << 20] {
            let mut buffer = MisalignedBuffer::new(size);
            assert_eq!(buffer.len(), size);
            assert_eq!(buffer.as_ptr().addr() % PAGE, PAGE / 2);
            buffer.fill(7);
        }
        assert!(MisalignedBuffer::default().is_empty());
    }
}
