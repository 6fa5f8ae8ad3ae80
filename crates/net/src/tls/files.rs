//! Certificates, keys and lists of revoked certificates, read from files or memory; and what is wrong with them.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls::pki_types::pem::{self, SectionKind};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, RootCertStore};

use super::certificate::{Description, Validity, in_words};
use super::provider;
use crate::fault::{is_version_1, said};
use crate::limits::{FILE_BYTES_MAX, FOLDER_FILES_MAX};

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The certificate of this side.
    Certificate,
    /// Its key.
    Key,
    /// Certificates of those whose signature is trusted.
    Authorities,
    /// Certificates that are not trusted any more.
    Revoked,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate",
            Self::Key => "key",
            Self::Authorities => "CA certificates",
            Self::Revoked => "list of revoked certificates",
        })
    }
}

/// What is wrong with a file of TLS. Its text names the file and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFault {
    /// What it is for.
    pub role: Role,
    /// The file, as it was named; none: it was given as bytes.
    pub path: Option<PathBuf>,
    /// What is wrong.
    pub kind: FileFaultKind,
}

/// The kinds of [`FileFault`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileFaultKind {
    /// It cannot be read: why, in words of the system.
    Unreadable {
        /// Why.
        why: String,
        /// Whether it is there and this user may not read it.
        is_denied: bool,
    },
    /// Nothing of what it is for is in it; what is there instead.
    Missing {
        /// Words about what is there.
        instead: String,
    },
    /// An entry that cannot be read.
    Damaged {
        /// The line on which it begins, from 1.
        line: usize,
        /// Why.
        why: String,
    },
    /// The key is encrypted, and there is no pass phrase.
    Encrypted,
    /// The pass phrase does not open the key, or the key is encrypted in a way that is not known here.
    NotOpened {
        /// What failed.
        why: String,
    },
    /// The key is encrypted as OpenSSL did long ago.
    OldEncryption,
    /// The key is of a kind that is not known here.
    UnknownKey {
        /// What failed.
        why: String,
    },
    /// The key does not belong to the certificate.
    NotOfCertificate {
        /// The certificate's file.
        certificate: Option<PathBuf>,
        /// The starts of the hashes of both public keys: the key's, the certificate's.
        hashes: [String; 2],
    },
}

impl FileFault {
    /// The code that explains it: `T003`.
    pub const fn code(&self) -> &'static str {
        use FileFaultKind as Kind;
        match self.kind {
            Kind::Unreadable { .. } => "T003",
            Kind::Missing { .. } | Kind::Damaged { .. } | Kind::UnknownKey { .. } => "T004",
            Kind::NotOfCertificate { .. } => "T005",
            Kind::Encrypted | Kind::NotOpened { .. } | Kind::OldEncryption => "T006",
        }
    }

    /// What to type, where that is certain.
    pub fn fix(&self) -> Option<String> {
        let path = self.path.as_deref().map_or("KEY".into(), Path::to_string_lossy);
        match self.kind {
            FileFaultKind::OldEncryption => Some(format!("openssl pkcs8 -topk8 -in {path} -out new-key.pem")),
            _ => None,
        }
    }

    fn file(&self) -> String {
        match &self.path {
            Some(path) => format!("'{}'", path.display()),
            None => format!("the given {}", self.role),
        }
    }
}

