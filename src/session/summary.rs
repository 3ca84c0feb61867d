//! What a session was: what is said of it, and what becomes of the file it received.

use std::time::Duration;

use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::tls::Told;
use crate::{
    endpoint::Standard,
    net::Address,
    pump::Why,
    report::{self, Report},
    sys::{self, Signal},
};

/// Why a session has ended.
#[derive(Clone, Copy, Debug)]
pub enum End {
    Behind,
    Interrupted(Signal),
    Over(Why),
}

impl End {
    /// Its name in `--json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Behind => "behind",
            Self::Interrupted(_) => "interrupted",
            Self::Over(Why::Done) => "done",
            Self::Over(Why::Failed) => "failed",
            Self::Over(Why::Gone) => "gone",
            Self::Over(Why::Idle) => "idle",
            Self::Over(Why::PeerClosed) => "peer-closed",
            Self::Over(Why::Quiet) => "quiet",
            Self::Over(Why::ReaderLeft) => "reader-left",
            Self::Over(Why::Silence) => "silence",
        }
    }
}

/// What a session was: the object of `--json`.
#[derive(Debug, Serialize)]
pub struct Summary {
    pub transport: &'static str,
    pub peer: Place,
    pub local: Place,
    pub sent: Way,
    pub received: Way,
    pub seconds: f64,
    /// How it ended: a [`Why`], in lower case.
    pub end: &'static str,
    /// What went wrong; `null` for a success.
    pub error: Option<String>,
    /// Bytes that we read and that did not reach the peer.
    pub undelivered: u64,
    /// Bytes that came and could not be written.
    pub unwritten: u64,
    /// Datagrams that came and found no room.
    pub dropped: u64,
    /// The file that was received.
    pub file: Option<String>,
    pub tcp: Option<Tcp>,
    /// Of an encrypted session.
    pub tls: Option<Told>,
    #[serde(skip)]
    pub names: Shown,
    /// The signal that ended it.
    #[serde(skip)]
    pub interrupted: Option<Signal>,
}

/// An address, for machines.
#[derive(Debug)]
pub struct Place(pub Address);

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Place", 2)?;
        fields.serialize_field("address", &self.0.host())?;
        fields.serialize_field("port", &self.0.port())?;
        fields.end()
    }
}

/// What went one way.
#[derive(Debug, Serialize)]
pub struct Way {
    /// Over the wire.
    pub bytes: u64,
    /// Of ours: as our source brought them, or as our sink took them.
    pub content: u64,
    pub datagrams: Option<u64>,
    pub digest: Option<String>,
    /// Bytes that the digest is of.
    #[serde(skip)]
    pub digested: u64,
}

/// What TCP knows of the line.
#[derive(Debug, Serialize)]
pub struct Tcp {
    pub rtt_us: u32,
    pub retransmits: u32,
}

/// What messages need, and `--json` does not have.
#[derive(Debug)]
pub struct Shown {
    pub source: String,
    pub outbound: bool,
    pub closed_by_peer: bool,
}

impl Summary {
    /// Gives a file that was received its name if it is whole, or says where the part is.
    pub fn keep_file(&mut self, local: &mut Standard, report: &Report) {
        let Some(download) = local.take_download() else { return };
        let part = download.part().display().to_string();
        if self.error.is_none() && self.interrupted.is_none() {
            match download.keep() {
                Ok(path) => {
                    let path = path.display().to_string();
                    if report.verbose > 0 || report.is_interactive() {
                        report.note(format!("received {} bytes into {path}", self.received.content));
                    }
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
            None => report.note(kept),
        }
    }

    /// Says what is to be said. Tells whether the session was a success.
    pub fn tell(&self, report: &Report, interactive: bool) -> bool {
        if let Some(error) = &self.error {
            report.error(error);
        } else if interactive && self.names.closed_by_peer {
            report.note(format!("{} closed the connection", self.peer.0));
        }
        let time = Duration::from_secs_f64(self.seconds);
        if report.verbose > 0 {
            report.verbose(self.figures(time));
        }
        let file = self.file.as_deref().unwrap_or("-");
        let ways = [
            (
                "sent",
                &self.sent,
                self.names.outbound,
                if self.names.source == "stdin" { "-" } else { &self.names.source },
            ),
            ("received", &self.received, true, file),
        ];
        for (what, way, exists, name) in ways {
            if let (Some(digest), true) = (&way.digest, exists) {
                report.result(format!("{digest}  {name}"));
                report.result(format!("{what} {} bytes", way.digested));
            }
        }
        report.object(self);
        self.error.is_none()
    }

    fn figures(&self, time: Duration) -> String {
        let mut text = report::byte_totals(self.sent.bytes, self.received.bytes, time);
        if let (Some(sent), Some(received)) = (self.sent.datagrams, self.received.datagrams) {
            text += &format!(" ({sent} datagrams sent, {received} received)");
        }
        text
    }
}
