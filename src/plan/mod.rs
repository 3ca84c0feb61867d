//! What was meant: every default, conflict and unit of the command line, settled once.

pub mod access;
mod place;
mod practice;
mod program;
mod proxy;
mod refusal;
mod relay;
pub mod tls;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;

pub use self::{
    practice::{Practice, PracticeClient},
    program::Program,
    proxy::Proxy,
    relay::{Relay, RelayClient},
};

use self::{access::Access, place::Place, tls::Tls};
use crate::{
    cli::Args,
    net::{
        Address, Family, SocketConfig, Transport, address::literal, config::Options, interface::Interface,
        port,
    },
};

/// The command line does not make sense: exit status 2.
#[derive(Debug)]
pub struct Usage(String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// What to do.
#[derive(Debug)]
pub enum Plan {
    Connect(Connect),
    Listen(Listen),
    Practice(Practice),
    PracticeClient(PracticeClient),
    Relay(Relay),
    RelayClient(RelayClient),
    Scan(Scan),
    Serve(Serve),
}

/// Connect, and have one session.
#[derive(Debug)]
pub struct Connect {
    pub to: Target,
    /// Who connects to it in our place.
    pub proxy: Option<Proxy>,
    pub socket_config: SocketConfig,
    /// `-T`.
    pub timeout: Option<Duration>,
    /// How often to try again.
    pub retry: u64,
    pub tls: Option<Tls>,
    pub session: Session,
}

/// Listen, and have one session.
#[derive(Debug)]
pub struct Listen {
    pub at: Bind,
    pub socket_config: SocketConfig,
    pub access: Access,
    pub tls: Option<Tls>,
    pub session: Session,
}

/// Listen, and have a session with every client (`-k`).
#[derive(Debug)]
pub struct Serve {
    pub listen: Listen,
    /// `-m`: sessions at once.
    pub max_clients: usize,
}

/// Look which ports are open.
#[derive(Debug)]
pub struct Scan {
    pub host: String,
    pub ports: Vec<u16>,
    pub socket_config: SocketConfig,
    /// For each port.
    pub timeout: Option<Duration>,
    /// How often to look again while none is open.
    pub retry: u64,
}

/// Where to connect to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Target {
    Host { host: String, port: u16, random: bool },
    Unix(PathBuf),
}

/// Where to listen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Bind {
    /// At these addresses.
    Addresses(Vec<Address>),
    /// At all addresses of a name.
    Name { host: String, port: u16 },
}

/// What a session is to be like.
#[derive(Clone, Debug)]
pub struct Session {
    pub transport: Transport,
    pub role: Role,
    pub direction: Direction,
    pub input: Outgoing,
    pub output: Incoming,
    pub half_open: bool,
    /// With `-s`: an empty datagram follows the last one, and marks the end.
    pub send_eof_datagram: bool,
    /// With `-r`: an empty datagram is the end, and so is silence.
    pub honor_eof_datagram: bool,
    /// `-q`.
    pub quit: Option<Duration>,
    /// `-w`.
    pub idle: Option<Duration>,
    pub pass_eof: bool,
    pub crlf: bool,
    /// `-t`.
    pub telnet: bool,
    /// `--zstd`: the level.
    pub zstd: Option<i32>,
    pub lines: bool,
    /// `--datagram`: bytes.
    pub datagram_size: usize,
    /// Bytes per second.
    pub rate: Option<u64>,
    pub delay: Option<Duration>,
    /// `-W`.
    pub max_datagrams: Option<u64>,
    pub digest: bool,
    /// `-o`.
    pub dump: Option<PathBuf>,
    /// What runs on the connection, in the place of input and output.
    pub program: Option<Program>,
    /// Whether the process gives up what it does not need.
    pub sandbox: bool,
}

impl Session {
    /// Whether nothing stands between the connection and whoever reads and writes it: no byte has to be seen, held
    /// back or counted.
    pub fn is_bare(&self) -> bool {
        let plain = !self.crlf
            && !self.telnet
            && self.zstd.is_none()
            && !self.lines
            && !self.digest
            && self.dump.is_none()
            && self.pass_eof;
        let unhurried =
            self.rate.is_none() && self.delay.is_none() && self.idle.is_none() && self.quit.is_none();
        self.transport == Transport::Stream && plain && unhurried
    }
}

/// How a session comes about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    Connect,
    /// The first client has the only session.
    ListenOnce,
    /// One session of many (`-k`).
    Serve,
}

/// Directions in which bytes travel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    Both,
    /// `--recv-only`, and `-r` without `-s`.
    Receive,
    /// `--send-only`.
    Send,
}

/// Where what we send comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outgoing {
    File(PathBuf),
    Nothing,
    Stdin,
}

/// Where what we receive goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Incoming {
    /// A new file with a name of its own.
    Automatic,
    File {
        path: PathBuf,
        force: bool,
    },
    Nowhere,
    Stdout,
}

impl Target {
    /// Whether it is a name that has to be looked up.
    pub fn is_name(&self) -> bool {
        matches!(self, Self::Host { host, .. } if literal(host).is_none())
    }

