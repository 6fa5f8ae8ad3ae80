//! The log: lines of `level event key=value ...`, to where the configuration says.

mod drops;

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use martlet_broker::{Ending, Event, Peer, Reason};
use martlet_codec::ReasonCode;
use martlet_session::NEVER;
use tracing::field::{Field, Visit};
use tracing::{Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use self::drops::Drops;
use crate::config::{Log, LogDestination, LogType, LogTypes, Timestamp, why};
use crate::error::Error;
use crate::limits::{LOG_FLUSH_MS, LOG_LINES_MAX, LOG_VALUE_CHARS_MAX};

/// The target of lines that mosquitto calls a notice.
pub(crate) const NOTICE: &str = "notice";
const SUBSCRIBE: &str = "subscribe";
const UNSUBSCRIBE: &str = "unsubscribe";

/// Sends the log where `log` says, or tells which files cannot be opened. The first call in a process holds.
///
/// A thread writes; whoever logs only hands over a line and never waits. What does not fit the queue,
/// because nobody reads the other end of a pipe or a disk hangs, is lost and counted in the next line.
pub fn init(log: &Log) -> Result<(), Error> {
    let (mut outputs, mut findings) = (Vec::new(), Vec::new());
    for destination in &log.destinations {
        outputs.push(match destination {
            LogDestination::Stderr => Output::Stderr(io::stderr()),
            LogDestination::Stdout => Output::Stdout(io::stdout()),
            LogDestination::File(file) => match append(&file.path) {
                Ok(opened) => Output::File(file.path.clone(), opened),
                Err(error) => {
                    findings.push(file.failed("the log", &error));
                    continue;
                }
            },
        });
    }
    if !findings.is_empty() {
        return Err(findings.into());
    }
    let (queue, lines) = sync_channel(LOG_LINES_MAX);
    let layer = Lines {
        types: log.types,
        timestamp: log.timestamp.clone(),
        queue: queue.clone(),
        lost: AtomicU64::new(0),
    };
    // A second broker in the process (a test) writes into the log of the first.
    if tracing_subscriber::registry().with(layer).try_init().is_ok() {
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_all(&lines, outputs))
            .expect("the system starts a thread");
        let _ = QUEUE.set(queue);
    }
    Ok(())
}

/// The files of the log are opened anew before the next line: somebody may have renamed them to begin new ones.
pub fn reopen() {
    REOPEN.store(true, Ordering::Release);
    // If there is no room for it, there are lines to be written, which do as well.
    let (done, _) = sync_channel(1);
    if let Some(queue) = QUEUE.get() {
        let _ = queue.try_send(Entry::Flush(done));
    }
}

/// Waits until what was logged is written, but not for long.
pub fn flush() {
    let Some(queue) = QUEUE.get() else { return };
    let (done, written) = sync_channel(1);
    let deadline = Instant::now() + Duration::from_millis(LOG_FLUSH_MS);
    let mut entry = Entry::Flush(done);
    while let Err(TrySendError::Full(back)) = queue.try_send(entry) {
        if Instant::now() >= deadline {
            return;
        }
        entry = back;
        std::thread::sleep(Duration::from_millis(1));
    }
    let _ = written.recv_timeout(deadline.saturating_duration_since(Instant::now()));
}

static QUEUE: OnceLock<SyncSender<Entry>> = OnceLock::new();

/// Whether the thread that writes is to open its files anew.
static REOPEN: AtomicBool = AtomicBool::new(false);

enum Entry {
    Line(String),
    Flush(SyncSender<()>),
}

/// An open destination.
enum Output {
    Stderr(io::Stderr),
    Stdout(io::Stdout),
    File(PathBuf, File),
}

impl Output {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stderr(stderr) => stderr.write_all(bytes),
            Self::Stdout(stdout) => stdout.write_all(bytes),
            Self::File(_, file) => file.write_all(bytes),
        }
    }

    /// What cannot be opened goes on into the file that it was.
    fn reopen(&mut self) {
        let Self::File(path, file) = self else { return };
        match append(path) {
            Ok(opened) => *file = opened,
            Err(error) => {
                let reason = why(path, &error);
                tracing::error!(path = %path.display(), reason, "log.not_reopened");
            }
        }
    }
}

