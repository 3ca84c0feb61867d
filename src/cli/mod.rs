//! The flags as they are typed, and their help; what is meant by them is settled in `plan`.

mod hints;
mod practice;
mod relay;
mod tls;
mod units;

use std::{ffi::OsString, net::IpAddr, path::PathBuf, time::Duration};

use clap::{ArgAction, Parser, ValueEnum};

pub use self::{
    hints::one_line,
    practice::Practice,
    relay::{Deliver, Relay},
    tls::Tls,
};

/// What was typed: the netcat, or one of its other trades.
#[derive(Debug)]
pub enum Command {
    Practice(Practice),
    Relay(Box<Relay>),
    Remote(Box<Args>),
}

impl Command {
    /// Reads the command line. Behind `--`, a host may be called like a command.
    pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let args: Vec<OsString> = args.into_iter().collect();
        match args.get(1).and_then(|first| first.to_str()) {
            Some("practice") => Practice::try_parse_from(&args[1..]).map(Self::Practice),
            Some("relay") => Relay::try_parse_from(&args[1..]).map(|args| Self::Relay(Box::new(args))),
            _ => Args::try_parse_from(args).map(|args| Self::Remote(Box::new(args))),
        }
    }
}

/// The command line, as it was typed. What is said of it is said to whoever asks for `--help`.
#[derive(Debug, Default, Parser)]
#[command(name = "remote", version, about, max_term_width = 100, override_usage = USAGE)]
#[command(after_help = UNITS)]
pub struct Args {
    /// Where to connect to, or to listen; not yet parted from a port.
    #[arg(value_name = "HOST", help = HOST)]
    pub host: Option<String>,

    /// Number or service name (default: random); with -z also lists and ranges: 22,80,8000-8010
    #[arg(value_name = "PORT")]
    pub ports: Vec<String>,

    /// Use IPv4 only
    #[arg(short = '4', long = "ip4")]
    pub ip4: bool,

    /// Use IPv6 only
    #[arg(short = '6', long = "ip6")]
    pub ip6: bool,

    /// Look up no names: HOST must be an address
    #[arg(short = 'n')]
    pub no_lookup: bool,

    /// Listen for incoming connections
    #[arg(short, long)]
    pub listen: bool,

    /// Port to listen on, or to connect to; if PORT is given too, the port to come from
    #[arg(short, long, value_name = "PORT", allow_negative_numbers = true)]
    pub port: Option<String>,

    /// Use UDP (default: TCP)
    #[arg(short, long)]
    pub udp: bool,

    /// Use this interface: its address is the source address
    #[arg(short, long, value_name = "NAME")]
    pub interface: Option<String>,

    /// Bind to the device, that of -i or of the route: traffic can use no other
    #[arg(short)]
    pub bind_device: bool,

    /// Use this source address
    #[arg(short = 'a', long = "source", value_name = "ADDR")]
    pub source: Option<String>,

    /// Come from this port
    #[arg(long, value_name = "PORT", allow_negative_numbers = true)]
    pub source_port: Option<String>,

    /// Send FILE in place of stdin (-: stdin)
    #[arg(short, long, value_name = "FILE")]
    pub send: Option<PathBuf>,

    /// Receive into FILE in place of stdout (-: stdout; without FILE, or None: a name of its own)
    #[arg(short, long, value_name = "FILE", num_args = 0..=1)]
    pub receive: Option<Option<PathBuf>>,

    /// Replace the FILE of -r if it exists
    #[arg(long)]
    pub force: bool,

    /// Time for connecting, over all addresses together, name look-up included (default: none)
    #[arg(short = 'T', long = "timeout", value_name = "TIME", value_parser = units::time, allow_negative_numbers = true)]
    pub timeout: Option<Duration>,

    /// Wait between sends: of a line of stdin, a datagram, a chunk of a file
    #[arg(short, long, value_name = "TIME", value_parser = units::time, allow_negative_numbers = true)]
    pub delay: Option<Duration>,

