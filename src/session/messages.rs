//! Messages in the words of OpenBSD's nc, which scripts look for.

use crate::{
    net::{Address, Transport},
    report::Report,
    sys,
};

/// Returns the line that scripts look for, word for word as OpenBSD's nc prints it.
pub fn succeeded(host: &str, address: &Address, transport: Transport) -> String {
    let Some(port) = address.port() else {
        return format!("Connection to {host} succeeded!");
    };
    let service = sys::service_name(port, transport == Transport::Datagram);
    // nc prints `*` for a port without a name in services(5).
    let service = service.as_deref().unwrap_or("*");
    let protocol = transport.name();
    let ip = address.host();
    let peer = if ip == host { ip } else { format!("{host} ({ip})") };
    format!("Connection to {peer} {port} port [{protocol}/{service}] succeeded!")
}

/// Returns the message about a client that is not admitted.
pub fn denied(peer: &Address) -> String {
    format!("Connection from {} refused: it is not allowed", host_and_port(peer))
}

/// Returns the address and port as OpenBSD's nc prints them.
pub fn host_and_port(address: &Address) -> String {
    match address.port() {
        Some(port) => format!("{} {port}", address.host()),
        None => address.host(),
    }
}

/// Prints the addresses of a listener: with `-v`, and always where a random port has to be known.
pub fn announce(addresses: &[Address], random: bool, report: &Report) {
    for address in addresses {
        let line = format!("Listening on {}", host_and_port(address));
        if random { report.result(line) } else { report.verbose(line) }
    }
}