fn write_all(entries: &Receiver<Entry>, mut outputs: Vec<Output>) {
    for entry in entries {
        if REOPEN.swap(false, Ordering::Acquire) {
            outputs.iter_mut().for_each(Output::reopen);
        }
        match entry {
            Entry::Line(line) => {
                for output in &mut outputs {
                    // A log that cannot be written has nowhere to say so.
                    let _ = output.write_all(line.as_bytes());
                }
            }
            Entry::Flush(done) => {
                let _ = done.try_send(());
            }
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

struct Lines {
    types: LogTypes,
    timestamp: Option<Timestamp>,
    queue: SyncSender<Entry>,
    /// Lines that did not fit the queue since the last that did.
    lost: AtomicU64,
}

impl Lines {
    fn sort(metadata: &tracing::Metadata<'_>) -> LogType {
        match (*metadata.level(), metadata.target()) {
            (Level::ERROR, _) => LogType::Error,
            (Level::WARN, _) => LogType::Warning,
            (Level::INFO, NOTICE) => LogType::Notice,
            (Level::INFO, _) => LogType::Information,
            (_, SUBSCRIBE) => LogType::Subscribe,
            (_, UNSUBSCRIBE) => LogType::Unsubscribe,
            _ => LogType::Debug,
        }
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        // Libraries have their say at warning and above.
        let is_ours = [NOTICE, SUBSCRIBE, UNSUBSCRIBE].contains(&metadata.target())
            || metadata.target().starts_with("martlet");
        (is_ours || *metadata.level() <= Level::WARN) && self.types.contains(Self::sort(metadata))
    }

    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut line = String::with_capacity(160);
        if let Some(timestamp) = &self.timestamp {
            let unix_s = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs();
            let _ = write!(line, "{}: ", timestamp.render(unix_s));
        }
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            _ => "debug",
        };
        let mut fields = Fields {
            message: String::new(),
            rest: String::new(),
        };
        event.record(&mut fields);
        let _ = writeln!(line, "{level} {}{}", fields.message, fields.rest);
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(line, "warn log.lost lines={lost}");
        }
        if self.queue.try_send(Entry::Line(line)).is_err() {
            self.lost.fetch_add(lost + 1, Ordering::Relaxed);
        }
    }
}

/// The fields of an event as `key=value`; a value with spaces stands in quotes.
struct Fields {
    message: String,
    rest: String,
}

impl Fields {
    fn add(&mut self, name: &str, value: &str) {
        // Clients choose identifiers and topics: none makes a line of 64 KiB.
        let cut = value
            .char_indices()
            .nth(LOG_VALUE_CHARS_MAX)
            .map(|(at, _)| format!("{}...", &value[..at]));
        let value = cut.as_deref().unwrap_or(value);
        if name == "message" {
            value.clone_into(&mut self.message);
            return;
        }
        let plain = !value.is_empty() && !value.contains([' ', '"', '=']);
        let _ = if plain {
            write!(self.rest, " {name}={value}")
        } else {
            write!(self.rest, " {name}={value:?}")
        };
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.add(field.name(), &format!("{value:?}"));
    }
}

/// What shards tell, as lines.
#[derive(Debug)]
pub(crate) struct EventLog {
    connection_messages: bool,
    /// The port of each listener, or its path.
    listeners: Arc<[String]>,
    drops: Drops,
}

impl EventLog {
    /// `listeners` are their ports or paths, in the order of their rules.
    pub(crate) fn new(connection_messages: bool, listeners: Arc<[String]>) -> Self {
        Self {
            connection_messages,
            listeners,
            drops: Drops::new(),
        }
    }

