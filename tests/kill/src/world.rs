//! A broker that is killed, its clients, and the rounds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use martlet_robustness::Random;

use crate::auditor::Auditor;
use crate::broker::{self, Broker, Durability, Point};
use crate::cast;
use crate::deliveries::Known;
use crate::fault::{Checked, Fault};
use crate::ledger::Ledger;
use crate::limits::{
    CLOSE_MAX, COUNTS_MAX, PAUSE, POINT_MAX, QUIET, RETURN_MS_MAX, SETTLE_MAX, SILENCE_MAX, TRAFFIC_MS_MAX,
    WILLS_MAX,
};
use crate::publisher::Publisher;
use crate::report::Report;
use crate::scene::{Phase, Scene};
use crate::subscriber::Subscriber;
use crate::testator::Testator;

/// Lost messages of one recipient whose stories a fault has.
const STORIES_SHOWN: usize = 3;
pub(crate) const BY_TIME: &str = "by the clock";
const EMPTY: &[&str] = &[
    "$SYS/broker/packet/out/count",
    "$SYS/broker/publish/messages/dropped",
];
const RETAINED: &[&str] = &["r/#", "c/#"];

/// What a run is.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How often the broker is killed.
    pub rounds: u32,
    /// What all choices follow from.
    pub seed: u64,
    /// What the broker is told to promise.
    pub durability: Durability,
    /// What happens to the broker.
    pub blow: Blow,
}

/// What ends a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    /// The broker is killed.
    Kill,
    /// All connections are cut, and the broker lives on: that must do no harm to a broker without a store either.
    Cut,
}

/// When a round's broker is killed.
#[derive(Debug, Clone, Copy)]
enum Kill {
    /// So long after it listens, while clients come back.
    Returning(Duration),
    /// So long after the traffic has begun.
    Traffic(Duration),
    /// It does it itself, or is killed by the clock if it does not get there.
    At(Point, u32),
    /// The last round: not at all.
    Never,
}

/// Whether the broker lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Alive,
    Dead,
}

/// A run.
#[derive(Debug)]
pub struct World {
    settings: Settings,
    folder: PathBuf,
    scene: Scene,
    broker: Option<Broker>,
    kill_at: Option<Instant>,
    publishers: Vec<Publisher>,
    subscribers: Vec<Subscriber>,
    testators: Vec<Testator>,
    auditor: Option<Auditor>,
    kills: BTreeMap<&'static str, u32>,
    /// Deliveries that never came.
    lost: usize,
    /// The place of the recipient that watches wills.
    watcher: usize,
    start: Instant,
    failed: bool,
}

impl World {
    /// A run that has not begun. Its data folder is that of `name` and this process.
    pub fn new(name: &str, settings: Settings) -> Self {
        let own = format!("kill-{name}-{}", std::process::id());
        let folder = martlet_interop::target().join("tmp").join(own);
        std::fs::create_dir_all(&folder).expect("cannot create the run's folder");
        let now = Instant::now();
        let mut ledger = Ledger::new();
        let (subscribers, watcher) = cast::subscribers(&mut ledger);
        let scene = Scene {
            ledger,
            random: Random::new(settings.seed),
            phase: Phase::Settle,
            port: 0,
            now,
            connections: 0,
            packets: 0,
            closed: Vec::new(),
        };
        Self {
            settings,
            folder,
            scene,
            broker: None,
            kill_at: None,
            publishers: cast::publishers(),
            subscribers,
            testators: cast::testators(),
            auditor: None,
            kills: BTreeMap::new(),
            lost: 0,
            watcher,
            start: now,
            failed: false,
        }
    }

    /// All rounds, and then that nothing is left.
    pub fn run(&mut self) -> Result<(), Fault> {
        let ran = self.rounds();
        self.failed = ran.is_err();
        ran.map_err(|fault| {
            let Settings { seed, durability, .. } = self.settings;
            let (round, kills) = (self.scene.ledger.round, &self.scene.ledger.kills);
            let lately = kills[kills.len().saturating_sub(3)..].join("\n");
            let head = format!("seed {seed}, round {round}, durability {durability:?}:\n{fault}");
            let said = broker::tail(&self.folder);
            Fault::new(head)
                .and(&format!("the last rounds:\n{lately}"))
                .and(&format!(
                    "the broker's log ends:\n{said}\nits data is kept in {}",
                    self.folder.display()
                ))
        })
    }

