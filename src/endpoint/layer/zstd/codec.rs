//! `--zstd`: Zstandard frames (RFC 8878), as `zstd` reads and writes them.

use std::{fmt, io};

use zstd_safe::{CCtx, CParameter, DCtx, DParameter, ErrorCode, InBuffer, OutBuffer, get_error_name};

/// An encoder of one frame.
pub struct Compressor {
    context: CCtx<'static>,
    /// Bytes that were written since the last flush.
    given: u64,
    ended: bool,
}

impl Compressor {
    /// Makes a compressor of this level, 1 to 19: higher levels need a window that decoders need not have. Fails if there
    /// is no memory.
    pub fn new(level: i32) -> io::Result<Self> {
        let mut context = CCtx::try_create().ok_or(io::ErrorKind::OutOfMemory)?;
        // The checksum of the content lets a decoder find bytes that were changed (RFC 8878, section 3.1.1).
        for parameter in [CParameter::CompressionLevel(level), CParameter::ChecksumFlag(true)] {
            context.set_parameter(parameter).map_err(error)?;
        }
        Ok(Self { context, given: 0, ended: false })
    }

    /// Compresses bytes, and appends the blocks that are ready to `out`.
    pub fn write(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        self.given += bytes.len() as u64;
        let mut input = InBuffer::around(bytes);
        append(out, |output| {
            self.context.compress_stream(output, &mut input)?;
            Ok(bytes.len() - input.pos())
        })
    }

    /// Returns how many bytes are still inside: zstd makes blocks of a fixed size, and shorter ones only when flushed.
    pub fn held(&self) -> usize {
        (self.given % BLOCK as u64) as usize
    }

    /// Appends the bytes that are still inside to `out`, so that a decoder gets all that was written.
    pub fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if self.given == 0 {
            return Ok(());
        }
        self.given = 0;
        append(out, |output| self.context.flush_stream(output))
    }

    /// Ends the frame, once; of nothing, an empty frame.
    pub fn end(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if self.ended {
            return Ok(());
        }
        self.ended = true;
        self.given = 0;
        append(out, |output| self.context.end_stream(output))
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").field("given", &self.given).finish_non_exhaustive()
    }
}

/// Lets `step` append to `out` until it has nothing left: once more would begin another frame.
fn append(
    out: &mut Vec<u8>,
    mut step: impl FnMut(&mut OutBuffer<'_, Vec<u8>>) -> Result<usize, ErrorCode>,
) -> io::Result<()> {
    loop {
        out.reserve(MIN_ROOM);
        let at = out.len();
        let left = step(&mut OutBuffer::around_pos(out, at)).map_err(error)?;
        if left == 0 {
            return Ok(());
        }
    }
}

/// A decoder of frames, one after the other; skippable frames are skipped (RFC 8878, section 3.1.2).
pub struct Decompressor {
    context: DCtx<'static>,
    /// Bytes that zstd expects next; none between frames.
    wanted: usize,
    /// There may be more output without more input.
    full: bool,
    /// The error to return once all output before it was taken.
    fault: Option<io::Error>,
}

impl Decompressor {
    /// Makes a decompressor. Fails if there is no memory.
    pub fn new() -> io::Result<Self> {
        let mut context = DCtx::try_create().ok_or(io::ErrorKind::OutOfMemory)?;
        context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG)).map_err(error)?;
        Ok(Self { context, wanted: 0, full: false, fault: None })
    }

    /// Decodes `bytes` into `out`. Returns how many bytes were taken and how many were made. Fails once all output before
    /// the error was taken.
    pub fn decode(&mut self, bytes: &[u8], out: &mut [u8]) -> io::Result<(usize, usize)> {
        let (mut taken, mut made) = (0, 0);
        if let Some(error) = self.fault.take() {
            return Err(error);
        }

        while made < out.len() && (taken < bytes.len() || self.full) {
            // A failed call does not tell how much it has made. So no call gets more than one block: zstd expects the rest of
            // a block, and the header of the next one.
            let most = match self.wanted {
                0 => FRAME_HEADER,
                wanted if wanted > BLOCK_HEADER => wanted - BLOCK_HEADER,
                wanted => wanted,
            };

            let piece = &bytes[taken..];
            let mut input = InBuffer::around(&piece[..piece.len().min(most)]);
            let mut output = OutBuffer::around(&mut out[made..]);

            match self.context.decompress_stream(&mut output, &mut input) {
                Ok(wanted) => {
                    self.wanted = wanted;
                    self.full = wanted > 0 && output.pos() == output.capacity();
                    taken += input.pos();
                    made += output.pos();
                }
                Err(code) if made == 0 => return Err(error(code)),
                Err(code) => {
                    self.fault = Some(error(code));
                    break;
                }
            }
        }

        Ok((taken, made))
    }

    /// Returns whether there may be more output, or an error, without more input.
    pub fn holds(&self) -> bool {
        self.full || self.fault.is_some()
    }

    /// Fails if the input ends inside a frame.
    pub fn end(&self) -> io::Result<()> {
        match self.wanted {
            0 => Ok(()),
            _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the zstd stream ends inside a frame")),
        }
    }
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

