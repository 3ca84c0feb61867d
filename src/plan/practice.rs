//! What was meant by `remote practice`.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::Result;

use super::{Plan, to_usage, usage};
use crate::{
    cli,
    net::{Address, Location, SocketConfig, Transport, address::literal, config::Options, port},
};

/// Be the practice servers.
#[derive(Debug)]
pub struct Practice {
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
    /// Whether it ends with stdin.
    pub while_open: bool,
    /// Whether the process gives up what it does not need.
    pub sandbox: bool,
}

/// Use the servers of somebody.
#[derive(Debug)]
pub struct PracticeClient {
    /// `None`: servers of one's own are started.
    pub host: Option<String>,
    pub port: u16,
    pub udp_port: u16,
    pub files_port: u16,
    /// What one's own servers serve.
    pub root: Option<PathBuf>,
    pub udp: bool,
    pub force: bool,
    /// `-T`.
    pub timeout: Option<Duration>,
    /// What to do in place of a prompt.
    pub command: Option<String>,
}

impl Practice {
    /// The addresses with a port.
    pub fn at(&self, port: u16) -> Vec<Address> {
        self.addresses.iter().map(|ip| Address::Inet(SocketAddr::new(*ip, port))).collect()
    }

    /// How its sockets are made, and those of its clients.
    pub fn socket_config(transport: Transport) -> SocketConfig {
        SocketConfig {
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
    pub fn practice(args: cli::Practice) -> Result<Self> {
        if args.quiet && args.verbose > 0 {
            return usage("-Q and -v exclude each other");
        }
        refuse(&args)?;
        if !args.listen {
            return client(args);
        }
        let addresses = match &args.source {
            None => vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)],
            Some(text) => match literal(text) {
                Some(address) => vec![address.ip()],
                None => return usage(format!("-a '{text}' is not an address")),
            },
        };
        Ok(Self::Practice(Practice {
            addresses,
            port: args.port.unwrap_or(PORT),
            udp_port: args.udp_port.unwrap_or(UDP_PORT),
            files_port: args.files_port.unwrap_or(FILES_PORT),
            root: args.root,
            open: args.open,
            sequence: args.sequence,
            marker_pause: args.marker_pause.unwrap_or(MARKER_PAUSE),
            while_open: args.while_open,
            sandbox: !args.no_sandbox,
        }))
    }
}

fn client(args: cli::Practice) -> Result<Plan> {
    let mut places = args.places.into_iter();
    let (host, port) = (places.next(), places.next());
    if host.is_some() && args.root.is_some() {
        return usage("--root is the server's");
    }
    let (host, mut tcp_port) = match host {
        None => (None, None),
        Some(text) => match Location::parse(&text).map_err(to_usage)? {
            Location::Inet { host, port, .. } if !host.is_empty() => (Some(host), port),
            _ => return usage(format!("'{text}' is not a host")),
        },
    };
    if let Some(port) = port
        && tcp_port.replace(port).is_some()
    {
        return usage("the port is given twice");
    }
    let (given, named) = match (tcp_port, args.port) {
        (Some(_), Some(_)) => return usage("the port is given twice"),
        (Some(text), None) => (Some(port::parse(&text, Transport::Stream).map_err(to_usage)?), None),
        (None, port) => (None, port),
    };
    let port = given.or(named);
    if host.is_none() && (port.is_some() || args.udp_port.is_some() || args.files_port.is_some()) {
        return usage("a port needs HOST; without it, servers of one's own have random ports");
    }
    Ok(Plan::PracticeClient(PracticeClient {
        host,
        port: port.unwrap_or(PORT),
        // One port that is given is the one that is meant.
        udp_port: args.udp_port.or(port.filter(|_| args.udp)).unwrap_or(UDP_PORT),
        files_port: args.files_port.unwrap_or(FILES_PORT),
        root: args.root,
        udp: args.udp,
        force: args.force,
        timeout: args.timeout,
        command: (!args.command.is_empty()).then(|| args.command.join(" ")),
    }))
}

/// What does not go with the side that was asked for.
fn refuse(args: &cli::Practice) -> Result<()> {
    let serving = [
        (args.source.is_some(), "-a"),
        (args.open, "--open"),
        (args.sequence, "--sequence"),
        (args.marker_pause.is_some(), "--marker-pause"),
        (args.no_sandbox, "--no-sandbox"),
    ];
    let asking = [
        (!args.places.is_empty(), "HOST"),
        (!args.command.is_empty(), "a command"),
        (args.udp, "-u"),
        (args.force, "--force"),
        (args.timeout.is_some(), "-T"),
        (args.progress || args.no_progress, "--progress"),
        (args.json, "--json"),
    ];
    let (misfits, whose) = match args.listen {
        true => (&asking[..], "is the client's: leave out -l"),
        false => (&serving[..], "is the server's: it needs -l"),
    };
    match misfits.iter().find(|(given, _)| *given) {
        Some((_, what)) => usage(format!("{what} {whose}")),
        None if args.listen && args.files_port.is_some() && args.root.is_none() => {
            usage("--files-port needs --root")
        }
        None => Ok(()),
    }
}

const PORT: u16 = 8120;
const UDP_PORT: u16 = 8121;
const FILES_PORT: u16 = 8122;

const MARKER_PAUSE: Duration = Duration::from_millis(50);
