//! Sockets and time for the engine, on tokio: one task a client, which moves bytes and knows no rule.

use std::io;
use std::sync::Arc;

use martlet_net::Stream;
use martlet_net::client::Kept;
use tokio::io::{Interest, Ready};
use tokio::time::{Instant, sleep_until, timeout};

use crate::carry::{Standing, Turn, discard, login, look, lost, read, unreachable, write};
use crate::dial::dial;
use crate::engine::Task;
use crate::error::Lost;
use crate::limits;
use crate::shared::Shared;

/// While the last bytes leave.
const LEAVING: Turn = Turn {
    reads: false,
    deadline_ms: None,
};

/// Makes connections and runs them, until the client is closed.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut kept = Kept::default();
    loop {
        match shared.task() {
            Task::End => break,
            Task::Wait => pause(&shared).await,
            Task::Dial { server } => {
                if let Some(stream) = reach(&shared, server, &mut kept).await {
                    carry(&shared, stream).await;
                }
            }
            Task::Carry => shared.with(|hub, now_ms| hub.engine.lost(now_ms, Lost::Closed)),
        }
    }
    shared.tell_packet_log();
    // What was handed to the store is kept before the last handle of it goes.
    if shared.keeper.holds_store() {
        shared.closed().await;
    }
}

/// Waits for a command or the deadline.
async fn pause(shared: &Shared) {
    let deadline_ms = shared.lock().deadline();
    tokio::select! {
        () = shared.wake.notified() => {}
        () = until(shared, deadline_ms) => shared.with(|hub, now_ms| hub.engine.timeout(now_ms)),
    }
}

async fn until(shared: &Shared, deadline_ms: Option<u64>) {
    match deadline_ms {
        Some(at_ms) => sleep_until(Instant::from_std(shared.instant(at_ms))).await,
        None => std::future::pending().await,
    }
}

/// A connection with CONNECT on its way; none: the attempt failed, took too long, or is not wanted any more.
async fn reach(shared: &Arc<Shared>, server: usize, kept: &mut Kept) -> Option<Stream> {
    let number = u32::try_from(shared.stats().0.attempts).unwrap_or(u32::MAX);
    // Most of a task would be room for this, as long as it lives.
    let mut attempt = Box::pin(async {
        login(Arc::clone(shared), server, number).await?;
        dial(&shared.options, server, kept).await
    });
    loop {
        let deadline_ms = shared.lock().deadline();
        tokio::select! {
            biased;
            end = &mut attempt => match end {
                Ok(stream) => {
                    let connects = shared.with(|hub, now_ms| hub.engine.connect(now_ms));
                    return connects.then_some(stream);
                }
                Err(error) => {
                    unreachable(shared, error);
                    return None;
                }
            },
            () = shared.wake.notified() => {}
            () = until(shared, deadline_ms) => shared.with(|hub, now_ms| hub.engine.timeout(now_ms)),
        }
        if !shared.lock().engine.is_dialing() {
            return None;
        }
    }
}

/// Moves bytes until the connection is over, and closes it.
async fn carry(shared: &Shared, mut stream: Stream) {
    loop {
        shared.answer_challenges();
        let is_blocked = write(shared, &mut stream);
        shared.tell_packet_log();
        match look(shared) {
            Standing::Open(turn) => wait(shared, &mut stream, &turn, is_blocked).await,
            Standing::Left => {
                // What layers hold of it leaves first; a server that takes nothing more is not waited for.
                let last = async {
                    while write(shared, &mut stream) {
                        wait(shared, &mut stream, &LEAVING, true).await;
                    }
                };
                let _ = timeout(limits::CLOSE_TIMEOUT, last).await;
                leave(stream).await;
                return shared.with(|hub, _| hub.engine.close(&Lost::ByUs));
            }
            Standing::Over => return hang_up(shared, stream),
        }
    }
}

/// Waits for the socket, a command or the deadline, and reads.
async fn wait(shared: &Shared, stream: &mut Stream, turn: &Turn, is_blocked: bool) {
    let interest = match (turn.reads, is_blocked) {
        (true, true) => Some(Interest::READABLE | Interest::WRITABLE),
        (true, false) => Some(Interest::READABLE),
        (false, true) => Some(Interest::WRITABLE),
        (false, false) => None,
    };
    let ready = async {
        match interest {
            _ if turn.reads && stream.has_received() => Ok(Ready::READABLE),
            Some(interest) => stream.ready(interest).await,
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
        () = until(shared, turn.deadline_ms) => shared.with(|hub, now_ms| hub.engine.timeout(now_ms)),
    }
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
async fn leave(mut stream: Stream) {
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