impl fmt::Display for FileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (role, file) = (self.role, self.file());
        match &self.kind {
            FileFaultKind::Unreadable { why, .. } => write!(f, "cannot read the {role} {file}: {why}"),
            FileFaultKind::Missing { instead } if self.path.is_none() => {
                write!(f, "no {role} in what was given as {role}: {instead}")
            }
            FileFaultKind::Missing { instead } => write!(f, "{file} holds no {role}: {instead}"),
            FileFaultKind::Damaged { line, why } => {
                write!(f, "{file}:{line}: this entry cannot be read: {why}")
            }
            FileFaultKind::Encrypted => write!(
                f,
                "the key {file} is encrypted, and there is no pass phrase to open it"
            ),
            FileFaultKind::NotOpened { why } => {
                write!(f, "the key {file} cannot be opened: {why}")
            }
            FileFaultKind::OldEncryption => write!(
                f,
                "the key {file} is encrypted in the old way of OpenSSL ('Proc-Type: 4,ENCRYPTED'), which is not read here"
            ),
            FileFaultKind::UnknownKey { why } => write!(f, "the key {file} cannot be used: {why}"),
            FileFaultKind::NotOfCertificate { certificate, hashes } => {
                let [key, of_certificate] = hashes;
                let certificate = certificate
                    .as_ref()
                    .map_or("the given one".into(), |path| format!("'{}'", path.display()));
                write!(
                    f,
                    "the key {file} does not belong to the certificate {certificate} \
                     (their public keys differ: {key}… and {of_certificate}…)"
                )
            }
        }
    }
}

impl std::error::Error for FileFault {}

/// Where something of TLS is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In a file of PEM.
    File(PathBuf),
    /// Here, as PEM.
    Pem(Arc<[u8]>),
}

impl From<PathBuf> for Source {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl From<&str> for Source {
    /// A path, not PEM.
    fn from(path: &str) -> Self {
        Self::File(path.into())
    }
}

impl Source {
    /// The PEM itself.
    pub fn pem(pem: impl AsRef<[u8]>) -> Self {
        Self::Pem(pem.as_ref().into())
    }

    fn path(&self) -> Option<PathBuf> {
        match self {
            Self::File(path) => Some(path.clone()),
            Self::Pem(_) => None,
        }
    }

    fn fault(&self, role: Role, kind: FileFaultKind) -> FileFault {
        let path = self.path();
        FileFault { role, path, kind }
    }

    fn read(&self, role: Role) -> Result<Vec<u8>, FileFault> {
        match self {
            Self::Pem(bytes) => Ok(bytes.to_vec()),
            Self::File(path) => read_file(path).map_err(|error| {
                let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
                self.fault(
                    role,
                    FileFaultKind::Unreadable {
                        why: in_words_of(&error),
                        is_denied,
                    },
                )
            }),
        }
    }
}

pub(super) fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // Open before it is asked what it is: a pipe with nobody at its end would never open.
    let about = fs::metadata(path)?;
    if about.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !about.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    fs::File::open(path)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "it has more than {FILE_BYTES_MAX} bytes"
        )));
    }
    Ok(bytes)
}

fn in_words_of(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".into(),
        io::ErrorKind::IsADirectory => "it is a folder".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => said(error),
    }
}

/// An entry of a file of PEM, and the line on which it begins.
struct Entry {
    kind: SectionKind,
    der: Vec<u8>,
    line: usize,
}

/// All entries of a file of PEM, or the one that cannot be read.
fn entries(source: &Source, role: Role, bytes: &[u8]) -> Result<Vec<Entry>, FileFault> {
    let mut rest = bytes;
    let mut entries = Vec::new();
    loop {
        let before = rest;
        match pem::from_buf(&mut rest) {
            Ok(None) => return Ok(entries),
            Ok(Some((kind, der))) => {
                let line = line_of(bytes, before);
                entries.push(Entry { kind, der, line });
            }
            Err(error) => {
                let line = line_of(bytes, before);
                let why = match error {
                    pem::Error::MissingSectionEnd { .. } => "its END line is missing".into(),
                    pem::Error::Base64Decode(_) => "it is not base64".into(),
                    pem::Error::IllegalSectionStart { .. } => "its BEGIN line is malformed".into(),
                    other => other.to_string(),
                };
                return Err(source.fault(role, FileFaultKind::Damaged { line, why }));
            }
        }
    }
}

/// The line of the first `BEGIN` in what was left to read.
fn line_of(all: &[u8], left: &[u8]) -> usize {
    let skipped = left.windows(10).position(|w| w == b"-----BEGIN").unwrap_or(0);
    let at = all.len() - left.len() + skipped;
    1 + all[..at].iter().filter(|byte| **byte == b'\n').count()
}

