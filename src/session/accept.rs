//! From a listener to clients.

use super::{Names, tls::Handshake};
use crate::{
    endpoint::{Connection, Datagram, Ends, Peer, PeerFilter},
    net::{Accepted, Address, Isolation, Transport},
    plan,
    report::Report,
};

/// Who may become a client, once TLS is agreed on.
#[derive(Debug)]
pub struct Arriving {
    pub handshake: Handshake,
    pub names: Names,
}

/// What is said of a client that is not let in.
pub fn refused(peer: &Address) -> String {
    format!("Connection from {} refused: it is not allowed", shown(peer))
}

/// The far side of an accepted client.
pub fn peer(plan: &plan::Session, accepted: Accepted) -> Peer {
    match plan.transport {
        Transport::Stream => Peer::Connection(Connection::plain(accepted.socket)),
        Transport::Datagram => {
            let ends = Ends { mark: plan.send_eof_datagram, heed: plan.honor_eof_datagram };
            let filter = match accepted.isolation {
                Isolation::None(peer) => PeerFilter::First(Some(peer)),
                Isolation::Full => PeerFilter::Connected,
                Isolation::Pending(peer) => PeerFilter::settling(peer, &accepted.socket),
            };
            let datagram = Datagram::new(accepted.socket, filter, ends);
            datagram.with_inbox(accepted.queued).into()
        }
    }
}

/// The address and port as OpenBSD's nc prints them.
pub fn shown(address: &Address) -> String {
    match address.port() {
        Some(port) => format!("{} {port}", address.host()),
        None => address.host(),
    }
}

/// Says where we listen: always where a random port has to be told, else with `-v`.
pub fn announce(addresses: &[Address], random: bool, report: &Report) {
    for address in addresses {
        let line = format!("Listening on {}", shown(address));
        // A port that nobody chose has to be told, or nobody can connect.
        if random { report.result(line) } else { report.verbose(line) }
    }
}

/// Who may agree on TLS at once.
pub const MOST_ARRIVING: usize = 256;
