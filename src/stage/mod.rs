//! What may stand between a source and a sink: filters change bytes, taps look at them.
//!
//! ```text
//! source ─▶ cut ─▶ crlf ─▶ (digest) ─▶ encode ─▶ (dump) ─▶ the wire
//! the wire ─▶ (dump) ─▶ decode ─▶ cut ─▶ (digest) ─▶ sink
//! ```

mod compress;
mod crlf;
mod telnet;

pub use self::{
    compress::{Compressor, Decompressor},
    crlf::Crlf,
    telnet::Negotiation,
};

use std::io;

use crate::{
    proto::telnet::escape,
    tap::{Digest, Hexdump},
};

/// The stages of one direction.
#[derive(Debug, Default)]
pub struct Stages {
    /// `-C`.
    pub crlf: Option<Crlf>,
    /// `--zstd` and `-t`, outbound.
    pub encode: Option<Encode>,
    /// `--zstd` and `-t`, inbound.
    pub decode: Option<Decode>,
    /// `--digest`: of what both sides have in common, whatever the wire makes of it.
    pub digest: Option<Digest>,
    /// `-o`: what is on the wire.
    pub dump: Option<Hexdump>,
}

/// What makes the wire's bytes of ours.
#[derive(Debug)]
pub enum Encode {
    Compress(Box<Compressor>),
    /// For a peer that looks for telnet's commands.
    Escape,
}

/// What makes our bytes of the wire's.
#[derive(Debug)]
pub enum Decode {
    Decompress(Box<Decompressor>),
    Negotiate(Negotiation),
}

impl Stages {
    /// Whether a filter changes the bytes.
    pub fn change(&self) -> bool {
        self.filters() || self.decode.is_some()
    }

    /// Whether a filter changes the pieces that are sent.
    pub fn filters(&self) -> bool {
        self.crlf.is_some() || self.encode.is_some()
    }

    /// Whether a tap looks at the bytes.
    pub fn look(&self) -> bool {
        self.digest.is_some() || self.dump.is_some()
    }

    /// Puts what the filters make of `bytes` at the end of `out`; it may be nothing yet.
    pub fn filter(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let Some(encode) = &mut self.encode else {
            match &mut self.crlf {
                Some(crlf) => crlf.apply(bytes, out),
                None => out.extend_from_slice(bytes),
            }
            return Ok(());
        };
        let mut lines = Vec::new();
        let bytes = match &mut self.crlf {
            Some(crlf) => {
                crlf.apply(bytes, &mut lines);
                &lines
            }
            None => bytes,
        };
        if let Some(digest) = &mut self.digest {
            digest.update(bytes);
        }
        match encode {
            Encode::Compress(compressor) => compressor.write(bytes, out)?,
            Encode::Escape => escape(bytes, out),
        }
        Ok(())
    }

    /// Bytes that the filters were given, and that nothing has become of yet.
    pub fn held(&self) -> usize {
        match &self.encode {
            Some(Encode::Compress(compressor)) => compressor.held(),
            Some(Encode::Escape) | None => 0,
        }
    }

    /// Puts what is still in the filters at the end of `out`.
    pub fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        match &mut self.encode {
            Some(Encode::Compress(compressor)) => compressor.flush(out),
            Some(Encode::Escape) | None => Ok(()),
        }
    }

    /// The same, and what says that nothing more will come.
    pub fn end(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        match &mut self.encode {
            Some(Encode::Compress(compressor)) => compressor.end(out),
            Some(Encode::Escape) | None => Ok(()),
        }
    }

    /// What the peer is to be told.
    pub fn answers(&mut self) -> Option<&mut Vec<u8>> {
        match &mut self.decode {
            Some(Decode::Negotiate(negotiation)) => {
                Some(negotiation.answers()).filter(|said| !said.is_empty())
            }
            Some(Decode::Decompress(_)) | None => None,
        }
    }

    /// Shows the taps what was read from the wire and is still to be decoded. Fails if one cannot write down
    /// what it sees.
    pub fn tap_encoded(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.dump.as_mut().map_or(Ok(()), |dump| dump.write(bytes))
    }

    /// Shows the taps what the sink has taken. Fails if one cannot write down what it sees.
    pub fn tap(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let (Some(digest), None) = (&mut self.digest, &self.encode) {
            digest.update(bytes);
        }
        match (&mut self.dump, &self.decode) {
            (Some(dump), None) => dump.write(bytes),
            _ => Ok(()),
        }
    }
}

impl Decode {
    /// Puts what becomes of `bytes` into `out`, and tells how many of `bytes` that took, and how many it made.
    pub fn decode(&mut self, bytes: &[u8], out: &mut [u8]) -> io::Result<(usize, usize)> {
        match self {
            Self::Decompress(decompressor) => decompressor.decode(bytes, out),
            Self::Negotiate(negotiation) => Ok(negotiation.decode(bytes, out)),
        }
    }

    /// Whether there may be more to be had without giving it more.
    pub fn holds(&self) -> bool {
        match self {
            Self::Decompress(decompressor) => decompressor.holds(),
            Self::Negotiate(_) => false,
        }
    }

    /// Nothing more comes: fails if that cannot be the end.
    pub fn end(&self) -> io::Result<()> {
        match self {
            Self::Decompress(decompressor) => decompressor.end(),
            Self::Negotiate(_) => Ok(()),
        }
    }
}
