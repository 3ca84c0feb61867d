//! The plan of one session: input, output, and the treatment of the bytes between them.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;

use super::{program::Program, usage::usage};
use crate::{
    cli::{Args, Transfer},
    net::{Transport, address::literal},
};

/// The plan of a session.
#[derive(Clone, Debug)]
pub struct Session {
    pub transport: Transport,
    pub role: Role,
    pub direction: Direction,
    pub input: Outgoing,
    pub output: Incoming,
    /// Whether sending goes on without a time limit after the end of the peer.
    pub half_open: bool,
    /// With `-s`: an empty datagram follows the last one, and marks the end.
    pub send_eof_datagram: bool,
    /// With `-r`: an empty datagram is the end, and so is silence.
    pub honor_eof_datagram: bool,
    /// `-q`.
    pub quit: Option<Duration>,
    /// `-w`.
    pub idle: Option<Duration>,
    /// `-N`: the end of the input is passed on to the peer.
    pub pass_eof: bool,
    /// `-C`: LF becomes CR LF.
    pub crlf: bool,
    /// `-t`.
    pub telnet: bool,
    /// `--zstd`: the level.
    pub zstd: Option<i32>,
    /// Whether lines are kept whole: each is a datagram, or a write.
    pub lines: bool,
    /// `--datagram`: bytes.
    pub datagram_size: usize,
    /// Bytes per second.
    pub rate: Option<u64>,
    /// `-d`: pause between two sends.
    pub delay: Option<Duration>,
    /// `-W`.
    pub max_datagrams: Option<u64>,
    /// Whether the BLAKE3 digests are printed.
    pub digest: bool,
    /// `-o`.
    pub dump: Option<PathBuf>,
    /// The program in the place of input and output.
    pub program: Option<Program>,
    /// Whether the process gives up the rights that it does not need.
    pub sandbox: bool,
}

/// The way in which a session comes about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    Connect,
    /// The first client has the only session.
    ListenOnce,
    /// One session of many (`-k`).
    Serve,
}

/// The directions in which bytes travel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    Both,
    /// `--recv-only`, and `-r` without `-s`.
    Receive,
    /// `--send-only`.
    Send,
}

/// The source of the bytes to send.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outgoing {
    File(PathBuf),
    Nothing,
    Stdin,
}

/// The destination of received bytes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Incoming {
    /// A new file whose name is made.
    Automatic,
    File {
        path: PathBuf,
        force: bool,
    },
    Nowhere,
    Stdout,
}

impl Session {
    /// Plans a session of `remote`. Fails if the program of `-e` does not exist.
    pub(super) fn from_args(args: &Args, transport: Transport) -> Result<Self> {
        let program = Program::from_args(&args.program)?;
        let transfer = Self::from_transfer(&args.transfer, args.limits.force, transport);
        let listen = args.at.listen;
        // A program serves one datagram, and answers it.
        let one_datagram = program.is_some() && listen && transport == Transport::Datagram;

        Ok(Self {
            role: match (listen, args.clients.keep_open) {
                (false, _) => Role::Connect,
                (true, false) => Role::ListenOnce,
                (true, true) => Role::Serve,
            },
            // The program takes the place of both.
            input: if program.is_some() { Outgoing::Nothing } else { transfer.input },
            output: if program.is_some() { Incoming::Nowhere } else { transfer.output },
            half_open: args.half_open,
            send_eof_datagram: args.transfer.send.is_some() && !args.no_shutdown,
            // To a program, an empty datagram is the end of its input.
            honor_eof_datagram: args.transfer.receive.is_some() || program.is_some() && listen,
            quit: args.quit,
            // -N is the default, and overrides --no-shutdown in the parser.
            pass_eof: !args.no_shutdown,
            crlf: args.crlf,
            telnet: args.telnet,
            zstd: args.zstd,
            datagram_size: args.datagram.map_or(DATAGRAM, |size| usize::try_from(size).unwrap_or(DATAGRAM)),
            delay: args.delay,
            max_datagrams: if one_datagram { Some(1) } else { args.packets },
            dump: args.output.clone(),
            program,
            sandbox: !args.limits.no_sandbox,
            ..transfer
        })
    }

    /// Plans a session of a client: with the options that clients of the relay have too, and nothing else.
    pub(super) fn from_transfer(args: &Transfer, force: bool, transport: Transport) -> Self {
        let direction = Direction::from_args(args);
        let input = match &args.send {
            _ if direction == Direction::Receive => Outgoing::Nothing,
            Some(path) if path != Path::new("-") => Outgoing::File(path.clone()),
            Some(_) | None => Outgoing::Stdin,
        };
        let output = match &args.receive {
            _ if direction == Direction::Send => Incoming::Nowhere,
            None => Incoming::Stdout,
            Some(Some(path)) if path == Path::new("-") => Incoming::Stdout,
            // The seed's spelling of an automatic name is `None`; `./None` is a file of that name.
            Some(Some(path)) if path != Path::new("None") => Incoming::File { path: path.clone(), force },
            Some(_) => Incoming::Automatic,
        };

        Self {
            transport,
            role: Role::Connect,
            direction,
            input,
            output,
            half_open: false,
            send_eof_datagram: args.send.is_some(),
            honor_eof_datagram: args.receive.is_some(),
            quit: None,
            idle: args.idle_timeout,
            pass_eof: true,
            crlf: false,
            telnet: false,
            zstd: None,
            lines: args.lines,
            datagram_size: DATAGRAM,
            rate: args.rate,
            delay: None,
            max_datagrams: None,
            digest: args.digest,
            dump: None,
            program: None,
            sandbox: true,
        }
    }

    /// Whether the connection can be given away as it is: no byte has to be seen, held back or counted.
    pub fn is_bare(&self) -> bool {
        // A program that has the socket itself reads, writes and ends it past every layer, tap and timer of ours.
        let plain = !self.crlf
            && !self.telnet
            && self.zstd.is_none()
            && !self.lines
            && !self.digest
            && self.dump.is_none()
            && self.pass_eof;
        let untimed =
            self.rate.is_none() && self.delay.is_none() && self.idle.is_none() && self.quit.is_none();
        self.transport == Transport::Stream && plain && untimed
    }
}

impl Direction {
    /// Derives the direction from `--send-only`, `--recv-only`, `-s` and `-r`.
    fn from_args(args: &Transfer) -> Self {
        // Like `curl -o`, -r alone downloads: stdin may be that of a script, which is not for the peer.
        match (args.send_only, args.recv_only || args.receive.is_some() && args.send.is_none()) {
            (true, _) => Self::Send,
            (false, true) => Self::Receive,
            (false, false) => Self::Both,
        }
    }
}

/// Refuses a missing file of `-s` if its name is an address, which `-s` takes in nc.
pub fn check_send_file(path: &Path) -> Result<()> {
    match path.to_str().and_then(literal) {
        // A file whose name is an address may well be meant.
        Some(address) if !path.exists() => {
            let ip = address.ip();
            usage(format!("-s sends a file, and there is none called '{ip}'; the source address is -a {ip}"))
        }
        _ => Ok(()),
    }
}

/// Bytes of a datagram that crosses any usual link in one piece.
const DATAGRAM: usize = 1400;

/// Bytes: 65,535 less the headers of IPv4 and UDP.
pub const LARGEST_DATAGRAM: usize = 65_507;
