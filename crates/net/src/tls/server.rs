//! What the server's side of TLS is told, and what it makes of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::server::{ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{ServerConnection, SupportedCipherSuite};

pub use rustls::ServerConfig;

use super::files::{self, FileFault, FileFaultKind, Role, Source};
use super::names::LowestVersion;
use super::provider;
use crate::fault::Fault;
use crate::layers::Layers;
use crate::limits::TLS_SESSIONS_MAX;
use crate::websocket::{Requirements, WebSocket};

/// Everything that a listener says about TLS.
#[derive(Debug, Clone)]
pub struct ServerTls {
    /// The certificate, and those that lead to its authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Who may have signed clients' certificates.
    pub authorities: Option<PathBuf>,
    /// The same, as a folder of files.
    pub authorities_folder: Option<PathBuf>,
    /// Clients' certificates that are not accepted any more.
    pub revoked: Option<PathBuf>,
    /// Clients must show a certificate; else they are not asked for one, as mosquitto does.
    pub require_certificate: bool,
    /// Versions of TLS.
    pub lowest: LowestVersion,
    /// Ciphers; none: all.
    pub suites: Vec<SupportedCipherSuite>,
}

impl PartialEq for ServerTls {
    fn eq(&self, other: &Self) -> bool {
        let suites = |tls: &Self| {
            tls.suites
                .iter()
                .map(SupportedCipherSuite::suite)
                .collect::<Vec<_>>()
        };
        let files = |tls: &Self| {
            [
                Some(tls.certificate.clone()),
                Some(tls.key.clone()),
                tls.authorities.clone(),
                tls.authorities_folder.clone(),
                tls.revoked.clone(),
            ]
        };
        files(self) == files(other)
            && (self.require_certificate, self.lowest) == (other.require_certificate, other.lowest)
            && suites(self) == suites(other)
    }
}

impl Eq for ServerTls {}

/// What TLS is made of from now on.
#[derive(Debug)]
pub struct Loaded {
    /// For connections.
    pub config: Arc<ServerConfig>,
    /// What is better known, and does not keep it from working.
    pub warnings: Vec<String>,
}

/// The layers of a connection that a server has accepted.
///
/// # Errors
/// TLS cannot be had with this configuration.
pub fn layers(tls: Option<Arc<ServerConfig>>, web: Option<Requirements>) -> Result<Layers, Fault> {
    let tls = tls.map(ServerConnection::new).transpose()?;
    Ok(Layers::new(tls.map(Into::into), web.map(WebSocket::server)))
}

impl ServerTls {
    /// Reads the files.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn load(&self, now: SystemTime) -> Result<Loaded, Vec<FileFault>> {
        let certificate = Source::File(self.certificate.clone());
        let key = Source::File(self.key.clone());
        let pair = files::certified_key(&certificate, &key, None);
        let verifier = self.verifier();
        let (pair, verifier) = match (pair, verifier) {
            (Ok(pair), Ok(verifier)) => (pair, verifier),
            (pair, verifier) => {
                let faults = [pair.err(), verifier.err()];
                return Err(faults.into_iter().flatten().flatten().collect());
            }
        };
        let warnings = files::dates(&certificate, &pair.cert[0], now)
            .into_iter()
            .collect();
        let builder = ServerConfig::builder_with_provider(provider(&self.suites))
            .with_protocol_versions(self.lowest.versions())
            .map_err(|error| {
                // Ciphers of TLS 1.2 alone, and only TLS 1.3.
                let kind = FileFaultKind::UnknownKey {
                    why: error.to_string(),
                };
                vec![FileFault {
                    role: Role::Key,
                    path: Some(self.key.clone()),
                    kind,
                }]
            })?;
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
        // Of this listener and these files alone: who comes back was looked at by the same rules.
        config.session_storage = ServerSessionMemoryCache::new(TLS_SESSIONS_MAX);
        config.send_tls13_tickets = 1;
        Ok(Loaded {
            config: Arc::new(config),
            warnings,
        })
    }

    /// What looks at clients' certificates, if they must show one.
    fn verifier(
        &self,
    ) -> Result<Option<Arc<dyn rustls::server::danger::ClientCertVerifier>>, Vec<FileFault>> {
        let file = self.authorities.clone().map(Source::File);
        if file.is_none() && self.authorities_folder.is_none() {
            return Ok(None);
        }
        // Read also if nobody is asked: a file that is named is a file that is there.
        let authorities = files::authorities(file.as_ref(), self.authorities_folder.as_deref())?;
        let revoked = self.revoked.clone().map(Source::File);
        let lists = revoked
            .as_ref()
            .map(files::revocation_lists)
            .transpose()
            .map_err(|fault| vec![fault])?;
        if !self.require_certificate {
            return Ok(None);
        }
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider(&self.suites))
                .with_crls(lists.unwrap_or_default())
                // As OpenSSL does with X509_V_FLAG_CRL_CHECK: the client's own certificate, by a list that is in force.
                .only_check_end_entity_revocation()
                .enforce_revocation_expiration()
                .build()
                .map_err(|error| {
                    let path = self.revoked.clone().or_else(|| self.authorities.clone());
                    let kind = FileFaultKind::Damaged {
                        line: 1,
                        why: error.to_string(),
                    };
                    vec![FileFault {
                        role: Role::Revoked,
                        path,
                        kind,
                    }]
                })?;
        Ok(Some(verifier))
    }
}
