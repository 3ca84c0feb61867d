//! Formats as pure functions and state machines: bytes in, bytes out; no descriptor, no clock, nothing
//! of ours imported.

pub mod hexdump;
pub mod http;
pub mod practice;
pub mod proxy;
pub mod relay;
pub mod telnet;
