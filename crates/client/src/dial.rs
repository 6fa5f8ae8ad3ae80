//! The connection to a server, on tokio: the one place that makes it.

use std::io;

use martlet_net::Stream;
use martlet_net::client::{DialError, Kept};

use crate::error::ConnectError;
use crate::options::Options;

/// A connection that carries MQTT to the server at that place of the list, for those who drive an
/// [`Engine`](crate::engine::Engine) themselves; what is kept makes the next one cheaper. Whoever calls bounds the time.
pub async fn dial(options: &Options, server: usize, kept: &mut Kept) -> Result<Stream, ConnectError> {
    let (host, port) = options.server(server);
    let dialed = martlet_net::client::dial_again(&options.route(host, port), kept).await;
    dialed.map_err(|error| match error {
        DialError::HostNotFound { host, source } => ConnectError::HostNotFound { host, source },
        DialError::ConnectionRefused { address, source } => {
            ConnectError::ConnectionRefused { address, source }
        }
        DialError::Bind { bind, source } => ConnectError::Bind { bind, source },
        DialError::Io { address, source } => ConnectError::Io { address, source },
        other => ConnectError::Transport(Box::new(other)),
    })
}

/// What the system says about a connection that cannot be made.
#[cfg(unix)]
pub(crate) fn failed(options: &Options, server: usize, source: io::Error) -> ConnectError {
    let address = options.address_of(server);
    if source.kind() == io::ErrorKind::ConnectionRefused {
        ConnectError::ConnectionRefused { address, source }
    } else {
        ConnectError::Io { address, source }
    }
}