    /// When to call `tell_counted`, if something waits for it.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.drops.due()
    }

    /// Tells drops that were only counted.
    pub(crate) fn tell_counted(&mut self) {
        self.drops.tell(Instant::now());
    }

    pub(crate) fn write(&mut self, event: Event<'_>) {
        match event {
            Event::Connected {
                client_id,
                peer,
                version,
                clean_start,
                keep_alive_s,
                expiry_s,
                session_present,
                user_name,
            } if self.connection_messages => {
                tracing::info!(
                    target: NOTICE,
                    client = client_id,
                    from = %peer.address,
                    listener = self.listener(&peer),
                    user = user_name,
                    version = %version,
                    clean = clean_start,
                    keep_alive_s,
                    expiry_s = expiry(expiry_s),
                    session = if session_present { "resumed" } else { "new" },
                    "client.connected"
                );
            }
            Event::Disconnected {
                client_id,
                peer,
                ending,
                has_will,
                detail,
            } if self.connection_messages => {
                // Clients say "with will" without having one; there was nothing to publish.
                let ending = match ending {
                    Ending::Client(ReasonCode::DisconnectWithWill) if !has_will => {
                        Ending::Client(ReasonCode::Success)
                    }
                    ending => ending,
                };
                disconnected(client_id, &peer, ending, detail);
            }
            Event::Refused {
                client_id,
                peer,
                code,
                reason,
            } => {
                tracing::info!(
                    target: NOTICE,
                    client = client_id, from = %peer.address, code = format!("0x{:02x}", code.as_u8()), reason,
                    "client.refused"
                );
            }
            Event::LoginDenied {
                client_id,
                peer,
                user_name,
                reason,
            } => {
                tracing::warn!(
                    user = user_name,
                    reason = reason.key(),
                    client = client_id,
                    from = %peer.address,
                    listener = self.listener(&peer),
                    text = reason.text(),
                    "login.denied"
                );
            }
            Event::Flapping {
                client_id,
                takeovers,
                window_s,
                old,
                new,
            } => {
                tracing::warn!(
                    client = client_id, takeovers, in = format!("{window_s}s"), a = %old.address, b = %new.address,
                    text = "two devices use one client id",
                    "session.flapping"
                );
            }
            Event::ReceiveMaximumExceeded {
                client_id,
                peer,
                receive_maximum,
            } => {
                tracing::warn!(
                    client = client_id,
                    from = %peer.address,
                    receive_maximum,
                    text = Reason::ReceiveMaximum.text(),
                    "receive_maximum.exceeded"
                );
            }
            Event::NotMqtt { peer, got } => {
                tracing::warn!(expected = "mqtt", got, from = %peer.address, "listener.mismatch");
            }
            Event::Dropped {
                client_id,
                topic,
                reason,
                count,
            } => self.drops.add(Instant::now(), client_id, topic, reason, count),
            Event::SubscribeRefused {
                client_id,
                filter,
                reason,
            } => {
                tracing::warn!(
                    client = client_id,
                    filter,
                    reason = reason.key(),
                    "subscribe.refused"
                );
            }
            Event::Expired { client_id } => {
                tracing::info!(target: NOTICE, client = client_id, "session.expired");
            }
            Event::Subscribed {
                client_id,
                filter,
                granted,
            } => {
                tracing::debug!(target: SUBSCRIBE, client = client_id, filter, granted = granted_text(granted), "client.subscribed");
            }
            Event::Unsubscribed { client_id, filter } => {
                tracing::debug!(target: UNSUBSCRIBE, client = client_id, filter, "client.unsubscribed");
            }
            Event::Connected { .. } | Event::Disconnected { .. } => {}
        }
    }

    fn listener(&self, peer: &Peer) -> Option<&str> {
        self.listeners.get(usize::from(peer.listener)).map(String::as_str)
    }
}

/// How long a session lives, in seconds.
fn expiry(expiry_s: u32) -> String {
    if expiry_s == NEVER {
        "never".to_owned()
    } else {
        expiry_s.to_string()
    }
}

/// What a SUBACK says. Its codes below 0x80 are numbers of QoS; as reason codes the first is a success.
fn granted_text(granted: ReasonCode) -> String {
    match granted.as_u8() {
        qos @ 0..=2 => format!("qos {qos}"),
        _ => granted.to_string(),
    }
}

fn disconnected(client_id: Option<&str>, peer: &Peer, ending: Ending, detail: Option<&str>) {
    let reason = ending.text();
    match ending {
        Ending::Violation(_) if client_id.is_none() => {
            tracing::info!(target: NOTICE, from = %peer.address, reason, detail, "connection.refused");
        }
        Ending::Violation(violation) => {
            let code = format!("0x{:02x}", violation.code().as_u8());
            tracing::info!(
                target: NOTICE, client = client_id, from = %peer.address, reason, detail, code, "client.disconnected"
            );
        }
        _ if client_id.is_none() => {
            tracing::info!(target: NOTICE, from = %peer.address, reason, "connection.closed");
        }
        _ => {
            tracing::info!(target: NOTICE, client = client_id, from = %peer.address, reason, "client.disconnected");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that something writes.
    pub(super) fn lines_of(run: impl FnOnce()) -> Vec<String> {
        let (queue, entries) = sync_channel(LOG_LINES_MAX);
        let layer = Lines {
            types: LogTypes::ALL,
            timestamp: None,
            queue,
            lost: AtomicU64::new(0),
        };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), run);
        let lines = entries.into_iter().filter_map(|entry| match entry {
            Entry::Line(line) => Some(line.trim_end().to_owned()),
            Entry::Flush(_) => None,
        });
        lines.collect()
    }
}
