//! Sockets and time for the engine, on tokio.

use std::sync::Arc;

use crate::error::ConnectError;
use crate::event::Connected;
use crate::options::Options;
use crate::shared::Shared;

/// Connects, and runs the connection as a task from then on.
pub(crate) async fn connect(options: Options) -> Result<(Arc<Shared>, Connected), ConnectError> {
    options.check()?;
    std::future::pending().await
}
