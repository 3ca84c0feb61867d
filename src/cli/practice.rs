//! The flags of `remote practice`.

use std::{path::PathBuf, time::Duration};

use clap::{ArgAction, Parser};

use super::units;

/// The command line of the practice servers, as it was typed.
#[derive(Debug, Parser)]
#[command(name = "remote practice", about = ABOUT, max_term_width = 100, override_usage = USAGE, after_help = AFTER)]
pub struct Practice {
    /// Whose servers to use, and their TCP port; without HOST, servers of one's own are started
    #[arg(value_name = "HOST PORT", num_args = 0..=2)]
    pub places: Vec<String>,

    /// One command in place of the prompt, as: -- stream 1000 10ms
    #[arg(value_name = "COMMAND", last = true)]
    pub command: Vec<String>,

    /// Be the servers, and listen
    #[arg(short, long)]
    pub listen: bool,

    /// TCP port: echo, files that are made, streams (default: 8120; 0: a random one)
    #[arg(short, long, value_name = "PORT")]
    pub port: Option<u16>,

    /// The same over UDP (default: 8121)
    #[arg(long, value_name = "PORT")]
    pub udp_port: Option<u16>,

    /// TCP port of the file conversation (default: 8122)
    #[arg(long, value_name = "PORT")]
    pub files_port: Option<u16>,

    /// Ask over UDP
    #[arg(short, long)]
    pub udp: bool,

    /// Replace files that exist
    #[arg(long)]
    pub force: bool,

    /// Time for connecting, name look-up included (default: none)
    #[arg(short = 'T', long = "timeout", value_name = "TIME", value_parser = units::time)]
    pub timeout: Option<Duration>,

    /// Show the progress of a transfer (default: on a terminal)
    #[arg(long, overrides_with = "no_progress")]
    pub progress: bool,

    /// Show no progress
    #[arg(long)]
    pub no_progress: bool,

    /// Print what came of a stream as JSON, on stderr
    #[arg(long)]
    pub json: bool,

    /// Serve the files in DIR, to be listed and downloaded
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,

    /// Listen at this address (default: loopback only)
    #[arg(short = 'a', long = "source", value_name = "ADDR")]
    pub source: Option<String>,

    /// Over UDP, answer strangers with more than they have sent: whoever forges an address floods its owner
    #[arg(long)]
    pub open: bool,

    /// Number the packets of streams, counting down to 1
    #[arg(long)]
    pub sequence: bool,

    /// Between the marker and a file over TCP: old clients take what comes with the marker for the marker (default: 50ms)
    #[arg(long, value_name = "TIME", value_parser = units::time)]
    pub marker_pause: Option<Duration>,

    /// Keep the right to open other files and connections after set-up, which is given up where the kernel can
    #[arg(long)]
    pub no_sandbox: bool,

    /// End with stdin
    #[arg(long, hide = true)]
    pub while_open: bool,

    /// Say nothing but errors
    #[arg(short = 'Q', long)]
    pub quiet: bool,

    /// Say what is asked for: a line for each request
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
}

const ABOUT: &str =
    "Servers to learn networks with: echo, files made on demand, timed streams, a folder to download from";

const USAGE: &str =
    "remote practice -l [OPTIONS]\n       remote practice [OPTIONS] [HOST [PORT]] [-- COMMAND]";

const AFTER: &str = "\
A request is a line, or what one datagram brings: text comes back in upper case; a number N, up to 123456789, brings
'file_prepared' and N bytes; stream-MS-COUNT and stream-MS-COUNT-SIZE bring COUNT packets, one every MS milliseconds.
Times take decimals and ms, s, m or h; a bare number is seconds.";
