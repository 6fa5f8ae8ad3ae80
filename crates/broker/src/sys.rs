//! `$SYS/broker/...`: the names of mosquitto 2.1, retained, with QoS 2, sent when they change.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use martlet_codec::{PropertiesBuf, Qos, TopicBuf};
use martlet_session::{Message, Now};

use crate::counters::Totals;
use crate::shared::Shared;

/// The `$SYS` tree and what it last said.
#[derive(Debug)]
pub(crate) struct Sys {
    started_ms: u64,
    interval_ms: u64,
    last: Totals,
    last_ms: u64,
    clients_max: u64,
    resident_bytes: u64,
    resident_bytes_max: u64,
    loads: [Load; LOADS.len()],
    said: BTreeMap<String, String>,
}

/// What a load is counted of.
type Count = fn(&Totals) -> u64;

const LOADS: [(&str, Count); 9] = [
    ("messages/received", |t| t.packets_received),
    ("messages/sent", |t| t.packets_sent),
    ("publish/received", |t| t.publish_received),
    ("publish/sent", |t| t.publish_sent),
    ("publish/dropped", |t| t.dropped),
    ("bytes/received", |t| t.bytes_received),
    ("bytes/sent", |t| t.bytes_sent),
    ("sockets", |t| t.sockets_opened),
    ("connections", |t| t.connects),
];

const WINDOWS: [(&str, f64); 3] = [("1min", 1.0), ("5min", 5.0), ("15min", 15.0)];

/// Exponential averages per minute over 1, 5 and 15 minutes.
#[derive(Debug, Clone, Copy, Default)]
struct Load([f64; WINDOWS.len()]);

impl Load {
    #[allow(clippy::cast_precision_loss)] // two decimals are shown
    fn add(&mut self, n: u64, elapsed_ms: u64) {
        let minutes = elapsed_ms as f64 / 60_000.0;
        let per_minute = n as f64 / minutes;
        for (value, (_, window)) in self.0.iter_mut().zip(WINDOWS) {
            let keep = (-minutes / window).exp();
            *value = per_minute + keep * (*value - per_minute);
        }
    }
}

impl Sys {
    pub(crate) fn new(now: Now, interval_ms: u64) -> Self {
        Self {
            started_ms: now.mono_ms,
            interval_ms,
            last: Totals::default(),
            last_ms: now.mono_ms,
            clients_max: 0,
            resident_bytes: 0,
            resident_bytes_max: 0,
            loads: [Load::default(); LOADS.len()],
            said: BTreeMap::new(),
        }
    }

    /// At multiples of the wall clock, so that several brokers speak at once.
    pub(crate) fn next_ms(&self, now: Now) -> u64 {
        now.mono_ms + self.interval_ms - now.wall_ms % self.interval_ms
    }

    /// What changed since the last time.
    pub(crate) fn update(&mut self, now: Now, shared: &Shared) -> Vec<Message> {
        let totals = shared.totals();
        let elapsed_ms = now.mono_ms - self.last_ms;
        if elapsed_ms > 0 {
            for (load, (_, count)) in self.loads.iter_mut().zip(LOADS) {
                load.add(count(&totals).wrapping_sub(count(&self.last)), elapsed_ms);
            }
            self.last_ms = now.mono_ms;
        }
        self.last = totals;
        self.clients_max = self.clients_max.max(totals.sessions);
        self.resident_bytes = shared.resident_bytes.load(Ordering::Relaxed);
        self.resident_bytes_max = self.resident_bytes_max.max(self.resident_bytes);
        let mut changed = Vec::new();
        for (name, value) in self.values(now, &totals, shared) {
            if self.said.get(&name) != Some(&value) {
                changed.push(message(&name, &value));
                self.said.insert(name, value);
            }
        }
        changed
    }

    fn values(&self, now: Now, totals: &Totals, shared: &Shared) -> Vec<(String, String)> {
        let mut values = Vec::with_capacity(64);
        let mut add = |name: &str, value: String| values.push((name.to_owned(), value));
        add("version", shared.settings.version.clone());
        add(
            "uptime",
            format!("{} seconds", (now.mono_ms - self.started_ms) / 1_000),
        );
        let inactive = totals.sessions.saturating_sub(totals.sessions_connected);
        add("clients/total", totals.sessions.to_string());
        if self.clients_max > 1 {
            add("clients/maximum", self.clients_max.to_string());
        }
        add("clients/disconnected", inactive.to_string());
        add("clients/inactive", inactive.to_string());
        add("clients/connected", totals.sessions_connected.to_string());
        add("clients/active", totals.sessions_connected.to_string());
        add("clients/expired", totals.sessions_expired.to_string());
        add("messages/received", totals.packets_received.to_string());
        add("messages/sent", totals.packets_sent.to_string());
        let stored = shared.retained.len() as u64 + totals.queued;
        let stored_bytes = shared.retained.bytes() as u64 + totals.queued_bytes;
        add("messages/stored", stored.to_string());
        add("store/messages/count", stored.to_string());
        add("store/messages/bytes", stored_bytes.to_string());
        if let Some(state) = *shared.store_state.lock() {
            let fix = state.fix().map_or(String::new(), |fix| format!("; {fix}"));
            add("store/state", format!("{}: {}{fix}", state.key(), state.text()));
            add("store/messages/refused", totals.refused_by_store.to_string());
        }
        if self.resident_bytes > 0 {
            add("heap/current", self.resident_bytes.to_string());
            add("heap/maximum", self.resident_bytes_max.to_string());
        }
        add("bytes/received", totals.bytes_received.to_string());
        add("bytes/sent", totals.bytes_sent.to_string());
        add("publish/messages/received", totals.publish_received.to_string());
        add("publish/messages/sent", totals.publish_sent.to_string());
        add("publish/messages/dropped", totals.dropped.to_string());
        add("publish/messages/refused", totals.refused.to_string());
        add(
            "publish/bytes/received",
            totals.publish_bytes_received.to_string(),
        );
        add("publish/bytes/sent", totals.publish_bytes_sent.to_string());
        add("packet/out/count", totals.queued.to_string());
        add("packet/out/bytes", totals.queued_bytes.to_string());
        add("connections/socket/count", totals.sockets.to_string());
        {
            let router = shared.router.read();
            let shared = router.shared_subscriptions();
            add(
                "subscriptions/count",
                (router.subscriptions() - shared).to_string(),
            );
            add("shared_subscriptions/count", shared.to_string());
        }
        add("retained messages/count", shared.retained.len().to_string());
        for (load, (name, _)) in self.loads.iter().zip(LOADS) {
            for (value, (window, _)) in load.0.iter().zip(WINDOWS) {
                add(&format!("load/{name}/{window}"), format!("{value:.2}"));
            }
        }
        values
    }
}

fn message(name: &str, value: &str) -> Message {
    Message {
        topic: TopicBuf::new(format!("$SYS/broker/{name}")).expect("the names are topic names"),
        properties: PropertiesBuf::new(),
        payload: Bytes::copy_from_slice(value.as_bytes()),
        qos: Qos::ExactlyOnce,
        retain: true,
        expires_at_ms: None,
        publisher: None,
        number: martlet_session::Number::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_approach_the_rate() {
        let mut load = Load::default();
        for _ in 0..600 {
            load.add(100, 1_000);
        }
        // 100 a second are 6,000 a minute; after ten minutes the first average is there.
        assert!((load.0[0] - 6_000.0).abs() < 1.0, "{load:?}");
        assert!(load.0[2] < load.0[1] && load.0[1] < load.0[0]);
    }
}
