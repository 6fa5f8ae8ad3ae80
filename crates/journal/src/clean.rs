//! Cleaning: what lives in a segment is copied forward, then the segment goes.

use std::io;

use crate::disk::Disk;
use crate::error::Error;
use crate::frame::{self, DEATHS, EMPTIED, Frame};
use crate::group::{Death, Group};
use crate::index::{Index, Record};
use crate::journal::Journal;
use crate::limits::{DEAD_PERCENT_MIN_PRESSED, WASTE_PERCENT_MIN_PRESSED};
use crate::place::Place;
use crate::scan::{Scanner, Step};
use crate::segments::{self, State};

/// The segment that is being cleaned, and how far that has come.
#[derive(Debug)]
pub(crate) struct Victim<F> {
    number: u32,
    scanner: Scanner<F>,
}

/// How far cleaning has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cleaned {
    /// No segment is worth it.
    Nothing,
    /// There is more to do in this segment.
    Part {
        /// Its number.
        segment: u32,
    },
    /// Everything that lives in this segment has been copied. It goes with the first cleaning after a sync.
    Emptied {
        /// Its number.
        segment: u32,
        /// Bytes of it could not be read. Entries that still have a place in it have lost their records; the file
        /// stays, under a name that ends in `.emptied`.
        damaged: bool,
    },
}

impl<D: Disk> Journal<D> {
    /// Cleans for a while: reads about `budget_bytes` of the emptiest segment, appends copies of what lives as one
    /// batch, and tells `index` of each. Nothing is lost at a crash: the segment stays until the copies are durable, and
    /// is removed by a later call.
    ///
    /// After an error this part is begun again the next time; a segment that the disk cannot read is left alone.
    pub fn clean(&mut self, index: &mut impl Index, budget_bytes: u32) -> Result<Cleaned, Error> {
        self.check_poison()?;
        self.remove_emptied()?;
        let Some(mut victim) = self.victim()? else {
            return Ok(Cleaned::Nothing);
        };
        let from = victim.scanner.position();
        let mut copies = Copies::default();
        let done = self
            .copy(&mut victim, index, budget_bytes, &mut copies)
            .and_then(|ended| {
                copies.group.end_batch();
                self.append_anyway(&mut copies.group)?;
                Ok(ended)
            });
        let ended = match done {
            Ok(ended) => ended,
            Err(error) => {
                victim.scanner.seek(from.offset);
                let segment = self.segments.get(victim.number);
                let goes_on = segment.is_some_and(|segment| !segment.unreadable);
                // Without room the emptiest is begun, which may be another one by now.
                let full = matches!(error, Error::NoSpace { .. });
                self.victim = Some(victim).filter(|_| goes_on && !full);
                return Err(error);
            }
        };
        copies.tell(index);
        let segment = victim.number;
        if !ended {
            self.victim = Some(victim);
            return Ok(Cleaned::Part { segment });
        }
        let until = self.end;
        let Some(emptied) = self.segments.get_mut(segment) else {
            return Ok(Cleaned::Nothing);
        };
        emptied.state = State::Emptied(until);
        Ok(Cleaned::Emptied {
            segment,
            damaged: emptied.damaged,
        })
    }

    /// Says that it is known that segments are gone ([`Report::missing`](crate::Report::missing)), so that no later opening
    /// misses them. It is durable with the next sync.
    pub fn give_up(&mut self, missing: &[u32]) -> Result<(), Error> {
        let mut group = Group::new();
        for segment in missing {
            group.emptied(*segment);
        }
        group.end_batch();
        self.append_anyway(&mut group).map(drop)
    }

