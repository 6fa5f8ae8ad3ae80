//! What the client's side of TLS is told, and what can be wrong.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{ClientSessionMemoryCache, Resumption, WebPkiServerVerifier};
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, ClientConnection, Error, RootCertStore, SupportedCipherSuite};

use super::recording::{Recording, Shown};
use crate::fault::Fault;
use crate::got::Got;
use crate::limits::TLS_SERVERS_MAX;
use crate::tls::certificate::Validity;
use crate::tls::files::{self, FileFault, Source};
use crate::tls::fingerprint::Fingerprint;
use crate::tls::names::LowestVersion;
use crate::tls::provider;

/// How a client speaks TLS. The default trusts whom the system trusts.
#[derive(Clone, Default)]
pub struct ClientTls {
    /// Who is trusted to sign servers' certificates, instead of those whom the system trusts.
    pub authorities: Option<Source>,
    /// The same, as a folder of files.
    pub authorities_folder: Option<PathBuf>,
    /// The certificate of this client, and its key.
    pub identity: Option<(Source, Source)>,
    /// What opens the key, if it is encrypted.
    pub pass_phrase: Option<Arc<[u8]>>,
    /// What is looked at in the server's certificate.
    pub checks: Checks,
    /// The name that the server's certificate is to have; none: the host that is connected to.
    pub server_name: Option<String>,
    /// Protocols to offer (ALPN), the best first.
    pub protocols: Vec<Vec<u8>>,
    /// Versions of TLS.
    pub lowest: LowestVersion,
    /// Ciphers; none: all.
    pub suites: Vec<SupportedCipherSuite>,
}

impl fmt::Debug for ClientTls {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("authorities", &self.authorities)
            .field("authorities_folder", &self.authorities_folder)
            .field("has_identity", &self.identity.is_some())
            .field("checks", &self.checks)
            .finish_non_exhaustive()
    }
}

impl ClientTls {
    /// Trusts the certificates in that file of PEM, instead of those whom the system trusts.
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.authorities = Some(Source::File(path.into()));
        self
    }

    /// The same with the PEM itself.
    #[must_use]
    pub fn ca_pem(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.authorities = Some(Source::pem(pem));
        self
    }

    /// The certificate of this client and its key: paths of files of PEM, or [`Source::pem`].
    #[must_use]
    pub fn client_certificate(mut self, certificate: impl Into<Source>, key: impl Into<Source>) -> Self {
        self.identity = Some((certificate.into(), key.into()));
        self
    }
}

impl PartialEq for ClientTls {
    fn eq(&self, other: &Self) -> bool {
        let suites = |tls: &Self| {
            tls.suites
                .iter()
                .map(SupportedCipherSuite::suite)
                .collect::<Vec<_>>()
        };
        (
            &self.authorities,
            &self.authorities_folder,
            &self.identity,
            &self.pass_phrase,
        ) == (
            &other.authorities,
            &other.authorities_folder,
            &other.identity,
            &other.pass_phrase,
        ) && (self.checks, &self.server_name, &self.protocols, self.lowest)
            == (other.checks, &other.server_name, &other.protocols, other.lowest)
            && suites(self) == suites(other)
    }
}

impl Eq for ClientTls {}

/// What a client looks at in the certificate of its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Checks {
    /// All of it.
    #[default]
    Everything,
    /// Insecure: whoever has a certificate of a trusted authority may be the server.
    AllButTheName,
    /// Insecure: anybody may be the server, and read and change everything.
    Nothing,
}

/// Why there is no TLS.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// Files that are named cannot be used; at least one.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Files(Vec<FileFault>),
    /// What is asked for cannot be had together.
    #[error("TLS cannot be had like this: {0}")]
    Settings(String),
    /// The system has no certificates to trust.
    #[error("this system has no certificates of authorities to trust ({0})")]
    NoSystemRoots(String),
    /// The server's certificate is signed by somebody who is not trusted.
    #[error("the server's certificate is signed by '{issuer}', which is not in {trusted}")]
    UnknownAuthority {
        /// Whom one would have to trust.
        issuer: String,
        /// Who is trusted.
        trusted: String,
    },
    /// The server's certificate is for another name.
    #[error("the certificate is for {}, not for '{wanted}'", list(.names))]
    WrongName {
        /// Names that it is for.
        names: Vec<String>,
        /// The one that was wanted.
        wanted: String,
    },
    /// The server's certificate is for no name at all, as those of old device authorities are.
    #[error(
        "the server's certificate{} has no subject alternative name, and a common name alone is not looked at ('{wanted}' was wanted)",
        of(.common_name.as_deref())
    )]
    NoName {
        /// Whose it says that it is.
        common_name: Option<String>,
        /// The name that was wanted.
        wanted: String,
    },
    /// The server's certificate does not hold today.
    #[error("the server's certificate ('{subject}') {when}")]
    Dates {
        /// Whose it is.
        subject: String,
        /// When it held, or will.
        when: String,
    },
    /// The server speaks something else.
    #[error("the server speaks {}, not TLS", speaks(*.0))]
    NotTls(Got),
    /// Anything else.
    #[error("{}", in_handshake(.0))]
    Fault(Fault),
}

