//! The options of a proxy.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// The proxy to connect through.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Proxy {
    // The ids hold the group's name, because `at` and `user` would be ids of the whole parser.
    /// Connect through this proxy, which looks up HOST (default port: 1080; 3128 with -X connect)
    #[arg(id = "proxy", short = 'x', long = "proxy", value_name = "ADDR[:PORT]")]
    pub at: Option<String>,

    #[arg(id = "proxy-type", short = 'X', long = "proxy-type", value_name = "4|5|connect")]
    #[arg(hide_possible_values = true, help = TYPE)]
    pub protocol: Option<ProxyType>,

    /// User for the proxy; the password is REMOTE_PROXY_PASSWORD in the environment, or asked for at the terminal
    #[arg(id = "proxy-user", short = 'P', long = "proxy-user", value_name = "USER")]
    pub user: Option<String>,

    /// Take the password for the proxy from the first line of FILE
    #[arg(id = "proxy-password-file", long = "proxy-password-file", value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

/// Protocols of proxies. The names that ncat has for them are accepted too.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum ProxyType {
    #[value(alias = "http")]
    Connect,
    #[value(name = "4", alias = "socks4")]
    Socks4,
    #[value(name = "5", alias = "socks5")]
    Socks5,
}

const TYPE: &str = "What the proxy speaks: SOCKS 4 (4a for a name), SOCKS 5 (the default), or HTTP CONNECT";
