//! The options of TLS.

use std::path::PathBuf;

use super::units;

/// Encryption and authentication by TLS.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Tls {
    // Ids are unique in a parser, across all groups: `name` alone would be too general.
    /// Encrypt: connecting, the system's roots and HOST verify the other side; listening, a certificate is made
    #[arg(id = "tls", long = "tls")]
    pub on: bool,

    /// Trust the certificates that those in FILE (PEM) have signed, and not the system's
    #[arg(id = "tls-ca", long = "tls-ca", value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// Trust the other side if its key has this SHA-256 (sha256:…, as a listener prints it); several are possible
    #[arg(id = "tls-pin", long = "tls-pin", value_name = "PIN", value_parser = units::pin)]
    pub pin: Vec<[u8; 32]>,

    /// Expect a certificate for NAME, and ask for it (default: HOST)
    #[arg(id = "tls-name", long = "tls-name", value_name = "NAME")]
    pub name: Option<String>,

    /// Offer or accept these protocols (ALPN): h2,http/1.1
    #[arg(id = "tls-alpn", long = "tls-alpn", value_name = "PROTOCOL", value_delimiter = ',', value_parser = protocol)]
    pub alpn: Vec<String>,

    /// Show the certificate in FILE (PEM)
    #[arg(id = "tls-cert", long = "tls-cert", value_name = "FILE")]
    pub cert: Option<PathBuf>,

    /// Its key (PEM; default: in the same file)
    #[arg(id = "tls-key", long = "tls-key", value_name = "FILE")]
    pub key: Option<PathBuf>,

    /// Listening: let in only clients whose certificate one of those in FILE (PEM) has signed
    #[arg(id = "tls-client-ca", long = "tls-client-ca", value_name = "FILE")]
    pub client_ca: Option<PathBuf>,

    /// Verify nothing: anybody in between can read and change everything
    #[arg(id = "tls-insecure", long = "tls-insecure")]
    pub insecure: bool,
}

/// Parses a protocol name of 1 to 255 bytes (RFC 7301, section 3.1).
fn protocol(text: &str) -> Result<String, String> {
    match text.len() {
        1..=255 => Ok(text.to_owned()),
        _ => Err("the name of a protocol has 1 to 255 bytes".into()),
    }
}