    /// Removes segments whose copies are durable. A failure leaves them for the next time.
    fn remove_emptied(&mut self) -> Result<(), Error> {
        let emptied = |state| matches!(state, State::Emptied(until) if until <= self.durable);
        let numbers = self.segments.iter().filter(|(_, segment)| emptied(segment.state));
        for number in numbers.map(|(number, _)| number).collect::<Vec<_>>() {
            let Some(segment) = self.segments.get_mut(number) else {
                continue;
            };
            let name = segments::name(number, segment.damaged);
            let gone = if segment.damaged {
                self.disk
                    .rename(&name, &format!("{number:08x}{}", segments::EMPTIED))
            } else {
                self.disk.remove(&name)
            };
            match gone {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::disk("remove", name)(error));
                }
                _ => {}
            }
            segment.state = State::Removed;
            self.segments.set_bytes(number, 0);
            self.removed.push(number);
            self.folder_unsynced = true;
        }
        Ok(())
    }

    /// The segment in work, or the next one.
    fn victim(&mut self) -> Result<Option<Victim<D::File>>, Error> {
        if let Some(victim) = self.victim.take() {
            return Ok(Some(victim));
        }
        let found = self.emptiest();
        let Some(number) = found else {
            return Ok(None);
        };
        let (damaged, end) = self
            .segments
            .get(number)
            .map_or((false, 0), |found| (found.damaged, found.bytes));
        let name = segments::name(number, damaged);
        let file = self
            .segments
            .file(&self.disk, number)
            .map_err(Error::disk("open", name))?;
        let scanner = Scanner::new(file, number, self.salt, segments::FIRST_OFFSET, end);
        Ok(Some(Victim { number, scanner }))
    }

    fn emptiest(&mut self) -> Option<u32> {
        let active = self.active.as_ref().map(|(number, _)| *number);
        let min = u64::from(self.limits.dead_percent_min);
        let found = self.segments.emptiest(active, self.durable, |segment| {
            Some(segment.dead_percent()).filter(|dead| *dead >= min)
        });
        if self.needs_room() {
            found.or_else(|| self.emptiest_if_pressed())
        } else {
            found
        }
    }

    /// While puts are refused for room, less is worth more; and the segment in use may be all that there is to clean.
    fn emptiest_if_pressed(&mut self) -> Option<u32> {
        let min = u64::from(self.limits.dead_percent_min.min(DEAD_PERCENT_MIN_PRESSED));
        let in_use = self
            .active
            .as_ref()
            .and_then(|(number, _)| self.segments.get(*number));
        let dead = in_use.map_or(0, |segment| segment.counted.saturating_sub(segment.live));
        if dead > u64::from(self.limits.segment_bytes) * min / 100 {
            self.active = None;
        }
        let active = self.active.as_ref().map(|(number, _)| *number);
        self.segments.emptiest(active, self.durable, |segment| {
            let waste = segment.waste_percent();
            (segment.dead_percent() >= min || waste >= WASTE_PERCENT_MIN_PRESSED).then_some(waste)
        })
    }

    /// Copies from a segment until the budget is used up. Returns whether its end was reached.
    fn copy(
        &mut self,
        victim: &mut Victim<D::File>,
        index: &impl Index,
        budget_bytes: u32,
        copies: &mut Copies,
    ) -> Result<bool, Error> {
        let until = victim
            .scanner
            .position()
            .offset
            .saturating_add(budget_bytes.max(1));
        while victim.scanner.position().offset < until {
            let step = victim.scanner.next();
            match step {
                Ok(Step::Batch(batch)) => {
                    batch
                        .frames
                        .for_each(|frame| self.copy_one(victim.number, frame, index, copies));
                }
                Ok(Step::End) => {
                    copies.group.emptied(victim.number);
                    return Ok(true);
                }
                Ok(Step::Bad) => self.pass_damage(victim)?,
                Err(source) => return Err(self.unreadable(victim.number, source)),
            }
        }
        Ok(false)
    }

    fn copy_one(&self, victim: u32, frame: Frame<'_>, index: &impl Index, copies: &mut Copies) {
        match frame.kind {
            DEATHS => {
                let matter =
                    |place: &Place| place.segment != victim && self.segments.get(place.segment).is_some();
                frame::places(frame.payload)
                    .filter(matter)
                    .for_each(|place| copies.keep_death(place));
            }
            EMPTIED => {
                let floor = self.floor();
                let matter = |segment: &u32| *segment >= floor;
                frame::numbers(frame.payload)
                    .filter(matter)
                    .for_each(|segment| copies.group.emptied(segment));
            }
            kind => {
                let record = Record {
                    place: frame.place,
                    kind,
                    payload: frame.payload,
                };
                if index.is_live(&record) {
                    copies.keep(&record);
                }
            }
        }
    }

    /// Below this no segment is there and no snapshot knows one, so nobody misses them.
    fn floor(&self) -> u32 {
        let all = self.snapshots.iter().chain(&self.doubtful);
        let snapshots = all.filter_map(|snapshot| snapshot.oldest_segment);
        snapshots.chain(self.segments.oldest()).min().unwrap_or(0)
    }

    /// Goes to the next batch that is whole, and gives the segment the name that it has then.
    fn pass_damage(&mut self, victim: &mut Victim<D::File>) -> Result<(), Error> {
        let number = victim.number;
        let (name, damaged_name) = (segments::name(number, false), segments::name(number, true));
        if let Some(segment) = self.segments.get_mut(number)
            && !segment.damaged
        {
            self.disk
                .rename(&name, &damaged_name)
                .map_err(Error::disk("rename", &name))?;
            segment.damaged = true;
            self.folder_unsynced = true;
        }
        victim
            .scanner
            .search()
            .map_err(|source| self.unreadable(number, source))
    }

    /// Leaves a segment alone that the disk cannot read: what can be read is served from where it is.
    fn unreadable(&mut self, number: u32, source: io::Error) -> Error {
        if let Some(segment) = self.segments.get_mut(number) {
            segment.unreadable = true;
        }
        Error::disk("read", segments::name(number, false))(source)
    }
}

/// What has been copied and is not told yet.
#[derive(Debug, Default)]
struct Copies {
    group: Group,
    /// Where the records were, in the order in which they are in the group.
    from: Vec<Place>,
}

impl Copies {
    fn keep(&mut self, record: &Record<'_>) {
        self.group.put(record.kind, record.payload);
        // The old one is dead, or it would come back when the new one has died and gone.
        self.group.kill_as(record.place, Death::Moved);
        self.from.push(record.place);
    }

    fn keep_death(&mut self, place: Place) {
        self.group.kill_as(place, Death::Again);
    }

    fn tell(&self, index: &mut impl Index) {
        let moves = self
            .from
            .iter()
            .zip(self.group.places())
            .zip(self.group.payloads());
        for ((from, to), (kind, payload)) in moves {
            index.moved(
                &Record {
                    place: *from,
                    kind,
                    payload,
                },
                to,
            );
        }
    }
}
