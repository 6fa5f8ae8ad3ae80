//! The client, killed again and again on one store, and a ledger of what it has accepted and taken.
//!
//! A process of its own, `victim`, publishes and takes over a real broker, and dies at a named point of the client: between
//! what it stores, what it says and what it sends. This side publishes to it, and sees what comes of what it published. At
//! the end a last run sends what is left, and the ledger is compared: what `publish` has accepted has come, QoS 2 once; what
//! was taken, and whose taking was stored, was not offered again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use martlet_client::{Message, Options, Protocol, Qos, Subscribe, TopicBuf, blocking, filter};
use martlet_interop::Broker;
use martlet_robustness::Random;

use crate::fault::{Checked, Fault};
use crate::limits::{POINT_MAX, SETTLE_MAX};

/// Where the client can be told to die, as its `kill_points` calls it.
pub const POINTS: [&str; 13] = [
    "BeforeAppend",
    "AfterAppend",
    "AfterSync",
    "BeforeClean",
    "AfterClean",
    "BeforeStored",
    "AfterStored",
    "BeforeWrite",
    "AfterWrite",
    "BeforeRead",
    "AfterRead",
    "BeforeTaken",
    "AfterTaken",
];

const BY_THE_CLOCK: &str = "by the clock";

/// Messages that are sent to the victim in a round.
const FED: u32 = 20;

/// Whether the victim has a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgets {
    /// It has one in a folder.
    Nothing,
    /// It keeps all in memory: a run that finds no fault then is a test that cannot fail.
    All,
}

/// What the kills at a point have done.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    rounds: u32,
    accepted: u32,
    lost: u32,
    again_qos1: u32,
    again_qos2: u32,
}

/// What a run of kills has found.
#[derive(Debug, Clone, Default)]
pub struct ClientReport {
    rows: BTreeMap<&'static str, Row>,
    /// What is wrong with the first few messages that are.
    faults: Vec<String>,
}

impl ClientReport {
    /// At how many points it was killed, the clock not counted.
    pub fn points(&self) -> usize {
        self.rows.keys().filter(|point| **point != BY_THE_CLOCK).count()
    }

    /// How many messages were accepted.
    pub fn accepted(&self) -> u32 {
        self.rows.values().map(|row| row.accepted).sum()
    }

    /// What was lost, or came twice and must not.
    pub fn faults(&self) -> &[String] {
        &self.faults
    }
}

impl fmt::Display for ClientReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| killed at | rounds | accepted | lost | again at QoS 1 | again at QoS 2 |\n|---|---|---|---|---|---|"
        )?;
        for (point, row) in &self.rows {
            let Row {
                rounds,
                accepted,
                lost,
                again_qos1,
                again_qos2,
            } = row;
            writeln!(
                f,
                "| {point} | {rounds} | {accepted} | {lost} | {again_qos1} | {again_qos2} |"
            )?;
        }
        Ok(())
    }
}

impl fmt::Debug for Victims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Victims")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

/// The broker, this side's client, and the folder that lives through all rounds.
pub struct Victims {
    broker: Broker,
    client: blocking::Client,
    came: blocking::Subscription,
    folder: PathBuf,
    draws: Random,
    forgets: Forgets,
    /// The victim's messages that have come.
    seen: HashMap<String, u32>,
    /// What was sent to it, and the round.
    fed: BTreeMap<String, (Qos, usize)>,
    /// Where each round has ended.
    kills: Vec<&'static str>,
    /// Lines of the ledger that were read.
    read: usize,
    offered: HashMap<String, u32>,
    taken: BTreeSet<String>,
    report: ClientReport,
}

impl Victims {
    /// A broker and an empty store.
    pub fn new(name: &str, seed: u64, forgets: Forgets) -> Self {
        let broker = Broker::start(name);
        let folder = std::env::temp_dir().join(format!("martlet-{name}-{}", std::process::id()));
        // One that a killed test has left.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a folder for the store");
        let options = Options::new("127.0.0.1", broker.port())
            .protocol(Protocol::V5)
            .client_id("other-side");
        let (client, _) = blocking::Client::connect(options).expect("the broker listens");
        let subscribe = Subscribe::to(filter!("from-victim/#"), Qos::ExactlyOnce);
        let came = client.subscribe(subscribe).expect("it subscribes");
        Self {
            broker,
            client,
            came,
            folder,
            draws: Random::new(seed),
            forgets,
            seen: HashMap::new(),
            fed: BTreeMap::new(),
            kills: Vec::new(),
            read: 0,
            offered: HashMap::new(),
            taken: BTreeSet::new(),
            report: ClientReport::default(),
        }
    }

