//! What was meant: every default, conflict and unit of the command line, settled once.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;

use crate::{
    cli::Args,
    net::{
        Address, Family, Location, Recipe, Transport, address::literal, interface::Interface, port,
        recipe::Options,
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
    Scan(Scan),
}

/// Connect, and have one session.
#[derive(Debug)]
pub struct Connect {
    pub to: Target,
    pub recipe: Recipe,
    /// `-T`.
    pub timeout: Option<Duration>,
    /// How often to try again.
    pub retry: u64,
    pub session: Session,
}

/// Listen, and have one session, or many.
#[derive(Debug)]
pub struct Listen {
    pub at: Bind,
    pub recipe: Recipe,
    /// How many clients at once; `None` is one client and no more.
    pub keep_open: Option<usize>,
    pub session: Session,
}

/// Look which ports are open.
#[derive(Debug)]
pub struct Scan {
    pub host: String,
    pub ports: Vec<u16>,
    pub recipe: Recipe,
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
    pub listening: bool,
    /// One of many sessions (`-k`).
    pub many: bool,
    pub input: Outgoing,
    pub output: Incoming,
    pub half_open: bool,
    pub send_only: bool,
    /// `-s` was given: datagrams are followed by an empty one, which marks the end.
    pub mark_end: bool,
    /// `-r` was given: an empty datagram is the end, and so is silence.
    pub heed_end: bool,
    /// `-q`.
    pub quiet: Option<Duration>,
    /// `-w`.
    pub idle: Option<Duration>,
    pub pass_eof: bool,
    pub crlf: bool,
    pub lines: bool,
    /// `--datagram`: bytes.
    pub chunk: usize,
    /// Bytes per second.
    pub rate: Option<u64>,
    pub delay: Option<Duration>,
    /// `-W`.
    pub limit: Option<u64>,
    pub digest: bool,
    /// `-o`.
    pub dump: Option<PathBuf>,
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
        refuse_contradictions(&args, &place)?;
        refuse_misfits(&args, &place)?;
        let recipe = recipe(&args, &place)?;
        if args.z {
            return scan(&args, place, recipe);
        }
        let session = session(&args, place.transport);
        if args.listen {
            let at = bind(&place, &recipe)?;
            let keep_open = match (args.keep_open, args.one_by_one, args.max_conns) {
                (false, ..) => None,
                (true, true, _) => Some(1),
                (true, false, most) => Some(most.map_or(usize::MAX, |most| most as usize)),
            };
            return Ok(Self::Listen(Listen { at, recipe, keep_open, session }));
        }
        let to = target(&place)?;
        let retry = args.retry.unwrap_or(0);
        Ok(Self::Connect(Connect { to, recipe, timeout: args.timeout, retry, session }))
    }
}

/// Host, port and transport, from wherever they were given.
#[derive(Debug)]
struct Place {
    transport: Transport,
    unix: Option<PathBuf>,
    host: Option<String>,
    /// As typed; several only for a scan.
    ports: Vec<String>,
    source_port: Option<u16>,
}

impl Place {
    fn settle(args: &mut Args) -> Result<Self> {
        let mut host = args.host.take();
        let mut ports = std::mem::take(&mut args.ports);
        let udp = if args.udp { Transport::Datagram } else { Transport::Stream };
        refuse_swallowed(args, host.as_deref(), &ports)?;
        if args.unix {
            let Some(path) = host else { return usage("-U needs a PATH") };
            let path = path.strip_prefix("unix:").map_or(path.clone(), str::to_owned);
            return Ok(Self {
                transport: udp,
                unix: Some(path.into()),
                host: None,
                ports,
                source_port: None,
            });
        }
        if args.listen && ports.is_empty() && host.as_deref().is_some_and(port::looks_like) {
            ports.extend(host.take());
        }
        let mut transport = udp;
        if let Some(text) = host.take() {
            match Location::parse(&text).map_err(to_usage)? {
                Location::Unix(path) => {
                    return Ok(Self { transport, unix: Some(path), host: None, ports, source_port: None });
                }
                Location::Inet { transport: Some(Transport::Stream), .. } if args.udp => {
                    return usage(format!("-u contradicts '{text}'"));
                }
                Location::Inet { transport: scheme, host: name, port } => {
                    transport = scheme.unwrap_or(udp);
                    if port.is_some() && !ports.is_empty() {
                        return usage(format!("the port is given twice: in '{text}' and as '{}'", ports[0]));
                    }
                    ports.extend(port);
                    host = (!name.is_empty()).then_some(name);
                }
            }
        }
        let mut source = args.source_port.take();
        match args.port.take() {
            Some(port) if ports.is_empty() => ports.push(port),
            Some(port) if args.listen => {
                return usage(format!("the port is given twice: '{}' and -p {port}", ports[0]));
            }
            Some(_) if source.is_some() => return usage("the source port is given twice"),
            Some(port) => source = Some(port),
            None => {}
        }
        let source_port = match source {
            Some(text) => Some(port::parse(&text, transport).map_err(to_usage)?),
            None => None,
        };
        Ok(Self { transport, unix: None, host, ports, source_port })
    }

