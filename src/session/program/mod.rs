//! `-e` and `-c`: programs on connections.

mod child;
mod programs;

pub use self::{
    child::Child,
    programs::{Programs, has_unread},
};

use std::{process::Command, time::Duration};

use anyhow::{Context, Result};

use super::{Names, proxy};
use crate::{
    endpoint::{Peer, Stdio},
    net::Address,
    plan::Program,
    sys,
};

/// A program that was started, and how it is connected.
#[derive(Debug)]
pub enum Started {
    /// To our end of a pair.
    Beside(Child, Stdio),
    /// By the peer's socket itself.
    OnSocket(Child),
}

/// Starts the program of the plan for a peer. `bare` says that nothing has to stand between them.
pub fn start(program: &Program, peer: &mut dyn Peer, names: &Names, bare: bool) -> Result<Started> {
    let command = command(program, peer, names);
    let context = || format!("run {program}");

    // A socket of its own costs no copies, and the program sees the peer's end of file itself.
    let Some(descriptor) = peer.descriptor().filter(|_| bare && peer.tls().is_none()) else {
        let (child, local) = Child::beside(command, program.keep).with_context(context)?;
        return Ok(Started::Beside(child, local));
    };

    let socket = descriptor.socket();
    // The program may never write, and then only probes find out that its client is gone.
    if !socket.keepalive().unwrap_or(true) {
        let _ = sys::set_keepalive(&socket, PROBE_INTERVAL, MAX_PROBES);
    }
    let child = Child::on_socket(command, descriptor, program.keep).with_context(context)?;
    Ok(Started::OnSocket(child))
}

/// Makes the command, with the peer in its environment.
fn command(program: &Program, peer: &mut dyn Peer, names: &Names) -> Command {
    let (name, args) = program.words();
    let mut command = Command::new(name);
    command.args(args);

    let port = |address: &Address| address.port().map_or_else(String::new, |port| port.to_string());
    let protocol = match &names.peer {
        Address::Unix(_) => "UNIX",
        _ if peer.as_datagram().is_some() => "UDP",
        Address::Inet(_) | Address::Name { .. } => "TCP",
    };
    command.env("REMOTE_ADDR", names.peer.host()).env("REMOTE_PORT", port(&names.peer));
    command.env("LOCAL_ADDR", names.local.host()).env("LOCAL_PORT", port(&names.local));
    // The password of our proxy is not the program's business.
    command.env("PROTO", protocol).env_remove(proxy::PASSWORD);
    command
}

/// Silence before a client is probed, and between probes.
const PROBE_INTERVAL: Duration = Duration::from_secs(30);

/// Probes without an answer: a client that is gone is noticed within two minutes.
const MAX_PROBES: u32 = 3;
