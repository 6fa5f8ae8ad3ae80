//! Why a program stops before its work is done: a signal, or the time of `-W`.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What stopped it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// `-W`
    Timeout,
}

impl Stop {
    /// What a shell reports of a program that such a signal ended.
    pub(crate) const fn status(self) -> u8 {
        match self {
            Self::Interrupt => 128 + 2,
            Self::Terminate => 128 + 15,
            Self::Timeout => crate::failure::status::TIMEOUT,
        }
    }
}

/// Waits for a reason to stop.
pub(crate) struct Stops {
    interrupt: Signal,
    terminate: Signal,
    timeout: std::pin::Pin<Box<tokio::time::Sleep>>,
    has_timeout: bool,
}

impl Stops {
    /// From now on signals are taken here, and the time of `-W` runs.
    pub(crate) fn new(timeout_s: Option<u32>) -> std::io::Result<Self> {
        let after = Duration::from_secs(timeout_s.unwrap_or_default().into());
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            timeout: Box::pin(tokio::time::sleep(after)),
            has_timeout: timeout_s.is_some(),
        })
    }

    /// Cancel-safe.
    pub(crate) async fn stopped(&mut self) -> Stop {
        tokio::select! {
            _ = self.interrupt.recv() => Stop::Interrupt,
            _ = self.terminate.recv() => Stop::Terminate,
            () = &mut self.timeout, if self.has_timeout => Stop::Timeout,
        }
    }
}
