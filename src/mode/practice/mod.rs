//! The practice servers: sockets and files around `proto::practice`.

mod basic;
mod client;
mod command;
mod datagrams;
mod figures;
mod folder;
mod own;
mod server;
mod visit;

pub use self::{client::run as ask, server::run as serve};