/// What a file holds that lacks what it should.
fn instead(bytes: &[u8], entries: &[Entry]) -> String {
    let has = |kind| entries.iter().any(|entry| entry.kind == kind);
    let is_key = [
        SectionKind::PrivateKey,
        SectionKind::RsaPrivateKey,
        SectionKind::EcPrivateKey,
    ]
    .into_iter()
    .any(has);
    if bytes.iter().all(u8::is_ascii_whitespace) {
        "it is empty".into()
    } else if is_key {
        "it holds a private key (are the two files swapped?)".into()
    } else if has(SectionKind::Certificate) {
        "it holds a certificate (are the two files swapped?)".into()
    } else if has(SectionKind::Csr) {
        "it holds a request to sign a certificate, not the signed one".into()
    } else if has(SectionKind::PublicKey) {
        "it holds a public key".into()
    } else if bytes.starts_with(&[0x30]) {
        "it is DER; PEM is read (openssl x509 -inform DER makes it)".into()
    } else {
        "it is not PEM (text with lines such as '-----BEGIN CERTIFICATE-----')".into()
    }
}

/// The certificates of a file: at least one, the first of which can be read.
///
/// # Errors
/// The first thing that is wrong.
pub fn certificates(source: &Source) -> Result<Vec<CertificateDer<'static>>, FileFault> {
    let found = certificates_for(source, Role::Certificate)?;
    let (line, first) = &found[0];
    if let Err(error) = ParsedCertificate::try_from(first) {
        let kind = FileFaultKind::Damaged {
            line: *line,
            why: why(&error),
        };
        return Err(source.fault(Role::Certificate, kind));
    }
    Ok(found.into_iter().map(|(_, certificate)| certificate).collect())
}

/// At least one, each with the line on which it begins.
fn certificates_for(source: &Source, role: Role) -> Result<Vec<(usize, CertificateDer<'static>)>, FileFault> {
    let bytes = source.read(role)?;
    let entries = entries(source, role, &bytes)?;
    let certificates: Vec<_> = entries
        .iter()
        .filter(|entry| entry.kind == SectionKind::Certificate)
        .map(|entry| (entry.line, entry.der.clone().into()))
        .collect();
    if certificates.is_empty() {
        let instead = instead(&bytes, &entries);
        return Err(source.fault(role, FileFaultKind::Missing { instead }));
    }
    Ok(certificates)
}

/// The private key of a file, opened with a pass phrase if it is encrypted.
///
/// # Errors
/// What is wrong with it.
pub fn private_key(source: &Source, pass_phrase: Option<&[u8]>) -> Result<PrivateKeyDer<'static>, FileFault> {
    let bytes = source.read(Role::Key)?;
    let fault = |kind| source.fault(Role::Key, kind);
    if let Some(der) = encrypted_key(&bytes) {
        let pass_phrase = pass_phrase.ok_or_else(|| fault(FileFaultKind::Encrypted))?;
        return open_key(&der, pass_phrase).map_err(|why| fault(FileFaultKind::NotOpened { why }));
    }
    if contains(&bytes, b"Proc-Type: 4,ENCRYPTED") {
        return Err(fault(FileFaultKind::OldEncryption));
    }
    let entries = entries(source, Role::Key, &bytes)?;
    let key = entries.iter().find_map(|entry| match entry.kind {
        SectionKind::PrivateKey => Some(PrivateKeyDer::Pkcs8(entry.der.clone().into())),
        SectionKind::RsaPrivateKey => Some(PrivateKeyDer::Pkcs1(entry.der.clone().into())),
        SectionKind::EcPrivateKey => Some(PrivateKeyDer::Sec1(entry.der.clone().into())),
        _ => None,
    });
    key.ok_or_else(|| {
        fault(FileFaultKind::Missing {
            instead: instead(&bytes, &entries),
        })
    })
}

fn contains(bytes: &[u8], words: &[u8]) -> bool {
    bytes.windows(words.len()).any(|window| window == words)
}

