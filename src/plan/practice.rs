//! What was meant by `remote practice`.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::Result;

use super::{Plan, usage};
use crate::{
    cli::Practice,
    net::{Address, Recipe, Transport, address::literal, recipe::Options},
};

/// Be the practice servers.
#[derive(Debug)]
pub struct Server {
    /// Where to listen, at each of the ports.
    pub addresses: Vec<IpAddr>,
    pub port: u16,
    pub udp_port: u16,
    pub files_port: u16,
    /// The folder whose files are served.
    pub root: Option<PathBuf>,
    /// Whether strangers get more over UDP than they have sent.
    pub open: bool,
    pub sequence: bool,
    pub marker_pause: Duration,
}

impl Server {
    /// The addresses with a port.
    pub fn at(&self, port: u16) -> Vec<Address> {
        self.addresses.iter().map(|ip| Address::Inet(SocketAddr::new(*ip, port))).collect()
    }

    /// How its sockets are made.
    pub fn recipe(transport: Transport) -> Recipe {
        Recipe {
            transport,
            only: None,
            interface: None,
            bind_device: false,
            source: None,
            source_port: None,
            // Packets have their places in time.
            options: Options { nodelay: true, ..Options::default() },
        }
    }
}

impl Plan {
    /// Settles what was typed behind `remote practice`.
    pub fn practice(args: Practice) -> Result<Self> {
        if !args.listen {
            return usage("the client is not there yet: -l serves, and any netcat is a client");
        }
        if args.quiet && args.verbose > 0 {
            return usage("-Q and -v exclude each other");
        }
        let addresses = match &args.source {
            None => vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)],
            Some(text) => match literal(text) {
                Some(address) => vec![address.ip()],
                None => return usage(format!("-a '{text}' is not an address")),
            },
        };
        Ok(Self::Practice(Server {
            addresses,
            port: args.port.unwrap_or(PORT),
            udp_port: args.udp_port.unwrap_or(UDP_PORT),
            files_port: args.files_port.unwrap_or(FILES_PORT),
            root: args.root,
            open: args.open,
            sequence: args.sequence,
            marker_pause: args.marker_pause.unwrap_or(MARKER_PAUSE),
        }))
    }
}

const PORT: u16 = 8120;
const UDP_PORT: u16 = 8121;
const FILES_PORT: u16 = 8122;

const MARKER_PAUSE: Duration = Duration::from_millis(50);
