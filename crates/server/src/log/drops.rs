//! Lines about dropped messages: few, and whose they were.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use martlet_broker::Reason;

use crate::limits::{DROP_CLIENTS_COUNTED_MAX, DROP_CLIENTS_TOLD_MAX, DROP_LINE_INTERVAL_MS};

const INTERVAL: Duration = Duration::from_millis(DROP_LINE_INTERVAL_MS);

/// What a shard dropped lately, and what of it the log has not told yet.
#[derive(Debug)]
pub(super) struct Drops {
    /// In the order of `Reason::ALL`.
    reasons: Vec<OfReason>,
    hashing: RandomState,
    due: Option<Instant>,
}

#[derive(Debug, Default)]
struct OfReason {
    /// Those that have lines of their own.
    clients: Vec<OfClient>,
    others: Option<Others>,
}

#[derive(Debug)]
struct OfClient {
    client_id: Option<Box<str>>,
    told: Instant,
    /// Messages since then.
    untold: u64,
}

/// Clients that have one line together.
#[derive(Debug)]
struct Others {
    since: Instant,
    messages: u64,
    /// The hashes of their identifiers: as many as are counted.
    clients: HashSet<u64>,
}

impl Drops {
    pub(super) fn new() -> Self {
        Self {
            reasons: Reason::ALL.iter().map(|_| OfReason::default()).collect(),
            hashing: RandomState::new(),
            due: None,
        }
    }

    /// When to call `tell`, if something waits for it.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Messages were dropped. The first of a client are told at once.
    pub(super) fn add(
        &mut self,
        now: Instant,
        client_id: Option<&str>,
        topic: Option<&str>,
        reason: Reason,
        count: u64,
    ) {
        self.due.get_or_insert(now + INTERVAL);
        let OfReason { clients, others } = &mut self.reasons[reason as usize];
        let known = clients
            .iter_mut()
            .find(|client| client.client_id.as_deref() == client_id);
        if let Some(client) = known {
            client.untold += count;
        } else if clients.len() < DROP_CLIENTS_TOLD_MAX {
            clients.push(OfClient {
                client_id: client_id.map(Into::into),
                told: now,
                untold: 0,
            });
            line(client_id, topic, reason, count);
        } else {
            let others = others.get_or_insert_with(|| Others {
                since: now,
                messages: 0,
                clients: HashSet::new(),
            });
            others.messages += count;
            if others.clients.len() < DROP_CLIENTS_COUNTED_MAX {
                others.clients.insert(self.hashing.hash_one(client_id));
            }
        }
    }

    /// Tells what was only counted, of those who had no line for a second, and forgets those who lost nothing since.
    pub(super) fn tell(&mut self, now: Instant) {
        self.due = None;
        for (OfReason { clients, others }, reason) in self.reasons.iter_mut().zip(Reason::ALL) {
            clients.retain_mut(|client| {
                if now < client.told + INTERVAL {
                    return true;
                }
                let untold = std::mem::take(&mut client.untold);
                if untold > 0 {
                    client.told = now;
                    line(client.client_id.as_deref(), None, *reason, untold);
                }
                untold > 0
            });
            if let Some(others) = others.take_if(|others| now >= others.since + INTERVAL) {
                others.line(*reason);
            }
            let times = clients.iter().map(|client| client.told);
            let next = times.chain(others.iter().map(|others| others.since)).min();
            self.due = [self.due, next.map(|at| at + INTERVAL)]
                .into_iter()
                .flatten()
                .min();
        }
    }
}

impl Others {
    fn line(&self, reason: Reason) {
        let clients = match self.clients.len() {
            n if n < DROP_CLIENTS_COUNTED_MAX => n.to_string(),
            n => format!("{n} or more"),
        };
        tracing::warn!(
            other_clients = clients,
            reason = reason.key(),
            text = reason.text(),
            count = self.messages,
            "message.dropped"
        );
    }
}

fn line(client_id: Option<&str>, topic: Option<&str>, reason: Reason, count: u64) {
    tracing::warn!(
        client = client_id,
        topic,
        reason = reason.key(),
        text = reason.text(),
        count,
        "message.dropped"
    );
}

