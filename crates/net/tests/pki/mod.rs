//! Certificates that tests make for themselves, in a folder that goes when they do.
#![allow(dead_code)] // each test binary uses a part of it

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod,
    KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use time::{Duration, OffsetDateTime};

/// `ca.pem` has signed `server`, `expired`, `client` and the list `revoked.pem`, which holds `client`; `other-ca.pem`
/// has signed `stranger`. Each has a `.pem` and a `.key`.
pub(crate) struct Pki {
    folder: PathBuf,
}

impl Pki {
    pub(crate) fn new(name: &str) -> Self {
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("pki-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let pki = Self { folder };
        let (ca, other) = (
            pki.authority("ca.pem", "Test CA"),
            pki.authority("other-ca.pem", "Other CA"),
        );
        let today = OffsetDateTime::now_utc();
        let tomorrow = today + Duration::days(1);
        pki.leaf("server", "localhost", true, tomorrow, &ca);
        pki.leaf("expired", "localhost", true, today - Duration::days(3), &ca);
        pki.leaf("client", "sensor-7", false, tomorrow, &ca);
        pki.leaf("stranger", "sensor-8", false, tomorrow, &other);
        let list = CertificateRevocationListParams {
            this_update: today - Duration::days(1),
            next_update: tomorrow,
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: serial("client"),
                revocation_time: today,
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        pki.write("revoked.pem", &list.signed_by(&ca).unwrap().pem().unwrap());
        pki
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        fs::write(self.path(file), text).unwrap();
    }

    /// Encrypts a key, as `openssl pkcs8 -topk8` does.
    pub(crate) fn seal(&self, key: &str, into: &str, pass_phrase: &str) {
        use pkcs8::{PrivateKeyInfoRef, SecretDocument};
        let text = fs::read_to_string(self.path(key)).unwrap();
        let (_, document) = SecretDocument::from_pem(&text).unwrap();
        let info = PrivateKeyInfoRef::try_from(document.as_bytes()).unwrap();
        let parameters =
            pkcs5::pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(2_048, b"some salt", [7; 16]).unwrap();
        let sealed = info.encrypt_with_params(parameters, pass_phrase).unwrap();
        let text = sealed
            .to_pem("ENCRYPTED PRIVATE KEY", pkcs8::LineEnding::LF)
            .unwrap();
        self.write(into, &text);
    }

    fn authority(&self, file: &str, name: &str) -> Issuer<'static, KeyPair> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        self.write(file, &params.self_signed(&key).unwrap().pem());
        Issuer::new(params, key)
    }

    fn leaf(&self, file: &str, name: &str, is_host: bool, until: OffsetDateTime, by: &Issuer<'_, KeyPair>) {
        let names = if is_host {
            vec![name.to_owned()]
        } else {
            Vec::new()
        };
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = OffsetDateTime::now_utc() - Duration::days(10);
        params.not_after = until;
        params.serial_number = Some(serial(file));
        let key = KeyPair::generate().unwrap();
        self.write(&format!("{file}.pem"), &params.signed_by(&key, by).unwrap().pem());
        self.write(&format!("{file}.key"), &key.serialize_pem());
    }
}

/// From the name, so that a list of revoked certificates can name it.
fn serial(file: &str) -> SerialNumber {
    SerialNumber::from_slice(&file.as_bytes()[..4])
}

impl Drop for Pki {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
