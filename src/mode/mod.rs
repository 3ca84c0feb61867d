//! The modes of the program, a file or a folder each.

mod connect;
mod listen;
mod practice;
mod relay;
mod scan;
mod serve;

pub use crate::session::Outcome;

use anyhow::Result;

use crate::{plan::Plan, report::Report};

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