    /// Give up when nothing moves for so long: connecting, waiting for a client, or in a session (exit 1)
    #[arg(short = 'w', long = "idle-timeout", value_name = "TIME", value_parser = units::time, allow_negative_numbers = true)]
    pub idle: Option<Duration>,

    /// End after so much silence once one side has ended (default: 2s for a silent pipe, 1s for UDP)
    #[arg(short, long, value_name = "TIME", value_parser = units::time, allow_negative_numbers = true)]
    pub quit: Option<Duration>,

    /// Pass the end of our input on (the default)
    #[arg(short = 'N', overrides_with = "no_shutdown")]
    pub shutdown: bool,

    /// Leave the connection open at the end of our input
    #[arg(long)]
    pub no_shutdown: bool,

    /// Go on sending for as long as it takes when the peer has ended
    #[arg(long)]
    pub half_open: bool,

    /// Only send; what comes is dropped
    #[arg(long)]
    pub send_only: bool,

    /// Only receive; stdin is not read
    #[arg(long)]
    pub recv_only: bool,

    /// Keep listening: serve many clients at once
    #[arg(short, long)]
    pub keep_open: bool,

    /// Serve at most so many clients at once
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_conns: Option<u32>,

    /// Serve clients one after the other: -m 1
    #[arg(long)]
    pub one_by_one: bool,

    /// Run PROGRAM (with arguments: 'PROGRAM ARG…') on the connection, or for each client
    #[arg(short, long, value_name = "PROGRAM", allow_hyphen_values = true)]
    pub exec: Option<String>,

    /// Run COMMAND in a shell on the connection, or for each client
    #[arg(short, long = "sh-exec", value_name = "COMMAND", allow_hyphen_values = true)]
    pub command: Option<String>,

    /// Let a program go on when its client has gone
    #[arg(long)]
    pub keep_children: bool,

    /// Let in only clients of these addresses, networks (10.0.0.0/8) or names, or of those in @FILE (any: all)
    #[arg(long, value_name = "WHO", value_delimiter = ',')]
    pub allow: Vec<String>,

    /// Let in none of these
    #[arg(long, value_name = "WHO", value_delimiter = ',')]
    pub deny: Vec<String>,

    /// Let in at most N clients of an address at once (of IPv6, of a /64 network)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_per_ip: Option<u32>,

    /// Only look which ports are open, and send nothing over TCP
    #[arg(short)]
    pub z: bool,

    /// Use UNIX sockets: a PATH in place of HOST and PORT, or @NAME in the abstract name space
    #[arg(short = 'U', long)]
    pub unix: bool,

    /// Send CR LF for each LF
    #[arg(short = 'C', long)]
    pub crlf: bool,

    /// Speak to a telnet server: refuse what it negotiates, and take that out of what it says
    #[arg(short, long)]
    pub telnet: bool,

    /// Compress what is sent, decompress what comes, on both sides; LEVEL 1 to 19 (default: 3)
    #[arg(long, value_name = "LEVEL", num_args = 0..=1, require_equals = true, default_missing_value = "3")]
    #[arg(value_parser = clap::value_parser!(i32).range(1..=19))]
    pub zstd: Option<i32>,

    /// Keep lines whole: a datagram, or a write, for each
    #[arg(long)]
    pub lines: bool,

    /// Cut files into datagrams of this size, or with -d into chunks (default: 1400)
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub datagram: Option<u64>,

    /// End after N datagrams have come
    #[arg(short = 'W', value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub packets: Option<u64>,

    /// Send at most SIZE a second
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub rate: Option<u64>,

    /// Try again N times, once a second, until it connects (or: forever)
    #[arg(long, value_name = "N", value_parser = retries)]
    pub retry: Option<u64>,

    #[command(flatten)]
    pub tls: Tls,

    /// Connect through this proxy, which looks up HOST (default port: 1080; 3128 with -X connect)
    #[arg(short = 'x', long, value_name = "ADDR[:PORT]")]
    pub proxy: Option<String>,

    /// What the proxy speaks: SOCKS 4 (4a for a name), SOCKS 5 (the default), or HTTP CONNECT
    #[arg(short = 'X', long, value_name = "4|5|connect", hide_possible_values = true)]
    pub proxy_type: Option<ProxyType>,

