//! `--tls`: who is trusted, and who we are.

use std::path::PathBuf;

use anyhow::Result;

use super::usage;
use crate::cli;

/// How the connection is encrypted.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The name that the certificate has to be for, if it is not the host's.
    pub name: Option<String>,
    pub trust: Trust,
    /// The keys that the other side may have (SHA-256); empty for any.
    pub pins: Vec<[u8; 32]>,
    /// The protocols of ALPN (RFC 7301).
    pub alpn: Vec<String>,
    /// Our certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Who may have signed the other side's certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Trust {
    /// The certificates in a file (PEM).
    CaFile(PathBuf),
    /// No certificate: a pinned key is enough.
    Pins,
    /// The roots of the system.
    System,
    /// Verification is off: `--tls-insecure`, or a listener that asks for no client certificate.
    Unverified,
}

impl Tls {
    /// Whether the other side has to prove who it is.
    pub fn verifies(&self) -> bool {
        self.trust != Trust::Unverified || !self.pins.is_empty()
    }

    /// What was asked for; `None` if TLS was not, which `switch` does: an option that was given, or not.
    pub fn from_args(args: &cli::Tls, listen: bool, switch: (&str, bool)) -> Result<Option<Self>> {
        refuse(args, listen, switch)?;
        let trust = match (&args.ca, &args.client_ca) {
            (Some(file), _) | (_, Some(file)) => Trust::CaFile(file.clone()),
            _ if !args.pin.is_empty() => Trust::Pins,
            _ if args.insecure || listen => Trust::Unverified,
            _ => Trust::System,
        };
        let identity = args.cert.clone().map(|file| {
            let key = args.key.clone().unwrap_or_else(|| file.clone());
            (file, key)
        });
        Ok(switch.1.then(|| Self {
            name: args.name.clone(),
            trust,
            pins: args.pin.clone(),
            alpn: args.alpn.clone(),
            identity,
        }))
    }
}

fn refuse(args: &cli::Tls, listen: bool, (switch, on): (&str, bool)) -> Result<()> {
    let given = [
        (args.ca.is_some(), "--tls-ca"),
        (!args.pin.is_empty(), "--tls-pin"),
        (args.name.is_some(), "--tls-name"),
        (!args.alpn.is_empty(), "--tls-alpn"),
        (args.cert.is_some(), "--tls-cert"),
        (args.key.is_some(), "--tls-key"),
        (args.client_ca.is_some(), "--tls-client-ca"),
        (args.insecure, "--tls-insecure"),
    ];
    if let Some((_, option)) = given.into_iter().find(|(given, _)| *given && !on) {
        return usage(format!("{option} needs {switch}"));
    }
    let verified = args.ca.is_some() || !args.pin.is_empty();
    let table = [
        (args.key.is_some() && args.cert.is_none(), "--tls-key needs --tls-cert"),
        (args.insecure && verified, "--tls-insecure verifies nothing: leave out --tls-ca and --tls-pin"),
        (listen && args.ca.is_some(), "--tls-ca verifies a server; for clients it is --tls-client-ca"),
        (listen && args.name.is_some(), "--tls-name is for connecting"),
        (listen && args.insecure, "--tls-insecure is for connecting"),
        (!listen && args.client_ca.is_some(), "--tls-client-ca needs -l; for connecting it is --tls-ca"),
    ];
    match table.into_iter().find(|(is_so, _)| *is_so) {
        Some((_, why)) => usage(why),
        None => Ok(()),
    }
}
