//! Who takes part.

use martlet_codec::Qos;
use martlet_codec::Version::{V3_1_1, V5};

use crate::deliveries::Recipient;
use crate::ledger::Ledger;
use crate::publisher::{self, Publisher};
use crate::subscriber::{self, Subscriber};
use crate::testator::{self, Testator};

const ONE: Qos = Qos::AtLeastOnce;
const TWO: Qos = Qos::ExactlyOnce;

/// A recipient's filters, which do not overlap.
type Wanted = &'static [(&'static str, Qos)];

const ALL: Wanted = &[("k/#", TWO)];
const ALL_QOS_1: Wanted = &[("k/+", ONE)];
const EACH: Wanted = &[("k/0", TWO), ("k/1", ONE), ("k/2", TWO), ("k/3", TWO)];
const SOME: Wanted = &[("k/0", TWO), ("k/3", ONE), ("r/#", TWO)];
const WILLS: Wanted = &[(testator::TOPIC, TWO)];

/// Windows below, at and above what brokers take at once.
pub(crate) fn publishers() -> Vec<Publisher> {
    use publisher::Kind::{Plain, Retained};
    let all = [
        (V5, Plain, 20),
        (V3_1_1, Plain, 10),
        (V5, Plain, 1),
        (V3_1_1, Plain, 64),
        (V5, Retained, 30),
        (V3_1_1, Retained, 8),
    ];
    let all = all.into_iter().zip(0..);
    all.map(|((version, kind, window), number)| Publisher::new(number, version, kind, window))
        .collect()
}

/// All subscribers, and which recipient watches wills.
pub(crate) fn subscribers(ledger: &mut Ledger) -> (Vec<Subscriber>, usize) {
    use subscriber::Kind::{Away, Changes, ComesAndGoes, Stays, WatchesWills};
    let alone = [
        ("stays-5", V5, 10, Stays, ALL),
        ("stays-3", V3_1_1, 0, Stays, ALL_QOS_1),
        ("away-5", V5, 5, Away, ALL_QOS_1),
        ("away-3", V3_1_1, 0, Away, ALL),
        ("comes-5", V5, 20, ComesAndGoes, SOME),
        ("comes-3", V3_1_1, 0, ComesAndGoes, ALL),
        ("changes-5", V5, 30, Changes, EACH),
        ("changes-3", V3_1_1, 0, Changes, EACH),
        ("watcher", V5, 3, WatchesWills, WILLS),
    ];
    let mut all = Vec::new();
    let mut watcher = 0;
    for (name, version, receive_max, kind, wanted) in alone {
        let recipient = recipient(ledger, name, false, wanted);
        if kind == WatchesWills {
            watcher = recipient;
        }
        let to = (recipient, wanted.len());
        all.push(Subscriber::new(name, version, receive_max, kind, to));
    }
    let to = (recipient(ledger, "group", true, ALL), ALL.len());
    let members = [
        ("member-5", V5, Stays),
        ("member-3", V3_1_1, Stays),
        ("member-goes", V5, ComesAndGoes),
    ];
    all.extend(members.map(|(name, version, kind)| Subscriber::new(name, version, 10, kind, to)));
    (all, watcher)
}

pub(crate) fn testators() -> Vec<Testator> {
    use testator::Kind::{Cancelled, Comes};
    let all = [
        ("will-at-once-5", V5, Comes, TWO, 0),
        ("will-at-once-3", V3_1_1, Comes, ONE, 0),
        ("will-later-1", V5, Comes, ONE, 1),
        ("will-later-2", V5, Comes, TWO, 1),
        ("will-cancelled-1", V5, Cancelled, ONE, 0),
        ("will-cancelled-2", V5, Cancelled, TWO, 0),
    ];
    all.map(|(name, version, kind, qos, delay_s)| Testator::new(name, version, kind, qos, delay_s))
        .into()
}

fn recipient(ledger: &mut Ledger, name: &str, is_group: bool, wanted: Wanted) -> usize {
    ledger.recipients.push(Recipient::new(name, is_group, wanted));
    ledger.recipients.len() - 1
}