    /// User for the proxy; the password is REMOTE_PROXY_PASSWORD in the environment, or asked for at the terminal
    #[arg(short = 'P', long, value_name = "USER")]
    pub proxy_user: Option<String>,

    /// Take the password for the proxy from the first line of FILE
    #[arg(long, value_name = "FILE")]
    pub proxy_password_file: Option<PathBuf>,

    /// Keep the right to open other files and connections after set-up, which is given up where the kernel can
    #[arg(long)]
    pub no_sandbox: bool,

    /// Write what goes over the wire to FILE as a hex dump (-: stderr)
    #[arg(short, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Print the BLAKE3 digest and the size of what went each way
    #[arg(long)]
    pub digest: bool,

    /// Print what happened as JSON, one object a session, on stderr
    #[arg(long)]
    pub json: bool,

    /// Show the progress of a transfer (default: on a terminal)
    #[arg(long, overrides_with = "no_progress")]
    pub progress: bool,

    /// Show no progress
    #[arg(long)]
    pub no_progress: bool,

    /// Say nothing but errors
    #[arg(short = 'Q', long)]
    pub quiet: bool,

    /// Say what happens; twice, in more detail
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,

    /// Allow sending to broadcast addresses
    #[arg(long)]
    pub broadcast: bool,

    /// Join a multicast group, with -l -u: receive what is sent to it, and send to it
    #[arg(long, value_name = "GROUP")]
    pub join: Option<IpAddr>,

    /// Type of service, the whole octet: 0x10, 16, or lowdelay, throughput, reliability, ef, af11 …, cs1 …
    #[arg(long, value_name = "TOS", value_parser = type_of_service)]
    pub tos: Option<u8>,

    /// Time to live, or hop limit
    #[arg(short = 'M', long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    pub ttl: Option<u8>,

    /// Size of the kernel's send buffer
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub sndbuf: Option<u64>,

    /// Size of the kernel's receive buffer
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub rcvbuf: Option<u64>,

    /// Send small pieces at once, without waiting to fill a segment
    #[arg(long)]
    pub nodelay: bool,

    /// Probe a peer that is silent for so long (TCP keepalive)
    #[arg(long, value_name = "TIME", value_parser = units::time)]
    pub keepalive: Option<Duration>,

    /// Use this congestion control
    #[arg(long, value_name = "NAME")]
    pub congestion: Option<String>,

    /// Use Multipath TCP where both sides have it
    #[arg(long)]
    pub mptcp: bool,
}

/// What a proxy speaks; ncat's names are understood too.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum ProxyType {
    #[value(alias = "http")]
    Connect,
    #[value(name = "4", alias = "socks4")]
    Socks4,
    #[value(name = "5", alias = "socks5")]
    Socks5,
}

fn retries(text: &str) -> Result<u64, String> {
    if text == "forever" {
        return Ok(u64::MAX);
    }
    text.parse().map_err(|_| "a number or 'forever'".into())
}

/// The names are nc's; the code points are those of RFC 2474, RFC 2597, RFC 3246 and RFC 1349.
fn type_of_service(text: &str) -> Result<u8, String> {
    let class = |n: &str| n.parse::<u8>().ok();
    let named = match text.to_ascii_lowercase().as_str() {
        "lowdelay" => Some(0x10),
        "throughput" => Some(0x08),
        "reliability" | "le" => Some(0x04),
        "lowcost" => Some(0x02),
        "critical" => Some(0xa0),
        "inetcontrol" => Some(0xc0),
        "netcontrol" => Some(0xe0),
        "ef" => Some(46 << 2),
        "va" => Some(44 << 2),
        name => match name.split_at_checked(2) {
            Some(("cs", n)) => class(n).filter(|n| *n < 8).map(|n| n << 5),
            Some(("af", n)) => class(n)
                .filter(|n| matches!(n / 10, 1..=4) && matches!(n % 10, 1..=3))
                .map(|n| ((n / 10) << 5) | ((n % 10) << 3)),
            Some(("0x", n)) => u8::from_str_radix(n, 16).ok(),
            _ => name.parse().ok(),
        },
    };
    named.ok_or_else(|| "a number from 0 to 255, or a name as lowdelay, ef, af11, cs1".into())
}

