//! Options that are known and not served: each names what it needs.

/// What an option needs that is not there yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Later {
    /// Secrets of TLS written to a file.
    KeyLog,
    Multipath,
    /// Pre-shared keys.
    Psk,
    /// OpenSSL's engines.
    Engine,
}

impl Later {
    /// As the end of "... needs".
    pub(crate) const fn what(self) -> &'static str {
        match self {
            Self::KeyLog => "logs of TLS secrets",
            Self::Multipath => "multipath TCP",
            Self::Psk => "TLS with pre-shared keys",
            Self::Engine => "an engine of OpenSSL",
        }
    }

    /// Whether the library that does TLS here has no such thing: it is not only missing yet.
    pub(crate) const fn is_never(self) -> bool {
        matches!(self, Self::Psk | Self::Engine)
    }
}