    /// What is known of where it is, without a look-up.
    pub fn address(&self) -> Address {
        match self {
            Self::Host { host, port, .. } => match literal(host) {
                Some(mut address) => {
                    address.set_port(*port);
                    Address::Inet(address)
                }
                None => Address::Name { host: host.clone(), port: *port },
            },
            Self::Unix(path) => Address::Unix(path.clone()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { host, port, .. } => write!(f, "{host} port {port}"),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

impl Plan {
    /// Settles what was typed. Fails with [`Usage`], or because something that was named is not there.
    pub fn new(mut args: Args) -> Result<Self> {
        let place = Place::settle(&mut args)?;
        refusal::contradictions(&args, &place)?;
        refusal::misfits(&args, &place)?;
        let socket_config = socket_config(&args, &place)?;
        if args.z {
            return scan(&args, place, socket_config);
        }
        let tls = Tls::from_args(&args.tls, args.listen, ("--tls", args.tls.on))?;
        let session = session(&args, place.transport)?;
        if args.listen {
            let at = bind(&place, &socket_config)?;
            let listen = Listen { at, socket_config, access: Access::new(&args)?, tls, session };
            if !args.keep_open {
                return Ok(Self::Listen(listen));
            }
            let max_clients = match (args.one_by_one, args.max_conns) {
                (true, _) => 1,
                (false, max) => max.map_or(usize::MAX, |max| max as usize),
            };
            return Ok(Self::Serve(Serve { listen, max_clients }));
        }
        let to = target(&place)?;
        let proxy = Proxy::settle(&args, &to, socket_config.only)?;
        let retry = args.retry.unwrap_or(0);
        Ok(Self::Connect(Connect { to, proxy, socket_config, timeout: args.timeout, retry, tls, session }))
    }
}

fn socket_config(args: &Args, place: &Place) -> Result<SocketConfig> {
    let mut only = match (args.ip4, args.ip6) {
        (true, _) => Some(Family::V4),
        (_, true) => Some(Family::V6),
        _ => None,
    };
    let interface = match &args.interface {
        Some(name) => Some(interface(name)?),
        None => None,
    };
    let source = match &args.source {
        Some(text) => Some(source(text, only, interface.as_ref())?),
        None => None,
    };
    // A name then need not be tried at addresses that this source cannot reach.
    only = only.or(source.map(Family::of));
    if let (Some(host), None) = (&place.host, &args.proxy) {
        fits(host, only)?;
    }
    let size = |size: Option<u64>| size.map(|size| usize::try_from(size).unwrap_or(usize::MAX));
    Ok(SocketConfig {
        transport: place.transport,
        only,
        interface,
        bind_device: args.bind_device,
        source,
        source_port: place.source_port,
        options: Options {
            broadcast: args.broadcast,
            congestion: args.congestion.clone(),
            join: args.join,
            keepalive: args.keepalive,
            mptcp: args.mptcp,
            nodelay: args.nodelay,
            rcvbuf: size(args.rcvbuf),
            sndbuf: size(args.sndbuf),
            tos: args.tos,
            ttl: args.ttl,
        },
    })
}

fn interface(name: &str) -> Result<Interface> {
    Interface::by_name(name).or_else(|error| {
        let number = name.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if number {
            return usage(format!("{error}; nc's -i, the delay between lines, is -d {name} here"));
        }
        Err(error)
    })
}

fn source(text: &str, only: Option<Family>, interface: Option<&Interface>) -> Result<IpAddr> {
    let Some(ip) = literal(text).map(|address| address.ip()) else {
        return usage(format!("-a '{text}' is not an address"));
    };
    if let Some(only) = only.filter(|only| *only != Family::of(ip)) {
        return usage(format!("-a {ip} is not an {only} address"));
    }
    if let Some(interface) = interface.filter(|interface| !interface.addresses.contains(&ip)) {
        return usage(format!("-a {ip} is not an address of interface '{}'", interface.name));
    }
    Ok(ip)
}

/// A literal that is dialled has the family in use.
fn fits(host: &str, only: Option<Family>) -> Result<()> {
    match (literal(host).map(|literal| literal.ip()), only) {
        (Some(ip), Some(only)) if Family::of(ip) != only => usage(format!("{ip} is not an {only} address")),
        _ => Ok(()),
    }
}

fn target(place: &Place) -> Result<Target> {
    if let Some(path) = &place.unix {
        return Ok(Target::Unix(path.clone()));
    }
    let Some(host) = place.host.clone() else {
        return usage("HOST is missing: where to connect to?");
    };
    match place.port()? {
        Some(0) => usage("port 0 cannot be connected to"),
        Some(port) => Ok(Target::Host { host, port, random: false }),
        None if port::looks_like(&host) => {
            usage(format!("HOST is missing: '{host}' is a port (to listen on it: -l {host})"))
        }
        None => Ok(Target::Host { host, port: fastrand::u16(1..), random: true }),
    }
}

fn bind(place: &Place, socket_config: &SocketConfig) -> Result<Bind> {
    if let Some(path) = &place.unix {
        return Ok(Bind::Addresses(vec![Address::Unix(path.clone())]));
    }
    let port = place.port()?.unwrap_or(0);
    let at = |ip: IpAddr| Address::Inet(SocketAddr::new(ip, port));
    if let Some(host) = &place.host {
        return Ok(match literal(host) {
            Some(mut address) => {
                address.set_port(port);
                Bind::Addresses(vec![Address::Inet(address)])
            }
            None => Bind::Name { host: host.clone(), port },
        });
    }
    if let Some(ip) = socket_config.options.join.or(socket_config.source) {
        return Ok(Bind::Addresses(vec![at(ip)]));
    }
    if let Some(interface) = socket_config.interface.as_ref().filter(|_| !socket_config.bind_device) {
        let wanted = |ip: &IpAddr| socket_config.only.is_none_or(|only| only == Family::of(*ip));
        let addresses: Vec<_> = interface.addresses.iter().copied().filter(wanted).map(at).collect();
        if let (true, Some(only)) = (addresses.is_empty(), socket_config.only) {
            return usage(format!("interface '{}' has no {only} address", interface.name));
        }
        return Ok(Bind::Addresses(addresses));
    }
    // One dual-stack socket serves both families.
    Ok(Bind::Addresses(vec![at(socket_config.only.unwrap_or(Family::V6).any())]))
}

fn scan(args: &Args, place: Place, socket_config: SocketConfig) -> Result<Plan> {
    let (host, ports) = match place.host {
        Some(host) if !place.ports.is_empty() => (host, place.ports.join(",")),
        Some(_) => return usage("-z needs ports: HOST 22,80 or HOST 8000-8010"),
        None => return usage("-z needs HOST and ports"),
    };
    let ports = port::parse_list(&ports, place.transport).map_err(to_usage)?;
    let timeout = args.timeout.or(args.idle);
    Ok(Plan::Scan(Scan { host, ports, socket_config, timeout, retry: args.retry.unwrap_or(0) }))
}

fn session(args: &Args, transport: Transport) -> Result<Session> {
    let program = Program::new(args)?;
    let role = match (args.listen, args.keep_open) {
        (false, _) => Role::Connect,
        (true, false) => Role::ListenOnce,
        (true, true) => Role::Serve,
    };
    let direction = if args.send_only {
        Direction::Send
    } else if args.recv_only || args.receive.is_some() && args.send.is_none() {
        Direction::Receive
    } else {
        Direction::Both
    };
    let input = match &args.send {
        _ if program.is_some() || direction == Direction::Receive => Outgoing::Nothing,
        Some(path) if path != Path::new("-") => Outgoing::File(path.clone()),
        Some(_) | None => Outgoing::Stdin,
    };
    let output = match &args.receive {
        _ if program.is_some() || direction == Direction::Send => Incoming::Nowhere,
        None => Incoming::Stdout,
        Some(Some(path)) if path == Path::new("-") => Incoming::Stdout,
        Some(Some(path)) if path != Path::new("None") => {
            Incoming::File { path: path.clone(), force: args.force }
        }
        Some(_) => Incoming::Automatic,
    };
    Ok(Session {
        transport,
        role,
        direction,
        input,
        output,
        half_open: args.half_open,
        send_eof_datagram: args.send.is_some() && !args.no_shutdown,
        // To a program, an empty datagram is the end of all that comes.
        honor_eof_datagram: args.receive.is_some() || program.is_some() && args.listen,
        quit: args.quit,
        idle: args.idle,
        pass_eof: !args.no_shutdown,
        crlf: args.crlf,
        telnet: args.telnet,
        zstd: args.zstd,
        lines: args.lines,
        datagram_size: args.datagram.map_or(DATAGRAM, |size| usize::try_from(size).unwrap_or(DATAGRAM)),
        rate: args.rate,
        delay: args.delay,
        // A program serves one datagram, and answers it.
        max_datagrams: if program.is_some() && args.listen && transport == Transport::Datagram {
            Some(1)
        } else {
            args.packets
        },
        digest: args.digest,
        dump: args.output.clone(),
        program,
        sandbox: !args.no_sandbox,
    })
}

/// Whether the file that `-s` names is missing because it is an address, as in nc's `-s`.
pub fn source_meant(path: &Path) -> Result<()> {
    match path.to_str().and_then(literal) {
        Some(address) if !path.exists() => {
            let ip = address.ip();
            usage(format!("-s sends a file, and there is none called '{ip}'; the source address is -a {ip}"))
        }
        _ => Ok(()),
    }
}

/// Refuses the command line.
pub fn usage<T>(why: impl Into<String>) -> Result<T> {
    Err(Usage(why.into()).into())
}

#[allow(clippy::needless_pass_by_value)]
fn to_usage(error: anyhow::Error) -> anyhow::Error {
    Usage(format!("{error:#}")).into()
}

/// Bytes of a datagram that crosses any usual link whole.
const DATAGRAM: usize = 1400;

/// Bytes: 65,535 less the headers of IPv4 and UDP.
pub const LARGEST_DATAGRAM: usize = 65_507;