    /// Kills it so often, at each point in turn, and compares.
    pub fn run(&mut self, rounds: usize) -> Checked<ClientReport> {
        // A victim that has subscribed once: from then on nothing that is sent to it is lost.
        self.settle("subscribe")?;
        for round in 0..rounds {
            let point = POINTS[round % POINTS.len()];
            // No more than a run passes even when it does little.
            let most = match point {
                "BeforeTaken" | "AfterTaken" => 10,
                _ if point.ends_with("Clean") => 3,
                _ => 40,
            };
            let nth = 1 + self.draws.below(most);
            let mode = match self.forgets {
                Forgets::All => "forgets",
                Forgets::Nothing if (round / POINTS.len()).is_multiple_of(2) => "threads",
                Forgets::Nothing => "pump",
            };
            self.round(round, point, nth as u32, mode)?;
        }
        self.settle("drain")?;
        self.compare();
        Ok(self.report.clone())
    }

    fn round(&mut self, round: usize, point: &'static str, nth: u32, mode: &str) -> Checked {
        self.feed(round)?;
        let mut victim = self.start(round, mode, Some((point, nth)));
        let since = Instant::now();
        let status = loop {
            self.look(round)?;
            if let Some(status) = victim.ended() {
                break Some(status);
            }
            if since.elapsed() > POINT_MAX {
                break None;
            }
            sleep(Duration::from_millis(1));
        };
        victim.kill();
        let at = match status {
            Some(status) if is_kill(status) => point,
            Some(status) => {
                return Err(Fault::new(format!(
                    "round {round}: the victim ended by itself ({status}), it says:\n{}",
                    self.said()
                )));
            }
            None => BY_THE_CLOCK,
        };
        self.kills.push(at);
        self.report.rows.entry(at).or_default().rounds += 1;
        self.look(round)
    }

    /// Lets it come to rest: all that is on the way in both directions has come.
    fn settle(&mut self, name: &str) -> Checked {
        let round = self.kills.len();
        let mut victim = self.start(round, "drain", None);
        let since = Instant::now();
        loop {
            self.look(round)?;
            let is_drained = self.taken.contains("drained");
            // Of one that was taken the line may be missing: it was killed before it wrote it.
            let waits = self.fed.keys().find(|id| !self.offered.contains_key(*id));
            if is_drained && waits.is_none() {
                self.taken.remove("drained");
                victim.kill();
                return Ok(());
            }
            if let Some(status) = victim.ended() {
                return Err(Fault::new(format!(
                    "{name}: the victim ended by itself ({status}), it says:\n{}",
                    self.said()
                )));
            }
            if since.elapsed() > SETTLE_MAX {
                return Err(Fault::new(format!(
                    "{name}: it does not come to rest within {SETTLE_MAX:?}: drained: {is_drained}, waits for {waits:?}; it says:\n{}",
                    self.said()
                )));
            }
            sleep(Duration::from_millis(1));
        }
    }

    /// Sends it some, by turns of QoS 1 and 2, and waits until the broker has them.
    fn feed(&mut self, round: usize) -> Checked {
        let mut deliveries = Vec::new();
        for n in 0..FED {
            let (qos, topic) = if n.is_multiple_of(2) {
                (Qos::AtLeastOnce, "to-victim/1")
            } else {
                (Qos::ExactlyOnce, "to-victim/2")
            };
            let id = format!("fed-{round}-{n}");
            let topic = TopicBuf::new(topic).expect("a topic name");
            let message = Message::new(topic, id.clone()).qos(qos);
            self.fed.insert(id, (qos, round));
            deliveries.push(
                self.client
                    .publish(message)
                    .map_err(|e| Fault::new(e.to_string()))?,
            );
        }
        for delivery in deliveries {
            delivery.wait().map_err(|error| Fault::new(error.to_string()))?;
        }
        Ok(())
    }

