//! TLS without sockets: certificates, keys, pins, trust, and the words for what goes wrong.

mod trust;
pub mod words;

pub use self::trust::{Identity, Pin, Roots, TlsClient, TlsServer, Trust, client, describe, server};
