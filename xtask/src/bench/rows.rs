//! The rows of the table, and the loads that fill them.

use serde::{Deserialize, Serialize};

use super::durability::{self, Stored};
use super::tls::Key;

/// A load, and the rows that are read from its report.
pub(super) struct Work {
    pub(super) name: &'static str,
    /// The arguments of `martlet bench`.
    pub(super) args: String,
    /// How the relay does it, if it can: pattern, count, and bytes of a payload.
    pub(super) relay: Option<(&'static str, u32, u32)>,
    /// What the broker stores and what follows the load; none: the same store as without being asked, and no more.
    pub(super) stored: Option<Stored>,
    /// The key of a broker that is reached over TLS; none: in the clear.
    pub(super) tls: Option<Key>,
    /// Threads of the broker. With more than one, which only Martlet does, the load shares its cores.
    pub(super) shards: u32,
    pub(super) rows: Vec<Row>,
}

impl Work {
    /// Whether its rows say what outlives the broker, or what that costs the others; but for the million sessions, which take
    /// mosquitto half an hour.
    pub(super) fn is_about_store(&self) -> bool {
        if self.name == "stored-sessions" {
            return false;
        }
        let is_about = |row: &Row| row.family == Family::Durability;
        self.rows.iter().any(is_about) || self.name.starts_with("pairs-q")
    }
}

/// A row: a figure of a phase.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) title: String,
    pub(super) family: Family,
    pub(super) phase: String,
    pub(super) figure: Figure,
    /// Where the relay takes 0.20 us in pairs.
    pub(super) target: Option<f64>,
    /// Whether the row is void unless the broker was busy all the time.
    pub(super) needs_busy: bool,
}

/// Which number of a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Figure {
    /// CPU time of the broker for each, in microseconds.
    CpuUs,
    /// Growth of its resident memory for each, in bytes.
    Bytes,
    /// The latency that 99 % do not exceed, in microseconds.
    P99Us,
    /// The most memory that it had since its start, in MB.
    PeakMb,
    /// The part of its CPU time that its busiest thread took, in percent.
    BusiestPercent,
    /// Calls that make the system write what it has to the disk, for each message.
    Syncs,
    /// From the start of its process until it listens, in milliseconds.
    StartMs,
    /// Its resident memory then, in MB.
    StartMb,
}

/// Rows that share a plot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Family {
    Messages,
    Large,
    Filters,
    Kept,
    Connections,
    Latency,
    Shards,
    Durability,
    Tls,
}

impl Family {
    pub(super) const ALL: [Self; 9] = [
        Self::Messages,
        Self::Large,
        Self::Filters,
        Self::Kept,
        Self::Connections,
        Self::Latency,
        Self::Shards,
        Self::Durability,
        Self::Tls,
    ];

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Messages => "Messages of 64 bytes: CPU time of the broker for each delivery",
            Self::Large => "Large messages: CPU time of the broker for each delivery",
            Self::Filters => "Many filters",
            Self::Kept => "Messages that the broker keeps",
            Self::Connections => "Connections",
            Self::Latency => "Latency at 20,000 messages a second",
            Self::Shards => "Two shards, which share their cores with the load",
            Self::Durability => "Stored sessions, on the disk",
            Self::Tls => "TLS",
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Large => "large",
            Self::Filters => "filters",
            Self::Kept => "kept",
            Self::Connections => "connections",
            Self::Latency => "latency",
            Self::Shards => "shards",
            Self::Durability => "durability",
            Self::Tls => "tls",
        }
    }
}

impl Figure {
    pub(super) const fn unit(self) -> &'static str {
        match self {
            Self::CpuUs => "us CPU",
            Self::Bytes => "bytes",
            Self::P99Us => "us",
            Self::PeakMb | Self::StartMb => "MB",
            Self::BusiestPercent => "% in one thread",
            Self::Syncs => "syncs",
            Self::StartMs => "ms",
        }
    }
}

/// How long a run takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    Quick,
    Full,
}

/// The load in whose row the machine is weighed.
pub(super) const SCALE: &str = "pairs-q0";

pub(super) fn row(
    family: Family,
    title: impl Into<String>,
    phase: &str,
    figure: Figure,
    target: Option<f64>,
) -> Row {
    Row {
        title: title.into(),
        family,
        phase: phase.into(),
        figure,
        target,
        needs_busy: false,
    }
}

