//! What went wrong below MQTT: TLS, WebSocket, a proxy.

use martlet_client::DialError;
use martlet_client::tls::{FileFaultKind, TlsError};

use super::{Failure, status};

/// What mosquitto's tools say where TLS fails once there is a connection.
const TLS_FAILED: &str = "Error: A TLS error occurred.\n";
/// The same before.
const NO_TLS: &str = "Unable to connect (A TLS error occurred.).\n";

impl Failure {
    pub(super) fn transport(error: &DialError) -> Self {
        let sentence = |text: &dyn std::fmt::Display| format!("{text}.");
        match error {
            DialError::Tls { address, source } => Self::tls(address, source),
            DialError::Proxy { source, .. } => {
                let mosquitto = format!("Error: {source}\n");
                Self::new("C008", sentence(error), mosquitto, status::FAILED)
            }
            DialError::Srv { .. } => Self::new(
                "C016",
                sentence(error),
                "Unable to connect (Lookup error.).\n",
                status::FAILED,
            ),
            DialError::WebSocket { .. } => Self::new(
                "C009",
                sentence(error),
                "Error: A network protocol error occurred when communicating with the broker.\n",
                status::FAILED,
            ),
            other => {
                let mosquitto = format!("Error: {other}\n");
                Self::new("C010", sentence(other), mosquitto, status::FAILED)
            }
        }
    }

    pub(super) fn tls(address: &str, error: &TlsError) -> Self {
        let failed = status::FAILED;
        let of_connection =
            |code, first: String| Self::new(code, first, TLS_FAILED, failed).mosquitto_status(status::TLS);
        match error {
            TlsError::Files(faults) => Self::tls_files(faults),
            TlsError::UnknownAuthority { .. } => Self::new("T010", format!("{error}."), NO_TLS, failed),
            TlsError::WrongName { names, .. } => {
                let failure = of_connection("T011", format!("{error}."));
                match names.as_slice() {
                    [name] if !name.contains('*') && !name.contains(' ') => {
                        failure.with(format!("fix: -h {name}"))
                    }
                    _ => failure,
                }
            }
            TlsError::NoName { .. } => of_connection("T011", format!("{error}."))
                .with("fix: have the certificate made anew with a subject alternative name"),
            TlsError::NotTls(_) => {
                let first = format!("{address} {}.", words_of_server(error));
                of_connection("T012", first)
                    .with("fix: leave the options of TLS out, or use the port for TLS (8883)")
            }
            TlsError::Dates { .. } => of_connection("T014", format!("{error}.")),
            TlsError::Settings(_) | TlsError::NoSystemRoots(_) => {
                Self::new("T015", format!("{error}."), NO_TLS, failed)
            }
            TlsError::Fault(martlet_client::tls::Fault::Closed) => of_connection(
                "T012",
                format!("{address} ended the connection at the first bytes of TLS: it may speak plain MQTT."),
            ),
            _ => of_connection("T015", format!("no TLS with {address}: {error}.")),
        }
    }

    fn tls_files(faults: &[martlet_client::tls::FileFault]) -> Self {
        let is_unreadable = |kind: &FileFaultKind| matches!(kind, FileFaultKind::Unreadable { .. });
        let mosquitto = if faults.iter().any(|fault| is_unreadable(&fault.kind)) {
            "Error: Problem setting TLS options: File not found.\n"
        } else {
            NO_TLS
        };
        let code = faults
            .first()
            .map_or("T004", martlet_client::tls::FileFault::code);
        let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
        let failure = Self::new(code, format!("{}.", texts.join("; ")), mosquitto, status::FAILED);
        match faults.iter().find_map(martlet_client::tls::FileFault::fix) {
            Some(fix) => failure.with(format!("fix: {fix}")),
            None => failure,
        }
    }

    /// The server ended TLS with an alert.
    pub(super) fn tls_refused(address: &str, text: &str) -> Self {
        let first = format!("no TLS with {address}: {text}.");
        Self::new("T015", first, "Error: The connection was lost.\n", status::LOST)
    }

    /// An answer in TLS, to a client that does not speak it.
    pub(super) fn port_expects_tls(address: &str) -> Self {
        let port = address.rsplit_once(':').map_or(address, |(_, port)| port);
        Self::new(
            "T013",
            format!("port {port} expects TLS."),
            "Error: The connection was lost.\n",
            status::LOST,
        )
        .with("fix: --cafile FILE with the CA's certificate, or --tls-use-os-certs")
    }
}

/// "speaks plain MQTT, not TLS".
fn words_of_server(error: &TlsError) -> String {
    let text = error.to_string();
    text.strip_prefix("the server ").unwrap_or(&text).to_owned()
}
