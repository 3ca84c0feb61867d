//! The practice protocol: requests, and the bytes and times of their answers.
//!
//! A request is a line, or a datagram: text to echo, a number of bytes to generate, or a stream of packets at an
//! interval. A server calls [`Collector::receive`] until there is a request, then [`Answer::next`] and
//! [`Answer::sent`] until the answer is done. The file conversation, in which the server speaks first, is [`files`].

mod answer;
mod collector;
pub mod files;
mod request;
mod stream_stats;

pub use self::{
    answer::{Answer, Next, Style},
    collector::Collector,
    request::{MARKER, MAX_REQUEST, Request},
    stream_stats::{Stats, StreamStats},
};
