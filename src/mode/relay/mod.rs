//! The relay and its clients: sockets around `proto::relay`.

mod client;
mod event_log;
mod forwarder;
mod metrics;
mod secrets;
mod server;

pub use self::{client::run as connect, server::run as serve};
