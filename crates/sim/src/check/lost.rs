//! No message is lost that was acknowledged: each session that had a subscription all the time gets it, but for
//! drops that were counted.

use std::collections::{BTreeMap, BTreeSet};

use martlet_codec::Qos;

use super::Found;
use super::view::{Epoch, Sent, View};
use crate::history::{ClientNo, Fact, MessageNo, Said};

/// Bytes of a packet that are not its payload, at most: header, topic name, properties.
const OVERHEAD_BYTES: usize = 60;

pub(super) fn check(view: &View<'_>, found: &mut Found) {
    let got: BTreeSet<(Epoch, MessageNo)> = view.receipts.iter().map(|r| (r.epoch, r.message)).collect();
    let mut drops = counted_drops(view);
    for (&message, sent) in &view.sent {
        let said = view.history.message(message);
        let Some(promised_ms) = sent.promised_ms else {
            continue;
        };
        if said.qos == Qos::AtMostOnce || said.expires || said.retain {
            continue;
        }
        for (&client, &epoch) in &view.last {
            let is_owed = is_owed(view, epoch, said, sent, promised_ms);
            if is_owed && !got.contains(&(epoch, message)) && !take(&mut drops, Some(client), &said.topic) {
                let name = &view.history.clients[client].name;
                found.of_message(
                    message,
                    client,
                    format!("m{message} was acknowledged and {name} did not get it"),
                );
            }
        }
        check_group(view, message, promised_ms, &got, &mut drops, found);
    }
}

fn is_owed(view: &View<'_>, epoch: Epoch, said: &Said, sent: &Sent, promised_ms: u64) -> bool {
    let fits = view.history.clients[epoch.0]
        .packet_bytes_max
        .is_none_or(|max| said.bytes + OVERHEAD_BYTES <= max as usize);
    fits && view.matching(epoch, &said.topic).any(|subscription| {
        !subscription.is_shared()
            && subscription.qos > Qos::AtMostOnce
            && subscription.is_certain(sent.first_ms, promised_ms)
    })
}

/// A group gets each message if all who ever were members have stayed.
fn check_group(
    view: &View<'_>,
    message: MessageNo,
    promised_ms: u64,
    got: &BTreeSet<(Epoch, MessageNo)>,
    drops: &mut BTreeMap<(Option<ClientNo>, String), usize>,
    found: &mut Found,
) {
    let (said, sent) = (view.history.message(message), &view.sent[&message]);
    let mut members = view
        .subscriptions
        .keys()
        .filter(|epoch| view.is_member(**epoch))
        .peekable();
    if members.peek().is_none() {
        return;
    }
    let (mut has_certain, mut is_got) = (false, false);
    for &epoch in members {
        if view.last.get(&epoch.0) != Some(&epoch) || view.history.clients[epoch.0].packet_bytes_max.is_some()
        {
            return;
        }
        has_certain |= view
            .matching(epoch, &said.topic)
            .any(|subscription| subscription.is_certain(sent.first_ms, promised_ms));
        is_got |= got.contains(&(epoch, message));
    }
    // A drop of a group is nobody's in particular.
    if has_certain && !is_got && !take(drops, None, &said.topic) {
        found.add(
            Some(message),
            None,
            format!("m{message} was acknowledged and no member of the group got it"),
        );
    }
}

fn counted_drops(view: &View<'_>) -> BTreeMap<(Option<ClientNo>, String), usize> {
    let mut drops = BTreeMap::new();
    for at in &view.history.facts {
        if let Fact::BrokerDropped { client, topic, .. } = &at.fact {
            *drops.entry((*client, topic.clone())).or_default() += 1;
        }
    }
    drops
}

fn take(
    drops: &mut BTreeMap<(Option<ClientNo>, String), usize>,
    client: Option<ClientNo>,
    topic: &str,
) -> bool {
    match drops.get_mut(&(client, topic.to_owned())) {
        Some(left) if *left > 0 => {
            *left -= 1;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::check::by_hand::ByHand;
    use martlet_codec::Qos;

    #[test]
    fn finds_a_message_that_did_not_come() {
        let mut hand = ByHand::pair(Qos::AtLeastOnce);
        let message = hand.publish_acknowledged(Qos::AtLeastOnce);
        hand.rest();
        assert_eq!(hand.found_by("lost"), [message]);
    }

    #[test]
    fn a_counted_drop_is_no_loss() {
        let mut hand = ByHand::pair(Qos::AtLeastOnce);
        hand.publish_acknowledged(Qos::AtLeastOnce);
        hand.drop_for_subscriber();
        hand.rest();
        assert!(hand.found_by("lost").is_empty());
    }

    #[test]
    fn one_that_came_is_no_loss() {
        let mut hand = ByHand::pair(Qos::AtLeastOnce);
        let message = hand.publish_acknowledged(Qos::AtLeastOnce);
        hand.receive(message, Qos::AtLeastOnce, false);
        hand.rest();
        assert!(hand.found_by("lost").is_empty());
    }
}
