//! No message is lost that was acknowledged: each session that had a subscription all the time gets it, but for
//! drops that were counted.

use std::collections::{BTreeMap, BTreeSet};

use martlet_codec::Qos;

use super::Found;
use super::view::{Epoch, Sent, UNREADABLE, View};
use crate::history::{ClientNo, Fact, LOST, MessageNo, Said};

/// Bytes of a packet that are not its payload, at most: header, topic name, properties.
const OVERHEAD_BYTES: usize = 60;

pub(super) fn check(view: &View<'_>, found: &mut Found) {
    let got: BTreeSet<(Epoch, MessageNo)> = view.receipts.iter().map(|r| (r.epoch, r.message)).collect();
    let mut drops = Drops::of(view);
    if drops.any_unreadable() && !view.store_refused() {
        let what = "a message is said to be unreadable, and the store could read all".to_owned();
        found.add(None, None, what);
    }
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
            if is_owed && !got.contains(&(epoch, message)) && !drops.take(Some(client), &said.topic) {
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
    drops: &mut Drops,
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
    let mut clients = Vec::new();
    for &epoch in members {
        if view.last.get(&epoch.0) != Some(&epoch) || view.history.clients[epoch.0].packet_bytes_max.is_some()
        {
            return;
        }
        has_certain |= view
            .matching(epoch, &said.topic)
            .any(|subscription| subscription.is_certain(sent.first_ms, promised_ms));
        is_got |= got.contains(&(epoch, message));
        clients.push(epoch.0);
    }
    // A drop of a group is nobody's in particular, but one that cannot be read is that of who was to get it.
    let mut is_explained =
        || drops.take(None, &said.topic) || clients.iter().any(|client| drops.take_unreadable(*client));
    if has_certain && !is_got && !is_explained() {
        found.add(
            Some(message),
            None,
            format!("m{message} was acknowledged and no member of the group got it"),
        );
    }
}

/// Messages that were dropped and counted, by whose they were and by topic; none: nobody knows the topic.
struct Drops(BTreeMap<(Option<ClientNo>, Option<String>), u64>);

impl Drops {
    fn of(view: &View<'_>) -> Self {
        let mut drops = BTreeMap::new();
        for at in &view.history.facts {
            if let Fact::BrokerDropped {
                client,
                topic,
                reason,
                count,
            } = &at.fact
                && (topic.is_some() || reason == UNREADABLE || reason == LOST)
            {
                *drops.entry((*client, topic.clone())).or_default() += count;
            }
        }
        Self(drops)
    }

    /// One of them is explained.
    fn take(&mut self, client: Option<ClientNo>, topic: &str) -> bool {
        let of_topic = (client, Some(topic.to_owned()));
        [of_topic, (client, None), (None, None)]
            .iter()
            .any(|of| self.take_one(of))
    }

    fn any_unreadable(&self) -> bool {
        self.0
            .keys()
            .any(|(client, topic)| client.is_some() && topic.is_none())
    }

    fn take_unreadable(&mut self, client: ClientNo) -> bool {
        self.take_one(&(Some(client), None))
    }

    fn take_one(&mut self, of: &(Option<ClientNo>, Option<String>)) -> bool {
        let left = self.0.get_mut(of).filter(|left| **left > 0);
        left.map(|left| *left -= 1).is_some()
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
    fn one_that_cannot_be_read_explains_one() {
        let mut hand = ByHand::pair(Qos::AtLeastOnce);
        hand.publish_acknowledged(Qos::AtLeastOnce);
        hand.publish_acknowledged(Qos::AtLeastOnce);
        hand.unreadable_for_subscriber();
        hand.rest();
        assert_eq!(hand.found_by("lost").len(), 1);
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
