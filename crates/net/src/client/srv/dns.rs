//! Asks name servers: by UDP, and by TCP where the answer does not fit.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::SrvError;
use super::question::{self, Answer, Target};
use crate::limits::{DNS_ANSWER_WAIT_MAX, DNS_ROUNDS, NAME_SERVERS_MAX};

/// The port of the DNS.
const PORT: u16 = 53;

/// The bytes of the largest answer by UDP, as long as nobody agrees on more.
const DATAGRAM_BYTES_MAX: usize = 512;

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The targets of a name. Each name server is asked in turn, and all of them once more.
pub(super) async fn ask(name: &str, servers: &[SocketAddr]) -> Result<Vec<Target>, SrvError> {
    let servers = if servers.is_empty() {
        system_servers().await?
    } else {
        servers.to_vec()
    };
    let mut why = String::new();
    for _ in 0..DNS_ROUNDS {
        for server in &servers {
            let said = match timeout(DNS_ANSWER_WAIT_MAX, ask_one(name, *server)).await {
                Ok(Ok(Answer::Targets(targets))) => return Ok(targets),
                Ok(Ok(Answer::Final(error)) | Err(Failure::Name(error))) => return Err(error),
                Ok(Ok(Answer::Failed(said))) => said,
                Ok(Ok(Answer::Truncated | Answer::Stray)) => "its answer cannot be read".to_owned(),
                Ok(Err(Failure::Io(error))) => crate::fault::said(&error),
                Err(_) => format!("none within {} s", DNS_ANSWER_WAIT_MAX.as_secs()),
            };
            why = format!("{server}: {said}");
        }
    }
    Err(SrvError::NoAnswer(why))
}

enum Failure {
    Name(SrvError),
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

async fn ask_one(name: &str, server: SocketAddr) -> Result<Answer, Failure> {
    let id = getrandom::u32().map_err(|error| io::Error::other(error.to_string()))? as u16;
    let question = question::encode(id, name).map_err(Failure::Name)?;
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // The system chooses the port by chance, and lets nobody but the server answer.
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&question).await?;
    let mut datagram = [0; DATAGRAM_BYTES_MAX];
    loop {
        let bytes = socket.recv(&mut datagram).await?;
        match question::decode(id, name, &datagram[..bytes]) {
            // It may be of somebody who guesses: the answer may still come.
            Answer::Stray => {}
            Answer::Truncated => break,
            answer => return Ok(answer),
        }
    }
    let whole = by_tcp(server, &question).await?;
    Ok(question::decode(id, name, &whole))
}

/// Both ways with two bytes of length in front.
async fn by_tcp(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream
        .write_all(&[&length.to_be_bytes(), question].concat())
        .await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; length.into()];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

async fn system_servers() -> Result<Vec<SocketAddr>, SrvError> {
    // As small as it is, it may lie on a disk that is slow.
    let read = tokio::task::spawn_blocking(|| std::fs::read_to_string(RESOLV_CONF)).await;
    let text = read.map_err(io::Error::other).flatten();
    let text = text
        .map_err(|error| SrvError::NoNameServer(format!("{RESOLV_CONF}: {}", crate::fault::said(&error))))?;
    let servers = name_servers(&text);
    if servers.is_empty() {
        let why = format!("{RESOLV_CONF} has no line of nameserver");
        return Err(SrvError::NoNameServer(why));
    }
    Ok(servers)
}

/// The name servers of a `resolv.conf`. One with a scope of the link (`fe80::1%eth0`) is not asked.
fn name_servers(text: &str) -> Vec<SocketAddr> {
    let addresses = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let is_server = words.next() == Some("nameserver");
        let address: IpAddr = words.next().filter(|_| is_server)?.parse().ok()?;
        Some(SocketAddr::new(address, PORT))
    });
    addresses.take(NAME_SERVERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_of_the_system() {
        let text = "# nameserver 9.9.9.9\nsearch a b\nnameserver 192.0.2.1\n  nameserver\t2001:db8::1 # two\n\
                    nameserver fe80::1%eth0\nnameserver x\nnameserver\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n";
        let expected = ["192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.3:53"];
        let found: Vec<String> = name_servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
        assert_eq!(name_servers(""), []);
    }
}
