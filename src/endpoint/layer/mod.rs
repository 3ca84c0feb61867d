//! Endpoints over endpoints: what changes the bytes on their way.

pub mod tls;

pub use self::tls::Tls;
