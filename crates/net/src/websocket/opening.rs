//! The opening of a WebSocket: one request and one answer of HTTP, in which both sides agree on MQTT.

use tungstenite::Error;
use tungstenite::error::ProtocolError;
use tungstenite::handshake::client::{Response, generate_key};
use tungstenite::handshake::derive_accept_key;
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request as HttpRequest, create_response};
use tungstenite::http::HeaderMap;

use crate::got::Got;

/// The names of MQTT among the protocols that a WebSocket can carry [MQTT5-6.0.0-3]; the second is that of 3.1.
const PROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];

/// What a server wants of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirements {
    /// Bytes of the request.
    pub head_bytes_max: usize,
    /// Pages that a browser may come from, as `https://host`; none: any. Programs that are no browsers name none, and
    /// are let in.
    pub origins: Vec<String>,
}

/// Why there is no WebSocket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// What came is not HTTP.
    #[error("{0} came instead of HTTP")]
    NotHttp(Got),
    /// The head of the request or answer is longer than allowed.
    #[error("the request or answer has more than {max} bytes")]
    TooLong {
        /// The limit.
        max: usize,
    },
    /// A request of HTTP that asks for something else.
    #[error("a request of HTTP came that does not ask for a WebSocket ({0})")]
    NotWebSocket(String),
    /// The request does not offer MQTT.
    #[error("the request offers {offered}, not the sub-protocol mqtt")]
    Protocol {
        /// What it offers.
        offered: String,
    },
    /// The request comes from a page that may not connect.
    #[error("the request comes from a page of '{0}', which is not allowed")]
    Origin(String),
    /// The server answers with another status than 101.
    #[error("the server answers {status} {reason} to the request for a WebSocket at {path}")]
    Status {
        /// The number.
        status: u16,
        /// What it stands for.
        reason: String,
        /// What was asked for.
        path: String,
    },
    /// The answer is none to this request.
    #[error("the server does not open a WebSocket for MQTT: {0}")]
    Answer(&'static str),
}

impl Refused {
    /// What a client is told.
    pub(super) fn response(&self) -> Vec<u8> {
        let status = match self {
            Self::TooLong { .. } => "431 Request Header Fields Too Large",
            Self::Origin(_) => "403 Forbidden",
            Self::NotWebSocket(_) => "426 Upgrade Required",
            Self::NotHttp(Got::Http) | Self::Protocol { .. } => "400 Bad Request",
            _ => return Vec::new(),
        };
        let text = format!("this port speaks MQTT over WebSocket: {self}\n");
        let length = text.len();
        format!(
            "HTTP/1.1 {status}\r\nUpgrade: websocket\r\nConnection: close\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\r\n{text}"
        )
        .into()
    }
}

/// Puts the head of a request or answer together from `bytes`, at most `max`, and reads it once it is whole.
pub(super) fn head<T>(
    bytes: &mut &[u8],
    head: &mut Vec<u8>,
    max: usize,
    read: impl FnOnce(&[u8]) -> Result<Option<(usize, T)>, Refused>,
) -> Option<Result<T, Refused>> {
    let before = head.len();
    let n = bytes.len().min(max - before);
    head.extend_from_slice(&bytes[..n]);
    match read(head.as_slice()) {
        Ok(Some((length, value))) => {
            // What is behind it belongs to the first frame.
            *bytes = &bytes[length - before..];
            Some(Ok(value))
        }
        Ok(None) if head.len() >= max => Some(Err(Refused::TooLong { max })),
        Ok(None) => {
            *bytes = &bytes[n..];
            None
        }
        Err(refused) => Some(Err(refused)),
    }
}

impl Requirements {
    /// The answer to a request, and the bytes that the request has; `None` as long as it is not whole.
    pub(super) fn answer(&self, head: &[u8]) -> Result<Option<(usize, Vec<u8>)>, Refused> {
        let (length, request) = match HttpRequest::try_parse(head) {
            Ok(None) => return Ok(None),
            Ok(Some(parsed)) => parsed,
            Err(error) => return Err(not_a_request(head, &error)),
        };
        let accept = create_response(&request).map_err(|error| not_a_request(head, &error))?;
        let headers = request.headers();
        self.check_origin(headers)?;
        let protocol = protocol(headers)?;
        let key = accept.headers()["Sec-WebSocket-Accept"]
            .to_str()
            .unwrap_or_default();
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {key}\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n"
        );
        Ok(Some((length, answer.into())))
    }

    fn check_origin(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let Some(origin) = headers.get("Origin").filter(|_| !self.origins.is_empty()) else {
            return Ok(());
        };
        let is_allowed = |allowed: &String| origin.as_bytes().eq_ignore_ascii_case(allowed.as_bytes());
        if self.origins.iter().any(is_allowed) {
            return Ok(());
        }
        Err(Refused::Origin(
            String::from_utf8_lossy(origin.as_bytes()).into_owned(),
        ))
    }
}

