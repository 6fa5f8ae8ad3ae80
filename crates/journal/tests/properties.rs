//! Any sequence of appends, deaths, cleaning, snapshots and openings gives what should live.

mod rig;

use martlet_journal::MemoryDisk;
use proptest::prelude::*;
use rig::{Batch, LIMITS, Rig, Step};

fn batch() -> impl Strategy<Value = Batch> {
    let puts = prop::collection::vec((0..30u64, 0..300usize), 0..5);
    let kills = prop::collection::vec(0..30u64, 0..5);
    (puts, kills).prop_map(|(puts, kills)| Batch { puts, kills })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(batch(), 1..4).prop_map(Step::Append),
        2 => Just(Step::Sync),
        1 => Just(Step::BeginSync),
        1 => Just(Step::EndSync),
        3 => (1..2000u32).prop_map(Step::Clean),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #[test]
    fn what_lives_is_what_was_put_and_not_killed(
        steps in prop::collection::vec(step(), 1..80),
        segment_bytes in 512..3000u32,
        dead_percent_min in 1..100u8,
    ) {
        let limits = martlet_journal::Limits { segment_bytes, dead_percent_min, group_bytes_max: 1 << 20, ..LIMITS };
        let mut rig = Rig::new(MemoryDisk::default(), limits);
        for step in &steps {
            rig.step(step).unwrap();
            prop_assert_eq!(&rig.index.state(), rig.states.last().unwrap());
        }
        rig.check();
        rig.reopen().unwrap();
        rig.clean_all().unwrap();
        rig.check();
        rig.reopen().unwrap();
        // Without snapshots too.
        for entry in martlet_journal::Disk::list(&rig.disk).unwrap() {
            if entry.name.contains(".snap") {
                martlet_journal::Disk::remove(&rig.disk, &entry.name).unwrap();
            }
        }
        rig.reopen().unwrap();
    }
}
