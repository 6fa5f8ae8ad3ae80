//! The rows of what is stored: traffic into stored sessions, and what comes back after a restart.

use super::rows::{Family, Figure, Pace, Row, Work, row, thousands};

/// What a broker is told to promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Fsync,
    Os,
    None,
}

impl Level {
    pub(super) const ALL: [Self; 3] = [Self::Fsync, Self::Os, Self::None];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Fsync => "fsync",
            Self::Os => "os",
            Self::None => "none",
        }
    }
}

/// What the rows of this group promise, for the head of the table.
pub(super) const PROMISES: &str = "Stored sessions, on the disk that has the build folder: with fsync Martlet acknowledges \
    what is on the disk, with os what a kill does not take, with none what is in memory. mosquitto stands in the rows of \
    fsync and promises less: it saves all that it has once a second (persistence true, autosave_interval 1), so a kill takes \
    what was acknowledged since. Before a restart Martlet is killed by SIGKILL, mosquitto is asked to end, and saves. Syncs are \
    calls of fsync, fdatasync, sync_file_range, msync and syncfs, counted by strace while one client sends one message \
    after the other.\n\n";

/// How a work goes on with the disk.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) level: Level,
    /// What follows the first load.
    pub(super) then: Vec<Step>,
}

/// What follows a load.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Another load, by the arguments of `martlet bench`.
    Load(String),
    /// The broker ends and starts again.
    Restart,
    /// Another load, so many messages during which syncs are counted.
    Syncs(String, u32),
}

/// Sizes of a run.
struct Sizes {
    /// Messages for each of 10 sessions that are away.
    away: u32,
    /// Messages for each of 100 sessions that come back after a restart.
    back: u32,
    lone: u32,
    queued: u32,
    sessions: u32,
    retained: u32,
}

pub(super) fn works(pace: Pace) -> Vec<Work> {
    let (sizes, seconds) = match pace {
        Pace::Quick => {
            let sizes = Sizes {
                away: 2_000,
                back: 100,
                lone: 50,
                queued: 50_000,
                sessions: 10_000,
                retained: 50_000,
            };
            (sizes, "--seconds 1 --warm-up 0.3")
        }
        Pace::Full => {
            let sizes = Sizes {
                away: 20_000,
                back: 1_000,
                lone: 200,
                queued: 1_000_000,
                sessions: 1_000_000,
                retained: 1_000_000,
            };
            (sizes, "--seconds 5 --warm-up 1")
        }
    };
    let mut works = traffic(&sizes, seconds);
    works.extend(unstored(seconds));
    works.push(syncs(&sizes));
    works.extend(restarts(&sizes));
    works
}

fn row_of(title: impl Into<String>, phase: &str, figure: Figure, target: Option<f64>) -> Row {
    row(Family::Durability, title, phase, figure, target)
}

fn work(name: &'static str, args: String, level: Level, then: Vec<Step>, rows: Vec<Row>) -> Work {
    Work {
        name,
        args,
        relay: None,
        stored: Some(Stored { level, then }),
        tls: None,
        shards: 1,
        rows,
    }
}

/// 50 publishers with 64 messages under way each, to subscribers that are there and to some that are not.
fn traffic(sizes: &Sizes, seconds: &str) -> Vec<Work> {
    const HERE: [&str; 3] = ["stored-here-fsync", "stored-here-os", "stored-here-none"];
    const AWAY: [&str; 3] = ["stored-away-fsync", "stored-away-os", "stored-away-none"];
    let mut works = Vec::new();
    for (nth, level) in Level::ALL.into_iter().enumerate() {
        let target = [Some(6.0), Some(4.0), None][nth];
        let title = |what: &str| {
            format!(
                "50 publishers, QoS 1, 200 bytes, w=64, to {what}, {}",
                level.name()
            )
        };
        works.push(work(
            HERE[nth],
            format!("pairs --pairs 50 -q 1 --size 200 --window 64 --stored {seconds}"),
            level,
            Vec::new(),
            vec![row_of(
                title("50 stored sessions"),
                "deliver",
                Figure::CpuUs,
                target,
            )],
        ));
        let messages = sizes.away;
        let fill = format!("stored publish --sessions 10 --messages {messages} --size 200 --window 64");
        works.push(work(
            AWAY[nth],
            "stored subscribe --sessions 10".into(),
            level,
            vec![Step::Load(fill)],
            vec![row_of(
                title("10 that are away"),
                "publish",
                Figure::CpuUs,
                target,
            )],
        ));
    }
    works
}

