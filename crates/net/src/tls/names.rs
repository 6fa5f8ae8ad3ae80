//! Names of ciphers and versions, as OpenSSL and mosquitto write them.

use rustls::SupportedProtocolVersion;
use rustls::crypto::aws_lc_rs::cipher_suite as suite;

pub use rustls::SupportedCipherSuite;

/// A cipher with its names: that of OpenSSL, and that of the standard.
struct Named {
    openssl: &'static str,
    standard: &'static str,
    suite: SupportedCipherSuite,
}

macro_rules! named {
    ($($openssl:literal $standard:literal $suite:ident)*) => {
        &[$(Named { openssl: $openssl, standard: $standard, suite: suite::$suite }),*]
    };
}

const TLS_1_2: &[Named] = named! {
    "ECDHE-ECDSA-AES256-GCM-SHA384" "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
    "ECDHE-ECDSA-AES128-GCM-SHA256" "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
    "ECDHE-ECDSA-CHACHA20-POLY1305" "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256" TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
    "ECDHE-RSA-AES256-GCM-SHA384" "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384" TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
    "ECDHE-RSA-AES128-GCM-SHA256" "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    "ECDHE-RSA-CHACHA20-POLY1305" "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256" TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
};

const TLS_1_3: &[Named] = named! {
    "TLS_AES_256_GCM_SHA384" "TLS_AES_256_GCM_SHA384" TLS13_AES_256_GCM_SHA384
    "TLS_AES_128_GCM_SHA256" "TLS_AES_128_GCM_SHA256" TLS13_AES_128_GCM_SHA256
    "TLS_CHACHA20_POLY1305_SHA256" "TLS_CHACHA20_POLY1305_SHA256" TLS13_CHACHA20_POLY1305_SHA256
};

/// A name that stands for nothing here. Its text lists what there is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no {what} '{name}' here; there are {known}")]
pub struct UnknownName {
    /// The name.
    pub name: String,
    what: &'static str,
    known: String,
}

/// Which of the ciphers there are, by their names, apart by `:` or `,`: `ciphers` of TLS 1.2.
///
/// # Errors
/// The first name that is none.
pub fn tls_1_2_ciphers(list: &str) -> Result<Vec<SupportedCipherSuite>, UnknownName> {
    ciphers(list, TLS_1_2, "cipher of TLS 1.2")
}

/// The same of TLS 1.3.
///
/// # Errors
/// The first name that is none.
pub fn tls_1_3_ciphers(list: &str) -> Result<Vec<SupportedCipherSuite>, UnknownName> {
    ciphers(list, TLS_1_3, "cipher of TLS 1.3")
}

/// Ciphers of both versions in one list: those of TLS 1.2, and those of TLS 1.3; `None` leaves all of a version.
///
/// # Errors
/// The first name that is none.
#[allow(clippy::type_complexity)] // twice the same list
pub fn ciphers_of_any_version(
    list: &str,
) -> Result<
    (
        Option<Vec<SupportedCipherSuite>>,
        Option<Vec<SupportedCipherSuite>>,
    ),
    UnknownName,
> {
    let (mut older, mut newer) = (Vec::new(), Vec::new());
    for name in list.split([':', ',', ' ']).filter(|name| !name.is_empty()) {
        match (tls_1_2_ciphers(name), tls_1_3_ciphers(name)) {
            (Ok(mut suites), _) => older.append(&mut suites),
            (_, Ok(mut suites)) => newer.append(&mut suites),
            (Err(one), Err(other)) => {
                return Err(UnknownName {
                    what: "cipher",
                    known: format!("{}, {}", other.known, one.known),
                    ..one
                });
            }
        }
    }
    let some = |suites: Vec<_>| (!suites.is_empty()).then_some(suites);
    Ok((some(older), some(newer)))
}

fn ciphers(
    list: &str,
    known: &[Named],
    what: &'static str,
) -> Result<Vec<SupportedCipherSuite>, UnknownName> {
    let names = list.split([':', ',', ' ']).filter(|name| !name.is_empty());
    let suites = names.map(|name| {
        let is = |named: &&Named| {
            [named.openssl, named.standard]
                .iter()
                .any(|n| n.eq_ignore_ascii_case(name))
        };
        known
            .iter()
            .find(is)
            .map(|named| named.suite)
            .ok_or_else(|| UnknownName {
                name: name.to_owned(),
                what,
                known: known
                    .iter()
                    .map(|named| named.openssl)
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    });
    suites.collect()
}

/// What `ciphers` and `ciphers_tls1.3` together allow. A list that is not given allows all of its version; none: all.
pub fn allowed(
    tls_1_2: Option<Vec<SupportedCipherSuite>>,
    tls_1_3: Option<Vec<SupportedCipherSuite>>,
) -> Vec<SupportedCipherSuite> {
    if tls_1_2.is_none() && tls_1_3.is_none() {
        return Vec::new();
    }
    let all = |known: &[Named]| known.iter().map(|named| named.suite).collect();
    let mut suites: Vec<_> = tls_1_3.unwrap_or_else(|| all(TLS_1_3));
    suites.extend(tls_1_2.unwrap_or_else(|| all(TLS_1_2)));
    suites
}

static TLS_1_3_ALONE: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// The lowest version of TLS that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LowestVersion {
    /// 1.2 and 1.3.
    #[default]
    Tls12,
    /// 1.3 alone.
    Tls13,
}

impl LowestVersion {
    /// By its name in mosquitto: `tlsv1.2`, `tlsv1.3`.
    ///
    /// # Errors
    /// Another name. TLS 1.1 and before are broken, and are not here.
    pub fn of(name: &str) -> Result<Self, UnknownName> {
        match name {
            "tlsv1.2" => Ok(Self::Tls12),
            "tlsv1.3" => Ok(Self::Tls13),
            _ => Err(UnknownName {
                name: name.to_owned(),
                what: "version of TLS",
                known: "tlsv1.2 and tlsv1.3".to_owned(),
            }),
        }
    }

    /// As rustls has them.
    pub fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Tls12 => rustls::ALL_VERSIONS,
            Self::Tls13 => TLS_1_3_ALONE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ciphers_by_both_names() {
        let found =
            tls_1_2_ciphers("ECDHE-RSA-AES128-GCM-SHA256:TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384").unwrap();
        assert_eq!(
            found,
            [
                suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
                suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
            ]
        );
        let error = tls_1_3_ciphers("TLS_AES_256_GCM_SHA384:AES128-SHA").unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no cipher of TLS 1.3 'AES128-SHA' here; there are TLS_AES_256_GCM_SHA384, \
             TLS_AES_128_GCM_SHA256, TLS_CHACHA20_POLY1305_SHA256"
        );
        assert!(tls_1_2_ciphers("HIGH:!aNULL").is_err());
        assert!(LowestVersion::of("tlsv1.1").is_err());
    }

    #[test]
    fn a_list_of_one_version_leaves_the_other() {
        assert!(allowed(None, None).is_empty());
        let one = tls_1_3_ciphers("TLS_AES_128_GCM_SHA256").unwrap();
        assert_eq!(allowed(None, Some(one.clone())).len(), 1 + TLS_1_2.len());
        assert_eq!(allowed(Some(Vec::new()), Some(one.clone())), one);
    }
}