#[cfg(test)]
mod tests {
    use super::super::tests::lines_of;
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn short(lines: &[String]) -> Vec<String> {
        let text = |reason: &Reason| format!(" text={:?}", reason.text());
        lines
            .iter()
            .map(|line| {
                let line = line.trim_start_matches("warn message.dropped ");
                Reason::ALL
                    .iter()
                    .fold(line.to_owned(), |line, reason| line.replace(&text(reason), ""))
            })
            .collect()
    }

    #[test]
    fn each_client_has_a_line_a_second_for_each_reason() {
        let lines = lines_of(|| {
            let (mut drops, start) = (Drops::new(), Instant::now());
            for at in [0, 100, 200] {
                for client in ["a", "b", "c"] {
                    drops.add(start + at * MS, Some(client), Some("t"), Reason::QueueFull, 1);
                }
            }
            drops.add(start + 300 * MS, Some("a"), Some("t"), Reason::Expired, 1);
            drops.add(start + 300 * MS, None, Some("t"), Reason::NoMember, 1);
            assert_eq!(drops.due(), Some(start + 1_000 * MS));
            drops.tell(start + 1_000 * MS);
            // What was told within a second waits.
            drops.add(start + 1_100 * MS, Some("a"), Some("t"), Reason::QueueFull, 1);
            drops.add(start + 1_100 * MS, Some("a"), Some("t"), Reason::Expired, 1);
            assert_eq!(drops.due(), Some(start + 1_300 * MS));
            drops.tell(start + 1_300 * MS);
            drops.tell(start + 2_000 * MS);
            drops.tell(start + 3_000 * MS);
            assert_eq!(drops.due(), None);
            assert!(drops.reasons.iter().all(|of| of.clients.is_empty()));
        });
        assert_eq!(
            short(&lines),
            [
                "client=a topic=t reason=queue_full count=1",
                "client=b topic=t reason=queue_full count=1",
                "client=c topic=t reason=queue_full count=1",
                "client=a topic=t reason=expired count=1",
                "topic=t reason=no_member count=1",
                "client=a reason=queue_full count=2",
                "client=b reason=queue_full count=2",
                "client=c reason=queue_full count=2",
                "client=a reason=expired count=1",
                "client=a reason=queue_full count=1",
            ]
        );
    }

    #[test]
    fn of_more_clients_the_rest_is_told_together() {
        let lines = lines_of(|| {
            let (mut drops, start) = (Drops::new(), Instant::now());
            for _ in 0..2 {
                for n in 0..DROP_CLIENTS_TOLD_MAX + 3 {
                    drops.add(start, Some(&format!("c{n}")), Some("t"), Reason::OutputFull, 1);
                }
            }
            drops.tell(start + 1_000 * MS);
        });
        let lines = short(&lines);
        assert_eq!(lines.len(), 2 * DROP_CLIENTS_TOLD_MAX + 1, "{lines:?}");
        assert_eq!(
            lines.last().map(String::as_str),
            Some("other_clients=3 reason=output_full count=6")
        );
        let counts = lines
            .iter()
            .filter_map(|line| line.split(" count=").nth(1)?.parse::<usize>().ok());
        assert_eq!(counts.sum::<usize>(), 2 * (DROP_CLIENTS_TOLD_MAX + 3));
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let lines = lines_of(|| {
            let (mut drops, start) = (Drops::new(), Instant::now());
            for n in 0..3 * DROP_CLIENTS_COUNTED_MAX {
                drops.add(start, Some(&format!("c{n}")), Some("t"), Reason::OutputFull, 1);
            }
            let of = &drops.reasons[Reason::OutputFull as usize];
            assert_eq!(of.clients.len(), DROP_CLIENTS_TOLD_MAX);
            let others = of.others.as_ref().map(|others| others.clients.len());
            assert_eq!(others, Some(DROP_CLIENTS_COUNTED_MAX));
            drops.tell(start + 1_000 * MS);
        });
        let count = 3 * DROP_CLIENTS_COUNTED_MAX - DROP_CLIENTS_TOLD_MAX;
        let last = format!("other_clients=\"4096 or more\" reason=output_full count={count}");
        assert_eq!(short(&lines).last(), Some(&last));
    }
}
