//! Certificates that a test makes for itself.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyIdMethod, KeyPair,
};
use time::{Duration, OffsetDateTime};

/// A folder in which `ca.pem` has signed `server` for localhost, `both` for localhost and 127.0.0.1, `no-san` for a common
/// name only, `expired`, `early` and `client`, each a `.pem` and a `.key`; `other-ca.pem` has signed nothing.
pub(crate) struct Pki {
    folder: PathBuf,
}

impl Pki {
    pub(crate) fn make(folder: &Path) -> Self {
        let pki = Self {
            folder: folder.to_owned(),
        };
        let authority = pki.authority("ca.pem", "Test CA");
        pki.authority("other-ca.pem", "Other CA");
        let today = OffsetDateTime::now_utc();
        let day = Duration::days(1);
        let now = (today - day, today + day);
        pki.leaf("server", &["localhost"], now, &authority);
        pki.leaf("both", &["localhost", "127.0.0.1"], now, &authority);
        pki.leaf("no-san", &[], now, &authority);
        // Half a day more, so that the number of days is the same all the while.
        let half = Duration::hours(12);
        pki.leaf(
            "expired",
            &["localhost"],
            (today - day * 9, today - day * 3 - half),
            &authority,
        );
        pki.leaf(
            "early",
            &["localhost"],
            (today + day * 3 + half, today + day * 9),
            &authority,
        );
        pki.leaf("client", &["sensor-7"], now, &authority);
        pki
    }

    /// The path of a file.
    pub(crate) fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// The lines of a listener with one of the certificates.
    pub(crate) fn server(&self, name: &str) -> String {
        let (certificate, key) = (
            self.file(&format!("{name}.pem")),
            self.file(&format!("{name}.key")),
        );
        format!("certfile {certificate}\nkeyfile {key}\n")
    }

    fn authority(&self, file: &str, name: &str) -> Issuer<'static, KeyPair> {
        let mut params = named(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_identifier_method = KeyIdMethod::Sha256;
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(self.folder.join(file), certificate.pem()).unwrap();
        Issuer::new(params, key)
    }

    fn leaf(
        &self,
        name: &str,
        hosts: &[&str],
        (from, to): (OffsetDateTime, OffsetDateTime),
        authority: &Issuer<'_, KeyPair>,
    ) {
        let mut params = named(hosts.first().unwrap_or(&"localhost"), hosts);
        (params.not_before, params.not_after) = (from, to);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, authority).unwrap();
        std::fs::write(self.folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

fn named(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
