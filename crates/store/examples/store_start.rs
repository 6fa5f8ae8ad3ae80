//! How long a start takes, and what a snapshot costs: `store_start FOLDER [MESSAGES] [PAYLOAD_BYTES]`.
//!
//! It stores messages for 100 sessions, takes a snapshot step by step as the broker does, and opens the store with the
//! snapshot and without. The folder is to be empty; what is written stays there.

#![allow(clippy::cast_precision_loss)] // numbers for people

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use martlet_broker::{Batch, Change, Durability, Recipient, Store, StoredSession};
use martlet_codec::{PropertiesBuf, Qos, TopicBuf};
use martlet_journal::{RealDisk, SyncJob};
use martlet_session::{Key, Message, Now};
use martlet_store::{Engine, Exchange, Limits};

const SESSIONS: u64 = 100;
const STARTS: usize = 3;

const NOW: Now = Now {
    mono_ms: 1_000,
    wall_ms: 1_700_000_000_000,
};

fn open(folder: &Path) -> Result<(Engine<RealDisk>, usize), Box<dyn Error>> {
    let limits = Limits {
        snapshot_bytes_min: 1,
        ..Limits::default()
    };
    let exchange = Exchange::new(1, limits.pending_bytes_max, |_| {}, |_, _| {});
    let disk = RealDisk::open(folder, "store_start")?;
    let (engine, restored, _) = Engine::open(disk, limits, 7, NOW, Arc::new(exchange))?;
    let queued = restored.sessions.iter().map(|session| session.queue.len());
    Ok((engine, queued.sum()))
}

fn fill(engine: &mut Engine<RealDisk>, messages: u64, payload_bytes: usize) {
    let mut handle = engine.handle(0);
    let mut submit = |engine: &mut Engine<RealDisk>, changes| {
        let batch = Batch {
            ticket: None,
            durability: Durability::None,
            changes,
            is_loose: false,
        };
        handle.submit(NOW, batch);
        handle.flush();
        engine.write();
    };
    for number in 1..=SESSIONS {
        let session = StoredSession {
            number,
            client_id: format!("client {number}").into(),
            expiry_s: u32::MAX,
            is_over: false,
            away_since_ms: Some(NOW.wall_ms),
            sent_up_to: 0,
            will: None,
        };
        submit(engine, vec![Change::Session(session)]);
    }
    for number in SESSIONS + 1..=SESSIONS + messages {
        let message = Message {
            topic: TopicBuf::new("plant/line/sensor").expect("it is one"),
            properties: PropertiesBuf::new(),
            payload: vec![b'.'; payload_bytes].into(),
            qos: Qos::AtLeastOnce,
            retain: false,
            expires_at_ms: None,
            publisher: Some("sensor".into()),
            number: number.into(),
        };
        let recipient = Recipient {
            session: number % SESSIONS + 1,
            key: Key::new(number, 0),
            qos: Qos::AtLeastOnce,
            retain: false,
            subscription_ids: Box::default(),
            shared: None,
            resent: false,
        };
        let message = Arc::new(message);
        let recipients = vec![recipient];
        submit(engine, vec![Change::Queued { message, recipients }]);
    }
    if let Some(synced) = engine.begin_sync().map(SyncJob::run) {
        engine.end_sync(synced);
    }
}

/// Takes a snapshot, and tells how long all of it and its longest step took.
fn snapshot(engine: &mut Engine<RealDisk>) -> (Duration, Duration) {
    let (began, mut longest) = (Instant::now(), Duration::ZERO);
    loop {
        let step = Instant::now();
        let goes_on = engine.snapshot();
        longest = longest.max(step.elapsed());
        if !goes_on {
            return (began.elapsed(), longest);
        }
    }
}

fn starts(folder: &Path, what: &str) -> Result<(), Box<dyn Error>> {
    for _ in 0..STARTS {
        let began = Instant::now();
        let (_, queued) = open(folder)?;
        println!("start {what}: {queued} queued in {:?}", began.elapsed());
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().ok_or("a folder is to be named")?;
    let folder = Path::new(&folder);
    let messages = args.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let payload_bytes = args.next().map_or(Ok(200), |text| text.parse())?;
    let (mut engine, _) = open(folder)?;
    fill(&mut engine, messages, payload_bytes);
    drop(engine);
    starts(folder, "without a snapshot")?;
    let (mut engine, _) = open(folder)?;
    if let Some(synced) = engine.begin_sync().map(SyncJob::run) {
        engine.end_sync(synced);
    }
    for what in ["from the log", "from the one before"] {
        let (all, longest) = snapshot(&mut engine);
        let files = std::fs::read_dir(folder)?.flatten();
        let snapshots = files.filter(|file| file.file_name().to_string_lossy().ends_with(".snap"));
        let bytes = snapshots
            .filter_map(|file| file.metadata().ok())
            .map(|found| found.len());
        let bytes = bytes.max().unwrap_or(0);
        println!("snapshot {what}: {bytes} bytes in {all:?}, the longest step {longest:?}");
        // Enough for the next one, and nothing beside.
        let bytes = usize::try_from(bytes)?;
        fill(&mut engine, 4, bytes);
    }
    drop(engine);
    starts(folder, "with a snapshot")
}
