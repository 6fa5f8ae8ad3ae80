//! How the connection is made: TLS, WebSocket, a Unix socket, a proxy. From flags to the client's options.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use martlet_client::tls::{Checks, Source, names};
use martlet_client::{Options, Proxy, Tls, WebSocket};

use super::Later;
use crate::settings::{PORT_TLS, Settings};
use crate::wrong::Wrong;

/// What flags and `-L` say about it.
#[derive(Debug, Default)]
pub(crate) struct Way {
    /// `--cafile`
    pub(crate) authorities: Option<PathBuf>,
    /// `--capath`
    pub(crate) authorities_folder: Option<PathBuf>,
    /// `--tls-use-os-certs`, or a URL with TLS
    pub(crate) trusts_system: bool,
    /// `--cert`
    pub(crate) certificate: Option<PathBuf>,
    /// `--key`
    pub(crate) key: Option<PathBuf>,
    /// `--key-pass-file`
    pub(crate) pass_phrase: Option<PathBuf>,
    /// `--keyform`
    pub(crate) key_form: Option<String>,
    /// `--insecure`
    pub(crate) is_insecure: bool,
    /// `--ciphers`
    pub(crate) ciphers: Option<String>,
    /// `--tls-version`
    pub(crate) version: Option<String>,
    /// `--tls-alpn`
    pub(crate) protocol: Option<String>,
    /// `--ws`
    pub(crate) is_websocket: bool,
    /// `--ws-path`
    pub(crate) path: Option<String>,
    /// `--unix`
    pub(crate) unix: Option<PathBuf>,
    /// `--proxy`
    pub(crate) proxy: Option<Proxy>,
    /// `-S`
    pub(crate) is_srv: bool,
    /// `-L quic://`
    pub(crate) is_quic: bool,
    /// `--name-server`
    pub(crate) name_servers: Vec<SocketAddr>,
}

impl Way {
    /// Whether TLS is asked for, as mosquitto's tools decide it.
    pub(crate) fn has_tls(&self) -> bool {
        self.authorities.is_some() || self.authorities_folder.is_some() || self.trusts_system
    }

    /// The usual port.
    pub(crate) fn port(&self) -> u16 {
        if self.is_quic {
            return martlet_client::url::PORT_QUIC;
        }
        match (self.is_websocket, self.has_tls()) {
            (false, false) => crate::settings::PORT,
            (false, true) => PORT_TLS,
            (true, false) => 80,
            (true, true) => 443,
        }
    }
}

/// What does not go together, and what is none.
pub(super) fn check(settings: &mut Settings) -> Result<(), Wrong> {
    // mosquitto's tools speak TLS on its port, unless they are told not to.
    if settings.port == Some(PORT_TLS) && !settings.no_tls && settings.way.unix.is_none() {
        settings.way.trusts_system |= !settings.way.has_tls();
    }
    let way = &settings.way;
    match way.key_form.as_deref() {
        None | Some("pem") => {}
        Some("engine") => return Err(Wrong::Later("--keyform engine".to_owned(), Later::Engine)),
        Some(other) => return Err(Wrong::Tls(format!("--keyform takes pem, not '{other}'"))),
    }
    if way.certificate.is_some() != way.key.is_some() {
        return Err(Wrong::CertificateAndKey);
    }
    if way.pass_phrase.is_some() && way.key.is_none() {
        return Err(Wrong::Tls(
            "--key-pass-file opens the key of --key, which is not given".to_owned(),
        ));
    }
    if way.unix.is_some() && way.proxy.is_some() {
        return Err(Wrong::Tls(
            "a Unix socket is not reached through a --proxy".to_owned(),
        ));
    }
    if settings.no_tls && way.has_tls() {
        return Err(Wrong::Tls(
            "--no-tls and options of TLS are both given".to_owned(),
        ));
    }
    let needs_tls = [
        ("--cert", way.certificate.is_some()),
        ("--insecure", way.is_insecure),
        ("--ciphers", way.ciphers.is_some()),
        ("--tls-version", way.version.is_some()),
        ("--tls-alpn", way.protocol.is_some()),
    ];
    if let Some((name, _)) = needs_tls.iter().find(|(_, given)| *given && !way.has_tls()) {
        // mosquitto's tools go on in the clear, which nobody can have meant.
        return Err(Wrong::NeedsTls(name));
    }
    if way.path.is_some() && !way.is_websocket {
        return Err(Wrong::Tls(
            "--ws-path needs --ws, or a URL with ws:// or wss://".to_owned(),
        ));
    }
    if way.is_srv && (way.unix.is_some() || way.is_websocket) {
        return Err(Wrong::Tls(
            "-S finds servers of MQTT by their names: not for WebSockets and Unix sockets".to_owned(),
        ));
    }
    if way.is_quic && (way.is_srv || way.is_websocket || way.proxy.is_some()) {
        return Err(Wrong::Tls("quic:// goes without -S, --ws and --proxy".to_owned()));
    }
    if way.is_quic && way.protocol.is_some() {
        return Err(Wrong::Tls(
            "--tls-alpn says 'mqtt' for quic://, and nothing else".to_owned(),
        ));
    }
    if !way.is_srv && !way.name_servers.is_empty() {
        return Err(Wrong::Tls("--name-server needs -S".to_owned()));
    }
    ciphers(way)?;
    version(way)?;
    Ok(())
}

