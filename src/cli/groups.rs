//! Options that several commands take, each written once. The texts are those of `remote`; a command for which they
//! say too little has words of its own.
//!
//! `group(skip)` keeps clap from making an argument group of every struct, which costs time and would be of no use.

use std::{path::PathBuf, time::Duration};

use clap::{ArgAction, Args};

use super::units;

/// Addresses and interfaces that may be used.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Addresses {
    /// Use IPv4 only
    #[arg(short = '4', long = "ip4")]
    pub ip4: bool,

    /// Use IPv6 only
    #[arg(short = '6', long = "ip6")]
    pub ip6: bool,

    /// Look up no names: HOST must be an address
    #[arg(short = 'n')]
    pub no_lookup: bool,

    /// Use this interface: its address is the source address
    #[arg(short, long, value_name = "NAME")]
    pub interface: Option<String>,
}

/// The side of a connection, and our own address.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Where {
    /// Listen for incoming connections
    #[arg(short, long)]
    pub listen: bool,

    // A negative number gets our message about ports, and not that of clap about an unknown option.
    /// Port to listen on, or to connect to; if PORT is given too, the port to come from
    #[arg(short, long, value_name = "PORT", allow_negative_numbers = true)]
    pub port: Option<String>,

    /// Use this source address
    #[arg(short = 'a', long = "source", value_name = "ADDR")]
    pub source: Option<String>,
}

/// The transport protocol.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Transport {
    /// Use UDP (default: TCP)
    #[arg(short, long)]
    pub udp: bool,
}

/// Input and output of a session, and its pace.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Transfer {
    /// Send FILE in place of stdin (-: stdin)
    #[arg(short, long, value_name = "FILE")]
    pub send: Option<PathBuf>,

    /// Receive into FILE in place of stdout (-: stdout; without FILE, or None: a name of its own)
    #[arg(short, long, value_name = "FILE", num_args = 0..=1)]
    pub receive: Option<Option<PathBuf>>,

    /// Only send; what comes is dropped
    #[arg(long)]
    pub send_only: bool,

    /// Only receive; stdin is not read
    #[arg(long)]
    pub recv_only: bool,

    /// Keep lines whole: a datagram, or a write, for each
    #[arg(long)]
    pub lines: bool,

    /// Give up when nothing moves for so long: connecting, waiting for a client, or in a session (exit 1)
    #[arg(short = 'w', long, value_name = "TIME", value_parser = units::time, allow_negative_numbers = true)]
    pub idle_timeout: Option<Duration>,

    /// Try again N times, once a second, until it connects (or: forever)
    #[arg(long, value_name = "N", value_parser = retries)]
    pub retry: Option<u64>,

    /// Send at most SIZE a second
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub rate: Option<u64>,

    /// Print the BLAKE3 digest and the size of what went each way
    #[arg(long)]
    pub digest: bool,
}

/// Bounds on what the process may do, and for how long.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Limits {
    /// Replace the FILE of -r if it exists
    #[arg(long)]
    pub force: bool,

    /// Time for connecting, over all addresses together, name look-up included (default: none)
    #[arg(short = 'T', long, value_name = "TIME", value_parser = units::time, allow_negative_numbers = true)]
    pub timeout: Option<Duration>,

    /// Keep the right to open other files and connections after set-up, which is given up where the kernel can
    #[arg(long)]
    pub no_sandbox: bool,
}

/// Clients of one address.
#[derive(Debug, Args)]
#[group(skip)]
pub struct AddressLimit {
    /// Let in at most N clients of an address at once (of IPv6, of a /64 network)
    // 0 is no limit for the relay; `plan` refuses it in `remote`. To change the parser there would cost 2 % of a start.
    #[arg(long, value_name = "N")]
    pub max_per_ip: Option<u32>,
}

/// Amount and form of the messages on stderr.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Messages {
    /// Print what happened as JSON, one object a session, on stderr
    #[arg(long)]
    pub json: bool,

    // Of two that contradict each other the last one counts, so that an alias of a shell can be overridden.
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
}

/// Parses a count of further attempts.
fn retries(text: &str) -> Result<u64, String> {
    if text == "forever" {
        // Once a second, 585 billion years.
        return Ok(u64::MAX);
    }
    text.parse().map_err(|_| "a number or 'forever'".into())
}
