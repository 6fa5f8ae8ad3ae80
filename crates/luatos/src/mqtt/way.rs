//! The way to a server: addresses of IPv6 first where they are wanted, and how much of a certificate is believed.

use std::net::IpAddr;
use std::rc::Rc;

use martlet_client::tls::{Checks, FileFault, TlsError};
use martlet_client::{ConnectError, DialError, Kept};
use martlet_net::Stream;

use super::device::Device;
use super::setup::Verify;

/// Connects. The error: why not, in words.
pub(super) async fn connect(device: &Rc<Device>) -> Result<Stream, String> {
    let setup = device.setup.borrow().clone();
    let address = match setup.host() {
        Some((host, port)) if setup.is_ipv6 => first_of_ipv6(host, port).await,
        _ => None,
    };
    let mut kept = device.kept.take();
    let dialed = martlet_client::dial(&setup.route(address, None)?, 0, &mut kept).await;
    device.kept.replace(kept);
    let (error, verify) = match (dialed, &setup.tls) {
        (Ok(stream), _) => return Ok(stream),
        (Err(error), None) => return Err(error.to_string()),
        (Err(error), Some((_, verify))) => (error, *verify),
    };
    let has_authorities = setup
        .tls
        .as_ref()
        .is_some_and(|(tls, _)| tls.authorities.is_some());
    let text = explain(&error, has_authorities);
    if verify != Verify::Optional || !is_about_certificate(&error) {
        return Err(text);
    }
    device.note('W', format!("{text}; connected all the same, as verify = 1 says"));
    let unchecked = setup.route(address, Some(Checks::Nothing))?;
    let dialed = martlet_client::dial(&unchecked, 0, &mut Kept::default()).await;
    dialed.map_err(|error| error.to_string())
}

/// An address of IPv6; none: as the system says.
async fn first_of_ipv6(host: &str, port: u16) -> Option<IpAddr> {
    let mut found = tokio::net::lookup_host((host, port)).await.ok()?;
    found
        .find(std::net::SocketAddr::is_ipv6)
        .map(|address| address.ip())
}

fn tls_error(error: &ConnectError) -> Option<&TlsError> {
    match error {
        ConnectError::Transport(error) => match &**error {
            DialError::Tls { source, .. } => Some(source),
            _ => None,
        },
        _ => None,
    }
}

/// Whether the server's certificate is what is wrong.
fn is_about_certificate(error: &ConnectError) -> bool {
    matches!(
        tls_error(error),
        Some(
            TlsError::UnknownAuthority { .. }
                | TlsError::WrongName { .. }
                | TlsError::NoName { .. }
                | TlsError::Dates { .. }
        )
    )
}

fn explain(error: &ConnectError, has_authorities: bool) -> String {
    match tls_error(error) {
        Some(TlsError::NoName { .. }) => format!("{error}; have it made anew with one, or set verify = 1"),
        Some(TlsError::UnknownAuthority { .. }) if !has_authorities => {
            format!("{error}; there is no server_cert, so whom this system trusts is trusted")
        }
        Some(TlsError::Files(faults)) => {
            let fixes = faults.iter().filter_map(FileFault::fix);
            fixes.fold(error.to_string(), |text, fix| {
                format!("{text}; this makes one that is read: {fix}")
            })
        }
        _ => error.to_string(),
    }
}
