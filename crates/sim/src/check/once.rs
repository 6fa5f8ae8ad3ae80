//! QoS 2 comes exactly once, QoS 0 at most once, and QoS 1 again only with DUP or if its publisher sent it again.

use std::collections::BTreeMap;

use martlet_codec::Qos;

use super::Found;
use super::view::{Epoch, Receipt, View};
use crate::history::MessageNo;

pub(super) fn check(view: &View<'_>, found: &mut Found) {
    let mut counts: BTreeMap<(Epoch, MessageNo, bool), usize> = BTreeMap::new();
    let mut of_group: BTreeMap<MessageNo, usize> = BTreeMap::new();
    for receipt in view.receipts.iter().filter(|receipt| counts_as_new(receipt)) {
        let said = view.history.message(receipt.message);
        if said.retain {
            continue;
        }
        let is_exact = receipt.qos == Qos::ExactlyOnce;
        *counts
            .entry((receipt.epoch, receipt.message, is_exact))
            .or_default() += 1;
        // What died with its session may come to another member.
        if is_exact && view.is_member(receipt.epoch) && !view.died_in_crash(receipt.conn) {
            *of_group.entry(receipt.message).or_default() += 1;
        }
    }
    let crashes = view.crashes();
    for ((epoch, message, is_exact), count) in counts {
        let sent = match view.history.message(message).qos {
            // A will that was published in the moment of a crash is published again.
            Qos::AtLeastOnce if !is_exact => view.sent.get(&message).map_or(1 + crashes, |sent| sent.times),
            Qos::ExactlyOnce => sessions_of(view, message),
            _ => 1,
        };
        if count > sent {
            let name = &view.history.clients[epoch.0].name;
            let what = format!("m{message} was sent {sent} times and came to {name} as new {count} times");
            found.of_message(message, epoch.0, what);
        }
    }
    if view.store_refused() {
        return; // that a session has ended may not be kept either, and what it had is passed on again
    }
    for (message, count) in of_group {
        if count > sessions_of(view, message) {
            found.add(
                Some(message),
                None,
                format!("m{message} came to a group {count} times"),
            );
        }
    }
}

/// In how many sessions it was sent: each is another message to the broker.
fn sessions_of(view: &View<'_>, message: MessageNo) -> usize {
    view.sent.get(&message).map_or(1, |sent| sent.sessions)
}

fn counts_as_new(receipt: &Receipt<'_>) -> bool {
    match receipt.qos {
        Qos::ExactlyOnce => receipt.is_new,
        _ => !receipt.dup,
    }
}

#[cfg(test)]
mod tests {
    use crate::check::by_hand::ByHand;
    use martlet_codec::Qos;

    #[test]
    fn finds_a_second_copy() {
        for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let mut hand = ByHand::pair(qos);
            let message = hand.publish_acknowledged(qos);
            hand.receive(message, qos, false);
            assert!(hand.found_by("once").is_empty());
            hand.receive(message, qos, false);
            assert_eq!(hand.found_by("once"), [message]);
        }
    }

    #[test]
    fn what_is_marked_as_a_copy_is_none() {
        let mut hand = ByHand::pair(Qos::AtLeastOnce);
        let message = hand.publish_acknowledged(Qos::AtLeastOnce);
        hand.receive(message, Qos::AtLeastOnce, false);
        hand.receive(message, Qos::AtLeastOnce, true);
        assert!(hand.found_by("once").is_empty());
    }
}
