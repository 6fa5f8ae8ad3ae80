//! What is damaged is set aside, the rest is written anew.

use martlet_journal::{Cleaned, Disk, Group, Journal, Limits, Place, Report};

use super::line::Line;
use super::live::Live;
use crate::error::Error;
use crate::record::{self, Name};

const UNFINISHED: Line = Line::Format {
    format: record::UNFINISHED,
};

/// Bytes that are read at a time.
const STEP_BYTES: u32 = 1 << 20;

/// What a repair did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// What was found. Segments that it misses are given up.
    pub report: Report,
    /// Files that hold what is damaged, by the names that they have now. Nothing reads them any more.
    pub set_aside: Vec<String>,
    /// Records that are in the store now.
    pub kept: u64,
    /// Records that made no sense, or whose bodies were lost. They are in no file any more.
    pub dropped: u64,
}

/// Copies what can be read out of damaged segments, takes away what makes no sense, and notes that missing segments are
/// gone, so that nobody misses them again. After a crash it can be done
/// again; a store that is whole stays as it is. `salt` is a number that strangers cannot guess.
pub fn repair<D: Disk>(disk: &D, limits: Limits, salt: u32) -> Result<Repaired, Error> {
    // The format first, since what a later version wrote is not ours to judge.
    super::Offline::open(disk.clone(), limits)?;
    let mut live = Live::default();
    let (mut journal, report) = Journal::open(disk.clone(), limits, salt, &mut live)?;
    let dropped = drop_senseless(&mut journal, &mut live)?;
    let mut set_aside = report.snapshots_damaged.clone();
    loop {
        let cleaned = journal.clean(&mut live, STEP_BYTES)?;
        journal.sync()?;
        match cleaned {
            Cleaned::Emptied {
                segment,
                damaged: true,
            } => set_aside.push(format!("{segment:08x}.emptied")),
            Cleaned::Nothing => break,
            Cleaned::Part { .. } | Cleaned::Emptied { .. } => {}
        }
    }
    journal.give_up(&report.missing)?;
    journal.sync()?;
    Ok(Repaired {
        set_aside,
        kept: live.all().count() as u64,
        dropped,
        report,
    })
}

fn drop_senseless<D: Disk>(journal: &mut Journal<D>, live: &mut Live) -> Result<u64, Error> {
    let mut dead: Vec<Place> = live.unknown().collect();
    let mut payload = Vec::new();
    for (_, place) in live.all() {
        let kind = journal.read(place, &mut payload)?;
        let makes_sense = Line::read(kind, &payload).is_some_and(|line| {
            let has_body = |body| live.get(Name::Body(body)).is_some();
            // The end of an import is among what was lost.
            line != UNFINISHED && line.body().is_none_or(has_body)
        });
        if !makes_sense {
            dead.push(place);
        }
    }
    let mut group = Group::new();
    for place in &dead {
        group.kill(*place);
        live.remove(*place);
    }
    journal.append(&mut group)?;
    journal.sync()?;
    Ok(dead.len() as u64)
}
