//! The practice servers: sockets and files around `proto::practice`.

mod basic;
mod client;
mod command;
mod datagrams;
mod folder;
mod server;
mod visit;

pub use self::{client::run as ask, server::run as serve};