    fn ledger(&self) -> PathBuf {
        self.folder.join("ledger")
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.folder.join("said")).unwrap_or_default()
    }

    fn start(&self, round: usize, mode: &str, kill_at: Option<(&str, u32)>) -> Victim {
        let said = std::fs::File::create(self.folder.join("said")).expect("a file for what it says");
        let mut command = Command::new(binary());
        command
            .arg(self.broker.port().to_string())
            .arg(self.folder.join("store"))
            .arg(self.ledger())
            .arg(round.to_string())
            .arg(mode)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said);
        if let Some((point, nth)) = kill_at {
            command.env("MARTLET_KILL_AT", format!("{point}:{nth}"));
        }
        Victim(command.spawn().expect("the victim starts"))
    }

    /// Takes what has come, and what the victim has written down since.
    fn look(&mut self, round: usize) -> Checked {
        while let Some(message) = self.came.try_recv() {
            let id = String::from_utf8_lossy(&message.payload).into_owned();
            let qos = message.qos;
            let times = self.seen.entry(id.clone()).or_default();
            *times += 1;
            if *times > 1 {
                self.again(round, qos, &format!("{id} came again"));
            }
        }
        let ledger = std::fs::read_to_string(self.ledger()).unwrap_or_default();
        let whole = ledger.rfind('\n').map_or("", |end| &ledger[..=end]);
        for line in whole
            .lines()
            .skip(self.read)
            .map(str::to_owned)
            .collect::<Vec<_>>()
        {
            self.read += 1;
            self.line(round, &line)?;
        }
        Ok(())
    }

    fn line(&mut self, round: usize, line: &str) -> Checked {
        let (what, id) = line
            .split_once(' ')
            .ok_or_else(|| Fault::new(format!("a line that is none: {line}")))?;
        match what {
            "accepted" if id == "drained" => drop(self.taken.insert(id.to_owned())),
            "accepted" => {}
            "taken" => drop(self.taken.insert(id.to_owned())),
            _ => {
                let times = self.offered.entry(id.to_owned()).or_default();
                *times += 1;
                let (qos, _) = self.fed[id];
                if self.taken.contains(id) {
                    self.again(round, qos, &format!("{id} was taken and is offered again"));
                }
            }
        }
        Ok(())
    }

    /// A message has come once more: because of the last kill.
    fn again(&mut self, round: usize, qos: Qos, what: &str) {
        let after = self.kills.last().copied().unwrap_or("no kill");
        let row = self.report.rows.entry(after).or_default();
        if qos == Qos::ExactlyOnce {
            row.again_qos2 += 1;
            self.fault(format!("round {round}, killed at {after} before: QoS 2: {what}"));
        } else {
            row.again_qos1 += 1;
        }
    }

    fn fault(&mut self, what: String) {
        const SHOWN: usize = 20;
        if self.report.faults.len() < SHOWN {
            self.report.faults.push(what);
        }
    }

    /// What was accepted has come; what was sent to the victim was offered.
    fn compare(&mut self) {
        let ledger = std::fs::read_to_string(self.ledger()).unwrap_or_default();
        let accepted = ledger.lines().filter_map(|line| line.strip_prefix("accepted "));
        for id in accepted.filter(|id| *id != "drained") {
            let round: usize = id.split('-').next().and_then(|n| n.parse().ok()).unwrap_or(0);
            let at = self.kills.get(round).copied().unwrap_or(BY_THE_CLOCK);
            let is_lost = !self.seen.contains_key(id);
            let row = self.report.rows.entry(at).or_default();
            row.accepted += 1;
            row.lost += u32::from(is_lost);
            if is_lost {
                self.fault(format!(
                    "round {round}, killed at {at}: {id} was accepted and never came"
                ));
            }
        }
        let missed: Vec<_> = self
            .fed
            .iter()
            .filter(|(id, _)| !self.offered.contains_key(*id))
            .collect();
        let missed: Vec<_> = missed
            .into_iter()
            .map(|(id, (_, round))| (id.clone(), *round))
            .collect();
        for (id, round) in missed {
            let at = self.kills.get(round).copied().unwrap_or(BY_THE_CLOCK);
            self.report.rows.entry(at).or_default().lost += 1;
            self.fault(format!("round {round}, killed at {at}: {id} was never offered"));
        }
    }
}

impl Drop for Victims {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// The process. It dies with the value.
struct Victim(Child);

impl Victim {
    fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("a child can be waited for")
    }

    fn kill(&mut self) {
        // An error says that it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether that is how it ends at a point.
fn is_kill(status: ExitStatus) -> bool {
    const SIGABRT: i32 = 6;
    status.signal() == Some(SIGABRT)
}

/// The victim with kill points.
fn binary() -> PathBuf {
    let told = std::env::var_os("MARTLET_KILL_VICTIM_BIN").map(PathBuf::from);
    told.unwrap_or_else(|| martlet_interop::target().join("kill-points/victim"))
}

/// Whether there is one.
pub fn has_victim() -> bool {
    binary().is_file()
}
