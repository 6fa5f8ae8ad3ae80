//! What the other end did wrong, below MQTT.

use std::io;

use rustls::{AlertDescription, CertificateError, Error as Tls, InvalidMessage, PeerIncompatible};

use crate::got::Got;
use crate::websocket;

/// Why a connection cannot go on: something below MQTT.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The peer speaks something else than this port.
    #[error("{got} came instead of {expected}")]
    Mismatch {
        /// `TLS` or `a WebSocket`.
        expected: &'static str,
        /// What came.
        got: Got,
    },
    /// TLS failed.
    #[error("{}", in_words(.0))]
    Tls(Tls),
    /// The WebSocket failed.
    #[error(transparent)]
    Web(#[from] websocket::Fault),
    /// The peer closed the connection before all was agreed on.
    #[error("the other side closed the connection in the handshake")]
    Closed,
    /// The network failed.
    #[error("the connection failed: {0}")]
    Io(String),
    /// It took too long.
    #[error("the handshake was not over after {0} ms")]
    Timeout(u64),
}

impl From<Tls> for Fault {
    fn from(error: Tls) -> Self {
        Self::Tls(error)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Self>()) {
            Some(fault) => fault.clone(),
            None => Self::Io(said(&error)),
        }
    }
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        Self::new(io::ErrorKind::InvalidData, fault)
    }
}

impl Fault {
    /// The buffers of TLS are full of what nobody can make sense of.
    pub(crate) fn from_tls_read(error: &io::Error) -> Self {
        Self::Io(said(error))
    }

    /// What the peer speaks instead, if that is what is wrong.
    pub fn got(&self) -> Option<Got> {
        match self {
            Self::Mismatch { got, .. }
            | Self::Web(websocket::Fault::Opening(websocket::Refused::NotHttp(got))) => Some(*got),
            _ => None,
        }
    }

    /// Its kind in the log: short and fixed.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Mismatch { .. } => "mismatch",
            Self::Web(websocket::Fault::Opening(_)) => "websocket_refused",
            Self::Web(_) => "websocket_fault",
            Self::Closed => "closed",
            Self::Io(_) => "io",
            Self::Timeout(_) => "timeout",
            Self::Tls(error) => tls_key(error),
        }
    }
}

/// What the system said, without its number.
pub(crate) fn said(error: &io::Error) -> String {
    let text = error.to_string();
    let end = text.find(" (os error ").unwrap_or(text.len());
    text[..end].to_owned()
}

fn tls_key(error: &Tls) -> &'static str {
    match error {
        Tls::NoCertificatesPresented => "no_certificate",
        Tls::InvalidCertificate(CertificateError::UnknownIssuer) => "unknown_ca",
        Tls::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "expired"
        }
        Tls::InvalidCertificate(CertificateError::Revoked) => "revoked",
        Tls::InvalidCertificate(_) => "bad_certificate",
        Tls::PeerIncompatible(_) => "nothing_in_common",
        Tls::AlertReceived(_) => "refused_by_peer",
        _ => "tls_error",
    }
}

/// What rustls says, for people.
fn in_words(error: &Tls) -> String {
    use PeerIncompatible as Lacks;
    match error {
        Tls::NoCertificatesPresented => "the other side shows no certificate, and must".into(),
        Tls::InvalidCertificate(error) => format!("its certificate {}", certificate(error)),
        Tls::PeerIncompatible(Lacks::NoCipherSuitesInCommon) => "no cipher in common".into(),
        Tls::PeerIncompatible(
            Lacks::Tls12NotOffered
            | Lacks::Tls12NotOfferedOrEnabled
            | Lacks::Tls13RequiredForQuic
            | Lacks::SupportedVersionsExtensionRequired
            | Lacks::ServerDoesNotSupportTls12Or13
            | Lacks::ServerTlsVersionIsDisabledByOurConfig,
        ) => "no version of TLS in common".into(),
        Tls::PeerIncompatible(Lacks::NoKxGroupsInCommon | Lacks::NamedGroupsExtensionRequired) => {
            "no key exchange in common".into()
        }
        Tls::PeerIncompatible(
            Lacks::NoSignatureSchemesInCommon | Lacks::NoCertificateRequestSignatureSchemesInCommon,
        ) => "no signature scheme in common".into(),
        Tls::AlertReceived(alert) => format!("the other side refused: {}", alert_in_words(*alert)),
        Tls::InvalidMessage(InvalidMessage::InvalidContentType) => "what came is not TLS".into(),
        Tls::NoApplicationProtocol => "no application protocol (ALPN) in common".into(),
        other => format!("TLS failed: {other}"),
    }
}

/// To follow "its certificate".
fn certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => "is signed by nobody who is trusted here".into(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired".into(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet (is the clock right?)".into()
        }
        CertificateError::Revoked => "is revoked".into(),
        CertificateError::UnknownRevocationStatus => {
            "is of an authority that the list of revoked certificates says nothing of".into()
        }
        CertificateError::BadSignature => "has a bad signature".into(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is not made for this side of a connection (extended key usage)".into()
        }
        other if is_version_1(other) => "is of X.509 version 1, made without extensions".into(),
        other => format!("is not accepted: {other}"),
    }
}

/// As `openssl x509 -req` makes them without `-extfile`.
pub(crate) fn is_version_1(error: &CertificateError) -> bool {
    matches!(error, CertificateError::Other(other) if other.to_string().contains("UnsupportedCertVersion"))
}

fn alert_in_words(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::UnknownCA => "it does not trust who signed our certificate".into(),
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
            "it does not accept our certificate".into()
        }
        AlertDescription::CertificateExpired => "our certificate has expired".into(),
        AlertDescription::CertificateRevoked => "our certificate is revoked".into(),
        AlertDescription::CertificateRequired => "it wants a certificate of this side".into(),
        AlertDescription::ProtocolVersion => "no version of TLS in common".into(),
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            "nothing in common (ciphers, versions, or a certificate that it wants)".into()
        }
        AlertDescription::UnexpectedMessage => "it did not expect TLS, or not this".into(),
        AlertDescription::UnrecognisedName => "it has no certificate for this host name".into(),
        other => format!("alert {other:?}"),
    }
}
