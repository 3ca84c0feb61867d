//! The flags of `remote practice`.

use std::{path::PathBuf, time::Duration};

use clap::Parser;

use super::{
    groups::{Limits, Messages, Transport, Where},
    units,
};

/// The command line of the practice servers, as typed. The docs of the options are their help.
#[derive(Debug, Parser)]
#[group(skip)]
#[command(name = "remote practice", about = ABOUT, max_term_width = 100, override_usage = USAGE, after_help = AFTER)]
pub struct Practice {
    #[arg(value_name = "HOST PORT", num_args = 0..=2, help = PLACES)]
    pub places: Vec<String>,

    // Behind `--` only: its words could not be told from HOST and PORT.
    /// One command in place of the prompt, as: -- stream 1000 10ms
    #[arg(value_name = "COMMAND", last = true)]
    pub command: Vec<String>,

    #[command(flatten)]
    pub at: Where,

    /// The same over UDP (default: 8121)
    #[arg(long, value_name = "PORT")]
    pub udp_port: Option<u16>,

    /// TCP port of the file conversation (default: 8122)
    #[arg(long, value_name = "PORT")]
    pub files_port: Option<u16>,

    #[command(flatten)]
    pub transport: Transport,

    #[command(flatten)]
    pub limits: Limits,

    /// Serve the files in DIR, to be listed and downloaded
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,

    /// Over UDP, answer strangers with more than they have sent: whoever forges an address floods its owner
    #[arg(long)]
    pub open: bool,

    /// Number the packets of streams, counting down to 1
    #[arg(long)]
    pub sequence: bool,

    /// Between the marker and a file over TCP: old clients take what comes with the marker for the marker (default: 50ms)
    #[arg(long, value_name = "TIME", value_parser = units::time)]
    pub marker_pause: Option<Duration>,

    // For a client that starts servers of its own: they must not outlive it.
    /// End with stdin
    #[arg(long, hide = true)]
    pub while_open: bool,

    #[command(flatten)]
    pub messages: Messages,
}

const ABOUT: &str =
    "Servers to learn networks with: echo, files made on demand, timed streams, a folder to download from";

const PLACES: &str =
    "Whose servers to use, and their TCP port; without HOST, servers of one's own are started";

/// The help of options that mean something else than in `remote`.
pub const WORDS: [(&str, &str); 8] = [
    ("listen", "Be the servers, and listen"),
    ("port", "TCP port: echo, files that are made, streams (default: 8120; 0: a random one)"),
    ("source", "Listen at this address (default: loopback only)"),
    ("udp", "Ask over UDP"),
    ("force", "Replace files that exist"),
    ("timeout", "Time for connecting, name look-up included (default: none)"),
    ("json", "Print what came of a stream as JSON, on stderr"),
    ("verbose", "Say what is asked for: a line for each request"),
];

const USAGE: &str =
    "remote practice -l [OPTIONS]\n       remote practice [OPTIONS] [HOST [PORT]] [-- COMMAND]";

const AFTER: &str = "\
A request is a line, or what one datagram brings: text comes back in upper case; a number N, up to 123456789, brings
'file_prepared' and N bytes; stream-MS-COUNT and stream-MS-COUNT-SIZE bring COUNT packets, one every MS milliseconds.
Times take decimals and ms, s, m or h; a bare number is seconds.";