pub(super) fn works(pace: Pace) -> Vec<Work> {
    let quick = pace == Pace::Quick;
    let seconds = if quick {
        "--seconds 1 --warm-up 0.3"
    } else {
        "--seconds 5 --warm-up 1"
    };
    let settle = if quick { 2 } else { 5 };
    let kept: u32 = if quick { 50_000 } else { 100_000 };
    let idle: &[(u32, _)] = if quick {
        &[(5_000, "idle")]
    } else {
        &[(10_000, "idle"), (19_000, "idle-19k")]
    };
    let filters: &[(u32, _, _)] = &[
        (1_000, "filters-1k", 2.5),
        (100_000, "filters-100k", 3.0),
        (1_000_000, "filters-1m", 4.0),
    ];
    let filters = if quick { &filters[..2] } else { filters };
    let mut works: Vec<Work> = traffic()
        .into_iter()
        .map(|(name, args, relay, family, title, target)| Work {
            name,
            args: format!("{args} {seconds}"),
            relay,
            stored: None,
            tls: None,
            shards: 1,
            rows: vec![Row {
                needs_busy: true,
                ..row(family, title, "deliver", Figure::CpuUs, Some(target))
            }],
        })
        .collect();
    for (count, name, target) in filters {
        let mut rows = vec![Row {
            needs_busy: true,
            ..row(
                Family::Filters,
                format!("publish among {} filters", thousands(*count)),
                "deliver",
                Figure::CpuUs,
                Some(*target),
            )
        }];
        if *count >= 100_000 {
            let title = |what| format!("one more subscription of {}: {what}", thousands(*count));
            let cpu = row(
                Family::Filters,
                title("CPU"),
                "subscribe",
                Figure::CpuUs,
                Some(2.0),
            );
            let bytes = row(
                Family::Filters,
                title("memory"),
                "subscribe",
                Figure::Bytes,
                Some(400.0),
            );
            rows.extend([cpu, bytes]);
        }
        works.push(Work {
            name,
            args: format!("filters --filters {count} {seconds}"),
            relay: None,
            stored: None,
            tls: None,
            shards: 1,
            rows,
        });
    }
    let of = |what: &str| format!("{} {what}", thousands(kept));
    works.push(Work {
        name: "retained",
        args: format!("retained --messages {kept} -q 1 --settle {settle}"),
        relay: None,
        stored: None,
        tls: None,
        shards: 1,
        rows: vec![
            row(
                Family::Kept,
                of("retained, QoS 1: set"),
                "set",
                Figure::CpuUs,
                Some(2.0),
            ),
            row(
                Family::Kept,
                of("retained: memory"),
                "set",
                Figure::Bytes,
                Some(400.0),
            ),
            row(
                Family::Kept,
                of("retained: read back at QoS 0"),
                "read back",
                Figure::CpuUs,
                Some(0.8),
            ),
            row(
                Family::Kept,
                of(&format!(
                    "retained, {settle} s after they were cleared: memory left"
                )),
                "after",
                Figure::Bytes,
                None,
            ),
        ],
    });
    works.push(Work {
        name: "offline",
        args: format!("offline --messages {kept} -q 1 --settle {settle}"),
        relay: None,
        stored: None,
        tls: None,
        shards: 1,
        rows: vec![
            row(
                Family::Kept,
                of("queued, QoS 1: in"),
                "in",
                Figure::CpuUs,
                Some(2.0),
            ),
            row(
                Family::Kept,
                of("queued: memory"),
                "in",
                Figure::Bytes,
                Some(400.0),
            ),
            row(
                Family::Kept,
                of("queued, QoS 1: out"),
                "out",
                Figure::CpuUs,
                Some(1.0),
            ),
            row(
                Family::Kept,
                of(&format!("queued, {settle} s after they were taken: memory left")),
                "after",
                Figure::Bytes,
                None,
            ),
        ],
    });
    for (count, name) in idle {
        let of = |what: &str| format!("{} {what}", thousands(*count));
        works.push(Work {
            name,
            args: format!("idle --connections {count} --settle {settle}"),
            relay: None,
            stored: None,
            tls: None,
            shards: 1,
            rows: vec![
                row(
                    Family::Connections,
                    of("idle connections: memory of one"),
                    "connect",
                    Figure::Bytes,
                    Some(2_000.0),
                ),
                row(
                    Family::Connections,
                    of(&format!(
                        "connections, {settle} s after they went: memory left of one"
                    )),
                    "after",
                    Figure::Bytes,
                    None,
                ),
            ],
        });
    }
    works.push(Work {
        name: "connect",
        args: format!("connect {}", if quick { "--seconds 1" } else { "--seconds 5" }),
        relay: None,
        stored: None,
        tls: None,
        shards: 1,
        rows: vec![row(
            Family::Connections,
            "connect and disconnect",
            "connect",
            Figure::CpuUs,
            Some(24.0),
        )],
    });
    for (name, qos) in [("rate-20k", 0), ("rate-20k-q1", 1)] {
        works.push(Work {
            name,
            args: format!("pairs --pairs 50 -q {qos} --rate 20000 {seconds}"),
            relay: (qos == 0).then_some(("pairs", 50, 64)),
            stored: None,
            tls: None,
            shards: 1,
            rows: vec![row(
                Family::Latency,
                format!("50 pairs, QoS {qos}, 20,000 a second: 99 % within"),
                "deliver",
                Figure::P99Us,
                None,
            )],
        });
    }
    // 102,400 messages under way: what is read faster than it is written piles up, and shows. All of them fit into
    // what Martlet holds for one connection (16 MiB), so none may be dropped even if the load gets no core.
    works.push(Work {
        name: "flood",
        args: format!("fan-in --publishers 200 -q 0 --window 512 {seconds}"),
        relay: Some(("fan-in", 200, 64)),
        stored: None,
        tls: None,
        shards: 1,
        rows: vec![
            row(
                Family::Messages,
                "fan-in 200 to 1, QoS 0, w=512",
                "deliver",
                Figure::CpuUs,
                None,
            ),
            row(
                Family::Messages,
                "fan-in 200 to 1, QoS 0, w=512: memory at most",
                "deliver",
                Figure::PeakMb,
                None,
            ),
        ],
    });
    works.extend(shards(seconds));
    works.extend(durability::works(pace));
    works
}

