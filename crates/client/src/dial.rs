//! The connection to a server, on tokio: the one place that makes it.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpSocket, TcpStream};

use crate::error::ConnectError;
use crate::options::Options;

/// A connected socket to the server at that place of the list.
pub(crate) async fn dial(options: &Options, server: usize) -> Result<TcpStream, ConnectError> {
    let (host, port) = options.server(server);
    let found = tokio::net::lookup_host((host, port)).await;
    let not_found = |source| ConnectError::HostNotFound {
        host: host.to_owned(),
        source,
    };
    let mut last = None;
    for address in found.map_err(not_found)? {
        match dial_address(options, server, address).await {
            Ok(stream) => return Ok(stream),
            // The address of the other family says less than one that was tried.
            Err(ConnectError::Bind { .. }) if last.is_some() => {}
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| not_found(io::ErrorKind::NotFound.into())))
}

async fn dial_address(
    options: &Options,
    server: usize,
    address: SocketAddr,
) -> Result<TcpStream, ConnectError> {
    let failed = |source| failed(options, server, source);
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    };
    let socket = socket.map_err(failed)?;
    if let Some(bind) = options.bind_address {
        socket
            .bind(SocketAddr::new(bind, 0))
            .map_err(|source| ConnectError::Bind { bind, source })?;
    }
    let stream = socket.connect(address).await.map_err(failed)?;
    stream.set_nodelay(options.no_delay).map_err(failed)?;
    Ok(stream)
}

/// What the system says about a connection that cannot be made.
pub(crate) fn failed(options: &Options, server: usize, source: io::Error) -> ConnectError {
    let address = options.address_of(server);
    if source.kind() == io::ErrorKind::ConnectionRefused {
        ConnectError::ConnectionRefused { address, source }
    } else {
        ConnectError::Io { address, source }
    }
}
