//! Sockets and time for the engine, on tokio: one task a client, which moves bytes and knows no rule.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use martlet_net::Stream;
use martlet_net::client::DialError;
use tokio::io::{Interest, Ready};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::error::{ConnectError, Lost, said};
use crate::event::{Connected, Event};
use crate::limits;
use crate::options::{Options, Reconnect};
use crate::shared::{Link, Shared};

/// Connects, and runs the connection as a task from then on.
pub(crate) async fn connect(options: Options) -> Result<(Arc<Shared>, Connected), ConnectError> {
    options.check()?;
    let shared = Arc::new(Shared::new(options.clone()));
    let (stream, connected) = attempt(&shared, &options).await?;
    tokio::spawn(run(Arc::clone(&shared), options, stream));
    Ok((shared, connected))
}

/// Runs the connection, and those that follow it, until the client is closed.
async fn run(shared: Arc<Shared>, options: Options, mut stream: Stream) {
    let mut failures = 0;
    let mut up_since = Instant::now();
    loop {
        let cause = match next_link(&shared, &mut stream).await {
            None => {
                leave(&shared, stream).await;
                break shared.with(|state, _| state.engine.close(&Lost::ByUs));
            }
            Some(Link::Connected(_)) => continue,
            Some(Link::Refused { refusal, .. }) => Lost::Refused(refusal),
            Some(Link::Lost { cause, .. }) => cause,
        };
        hang_up(&shared, stream);
        if options.reconnect == Reconnect::Never || !cause.may_pass() {
            break give_up(&shared, &cause);
        }
        if options.reconnect.has_lasted(up_since.elapsed()) {
            failures = 0;
        }
        let Some((next, connected)) = reconnect(&shared, &options, cause, &mut failures).await else {
            break;
        };
        stream = next;
        up_since = Instant::now();
        shared.tell(Event::Connected(connected));
    }
    shared.tell_packet_log();
}

/// The client ends with what no new connection can mend, or may not.
fn give_up(shared: &Shared, cause: &Lost) {
    shared.tell(Event::Lost {
        cause: cause.clone(),
        retry_in: None,
    });
    shared.with(|state, _| state.engine.close(cause));
}

/// Tries until there is a connection, or until the client is closed. A connection counts as a failure too,
/// until it has lasted.
async fn reconnect(
    shared: &Arc<Shared>,
    options: &Options,
    cause: Lost,
    failures: &mut u32,
) -> Option<(Stream, Connected)> {
    let mut retry_in = options.reconnect.wait(*failures)?;
    shared.tell(Event::Lost {
        cause,
        retry_in: Some(retry_in),
    });
    loop {
        let attempt = async {
            sleep(retry_in).await;
            attempt(shared, options).await
        };
        let attempt = tokio::select! {
            attempt = attempt => attempt,
            _ = shared.closed() => return None,
        };
        *failures = failures.saturating_add(1);
        let error = match attempt {
            Ok(connected) => return Some(connected),
            Err(error) => error,
        };
        if let Some(cause) = lost_for_good(&error) {
            give_up(shared, &cause);
            return None;
        }
        retry_in = options.reconnect.wait(*failures)?;
        let refusal = match &error {
            ConnectError::Refused { refusal, .. } => Some(refusal.clone()),
            _ => None,
        };
        shared.tell(Event::RetryFailed {
            error: error.to_string(),
            refusal,
            retry_in,
        });
    }
}

/// Why another attempt would end as this one did.
fn lost_for_good(error: &ConnectError) -> Option<Lost> {
    let cause = match error {
        ConnectError::Refused { refusal, .. } => Lost::Refused(refusal.clone()),
        ConnectError::Lost { cause, .. } => cause.clone(),
        _ => return None,
    };
    (!cause.may_pass()).then_some(cause)
}

/// One attempt to connect, in as many versions as the protocol allows.
async fn attempt(shared: &Shared, options: &Options) -> Result<(Stream, Connected), ConnectError> {
    let attempt = async {
        loop {
            let mut stream = dial(options).await?;
            if !shared.with(|state, now_ms| state.engine.connect(now_ms)) {
                let cause = Lost::ByUs;
                let address = options.address();
                return Err(ConnectError::Lost { address, cause });
            }
            let (error, again) = match next_link(shared, &mut stream).await {
                Some(Link::Connected(connected)) => return Ok((stream, *connected)),
                Some(Link::Refused { refusal, again }) => {
                    let address = options.address();
                    (ConnectError::Refused { address, refusal }, again)
                }
                Some(Link::Lost { cause, again }) => {
                    let address = options.address();
                    (ConnectError::Lost { address, cause }, again)
                }
                None => {
                    let (address, cause) = (options.address(), Lost::ByUs);
                    (ConnectError::Lost { address, cause }, false)
                }
            };
            hang_up(shared, stream);
            if !again {
                return Err(error);
            }
        }
    };
    let after = options.connect_timeout;
    let result = timeout(after, attempt).await.unwrap_or_else(|_| {
        let address = options.address();
        Err(ConnectError::Timeout { address, after })
    });
    if result.is_err() {
        // A connection that was half made is none.
        shared.with(|state, now_ms| state.engine.lost(now_ms, Lost::ByUs));
        shared.lock().links.clear();
        shared.tell_packet_log();
    }
    result
}

