//! The practice servers and their client: sockets and files around `proto::practice`.

mod client;
mod command;
mod conn;
mod datagram_server;
mod echo_client;
mod echo_conn;
mod file_client;
mod file_conn;
mod file_sink;
mod folder;
mod interrupted;
mod local_servers;
mod prompt;
mod server;
mod stats;

pub use self::{prompt::run as ask, server::run as serve};
