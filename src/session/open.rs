//! The local side of a session: files and standard streams, opened as the plan says.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    endpoint::{Download, Input, Name, Output, Stdio},
    event::Waker,
    plan::{self, Incoming, Outgoing, Role},
    pump::Source,
    sys,
};

/// Fails early, before a peer is kept waiting, if a file could not be opened later.
pub fn check(plan: &plan::Session) -> Result<()> {
    if let Outgoing::File(path) = &plan.input {
        plan::check_send_file(path)?;
        // fifo(7): opening a FIFO waits for its writer, now and again later.
        if path.metadata().map_or(true, |found| found.is_file() || found.is_dir()) {
            let found = File::open(path).and_then(|file| file.metadata());
            let found = found.with_context(|| format!("send {}", path.display()))?;
            if found.is_dir() {
                anyhow::bail!("send {}: is a directory", path.display());
            }
        }
    }

    if let Incoming::File { path, .. } = &plan.output
        && !sys::is_written_directly(path)
    {
        let name = name(plan, path);
        name.check().with_context(|| format!("receive into {}", path.display()))?;
    }

    if plan.output == Incoming::Automatic {
        sys::check_writable_folder(Path::new(".")).context("receive into this folder")?;
    }

    Ok(())
}

/// Opens the input.
pub fn open_input(plan: &plan::Session, waker: &Waker) -> Result<Input> {
    match &plan.input {
        Outgoing::File(path) => {
            Input::open(path, waker.clone()).with_context(|| format!("send {}", path.display()))
        }
        Outgoing::Nothing => Ok(Input::Nothing),
        // Under cron and systemd a listener's stdin is /dev/null, which is no end of file to pass on.
        Outgoing::Stdin if plan.role != Role::Connect && sys::is_null(std::io::stdin()) => Ok(Input::Nothing),
        Outgoing::Stdin => Input::stdin(waker.clone()).context("open stdin"),
    }
}

/// Opens the output. `at` is the address in an automatic name.
pub fn open_output(plan: &plan::Session, at: At<'_>, waker: &Waker) -> Result<Output> {
    let name = match &plan.output {
        Incoming::Automatic => Name { path: automatic_name(at), force: false, numbered: true },
        Incoming::File { path, .. } if sys::is_written_directly(path) => {
            return Output::open(path, waker.clone())
                .with_context(|| format!("receive into {}", path.display()));
        }
        Incoming::File { path, .. } => name(plan, path),
        Incoming::Nowhere => return Ok(Output::Nowhere),
        Incoming::Stdout => return Output::stdout(waker.clone()).context("open stdout"),
    };

    let path = name.path.display().to_string();
    let download = Download::open(name).with_context(|| format!("receive into {path}"))?;
    Ok(Output::Download(download))
}

/// Opens the input and the output.
pub fn open(plan: &plan::Session, at: At<'_>, waker: &Waker) -> Result<Stdio> {
    Ok(Stdio::new(open_input(plan, waker)?, open_output(plan, at, waker)?))
}

/// A host, as it was given or is bound to, and its port.
pub type At<'a> = (&'a str, Option<u16>);

/// Opens the file of `-o`, which all sessions share.
pub fn open_dump(plan: &plan::Session) -> Result<Option<File>> {
    let Some(path) = &plan.dump else { return Ok(None) };
    // A duplicate: closing the dump must not close stderr.
    let file = if path.as_os_str() == "-" { sys::duplicate_stderr() } else { File::create(path) };
    file.map(Some).with_context(|| format!("dump into {}", path.display()))
}

/// Classifies an input, as far as the end of a session is concerned.
pub fn source(input: &Input) -> Source {
    match input {
        Input::File(_) | Input::Nothing => Source::File,
        Input::Terminal(_) | Input::TerminalThread(_) => Source::Terminal,
        Input::Descriptor(_) | Input::Thread(_) => Source::Pipe,
    }
}

/// Makes the name of a received file that was given none.
fn automatic_name((host, port): At<'_>) -> PathBuf {
    let date = jiff::Zoned::now().date();
    // `/` would lead into another folder; `:` and `%` occur in IPv6 addresses, and confuse other programs.
    let clean = |c: char| if c.is_control() || matches!(c, '/' | ':' | '%') { '_' } else { c };
    let host: String = host.chars().map(clean).collect();
    let port = port.map_or_else(String::new, |port| format!("_{port}"));
    format!("unet_receive_{date}_{host}{port}").into()
}

fn name(plan: &plan::Session, path: &Path) -> Name {
    let force = matches!(&plan.output, Incoming::File { force: true, .. });
    Name { path: path.to_owned(), force, numbered: plan.role == Role::Serve }
}
