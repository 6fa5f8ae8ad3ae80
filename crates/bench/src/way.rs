//! What is between MQTT and the socket of each connection: TLS, WebSocket, and which kind of socket, by a proxy or not, with the
//! options of `martlet pub`.

use std::path::PathBuf;

use clap::Args;
use martlet_net::Layers;
use martlet_net::client::{Checks, ClientTls, LoadedTls, Proxy, WebSocketRequest, Witness};
use martlet_net::tls::files::Source;
use martlet_net::tls::names;
use martlet_net::websocket::Request;

use crate::error::Error;

/// The options.
#[derive(Debug, Args, Clone, Default)]
#[command(next_help_heading = "TLS, WebSocket, Unix sockets and proxies")]
pub(crate) struct Way {
    /// Speak TLS, and trust the certificates in this file
    #[arg(long, value_name = "FILE")]
    cafile: Option<PathBuf>,
    /// The same with the files of a folder
    #[arg(long, value_name = "DIR")]
    capath: Option<PathBuf>,
    /// Speak TLS, and trust whom this system trusts
    #[arg(long)]
    tls_use_os_certs: bool,
    /// Certificate of the clients
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Its private key
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// File with the pass phrase of the key, if it is encrypted (PKCS#8)
    #[arg(long, value_name = "FILE", requires = "key")]
    key_pass_file: Option<PathBuf>,
    /// Insecure: accept a certificate of any host that a trusted authority has signed
    #[arg(long)]
    insecure: bool,
    /// Cipher suites by their names in OpenSSL, apart by colons
    #[arg(long, value_name = "LIST")]
    ciphers: Option<String>,
    /// Lowest version of TLS: tlsv1.2 (default) or tlsv1.3
    #[arg(long, value_name = "VERSION")]
    tls_version: Option<String>,
    /// Application protocol to ask for
    #[arg(long, value_name = "PROTOCOL")]
    tls_alpn: Option<String>,
    /// Connect by WebSocket
    #[arg(long)]
    ws: bool,
    /// Path of the WebSocket (default: /mqtt)
    #[arg(long, value_name = "PATH", requires = "ws")]
    ws_path: Option<String>,
    /// Connect to a Unix socket
    #[arg(long, value_name = "PATH", conflicts_with_all = ["host", "port"])]
    pub(crate) unix: Option<PathBuf>,
    /// Connect through a proxy: socks5h://[USER:PASSWORD@]HOST[:PORT], or the same with http
    #[arg(long, value_name = "URL", conflicts_with = "unix")]
    proxy: Option<String>,
}

/// The same with all files read: it makes the layers of each connection.
#[derive(Debug)]
pub(crate) struct Dresser {
    tls: Option<LoadedTls>,
    web: Option<WebSocketRequest>,
    /// The name that the certificate is to have.
    host: String,
    /// What stands in `Host`.
    authority: String,
    /// Where it connects to, for errors.
    address: String,
}

/// What a connection has over its socket.
pub(crate) struct Dress {
    pub(crate) layers: Option<Layers>,
    /// What sees the server's certificate, if there is TLS.
    pub(crate) witness: Option<Witness>,
    /// A WebSocket carries nothing before the server has said yes; TLS keeps what comes too early.
    pub(crate) opens_first: bool,
}

impl Way {
    const fn has_tls(&self) -> bool {
        self.cafile.is_some() || self.capath.is_some() || self.tls_use_os_certs
    }

    /// What a report says of it, behind the version of MQTT.
    pub(crate) fn name(&self) -> String {
        let way = match (self.has_tls(), self.ws) {
            (false, false) if self.unix.is_some() => " over a Unix socket",
            (false, false) => "",
            (true, false) => " over TLS",
            (false, true) => " over WebSocket",
            (true, true) => " over WebSocket and TLS",
        };
        let proxy = if self.proxy.is_some() {
            " through a proxy"
        } else {
            ""
        };
        format!("{way}{proxy}")
    }

    /// Who connects for us, if somebody does.
    pub(crate) fn proxy(&self) -> Result<Option<Proxy>, Error> {
        let proxy = self.proxy.as_deref().map(Proxy::from_url).transpose();
        proxy.map_err(|error| Error::Arguments(format!("--proxy: {error}")))
    }