const ENCRYPTED_END: &str = "-----END ENCRYPTED PRIVATE KEY-----";

/// The bytes of `-----BEGIN ENCRYPTED PRIVATE KEY-----`, which rustls does not read.
fn encrypted_key(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let start = text.find("-----BEGIN ENCRYPTED PRIVATE KEY-----")?;
    let end = start + text[start..].find(ENCRYPTED_END)? + ENCRYPTED_END.len();
    let (_, document) = pkcs8::SecretDocument::from_pem(&text[start..end]).ok()?;
    Some(document.as_bytes().to_vec())
}

fn open_key(der: &[u8], pass_phrase: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    let info = EncryptedPrivateKeyInfoRef::try_from(der).map_err(|error| error.to_string())?;
    // What fails is nearly always the pass phrase: the padding at its end does not come out right.
    let opened = info.decrypt(pass_phrase).map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(pkcs5::Error::UnsupportedAlgorithm { oid }) => {
            format!("it is encrypted with an algorithm that is not known here ({oid})")
        }
        pkcs8::Error::EncryptedPrivateKey(pkcs5::Error::NoPbes1CryptSupport) => {
            "it is encrypted in an old and weak way (PBES1)".to_owned()
        }
        _ => "the pass phrase is not the right one".to_owned(),
    })?;
    Ok(PrivatePkcs8KeyDer::from(opened.as_bytes().to_vec()).into())
}

/// A certificate with its chain, and its key; they belong together.
///
/// # Errors
/// All that is wrong with both files.
pub fn certified_key(
    certificate: &Source,
    key: &Source,
    pass_phrase: Option<&[u8]>,
) -> Result<CertifiedKey, Vec<FileFault>> {
    let (chain, private) = match (certificates(certificate), private_key(key, pass_phrase)) {
        (Ok(chain), Ok(private)) => (chain, private),
        (chain, private) => return Err([chain.err(), private.err()].into_iter().flatten().collect()),
    };
    let fault = |kind| vec![key.fault(Role::Key, kind)];
    let signing = provider(&[])
        .key_provider
        .load_private_key(private)
        .map_err(|error| fault(FileFaultKind::UnknownKey { why: why(&error) }))?;
    let pair = CertifiedKey::new(chain, signing);
    match pair.keys_match() {
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
            let of_key = pair.key.public_key().map(|key| key.to_vec()).unwrap_or_default();
            let of_certificate = public_key(&pair.cert[0]);
            let certificate = certificate.path();
            let hashes = [start_of_hash(&of_key), start_of_hash(&of_certificate)];
            Err(fault(FileFaultKind::NotOfCertificate { certificate, hashes }))
        }
        // The last is a key that does not tell its public part: it cannot be compared.
        Ok(()) | Err(rustls::Error::InconsistentKeys(_)) => Ok(pair),
        Err(error) => Err(vec![certificate.fault(
            Role::Certificate,
            FileFaultKind::Damaged {
                line: 1,
                why: why(&error),
            },
        )]),
    }
}

fn why(error: &rustls::Error) -> String {
    match error {
        rustls::Error::General(text) => text.clone(),
        rustls::Error::InvalidCertificate(error) if is_version_1(error) => {
            "it is of X.509 version 1; TLS needs version 3 (openssl x509 -req makes it with -extfile)"
                .to_owned()
        }
        rustls::Error::InvalidCertificate(CertificateError::BadEncoding) => {
            "its encoding is broken".to_owned()
        }
        other => other.to_string(),
    }
}

fn public_key(certificate: &CertificateDer<'_>) -> Vec<u8> {
    use x509_cert::der::{Decode, Encode};
    let certificate = x509_cert::Certificate::from_der(certificate).ok();
    let key = certificate.and_then(|it| it.tbs_certificate().subject_public_key_info().to_der().ok());
    key.unwrap_or_default()
}

/// SHA-256.
pub(super) fn hash(bytes: &[u8]) -> Vec<u8> {
    let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let suite = suite.tls13().expect("a suite of TLS 1.3");
    suite.common.hash_provider.hash(bytes).as_ref().to_vec()
}

