//! `--tls`: trust in the peer, and our own certificate.

use std::path::PathBuf;

use crate::cli;

/// Encryption of the connection.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The name that the peer's certificate must have, if not HOST.
    pub name: Option<String>,
    pub trust: Trust,
    /// SHA-256 of the keys that the peer may have; empty for any key.
    pub pins: Vec<[u8; 32]>,
    /// The protocols of ALPN (RFC 7301).
    pub alpn: Vec<String>,
    /// The files of our certificate and of its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// The signers that the peer's certificate may have.
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
    /// Whether the peer has to prove its identity.
    pub fn verifies(&self) -> bool {
        self.trust != Trust::Unverified || !self.pins.is_empty()
    }

    /// Plans TLS for a listener or for a client.
    pub(super) fn from_args(args: &cli::Tls, listen: bool) -> Self {
        // A pin replaces the chain of trust unless a file of certificates is given, too.
        let trust = match (&args.ca, &args.client_ca) {
            (Some(file), _) | (_, Some(file)) => Trust::CaFile(file.clone()),
            _ if !args.pin.is_empty() => Trust::Pins,
            _ if args.insecure || listen => Trust::Unverified,
            _ => Trust::System,
        };

        // A PEM file may hold both (RFC 7468).
        let identity = args.cert.clone().map(|file| {
            let key = args.key.clone().unwrap_or_else(|| file.clone());
            (file, key)
        });
        Self { name: args.name.clone(), trust, pins: args.pin.clone(), alpn: args.alpn.clone(), identity }
    }
}