/// What nobody has stored for him, where nothing is stored at all: beside the same row with `fsync`, what a store costs
/// those who do not use it.
fn unstored(seconds: &str) -> impl Iterator<Item = Work> {
    let names = ["unstored-q0", "unstored-q1", "unstored-q2"];
    names.into_iter().enumerate().map(move |(qos, name)| {
        work(
            name,
            format!("pairs --pairs 50 -q {qos} {seconds}"),
            Level::None,
            Vec::new(),
            vec![row_of(unstored_title(qos), "deliver", Figure::CpuUs, None)],
        )
    })
}

pub(super) fn unstored_title(qos: usize) -> String {
    format!("50 pairs, QoS {qos}, w=32, none")
}

fn syncs(sizes: &Sizes) -> Work {
    let lone = sizes.lone;
    let load = format!("stored publish --sessions 1 --messages {lone} --publishers 1 --window 1");
    work(
        "stored-syncs",
        "stored subscribe --sessions 1".into(),
        Level::Fsync,
        vec![Step::Syncs(load, lone)],
        vec![row_of(
            "between a lone message and its acknowledgement, fsync",
            "publish",
            Figure::Syncs,
            Some(2.0),
        )],
    )
}

/// What a broker that starts again does with what it had.
fn restarts(sizes: &Sizes) -> Vec<Work> {
    let Sizes {
        back,
        queued,
        sessions,
        retained,
        ..
    } = *sizes;
    let of = |count: u32, what: &str| format!("{} {what}", thousands(count));
    vec![
        work(
            "stored-back",
            "stored subscribe --sessions 100".into(),
            Level::Fsync,
            vec![
                Step::Load(format!(
                    "stored publish --sessions 100 --messages {back} --window 64"
                )),
                Step::Restart,
                Step::Load(format!("stored take --sessions 100 --messages {back}")),
            ],
            vec![row_of(
                format!(
                    "100 sessions take {} messages each after a restart",
                    thousands(back)
                ),
                "take",
                Figure::CpuUs,
                Some(3.0),
            )],
        ),
        work(
            "stored-queued",
            "stored subscribe --sessions 100".into(),
            Level::Fsync,
            vec![
                Step::Load(format!(
                    "stored publish --sessions 100 --messages {} --window 64",
                    queued / 100
                )),
                Step::Restart,
                Step::Load(format!("stored take --sessions 100 --messages {}", queued / 100)),
            ],
            vec![
                row_of(
                    of(queued, "queued: start until it listens"),
                    "publish",
                    Figure::StartMs,
                    Some(2_000.0),
                ),
                row_of(
                    of(queued, "queued: memory then"),
                    "publish",
                    Figure::StartMb,
                    None,
                ),
            ],
        ),
        work(
            "stored-sessions",
            format!("stored subscribe --sessions {sessions} --filters 3"),
            Level::Fsync,
            // It lists its sessions before it listens: a few tell whether all are there.
            vec![
                Step::Restart,
                Step::Load("stored take --sessions 100 --messages 0".into()),
            ],
            vec![
                row_of(
                    of(sessions, "stored sessions of 3 subscriptions: set up one"),
                    "subscribe",
                    Figure::CpuUs,
                    None,
                ),
                row_of(
                    of(
                        sessions,
                        "stored sessions of 3 subscriptions: start until it listens",
                    ),
                    "subscribe",
                    Figure::StartMs,
                    Some(10_000.0),
                ),
                row_of(
                    of(sessions, "stored sessions of 3 subscriptions: memory then"),
                    "subscribe",
                    Figure::StartMb,
                    Some(2_147.0),
                ),
            ],
        ),
        work(
            "stored-retained",
            format!("retained --messages {retained} -q 1 --size 100 --settle 0"),
            Level::Fsync,
            Vec::new(),
            vec![row_of(
                of(retained, "retained of 100 bytes, fsync: memory"),
                "set",
                Figure::Bytes,
                Some(400.0),
            )],
        ),
    ]
}
