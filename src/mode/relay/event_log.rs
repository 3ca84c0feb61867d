//! What the relay says of its clients: a line or an object for each that comes or goes, and never what they send.

use serde::Serialize;

use crate::{
    net::Address,
    proto::relay::{RelayStats, Router},
    report::{Report, escaped},
};

/// An event, for `--json`.
#[derive(Debug, Serialize)]
struct Entry<'a> {
    event: &'static str,
    name: Option<&'a str>,
    address: String,
    port: Option<u16>,
    why: Option<&'static str>,
}

/// Says that a client has registered.
pub fn joined(report: &Report, router: &Router, name: &[u8], peer: &Address) {
    tell(report, "joined", Some(&shown(router, name)), peer, None);
}

/// Says that a client has gone.
pub fn left(report: &Report, router: &Router, name: Option<&[u8]>, peer: &Address, why: &'static str) {
    let name = name.map(|name| shown(router, name));
    tell(report, "left", name.as_deref(), peer, Some(why));
}

fn tell(report: &Report, event: &'static str, name: Option<&str>, peer: &Address, why: Option<&'static str>) {
    if report.verbose > 0 {
        let place = || match peer {
            Address::Inet(inet) => inet.to_string(),
            Address::Name { .. } | Address::Unix(_) => peer.to_string(),
        };
        let line = match why {
            None => format!("+{} {}", name.unwrap_or_default(), place()),
            Some(why) => format!("-{} {why}", name.map_or_else(place, ToOwned::to_owned)),
        };
        report.verbose(line);
    }
    if report.json {
        report.object(&Entry { event, name, address: peer.host(), port: peer.port(), why });
    }
}

/// A name, as it may be shown: without the token, and without what could steer a terminal.
fn shown(router: &Router, name: &[u8]) -> String {
    let name = router.shown(name);
    match std::str::from_utf8(name) {
        Ok(text) => escaped(text),
        Err(_) => name.escape_ascii().to_string(),
    }
}

/// The stats, as a line.
pub fn summary(router: &Router) -> String {
    let RelayStats { messages, bytes, unknown, discarded, truncated, evicted, refused, .. } = router.stats();
    format!(
        "{} clients, {} names, {} bytes on their way; {messages} messages, {bytes} bytes, {unknown} messages \
         ({discarded} bytes) to nobody, {truncated} truncated, {evicted} clients evicted, {refused} refused",
        router.clients(),
        router.names(),
        router.used(),
    )
}
