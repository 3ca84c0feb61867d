//! The plan of a session, as settings of its two directions, its layers and its end.

use std::{
    fs::File,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{Names, Session};
use crate::{
    endpoint::{Offload, Peer, Telnet, Zstd},
    net::{Address, Transport},
    plan::{self, Direction, LARGEST_DATAGRAM, Outgoing, Role},
    pump::{Ending, Flow, FlowConfig, Framing, Pace, Pump, Source},
    sys,
    tap::{Digests, Hexdump, Taps, Traffic},
};

/// Begins a session of this plan; `sends` says whether there is anything that could be sent.
pub fn begin(
    plan: &plan::Session,
    peer: &mut dyn Peer,
    names: Names,
    source: Source,
    sends: bool,
    dump: Option<&File>,
) -> Result<Session> {
    let inbound = inbound(plan, &names.peer);
    let mut outbound = sends.then(|| outbound(plan, source));
    if let (Some(datagram), Address::Inet(_)) = (peer.as_datagram(), &names.peer) {
        if let Some(outbound) = &mut outbound {
            outbound.sink_offload = datagram.can_offload();
        }
        // Of many peers, each has only the memory that it must have.
        let messages = if plan.role == Role::Serve { 1 } else { sys::MAX_MESSAGES };
        let gso = outbound.as_ref().and_then(FlowConfig::segment);
        datagram.set_offload(Offload { gso, gro: inbound.can_merge().then_some(messages) });
    }

    // Without a tap below the layer, nothing is recorded, and nothing is copied.
    let taps = taps(plan, dump)?;
    if let (true, Some(wire)) = (taps.listen_below(), peer.wire()) {
        wire.start_record();
    }
    Ok(with_taps(inbound, outbound, taps, ending(plan, source), names))
}

/// Makes a session of these two directions, with the taps of the plan.
pub fn session(
    plan: &plan::Session,
    inbound: FlowConfig,
    outbound: Option<FlowConfig>,
    ending: Ending,
    names: Names,
) -> Result<Session> {
    Ok(with_taps(inbound, outbound, taps(plan, None)?, ending, names))
}

fn with_taps(
    inbound: FlowConfig,
    outbound: Option<FlowConfig>,
    taps: Taps,
    ending: Ending,
    names: Names,
) -> Session {
    let now = Instant::now();
    let outbound = outbound.map(|config| Flow::new(config, now));
    let pump = Pump { inbound: Flow::new(inbound, now), outbound, taps };
    Session::new(pump, ending, names, now)
}

/// Puts the layers of the plan over a peer.
pub fn layered(peer: Box<dyn Peer>, plan: &plan::Session) -> Result<Box<dyn Peer>> {
    // zstd and telnet exclude each other: the peer could not tell the commands from the frame.
    Ok(match plan.zstd {
        // Bytes that are dropped need not be decodable.
        Some(level) => {
            Box::new(Zstd::new(peer, level, plan.direction != Direction::Send).context("compress")?)
        }
        None if plan.telnet => Box::new(Telnet::new(peer)),
        None => peer,
    })
}

/// Returns when a session of this plan ends.
pub fn ending(plan: &plan::Session, source: Source) -> Ending {
    let datagrams = plan.transport == Transport::Datagram;
    let silence = match (datagrams, plan.honor_eof_datagram, plan.role) {
        // A program may take any time to answer.
        _ if plan.program.is_some() => None,
        (true, true, _) => Some(plan.idle.unwrap_or(FILE_SILENCE)),
        (true, false, Role::Serve) => Some(plan.idle.unwrap_or(PEER_SILENCE)),
        _ => None,
    };

    Ending {
        datagrams,
        source,
        listening: plan.role != Role::Connect,
        half_open: plan.half_open,
        send_only: plan.direction == Direction::Send,
        quiet: plan.quit,
        idle: plan.idle,
        silence,
        sends_eof_datagram: plan.send_eof_datagram,
        began_with_data: plan.role == Role::Serve,
        waits_for_fin: plan.program.is_some(),
    }
}

/// Returns the settings of the direction from a peer to us.
pub fn inbound(plan: &plan::Session, address: &Address) -> FlowConfig {
    let largest = match address {
        Address::Inet(_) | Address::Name { .. } => 1 << 16,
        // unix(7): as large as the sender's buffer allows, which is 208 KiB by default.
        Address::Unix(_) => 1 << 19,
    };

    FlowConfig {
        framing: if plan.lines { Framing::Lines(LARGEST_DATAGRAM) } else { Framing::AsRead },
        watched: is_watched(plan),
        source_datagram: (plan.transport == Transport::Datagram).then_some(largest),
        sink_close_ok: true,
        limit: plan.max_datagrams,
        ..FlowConfig::plain(Traffic::Received)
    }
}

/// Returns the settings of the direction from us to a peer.
pub fn outbound(plan: &plan::Session, source: Source) -> FlowConfig {
    let datagrams = plan.transport == Transport::Datagram;
    // The line feed of a line may become two bytes.
    let lines = Framing::Lines(LARGEST_DATAGRAM - 1);

    let framing = match (&plan.input, source) {
        _ if plan.lines => lines,
        _ if plan.program.is_some() => Framing::AsRead,
        (_, Source::Terminal) if datagrams => lines,
        (_, Source::File) if datagrams => Framing::Chunks(plan.datagram_size),
        (Outgoing::File(_), _) if plan.delay.is_some() => Framing::Chunks(plan.datagram_size),
        // nc(1): -i, which is -d here, waits between lines of text.
        (Outgoing::Stdin, _) if plan.delay.is_some() && !datagrams => lines,
        _ => Framing::AsRead,
    };

    let pace = match plan.rate {
        None if datagrams => Pace::for_datagrams(plan.datagram_size, plan.delay),
        rate => Pace::new(rate, plan.delay),
    };

    FlowConfig {
        framing,
        crlf: plan.crlf,
        pace,
        watched: is_watched(plan),
        encoded: is_encoded(plan),
        source_may_reset: plan.program.is_some(),
        sink_datagram: datagrams.then_some(LARGEST_DATAGRAM),
        pass_eof: plan.pass_eof,
        ..FlowConfig::plain(Traffic::Sent)
    }
}

fn taps(plan: &plan::Session, dump: Option<&File>) -> Result<Taps> {
    // dup(2): the copies share their offset, so that the sessions of several clients do not overwrite each other.
    let dump = dump.map(File::try_clone).transpose().context("dump")?;
    Ok(Taps {
        digests: plan.digest.then(Digests::default),
        dump: dump.map(Hexdump::new),
        encoded: is_encoded(plan),
    })
}

fn is_watched(plan: &plan::Session) -> bool {
    plan.digest || plan.dump.is_some()
}

fn is_encoded(plan: &plan::Session) -> bool {
    plan.zstd.is_some() || plan.telnet
}

/// Silence that ends the reception of a file over datagrams.
const FILE_SILENCE: Duration = Duration::from_secs(2);

/// Silence after which a peer of a datagram listener is forgotten.
const PEER_SILENCE: Duration = Duration::from_secs(60);
