//! The flags of `remote` itself.

use std::{path::PathBuf, time::Duration};

use clap::Parser;

use super::{
    clients::Clients,
    groups::{Addresses, Limits, Messages, Transfer, Transport, Where},
    program::Program,
    proxy::Proxy,
    socket::Socket,
    tls::Tls,
    units,
};

/// The command line of `remote`, as typed. The docs of the options are their help.
#[derive(Debug, Parser)]
#[group(skip)]
#[command(name = "remote", version, about, max_term_width = 100, override_usage = USAGE)]
#[command(after_help = UNITS)]
pub struct Args {
    #[arg(value_name = "HOST", help = HOST)]
    pub host: Option<String>,

    // As typed: names, lists and ranges are parsed by `plan`, which knows the transport and whether -z was given.
    /// Number or service name (default: random); with -z also lists and ranges: 22,80,8000-8010
    #[arg(value_name = "PORT")]
    pub ports: Vec<String>,

    // The help lists options in this order: that of the groups.
    #[command(flatten)]
    pub addresses: Addresses,

    #[command(flatten)]
    pub at: Where,

    /// Come from this port
    #[arg(long, value_name = "PORT", allow_negative_numbers = true)]
    pub source_port: Option<String>,

    /// Bind to the device, that of -i or of the route: traffic can use no other
    #[arg(short)]
    pub bind_device: bool,

    #[command(flatten)]
    pub transport: Transport,

    /// Use UNIX sockets: a PATH in place of HOST and PORT, or @NAME in the abstract name space
    #[arg(short = 'U', long)]
    pub unix: bool,

    /// Only look which ports are open, and send nothing over TCP
    #[arg(short)]
    pub z: bool,

    #[command(flatten)]
    pub transfer: Transfer,

    #[command(flatten)]
    pub limits: Limits,

    /// Wait between sends: of a line of stdin, a datagram, a chunk of a file
    #[arg(short, long, value_name = "TIME", value_parser = units::time, allow_negative_numbers = true)]
    pub delay: Option<Duration>,

    /// End after so much silence once one side has ended (default: 2s for a silent pipe, 1s for UDP)
    #[arg(short, long, value_name = "TIME", value_parser = units::time, allow_negative_numbers = true)]
    pub quit: Option<Duration>,

    // OpenBSD's nc half-closes only with -N; here it takes back an earlier --no-shutdown, as that of an alias.
    /// Pass the end of our input on (the default)
    #[arg(short = 'N', overrides_with = "no_shutdown")]
    pub shutdown: bool,

    /// Leave the connection open at the end of our input
    #[arg(long)]
    pub no_shutdown: bool,

    /// Go on sending for as long as it takes when the peer has ended
    #[arg(long)]
    pub half_open: bool,

    /// Send CR LF for each LF
    #[arg(short = 'C', long)]
    pub crlf: bool,

    /// Speak to a telnet server: refuse what it negotiates, and take that out of what it says
    #[arg(short, long)]
    pub telnet: bool,

    // Without require_equals, the option would take the host for its level.
    /// Compress what is sent, decompress what comes, on both sides; LEVEL 1 to 19 (default: 3)
    #[arg(long, value_name = "LEVEL", num_args = 0..=1, require_equals = true, default_missing_value = "3")]
    #[arg(value_parser = clap::value_parser!(i32).range(1..=19))]
    pub zstd: Option<i32>,

    /// Cut files into datagrams of this size, or with -d into chunks (default: 1400)
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub datagram: Option<u64>,

    /// End after N datagrams have come
    #[arg(short = 'W', value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub packets: Option<u64>,

    #[command(flatten)]
    pub clients: Clients,

    #[command(flatten)]
    pub program: Program,

    #[command(flatten)]
    pub tls: Tls,

    #[command(flatten)]
    pub proxy: Proxy,

    /// Write what goes over the wire to FILE as a hex dump (-: stderr)
    #[arg(short, value_name = "FILE")]
    pub output: Option<PathBuf>,

    #[command(flatten)]
    pub messages: Messages,

    #[command(flatten)]
    pub socket: Socket,
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
    use std::ffi::OsString;

    use clap::CommandFactory;

    use super::*;
    use crate::cli::{Practice, Relay};

    fn read(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(std::iter::once("remote").chain(line.split_whitespace()).map(OsString::from))
    }

    #[test]
    fn the_definitions_are_sound() {
        Args::command().debug_assert();
        Practice::command().debug_assert();
        Relay::command().debug_assert();
    }

    #[test]
    fn short_options_can_be_grouped() {
        let args = read("-lvnp 1234").unwrap();
        assert!(args.at.listen && args.messages.verbose == 1 && args.addresses.no_lookup);
        assert_eq!(args.at.port.as_deref(), Some("1234"));
        assert_eq!(read("-lp1234").unwrap().at.port.as_deref(), Some("1234"));

        let args = read("-klu 53").unwrap();
        assert!(
            args.clients.keep_open
                && args.at.listen
                && args.transport.udp
                && args.host.as_deref() == Some("53")
        );

        let args = read("-zv host 1 2 3").unwrap();
        assert!(args.z && args.messages.verbose == 1 && args.ports == ["1", "2", "3"]);
        assert_eq!(read("-vv host 1").unwrap().messages.verbose, 2);

        let args = read("host -u 53 -w 1.5").unwrap();
        assert!(
            args.transport.udp
                && args.ports == ["53"]
                && args.transfer.idle_timeout == Some(Duration::from_millis(1500))
        );

        assert_eq!(read("-- relay 80").unwrap().host.as_deref(), Some("relay"));
    }

    #[test]
    fn receive_takes_an_optional_value() {
        let path = |text: &str| Some(Some(PathBuf::from(text)));
        assert_eq!(read("-l -r").unwrap().transfer.receive, Some(None));
        assert_eq!(read("-l -r -p 9").unwrap().transfer.receive, Some(None));
        assert_eq!(read("-l -r f 9").unwrap().transfer.receive, path("f"));
        assert_eq!(read("-l -rf 9").unwrap().transfer.receive, path("f"));
        assert_eq!(read("-l --receive=f 9").unwrap().transfer.receive, path("f"));
        assert_eq!(read("-l -r - 9").unwrap().transfer.receive, path("-"));
        assert_eq!(read("-l 9").unwrap().transfer.receive, None);
    }

    #[test]
    fn zstd_takes_its_level_after_an_equals_sign_only() {
        let args = read("--zstd 9 10").unwrap();
        assert_eq!((args.zstd, args.host.as_deref()), (Some(3), Some("9")));
        assert_eq!(read("--zstd=19 host 10").unwrap().zstd, Some(19));
        assert_eq!(read("host 10").unwrap().zstd, None);
        for level in ["0", "20", "-1", "fast", ""] {
            assert!(read(&format!("--zstd={level} host 10")).is_err(), "{level}");
        }
    }
}
