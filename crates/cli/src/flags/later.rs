//! Options that this version knows and does not serve: each names what it needs.

/// What an option needs that is not there yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Later {
    Tls,
    WebSocket,
    UnixSocket,
    Srv,
    Proxy,
    Multipath,
}

impl Later {
    /// As the end of "... needs".
    pub(crate) const fn what(self) -> &'static str {
        match self {
            Self::Tls => "TLS",
            Self::WebSocket => "WebSocket connections",
            Self::UnixSocket => "Unix sockets",
            Self::Srv => "SRV look-ups",
            Self::Proxy => "proxies",
            Self::Multipath => "multipath TCP",
        }
    }
}