/// The port of the DNS.
const PORT_DNS: u16 = 53;

/// An address, with a port behind it or without.
pub(super) fn name_server(text: &str) -> Result<SocketAddr, Wrong> {
    let with_port = text.parse().ok();
    let alone = || Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, PORT_DNS));
    with_port.or_else(alone).ok_or_else(|| {
        Wrong::Tls(format!(
            "--name-server takes an address such as 192.0.2.1 or [2001:db8::1]:5353, not '{text}'"
        ))
    })
}

fn ciphers(way: &Way) -> Result<Vec<names::SupportedCipherSuite>, Wrong> {
    let Some(list) = &way.ciphers else {
        return Ok(Vec::new());
    };
    let (older, newer) =
        names::ciphers_of_any_version(list).map_err(|error| Wrong::Tls(format!("--ciphers: {error}")))?;
    Ok(names::allowed(older, newer))
}

fn version(way: &Way) -> Result<names::LowestVersion, Wrong> {
    let version = way.version.as_deref().map(names::LowestVersion::of).transpose();
    let version = version.map_err(|error| Wrong::Tls(format!("--tls-version: {error}")))?;
    Ok(version.unwrap_or_default())
}

/// Adds all of it to the options of a client.
///
/// # Errors
/// The file with the pass phrase cannot be read.
pub(crate) fn apply(settings: &Settings, mut options: Options) -> Result<Options, Wrong> {
    let way = &settings.way;
    if let Some(path) = &way.unix {
        options = options.unix(path);
    }
    if let Some(proxy) = &way.proxy {
        options = options.proxy(proxy.clone());
    }
    #[cfg(feature = "quic")]
    if way.is_quic {
        options = options.quic();
    }
    if way.is_srv {
        options = options.srv(way.name_servers.clone());
    }
    if way.is_websocket {
        let usual = WebSocket::default();
        let path = way.path.clone().unwrap_or(usual.path);
        options = options.websocket(WebSocket { path, ..usual });
    }
    if !way.has_tls() {
        return Ok(options);
    }
    let file = |path: &PathBuf| Source::File(path.clone());
    let pass_phrase = way.pass_phrase.as_ref().map(|path| {
        let text = std::fs::read(path).map_err(|error| {
            let why = crate::wrong::cause(&error);
            Wrong::Tls(format!(
                "cannot read the pass phrase in {}: {why}",
                path.display()
            ))
        })?;
        // An editor puts an end of line behind it.
        Ok::<Arc<[u8]>, Wrong>(text.trim_ascii_end().into())
    });
    Ok(options.tls(Tls {
        authorities: way.authorities.as_ref().map(file),
        authorities_folder: way.authorities_folder.clone(),
        identity: way.certificate.as_ref().map(file).zip(way.key.as_ref().map(file)),
        pass_phrase: pass_phrase.transpose()?,
        checks: if way.is_insecure {
            Checks::AllButTheName
        } else {
            Checks::Everything
        },
        protocols: way
            .protocol
            .iter()
            .map(|name| name.clone().into_bytes())
            .collect(),
        lowest: version(way)?,
        suites: ciphers(way)?,
        ..Tls::default()
    }))
}