    /// The one port, if there is one.
    fn port(&self) -> Result<Option<u16>> {
        match &self.ports[..] {
            [] => Ok(None),
            [one] if !one.contains([',']) && !is_range(one) => {
                Ok(Some(port::parse(one, self.transport).map_err(to_usage)?))
            }
            _ => usage("several ports need -z"),
        }
    }
}

/// `-r` takes what follows it for its FILE, even the host or the port.
fn refuse_swallowed(args: &Args, host: Option<&str>, ports: &[String]) -> Result<()> {
    let Some(Some(file)) = &args.receive else { return Ok(()) };
    let Some(file) = file.to_str().filter(|file| !file.contains('/')) else { return Ok(()) };
    let is_port = port::looks_like(file);
    let is_address = literal(file).is_some();
    let lone_port = ports.is_empty() && host.is_some_and(port::looks_like);
    let has_port = !ports.is_empty() || args.port.is_some() || host.is_some_and(|host| host.contains(':'));
    if args.unix {
        return Ok(());
    }
    if args.listen && is_port && !has_port && !lone_port {
        return usage(format!(
            "-r took '{file}' for its FILE: to listen on that port say '-r -p {file}', to receive into that file say '-r ./{file}'"
        ));
    }
    if args.listen && is_address && host.is_none_or(port::looks_like) {
        return usage(format!(
            "-r took '{file}' for its FILE: to listen at that address say '-a {file} -r', to receive into that file say '-r ./{file}'"
        ));
    }
    if !args.listen && (host.is_none() || lone_port) {
        let port = host.unwrap_or("PORT");
        return usage(format!(
            "-r took '{file}' for its FILE, and no HOST is left: say '{file} {port} -r', or '-r ./{file} HOST {port}'"
        ));
    }
    Ok(())
}

/// Flags that contradict each other, or that need another one.
fn refuse_contradictions(args: &Args, place: &Place) -> Result<()> {
    let datagram = place.transport == Transport::Datagram;
    let received = args.receive.is_some();
    let table = [
        (args.ip4 && args.ip6, "-4 and -6 exclude each other"),
        (args.keep_open && !args.listen, "-k needs -l"),
        (args.max_conns.is_some() && !args.keep_open, "-m needs -k"),
        (args.one_by_one && !args.keep_open, "--one-by-one needs -k"),
        (args.one_by_one && args.max_conns.is_some(), "--one-by-one is -m 1: give one of them"),
        (args.z && args.listen, "-z looks at ports, -l listens: give one of them"),
        (args.z && (args.send.is_some() || received), "-z sends and receives nothing: leave out -s and -r"),
        (args.timeout.is_some() && args.listen, "-T is for connecting; for waiting use -w"),
        (args.timeout.is_some() && datagram, "-T is for TCP: UDP connects at once; for waiting use -w"),
        (args.retry.is_some() && args.listen, "--retry is for connecting"),
        (args.send_only && args.recv_only, "--send-only and --recv-only exclude each other"),
        (args.send_only && received, "--send-only contradicts -r"),
        (args.recv_only && args.send.is_some(), "--recv-only contradicts -s"),
        (args.force && !matches!(args.receive, Some(Some(_))), "--force needs -r FILE"),
        (args.quiet && args.verbose > 0, "-Q and -v exclude each other"),
        (args.bind_device && args.listen && args.interface.is_none(), "-b with -l needs -i"),
        (args.packets.is_some() && !datagram, "-W counts datagrams: it needs -u"),
        (args.broadcast && !datagram, "--broadcast needs -u"),
        (args.datagram.is_some() && !datagram && args.delay.is_none(), "--datagram needs -u or -d"),
        (args.half_open && datagram, "--half-open is for TCP: UDP has no end to pass on"),
        (args.join.is_some() && !(args.listen && datagram), "--join needs -l -u"),
        (args.join.is_some() && args.keep_open, "--join hears every sender: leave out -k"),
        (args.join.is_some() && place.host.is_some(), "--join listens at the group: leave out HOST"),
        (args.join.is_some_and(|group| !group.is_multicast()), "--join needs a multicast address"),
        (
            args.no_lookup && place.host.as_deref().is_some_and(|host| literal(host).is_none()),
            "-n looks up no names: HOST must be an address",
        ),
        (args.datagram.is_some_and(|size| size > LARGEST_DATAGRAM as u64), "--datagram can be 65507 at most"),
        (
            args.listen && args.source_port.is_some(),
            "--source-port is for connecting; -p is the port to listen on",
        ),
        (
            args.listen && args.source.is_some() && place.host.is_some(),
            "the address to bind is given twice: HOST and -a",
        ),
        (
            args.listen && datagram && args.keep_open && place.unix.is_some(),
            "-k with -u is for UDP, not for UNIX datagrams",
        ),
    ];
    match table.into_iter().find(|(is_so, _)| *is_so) {
        Some((_, why)) => usage(why),
        None => Ok(()),
    }
}

