//! The facts of a session that has ended: its file gets its name, then the facts are printed.

use std::time::Duration;

use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::Outcome;
use crate::{
    endpoint::{Download, TlsInfo},
    net::Address,
    pump::EndReason,
    report::{self, Report},
    sys::{self, Signal},
};

/// How a session has ended.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// The client was too far behind the others.
    Behind,
    Interrupted(Signal),
    Over(EndReason),
}

impl End {
    /// Returns its name in `--json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Behind => "behind",
            Self::Interrupted(_) => "interrupted",
            Self::Over(EndReason::Done) => "done",
            Self::Over(EndReason::Failed) => "failed",
            Self::Over(EndReason::Gone) => "gone",
            Self::Over(EndReason::Idle) => "idle",
            Self::Over(EndReason::PeerClosed) => "peer-closed",
            Self::Over(EndReason::Quiet) => "quiet",
            Self::Over(EndReason::SinkClosed) => "reader-left",
            Self::Over(EndReason::Silence) => "silence",
        }
    }

    /// Returns the signal that has ended it.
    pub fn signal(self) -> Option<Signal> {
        match self {
            Self::Interrupted(signal) => Some(signal),
            Self::Behind | Self::Over(_) => None,
        }
    }
}

/// The facts: the object of `--json`.
#[derive(Debug, Serialize)]
pub struct Summary {
    pub transport: &'static str,
    pub peer: JsonAddress,
    pub local: JsonAddress,
    pub sent: DirectionStats,
    pub received: DirectionStats,
    pub seconds: f64,
    /// How it ended: [`End::name`].
    pub end: &'static str,
    /// The failure; `null` for a success.
    pub error: Option<String>,
    /// Bytes that we read and that did not reach the peer.
    pub undelivered: u64,
    /// Bytes that were received and could not be written.
    pub unwritten: u64,
    /// Datagrams that found no room.
    pub dropped: u64,
    /// The file that was received.
    pub file: Option<String>,
    pub tcp: Option<Tcp>,
    pub tls: Option<JsonTls>,
    #[serde(skip)]
    pub labels: Labels,
    /// The signal that ended it.
    #[serde(skip)]
    pub signal: Option<Signal>,
    #[serde(skip)]
    pub file_note: Option<FileNote>,
}

/// An address in `--json`; `None` is one that is not known.
#[derive(Debug, Default)]
pub struct JsonAddress(pub Option<Address>);

impl Serialize for JsonAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Address", 2)?;
        fields.serialize_field("address", &self.0.as_ref().map(Address::host))?;
        fields.serialize_field("port", &self.0.as_ref().and_then(Address::port))?;
        fields.end()
    }
}

/// The counts of one direction.
#[derive(Debug, Default, Serialize)]
pub struct DirectionStats {
    /// On the wire.
    pub bytes: u64,
    /// Of the payload: as our source brought it, or as our sink took it.
    pub content: u64,
    pub datagrams: Option<u64>,
    pub digest: Option<String>,
    /// Bytes that the digest is of.
    #[serde(skip)]
    pub digested: u64,
}

/// The line, as TCP has measured it.
#[derive(Debug, Serialize)]
pub struct Tcp {
    pub rtt_us: u32,
    pub retransmits: u32,
}

/// TLS in `--json`.
#[derive(Debug, Serialize)]
pub struct JsonTls {
    pub version: &'static str,
    pub suite: String,
    pub alpn: Option<String>,
    /// The pin of the peer's key.
    pub peer: Option<String>,
}

impl From<TlsInfo> for JsonTls {
    fn from(TlsInfo { version, suite, alpn, certificate }: TlsInfo) -> Self {
        Self { version, suite, alpn, peer: certificate.map(|(_, pin)| pin) }
    }
}

/// Facts for messages, which `--json` does not have.
#[derive(Debug, Default)]
pub struct Labels {
    pub source: String,
    pub has_outbound: bool,
    pub closed_by_peer: bool,
}

/// A message about the file that was received.
#[derive(Debug)]
pub enum FileNote {
    /// It is whole; told where a person reads along.
    Named(String),
    /// It is not whole; always told.
    Partial(String),
}

