//! The event log of the relay: a line or an object for each client that registers or leaves, never their messages.

use serde::Serialize;

use std::borrow::Cow;

use crate::{
    net::Address,
    proto::relay::{RelayStats, Router},
    report::{Report, escaped},
};

/// An event as an object, for `--json`.
#[derive(Debug, Serialize)]
struct LogEntry<'a> {
    event: &'static str,
    name: Option<&'a str>,
    address: String,
    port: Option<u16>,
    why: Option<&'static str>,
}

/// Logs that a client has registered.
pub fn joined(report: &Report, router: &Router, name: &[u8], peer: &Address) {
    log(report, "joined", Some(&printable_name(router, name)), peer, None);
}

/// Logs that a client has left.
pub fn left(report: &Report, router: &Router, name: Option<&[u8]>, peer: &Address, why: &'static str) {
    let name = name.map(|name| printable_name(router, name));
    log(report, "left", name.as_deref(), peer, Some(why));
}

fn log(report: &Report, event: &'static str, name: Option<&str>, peer: &Address, why: Option<&'static str>) {
    if report.verbose > 0 {
        let address = || match peer {
            Address::Inet(inet) => inet.to_string(),
            Address::Name { .. } | Address::Unix(_) => peer.to_string(),
        };
        // `+` and `-` at the front make the log easy to filter.
        let line = match why {
            None => format!("+{} {}", name.unwrap_or_default(), address()),
            Some(why) => format!("-{} {why}", name.map_or_else(address, ToOwned::to_owned)),
        };
        report.verbose(line);
    }

    if report.json {
        report.object(&LogEntry { event, name, address: peer.host(), port: peer.port(), why });
    }
}

/// Returns a name as it is printed: without the token, and with control characters escaped.
fn printable_name<'a>(router: &Router, name: &'a [u8]) -> Cow<'a, str> {
    let name = router.public_name(name);
    // Names are octets; those that are no UTF-8 are printed in escapes.
    match std::str::from_utf8(name) {
        Ok(text) => escaped(text),
        Err(_) => name.escape_ascii().to_string().into(),
    }
}

/// Formats the counters as a line.
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
