//! The end of a session: whether it succeeded, and the facts that are told of it.

use std::{io, time::Instant};

use super::{
    Life, Names, Session, Status,
    summary::{DirectionStats, End, JsonAddress, Labels, Summary},
};
use crate::{
    endpoint::{Endpoint, Peer, Truncation},
    net::Address,
    pump::{EndReason, Fault, Flow, Phase},
    sys,
    tap::{Digest, Digests},
};

/// The bytes of a session that were not moved to their end.
struct Shortfall {
    /// Read by us, and not delivered to the peer.
    undelivered: u64,
    /// Received, and not written.
    unwritten: u64,
    /// Taken by the peer's side, and never sent.
    unsent: u64,
    /// Taken by our output, and never written.
    output: u64,
}

impl Session {
    /// Settles how the session has ended, and lets go of the peer. `sink_blocked` says that our output takes nothing more.
    pub(super) fn finish(
        &mut self,
        end: End,
        local: &mut dyn Endpoint,
        peer: &mut dyn Peer,
        sink_blocked: bool,
        now: Instant,
    ) -> Status {
        // Before the peer is let go: a reset would clear the counts of the kernel.
        let missing = self.undelivered(local, peer);
        let mut summary = self.summary(end, &missing, peer, now);
        summary.error = self.error(end, sink_blocked, &missing, &summary, peer);

        if self.is_incomplete(end) {
            // The bytes that the peer has are not the whole, and must not look as if they were.
            peer.abort();
        } else if summary.error.is_none() {
            self.announce_end(peer, now);
        }
        Status::Finished(Box::new(summary))
    }

    /// Tells the peer of the end of what it got, if the source has not done so by its own end.
    fn announce_end(&mut self, peer: &mut dyn Peer, now: Instant) {
        let outbound = self.pump.outbound.as_ref();
        if outbound.is_some_and(Flow::has_passed_eof) {
            return;
        }

        // Without a source, or with bytes of it that were not sent, there is no whole to be announced.
        let is_whole = outbound.is_some_and(|flow| flow.phase() == Phase::Open && flow.pending() == 0);
        if !is_whole {
            peer.leave_unended();
        }

        // TLS announces the end of the connection in any case (RFC 8446, section 6.1).
        if is_whole || peer.tls().is_some() {
            // The connection is closed: an end that cannot be told at once is not waited for.
            let _ = peer.finish();
            self.pump.hear_wire(peer, now);
        }
    }

    /// Returns whether the peer has only a part of what it was to get.
    fn is_incomplete(&self, end: End) -> bool {
        // A pipe has no size that could be missed; a file has.
        let fault = self.pump.outbound.as_ref().and_then(Flow::fault);
        let source_failed = matches!(fault, Some(Fault::Source(_) | Fault::Tap(_)));
        let interrupted = matches!(self.life, Life::Stopping { interrupted_early: true, .. });
        let unfinished = interrupted || self.outbound_end.is_none() || source_failed;
        matches!(end, End::Behind) || self.sends_file() && unfinished
    }

    fn undelivered(&self, local: &mut dyn Endpoint, peer: &mut dyn Peer) -> Shortfall {
        let (inbound, outbound) = (&self.pump.inbound, self.pump.outbound.as_ref());
        let unsent = outbound.map_or(0, |_| peer.held() as u64);
        let output = held(local);

        // Our end of file counts as one byte that is not acknowledged.
        let fin = u64::from(outbound.is_some_and(Flow::has_passed_eof));
        let on_its_way = outbound.map_or(0, |_| self.unacknowledged(peer)).saturating_sub(fin);

        // Bytes that a reader did not want are not missing.
        let unread = if inbound.sink_closed() { 0 } else { peer.unread() as u64 };

        Shortfall {
            undelivered: outbound.map_or(0, Flow::pending) + on_its_way + unsent,
            unwritten: inbound.pending() + unread + output,
            unsent,
            output,
        }
    }

    fn summary(&mut self, end: End, missing: &Shortfall, peer: &mut dyn Peer, now: Instant) -> Summary {
        let datagrams = peer.datagrams();
        let unread = peer.unread() as u64;
        let sent_content = self.sent_content();
        let (inbound, outbound) = (&self.pump.inbound, self.pump.outbound.as_ref());
        let digests = self.pump.taps.digests.as_ref();

        // A layer counts what crosses its wire; elsewhere the wire carries what the session moves.
        let (sent_bytes, sent_content, received_bytes) = match peer.wire() {
            Some(wire) => (wire.sent(), sent_content, wire.received().saturating_sub(unread)),
            None => (
                outbound.map_or(0, Flow::moved).saturating_sub(missing.unsent),
                sent_content.saturating_sub(missing.unsent),
                inbound.moved() - missing.output,
            ),
        };
        let sent = DirectionStats {
            bytes: sent_bytes,
            content: sent_content,
            datagrams: datagrams.map(|_| outbound.map_or(0, Flow::pieces)),
            ..digest(outbound.and(digests).map(|Digests { sent, .. }| sent))
        };
        let received = DirectionStats {
            bytes: received_bytes,
            content: inbound.moved() - missing.output,
            datagrams: datagrams.map(|datagrams| datagrams.received),
            ..digest(digests.map(|Digests { received, .. }| received))
        };

        Summary {
            transport: match self.names.peer {
                Address::Unix(_) => "unix",
                Address::Inet(_) | Address::Name { .. } => peer.label(),
            },
            peer: JsonAddress(Some(self.names.peer.clone())),
            local: JsonAddress(Some(self.names.local.clone())),
            sent,
            received,
            seconds: (now - self.started).as_secs_f64(),
            end: end.name(),
            error: None,
            undelivered: missing.undelivered,
            unwritten: missing.unwritten,
            dropped: datagrams.map_or(0, |datagrams| datagrams.dropped),
            file: None,
            tcp: None,
            tls: peer.tls().map(Into::into),
            labels: Labels {
                source: self.names.source.clone(),
                has_outbound: outbound.is_some(),
                closed_by_peer: matches!(end, End::Over(EndReason::PeerClosed)),
            },
            signal: end.signal(),
            file_note: None,
        }
    }