    fn rounds(&mut self) -> Checked {
        for round in 0..self.settings.rounds {
            self.scene.ledger.round = round;
            let kill = self.choose();
            let ended = self.round(kill)?;
            let (name, nth) = match kill {
                Kill::At(point, nth) if !ended => (point.name(), Some(nth)),
                _ => (BY_TIME, None),
            };
            *self.kills.entry(name).or_default() += 1;
            let nth = nth.map_or_else(String::new, |nth| format!(", passed {nth} times"));
            let wanted = if nth.is_empty() {
                format!(" ({kill:?})")
            } else {
                String::new()
            };
            let kill = format!("round {round}: killed {name}{nth}{wanted}");
            self.scene.ledger.kills.push(kill);
        }
        self.scene.ledger.round = self.settings.rounds;
        self.finish()
    }

    /// Half of the kills are by the clock, if there are points.
    fn choose(&mut self) -> Kill {
        let random = &mut self.scene.random;
        let at_point = random.below(2) == 0;
        let has_points = self.settings.blow == Blow::Kill && broker::with_points().is_some();
        if at_point && has_points {
            let point = Point::ALL[random.below(Point::ALL.len())];
            // Each order of magnitude is as likely: early passes are those of clients that come back.
            let magnitude = if point.is_rare() { 1 } else { 1 << random.below(11) };
            return Kill::At(point, 1 + random.below(magnitude) as u32);
        }
        if random.below(4) == 0 {
            return Kill::Returning(Duration::from_millis(random.below(RETURN_MS_MAX) as u64));
        }
        Kill::Traffic(Duration::from_millis(random.below(TRAFFIC_MS_MAX) as u64))
    }

    /// True: the clock killed the broker.
    fn round(&mut self, kill: Kill) -> Checked<bool> {
        self.begin(kill)?;
        let by_clock = |world: &Self| world.kill_at.is_some();
        if self.settle()? == Life::Dead {
            return Ok(by_clock(self));
        }
        let traffic = match kill {
            Kill::Traffic(after) => after,
            _ => POINT_MAX,
        };
        let point_until = self.scene.now + traffic;
        // Clients that are back in time do not put the kill off.
        let kill_at = *self.kill_at.get_or_insert(point_until);
        self.scene.phase = Phase::Traffic;
        while self.turn()? == Life::Alive {}
        Ok(self.scene.now >= kill_at)
    }

    fn begin(&mut self, kill: Kill) -> Checked {
        let kill_at = if let Kill::At(point, nth) = kill {
            Some((point, nth))
        } else {
            None
        };
        let broker = match self.broker.take() {
            Some(broker) => broker,
            None => Broker::start(&self.folder, self.settings.durability, kill_at)?,
        };
        let scene = &mut self.scene;
        scene.port = broker.port();
        scene.now = Instant::now();
        scene.phase = Phase::Settle;
        self.kill_at = if let Kill::Returning(after) = kill {
            Some(scene.now + after)
        } else {
            None
        };
        self.broker = Some(broker);
        let all = matches!(kill, Kill::Never);
        self.publishers.iter_mut().for_each(Publisher::begin);
        for publisher in &mut self.publishers {
            publisher.session.connects_at = scene.soon(20);
        }
        for subscriber in &mut self.subscribers {
            subscriber.begin(all, scene);
            subscriber.session.connects_at = scene.soon(20);
        }
        for testator in &mut self.testators {
            testator.session.connects_at = scene.soon(20);
        }
        Ok(())
    }

    /// Retained messages are looked at, clients come back, and what is owed comes.
    fn settle(&mut self) -> Checked<Life> {
        let topics = self.scene.ledger.retained_topics_min();
        if self.audit(RETAINED, topics)? == Life::Dead {
            return Ok(Life::Dead);
        }
        let start = Instant::now();
        let (mut packets, mut heard) = (self.scene.packets, Instant::now());
        while !self.is_settled() {
            if self.turn()? == Life::Dead {
                return Ok(Life::Dead);
            }
            if self.scene.packets > packets {
                (packets, heard) = (self.scene.packets, Instant::now());
            }
            if heard.elapsed() > SILENCE_MAX || start.elapsed() > SETTLE_MAX {
                self.lost = self.owed();
                return Err(self.unsettled());
            }
        }
        Ok(Life::Alive)
    }

