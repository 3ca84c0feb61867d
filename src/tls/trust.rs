//! Certificates, keys and pins: our own, and those that are trusted.

use std::{
    error::Error,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, anyhow, bail};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, OtherError, RootCertStore,
    ServerConfig, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::{
        NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use sha2::{Digest, Sha256};
use webpki::EndEntityCert;

/// SHA-256 of a certificate's public key (RFC 7469, section 2.4, has the same).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pin(pub [u8; 32]);

impl Pin {
    fn of(certificate: &EndEntityCert<'_>) -> Self {
        Self(Sha256::digest(certificate.subject_public_key_info()).into())
    }
}

/// Formats the pin for `--tls-pin`.
impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The certificates that are accepted.
#[derive(Clone, Debug)]
pub struct Trust {
    pub roots: Roots,
    /// The key must be one of these, if there are any.
    pub pins: Vec<Pin>,
}

/// The authorities that may have signed them.
#[derive(Clone, Debug)]
pub enum Roots {
    /// Any: a pin is enough, or nothing is verified.
    Any,
    File(PathBuf),
    System,
}

impl Trust {
    /// Makes the verifier; `build` makes its part that knows chains.
    fn verifier<C: ?Sized>(
        &self,
        build: impl FnOnce(Arc<RootCertStore>) -> Result<Arc<C>>,
    ) -> Result<Arc<Verifier<C>>> {
        let (chain, named) = match self.load()? {
            Some((roots, named)) => (Some(build(roots)?), named),
            None => (None, Vec::new()),
        };
        Ok(Arc::new(Verifier { chain, named, pins: self.pins.clone() }))
    }

    /// Loads the roots, and the certificates that were named one by one; `None` for any.
    fn load(&self) -> Result<Option<(Arc<RootCertStore>, Vec<CertificateDer<'static>>)>> {
        let mut store = RootCertStore::empty();
        let mut named = Vec::new();

        match &self.roots {
            Roots::Any => return Ok(None),
            Roots::File(path) => {
                named = certificates(path)?;
                for certificate in named.iter().cloned() {
                    store.add(certificate).with_context(|| format!("trust {}", path.display()))?;
                }
            }
            Roots::System => {
                // One bad certificate among the system's must not make all others useless.
                let found = rustls_native_certs::load_native_certs();
                store.add_parsable_certificates(found.certs);
                if store.is_empty() {
                    let why = found.errors.first().map_or_else(String::new, |error| format!(" ({error})"));
                    bail!("this system has no root certificates{why}: --tls-ca FILE, or --tls-pin");
                }
            }
        }

        Ok(Some((store.into(), named)))
    }
}

/// A certificate and its key.
#[derive(Debug)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads PEM files (RFC 7468); one file may hold both.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self> {
        let read = PrivateKeyDer::from_pem_file(key);
        let read = read.map_err(|error| {
            // The parser passes over labels that it does not know: an encrypted key looks like a file without one.
            let is_encrypted = std::fs::read(key).is_ok_and(|text| {
                text.windows(ENCRYPTED.len()).any(|part| part.eq_ignore_ascii_case(ENCRYPTED))
            });
            let why = if is_encrypted {
                "it is encrypted; take the encryption off".to_owned()
            } else {
                pem(&error)
            };
            anyhow!("read the key in {}: {why}", key.display())
        })?;

        Ok(Self { chain: certificates(certificate)?, key: read })
    }

    /// Makes a certificate that signs itself (ECDSA, P-256), for these names and addresses.
    pub fn make(names: Vec<String>) -> Result<Self> {
        // P-256: every TLS 1.2 client knows it.
        let made = rcgen::generate_simple_self_signed(names).context("make a certificate")?;
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der());
        Ok(Self {
            chain: vec![made.cert.der().clone()],
            key: key.map_err(|error| anyhow!("make a key: {error}"))?,
        })
    }

    /// Returns the pin of its key.
    pub fn pin(&self) -> Result<Pin> {
        let first = self.chain.first().context("there is no certificate")?;
        Ok(describe(first)?.1)
    }
}

/// The settings of a client.
#[derive(Clone, Debug)]
pub struct TlsClient {
    pub config: Arc<ClientConfig>,
    pub name: ServerName<'static>,
}

/// The settings of a server.
#[derive(Clone, Debug)]
pub struct TlsServer(pub Arc<ServerConfig>);

/// Makes the settings of a client that connects to `name`, a host name or an address. `own` is its identity, if it has
/// one, and `alpn` are the protocols that it offers.
pub fn client(trust: &Trust, own: Option<Identity>, alpn: &[String], name: &str) -> Result<TlsClient> {
    let known = ServerName::try_from(name.to_owned());
    let name = known.map_err(|_| anyhow!("'{name}' cannot be the name of a certificate: --tls-name"))?;

    // rustls calls every verifier but its own dangerous. Ours runs that one first, unless any signer will do.
    let verifier = trust
        .verifier(|roots| Ok(WebPkiServerVerifier::builder_with_provider(roots, provider()).build()?))?;
    let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let config = config.dangerous().with_custom_certificate_verifier(verifier);

    let mut config = match own {
        Some(own) => config.with_client_auth_cert(own.chain, own.key).map_err(|error| unfit(&error))?,
        None => config.with_no_client_auth(),
    };

    config.alpn_protocols = protocols(alpn);
    // A session is resumed only by a second connection, and there is none.
    config.resumption = Resumption::disabled();
    Ok(TlsClient { config: config.into(), name })
}