/// Describes an error; its number is stable (zstd_errors.h).
fn error(code: ErrorCode) -> io::Error {
    let text = match code.wrapping_neg() {
        10 => "what came is no zstd stream".to_owned(),
        16 => format!("the zstd stream needs a window of more than {} MiB", (1_u64 << WINDOW_LOG) >> 20),
        64 => return io::ErrorKind::OutOfMemory.into(),
        _ => format!("the zstd stream cannot be decoded: {}", get_error_name(code).to_lowercase()),
    };
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// The window that every decoder should support (RFC 8878, section 3.1.1.1.2): 8 MiB.
const WINDOW_LOG: u32 = 23;

/// Bytes of a block at most (RFC 8878, section 3.1.1.2.4).
const BLOCK: usize = 128 << 10;

/// Bytes before a block.
const BLOCK_HEADER: usize = 3;

/// Bytes from which zstd learns how long a frame's header is.
const FRAME_HEADER: usize = 5;

/// Bytes of room that zstd gets at least.
const MIN_ROOM: usize = 4096;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn compress(bytes: &[u8], level: i32) -> Vec<u8> {
        let (mut compressor, mut out) = (Compressor::new(level).unwrap(), Vec::new());
        compressor.write(bytes, &mut out).unwrap();
        compressor.end(&mut out).unwrap();
        out
    }

    /// Decodes bytes in pieces, into a buffer of `room` bytes; returns the output, and whether it was whole.
    fn decompress(bytes: &[u8], piece: usize, room: usize) -> (Vec<u8>, io::Result<()>) {
        let (mut decompressor, mut out, mut buf) = (Decompressor::new().unwrap(), Vec::new(), vec![0; room]);

        for part in bytes.chunks(piece) {
            let mut part = part;
            while !part.is_empty() || decompressor.holds() {
                match decompressor.decode(part, &mut buf) {
                    Ok((taken, made)) => {
                        assert!(taken + made > 0 || !decompressor.holds(), "it would spin");
                        part = &part[taken..];
                        out.extend_from_slice(&buf[..made]);
                    }
                    Err(error) => return (out, Err(error)),
                }
            }
        }
        (out, decompressor.end())
    }

    /// Makes text that can be compressed, though not to nothing.
    fn text(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut letter = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b'a' + (state >> 28) as u8
        };
        (0..length).map(|_| letter()).collect()
    }

    #[test]
    fn every_level_keeps_to_the_window() {
        for level in 1..=19 {
            // No decoder of ours would take a frame that needs more.
            let (out, end) = decompress(&compress(b"hello", level), 1, 1);
            assert_eq!((out.as_slice(), end.is_ok()), (&b"hello"[..], true), "{level}");
        }
    }

    #[test]
    fn nothing_is_a_frame_or_nothing() {
        let frame = compress(b"", 3);
        assert!(!frame.is_empty());
        for bytes in [&frame[..], b""] {
            let (out, end) = decompress(bytes, 1, 1);
            assert!(out.is_empty() && end.is_ok());
        }
    }

    #[test]
    fn frames_follow_each_other_and_some_are_skipped() {
        // RFC 8878, 3.1.2: a magic number, the length, and that many bytes.
        let skipped = b"\x53\x2a\x4d\x18\x05\x00\x00\x00\x28\xb5\x2f\xfd\x00";
        let all =
            [skipped, &compress(b"one ", 1)[..], skipped, &compress(b"", 3), &compress(b"two", 19), skipped];
        let all = all.concat();
        for piece in [1, 2, 7, 1000] {
            let (out, end) = decompress(&all, piece, 2);
            assert_eq!((out.as_slice(), end.is_ok()), (&b"one two"[..], true), "{piece}");
        }
        // Inside of any of them it is no end.
        let (_, end) = decompress(&all[..all.len() - 1], 9, 9);
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn flushed_bytes_can_be_read() {
        let (mut compressor, mut decompressor) = (Compressor::new(3).unwrap(), Decompressor::new().unwrap());

        for line in ["one\n", "two\n", &"three\n".repeat(100_000)] {
            let mut wire = Vec::new();
            compressor.write(line.as_bytes(), &mut wire).unwrap();
            assert_eq!(compressor.held(), line.len() % BLOCK);
            compressor.flush(&mut wire).unwrap();
            assert_eq!(compressor.held(), 0);
            let mut buf = vec![0; line.len() + 1];
            let (taken, made) = decompressor.decode(&wire, &mut buf).unwrap();
            assert_eq!((taken, &buf[..made]), (wire.len(), line.as_bytes()));
        }
        let mut rest = Vec::new();
        compressor.flush(&mut rest).unwrap();
        assert!(rest.is_empty(), "there was nothing left to be flushed");
        assert!(decompressor.end().is_err(), "the frame has not ended");
    }

    /// Positions in a stream: all of them if it is short, else those at both ends and some between.
    fn positions(length: usize) -> impl Iterator<Item = usize> {
        (0..length).filter(move |at| length < 3000 || *at < 100 || at % 509 == 0 || length - at < 20)
    }

    #[test]
    fn a_truncated_stream_is_never_whole_and_gives_its_bytes() {
        for text in [text(3000), text(300_000)] {
            let wire = compress(&text, 3);
            for length in positions(wire.len()).skip(1) {
                let (out, end) = decompress(&wire[..length], usize::MAX, 1 << 20);
                assert_eq!(end.unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{length}");
                assert!(text.starts_with(&out) && out.len() + BLOCK >= text.len() * length / wire.len());
            }
        }
    }

    #[test]
    fn a_corrupt_stream_is_an_error_and_gives_the_bytes_before() {
        for text in [text(3000), text(BLOCK * 2 + 1000)] {
            let wire = compress(&text, 1);
            for at in positions(wire.len()) {
                let mut wire = wire.clone();
                wire[at] ^= 0x55;

                let whole = decompress(&wire, usize::MAX, 1 << 20);
                // The output before the error does not depend on the pieces.
                let pieces = decompress(&wire, 1000, 777);
                assert!(whole.0 == pieces.0 && whole.1.is_err() == pieces.1.is_err(), "{at}");
                // A frame may say that it needs a smaller window than it was made with.
                assert!(whole.1.is_err() || whole.0 == text, "{at}");

                let good = at / (wire.len() * BLOCK / text.len() + 1000) * BLOCK;
                assert!(whole.0.len() >= good && text[..good] == whole.0[..good], "{at}");
            }
        }
    }

    #[test]
    fn errors_say_what_is_wrong() {
        // A frame header with a window of 16 MiB (RFC 8878, 3.1.1.1.2: exponent 14).
        let table: [(&[u8], &str); 3] = [
            (b"GET / HTTP/1.0\r\n", "what came is no zstd stream"),
            (b"\x28\xb5\x2f\xfd\x00\x70\x01\x00\x00", "the zstd stream needs a window of more than 8 MiB"),
            (
                b"\x28\xb5\x2f\xfd\x00\x68\x07\x00\x00",
                "the zstd stream cannot be decoded: data corruption detected",
            ),
        ];
        for (bytes, text) in table {
            assert_eq!(decompress(bytes, 1, 9).1.unwrap_err().to_string(), text);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn output_is_the_input(
            parts in prop::collection::vec((prop::collection::vec(0_u8..4, 0..9000), any::<bool>()), 0..20),
            level in prop::sample::select(vec![1, 3, 19]), piece in 1_usize..5000, room in 1_usize..5000,
        ) {
            let (mut compressor, mut wire, mut whole) = (Compressor::new(level).unwrap(), Vec::new(), Vec::new());
            for (part, flush) in parts {
                compressor.write(&part, &mut wire).unwrap();
                whole.extend(part);
                if flush {
                    compressor.flush(&mut wire).unwrap();
                }
            }
            compressor.end(&mut wire).unwrap();
            let (out, end) = decompress(&wire, piece, room);
            prop_assert!(out == whole && end.is_ok());
        }

        #[test]
        fn nonsense_ends(bytes: Vec<u8>, piece in 1_usize..50) {
            let bytes = [b"\x28\xb5\x2f\xfd", &bytes[..]].concat();
            let (one, other) = (decompress(&bytes, piece, 100), decompress(&bytes, usize::MAX, 100));
            prop_assert_eq!((one.0, one.1.is_ok()), (other.0, other.1.is_ok()));
        }
    }
}
