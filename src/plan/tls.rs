//! `--tls`: who is trusted, and who we are.

use std::path::PathBuf;

use crate::cli::Args;

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
    pub own: Option<(PathBuf, PathBuf)>,
}

/// Who may have signed the other side's certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Trust {
    /// A pin says enough.
    Anybody,
    File(PathBuf),
    /// Nothing is verified: of a server because it was asked for, of a client because none is.
    Nothing,
    System,
}

impl Tls {
    /// Whether the other side has to prove who it is.
    pub fn verifies(&self) -> bool {
        self.trust != Trust::Nothing || !self.pins.is_empty()
    }

    /// What was asked for; `None` without `--tls`.
    pub fn new(args: &Args) -> Option<Self> {
        let trust = match (&args.tls_ca, &args.tls_client_ca) {
            (Some(file), _) | (_, Some(file)) => Trust::File(file.clone()),
            _ if !args.tls_pin.is_empty() => Trust::Anybody,
            _ if args.tls_insecure || args.listen => Trust::Nothing,
            _ => Trust::System,
        };
        let own = args.tls_cert.clone().map(|file| {
            let key = args.tls_key.clone().unwrap_or_else(|| file.clone());
            (file, key)
        });
        args.tls.then(|| Self {
            name: args.tls_name.clone(),
            trust,
            pins: args.tls_pin.clone(),
            alpn: args.tls_alpn.clone(),
            own,
        })
    }
}