impl Summary {
    /// The facts of a session that a signal ended before it began.
    pub fn of_unstarted(
        peer: Option<Address>,
        transport: &'static str,
        signal: Signal,
        time: Duration,
    ) -> Self {
        Self {
            transport: if matches!(peer, Some(Address::Unix(_))) { "unix" } else { transport },
            peer: JsonAddress(peer),
            local: JsonAddress::default(),
            sent: DirectionStats::default(),
            received: DirectionStats::default(),
            seconds: time.as_secs_f64(),
            end: End::Interrupted(signal).name(),
            error: None,
            undelivered: 0,
            unwritten: 0,
            dropped: 0,
            file: None,
            tcp: None,
            tls: None,
            labels: Labels::default(),
            signal: Some(signal),
            file_note: None,
        }
    }

    /// Gives a received file its name if it is whole, or keeps the part. A failure to do so is one of the session.
    pub fn finish_file(&mut self, download: Option<Download>) {
        let Some(download) = download else { return };
        let part = download.part().display().to_string();

        // rename(2) can fail, and that is a failure of the session: it is settled here, and told with the rest.
        if self.error.is_none() && self.signal.is_none() {
            match download.keep() {
                Ok(path) => {
                    let path = path.display().to_string();
                    let note = format!("received {} bytes into {path}", self.received.content);
                    self.file_note = Some(FileNote::Named(note));
                    self.file = Some(path);
                }
                Err(error) => {
                    let why = sys::reason(&error);
                    self.error =
                        Some(format!("give {part} its name: {why} (what was received is in {part})"));
                    self.file = Some(part);
                }
            }
            return;
        }

        let kept = match download.leave() {
            Ok(Some(part)) => {
                self.file = Some(part.display().to_string());
                format!("what was received is in {}", part.display())
            }
            Ok(None) => return,
            Err(error) => format!("{part}: {}", sys::reason(&error)),
        };
        match &mut self.error {
            Some(error) => *error += &format!("; {kept}"),
            None => self.file_note = Some(FileNote::Partial(kept)),
        }
    }

    /// Returns the outcome that a single session is for the program.
    pub fn outcome(&self) -> Outcome {
        match (self.signal, &self.error) {
            // The exit status tells of the signal, even if the transfer has failed too.
            (Some(signal), _) => Outcome::Signalled(signal),
            (None, error) => Outcome::of(error.is_none()),
        }
    }

    /// Prints the facts. `interactive` says that a person sits at our terminal.
    pub fn print(&self, report: &Report, interactive: bool) {
        match &self.file_note {
            Some(FileNote::Named(note)) if report.verbose > 0 || report.is_interactive() => report.note(note),
            Some(FileNote::Partial(note)) => report.note(note),
            Some(FileNote::Named(_)) | None => {}
        }

        // Errors are told under --quiet too.
        if let Some(error) = &self.error {
            report.error(error);
        } else if let (true, true, Some(peer)) = (interactive, self.labels.closed_by_peer, &self.peer.0) {
            report.note(format!("{peer} closed the connection"));
        }
        if report.verbose > 0 {
            report.verbose(self.totals());
        }

        // b3sum(1) calls its stdin `-`.
        let sent_name = if self.labels.source == "stdin" { "-" } else { &self.labels.source };
        if self.labels.has_outbound {
            print_digest("sent", &self.sent, sent_name, report);
        }
        print_digest("received", &self.received, self.file.as_deref().unwrap_or("-"), report);
        report.object(self);
    }

    fn totals(&self) -> String {
        let time = Duration::from_secs_f64(self.seconds);
        let mut text = report::byte_totals(self.sent.bytes, self.received.bytes, time);
        if let (Some(sent), Some(received)) = (self.sent.datagrams, self.received.datagrams) {
            text += &format!(" ({sent} datagrams sent, {received} received)");
        }
        text
    }
}

/// Prints a digest in the format of b3sum(1), and the number of bytes that it is of.
fn print_digest(what: &str, stats: &DirectionStats, name: &str, report: &Report) {
    if let Some(digest) = &stats.digest {
        report.result(format!("{digest}  {name}"));
        report.result(format!("{what} {} bytes", stats.digested));
    }
}
