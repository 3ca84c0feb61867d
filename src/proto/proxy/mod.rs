//! Requests to proxies: SOCKS 4, 4a and 5, and HTTP CONNECT.
//!
//! A [`Request`] names the destination. A [`ProxyHandshake`] sends it to one proxy, once: the caller sends
//! [`ProxyHandshake::output`], then gives received bytes to [`ProxyHandshake::receive`], until
//! [`ProxyHandshake::is_open`]. It takes no byte behind the reply: that is the destination's.

mod handshake;
mod http;
mod reply;
mod request;
mod socks4;
mod socks5;

#[cfg(test)]
mod tests;

pub use self::{
    handshake::ProxyHandshake,
    request::{Host, Protocol, Request},
};
