//! The practice servers: sockets and files around `proto::practice`.

mod basic;
mod datagrams;
mod folder;
mod server;

pub use self::server::run as serve;
