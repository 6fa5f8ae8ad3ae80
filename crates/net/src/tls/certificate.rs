//! What stands in a certificate, for people: whose it is, who signed it, until when.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// What people want to know of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Whose it is, as RFC 4514 writes it: `CN=broker,O=Example`.
    pub subject: String,
    /// The common name alone.
    pub common_name: Option<String>,
    /// Who signed it.
    pub issuer: String,
    /// Host names and addresses that it is for.
    pub names: Vec<String>,
    /// From when it is valid.
    pub not_before: SystemTime,
    /// Until when.
    pub not_after: SystemTime,
}

/// How a certificate stands to a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// It is valid.
    Now,
    /// Not any more: for how long.
    Since(Duration),
    /// Not yet: it will be in that time.
    In(Duration),
}

impl Description {
    /// Of a certificate in DER.
    ///
    /// # Errors
    /// What is wrong with its encoding.
    pub fn of(der: &[u8]) -> Result<Self, String> {
        let certificate = Certificate::from_der(der).map_err(|error| error.to_string())?;
        let body = certificate.tbs_certificate();
        let common_name = body.subject().common_name().ok().flatten();
        let alternatives = body.get_extension::<SubjectAltName>().ok().flatten();
        let names = alternatives
            .map(|(_, SubjectAltName(names))| names)
            .unwrap_or_default();
        Ok(Self {
            subject: body.subject().to_string(),
            common_name: common_name.map(|name| name.value().into_owned()),
            issuer: body.issuer().to_string(),
            names: names.iter().filter_map(name).collect(),
            not_before: UNIX_EPOCH + body.validity().not_before.to_unix_duration(),
            not_after: UNIX_EPOCH + body.validity().not_after.to_unix_duration(),
        })
    }

    /// Whether it is valid at a time.
    pub fn validity(&self, now: SystemTime) -> Validity {
        if let Ok(since) = now.duration_since(self.not_after)
            && !since.is_zero()
        {
            return Validity::Since(since);
        }
        match self.not_before.duration_since(now) {
            Ok(wait) if !wait.is_zero() => Validity::In(wait),
            _ => Validity::Now,
        }
    }
}

fn name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::IpAddress(bytes) => match bytes.as_bytes() {
            [a, b, c, d] => Some(IpAddr::from([*a, *b, *c, *d]).to_string()),
            bytes => <[u8; 16]>::try_from(bytes)
                .ok()
                .map(|bytes| IpAddr::from(bytes).to_string()),
        },
        _ => None,
    }
}

/// A time in words, by the day or the hour: `3 days`.
pub fn in_words(time: Duration) -> String {
    let (n, unit) = match time.as_secs() {
        s if s >= 2 * 86_400 => (s / 86_400, "days"),
        s if s >= 2 * 3_600 => (s / 3_600, "hours"),
        s if s >= 120 => (s / 60, "minutes"),
        s => (s, "seconds"),
    };
    format!("{n} {unit}")
}
