//! The modes of the program, a file or a folder each.

mod connect;
mod listen;
mod practice;
mod relay;
mod scan;
mod serve;

pub use crate::session::Outcome;

use anyhow::Result;

use crate::{
    net::{Address, Transport},
    plan::Plan,
    report::Report,
    sys,
};

/// Carries out a plan. An error is still to be reported; every other failure was.
pub fn run(plan: &Plan, report: &Report) -> Result<Outcome> {
    match plan {
        Plan::Connect(plan) => connect::run(plan, report),
        Plan::Listen(plan) => listen::run(plan, report),
        Plan::Practice(plan) => practice::serve(plan, report),
        Plan::PracticeClient(plan) => practice::ask(plan, report),
        Plan::Relay(plan) => relay::serve(plan, report),
        Plan::RelayClient(plan) => relay::connect(plan, report),
        Plan::Scan(plan) => scan::run(plan, report),
        Plan::Serve(plan) => serve::run(plan, report),
    }
}

/// Returns the line that scripts look for, word for word as OpenBSD's nc prints it.
fn succeeded(host: &str, address: &Address, transport: Transport) -> String {
    let Some(port) = address.port() else {
        return format!("Connection to {host} succeeded!");
    };
    let service = sys::service_name(port, transport == Transport::Datagram);
    let service = service.as_deref().unwrap_or("*");
    let protocol = transport.name();
    let ip = address.host();
    let peer = if ip == host { ip } else { format!("{host} ({ip})") };
    format!("Connection to {peer} {port} port [{protocol}/{service}] succeeded!")
}
