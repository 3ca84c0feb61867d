//! What the program does: one file a mode.

mod connect;
mod crowd;
mod listen;
mod local;
mod practice;
mod program;
mod proxy;
mod relay;
mod sandbox;
mod scan;
mod secure;
mod session;
mod summary;

use std::fmt;

use anyhow::Result;

use crate::{
    net::{Address, Transport},
    plan::Plan,
    report::Report,
    sys::{self, Signal},
};

/// Carries out a plan. `Ok(false)` is a failure that was reported; an error is still to be reported.
pub fn run(plan: &Plan, report: &Report) -> Result<bool> {
    match plan {
        Plan::Connect(plan) => connect::run(plan, report),
        Plan::Listen(plan) => listen::run(plan, None, report),
        Plan::Practice(plan) => practice::serve(plan, report),
        Plan::PracticeClient(plan) => practice::ask(plan, report),
        Plan::Relay(plan) => relay::serve(plan, report),
        Plan::RelayClient(plan) => relay::connect(plan, report),
        Plan::Scan(plan) => scan::run(plan, report),
        Plan::Serve(plan) => listen::run(&plan.listen, Some(plan.max_clients), report),
    }
}

/// A signal has ended the program.
#[derive(Debug)]
pub struct Interrupted(pub Signal);

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// A program that we had on a connection has ended with this status.
#[derive(Debug)]
pub struct Exited(pub u8);

impl fmt::Display for Exited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the program has ended with status {}", self.0)
    }
}

impl std::error::Error for Exited {}

/// What a signal means while there is no session: ctrl-C ends the program, ctrl-Z stops it.
fn heed(signal: Signal) -> Result<()> {
    match signal {
        Signal::Hangup | Signal::Interrupt | Signal::Terminate => Err(Interrupted(signal).into()),
        Signal::Stop => {
            sys::stop_self();
            Ok(())
        }
        Signal::Child | Signal::Continue | Signal::Info => Ok(()),
    }
}

/// The line that scripts look for, word for word as OpenBSD's nc prints it.
fn succeeded(host: &str, address: &Address, transport: Transport) -> String {
    let Some(port) = address.port() else {
        return format!("Connection to {host} succeeded!");
    };
    let service = sys::service_name(port, transport == Transport::Datagram);
    let service = service.as_deref().unwrap_or("*");
    let protocol = transport.name();
    let ip = address.host();
    let whom = if ip == host { ip } else { format!("{host} ({ip})") };
    format!("Connection to {whom} {port} port [{protocol}/{service}] succeeded!")
}
