//! The plan to scan.

use std::time::Duration;

use anyhow::Result;

use super::{
    host_ports::HostPorts,
    sockets::{self, check_family},
    usage::{to_usage, usage},
};
use crate::{
    cli::Args,
    net::{SocketConfig, port},
};

/// Scan for open ports.
#[derive(Debug)]
pub struct Scan {
    pub host: String,
    /// The ports, in the order in which they are reported.
    pub ports: Vec<u16>,
    pub socket_config: SocketConfig,
    /// For each port.
    pub timeout: Option<Duration>,
    /// Further scans while no port is open.
    pub retry: u64,
}

impl Scan {
    /// Plans `remote -z HOST PORT…`.
    pub(super) fn from_args(args: &Args, place: HostPorts) -> Result<Self> {
        let socket_config = sockets::of_remote(args, &place)?;
        if let Some(host) = &place.host {
            check_family(host, socket_config.only)?;
        }

        let (host, ports) = match place.host {
            // `22 80` and `22,80` mean the same.
            Some(host) if !place.ports.is_empty() => (host, place.ports.join(",")),
            Some(_) => return usage("-z needs ports: HOST 22,80 or HOST 8000-8010"),
            None => return usage("-z needs HOST and ports"),
        };
        let ports = port::parse_list(&ports, place.transport).map_err(to_usage)?;
        // The connection timeout of `nc -z` is -w, so that a scan takes either option.
        let timeout = args.limits.timeout.or(args.transfer.idle_timeout);
        Ok(Self { host, ports, socket_config, timeout, retry: args.transfer.retry.unwrap_or(0) })
    }
}
