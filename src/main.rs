//! `remote`: netcat, finished.
//!
//! A walk of the command line through the house:
//!
//! ```text
//! argv ─cli::Command::read→ Args ─Plan::new→ Plan::Connect { to, socket_config, tls, session }     (settled once)
//!      ─mode::connect→ Dial: ConnectAttempts { Resolving → Race } → ProxyConnect → TlsHandshake     (values, advanced)
//!      ─→ Box<dyn Peer>: Zstd | Telnet over Tls over Stream, or Datagram, or RelayConnection
//!      ─Conversation→ Session { Pump { inbound: Flow, outbound: Flow, taps }, Ending, Life } + Stdio, or a program
//!      ─advance, until it is over→ Summary ─print→ stderr;  Outcome ─→ exit status
//! ```
//!
//! A walk of one byte of stdin to the peer:
//!
//! ```text
//! fd 0 ─Stdio::read→ Flow: Buffer ─Framing, (Crlf), Pace→ Peer::write ─→ (Zstd | Telnet) ─→ (Tls) ─→ Stream ─→ socket
//!                      │ Route::choose: sendfile and splice pass it without a copy, where no tap, layer or framing sees it
//!                      └ Taps hear it: --digest, -o
//! ```
//!
//! A **mode** opens **session**s; a session moves bytes between two **endpoint**s with a **pump** while **event** waits;
//! **net** makes sockets, **proto** knows formats, **sys** knows kernels. `tests/layout.rs` has the table of imports.

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