fn of(common_name: Option<&str>) -> String {
    common_name.map_or_else(String::new, |name| format!(" ('{name}')"))
}

/// Most who hang up in the handshake do not know what it is.
fn in_handshake(fault: &Fault) -> String {
    match fault {
        Fault::Closed => format!("{fault}: it may speak no TLS on this port"),
        fault => fault.to_string(),
    }
}

fn speaks(got: Got) -> String {
    match got {
        Got::Mqtt => "plain MQTT".to_owned(),
        got => got.to_string(),
    }
}

fn list(names: &[String]) -> String {
    match names {
        [] => "no host".to_owned(),
        names => names
            .iter()
            .map(|name| format!("'{name}'"))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// How a client speaks TLS, with all files read: for as many connections as are wanted.
#[derive(Debug, Clone)]
pub struct LoadedTls {
    config: Arc<ClientConfig>,
    recording: Arc<Recording>,
    server_name: Option<String>,
    trusted: String,
}

impl ClientTls {
    /// Reads the files. That takes its time, so no task of a runtime waits for it.
    ///
    /// # Errors
    /// What is wrong with the files, or what does not go together.
    pub fn load(&self) -> Result<LoadedTls, TlsError> {
        let recording = Arc::new(Recording::new(self.verifier()?, self.checks));
        let verifier: Arc<dyn ServerCertVerifier> = Arc::clone(&recording) as _;
        let builder = ClientConfig::builder_with_provider(provider(&self.suites))
            .with_protocol_versions(self.lowest.versions())
            .map_err(|error| TlsError::Settings(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let pair = files::certified_key(certificate, key, self.pass_phrase.as_deref());
                let resolver = rustls::sign::SingleCertAndKey::from(pair.map_err(TlsError::Files)?);
                builder.with_client_cert_resolver(Arc::new(resolver))
            }
        };
        config.alpn_protocols.clone_from(&self.protocols);
        config.resumption = Resumption::store(Arc::new(ClientSessionMemoryCache::new(TLS_SERVERS_MAX)));
        Ok(LoadedTls {
            config: Arc::new(config),
            recording,
            server_name: self.server_name.clone(),
            trusted: self.trusted(),
        })
    }

    /// What the files hold now.
    pub(super) fn fingerprint(&self) -> std::io::Result<Fingerprint> {
        let mut files = Fingerprint::default();
        let identity = self
            .identity
            .iter()
            .flat_map(|(certificate, key)| [certificate, key]);
        for source in self.authorities.iter().chain(identity) {
            files.add(source)?;
        }
        if let Some(folder) = &self.authorities_folder {
            files.add_folder(folder)?;
        }
        Ok(files)
    }

    /// Who is trusted, in words.
    fn trusted(&self) -> String {
        match (&self.authorities, &self.authorities_folder) {
            (Some(Source::File(path)), _) => path.display().to_string(),
            (Some(Source::Pem(_)), _) => "the given CA certificates".to_owned(),
            (None, Some(folder)) => folder.display().to_string(),
            (None, None) => "the CA certificates of this system".to_owned(),
        }
    }

    fn verifier(&self) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
        let provider = provider(&self.suites);
        let roots = if self.authorities.is_some() || self.authorities_folder.is_some() {
            files::authorities(self.authorities.as_ref(), self.authorities_folder.as_deref())
                .map_err(TlsError::Files)?
        } else if self.checks == Checks::Nothing {
            // Nobody is asked, so nobody need be trusted; only signatures are still computed.
            RootCertStore::empty()
        } else {
            let verifier = rustls_platform_verifier::Verifier::new(provider)
                .map_err(|error| TlsError::NoSystemRoots(error.to_string()))?;
            return Ok(Arc::new(verifier));
        };
        if roots.is_empty() {
            return Ok(Arc::new(Signatures(provider)));
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| TlsError::Settings(error.to_string()))?;
        Ok(verifier)
    }
}

/// Trusts nobody, and computes signatures: for those who check nothing else.
#[derive(Debug)]
struct Signatures(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Signatures {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, Error> {
        Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &rustls::pki_types::CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &rustls::pki_types::CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl LoadedTls {
    /// Each connection is agreed on from the start, whatever was agreed on before.
    #[must_use]
    pub fn without_resumption(mut self) -> Self {
        Arc::make_mut(&mut self.config).resumption = Resumption::disabled();
        self
    }

    /// A connection to `host` that has yet to begin, and what looks at the server's certificate. Of several at a time
    /// one may be told of the certificate that another was shown.
    ///
    /// # Errors
    /// The host has a name that no certificate can have.
    pub fn begin(&self, host: &str) -> Result<(ClientConnection, Witness), TlsError> {
        let (wanted, name) = self.name(host)?;
        // The one verifier of all connections: rustls takes a session up again only where it is the same.
        let connection = ClientConnection::new(Arc::clone(&self.config), name)
            .map_err(|error| TlsError::Settings(error.to_string()))?;
        Ok((connection, self.witness(wanted)))
    }

    /// The name that the server's certificate is to have.
    fn name<'a>(&'a self, host: &'a str) -> Result<(&'a str, ServerName<'static>), TlsError> {
        let wanted = self.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(wanted.to_owned()).map_err(|_| {
            TlsError::Settings(format!("'{wanted}' is no host name that a certificate can have"))
        })?;
        Ok((wanted, name))
    }

    fn witness(&self, wanted: &str) -> Witness {
        Witness {
            recording: Arc::clone(&self.recording),
            wanted: wanted.to_owned(),
            trusted: self.trusted.clone(),
        }
    }

    /// The same for a connection of QUIC: its configuration, the name that the certificate is to have, and the witness.
    #[cfg(all(feature = "quic", unix))]
    pub(crate) fn quic(&self, host: &str) -> Result<(Arc<ClientConfig>, String, Witness), TlsError> {
        let (wanted, _) = self.name(host)?;
        Ok((Arc::clone(&self.config), wanted.to_owned(), self.witness(wanted)))
    }
}

/// What saw the server's certificate: enough to say what went wrong.
#[derive(Debug, Clone)]
pub struct Witness {
    recording: Arc<Recording>,
    wanted: String,
    trusted: String,
}

impl Witness {
    /// Why this side has refused the server's certificate, if it has.
    #[cfg(all(feature = "quic", unix))]
    pub(crate) fn refused(&self) -> Option<Error> {
        self.recording.refused()
    }

    /// A fault with what is known of the server's certificate.
    pub fn explain(self, fault: Fault) -> TlsError {
        let Self {
            recording,
            wanted,
            trusted,
        } = self;
        let shown = recording.shown();
        match (&fault, shown) {
            (Fault::Mismatch { got, .. }, _) => TlsError::NotTls(*got),
            (Fault::Tls(Error::InvalidCertificate(error)), Some(shown)) => {
                explain_certificate(error, shown, wanted, trusted).unwrap_or(TlsError::Fault(fault))
            }
            _ => TlsError::Fault(fault),
        }
    }
}

fn explain_certificate(
    error: &CertificateError,
    shown: Shown,
    wanted: String,
    trusted: String,
) -> Option<TlsError> {
    Some(match error {
        CertificateError::UnknownIssuer => TlsError::UnknownAuthority {
            issuer: shown.root,
            trusted,
        },
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            let (names, common_name) = (shown.server.names, shown.server.common_name);
            if names.is_empty() {
                TlsError::NoName { common_name, wanted }
            } else {
                TlsError::WrongName { names, wanted }
            }
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => {
            let when = match shown.server.validity(std::time::SystemTime::now()) {
                Validity::Since(since) => format!("expired {} ago", crate::tls::certificate::in_words(since)),
                Validity::In(wait) => format!(
                    "is not valid for another {} (is the clock right?)",
                    crate::tls::certificate::in_words(wait)
                ),
                Validity::Now => "is signed by an authority whose certificate does not hold today".to_owned(),
            };
            let subject = shown.server.subject;
            TlsError::Dates { subject, when }
        }
        _ => return None,
    })
}