/// Makes the settings of a server. `clients` are those that are accepted, and all without it; `alpn` are the protocols
/// that it speaks.
pub fn server(own: Identity, clients: Option<&Trust>, alpn: &[String]) -> Result<TlsServer> {
    let config = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let config =
        match clients {
            // By default, rustls lets no client in without a certificate (ClientCertVerifier::client_auth_mandatory).
            Some(trust) => config.with_client_cert_verifier(trust.verifier(|roots| {
                Ok(WebPkiClientVerifier::builder_with_provider(roots, provider()).build()?)
            })?),
            None => config.with_no_client_auth(),
        };

    let mut config = config.with_single_cert(own.chain, own.key).map_err(|error| unfit(&error))?;

    config.alpn_protocols = protocols(alpn);
    // No session is resumed; and a client that only sends would close with a ticket unread, which is a reset that may
    // overtake its data.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(TlsServer(config.into()))
}

/// Returns the names that a certificate is for, and the pin of its key.
pub fn describe(certificate: &CertificateDer<'_>) -> Result<(Vec<String>, Pin), webpki::Error> {
    let certificate = EndEntityCert::try_from(certificate)?;
    Ok((certificate.valid_dns_names().map(str::to_owned).collect(), Pin::of(&certificate)))
}

/// Describes why a certificate and its key cannot be used.
fn unfit(error: &rustls::Error) -> anyhow::Error {
    match error {
        rustls::Error::InconsistentKeys(_) => anyhow!("the key is not that of the certificate"),
        _ => anyhow!("use the certificate: {error}"),
    }
}

fn provider() -> Arc<CryptoProvider> {
    // Named, because the default of the process depends on the features that other crates turn on in rustls.
    ring::default_provider().into()
}

fn protocols(names: &[String]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.as_bytes().to_vec()).collect()
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found {
        Ok(found) if found.is_empty() => bail!("{} holds no certificate (PEM)", path.display()),
        Ok(found) => Ok(found),
        Err(error) => bail!("read certificates from {}: {}", path.display(), pem(&error)),
    }
}

fn pem(error: &rustls::pki_types::pem::Error) -> String {
    use rustls::pki_types::pem::Error;
    match error {
        Error::Io(error) => crate::sys::reason(error),
        Error::NoItemsFound => "there is none (PEM)".into(),
        _ => "it is not PEM".into(),
    }
}

/// The word in the PEM label or header of an encrypted key (RFC 5958; RFC 1421, section 4.6.1.1).
const ENCRYPTED: &[u8] = b"encrypted";

/// The error that a key is none of `--tls-pin`.
#[derive(Debug)]
struct Unpinned(Pin);

impl fmt::Display for Unpinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the key is not the one of --tls-pin, but {}", self.0)
    }
}

impl Error for Unpinned {}

/// Returns whether a certificate that was named itself is refused only for its signature, or for being an authority.
/// webpki checks its dates before both, and its extended key usage before the first; for the second it must have none.
fn is_only_unsigned(error: &rustls::Error, certificate: &CertificateDer<'_>) -> bool {
    let rustls::Error::InvalidCertificate(error) = error else { return false };
    match error {
        CertificateError::UnknownIssuer => true,
        CertificateError::Other(OtherError(error)) => {
            let restricted =
                certificate.windows(EXTENDED_KEY_USAGE.len()).any(|part| part == EXTENDED_KEY_USAGE);
            error.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity) && !restricted
        }
        _ => false,
    }
}

/// The object identifier 2.5.29.37 in DER (RFC 5280, section 4.2.1.12).
const EXTENDED_KEY_USAGE: &[u8] = &[6, 3, 0x55, 0x1d, 0x25];

/// Verifies the other side: `C` knows chains, those of servers or those of clients.
#[derive(Debug)]
struct Verifier<C: ?Sized> {
    /// `None` where any authority may have signed.
    chain: Option<Arc<C>>,
    /// Certificates that were named themselves. Many self-signed ones claim to be an authority (`openssl req -x509`), which
    /// no other certificate may.
    named: Vec<CertificateDer<'static>>,
    pins: Vec<Pin>,
}

impl<C: ?Sized> Verifier<C> {
    /// Returns whether the error of a chain does not count.
    fn excuses(&self, error: &rustls::Error, certificate: &CertificateDer<'_>) -> bool {
        self.named.contains(certificate) && is_only_unsigned(error, certificate)
    }

    fn check_pin(&self, certificate: &CertificateDer<'_>) -> Result<(), rustls::Error> {
        if self.pins.is_empty() {
            return Ok(());
        }
        // The pin is of the key, so that a renewed certificate keeps it (RFC 7469, section 2.4).
        let (_, pin) = describe(certificate).map_err(|_| CertificateError::BadEncoding)?;
        match self.pins.contains(&pin) {
            true => Ok(()),
            false => Err(CertificateError::Other(OtherError(Arc::new(Unpinned(pin)))).into()),
        }
    }
}

impl ServerCertVerifier for Verifier<WebPkiServerVerifier> {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(chain) = &self.chain {
            match chain.verify_server_cert(certificate, intermediates, name, ocsp, now) {
                Err(error) if self.excuses(&error, certificate) => {
                    // rustls compares the name after the chain, whose error has kept it from doing so.
                    verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                }
                Err(error) => return Err(error),
                Ok(_) => {}
            }
        }
        self.check_pin(certificate).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Verifier<dyn ClientCertVerifier> {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Hints help a client to choose a certificate (RFC 8446, section 4.2.4); where any is good, there are none.
        self.chain.as_ref().map_or(&[], |chain| chain.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if let Some(chain) = &self.chain {
            match chain.verify_client_cert(certificate, intermediates, now) {
                Err(error) if self.excuses(&error, certificate) => {}
                Err(error) => return Err(error),
                Ok(_) => {}
            }
        }
        self.check_pin(certificate).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