/// Two bytes of SHA-256, to tell keys apart.
fn start_of_hash(bytes: &[u8]) -> String {
    hash(bytes)[..2]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The authorities of a file and of a folder; at least one of the two is given.
///
/// # Errors
/// All that is wrong with them. Files of a folder that hold no certificate are passed over, as OpenSSL does.
pub fn authorities(file: Option<&Source>, folder: Option<&Path>) -> Result<RootCertStore, Vec<FileFault>> {
    let mut store = RootCertStore::empty();
    let mut faults = Vec::new();
    if let Some(source) = file {
        match certificates_for(source, Role::Authorities) {
            Ok(certificates) => {
                for (line, certificate) in certificates {
                    if let Err(error) = store.add(certificate) {
                        let why = why(&error);
                        faults.push(source.fault(Role::Authorities, FileFaultKind::Damaged { line, why }));
                    }
                }
            }
            Err(fault) => faults.push(fault),
        }
    }
    if let Some(folder) = folder
        && let Err(fault) = add_folder(&mut store, folder)
    {
        faults.push(fault);
    }
    if faults.is_empty() { Ok(store) } else { Err(faults) }
}

fn add_folder(store: &mut RootCertStore, folder: &Path) -> Result<(), FileFault> {
    let source = Source::File(folder.to_owned());
    let fault = |kind| source.fault(Role::Authorities, kind);
    let unreadable = |error: io::Error| {
        let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
        let why = match error.kind() {
            io::ErrorKind::NotADirectory => "it is not a folder".into(),
            io::ErrorKind::NotFound => "there is no such folder".into(),
            _ => said(&error),
        };
        fault(FileFaultKind::Unreadable { why, is_denied })
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        paths.push(entry.map_err(unreadable)?.path());
        if paths.len() > FOLDER_FILES_MAX {
            let why = format!("it has more than {FOLDER_FILES_MAX} files");
            return Err(fault(FileFaultKind::Unreadable {
                why,
                is_denied: false,
            }));
        }
    }
    paths.sort();
    for path in paths.into_iter().filter(|path| path.is_file()) {
        let found = certificates_for(&Source::File(path), Role::Authorities).unwrap_or_default();
        store.add_parsable_certificates(found.into_iter().map(|(_, certificate)| certificate));
    }
    if store.is_empty() {
        let instead = "none of its files does".to_owned();
        return Err(fault(FileFaultKind::Missing { instead }));
    }
    Ok(())
}

/// The lists of revoked certificates of a file.
///
/// # Errors
/// What is wrong with it.
pub fn revocation_lists(source: &Source) -> Result<Vec<CertificateRevocationListDer<'static>>, FileFault> {
    let bytes = source.read(Role::Revoked)?;
    let entries = entries(source, Role::Revoked, &bytes)?;
    let lists: Vec<_> = entries
        .iter()
        .filter(|entry| entry.kind == SectionKind::Crl)
        .map(|entry| entry.der.clone().into())
        .collect();
    if lists.is_empty() {
        let instead = instead(&bytes, &entries);
        return Err(source.fault(Role::Revoked, FileFaultKind::Missing { instead }));
    }
    Ok(lists)
}

/// What is to be said about the dates of a certificate; nothing: it is valid for a while.
pub fn dates(source: &Source, certificate: &CertificateDer<'_>, now: SystemTime) -> Option<String> {
    let about = Description::of(certificate).ok()?;
    let file = source
        .path()
        .map_or("the given one".into(), |path| format!("'{}'", path.display()));
    let subject = &about.subject;
    match about.validity(now) {
        Validity::Since(since) => Some(format!(
            "the certificate {file} ({subject}) expired {} ago; clients refuse it",
            in_words(since)
        )),
        Validity::In(wait) => Some(format!(
            "the certificate {file} ({subject}) is not valid for another {}; clients refuse it (is the clock right?)",
            in_words(wait)
        )),
        Validity::Now => None,
    }
}
