//! What tests of the store put into it, and an index for those who only append.

#![allow(dead_code)] // each test uses its part

use std::sync::Arc;

use martlet_broker::{Recipient, StoredSession};
use martlet_codec::{PropertiesBuf, Qos, TopicBuf};
use martlet_journal::{Disk, Index, MemoryDisk, Place, Record};
use martlet_session::{Key, Message, Now};

pub(crate) const NOW: Now = Now {
    mono_ms: 1_000,
    wall_ms: 1_700_000_000_000,
};

/// A session whose client is away.
pub(crate) fn session(number: u64) -> StoredSession {
    StoredSession {
        number,
        client_id: format!("client {number}").into(),
        expiry_s: u32::MAX,
        is_over: false,
        away_since_ms: Some(NOW.wall_ms),
        sent_up_to: 0,
        will: None,
    }
}

pub(crate) fn message(number: u64, payload_bytes: usize) -> Message {
    Message {
        topic: TopicBuf::new("a/b").unwrap(),
        properties: PropertiesBuf::new(),
        payload: vec![b'.'; payload_bytes].into(),
        qos: Qos::AtLeastOnce,
        retain: false,
        expires_at_ms: None,
        publisher: None,
        number: number.into(),
    }
}

/// The sessions that a message is for, each at its place; `shared` is the subscription that it came by.
pub(crate) fn recipients(number: u64, sessions: &[u64], shared: Option<&str>) -> Vec<Recipient> {
    let recipient = |(at, session): (usize, &u64)| Recipient {
        session: *session,
        key: Key::new(number, at as u32),
        qos: Qos::AtLeastOnce,
        retain: false,
        subscription_ids: Box::default(),
        shared: shared.map(Arc::from),
        resent: false,
    };
    sessions.iter().enumerate().map(recipient).collect()
}

pub(crate) fn copy(disk: &MemoryDisk) -> MemoryDisk {
    let entries = disk.list().unwrap().into_iter();
    MemoryDisk::with_files(entries.map(|entry| {
        let bytes = disk.contents(&entry.name).unwrap();
        (entry.name, bytes)
    }))
}

/// Believes every snapshot, and keeps nothing.
pub(crate) struct Everything;

impl Index for Everything {
    fn clear(&mut self) {}

    fn snapshot(&mut self, _: &[u8]) {}

    fn snapshot_ends(&mut self) -> bool {
        true
    }

    fn gone(&mut self, _: &[u32]) {}

    fn put(&mut self, _: Record<'_>) {}

    fn killed(&mut self, _: Place) {}

    fn is_live(&self, _: &Record<'_>) -> bool {
        true
    }

    fn moved(&mut self, _: &Record<'_>, _: Place) {}
}
