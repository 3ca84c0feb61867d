//! The practice servers and their client: sockets and files around `proto::practice`.

mod client;
mod command;
mod datagram_server;
mod echo_client;
mod echo_conn;
mod file_client;
mod file_conn;
mod file_sink;
mod folder;
mod local_servers;
mod prompt;
mod server;
mod stats;

pub use self::{prompt::run as ask, server::run as serve};

use std::fmt;

use crate::sys::Signal;

/// The error that a signal has ended the client.
#[derive(Debug)]
struct Interrupted(Signal);

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}
