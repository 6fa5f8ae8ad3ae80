//! TLS by rustls, with aws-lc-rs: what is read from files, and what both sides are told to do.

pub mod certificate;
pub mod files;
pub(crate) mod fingerprint;
pub mod names;
pub mod server;

use std::sync::Arc;

use rustls::SupportedCipherSuite;
use rustls::crypto::CryptoProvider;

/// The one provider of cryptography, with these ciphers or, if there are none, all that it has.
///
/// It is handed to rustls with each configuration: nothing depends on a default of the process.
pub fn provider(suites: &[SupportedCipherSuite]) -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    if !suites.is_empty() {
        provider.cipher_suites.retain(|suite| suites.contains(suite));
    }
    Arc::new(provider)
}
