//! `remote`: netcat, finished.
//!
//! ```text
//! argv ─clap→ Args ─Plan::new→ Plan::Connect { to, socket_config, session }
//!      ─Lookup→ [Address] ─Race→ Address ─SocketConfig::connect→ Descriptor    (connected, ours, non-blocking)
//!      ─→ (a proxy) ─→ Connection or Datagram           = peer  : Endpoint
//!         stdin/stdout, files, a Seat, a program         = local : Endpoint
//!      ─→ Session { peer, Pump { outbound: Flow, inbound: Flow }, Ending }
//!      ─advance/wait…→ Summary ─Report→ stderr, exit status
//! ```
//!
//! A mode gets a socket from `net`, makes two endpoints, and a pump moves bytes between them through
//! stages while `event` waits; `proto` knows formats, `sys` knows kernels.

mod cli;
mod endpoint;
mod event;
mod mode;
mod net;
mod plan;
mod proto;
mod pump;
mod report;
mod session;
mod sys;
mod tap;
mod tls;

use std::process::ExitCode;

use crate::{
    cli::{Command, Messages},
    mode::Outcome,
    plan::{Plan, Usage},
    report::{Progress, Report},
};

fn main() -> ExitCode {
    let command = match Command::read(std::env::args_os()) {
        Ok(command) => command,
        Err(error) if !error.use_stderr() => {
            // Help and version were asked for; a reader that leaves early has seen enough.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            report::usage(&cli::one_line(&error));
            return ExitCode::from(USAGE);
        }
    };
    let report = report(command.messages());
    match Plan::new(&command).and_then(|plan| mode::run(&plan, &report)) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Exited(code)) => ExitCode::from(code),
        Ok(Outcome::Failed) => ExitCode::from(FAILURE),
        // Raised again, so that the shell sees that a signal has ended us.
        Ok(Outcome::Signalled(signal)) => sys::exit_by_signal(signal),
        Err(error) => {
            let text = report::sentence(&error);
            report.error(&text);
            report.object(&report::Failure { end: "failed", error: &text });
            ExitCode::from(if error.is::<Usage>() { USAGE } else { FAILURE })
        }
    }
}

fn report(messages: &Messages) -> Report {
    let progress = match (messages.progress, messages.no_progress) {
        (true, _) => Progress::Always,
        (_, true) => Progress::Never,
        _ => Progress::Auto,
    };
    Report { verbose: messages.verbose, quiet: messages.quiet, json: messages.json, progress }
}

const FAILURE: u8 = 1;
const USAGE: u8 = 2;
