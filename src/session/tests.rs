use std::io;

use super::*;
use crate::{
    pump::FlowConfig,
    tap::{Taps, Traffic},
};

/// A side that says `source`, and takes nothing.
struct Blocked {
    source: &'static [u8],
    error: Option<io::ErrorKind>,
}

impl Endpoint for Blocked {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match io::Read::read(&mut self.source, buf)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            n => Ok(n),
        }
    }

    fn write(&mut self, _buf: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn broken(&mut self) -> Option<io::Error> {
        self.error.map(io::Error::from)
    }
}

impl Peer for Blocked {}

fn session(now: Instant) -> Session {
    let pump = Pump {
        inbound: Flow::new(FlowConfig::plain(Traffic::Received), now),
        outbound: Some(Flow::new(FlowConfig::plain(Traffic::Sent), now)),
        taps: Taps::default(),
    };
    let ending = Ending {
        datagrams: false,
        source: Source::Pipe,
        listening: false,
        half_open: false,
        send_only: false,
        quiet: None,
        idle: None,
        silence: None,
        sends_eof_datagram: false,
        began_with_data: false,
        waits_for_fin: false,
    };
    let names = Names {
        peer: Address::Unix("peer".into()),
        local: Address::Unix("local".into()),
        source: String::new(),
        sink: String::new(),
        drops: false,
        keeps: false,
    };
    Session::new(pump, ending, names, now)
}

#[test]
fn a_reset_ends_the_wait_after_a_signal() {
    let now = Instant::now();
    let mut session = session(now);
    let mut local = Blocked { source: b"not taken", error: None };
    let mut peer = Blocked { source: b"", error: None };
    assert!(matches!(session.advance(&mut local, &mut peer, now), Status::Waiting(_)));
    session.interrupt(Signal::Interrupt, now);
    assert!(
        matches!(session.advance(&mut local, &mut peer, now), Status::Waiting(Some(until)) if until > now)
    );

    peer.error = Some(io::ErrorKind::ConnectionReset);
    session.hang_up();
    assert!(matches!(session.advance(&mut local, &mut peer, now), Status::Finished(_)));
}
