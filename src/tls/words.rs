//! The errors and names of TLS in plain words.

use rustls::{
    AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible, ProtocolVersion,
    SupportedCipherSuite,
};

/// Describes an error as part of a sentence.
pub fn refusal(error: &Error) -> String {
    match error {
        Error::AlertReceived(alert) => alerted(*alert),
        Error::InvalidCertificate(error) => certificate(error),
        Error::NoCertificatesPresented => "the peer has no certificate, and one is demanded".into(),
        // The first bytes of another protocol are taken for a record's type and version (RFC 8446, section 5.1).
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => "what the peer speaks is no TLS".into(),
        Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon) => {
            "the peer has no cipher suite that is safe today".into()
        }
        Error::PeerIncompatible(_) => {
            format!("{error}").replace("peer is incompatible", "the peer is too old")
        }
        Error::NoApplicationProtocol => "the peer has none of the protocols of --tls-alpn".into(),
        _ => error.to_string(),
    }
}

/// Describes an alert of the peer (RFC 8446, section 6.2).
fn alerted(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired => "the peer demands a certificate (--tls-cert)".into(),
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateExpired
        | AlertDescription::AccessDenied => {
            format!("the peer does not accept our certificate ({})", spaced(&format!("{alert:?}")))
        }
        AlertDescription::NoApplicationProtocol => "the peer has none of the protocols of --tls-alpn".into(),
        AlertDescription::ProtocolVersion => "the peer speaks neither TLS 1.2 nor 1.3".into(),
        _ => format!("the peer refuses ({})", spaced(&format!("{alert:?}"))),
    }
}

fn certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => {
            "the certificate is signed by nobody who is trusted here (--tls-ca FILE, or --tls-pin for a key)"
                .into()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the certificate is for another name (--tls-name)".into()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the certificate has expired".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the certificate is not valid yet".into()
        }
        CertificateError::Other(error) => match error.0.downcast_ref() {
            Some(webpki::Error::CaUsedAsEndEntity) => {
                "the certificate is an authority's, and no server's".into()
            }
            Some(other) => format!("the certificate is not good: {other:?}"),
            None => error.to_string(),
        },
        _ => format!("the certificate is not good: {error}"),
    }
}

/// Turns a name of rustls into words: `HandshakeFailure` is `handshake failure`.
fn spaced(name: &str) -> String {
    let mut words = String::new();
    let mut before = ' ';
    for letter in name.chars() {
        // A capital behind a capital goes on with the word: `UnknownCA` is `unknown ca`.
        if letter.is_uppercase() && before.is_lowercase() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
        before = letter;
    }
    words
}

/// Returns the version as it is usually written.
pub fn version(version: Option<ProtocolVersion>) -> &'static str {
    match version {
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
        _ => "TLS",
    }
}

/// Returns the name that IANA registers: rustls has other names for the suites of TLS 1.3.
pub fn suite(suite: Option<SupportedCipherSuite>) -> String {
    suite.map_or_else(String::new, |suite| format!("{:?}", suite.suite()).replace("TLS13_", "TLS_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_in_words() {
        let table = [
            (
                Error::AlertReceived(AlertDescription::HandshakeFailure),
                "the peer refuses (handshake failure)",
            ),
            (Error::AlertReceived(AlertDescription::UnknownCA), "our certificate (unknown ca)"),
            (Error::InvalidMessage(InvalidMessage::InvalidContentType), "no TLS"),
            (Error::InvalidCertificate(CertificateError::Expired), "has expired"),
        ];

        for (error, part) in table {
            let text = refusal(&error);
            assert!(text.contains(part), "{text}");
        }
    }
}