/// A connection that carries MQTT.
async fn dial(options: &Options) -> Result<Stream, ConnectError> {
    let route = options.route(&options.host, options.port);
    martlet_net::client::dial(&route)
        .await
        .map_err(|error| match error {
            DialError::HostNotFound { host, source } => ConnectError::HostNotFound { host, source },
            DialError::ConnectionRefused { address, source } => {
                ConnectError::ConnectionRefused { address, source }
            }
            DialError::Bind { bind, source } => ConnectError::Bind { bind, source },
            DialError::Io { address, source } => ConnectError::Io { address, source },
            other => ConnectError::Transport(Box::new(other)),
        })
}

/// Moves bytes until the connection's task has something to know; `None`: all is written, our DISCONNECT
/// last, or the client was closed.
async fn next_link(shared: &Shared, stream: &mut Stream) -> Option<Link> {
    loop {
        let is_blocked = write(shared, stream);
        shared.tell_packet_log();
        let (deadline_ms, reads) = {
            let mut state = shared.lock();
            if let Some(link) = state.links.pop_front() {
                return Some(link);
            }
            let all_written = state.engine.output().is_empty() && !stream.has_unsent();
            if state.engine.closed().is_some() || (state.engine.is_leaving() && all_written) {
                return None;
            }
            let reads = state.wants_reading();
            state.engine.reading(shared.now_ms(), reads);
            (state.engine.deadline(), reads)
        };
        let interest = match (reads, is_blocked) {
            (true, true) => Some(Interest::READABLE | Interest::WRITABLE),
            (true, false) => Some(Interest::READABLE),
            (false, true) => Some(Interest::WRITABLE),
            (false, false) => None,
        };
        let ready = async {
            match interest {
                _ if reads && stream.has_received() => Ok(Ready::READABLE),
                Some(interest) => stream.ready(interest).await,
                None => std::future::pending().await,
            }
        };
        let deadline = async {
            match deadline_ms {
                Some(at_ms) => sleep_until(shared.instant(at_ms)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shared.wake.notified() => {}
            ready = ready => match ready {
                Ok(ready) if ready.is_readable() || ready.is_read_closed() => read(shared, stream),
                Ok(_) => {}
                Err(error) => lost(shared, &error),
            },
            () = deadline => shared.with(|state, now_ms| state.engine.timeout(now_ms)),
        }
    }
}

/// Writes what can be written; whether something is left for later.
fn write(shared: &Shared, stream: &mut Stream) -> bool {
    let end = shared.with(|state, now_ms| {
        loop {
            let mut slices = [IoSlice::new(&[]); 16];
            let n = state.engine.output().slices(&mut slices);
            if n == 0 {
                // What layers still hold of what was written before.
                return stream.flush().map(|is_all| !is_all);
            }
            match stream.try_write_vectored(&slices[..n]) {
                Ok(bytes) => state.engine.written(now_ms, bytes),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    });
    end.unwrap_or_else(|error| {
        // The server's last words may lie in the socket.
        read(shared, stream);
        lost(shared, &error);
        false
    })
}

/// Reads what is there, up to a bound.
fn read(shared: &Shared, stream: &mut Stream) {
    let mut chunk = [0; limits::READ_BYTES];
    for _ in 0..limits::READS_PER_TURN {
        match stream.try_read(&mut chunk) {
            Ok(0) => return shared.with(|state, now_ms| state.engine.lost(now_ms, Lost::Closed)),
            Ok(n) => shared.with(|state, now_ms| state.engine.input(now_ms, &chunk[..n])),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return lost(shared, &error),
        }
        if !shared.lock().wants_reading() {
            return;
        }
    }
}

fn lost(shared: &Shared, error: &io::Error) {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    let cause = match error.kind() {
        BrokenPipe | ConnectionAborted | ConnectionReset => Lost::Closed,
        kind => Lost::Io {
            kind,
            text: said(error),
        },
    };
    shared.with(|state, now_ms| state.engine.lost(now_ms, cause));
}

/// Ends a connection that is over: the last bytes may still leave, if that goes at once.
fn hang_up(shared: &Shared, mut stream: Stream) {
    let _ = write(shared, &mut stream);
    shared.tell_packet_log();
    // An error says that the connection is gone already.
    let _ = stream.shutdown();
}

/// Ends a connection after our DISCONNECT. Unread bytes would make the system cut the connection and
/// the server might never see the DISCONNECT, so they are read until it closes.
async fn leave(shared: &Shared, mut stream: Stream) {
    shared.tell_packet_log();
    let drain = async {
        stream.shutdown()?;
        loop {
            stream.ready(Interest::READABLE).await?;
            if discard(&mut stream)? {
                return Ok::<(), io::Error>(());
            }
        }
    };
    // An error or a server that does not close: there is nothing more to be done.
    let _ = timeout(limits::CLOSE_TIMEOUT, drain).await;
}

/// Reads and forgets; whether the server has closed. Not in line: the bytes would be a part of every
/// client's task.
fn discard(stream: &mut Stream) -> io::Result<bool> {
    match stream.try_read(&mut [0; limits::READ_BYTES]) {
        Ok(n) => Ok(n == 0),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

impl Reconnect {
    /// The wait before an attempt, after that many failed ones.
    fn wait(self, failures: u32) -> Option<Duration> {
        match self {
            Self::Never => None,
            Self::After { first, max, .. } => Some(first.saturating_mul(1 << failures.min(20)).min(max)),
        }
    }

    /// Whether a connection that was up for so long was a good one: the next wait is the first.
    fn has_lasted(self, up: Duration) -> bool {
        match self {
            Self::Never => true,
            Self::After { reset_after, .. } => up >= reset_after,
        }
    }
}