    /// Returns the failure, in words, with the counts of both directions.
    fn error(
        &self,
        end: End,
        sink_blocked: bool,
        missing: &Shortfall,
        summary: &Summary,
        peer: &dyn Peer,
    ) -> Option<String> {
        let what = match end {
            End::Interrupted(_) => return None,
            End::Behind => format!("{} fell too far behind and was disconnected", self.names.peer),
            End::Over(reason) => self
                .fault(reason)
                .or_else(|| self.gave_up(reason, sink_blocked))
                .or_else(|| self.loss(reason, missing, summary, peer))?,
        };

        let mut counts = format!("{} bytes sent, {} received", summary.sent.bytes, summary.received.bytes);
        if summary.undelivered > 0 {
            counts += &format!("; {} bytes of ours were not delivered", summary.undelivered);
        }
        if summary.unwritten > 0 {
            counts += &format!("; {} received bytes were not written", summary.unwritten);
        }
        Some(format!("{what} ({counts})"))
    }

    /// Describes the error of a direction that has ended the session.
    fn fault(&self, reason: EndReason) -> Option<String> {
        if reason != EndReason::Failed {
            return None;
        }
        let Names { peer, source, sink, .. } = &self.names;

        if let Some(fault) = self.pump.inbound.fault() {
            return Some(match fault {
                Fault::Source(error) => format!("receive from {peer}: {}", sys::reason(error)),
                Fault::Sink(error) => format!("write to {sink}: {}", sys::reason(error)),
                Fault::Tap(error) => format!("write the dump: {}", sys::reason(error)),
            });
        }

        Some(match self.pump.outbound.as_ref().and_then(Flow::fault)? {
            Fault::Source(error) => format!("read {source}: {}", sys::reason(error)),
            Fault::Sink(error) => format!("send to {peer}: {}", refusal(error)),
            Fault::Tap(error) => format!("write the dump: {}", sys::reason(error)),
        })
    }

    /// Describes the wait that was too long.
    fn gave_up(&self, reason: EndReason, sink_blocked: bool) -> Option<String> {
        let peer = &self.names.peer;
        match reason {
            EndReason::Gone => Some(format!("{peer} does not answer any more")),
            EndReason::Idle => {
                let idle = self.ending.idle.unwrap_or_default().as_secs_f64();
                let stalled = if sink_blocked { self.names.sink.clone() } else { peer.to_string() };
                Some(format!("{stalled}: nothing moved for {idle} s"))
            }
            _ => None,
        }
    }

    /// Describes bytes that are known to be missing.
    fn loss(
        &self,
        reason: EndReason,
        missing: &Shortfall,
        summary: &Summary,
        peer: &dyn Peer,
    ) -> Option<String> {
        let address = &self.names.peer;

        // The order matters: the first cause explains the ones behind it.
        match reason {
            _ if self.is_truncated(peer) => Some(format!(
                "receive from {address}: the end was not announced, so what came may not be all"
            )),
            _ if summary.dropped > 0 => Some(format!(
                "{} datagrams from {address} were lost: the receive buffer was full",
                summary.dropped
            )),
            EndReason::Quiet if summary.undelivered > 0 => Some(format!("{address} takes nothing more")),
            _ if missing.output > 0 && summary.undelivered == 0 => {
                Some(format!("{} takes nothing more", self.names.sink))
            }
            _ if summary.undelivered + summary.unwritten > 0 => Some(format!("{address} has closed")),
            _ => None,
        }
    }

    /// Returns whether the peer's close_notify is missing where it matters. A peer that was sent something and has sent
    /// nothing at all is a receiver: not every program announces the end of nothing.
    fn is_truncated(&self, peer: &dyn Peer) -> bool {
        let Some(truncation) = peer.truncated() else { return false };
        // RFC 8446, section 6.1, demands a close_notify; many programs close without one.
        let heard = self.pump.inbound.reads() > 0 || truncation == Truncation::InRecord;
        let sent = self.pump.outbound.as_ref().is_some_and(|flow| flow.moved() > 0);
        let matters = heard || !sent || self.names.keeps;
        !self.names.drops && !self.pump.inbound.sink_closed() && matters
    }
}

/// Returns how many bytes an output has taken and not passed on; none of them counts if its reader has closed it.
pub(super) fn held(output: &mut dyn Endpoint) -> u64 {
    let held = output.held() as u64;
    let closed = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
    if held > 0 && output.broken().is_some_and(|error| closed.contains(&error.kind())) { 0 } else { held }
}

/// Describes the error of a peer that takes no more.
fn refusal(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::BrokenPipe => "the peer takes no more".to_owned(),
        _ => sys::reason(error),
    }
}

fn digest(digest: Option<&Digest>) -> DirectionStats {
    DirectionStats {
        digest: digest.map(ToString::to_string),
        digested: digest.map_or(0, Digest::size),
        ..DirectionStats::default()
    }
}
