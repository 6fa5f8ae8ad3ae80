//! What a listener says about TLS, and what is wrong with its files in the words of a finding.

use std::io;
use std::path::{Path, PathBuf};

use martlet_net::tls::files::{FileFault, FileFaultKind, Role};
use martlet_net::tls::names::{self, LowestVersion, SupportedCipherSuite, UnknownName};
use martlet_net::tls::server::ServerTls;

use super::build::Values;
use super::draft::{Findings, Setting};
use super::error::{Code, Finding};
use super::holder::user_name;
use super::origin::Origin;
use super::value::Value;

/// The TLS of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// What it is told.
    pub settings: ServerTls,
    /// What of a client's certificate is its user name, if it is.
    pub identity: Option<Identity>,
    /// What named each file, for messages.
    origins: Vec<(Role, Origin)>,
}

/// What of a certificate is a user name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// The common name.
    CommonName,
    /// The whole subject, as RFC 2253 writes it.
    Subject,
}

impl Tls {
    /// What is wrong with a file, with the line that names it.
    pub(crate) fn finding(&self, fault: &FileFault) -> Finding {
        let origin = self.origins.iter().find(|(role, _)| *role == fault.role);
        let place = origin.map_or(super::Place::Whole, |(_, origin)| origin.place());
        let mut finding = Finding::new(code(fault), place, format!("{fault}."));
        if let (FileFaultKind::Unreadable { is_denied: true, .. }, Some(path)) = (&fault.kind, &fault.path)
            && let Some(note) = rights(path)
        {
            finding = finding.note(note);
        }
        match fault.fix() {
            Some(fix) => finding.note(format!("fix: {fix}")),
            None => finding,
        }
    }

    /// Something that is better known, with the line that names the certificate.
    pub(crate) fn warning(&self, text: &str) -> Finding {
        let origin = self.origins.iter().find(|(role, _)| *role == Role::Certificate);
        let place = origin.map_or(super::Place::Whole, |(_, origin)| origin.place());
        Finding::new(Code::CertificateDates, place, format!("{text}."))
    }
}

fn code(fault: &FileFault) -> Code {
    match fault.code() {
        "T003" => Code::TlsFileUnreadable,
        "T005" => Code::KeyNotOfCertificate,
        "T006" => Code::KeyEncrypted,
        _ => Code::TlsFileWrong,
    }
}

/// Whose file it is that may not be read, and who wants to.
fn rights(path: &Path) -> Option<String> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let about: io::Result<_> = std::fs::metadata(path);
        let (about, here) = (about.ok()?, std::fs::metadata("/proc/self").ok()?);
        Some(format!(
            "file: owner {}, mode {:04o}; the broker runs as {}",
            user_name(about.uid()),
            about.mode() & 0o7777,
            user_name(here.uid())
        ))
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

/// Directives that mean nothing without a certificate.
const NEED_A_CERTIFICATE: [&str; 9] = [
    "cafile",
    "capath",
    "crlfile",
    "ciphers",
    "ciphers_tls1.3",
    "tls_version",
    "require_certificate",
    "use_identity_as_username",
    "use_subject_as_username",
];

/// Directives that mean nothing unless clients show certificates.
const NEED_CLIENTS_CERTIFICATES: [&str; 2] = ["use_identity_as_username", "use_subject_as_username"];

