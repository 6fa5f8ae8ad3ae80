//! Nothing comes that nobody asked for: not before SUBSCRIBE, and not what was sent after UNSUBACK.

use super::Found;
use super::view::View;

pub(super) fn check(view: &View<'_>, found: &mut Found) {
    for receipt in &view.receipts {
        let said = view.history.message(receipt.message);
        if said.topic != receipt.topic {
            let what = format!("m{} came on {}", receipt.message, receipt.topic);
            found.of_message(receipt.message, receipt.client, what);
        }
        let sent_ms = view.sent.get(&receipt.message).map_or(0, |sent| sent.first_ms);
        let epochs = std::iter::successors(Some(receipt.epoch), |epoch| view.come_back.get(epoch).copied());
        let mut matching = epochs.flat_map(|epoch| view.matching(epoch, receipt.topic));
        let is_wanted = matching.any(|subscription| {
            subscription.asked_ms <= receipt.ms
                && subscription.gone_ms.is_none_or(|gone_ms| sent_ms <= gone_ms)
        });
        if !is_wanted {
            let (message, name) = (receipt.message, &view.history.clients[receipt.client].name);
            found.of_message(
                message,
                receipt.client,
                format!("m{message} came to {name}, who has no subscription"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::check::by_hand::ByHand;
    use martlet_codec::Qos;

    #[test]
    fn finds_what_comes_after_unsuback() {
        let mut hand = ByHand::pair(Qos::AtLeastOnce);
        let before = hand.publish_acknowledged(Qos::AtLeastOnce);
        hand.unsubscribe();
        let after = hand.publish_acknowledged(Qos::AtLeastOnce);
        hand.receive(before, Qos::AtLeastOnce, false);
        assert!(hand.found_by("stray").is_empty());
        hand.receive(after, Qos::AtLeastOnce, false);
        assert_eq!(hand.found_by("stray"), [after]);
    }

    #[test]
    fn finds_what_comes_to_a_new_session() {
        let mut hand = ByHand::pair(Qos::AtLeastOnce);
        let message = hand.publish_acknowledged(Qos::AtLeastOnce);
        hand.reconnect_subscriber(false);
        hand.receive(message, Qos::AtLeastOnce, false);
        assert_eq!(hand.found_by("stray"), [message]);
    }
}