/// The same messages, with both sides of a pair in one shard, in two, and all in one of two.
fn shards(seconds: &str) -> Vec<Work> {
    let kinds = [
        ("shards-same-q0", 0, "sides", SAME),
        ("shards-across-q0", 0, "pairs", ACROSS),
        ("shards-same-q1", 1, "sides", SAME),
        ("shards-across-q1", 1, "pairs", ACROSS),
        (
            "shards-skewed",
            0,
            "every-other",
            "all that are busy in one shard",
        ),
    ];
    let work = |(name, qos, order, what): (&'static str, u32, &str, &str)| {
        let title = format!("50 pairs, QoS {qos}, 2 shards, {what}");
        let cpu = row(Family::Shards, title.clone(), "deliver", Figure::CpuUs, None);
        let busiest = row(
            Family::Shards,
            format!("{title}: the busier shard"),
            "deliver",
            Figure::BusiestPercent,
            None,
        );
        Work {
            name,
            args: format!("pairs --pairs 50 -q {qos} --order {order} {seconds}"),
            relay: None,
            stored: None,
            tls: None,
            shards: 2,
            rows: vec![cpu, busiest],
        }
    };
    kinds.into_iter().map(work).collect()
}

pub(super) const SAME: &str = "none crosses";
pub(super) const ACROSS: &str = "each message crosses";

type Traffic = (
    &'static str,
    &'static str,
    Option<(&'static str, u32, u32)>,
    Family,
    &'static str,
    f64,
);

/// The works that run for a while, each with the one row of its deliveries.
fn traffic() -> Vec<Traffic> {
    use Family::{Large, Messages};
    let pairs = Some(("pairs", 50, 64));
    vec![
        (
            SCALE,
            "pairs --pairs 50 -q 0",
            pairs,
            Messages,
            "50 pairs, QoS 0, w=32",
            0.35,
        ),
        (
            "pairs-q1",
            "pairs --pairs 50 -q 1",
            None,
            Messages,
            "50 pairs, QoS 1, w=32",
            0.55,
        ),
        (
            "pairs-q2",
            "pairs --pairs 50 -q 2",
            None,
            Messages,
            "50 pairs, QoS 2, w=32",
            1.2,
        ),
        (
            "pairs-w1",
            "pairs --pairs 50 -q 0 --window 1",
            pairs,
            Messages,
            "50 pairs, QoS 0, w=1",
            7.5,
        ),
        (
            "fan-out-q0",
            "fan-out --subscribers 200 -q 0",
            Some(("fan-out", 200, 64)),
            Messages,
            "fan-out 1 to 200, QoS 0, w=32",
            0.6,
        ),
        (
            "fan-out-q1",
            "fan-out --subscribers 200 -q 1",
            None,
            Messages,
            "fan-out 1 to 200, QoS 1, w=32",
            0.8,
        ),
        (
            "fan-in-q0",
            "fan-in --publishers 200 -q 0",
            Some(("fan-in", 200, 64)),
            Messages,
            "fan-in 200 to 1, QoS 0, w=32",
            0.35,
        ),
        (
            "pairs-4k",
            "pairs --pairs 50 -q 0 --size 4096",
            Some(("pairs", 50, 4096)),
            Large,
            "50 pairs, QoS 0, 4 KiB, w=32",
            1.3,
        ),
        (
            "pairs-256k",
            "pairs --pairs 50 -q 0 --size 262144 --window 2",
            Some(("pairs", 50, 262_144)),
            Large,
            "50 pairs, QoS 0, 256 KiB, w=2",
            100.0,
        ),
    ]
}

pub(super) fn thousands(number: u32) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