/// The TLS of a listener, if it has any.
pub(super) fn tls(values: &Values<'_>, findings: &mut Findings) -> Option<Tls> {
    let report = &mut |setting: &Setting, code, message: String| {
        findings.error(Finding::new(code, setting.origin.place(), message));
    };
    let (certificate, key) = match (values.set("certfile"), values.set("keyfile")) {
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(alone), None) => {
            report(
                alone,
                Code::TlsIncomplete,
                "a certificate needs its key: 'keyfile' is not set.".into(),
            );
            return None;
        }
        (None, Some(alone)) => {
            report(
                alone,
                Code::TlsIncomplete,
                "a key needs its certificate: 'certfile' is not set.".into(),
            );
            return None;
        }
        (None, None) => {
            let means_something =
                |name: &&str| values.set(name).filter(|set| set.value != Value::Bool(false));
            for setting in NEED_A_CERTIFICATE.iter().filter_map(means_something) {
                let message =
                    "this is about TLS, and the listener has none: 'certfile' and 'keyfile' are not set.";
                report(setting, Code::TlsIncomplete, message.into());
            }
            return None;
        }
    };
    let require_certificate = values.bool("require_certificate") == Some(true);
    for name in NEED_CLIENTS_CERTIFICATES {
        if let Some(setting) = values
            .set(name)
            .filter(|set| set.value == Value::Bool(true) && !require_certificate)
        {
            let message =
                format!("'{name}' needs 'require_certificate true': else no client shows a certificate.");
            report(setting, Code::Contradiction, message);
        }
    }
    let authorities = values.set("cafile").or_else(|| values.set("capath"));
    if let (Some(setting), None) = (
        values.set("require_certificate").filter(|_| require_certificate),
        authorities,
    ) {
        let message =
            "clients' certificates are checked against those of 'cafile' or 'capath', and neither is set.";
        report(setting, Code::TlsIncomplete, message.into());
    }
    if let (Some(setting), false) = (values.set("crlfile"), require_certificate) {
        let message = "'crlfile' needs 'require_certificate true': else no client shows a certificate.";
        report(setting, Code::Contradiction, message.into());
    }
    let mut named = |name: &'static str, read: fn(&str) -> Result<Vec<SupportedCipherSuite>, UnknownName>| {
        let setting = values.set(name)?;
        let text = values.text(name)?;
        match read(&text) {
            Ok(suites) if !suites.is_empty() => Some(suites),
            Ok(_) => None,
            Err(error) => {
                report(setting, Code::NotInTls, format!("{error}."));
                None
            }
        }
    };
    let tls_1_2 = named("ciphers", names::tls_1_2_ciphers);
    let tls_1_3 = named("ciphers_tls1.3", names::tls_1_3_ciphers);
    let lowest = match (values.set("tls_version"), values.text("tls_version")) {
        (Some(setting), Some(name)) => LowestVersion::of(&name).unwrap_or_else(|error| {
            report(setting, Code::NotInTls, format!("{error}."));
            LowestVersion::default()
        }),
        _ => LowestVersion::default(),
    };
    let identity = match (
        values.bool("use_identity_as_username") == Some(true),
        values.bool("use_subject_as_username") == Some(true),
    ) {
        (true, false) => Some(Identity::CommonName),
        (false, true) => Some(Identity::Subject),
        (false, false) => None,
        (true, true) => {
            if let Some(setting) = values.set("use_subject_as_username") {
                let message = "the user name is the common name or the whole subject, not both.";
                report(setting, Code::Contradiction, message.into());
            }
            None
        }
    };
    let origins = [
        (Role::Certificate, Some(certificate)),
        (Role::Key, Some(key)),
        (Role::Authorities, authorities),
        (Role::Revoked, values.set("crlfile")),
    ];
    let origins = origins
        .into_iter()
        .filter_map(|(role, set)| Some((role, set?.origin.clone())));
    Some(Tls {
        settings: ServerTls {
            certificate: path(certificate),
            key: path(key),
            authorities: values.set("cafile").map(path),
            authorities_folder: values.set("capath").map(path),
            revoked: values.set("crlfile").map(path),
            require_certificate,
            lowest,
            suites: names::allowed(tls_1_2, tls_1_3),
        },
        identity,
        origins: origins.collect(),
    })
}

fn path(setting: &Setting) -> PathBuf {
    match &setting.value {
        Value::Path(path) => path.clone(),
        other => panic!("a path is in the table as a path: {other:?}"),
    }
}