/// Flags that do not fit the kind of socket.
fn refuse_misfits(args: &Args, place: &Place) -> Result<()> {
    let unix = place.unix.is_some();
    let no_tcp = unix || place.transport == Transport::Datagram;
    let table = [
        (unix, args.ip4 || args.ip6, "-4 and -6"),
        (unix, args.interface.is_some(), "-i"),
        (unix, args.bind_device, "-b"),
        (unix, args.source.is_some(), "-a"),
        (unix, !place.ports.is_empty() || args.port.is_some(), "a port"),
        (unix, place.source_port.is_some() || args.source_port.is_some(), "--source-port"),
        (unix, args.z, "-z"),
        (unix, args.tos.is_some(), "--tos"),
        (unix, args.ttl.is_some(), "-M"),
        (unix, args.broadcast, "--broadcast"),
        (unix, args.join.is_some(), "--join"),
        (no_tcp, args.nodelay, "--nodelay"),
        (no_tcp, args.keepalive.is_some(), "--keepalive"),
        (no_tcp, args.congestion.is_some(), "--congestion"),
        (no_tcp, args.mptcp, "--mptcp"),
    ];
    match table.into_iter().find(|(misfit, given, _)| *misfit && *given) {
        Some((_, _, what)) if unix => usage(format!("{what} means nothing for a UNIX socket")),
        Some((_, _, what)) => usage(format!("{what} is for TCP")),
        None => Ok(()),
    }
}

fn recipe(args: &Args, place: &Place) -> Result<Recipe> {
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
    if let Some(ip) = place.host.as_deref().and_then(literal).map(|literal| literal.ip())
        && only.is_some_and(|only| only != Family::of(ip))
    {
        let family = only.unwrap_or(Family::V6);
        return usage(format!("{ip} is not an {family} address"));
    }
    let size = |size: Option<u64>| size.map(|size| usize::try_from(size).unwrap_or(usize::MAX));
    Ok(Recipe {
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

fn bind(place: &Place, recipe: &Recipe) -> Result<Bind> {
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
    if let Some(ip) = recipe.options.join.or(recipe.source) {
        return Ok(Bind::Addresses(vec![at(ip)]));
    }
    if let Some(interface) = recipe.interface.as_ref().filter(|_| !recipe.bind_device) {
        let wanted = |ip: &IpAddr| recipe.only.is_none_or(|only| only == Family::of(*ip));
        let addresses: Vec<_> = interface.addresses.iter().copied().filter(wanted).map(at).collect();
        if let (true, Some(only)) = (addresses.is_empty(), recipe.only) {
            return usage(format!("interface '{}' has no {only} address", interface.name));
        }
        return Ok(Bind::Addresses(addresses));
    }
    // One dual-stack socket serves both families.
    Ok(Bind::Addresses(vec![at(recipe.only.unwrap_or(Family::V6).any())]))
}

fn scan(args: &Args, place: Place, recipe: Recipe) -> Result<Plan> {
    let (host, ports) = match place.host {
        Some(host) if !place.ports.is_empty() => (host, place.ports.join(",")),
        Some(_) => return usage("-z needs ports: HOST 22,80 or HOST 8000-8010"),
        None => return usage("-z needs HOST and ports"),
    };
    let ports = port::parse_list(&ports, place.transport).map_err(to_usage)?;
    let timeout = args.timeout.or(args.idle);
    Ok(Plan::Scan(Scan { host, ports, recipe, timeout, retry: args.retry.unwrap_or(0) }))
}

fn session(args: &Args, transport: Transport) -> Session {
    let input = match &args.send {
        Some(path) if path == Path::new("-") => Outgoing::Stdin,
        Some(path) => Outgoing::File(path.clone()),
        None if args.recv_only || args.receive.is_some() => Outgoing::Nothing,
        None => Outgoing::Stdin,
    };
    let output = match &args.receive {
        _ if args.send_only => Incoming::Nowhere,
        None => Incoming::Stdout,
        Some(Some(path)) if path == Path::new("-") => Incoming::Stdout,
        Some(Some(path)) if path != Path::new("None") => {
            Incoming::File { path: path.clone(), force: args.force }
        }
        Some(_) => Incoming::Automatic,
    };
    Session {
        transport,
        listening: args.listen,
        many: args.keep_open,
        input,
        output,
        half_open: args.half_open,
        send_only: args.send_only,
        mark_end: args.send.is_some() && !args.no_shutdown,
        heed_end: args.receive.is_some(),
        quiet: args.quit,
        // A wait that was asked for is no idleness.
        idle: args.idle.map(|idle| idle + args.delay.unwrap_or_default()),
        pass_eof: !args.no_shutdown,
        crlf: args.crlf,
        lines: args.lines,
        chunk: args.datagram.map_or(DATAGRAM, |size| usize::try_from(size).unwrap_or(DATAGRAM)),
        rate: args.rate,
        delay: args.delay,
        limit: args.packets,
        digest: args.digest,
        dump: args.output.clone(),
    }
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

fn is_range(text: &str) -> bool {
    text.contains('-') && port::looks_like(text)
}

fn usage<T>(why: impl Into<String>) -> Result<T> {
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
