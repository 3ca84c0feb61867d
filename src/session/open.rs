//! Our side of a session, opened as the plan says.

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{
    endpoint::{Download, Input, Name, Output, Standard},
    event::Waker,
    net::{Address, Transport},
    plan::{self, Incoming, LARGEST_DATAGRAM, Outgoing, Role},
    pump::{Cut, Ending, Pace, Shape, Source},
    stage::{Compressor, Crlf, Decode, Decompressor, Encode, Negotiation, Stages},
    sys,
    tap::{Digest, Direction, Hexdump},
};

/// Finds out, before anybody is kept waiting or loses a byte, what could not be opened later.
pub fn check(plan: &plan::Session) -> Result<()> {
    if let Outgoing::File(path) = &plan.input {
        plan::check_send_file(path)?;
        // A FIFO would wait for its writer, now and again later.
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
        // Under cron and systemd a listener has no stdin; it is not one that ends at once.
        Outgoing::Stdin if plan.role != Role::Connect && sys::is_null(std::io::stdin()) => Ok(Input::Nothing),
        Outgoing::Stdin => Input::stdin(waker.clone()).context("open stdin"),
    }
}

/// Opens the output. `at` is the address that an automatic name tells.
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
    let shown = name.path.display().to_string();
    let download = Download::open(name).with_context(|| format!("receive into {shown}"))?;
    Ok(Output::Download(download))
}

/// Opens both.
pub fn open(plan: &plan::Session, at: At<'_>, waker: &Waker) -> Result<Standard> {
    Ok(Standard { input: open_input(plan, waker)?, output: open_output(plan, at, waker)? })
}

/// A host, as it was given or is bound to, and its port.
pub type At<'a> = (&'a str, Option<u16>);

/// The file of `-o`, which all directions and sessions share.
pub fn open_dump(plan: &plan::Session) -> Result<Option<File>> {
    let Some(path) = &plan.dump else { return Ok(None) };
    let file = if path.as_os_str() == "-" { sys::duplicate_stderr() } else { File::create(path) };
    file.map(Some).with_context(|| format!("dump into {}", path.display()))
}

/// What our input is, as far as the end of a session is concerned.
pub fn source(input: &Input) -> Source {
    match input {
        Input::File(_) | Input::Nothing => Source::File,
        Input::Terminal(_) | Input::TerminalFerry(_) => Source::Terminal,
        Input::Descriptor(_) | Input::Ferry(_) => Source::Pipe,
    }
}

/// When a session of this plan ends.
pub fn ending(plan: &plan::Session, source: Source) -> Ending {
    let datagrams = plan.transport == Transport::Datagram;
    let silence = match (datagrams, plan.honor_eof_datagram, plan.role == Role::Serve) {
        // It takes the time that it takes.
        _ if plan.program.is_some() => None,
        (true, true, _) => Some(plan.idle.unwrap_or(FILE_SILENCE)),
        (true, false, true) => Some(plan.idle.unwrap_or(PEER_SILENCE)),
        _ => None,
    };
    Ending {
        datagrams,
        source,
        listening: plan.role != Role::Connect,
        half_open: plan.half_open,
        send_only: plan.direction == plan::Direction::Send,
        quiet: plan.quit,
        idle: plan.idle,
        silence,
        marks_end: plan.send_eof_datagram,
        met: plan.role == Role::Serve,
        lingers: plan.program.is_some(),
    }
}

/// How the bytes from the peer to us are to be treated.
pub fn inbound(plan: &plan::Session, address: &Address, dump: Option<&File>) -> Result<Shape> {
    let largest = match address {
        Address::Inet(_) | Address::Name { .. } => 1 << 16,
        // unix(7): as large as the sender's buffer allows, which is 208 KiB by default.
        Address::Unix(_) => 1 << 19,
    };
    Ok(Shape {
        cut: if plan.lines { Cut::Lines(LARGEST_DATAGRAM) } else { Cut::AsRead },
        stages: Stages {
            decode: match plan.zstd {
                // What is dropped need not be understood.
                Some(_) if plan.direction == plan::Direction::Send => None,
                Some(_) => Some(Decode::Decompress(Decompressor::new().context("decompress")?.into())),
                None => plan.telnet.then(|| Decode::Negotiate(Negotiation::default())),
            },
            ..taps(plan, dump, Direction::Received)?
        },
        source_datagram: (plan.transport == Transport::Datagram).then_some(largest),
        reader_may_leave: true,
        limit: plan.max_datagrams,
        ..Shape::plain()
    })
}

/// How the bytes from us to the peer are to be treated.
pub fn outbound(plan: &plan::Session, source: Source, dump: Option<&File>) -> Result<Shape> {
    let datagrams = plan.transport == Transport::Datagram;
    // A line feed can become two bytes.
    let lines = Cut::Lines(LARGEST_DATAGRAM - 1);
    let cut = match (&plan.input, source) {
        _ if plan.lines => lines,
        _ if plan.program.is_some() => Cut::AsRead,
        (_, Source::Terminal) if datagrams => lines,
        (_, Source::File) if datagrams => Cut::Chunks(plan.datagram_size),
        (Outgoing::File(_), _) if plan.delay.is_some() => Cut::Chunks(plan.datagram_size),
        (Outgoing::Stdin, _) if plan.delay.is_some() && !datagrams => lines,
        _ => Cut::AsRead,
    };
    Ok(Shape {
        cut,
        pace: match plan.rate {
            None if datagrams => Pace::for_datagrams(plan.datagram_size, plan.delay),
            rate => Pace::new(rate, plan.delay),
        },
        stages: Stages {
            crlf: plan.crlf.then(Crlf::default),
            encode: match plan.zstd {
                Some(level) => Some(Encode::Compress(Compressor::new(level).context("compress")?.into())),
                None => plan.telnet.then_some(Encode::Escape),
            },
            ..taps(plan, dump, Direction::Sent)?
        },
        source_may_reset: plan.program.is_some(),
        sink_datagram: datagrams.then_some(LARGEST_DATAGRAM),
        pass_eof: plan.pass_eof,
        ..Shape::plain()
    })
}

fn taps(plan: &plan::Session, dump: Option<&File>, direction: Direction) -> Result<Stages> {
    let dump = dump.map(File::try_clone).transpose().context("dump")?;
    Ok(Stages {
        digest: plan.digest.then(Digest::default),
        dump: dump.map(|file| Hexdump::new(file, direction)),
        ..Stages::default()
    })
}

/// The name of a file that came without one.
fn automatic_name((host, port): At<'_>) -> PathBuf {
    let date = jiff::Zoned::now().date();
    let clean = |c: char| if c.is_control() || matches!(c, '/' | ':' | '%') { '_' } else { c };
    let host: String = host.chars().map(clean).collect();
    let port = port.map_or_else(String::new, |port| format!("_{port}"));
    format!("unet_receive_{date}_{host}{port}").into()
}

fn name(plan: &plan::Session, path: &Path) -> Name {
    let force = matches!(&plan.output, Incoming::File { force: true, .. });
    Name { path: path.to_owned(), force, numbered: plan.role == Role::Serve }
}

/// Silence that ends the reception of a file over datagrams.
const FILE_SILENCE: Duration = Duration::from_secs(2);

/// Silence after which a peer of a datagram listener is forgotten.
const PEER_SILENCE: Duration = Duration::from_secs(60);
