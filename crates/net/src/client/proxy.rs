//! Proxies: SOCKS5 (RFC 1928) and CONNECT of HTTP.

use std::fmt;
use std::io;
use std::net::IpAddr;

use base64ct::{Base64, Encoding};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::limits::ANSWER_BYTES_MAX;

/// Somebody who connects to the server for us.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// What it speaks.
    pub kind: ProxyKind,
    /// Where it is.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who we are to it: name and password.
    pub login: Option<(String, String)>,
}

impl fmt::Debug for Proxy {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({:?} {}:{})", self.kind, self.host, self.port)
    }
}

/// What a proxy speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyKind {
    /// SOCKS5. Host names are looked up by the proxy.
    Socks5,
    /// CONNECT of HTTP.
    HttpConnect,
}

/// Why a text is not the URL of a proxy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not the URL of a proxy, such as socks5h://host:1080 or http://host:3128")]
pub struct ProxyUrlError(String);

/// Why a proxy did not connect us.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// There is no connection to it.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// It wants to know who we are, or does not accept who we are.
    #[error("it refuses this login")]
    Login,
    /// It says no.
    #[error("it does not connect: {0}")]
    Refused(String),
    /// It speaks something else.
    #[error("it does not speak {0}")]
    NotAProxy(&'static str),
    /// The name of the server, or ours, is too long for its protocol.
    #[error("{0} is longer than 255 bytes")]
    TooLong(&'static str),
    /// The name of the server has characters that no name has, and that would be more than a name to the proxy.
    #[error("the name of the server has characters that no host name has")]
    Name,
    /// It hung up.
    #[error("it closed the connection in the middle of its answer")]
    Closed,
    /// The network failed.
    #[error("the connection failed: {0}")]
    Io(io::Error),
}

impl From<io::Error> for ProxyError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

impl Proxy {
    /// From `socks5h://[user[:password]@]host[:port]` (also `socks5://`), or `http://...`.
    ///
    /// # Errors
    /// The text is none of these. A password is not repeated.
    pub fn from_url(url: &str) -> Result<Self, ProxyUrlError> {
        let shown = || match url.rsplit_once('@') {
            Some((_, place)) => ProxyUrlError(format!("***@{place}")),
            None => ProxyUrlError(url.to_owned()),
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(shown)?;
        let (kind, usual_port) = match scheme.to_ascii_lowercase().as_str() {
            "socks5" | "socks5h" => (ProxyKind::Socks5, 1080),
            "http" => (ProxyKind::HttpConnect, 3128),
            _ => return Err(shown()),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (login, place) = match authority.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, authority),
        };
        let (host, port) = match place.strip_prefix('[').and_then(|place| place.split_once(']')) {
            Some((host, rest)) => (host, rest.strip_prefix(':')),
            None => match place.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (place, None),
            },
        };
        let port = port.map_or(Ok(usual_port), str::parse).map_err(|_| shown())?;
        if host.is_empty() || port == 0 {
            return Err(shown());
        }
        let login = login.map(|login| match login.split_once(':') {
            Some((name, password)) => (name.to_owned(), password.to_owned()),
            None => (login.to_owned(), String::new()),
        });
        Ok(Self {
            kind,
            host: host.to_owned(),
            port,
            login,
        })
    }

    /// Has the proxy at the other end of `stream` connect to a server.
    pub(super) async fn connect(
        &self,
        stream: &mut TcpStream,
        host: &str,
        port: u16,
    ) -> Result<(), ProxyError> {
        let is_name = |byte: u8| byte > b' ' && byte != 0x7f;
        if !host.bytes().all(is_name) {
            return Err(ProxyError::Name);
        }
        match self.kind {
            ProxyKind::Socks5 => self.socks5(stream, host, port).await,
            ProxyKind::HttpConnect => self.http(stream, host, port).await,
        }
    }

    async fn socks5(&self, stream: &mut TcpStream, host: &str, port: u16) -> Result<(), ProxyError> {
        const NAME: &str = "SOCKS5";
        let methods: &[u8] = if self.login.is_some() {
            &[5, 2, 0, 2]
        } else {
            &[5, 1, 0]
        };
        stream.write_all(methods).await?;
        let mut answer = [0; 2];
        stream.read_exact(&mut answer).await?;
        match (answer, &self.login) {
            ([5, 0], _) => {}
            ([5, 2], Some((name, password))) => {
                let mut request = vec![1];
                push_short(&mut request, name.as_bytes(), "the name for the proxy")?;
                push_short(&mut request, password.as_bytes(), "the password for the proxy")?;
                stream.write_all(&request).await?;
                stream.read_exact(&mut answer).await?;
                if answer[1] != 0 {
                    return Err(ProxyError::Login);
                }
            }
            ([5, _], _) => return Err(ProxyError::Login),
            _ => return Err(ProxyError::NotAProxy(NAME)),
        }
        let mut request = vec![5, 1, 0];
        match host.parse() {
            Ok(IpAddr::V4(address)) => {
                request.push(1);
                request.extend(address.octets());
            }
            Ok(IpAddr::V6(address)) => {
                request.push(4);
                request.extend(address.octets());
            }
            Err(_) => {
                request.push(3);
                push_short(&mut request, host.as_bytes(), "the name of the server")?;
            }
        }
        request.extend(port.to_be_bytes());
        stream.write_all(&request).await?;
        let mut head = [0; 4];
        stream.read_exact(&mut head).await?;
        if head[0] != 5 {
            return Err(ProxyError::NotAProxy(NAME));
        }
        if head[1] != 0 {
            return Err(ProxyError::Refused(socks5_reply(head[1])));
        }
        // The address that it connects from is of no use, and comes before all else.
        let bytes = match head[3] {
            1 => 4,
            4 => 16,
            3 => usize::from(stream.read_u8().await?),
            _ => return Err(ProxyError::NotAProxy(NAME)),
        };
        stream.read_exact(&mut vec![0; bytes + 2]).await?;
        Ok(())
    }

    async fn http(&self, stream: &mut TcpStream, host: &str, port: u16) -> Result<(), ProxyError> {
        const NAME: &str = "HTTP";
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
        if let Some((name, password)) = &self.login {
            let login = Base64::encode_string(format!("{name}:{password}").as_bytes());
            request.push_str(&format!("Proxy-Authorization: Basic {login}\r\n"));
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await?;
        // By single bytes: what is behind the empty line is the server's.
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() >= ANSWER_BYTES_MAX {
                return Err(ProxyError::NotAProxy(NAME));
            }
            answer.push(stream.read_u8().await?);
        }
        let text = String::from_utf8_lossy(&answer);
        let first = text.lines().next().unwrap_or_default();
        let status = first
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.split_once(' '));
        match status.map(|(_, status)| status.trim()) {
            Some(status) if status.starts_with('2') => Ok(()),
            Some(status) if status.starts_with("407") => Err(ProxyError::Login),
            Some(status) => Err(ProxyError::Refused(status.escape_debug().to_string())),
            None => Err(ProxyError::NotAProxy(NAME)),
        }
    }
}

