//! A client that nothing bad happens to is not disturbed by others that are slow: its messages come in time.

use martlet_codec::Qos;

use super::Found;
use super::view::View;

pub(super) fn check(view: &View<'_>, found: &mut Found) {
    let patience_ms = view.history.patience_ms;
    if patience_ms == u64::MAX {
        return;
    }
    let is_steady = |client: usize| view.history.clients[client].is_steady;
    for receipt in view.receipts.iter().filter(|receipt| is_steady(receipt.client)) {
        let said = view.history.message(receipt.message);
        let Some(sent) = view.sent.get(&receipt.message) else {
            continue;
        };
        let took_ms = receipt.ms - sent.first_ms;
        if is_steady(said.publisher) && took_ms > patience_ms {
            let what = format!("m{} took {took_ms} ms", receipt.message);
            found.of_message(receipt.message, receipt.client, what);
        }
    }
    for (&message, sent) in &view.sent {
        let said = view.history.message(message);
        let took_ms = sent
            .promised_ms
            .map_or(0, |promised_ms| promised_ms - sent.first_ms);
        if said.qos > Qos::AtMostOnce && is_steady(said.publisher) && took_ms > patience_ms {
            found.of_message(
                message,
                said.publisher,
                format!("m{message} was acknowledged after {took_ms} ms"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::check::by_hand::ByHand;
    use martlet_codec::Qos;

    #[test]
    fn finds_a_late_message() {
        for (late_ms, expected) in [(100, 0), (2_000, 1)] {
            let mut hand = ByHand::pair(Qos::AtLeastOnce);
            hand.history.patience_ms = 1_000;
            let message = hand.publish_acknowledged(Qos::AtLeastOnce);
            hand.pass_ms(late_ms);
            hand.receive(message, Qos::AtLeastOnce, false);
            assert_eq!(hand.found_by("latency").len(), expected);
        }
    }
}