    /// A look at what is retained; nobody else does anything meanwhile.
    fn audit(&mut self, filters: &'static [&'static str], topics_min: usize) -> Checked<Life> {
        let mut auditor = Auditor::new(filters, &self.scene);
        while !auditor.is_done(topics_min) && auditor.silence() < SILENCE_MAX {
            if self.look()? == Life::Dead {
                return Ok(Life::Dead);
            }
            auditor.turn(&mut self.scene)?;
            sleep(PAUSE);
        }
        if filters == RETAINED {
            self.scene.ledger.check_retained(&auditor.found)?;
        }
        self.auditor = Some(auditor);
        Ok(Life::Alive)
    }

    fn is_settled(&self) -> bool {
        let here = |subscriber: &&Subscriber| subscriber.is_here;
        let is_served = |subscriber: &Subscriber| {
            subscriber.is_settled() && self.scene.ledger.recipients[subscriber.recipient].owed.is_empty()
        };
        self.publishers.iter().all(Publisher::is_settled)
            && self.subscribers.iter().filter(here).all(is_served)
    }

    /// What is missing.
    fn unsettled(&self) -> Fault {
        let ledger = &self.scene.ledger;
        if let Some(publisher) = self.publishers.iter().find(|publisher| !publisher.is_settled()) {
            let waits = publisher
                .waits_for()
                .map_or_else(|| "CONNACK".to_owned(), |number| ledger.story(number));
            return Fault::new(format!("{} waits in vain for:", publisher.session.id)).and(&waits);
        }
        if self.lost > 0 {
            let head = format!("{} acknowledged messages are lost; the first of each:", self.lost);
            let all = ledger.recipients.iter().enumerate();
            let owed = all.filter(|(at, recipient)| self.is_here(*at) && !recipient.owed.is_empty());
            return owed.fold(Fault::new(head), |fault, (at, recipient)| {
                let (name, count) = (&recipient.name, recipient.owed.len());
                let fault = fault.and(&format!("{name} has not got {count}, and of late:"));
                let sessions = self.subscribers.iter().filter(|of| of.recipient == at);
                let fault = sessions.fold(fault, |fault, of| {
                    let is_settled = if of.is_settled() {
                        ""
                    } else {
                        "\n  and is not settled"
                    };
                    fault.and(&(ledger.lately(&of.session.id) + is_settled))
                });
                let shown = recipient.owed.iter().take(STORIES_SHOWN);
                shown.fold(fault, |fault, number| fault.and(&ledger.story(*number)))
            });
        }
        let left = self
            .subscribers
            .iter()
            .filter(|subscriber| subscriber.is_here && !subscriber.is_settled());
        let left: Vec<String> = left.map(|subscriber| format!("{subscriber:?}")).collect();
        Fault::new(format!("subscribers wait in vain:\n{}", left.join("\n")))
    }

    /// Whether all sessions of a recipient take part in this round.
    fn is_here(&self, recipient: usize) -> bool {
        let mut sessions = self
            .subscribers
            .iter()
            .filter(|subscriber| subscriber.recipient == recipient);
        sessions.all(|subscriber| subscriber.is_here)
    }

    fn owed(&self) -> usize {
        let all = self.scene.ledger.recipients.iter().zip(0..);
        all.filter(|(_, at)| self.is_here(*at))
            .map(|(recipient, _)| recipient.owed.len())
            .sum()
    }

    /// The last round: everything comes, and then nothing more.
    fn finish(&mut self) -> Checked {
        self.begin(Kill::Never)?;
        self.settle()?;
        let topics = self.scene.ledger.retained_topics_min();
        self.audit(RETAINED, topics)?;
        let start = Instant::now();
        while self.scene.ledger.wills.owed() > 0 {
            self.turn()?;
            if start.elapsed() > WILLS_MAX {
                let wills = &self.scene.ledger.wills.0;
                let owed: Vec<_> = wills
                    .iter()
                    .filter(|will| will.is_owed())
                    .map(|will| will.name.as_str())
                    .collect();
                return Err(Fault::new(format!("wills that never came: {}", owed.join("; "))));
            }
        }
        // What has come does not come again, not even to who comes back.
        self.subscribers.iter_mut().for_each(Subscriber::restart);
        self.settle()?;
        let before = self.scene.ledger.counts;
        let start = Instant::now();
        while start.elapsed() < QUIET {
            self.turn()?;
        }
        let after = self.scene.ledger.counts;
        if (before.delivered, before.again) != (after.delivered, after.again) {
            return Err(Fault::new("messages came when all was acknowledged"));
        }
        // What the broker publishes about itself is up to a second old.
        let start = Instant::now();
        while let Some((topic, value)) = self.left_over()? {
            if start.elapsed() > COUNTS_MAX {
                return Err(Fault::new(format!(
                    "{topic} is {value} when all was acknowledged"
                )));
            }
        }
        Ok(())
    }

    /// A count of the broker's that should be 0 and is not.
    fn left_over(&mut self) -> Checked<Option<(String, String)>> {
        self.audit(EMPTY, EMPTY.len())?;
        let found = self.auditor.as_ref().map(|auditor| &auditor.found);
        let said = |topic: &str| match found.and_then(|found| found.get(topic)) {
            Some(value) => String::from_utf8_lossy(value).into_owned(),
            None => "not told".to_owned(),
        };
        let mut counts = EMPTY.iter().map(|topic| ((*topic).to_owned(), said(topic)));
        Ok(counts.find(|(_, value)| value != "0"))
    }

    /// One look at every connection. A kill that is due is done.
    fn turn(&mut self) -> Checked<Life> {
        let packets = self.scene.packets;
        if self.look()? == Life::Dead {
            return Ok(Life::Dead);
        }
        let Self {
            scene,
            publishers,
            subscribers,
            testators,
            ..
        } = self;
        for publisher in publishers {
            publisher.receive(scene)?;
            publisher.act(scene);
        }
        for subscriber in subscribers {
            subscriber.receive(scene)?;
            subscriber.act(scene);
        }
        let is_watched = scene.ledger.recipients[self.watcher].subscriptions[0].known == Known::Active;
        for testator in testators {
            testator.receive(scene)?;
            testator.act(is_watched, scene);
        }
        if scene.packets == packets {
            sleep(PAUSE);
        }
        if !self.scene.closed.is_empty() {
            self.explain_close()?;
        }
        Ok(Life::Alive)
    }

    /// Kills the broker if that is due, and buries it if it is dead.
    fn look(&mut self) -> Checked<Life> {
        self.scene.now = Instant::now();
        let Some(broker) = &mut self.broker else {
            return Ok(Life::Dead);
        };
        if self.kill_at.is_some_and(|at| self.scene.now >= at) {
            if self.settings.blow == Blow::Cut {
                self.kill_at = None;
                self.cut();
                self.bury()?;
                return Ok(Life::Dead);
            }
            broker.kill();
        }
        let Some(status) = broker.ended() else {
            return Ok(Life::Alive);
        };
        let is_kill = broker.is_kill(status);
        self.broker = None;
        if !is_kill {
            return Err(Fault::new(format!("the broker ended by itself: {status}")));
        }
        self.bury()?;
        Ok(Life::Dead)
    }

    fn cut(&mut self) {
        let publishers = self.publishers.iter_mut().map(|publisher| &mut publisher.session);
        let subscribers = self
            .subscribers
            .iter_mut()
            .map(|subscriber| &mut subscriber.session);
        let testators = self.testators.iter_mut().map(|testator| &mut testator.session);
        publishers
            .chain(subscribers)
            .chain(testators)
            .for_each(|session| session.cut());
    }

    /// Reads what the broker wrote before it died: that was acknowledged too.
    fn bury(&mut self) -> Checked {
        let Self {
            scene,
            publishers,
            subscribers,
            testators,
            ..
        } = self;
        let start = Instant::now();
        while start.elapsed() < CLOSE_MAX {
            let mut is_open = false;
            for publisher in &mut *publishers {
                publisher.receive(scene)?;
                is_open |= publisher.session.is_open();
            }
            for subscriber in &mut *subscribers {
                subscriber.receive(scene)?;
                is_open |= subscriber.session.is_open();
            }
            for testator in &mut *testators {
                testator.receive(scene)?;
                is_open |= testator.session.is_open();
            }
            if !is_open {
                scene.closed.clear();
                return Ok(());
            }
        }
        Err(Fault::new("connections of a dead broker stay open"))
    }

    /// A connection was closed: either the broker dies, or it is at fault.
    fn explain_close(&mut self) -> Checked {
        let start = Instant::now();
        while start.elapsed() < CLOSE_MAX {
            if self.broker.as_mut().is_none_or(|broker| broker.ended().is_some()) {
                return Ok(());
            }
            sleep(PAUSE);
        }
        Err(Fault::new(format!(
            "the broker closed: {}",
            self.scene.closed.join("; ")
        )))
    }

    /// Keeps nothing of a run whose fault was wanted.
    pub const fn forget(&mut self) {
        self.failed = false;
    }

    /// The figures until now.
    pub fn report(&self) -> Report {
        let (wills, wills_came) = self.scene.ledger.wills.counts();
        Report {
            seed: self.settings.seed,
            rounds: self.scene.ledger.round,
            took: self.start.elapsed(),
            kills: self.kills.clone(),
            counts: self.scene.ledger.counts,
            lost: self.lost as u64,
            wills,
            wills_came,
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.broker = None;
        if !self.failed {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}
