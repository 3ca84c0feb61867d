//! The plans of `remote relay`: the relay, and its clients.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Result;

use super::{
    conflicts,
    connect::Connect,
    host_ports::HostPorts,
    session::{Outgoing, Session},
    sockets,
    target::{Bind, Target},
    tls::Tls,
    usage::usage,
};
use crate::{
    cli::{self, Deliver},
    net::{SocketConfig, Transport, address::literal, port},
    proto::relay::is_name,
};

/// Run the relay.
#[derive(Debug)]
pub struct Relay {
    pub at: Bind,
    pub socket_config: SocketConfig,
    /// Clients at once; `None` is as many as there are descriptors for.
    pub max_clients: Option<usize>,
    /// Clients of one address at once; 0 is no limit.
    pub max_per_ip: usize,
    /// Bytes.
    pub max_message: u64,
    /// Bytes in all queues together.
    pub buffer: usize,
    /// Time for a new client to send its name.
    pub register_timeout: Duration,
    /// Silence after which a client is disconnected.
    pub idle: Duration,
    /// Time for a client to accept 4 KiB of what its queue holds.
    pub stall: Duration,
    /// Whether messages are delivered behind `sender|length|`.
    pub framed: bool,
    /// The file whose first line is a part of every name.
    pub token: Option<PathBuf>,
    /// The file of names and the hashes of their keys.
    pub names: Option<PathBuf>,
    /// The address of the metrics for Prometheus.
    pub metrics: Option<SocketAddr>,
    /// The port for clients with TLS.
    pub tls: Option<(u16, Tls)>,
    /// Whether the process gives up the rights that it does not need.
    pub sandbox: bool,
}

/// Register with a relay, and have one session.
#[derive(Debug)]
pub struct RelayClient {
    /// The connection to the relay.
    pub connect: Connect,
    /// The name to register.
    pub name: String,
    /// The receiver of everything; `None` if each line names its own.
    pub to: Option<String>,
    /// The file whose first line is the token of the relay.
    pub token: Option<PathBuf>,
    /// The file whose first line is the key of the name.
    pub key: Option<PathBuf>,
}

impl Relay {
    /// Plans `remote relay -l`.
    pub(super) fn from_args(args: &cli::Relay) -> Result<Self> {
        if args.places.len() > 2 {
            return usage("-l takes an address and a port, and no name");
        }
        let mut places = args.places.iter().cloned();
        let (host, ports) = (places.next(), places.collect());
        let place = HostPorts::of_relay(host, ports, &args.at, &args.transfer, PORT)?;
        // Later than the other conflicts: only now is it known which of the words is the host.
        conflicts::of_place(&args.addresses, &args.at, &place)?;

        let socket_config = sockets::of_relay(args, &place)?;
        Ok(Self {
            at: Bind::new(&place, &socket_config)?,
            socket_config,
            max_clients: args.max_clients.map(|max| max as usize),
            max_per_ip: args.per_address.max_per_ip.map_or(MAX_PER_IP, |max| max as usize),
            max_message: args.max_message.unwrap_or(u64::MAX),
            buffer: usize::try_from(args.buffer.unwrap_or(BUFFER)).unwrap_or(usize::MAX),
            register_timeout: args.register_timeout.unwrap_or(REGISTER_TIMEOUT),
            idle: args.idle.unwrap_or(IDLE_TIMEOUT),
            stall: args.stall.unwrap_or(STALL_TIMEOUT),
            framed: args.deliver == Some(Deliver::Framed),
            token: args.token_file.clone(),
            names: args.names.clone(),
            metrics: args.metrics.as_deref().map(metrics_address).transpose()?,
            tls: args.tls_port.map(|port| (port, Tls::from_args(&args.tls, true))),
            sandbox: !args.limits.no_sandbox,
        })
    }
}

impl RelayClient {
    /// Plans `remote relay HOST PORT NAME`.
    pub(super) fn from_args(args: &cli::Relay) -> Result<Self> {
        let mut places = args.places.iter().cloned();
        let (host, port, name) = match (places.next(), places.next(), places.next()) {
            (Some(host), Some(port), Some(name)) => (host, Some(port), name),
            // Two words are host and name, not host and port: a name may be a number.
            (Some(host), Some(name), None) => (host, None, name),
            _ => return usage("a client needs HOST, perhaps PORT, and its NAME (to be the relay: -l)"),
        };
        for name in [Some(&name), args.to.as_ref()].into_iter().flatten() {
            if !is_name(name.as_bytes()) {
                return usage(format!(
                    "'{name}' is not a name: 1 to 255 bytes, no '|', no control characters"
                ));
            }
        }

        let ports = port.into_iter().collect();
        let place = HostPorts::of_relay(Some(host), ports, &args.at, &args.transfer, PORT)?;
        conflicts::of_place(&args.addresses, &args.at, &place)?;
        let socket_config = sockets::of_relay(args, &place)?;
        let session = Session::from_transfer(&args.transfer, args.limits.force, place.transport);
        // Lines of stdin name their receivers; a file is sent as it is, and names none.
        if args.to.is_none() && matches!(session.input, Outgoing::File(_)) {
            return usage("-s needs --to NAME: to whom?");
        }

        Ok(Self {
            connect: Connect {
                tls: args.tls.on.then(|| Tls::from_args(&args.tls, false)),
                to: Target::new(&place)?,
                proxy: None,
                socket_config,
                timeout: args.limits.timeout,
                retry: args.transfer.retry.unwrap_or(0),
                session,
            },
            name,
            to: args.to.clone(),
            token: args.token_file.clone(),
            key: args.key_file.clone(),
        })
    }
}

/// Parses `PORT`, `ADDR:PORT` or `[v6]:PORT`.
fn metrics_address(text: &str) -> Result<SocketAddr> {
    // Metrics have no access control: a port alone is bound to loopback.
    let (host, number) = text.rsplit_once(':').unwrap_or(("127.0.0.1", text));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match (literal(host), port::parse(number, Transport::Stream)) {
        (Some(mut address), Ok(port)) => {
            address.set_port(port);
            Ok(address)
        }
        _ => usage(format!("--metrics '{text}' is not a port, nor an address and a port")),
    }
}

/// The port of a relay.
const PORT: u16 = 8080;

/// Clients of one address at once.
const MAX_PER_IP: usize = 256;

/// Bytes in all queues together.
const BUFFER: u64 = 256 << 20;

/// Time for a new client to send its name.
const REGISTER_TIMEOUT: Duration = Duration::from_secs(3);

/// Silence after which a client is disconnected.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Time for a client to accept 4 KiB of what its queue holds.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);
