//! A store that no broker runs: what is in it, and what can be done about it.
//!
//! [`Offline`] looks without changing anything, [`repair`] sets aside what is damaged, and an [`Importer`] writes a new
//! store from the [`Line`]s that an export gave.

use martlet_journal::report::Damage;
use martlet_journal::{Disk, Inspection, Limits, Logged, Place, Record, Report};

use crate::error::Error;
use crate::record::{self, FORMAT, Name, kind};

mod import;
mod line;
mod live;
mod repair;

pub use import::{ImportError, Importer};
pub use line::Line;
use live::Live;
pub use repair::{Repaired, repair};

/// A store that is looked at. Nothing on the disk changes.
#[derive(Debug)]
pub struct Offline<D: Disk> {
    inspection: Inspection<D>,
    live: Live,
}

/// What is in a store, and what is wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Check {
    /// Sessions, those that are over and not gone yet among them.
    pub sessions: u64,
    /// Subscriptions.
    pub subscriptions: u64,
    /// Messages on their way to sessions.
    pub queued: u64,
    /// Retained messages.
    pub retained: u64,
    /// Identifiers of QoS 2 messages that came and are not released.
    pub received: u64,
    /// QoS 2 messages that are on their way out.
    pub sent: u64,
    /// All segments together, in bytes.
    pub bytes: u64,
    /// What of them lives.
    pub live_bytes: u64,
    /// Bytes that are lost.
    pub damage: Vec<Damage>,
    /// Segments that are not there.
    pub missing: Vec<u32>,
    /// Snapshots that are not whole, by which nothing is lost: a start takes longer.
    pub snapshots_damaged: Vec<String>,
    /// Records that are whole and make no sense to this version.
    pub senseless: Vec<Place>,
    /// Queued and retained messages whose bodies are not there.
    pub bodiless: u64,
    /// Records that belong to sessions which are not there. The end of a session leaves some now and then, and a start
    /// removes them; many of them say that segments are gone.
    pub sessionless: u64,
    /// Files that are not used.
    pub unused: Vec<String>,
    /// Bytes behind the end of the log, as a crash leaves them; nobody was promised what they were.
    pub torn_bytes: u64,
}

impl Check {
    /// Whether nothing is lost.
    pub fn is_whole(&self) -> bool {
        self.damage.is_empty() && self.missing.is_empty() && self.senseless.is_empty() && self.bodiless == 0
    }
}

impl<D: Disk> Offline<D> {
    /// Looks at the store in a folder.
    pub fn open(disk: D, limits: Limits) -> Result<Self, Error> {
        let mut live = Live::default();
        let inspection = Inspection::new(disk, limits, &mut live)?;
        let mut offline = Self { inspection, live };
        offline.check_format()?;
        Ok(offline)
    }

    fn check_format(&mut self) -> Result<(), Error> {
        let mut payload = Vec::new();
        let Some(place) = self.live.get(Name::Format) else {
            return Ok(());
        };
        self.inspection.read(place, &mut payload)?;
        match Line::read(kind::FORMAT, &payload) {
            Some(Line::Format { format }) => record::may_read(format, self.report()),
            _ => Ok(()), // one of those that make no sense
        }
    }

    /// What opening the store would find.
    pub fn report(&self) -> &Report {
        self.inspection.report()
    }

    /// Whether there is anything that a store has.
    pub fn is_there(&self) -> bool {
        let report = self.report();
        self.inspection.bytes() > 0 || report.has_damage() || !report.snapshots_damaged.is_empty()
    }

    /// Reads everything.
    pub fn check(&mut self) -> Result<Check, Error> {
        let report = self.inspection.report().clone();
        let mut check = Check {
            bytes: self.inspection.bytes(),
            live_bytes: self.inspection.live_bytes(),
            damage: self.inspection.read_all(|_| {})?,
            missing: report.missing,
            snapshots_damaged: report.snapshots_damaged,
            unused: report.unused,
            torn_bytes: report.cut.map_or(0, |cut| cut.bytes),
            senseless: self.live.unknown().collect(),
            ..Check::default()
        };
        let mut payload = Vec::new();
        for (name, place) in self.live.all() {
            let Ok(found) = self.inspection.read(place, &mut payload) else {
                continue; // it is among the damage
            };
            let Some(line) = Line::read(found, &payload) else {
                check.senseless.push(place);
                continue;
            };
            let lacks = line
                .body()
                .is_some_and(|body| self.live.get(Name::Body(body)).is_none());
            check.bodiless += u64::from(lacks);
            let is_alone = line
                .session()
                .is_some_and(|session| self.live.get(Name::Session(session)).is_none());
            check.sessionless += u64::from(is_alone);
            match name {
                Name::Session(_) => check.sessions += 1,
                Name::Subscription(_) => check.subscriptions += 1,
                Name::Message(_) => check.queued += 1,
                Name::Retained(_) | Name::RetainedLink(_) => check.retained += 1,
                Name::Received(..) => check.received += 1,
                Name::Sent(..) => check.sent += 1,
                Name::Body(_) | Name::Clock | Name::Format => {}
            }
        }
        Ok(check)
    }

    /// Gives every record that lives to `take`, the format first, then in the order of names. Those that cannot be read
    /// are left out; returns how many.
    pub fn each_live<E>(&mut self, mut take: impl FnMut(&Line) -> Result<(), E>) -> Result<u64, E> {
        take(&Line::Format { format: FORMAT })?;
        let (mut payload, mut left_out) = (Vec::new(), 0);
        for (name, place) in self.live.all() {
            if name == Name::Format {
                continue;
            }
            let found = self.inspection.read(place, &mut payload).ok();
            match found.and_then(|found| Line::read(found, &payload)) {
                Some(line) => take(&line)?,
                None => left_out += 1,
            }
        }
        Ok(left_out)
    }

    /// Gives every record to `take`, the dead ones too, in the order in which they were written, and says whether it
    /// lives; none stands for one that makes no sense to this version.
    pub fn each(&self, mut take: impl FnMut(&Record<'_>, bool, Option<Line>)) -> Result<Vec<Damage>, Error> {
        let damage = self.inspection.read_all(|logged| {
            if let Logged::Put(record) = logged {
                let lives = self.live.has(record.place);
                take(&record, lives, Line::read(record.kind, record.payload));
            }
        });
        Ok(damage?)
    }
}
