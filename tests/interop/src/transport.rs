//! Ways to a broker, with certificates made for one test.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};

/// A way to a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Nothing between MQTT and TCP.
    Tcp,
    /// TLS.
    Tls,
    /// TLS in which clients show a certificate, which says who they are.
    Mutual,
    /// WebSocket.
    Ws,
    /// WebSocket in TLS.
    Wss,
    /// A Unix socket.
    Unix,
}

impl Transport {
    /// Every way.
    pub const ALL: [Self; 6] = [
        Self::Tcp,
        Self::Tls,
        Self::Mutual,
        Self::Ws,
        Self::Wss,
        Self::Unix,
    ];

    /// Its name for the scripts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Mutual => "mutual",
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::Unix => "unix",
        }
    }

    /// The lines of a listener, for a configuration.
    pub fn listener(self, port: u16, folder: &Path) -> String {
        let place = match self {
            Self::Unix => format!("listener 0 {}", socket(folder).display()),
            _ => format!("listener {port} 127.0.0.1\nsocket_domain ipv4"),
        };
        let file = |name: &str| folder.join(name).display().to_string();
        let tls = format!(
            "certfile {}\nkeyfile {}\n",
            file("server.pem"),
            file("server.key")
        );
        let more = match self {
            Self::Tls => tls,
            Self::Mutual => format!(
                "{tls}cafile {}\nrequire_certificate true\nuse_identity_as_username true\n",
                file("ca.pem")
            ),
            Self::Ws => "protocol websockets\n".to_owned(),
            Self::Wss => format!("{tls}protocol websockets\n"),
            Self::Tcp | Self::Unix => String::new(),
        };
        format!("{place}\n{more}")
    }

    /// What the scripts need to find the way.
    pub fn variables(self, port: u16, folder: &Path) -> Vec<(&'static str, String)> {
        let file = |name: &str| folder.join(name).display().to_string();
        vec![
            ("MARTLET_TRANSPORT", self.name().to_owned()),
            ("MARTLET_TRANSPORT_PORT", port.to_string()),
            ("MARTLET_SOCKET", socket(folder).display().to_string()),
            ("MARTLET_CA", file("ca.pem")),
            ("MARTLET_CERT", file("client.pem")),
            ("MARTLET_KEY", file("client.key")),
        ]
    }
}

/// The Unix socket of a broker. Its path is short: the system has room for 107 bytes.
pub fn socket(folder: &Path) -> PathBuf {
    let name: u64 = folder
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(0, |hash, byte| {
            hash.wrapping_mul(31).wrapping_add(u64::from(*byte))
        });
    std::env::temp_dir().join(format!("martlet-{name:x}.sock"))
}

/// Writes certificates into a folder: `ca.pem` has signed `server` (for localhost and 127.0.0.1) and `client`, whose
/// common name is `alice`; each has a `.pem` and a `.key`.
pub fn certificates(folder: &Path) {
    let mut params = named("Interop CA", &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("the system has random numbers");
    let authority = params.self_signed(&key).expect("the parameters are good");
    write(folder, "ca.pem", &authority.pem());
    let authority = Issuer::new(params, key);
    leaf(
        folder,
        "server",
        &named("localhost", &["localhost", "127.0.0.1"]),
        &authority,
    );
    leaf(folder, "client", &named("alice", &[]), &authority);
}

/// A new certificate of the server in the same folder, by an authority of its own: only who does not look accepts it.
pub fn renew_server(folder: &Path) {
    let params = named("renewed", &["localhost", "127.0.0.1"]);
    let key = KeyPair::generate().expect("the system has random numbers");
    let certificate = params.self_signed(&key).expect("the parameters are good");
    write(folder, "server.pem", &certificate.pem());
    write(folder, "server.key", &key.serialize_pem());
    write(folder, "renewed-ca.pem", &certificate.pem());
}

/// Writes `stranger.pem` into a folder: an authority that has signed nobody.
pub fn stranger(folder: &Path) {
    let params = named("stranger", &[]);
    let key = KeyPair::generate().expect("the system has random numbers");
    let certificate = params.self_signed(&key).expect("the parameters are good");
    write(folder, "stranger.pem", &certificate.pem());
}

fn named(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).expect("the names are good");
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn leaf(folder: &Path, file: &str, params: &CertificateParams, authority: &Issuer<'_, KeyPair>) {
    let key = KeyPair::generate().expect("the system has random numbers");
    let certificate = params
        .signed_by(&key, authority)
        .expect("the parameters are good");
    write(folder, &format!("{file}.pem"), &certificate.pem());
    write(folder, &format!("{file}.key"), &key.serialize_pem());
}

fn write(folder: &Path, file: &str, text: &str) {
    fs::write(folder.join(file), text).expect("the test's folder can be written to");
}