/// A text with its length in one byte before it.
fn push_short(into: &mut Vec<u8>, bytes: &[u8], what: &'static str) -> Result<(), ProxyError> {
    let length = u8::try_from(bytes.len()).map_err(|_| ProxyError::TooLong(what))?;
    into.push(length);
    into.extend_from_slice(bytes);
    Ok(())
}

fn socks5_reply(code: u8) -> String {
    match code {
        1 => "it has failed",
        2 => "its rules do not allow this connection",
        3 => "the network is unreachable",
        4 => "the host is unreachable",
        5 => "the server refuses the connection",
        6 => "it took too long",
        7 => "it does not connect by TCP",
        8 => "it does not know this kind of address",
        _ => return format!("reply {code}"),
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let proxy = Proxy::from_url("socks5h://u:p@w@[::1]:9/x").unwrap();
        assert_eq!(
            (proxy.host.as_str(), proxy.port, proxy.kind),
            ("::1", 9, ProxyKind::Socks5)
        );
        assert_eq!(proxy.login, Some(("u".into(), "p@w".into())));
        let proxy = Proxy::from_url("http://proxy.example").unwrap();
        assert_eq!(
            (proxy.port, proxy.kind, proxy.login),
            (3128, ProxyKind::HttpConnect, None)
        );
        for bad in [
            "",
            "proxy",
            "ftp://h",
            "http://",
            "http://h:0",
            "http://h:x",
            "socks4://h",
        ] {
            assert!(Proxy::from_url(bad).is_err(), "{bad}");
        }
        let error = Proxy::from_url("ftp://u:secret@h").unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}