const HOST: &str =
    "Name or address to connect to, with -l to bind; also HOST:PORT, [v6]:PORT, tcp://…, udp://…, unix:PATH";

const USAGE: &str = "remote [OPTIONS] [HOST] [PORT]\n       remote -l [OPTIONS] [HOST] [PORT]\n       \
                     remote -z [OPTIONS] HOST PORT…\n       remote relay …\n       remote practice …";

const UNITS: &str = "\
remote relay --help tells of the relay: clients with names behind one port; remote practice --help of servers to learn with.
Times take decimals and ms, s, m or h; a bare number is seconds. Sizes take k, M, G (1000) and Ki, Mi, Gi (1024).
Exit status: 0 done (with -z: a port is open), 1 network or file failure, timeout, incomplete transfer,
2 wrong usage, 130 and 143 ended by SIGINT and SIGTERM; connecting with -e or -c, that of the program.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn read(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(std::iter::once("remote").chain(line.split_whitespace()).map(OsString::from))
    }

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn letters_are_grouped_as_fingers_type_them() {
        let args = read("-lvnp 1234").unwrap();
        assert!(args.listen && args.verbose == 1 && args.no_lookup);
        assert_eq!(args.port.as_deref(), Some("1234"));
        assert_eq!(read("-lp1234").unwrap().port.as_deref(), Some("1234"));
        let args = read("-klu 53").unwrap();
        assert!(args.keep_open && args.listen && args.udp && args.host.as_deref() == Some("53"));
        let args = read("-zv host 1 2 3").unwrap();
        assert!(args.z && args.verbose == 1 && args.ports == ["1", "2", "3"]);
        assert_eq!(read("-vv host 1").unwrap().verbose, 2);
        let args = read("host -u 53 -w 1.5").unwrap();
        assert!(args.udp && args.ports == ["53"] && args.idle == Some(Duration::from_millis(1500)));
        assert_eq!(read("-- relay 80").unwrap().host.as_deref(), Some("relay"));
    }

    #[test]
    fn receive_has_a_value_or_none() {
        let path = |text: &str| Some(Some(PathBuf::from(text)));
        assert_eq!(read("-l -r").unwrap().receive, Some(None));
        assert_eq!(read("-l -r -p 9").unwrap().receive, Some(None));
        assert_eq!(read("-l -r f 9").unwrap().receive, path("f"));
        assert_eq!(read("-l -rf 9").unwrap().receive, path("f"));
        assert_eq!(read("-l --receive=f 9").unwrap().receive, path("f"));
        assert_eq!(read("-l -r - 9").unwrap().receive, path("-"));
        assert_eq!(read("-l 9").unwrap().receive, None);
    }

    #[test]
    fn a_level_is_no_host() {
        let args = read("--zstd 9 10").unwrap();
        assert_eq!((args.zstd, args.host.as_deref()), (Some(3), Some("9")));
        assert_eq!(read("--zstd=19 host 10").unwrap().zstd, Some(19));
        assert_eq!(read("host 10").unwrap().zstd, None);
        for level in ["0", "20", "-1", "fast", ""] {
            assert!(read(&format!("--zstd={level} host 10")).is_err(), "{level}");
        }
    }

    #[test]
    fn types_of_service() {
        let table = [
            ("0", 0),
            ("255", 255),
            ("0x10", 16),
            ("lowdelay", 0x10),
            ("EF", 0xb8),
            ("af11", 0x28),
            ("af43", 0x98),
            ("cs7", 0xe0),
        ];
        for (text, value) in table {
            assert_eq!(type_of_service(text), Ok(value), "{text}");
        }
        for text in ["", "256", "-1", "0x100", "af44", "af51", "cs8", "fast", "é"] {
            assert!(type_of_service(text).is_err(), "{text}");
        }
    }
}