/// The first of the offered protocols that we have.
fn protocol(headers: &HeaderMap) -> Result<&'static str, Refused> {
    let values = headers.get_all("Sec-WebSocket-Protocol").iter();
    let offered: Vec<&str> = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    let known = |offer: &&str| PROTOCOLS.into_iter().find(|known| known == offer);
    offered.iter().find_map(known).ok_or_else(|| {
        let offered = if offered.is_empty() {
            "no sub-protocol".to_owned()
        } else {
            format!("'{}'", offered.join(", "))
        };
        Refused::Protocol { offered }
    })
}

/// Why a head is no request for a WebSocket.
fn not_a_request(head: &[u8], error: &Error) -> Refused {
    match (Got::of(head), error) {
        (Got::Http, Error::Protocol(error)) => Refused::NotWebSocket(lacking(error).to_owned()),
        (Got::Http, error) => Refused::NotWebSocket(error.to_string()),
        (got, _) => Refused::NotHttp(got),
    }
}

fn lacking(error: &ProtocolError) -> &'static str {
    match error {
        ProtocolError::WrongHttpMethod => "its method is not GET",
        ProtocolError::WrongHttpVersion => "it is not HTTP/1.1",
        ProtocolError::MissingSecWebSocketVersionHeader => "it does not ask for version 13",
        ProtocolError::MissingSecWebSocketKey | ProtocolError::InvalidSecWebSocketKey => {
            "it has no Sec-WebSocket-Key"
        }
        ProtocolError::HttparseError(_) => "it cannot be read",
        _ => "it has no 'Connection: Upgrade' and 'Upgrade: websocket'",
    }
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    bytes: Vec<u8>,
    path: String,
    key: String,
}

/// Names of headers that the opening sets itself.
const OWN_HEADERS: [&str; 6] = [
    "connection",
    "upgrade",
    "sec-websocket-version",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "content-length",
];

impl Request {
    /// Asks `host` (with its port, if that is not the usual one) for the WebSocket at `path`.
    ///
    /// # Errors
    /// What of a header or path cannot be sent.
    pub fn new(host: &str, path: &str, headers: &[(String, String)]) -> Result<Self, String> {
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        };
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!(
                "the path '{}' has characters that must be escaped",
                path.escape_debug()
            ));
        }
        let key = generate_key();
        let protocol = PROTOCOLS[0];
        let mut text = format!("GET {path} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            text.push_str(&format!("Host: {host}\r\n"));
        }
        text.push_str(&format!(
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: {protocol}\r\n"
        ));
        for (name, value) in headers {
            check_header(name, value)?;
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        Ok(Self {
            bytes: text.into(),
            path,
            key,
        })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the answer opens the WebSocket, and the bytes that it has; `None` as long as it is not whole.
    pub(super) fn verify(&self, head: &[u8]) -> Result<Option<(usize, ())>, Refused> {
        let (length, response) = match Response::try_parse(head) {
            Ok(None) => return Ok(None),
            Ok(Some(parsed)) => parsed,
            Err(_) => return Err(Refused::NotHttp(Got::of(head))),
        };
        let status = response.status();
        if status.as_u16() != 101 {
            return Err(Refused::Status {
                status: status.as_u16(),
                reason: status.canonical_reason().unwrap_or_default().to_owned(),
                path: self.path.clone(),
            });
        }
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let is = |name, wanted: &str| header(name).is_some_and(|value| value.eq_ignore_ascii_case(wanted));
        if !is("Upgrade", "websocket") {
            return Err(Refused::Answer("its answer has no 'Upgrade: websocket'"));
        }
        if header("Sec-WebSocket-Accept") != Some(&derive_accept_key(self.key.as_bytes())) {
            return Err(Refused::Answer(
                "its answer is to another request (Sec-WebSocket-Accept)",
            ));
        }
        // Without a word about it the server may still speak MQTT: what comes will tell.
        if header("Sec-WebSocket-Protocol").is_some_and(|protocol| protocol != PROTOCOLS[0]) {
            return Err(Refused::Answer("its answer names another sub-protocol"));
        }
        Ok(Some((length, ())))
    }
}

fn check_header(name: &str, value: &str) -> Result<(), String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(format!("'{}' is not the name of a header", name.escape_debug()));
    }
    if OWN_HEADERS.iter().any(|own| name.eq_ignore_ascii_case(own)) {
        return Err(format!("the header '{name}' is set by the WebSocket itself"));
    }
    if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
        return Err(format!("the value of the header '{name}' has control characters"));
    }
    Ok(())
}
