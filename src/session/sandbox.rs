//! The rights that the process keeps: the files that were named, no program, no other connection.

use std::path::{Path, PathBuf};

use crate::{
    net::Address,
    plan::{self, Incoming, Outgoing, Role},
    report::Report,
    sys::{self, Enforcement, SandboxPolicy},
};

/// Gives up what a session of this plan does not need. `at` are the addresses we listen at. Before the first byte from
/// the network, and before anything has a thread of its own.
pub fn enter(plan: &plan::Session, at: &[Address], report: &Report) {
    if plan.program.is_some() {
        report.detail("sandbox: none (a program could not do its work)");
        return;
    }

    let mut permits = SandboxPolicy::default();
    // It takes the place of a stdout that was closed (`sys::silence_stdout`).
    permits.write.push(sys::NULL_DEVICE.into());
    // Terminals are opened once more, so that the description that others share with us stays as it is.
    permits.write.extend(sys::standard_terminals());

    if let Outgoing::File(path) = &plan.input {
        permits.read.push(path.clone());
        if plan.role == Role::Serve {
            // For the next client, there may be another file of this name, or a link to another one.
            permits
                .read
                .extend(std::fs::canonicalize(path).ok().and_then(|path| Some(path.parent()?.to_owned())));
            permits.read.push(folder(path));
        }
    }

    match &plan.output {
        Incoming::Automatic => {
            permits.make.push(".".into());
            // Which day it is.
            permits.read.extend(sys::TIME_ZONES.map(PathBuf::from));
            let named = std::env::var("TZ").map(|zone| zone.trim_start_matches(':').to_owned());
            permits.read.extend(named.map(PathBuf::from).ok().filter(|path| path.is_absolute()));
            permits.read.extend(std::env::var_os("TZDIR").map(PathBuf::from));
        }
        Incoming::File { path, .. } if sys::is_written_directly(path) => permits.write.push(path.clone()),
        Incoming::File { path, .. } => permits.make.push(folder(path)),
        Incoming::Nowhere | Incoming::Stdout => {}
    }

    for address in at {
        if let Address::Unix(path) = address {
            // unix(7): the name of a socket stays when it is closed, and the listener has to remove it.
            permits.remove.push(folder(path));
        }
    }

    confine(plan.sandbox.then_some(&permits), report);
}

/// Gives up what is not permitted, and tells how much that is; `None` keeps everything.
pub fn confine(permits: Option<&SandboxPolicy>, report: &Report) {
    let Some(permits) = permits else { return report.detail("sandbox: none (--no-sandbox)") };
    report.detail(match sys::confine(permits) {
        Ok(Enforcement::Full) => "sandbox: only the files that were named (Landlock)".to_owned(),
        Ok(Enforcement::Partial) => "sandbox: as much as this kernel's Landlock knows".to_owned(),
        Ok(Enforcement::None) => "sandbox: none (this kernel has no Landlock)".to_owned(),
        Err(error) => format!("sandbox: none ({})", sys::reason(&error)),
    });
}

fn folder(path: &Path) -> PathBuf {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}
