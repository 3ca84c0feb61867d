//! The flags of `remote relay`.

use std::{path::PathBuf, time::Duration};

use clap::{ArgAction, Parser, ValueEnum};

use super::{Tls, retries, units};

/// The command line of the relay and of its clients, as it was typed.
#[derive(Debug, Parser)]
#[command(name = "remote relay", about = ABOUT, max_term_width = 100, override_usage = USAGE, after_help = AFTER)]
pub struct Relay {
    /// HOST PORT NAME of a client (default port: 8080); with -l the address and port to listen at
    #[arg(value_name = "HOST PORT NAME", num_args = 0..=3)]
    pub places: Vec<String>,

    /// Be the relay, and listen
    #[arg(short, long)]
    pub listen: bool,

    /// Port of the relay (default: 8080; with -l, 0 is a random one)
    #[arg(short, long, value_name = "PORT", allow_negative_numbers = true)]
    pub port: Option<String>,

    /// Use this source address; with -l listen at it
    #[arg(short = 'a', long = "source", value_name = "ADDR")]
    pub source: Option<String>,

    /// Use this interface
    #[arg(short, long, value_name = "NAME")]
    pub interface: Option<String>,

    /// Use IPv4 only
    #[arg(short = '4', long = "ip4")]
    pub ip4: bool,

    /// Use IPv6 only
    #[arg(short = '6', long = "ip6")]
    pub ip6: bool,

    /// Look up no names: HOST must be an address
    #[arg(short = 'n')]
    pub no_lookup: bool,

    /// Send to this name; without it, each line of stdin is 'dest|text'
    #[arg(long, value_name = "NAME")]
    pub to: Option<String>,

    /// Send FILE in place of stdin (-: stdin)
    #[arg(short, long, value_name = "FILE")]
    pub send: Option<PathBuf>,

    /// Receive into FILE in place of stdout (-: stdout; without FILE, or None: a name of its own)
    #[arg(short, long, value_name = "FILE", num_args = 0..=1)]
    pub receive: Option<Option<PathBuf>>,

    /// Replace the FILE of -r if it exists
    #[arg(long)]
    pub force: bool,

    /// Only send; ends as soon as the relay has heard all of it
    #[arg(long)]
    pub send_only: bool,

    /// Only receive; stdin is not read
    #[arg(long)]
    pub recv_only: bool,

    /// A message for each line, its end included
    #[arg(long)]
    pub lines: bool,

    /// End after so much silence: well if something came (exit 1 if nothing did)
    #[arg(short = 'w', long = "idle-timeout", value_name = "TIME", value_parser = units::time)]
    pub idle_timeout: Option<Duration>,

    /// Time for connecting, over all addresses together, name look-up included (default: none)
    #[arg(short = 'T', long = "timeout", value_name = "TIME", value_parser = units::time)]
    pub timeout: Option<Duration>,

    /// Try again N times, once a second, until it connects, and when the relay has gone (or: forever)
    #[arg(long, value_name = "N", value_parser = retries)]
    pub retry: Option<u64>,

    /// Send at most SIZE a second
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub rate: Option<u64>,

    /// Print the BLAKE3 digest and the size of what went each way
    #[arg(long)]
    pub digest: bool,

    /// Show the progress of a transfer (default: on a terminal)
    #[arg(long, overrides_with = "no_progress")]
    pub progress: bool,

    /// Show no progress
    #[arg(long)]
    pub no_progress: bool,

    /// The token of the relay is the first line of FILE
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// The key of NAME is the first line of FILE
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,

    /// Clients at once (default: as many as there are descriptors for)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_clients: Option<u32>,

    /// Clients of one address at once, loopback excepted; 0: no limit (default: 256)
    #[arg(long, value_name = "N")]
    pub max_per_ip: Option<u32>,

    /// Bytes of a message at most (default: no limit)
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub max_message: Option<u64>,

    /// Bytes on their way at once, all clients together (default: 256Mi)
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub buffer: Option<u64>,

    /// Disconnect who accepts less than 4 KiB in so long, if there is something for it (default: 10s)
    #[arg(long, value_name = "TIME", value_parser = units::time)]
    pub stall: Option<Duration>,

    /// Disconnect who says nothing for so long (default: 30s)
    #[arg(long, value_name = "TIME", value_parser = units::time)]
    pub idle: Option<Duration>,

    /// Disconnect who has not registered after so long (default: 3s)
    #[arg(long, value_name = "TIME", value_parser = units::time)]
    pub register_timeout: Option<Duration>,

    /// Deliver the payload and nothing else, or each message behind 'sender|length|' (default: raw)
    #[arg(long, value_name = "raw|framed", hide_possible_values = true)]
    pub deliver: Option<Deliver>,

    /// Only names that stand in FILE, a line each: the name, a space, and the SHA-256 of its key in hex
    #[arg(long, value_name = "FILE")]
    pub names: Option<PathBuf>,

    /// Listen at this port, too, for clients that come with --tls
    #[arg(long, value_name = "PORT")]
    pub tls_port: Option<u16>,

    #[command(flatten)]
    pub tls: Tls,

    /// Serve figures for Prometheus at this port (default ADDR: 127.0.0.1)
    #[arg(long, value_name = "ADDR:PORT")]
    pub metrics: Option<String>,

    /// Keep the right to open other files and connections after set-up, which is given up where the kernel can
    #[arg(long)]
    pub no_sandbox: bool,

    /// Print what happened as JSON on stderr: one object a session, or with -l an event
    #[arg(long)]
    pub json: bool,

    /// Say nothing but errors
    #[arg(short = 'Q', long)]
    pub quiet: bool,

    /// Say what happens: with -l, a line for each client that comes or goes
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
}

/// What a client receives.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Deliver {
    Framed,
    Raw,
}

const ABOUT: &str = "Clients with names, who send each other messages through one port";

const USAGE: &str =
    "remote relay -l [OPTIONS] [ADDR] [PORT]\n       remote relay [OPTIONS] HOST [PORT] NAME [--to NAME]";

const AFTER: &str = "\
Times take decimals and ms, s, m or h; a bare number is seconds. Sizes take k, M, G (1000) and Ki, Mi, Gi (1024).
Exit status: as that of remote; the end of the relay is 1.";
