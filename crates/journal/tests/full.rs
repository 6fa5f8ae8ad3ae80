//! A disk that is full gets room again when records die, without a restart.

mod rig;

use std::collections::BTreeMap;

use martlet_journal::disk::Faults;
use martlet_journal::{Cleaned, Error, FaultyDisk, Group, Journal, Limits, Place};
use rig::{Draws, LIMITS, Ledger, check_reads, open};

/// Copies of small records are larger than these, so more than a segment is kept.
const KEPT: Limits = Limits {
    reserve_bytes: 1500,
    ..LIMITS
};

struct Full {
    disk: FaultyDisk,
    limits: Limits,
    journal: Journal<FaultyDisk>,
    index: Ledger,
    group: Group,
    next: u64,
}

fn room(bytes_max: u64) -> Faults {
    Faults {
        bytes_max: Some(bytes_max),
        ..Faults::default()
    }
}

impl Full {
    fn new(seed: u64, limits: Limits, bytes_max: u64) -> Self {
        let disk = FaultyDisk::new(seed);
        disk.set_faults(room(bytes_max));
        let (journal, index, _) = open(disk.clone(), limits).unwrap();
        Self {
            disk,
            limits,
            journal,
            index,
            group: Group::new(),
            next: 0,
        }
    }

    fn put(&mut self, bytes: usize) -> Result<(), Error> {
        let key = self.next;
        let mut payload = key.to_le_bytes().to_vec();
        payload.resize(8 + bytes, key as u8);
        self.group.clear();
        self.group.put((payload.len() % 0xf0) as u8, &payload);
        self.journal.append(&mut self.group)?;
        let place = self.group.places().next().unwrap();
        self.index.entries.insert(key, (place, payload));
        self.next += 1;
        Ok(())
    }

    /// Puts until there is no room. Returns how often.
    fn fill(&mut self, draws: &mut Draws) -> usize {
        for count in 0..10_000 {
            match self.put(draws.below(150) as usize) {
                Ok(()) if draws.below(4) == 0 => drop(self.journal.sync().unwrap()),
                Ok(()) => {}
                Err(Error::NoSpace { .. }) => return count,
                Err(error) => panic!("{error}"),
            }
        }
        panic!("the disk is never full");
    }

    fn kill(&mut self, places: &[Place]) -> Result<(), Error> {
        self.group.clear();
        for place in places {
            self.group.kill(*place);
        }
        self.journal.append(&mut self.group)?;
        self.index.entries.retain(|_, (place, _)| !places.contains(place));
        Ok(())
    }

    fn clean(&mut self) -> Result<(), Error> {
        for _ in 0..1000 {
            self.journal.sync()?;
            if self.journal.clean(&mut self.index, 300)? == Cleaned::Nothing {
                return Ok(());
            }
        }
        panic!("cleaning does not end");
    }

    fn reopen(&mut self) {
        let report;
        let before = self.index.state();
        (self.journal, self.index, report) = open(self.disk.clone(), self.limits).unwrap();
        assert!(!report.has_damage() && report.unused.is_empty(), "{report}");
        assert_eq!(self.index.state(), before);
    }
}

/// Fills the disk, lets some records die, and expects room, again and again.
fn rounds(seed: u64, limits: Limits) -> Result<(), Error> {
    let mut draws = Draws(seed);
    let mut full = Full::new(seed, limits, 6000 + draws.below(9000));
    full.fill(&mut draws);
    for round in 0..30 {
        // All, the oldest half, or any half.
        let lived: BTreeMap<u64, Place> = full
            .index
            .entries
            .iter()
            .map(|(key, (place, _))| (*key, *place))
            .collect();
        let dies: Vec<Place> = match draws.below(3) {
            0 => lived.values().copied().collect(),
            1 => lived.values().copied().take(lived.len() / 2 + 1).collect(),
            _ => lived.values().copied().filter(|_| draws.below(2) == 0).collect(),
        };
        for some in dies.chunks(1 + draws.below(10) as usize) {
            full.kill(some)?;
            full.journal.sync()?;
            full.journal.clean(&mut full.index, 300)?;
        }
        full.clean()?;
        check_reads(&mut full.journal, &full.index);
        let puts = full.fill(&mut draws);
        assert!(
            puts > 0 || dies.len() * 4 < lived.len(),
            "seed {seed}, round {round}: no room although {} of {} have died",
            dies.len(),
            lived.len()
        );
        if draws.below(5) == 0 {
            full.reopen();
        }
    }
    full.reopen();
    Ok(())
}

#[test]
fn a_full_disk_gets_room_when_records_die() {
    for seed in 0..200 {
        rounds(seed, KEPT).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
}

/// Without a reserve nothing can be taken away from a disk that is full to the last byte.
#[test]
fn without_a_reserve_it_does_not() {
    assert!((0..200).any(|seed| rounds(seed, LIMITS).is_err()));
}

/// Room that comes from elsewhere is found too, and the reserve is whole before anything is put.
#[test]
fn room_that_somebody_else_makes_is_found() {
    let mut draws = Draws(1);
    let mut full = Full::new(1, KEPT, 9000);
    assert!(!full.journal.is_short_of_space());
    full.fill(&mut draws);
    let places: Vec<Place> = full.index.entries.values().map(|(place, _)| *place).collect();
    full.kill(&places[..1]).unwrap();
    full.kill(&places[1..2]).unwrap();
    assert!(full.journal.is_short_of_space());
    full.reopen();
    assert!(full.journal.is_short_of_space());
    let error = full.put(1).unwrap_err();
    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
    full.disk.set_faults(room(20_000));
    full.put(1).unwrap();
    assert!(!full.journal.is_short_of_space());
    full.reopen();
}

/// One segment that is in use, and nothing else: it is cleaned too when there is no other way.
#[test]
fn the_segment_in_use_is_cleaned_when_it_is_all_there_is() {
    let limits = Limits {
        segment_bytes: 10_000,
        reserve_bytes: 3000,
        ..LIMITS
    };
    let mut full = Full::new(1, limits, 8000);
    let puts = full.fill(&mut Draws(1));
    let places: Vec<Place> = full.index.entries.values().map(|(place, _)| *place).collect();
    assert_eq!(full.journal.segment_count(), 1);
    full.kill(&places[..puts - 2]).unwrap();
    full.clean().unwrap();
    assert!(full.fill(&mut Draws(1)) > puts / 2);
    full.reopen();
}

/// Other reserves than before are taken over.
#[test]
fn a_reserve_of_another_size_is_replaced() {
    let mut full = Full::new(1, KEPT, 1 << 20);
    full.put(10).unwrap();
    for reserve_bytes in [0, 100, 70_000, 50_000] {
        full.limits.reserve_bytes = reserve_bytes;
        full.reopen();
        let entries = martlet_journal::Disk::list(&full.disk).unwrap();
        let reserve = entries.iter().find(|entry| entry.name == "reserve");
        assert_eq!(reserve.map_or(0, |entry| entry.bytes), u64::from(reserve_bytes));
        full.put(10).unwrap();
    }
}