    /// Reads the files.
    pub(crate) fn load(&self, host: &str, port: u16) -> Result<Dresser, Error> {
        let (host, address) = match &self.unix {
            Some(path) => ("localhost", path.display().to_string()),
            None => (host, format!("{host}:{port}")),
        };
        let web = self.ws.then(|| {
            let usual = WebSocketRequest::default();
            WebSocketRequest {
                path: self.ws_path.clone().unwrap_or(usual.path),
                ..usual
            }
        });
        Ok(Dresser {
            tls: self.load_tls(&address)?,
            web,
            authority: self
                .unix
                .as_ref()
                .map_or_else(|| address.clone(), |_| host.to_owned()),
            host: host.to_owned(),
            address,
        })
    }

    fn load_tls(&self, address: &str) -> Result<Option<LoadedTls>, Error> {
        if !self.has_tls() {
            return self.refuse_without_tls().map(|()| None);
        }
        let wrong = |option: &str, why: String| Error::Arguments(format!("{option}: {why}"));
        let ciphers = self.ciphers.as_deref().map(names::ciphers_of_any_version);
        let ciphers = ciphers
            .transpose()
            .map_err(|error| wrong("--ciphers", error.to_string()))?;
        let lowest = self.tls_version.as_deref().map(names::LowestVersion::of);
        let lowest = lowest
            .transpose()
            .map_err(|error| wrong("--tls-version", error.to_string()))?;
        let pass_phrase = self.key_pass_file.as_ref().map(|path| {
            let text = std::fs::read(path).map_err(|error| {
                wrong(
                    "--key-pass-file",
                    format!("cannot read {}: {error}", path.display()),
                )
            })?;
            // An editor puts an end of line behind it.
            Ok::<std::sync::Arc<[u8]>, Error>(text.trim_ascii_end().into())
        });
        let file = |path: &PathBuf| Source::File(path.clone());
        let tls = ClientTls {
            authorities: self.cafile.as_ref().map(file),
            authorities_folder: self.capath.clone(),
            identity: self.cert.as_ref().map(file).zip(self.key.as_ref().map(file)),
            pass_phrase: pass_phrase.transpose()?,
            checks: if self.insecure {
                Checks::AllButTheName
            } else {
                Checks::Everything
            },
            protocols: self
                .tls_alpn
                .iter()
                .map(|name| name.clone().into_bytes())
                .collect(),
            lowest: lowest.unwrap_or_default(),
            suites: ciphers.map_or_else(Vec::new, |(older, newer)| names::allowed(older, newer)),
            ..ClientTls::default()
        };
        let failed = |source| Error::Tls {
            address: address.to_owned(),
            source,
        };
        // Each handshake is a whole one: what is measured is to be alike from the first to the last.
        Ok(Some(tls.load().map_err(failed)?.without_resumption()))
    }

    /// An option of TLS alone is a mistake: nobody means to go on in the clear.
    fn refuse_without_tls(&self) -> Result<(), Error> {
        let given = [
            ("--cert", self.cert.is_some()),
            ("--insecure", self.insecure),
            ("--ciphers", self.ciphers.is_some()),
            ("--tls-version", self.tls_version.is_some()),
            ("--tls-alpn", self.tls_alpn.is_some()),
        ];
        match given.iter().find(|(_, is_given)| *is_given) {
            None => Ok(()),
            Some((option, _)) => Err(Error::Arguments(format!(
                "{option} needs TLS: add --cafile FILE, --capath DIR or --tls-use-os-certs"
            ))),
        }
    }
}

impl Dresser {
    /// Layers for one more connection.
    pub(crate) fn dress(&self) -> Result<Dress, Error> {
        let (tls, witness) = match &self.tls {
            None => (None, None),
            Some(tls) => {
                let (tls, witness) = tls.begin(&self.host).map_err(|source| Error::Tls {
                    address: self.address.clone(),
                    source,
                })?;
                (Some(tls.into()), Some(witness))
            }
        };
        let layers = match &self.web {
            None if tls.is_none() => None,
            None => Some(Layers::new(tls, None)),
            Some(web) => {
                let request =
                    Request::new(&self.authority, &web.path, &web.headers).map_err(Error::Arguments)?;
                Some(Layers::with_request(tls, request))
            }
        };
        Ok(Dress {
            layers,
            witness,
            opens_first: self.web.is_some(),
        })
    }
}
