//! The practice servers: what a request asks for, and what is answered when.
//!
//! A request is what one read or one datagram brings: text to be echoed, a number of bytes to be made, or a stream of
//! packets in time. The file conversation, with a server that speaks first, is [`files`].

mod answer;
mod arrivals;
mod collect;
pub mod files;
mod request;

pub use self::{
    answer::{Answer, Next, Style},
    arrivals::{Arrivals, Figures},
    collect::Collector,
    request::{LONGEST_REQUEST, Request},
};

/// What comes before a file that was made.
pub const MARKER: &[u8] = b"file_prepared";
