//! The plans of `remote practice`: the servers, and their client.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::Result;

use super::usage::{to_usage, usage};
use crate::{
    cli,
    net::{Address, Location, SocketConfig, Transport, address::literal, config::Options, port},
};

/// Run the practice servers.
#[derive(Debug)]
pub struct Practice {
    /// The addresses to listen at, on each of the ports.
    pub addresses: Vec<IpAddr>,
    /// The port of TCP.
    pub port: u16,
    pub udp_port: u16,
    pub files_port: u16,
    /// The folder whose files are served.
    pub root: Option<PathBuf>,
    /// `--open`: over UDP, unverified addresses get more than they have sent.
    pub open: bool,
    /// Whether packets of streams are numbered.
    pub sequence: bool,
    /// Pause between the marker and the file over TCP.
    pub marker_pause: Duration,
    /// Whether the end of stdin ends it.
    pub while_open: bool,
    /// Whether the process gives up the rights that it does not need.
    pub sandbox: bool,
}

/// Use practice servers.
#[derive(Debug)]
pub struct PracticeClient {
    /// `None`: local servers are started.
    pub host: Option<String>,
    pub port: u16,
    pub udp_port: u16,
    pub files_port: u16,
    /// The folder whose files local servers serve.
    pub root: Option<PathBuf>,
    /// Whether requests go over UDP.
    pub udp: bool,
    /// Whether existing files are replaced.
    pub force: bool,
    /// `-T`.
    pub timeout: Option<Duration>,
    /// The one command in place of a prompt.
    pub command: Option<String>,
}

impl Practice {
    /// Plans `remote practice -l`.
    pub(super) fn from_args(args: &cli::Practice) -> Result<Self> {
        let addresses = match &args.at.source {
            // The servers have no access control: other machines reach them only if that is asked for.
            None => vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)],
            Some(text) => match literal(text) {
                Some(address) => vec![address.ip()],
                None => return usage(format!("-a '{text}' is not an address")),
            },
        };

        Ok(Self {
            addresses,
            port: port_of(args.at.port.as_deref())?.unwrap_or(PORT),
            udp_port: args.udp_port.unwrap_or(UDP_PORT),
            files_port: args.files_port.unwrap_or(FILES_PORT),
            root: args.root.clone(),
            open: args.open,
            sequence: args.sequence,
            marker_pause: args.marker_pause.unwrap_or(MARKER_PAUSE),
            while_open: args.while_open,
            sandbox: !args.limits.no_sandbox,
        })
    }

    /// Returns the addresses with a port.
    pub fn at(&self, port: u16) -> Vec<Address> {
        self.addresses.iter().map(|ip| Address::Inet(SocketAddr::new(*ip, port))).collect()
    }

    /// Returns the sockets of the servers and of their clients.
    pub fn socket_config(transport: Transport) -> SocketConfig {
        SocketConfig {
            transport,
            only: None,
            interface: None,
            bind_device: false,
            source: None,
            source_port: None,
            // The packets of a stream keep their distances in time.
            options: Options { nodelay: true, ..Options::default() },
        }
    }
}

impl PracticeClient {
    /// Plans `remote practice`.
    pub(super) fn from_args(args: &cli::Practice) -> Result<Self> {
        let mut places = args.places.iter();
        let (host, second) = (places.next(), places.next());
        let (host, in_host) = match host {
            None => (None, None),
            Some(text) => match Location::parse(text).map_err(to_usage)? {
                Location::Inet { host, port, .. } if !host.is_empty() => (Some(host), port),
                _ => return usage(format!("'{text}' is not a host")),
            },
        };

        // HOST:PORT, HOST PORT, and -p PORT.
        let mut ports = [in_host.as_ref(), second, args.at.port.as_ref()].into_iter().flatten();
        let (port, another) = (ports.next(), ports.next());
        if another.is_some() {
            return usage("the port is given twice");
        }
        let port = port_of(port.map(String::as_str))?;
        if host.is_none() && (port.is_some() || args.udp_port.is_some() || args.files_port.is_some()) {
            return usage("a port needs HOST; without it, servers of one's own have random ports");
        }

        Ok(Self {
            host,
            port: port.unwrap_or(PORT),
            // With -u, the one port that was given is the port of UDP.
            udp_port: args.udp_port.or(port.filter(|_| args.transport.udp)).unwrap_or(UDP_PORT),
            files_port: args.files_port.unwrap_or(FILES_PORT),
            root: args.root.clone(),
            udp: args.transport.udp,
            force: args.limits.force,
            timeout: args.limits.timeout,
            // The shell has parted the words; joined again, they are parsed like a line that was typed at the prompt.
            command: (!args.command.is_empty()).then(|| args.command.join(" ")),
        })
    }
}

/// Parses a port, if there is one.
fn port_of(text: Option<&str>) -> Result<Option<u16>> {
    text.map(|text| port::parse(text, Transport::Stream)).transpose().map_err(to_usage)
}

const PORT: u16 = 8120;
const UDP_PORT: u16 = 8121;
const FILES_PORT: u16 = 8122;

/// Pause between the marker and the file, so that a client reads each by itself.
const MARKER_PAUSE: Duration = Duration::from_millis(50);
