//! What was meant by `remote relay`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Result;

use super::{
    Bind, Connect, Outgoing, Plan, bind, place::Place, refusal, session, socket_config, target, tls::Tls,
    usage,
};
use crate::{
    cli::{self, Args, Deliver},
    net::{SocketConfig, address::literal, port},
    proto::relay::is_name,
};

/// Be the relay.
#[derive(Debug)]
pub struct Relay {
    pub at: Bind,
    pub socket_config: SocketConfig,
    /// Clients at once; `None` is as many as there can be.
    pub max_clients: Option<usize>,
    /// Of one address; 0 is no limit.
    pub max_per_ip: usize,
    /// Bytes.
    pub max_message: u64,
    /// Bytes that may be on their way at once.
    pub buffer: usize,
    pub register_timeout: Duration,
    pub idle: Duration,
    pub stall: Duration,
    pub framed: bool,
    /// Its first line is a part of every name.
    pub token: Option<PathBuf>,
    /// Names, and the hashes of their keys.
    pub names: Option<PathBuf>,
    pub metrics: Option<SocketAddr>,
    /// The port for those who come encrypted, and how.
    pub tls: Option<(u16, Tls)>,
    /// Whether the process gives up what it does not need.
    pub sandbox: bool,
}

/// Be one of its clients.
#[derive(Debug)]
pub struct RelayClient {
    /// To the relay.
    pub connect: Connect,
    pub name: String,
    /// To whom everything goes; `None` if each line says it.
    pub to: Option<String>,
    pub token: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

impl Plan {
    /// Settles what was typed behind `remote relay`.
    pub fn relay(mut args: cli::Relay) -> Result<Self> {
        refuse(&args)?;
        let mut core = Args {
            ip4: args.ip4,
            ip6: args.ip6,
            no_lookup: args.no_lookup,
            listen: args.listen,
            port: args.port.take(),
            interface: args.interface.take(),
            source: args.source.take(),
            send: args.send.take(),
            receive: args.receive.take(),
            force: args.force,
            idle: args.idle_timeout,
            send_only: args.send_only,
            recv_only: args.recv_only,
            lines: args.lines,
            rate: args.rate,
            digest: args.digest,
            // Messages are not to wait for each other.
            nodelay: true,
            ..Args::default()
        };
        if args.listen { serve(&args, core) } else { connect(args, &mut core) }
    }
}

fn serve(args: &cli::Relay, mut core: Args) -> Result<Plan> {
    if args.places.len() > 2 {
        return usage("-l takes an address and a port, and no name");
    }
    let mut places = args.places.iter().cloned();
    (core.host, core.ports) = (places.next(), places.collect());
    let mut place = Place::settle(&mut core)?;
    default_port(&mut place);
    refusal::contradictions(&core, &place)?;
    let socket_config = socket_config(&core, &place)?;
    let tls = Tls::from_args(&args.tls, true, ("--tls-port", args.tls_port.is_some()))?;
    Ok(Plan::Relay(Relay {
        at: bind(&place, &socket_config)?,
        socket_config,
        max_clients: args.max_clients.map(|max| max as usize),
        max_per_ip: args.max_per_ip.map_or(PER_ADDRESS, |max| max as usize),
        max_message: args.max_message.unwrap_or(u64::MAX),
        buffer: usize::try_from(args.buffer.unwrap_or(MEMORY)).unwrap_or(usize::MAX),
        register_timeout: args.register_timeout.unwrap_or(REGISTER),
        idle: args.idle.unwrap_or(IDLE),
        stall: args.stall.unwrap_or(STALL),
        framed: args.deliver == Some(Deliver::Framed),
        token: args.token_file.clone(),
        names: args.names.clone(),
        metrics: args.metrics.as_deref().map(metrics).transpose()?,
        tls: tls.and_then(|tls| Some((args.tls_port?, tls))),
        sandbox: !args.no_sandbox,
    }))
}

fn connect(args: cli::Relay, core: &mut Args) -> Result<Plan> {
    let mut places = args.places.into_iter();
    let (host, second, third) = (places.next(), places.next(), places.next());
    let (Some(host), Some(second)) = (host, second) else {
        return usage("a client needs HOST, perhaps PORT, and its NAME (to be the relay: -l)");
    };
    let name = match third {
        Some(name) => {
            core.ports.push(second);
            name
        }
        None => second,
    };
    for name in [Some(&name), args.to.as_ref()].into_iter().flatten() {
        if !is_name(name.as_bytes()) {
            return usage(format!("'{name}' is not a name: 1 to 255 bytes, no '|', no control characters"));
        }
    }
    core.host = Some(host);
    let mut place = Place::settle(core)?;
    default_port(&mut place);
    refusal::contradictions(core, &place)?;
    let socket_config = socket_config(core, &place)?;
    let session = session(core, place.transport)?;
    if args.to.is_none() && matches!(session.input, Outgoing::File(_)) {
        return usage("-s needs --to NAME: to whom?");
    }
    Ok(Plan::RelayClient(RelayClient {
        connect: Connect {
            tls: Tls::from_args(&args.tls, false, ("--tls", args.tls.on))?,
            to: target(&place)?,
            proxy: None,
            socket_config,
            timeout: args.timeout,
            retry: args.retry.unwrap_or(0),
            session,
        },
        name,
        to: args.to,
        token: args.token_file,
        key: args.key_file,
    }))
}

fn default_port(place: &mut Place) {
    if place.ports.is_empty() {
        place.ports.push(PORT.to_string());
    }
}

/// `PORT`, `ADDR:PORT`, `[v6]:PORT`.
fn metrics(text: &str) -> Result<SocketAddr> {
    let (host, number) = text.rsplit_once(':').unwrap_or(("127.0.0.1", text));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match (literal(host), port::parse(number, crate::net::Transport::Stream)) {
        (Some(mut address), Ok(port)) => {
            address.set_port(port);
            Ok(address)
        }
        _ => usage(format!("--metrics '{text}' is not a port, nor an address and a port")),
    }
}

/// What does not go with the side that was asked for.
fn refuse(args: &cli::Relay) -> Result<()> {
    let serving = [
        (args.max_clients.is_some(), "--max-clients"),
        (args.max_per_ip.is_some(), "--max-per-ip"),
        (args.max_message.is_some(), "--max-message"),
        (args.buffer.is_some(), "--buffer"),
        (args.stall.is_some(), "--stall"),
        (args.idle.is_some(), "--idle"),
        (args.register_timeout.is_some(), "--register-timeout"),
        (args.deliver.is_some(), "--deliver"),
        (args.names.is_some(), "--names"),
        (args.metrics.is_some(), "--metrics"),
        (args.no_sandbox, "--no-sandbox"),
        (args.tls_port.is_some(), "--tls-port"),
    ];
    let connecting = [
        (args.to.is_some(), "--to"),
        (args.tls.on, "--tls"),
        (args.send.is_some(), "-s"),
        (args.receive.is_some(), "-r"),
        (args.force, "--force"),
        (args.send_only, "--send-only"),
        (args.recv_only, "--recv-only"),
        (args.lines, "--lines"),
        (args.idle_timeout.is_some(), "-w"),
        (args.timeout.is_some(), "-T"),
        (args.retry.is_some(), "--retry"),
        (args.rate.is_some(), "--rate"),
        (args.digest, "--digest"),
        (args.progress, "--progress"),
        (args.no_progress, "--no-progress"),
        (args.key_file.is_some(), "--key-file"),
    ];
    let (misfits, whose) = match args.listen {
        true => (&connecting[..], "is a client's: leave out -l"),
        false => (&serving[..], "is the relay's: it needs -l"),
    };
    if let Some((_, flag)) = misfits.iter().find(|(given, _)| *given) {
        return usage(format!("{flag} {whose}"));
    }
    if args.token_file.is_some() && (args.names.is_some() || args.key_file.is_some()) {
        return usage("a relay has one token, or a key for each name: give one of them");
    }
    if args.quiet && args.verbose > 0 {
        return usage("-Q and -v exclude each other");
    }
    Ok(())
}

/// The port of the relay.
const PORT: u16 = 8080;

/// Clients of one address.
const PER_ADDRESS: usize = 256;

/// Bytes on their way.
const MEMORY: u64 = 256 << 20;

const REGISTER: Duration = Duration::from_secs(3);

const IDLE: Duration = Duration::from_secs(30);

const STALL: Duration = Duration::from_secs(10);
