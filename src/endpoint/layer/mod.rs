//! Endpoints over endpoints: layers that change the bytes on their way.
//!
//! ```text
//! stdin ─▶ (flow) ─▶ zstd | telnet ─▶ tls ─▶ socket
//! ```
//!
//! A layer takes a write whole or not at all, and keeps what the endpoint below does not take yet: `flush` passes it on.

mod telnet;
pub mod tls;
mod wire;
mod zstd;

pub use self::{
    telnet::Telnet,
    tls::Tls,
    wire::{Crossed, Wire},
    zstd::Zstd,
};
