//! Bytes between the engine and a socket that never blocks: what both drivers do.

use std::io::{self, IoSlice};
use std::sync::Arc;

use crate::error::{ConnectError, Lost, said};
use crate::kill_points::{self, Point};
use crate::limits;
use crate::shared::Shared;

/// A connection. All calls return `WouldBlock` instead of waiting.
pub(crate) trait Socket {
    /// Reads what is there; 0: the server has closed.
    fn read_some(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    /// Writes what fits.
    fn write_some(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize>;
    /// Writes what layers still hold of what was written before; whether that is all.
    fn flush(&mut self) -> io::Result<bool>;
}

impl Socket for martlet_net::Stream {
    fn read_some(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.try_read(buffer)
    }

    fn write_some(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<bool> {
        Self::flush(self)
    }
}

/// What a connection waits for.
pub(crate) struct Turn {
    /// Whether to read.
    pub(crate) reads: bool,
    /// When to look again at the latest, on the client's clock.
    pub(crate) deadline_ms: Option<u64>,
}

/// Where a connection stands.
pub(crate) enum Standing {
    /// It goes on.
    Open(Turn),
    /// Our DISCONNECT was written.
    Left,
    /// It is over.
    Over,
}

/// Looks at the connection between two moves.
pub(crate) fn look(shared: &Shared) -> Standing {
    let mut hub = shared.lock();
    if !hub.engine.has_connection() {
        return Standing::Over;
    }
    if hub.engine.is_leaving() && hub.engine.output().is_empty() {
        return Standing::Left;
    }
    let reads = hub.wants_reading(&shared.options);
    hub.engine.reading(shared.now_ms(), reads);
    Standing::Open(Turn {
        reads,
        deadline_ms: hub.deadline(),
    })
}

/// Writes what can be written; whether something is left for later.
pub(crate) fn write(shared: &Shared, socket: &mut impl Socket) -> bool {
    let end = shared.with(|hub, now_ms| {
        loop {
            let mut slices = [IoSlice::new(&[]); 16];
            let n = hub.engine.output().slices(&mut slices);
            if n == 0 {
                return socket.flush().map(|is_all| !is_all);
            }
            kill_points::pass(Point::BeforeWrite);
            let written = socket.write_some(&slices[..n]);
            kill_points::pass(Point::AfterWrite);
            match written {
                Ok(bytes) => hub.engine.written(now_ms, bytes),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    });
    end.unwrap_or_else(|error| {
        // The server's last words may lie in the socket.
        read(shared, socket);
        lost(shared, &error);
        false
    })
}

/// Reads what is there, up to a bound.
pub(crate) fn read(shared: &Shared, socket: &mut impl Socket) {
    let mut chunk = [0; limits::READ_BYTES];
    for _ in 0..limits::READS_PER_TURN {
        match socket.read_some(&mut chunk) {
            Ok(0) => return shared.with(|hub, now_ms| hub.engine.lost(now_ms, Lost::Closed)),
            Ok(n) => {
                kill_points::pass(Point::BeforeRead);
                shared.with(|hub, now_ms| hub.input(now_ms, &chunk[..n]));
                kill_points::pass(Point::AfterRead);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return lost(shared, &error),
        }
        if !shared.lock().wants_reading(&shared.options) {
            return;
        }
    }
}

pub(crate) fn lost(shared: &Shared, error: &io::Error) {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    let cause = match error.kind() {
        BrokenPipe | ConnectionAborted | ConnectionReset => Lost::Closed,
        kind => Lost::Io {
            kind,
            text: said(error),
        },
    };
    shared.with(|hub, now_ms| hub.engine.lost(now_ms, cause));
}

/// Reads and forgets; whether the server has closed. Not in line: the bytes would be a part of every
/// client's task.
pub(crate) fn discard(socket: &mut impl Socket) -> io::Result<bool> {
    match socket.read_some(&mut [0; limits::READ_BYTES]) {
        Ok(n) => Ok(n == 0),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// Asks the application who the client is, if that is not fixed.
pub(crate) async fn login(shared: Arc<Shared>, server: usize, attempt: u32) -> Result<(), ConnectError> {
    let failed = |text| ConnectError::Login {
        address: shared.options.address_of(server),
        text,
    };
    if let Some(credentials) = &shared.options.credentials {
        let login = credentials(attempt).await.map_err(failed)?;
        shared.lock().engine.login(login);
    }
    if let Some(step) = &shared.options.authenticator {
        let data = step(None).map_err(failed)?;
        let put = shared.lock().engine.first_step(&data);
        put.map_err(|error| failed(error.to_string()))?;
    }
    Ok(())
}

/// The attempt has failed before there was a connection.
pub(crate) fn unreachable(shared: &Shared, error: ConnectError) {
    let cause = match &error {
        ConnectError::Login { text, .. } => Lost::Login { text: text.clone() },
        error => Lost::Unreachable {
            text: error.to_string(),
        },
    };
    shared.with(|hub, now_ms| {
        hub.failed = Some(error);
        hub.engine.unreachable(now_ms, cause);
    });
}
