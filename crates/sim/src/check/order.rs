//! Messages of one publisher, topic and QoS come in the order in which they were sent first [MQTT5-4.6.0-5].

use std::collections::{BTreeMap, BTreeSet};

use martlet_codec::Qos;

use super::Found;
use super::view::View;

pub(super) fn check(view: &View<'_>, found: &mut Found) {
    let mut seen = BTreeSet::new();
    let mut last = BTreeMap::new();
    for receipt in &view.receipts {
        let said = view.history.message(receipt.message);
        let Some(sent) = view.sent.get(&receipt.message) else {
            continue;
        };
        // What came before SUBSCRIBE and is sent again comes late with good reason.
        let is_certain = view
            .matching(receipt.epoch, receipt.topic)
            .any(|subscription| subscription.is_certain(sent.first_ms, receipt.ms));
        // The first copy may be dropped, and a second one come later.
        let may_drop = || {
            view.store_refused()
                || view.was_refused(said.publisher)
                || (view.crashes() > 0 && view.refused_anything())
                || receipt.qos == Qos::AtMostOnce
                || said.expires
                || view.has_dropped(receipt.client, receipt.topic)
        };
        let is_certain = is_certain && (sent.times == 1 || !may_drop());
        // What could not be read comes once it can be.
        let is_certain = is_certain && !view.was_unreadable(receipt.client);
        let is_first = seen.insert((receipt.epoch, receipt.message));
        // Members of a group share what comes, and what one did not finish goes to another.
        if said.retain || !is_certain || view.is_member(receipt.epoch) || !is_first {
            continue;
        }
        let key = (receipt.epoch, sent.epoch, receipt.topic, said.qos, receipt.qos);
        let before = last.insert(key, receipt.message);
        if let Some(before) = before.filter(|before| *before > receipt.message) {
            let (message, name) = (receipt.message, &view.history.clients[receipt.client].name);
            found.of_message(
                message,
                receipt.client,
                format!("m{message} came to {name} after m{before}"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::check::by_hand::ByHand;
    use martlet_codec::Qos;

    #[test]
    fn finds_two_that_changed_places() {
        let mut hand = ByHand::pair(Qos::AtLeastOnce);
        let first = hand.publish_acknowledged(Qos::AtLeastOnce);
        let second = hand.publish_acknowledged(Qos::AtLeastOnce);
        hand.receive(second, Qos::AtLeastOnce, false);
        hand.receive(first, Qos::AtLeastOnce, false);
        assert_eq!(hand.found_by("order"), [first]);
    }

    #[test]
    fn a_copy_may_come_later() {
        let mut hand = ByHand::pair(Qos::AtLeastOnce);
        let first = hand.publish_acknowledged(Qos::AtLeastOnce);
        let second = hand.publish_acknowledged(Qos::AtLeastOnce);
        hand.receive(first, Qos::AtLeastOnce, false);
        hand.receive(second, Qos::AtLeastOnce, false);
        hand.receive(first, Qos::AtLeastOnce, true);
        assert!(hand.found_by("order").is_empty());
    }
}
