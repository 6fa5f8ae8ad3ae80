//! Looks at the certificate of a server, and remembers it: an error is to name it.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

use super::tls::Checks;
use crate::tls::certificate::Description;

/// The certificate that a server showed, and that of the last authority that it showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    /// Its own.
    pub(super) server: Description,
    /// Who signed the last one of the chain: whom one would have to trust.
    pub(super) root: String,
}

/// Checks as another does, less some things if so wanted.
#[derive(Debug)]
pub(super) struct Recording {
    inner: Arc<dyn ServerCertVerifier>,
    checks: Checks,
    shown: Mutex<Option<Shown>>,
    /// Why the last certificate was refused.
    #[cfg(all(feature = "quic", unix))]
    refused: Mutex<Option<Error>>,
}

impl Recording {
    pub(super) fn new(inner: Arc<dyn ServerCertVerifier>, checks: Checks) -> Self {
        Self {
            inner,
            checks,
            shown: Mutex::new(None),
            #[cfg(all(feature = "quic", unix))]
            refused: Mutex::new(None),
        }
    }

    /// Why the last certificate was refused; for QUIC, which tells the alert alone.
    #[cfg(all(feature = "quic", unix))]
    pub(super) fn refused(&self) -> Option<Error> {
        self.refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn shown(&self) -> Option<Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remember(&self, server: &CertificateDer<'_>, chain: &[CertificateDer<'_>]) {
        let last = chain.last().unwrap_or(server);
        let (Ok(server), Ok(last)) = (Description::of(server), Description::of(last)) else {
            return;
        };
        let root = last.issuer;
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(Shown { server, root });
    }
}

impl ServerCertVerifier for Recording {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.remember(end_entity, intermediates);
        if self.checks == Checks::Nothing {
            return Ok(ServerCertVerified::assertion());
        }
        let result =
            self.inner
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let result = match result {
            // The name is compared last: all else was good.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.checks == Checks::AllButTheName => Ok(ServerCertVerified::assertion()),
            result => result,
        };
        #[cfg(all(feature = "quic", unix))]
        {
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = result.as_ref().err().cloned();
        }
        result
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
