//! The flags of `remote relay`.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum, value_parser};

use super::{
    groups::{AddressLimit, Addresses, Limits, Messages, Transfer, Where},
    tls::Tls,
    units,
};

/// The command line of the relay and of its clients, as typed. The docs of the options are their help.
#[derive(Debug, Parser)]
#[group(skip)]
#[command(name = "remote relay", about = ABOUT, max_term_width = 100, override_usage = USAGE, after_help = AFTER)]
pub struct Relay {
    /// HOST PORT NAME of a client (default port: 8080); with -l the address and port to listen at
    #[arg(value_name = "HOST PORT NAME", num_args = 0..=3)]
    pub places: Vec<String>,

    #[command(flatten)]
    pub at: Where,

    #[command(flatten)]
    pub addresses: Addresses,

    /// Send to this name; without it, each line of stdin is 'dest|text'
    #[arg(long, value_name = "NAME")]
    pub to: Option<String>,

    #[command(flatten)]
    pub transfer: Transfer,

    #[command(flatten)]
    pub limits: Limits,

    /// The token of the relay is the first line of FILE
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// The key of NAME is the first line of FILE
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,

    /// Clients at once (default: as many as there are descriptors for)
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    pub max_clients: Option<u32>,

    #[command(flatten)]
    pub per_address: AddressLimit,

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

    #[command(flatten)]
    pub messages: Messages,
}

/// Form in which messages are delivered to a client.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Deliver {
    Framed,
    Raw,
}

const ABOUT: &str = "Clients with names, who send each other messages through one port";

/// The help of options that mean something else than in `remote`.
pub const WORDS: [(&str, &str); 11] = [
    ("listen", "Be the relay, and listen"),
    ("port", "Port of the relay (default: 8080; with -l, 0 is a random one)"),
    ("source", "Use this source address; with -l listen at it"),
    ("interface", "Use this interface"),
    ("send_only", "Only send; ends as soon as the relay has heard all of it"),
    ("lines", "A message for each line, its end included"),
    ("idle_timeout", "End after so much silence: well if something came (exit 1 if nothing did)"),
    (
        "retry",
        "Try again N times, once a second, until it connects, and when the relay has gone (or: forever)",
    ),
    ("max_per_ip", "Clients of one address at once, loopback excepted; 0: no limit (default: 256)"),
    ("json", "Print what happened as JSON on stderr: one object a session, or with -l an event"),
    ("verbose", "Say what happens: with -l, a line for each client that comes or goes"),
];

const USAGE: &str =
    "remote relay -l [OPTIONS] [ADDR] [PORT]\n       remote relay [OPTIONS] HOST [PORT] NAME [--to NAME]";

const AFTER: &str = "\
Times take decimals and ms, s, m or h; a bare number is seconds. Sizes take k, M, G (1000) and Ki, Mi, Gi (1024).
Exit status: as that of remote; the end of the relay is 1.";
