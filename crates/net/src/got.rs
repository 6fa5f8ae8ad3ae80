//! What a peer speaks, by its first bytes: most of what goes wrong is a port of another kind.

use std::fmt;

/// What the first bytes of a peer look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Got {
    /// CONNECT of MQTT.
    Mqtt,
    /// A handshake or an alert of TLS.
    Tls,
    /// A request or an answer of HTTP.
    Http,
    /// Something else.
    Unknown,
}

const HTTP: [&[u8]; 9] = [
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"OPTIONS ",
    b"PATCH ",
    b"CONNECT ",
    b"HTTP/",
];

impl Got {
    /// Looks at the first bytes; a few are enough.
    pub fn of(bytes: &[u8]) -> Self {
        let begins = |start: &&[u8]| bytes.starts_with(&start[..start.len().min(bytes.len())]);
        match bytes {
            [] => Self::Unknown,
            [0x10 | 0x20, ..] => Self::Mqtt,
            [0x14..=0x17, 0x03, ..] | [0x14..=0x17] => Self::Tls,
            _ if HTTP.iter().any(begins) => Self::Http,
            _ => Self::Unknown,
        }
    }

    /// Its name in the log.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Tls => "tls",
            Self::Http => "http",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Got {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mqtt => "MQTT",
            Self::Tls => "TLS",
            Self::Http => "HTTP",
            Self::Unknown => "something unknown",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_the_first_bytes() {
        let table: [(&[u8], Got); 8] = [
            (b"", Got::Unknown),
            (b"\x10\x0c\0\x04MQTT", Got::Mqtt),
            (b"\x16\x03\x01\x02\0", Got::Tls),
            (b"\x15\x03\x03\0\x02\x02\x0a", Got::Tls),
            (b"GET / HTTP/1.1", Got::Http),
            (b"POST", Got::Http),
            (b"SSH-2.0", Got::Unknown),
            (b"\x16\x05", Got::Unknown),
        ];
        for (bytes, got) in table {
            assert_eq!(Got::of(bytes), got, "{bytes:?}");
        }
    }
}
