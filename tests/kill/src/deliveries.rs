//! Who subscribed to what, and what came.

use std::collections::{BTreeMap, BTreeSet};

use martlet_codec::{Delivery, Filter, FilterBuf, Qos, Topic};

use crate::fault::{Checked, Fault};
use crate::ledger::Ledger;
use crate::link::Arrived;
use crate::message::{Duty, Number, What, number};

/// What is known of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// SUBACK came.
    Active,
    /// SUBSCRIBE or UNSUBSCRIBE is sent, its answer has not come.
    Unsure,
    /// Never subscribed, or UNSUBACK came.
    Inactive,
}

/// A subscription of a recipient; those of one do not overlap.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) filter: FilterBuf,
    pub(crate) qos: Qos,
    pub(crate) known: Known,
}

/// A stored session, or the sessions of a shared subscription together.
#[derive(Debug)]
pub(crate) struct Recipient {
    pub(crate) name: String,
    pub(crate) is_group: bool,
    pub(crate) subscriptions: Vec<Subscription>,
    /// Accepted messages that it must get and has not got.
    pub(crate) owed: BTreeSet<Number>,
    /// The newest first copy of each publisher, topic and QoS.
    newest: BTreeMap<(u8, String, Qos), Number>,
}

impl Recipient {
    pub(crate) fn new(name: &str, is_group: bool, filters: &[(&str, Qos)]) -> Self {
        let subscription = |(filter, qos): &(&str, Qos)| Subscription {
            filter: Filter::new(filter).expect("a filter").to_buf(),
            qos: *qos,
            known: Known::Inactive,
        };
        Self {
            name: name.to_owned(),
            is_group,
            subscriptions: filters.iter().map(subscription).collect(),
            owed: BTreeSet::new(),
            newest: BTreeMap::new(),
        }
    }

    fn of(&self, topic: Topic<'_>) -> Option<&Subscription> {
        let mut all = self.subscriptions.iter();
        all.find(|subscription| subscription.filter.as_filter().matches(topic))
    }

    /// Its duty if a message is sent now.
    pub(crate) fn duty(&self, topic: Topic<'_>) -> Duty {
        match self.of(topic).map(|subscription| subscription.known) {
            Some(Known::Active) => Duty::Must,
            Some(Known::Unsure) => Duty::May,
            Some(Known::Inactive) | None => Duty::Never,
        }
    }
}

impl Ledger {
    /// A subscription is asked for, granted, given up or gone.
    pub(crate) fn subscription(&mut self, recipient: usize, nth: usize, known: Known) {
        let to = &mut self.recipients[recipient];
        let subscription = &mut to.subscriptions[nth];
        // A group is there as long as one member is.
        if to.is_group && subscription.known == Known::Active {
            return;
        }
        match known {
            Known::Active => self.counts.subscribed += 1,
            Known::Inactive => self.counts.unsubscribed += 1,
            Known::Unsure => {}
        }
        subscription.known = known;
        let filter = subscription.filter.clone();
        // What is under way may be matched before or after, and what is queued may go with the subscription.
        let unsure: Vec<Number> = self.flying.iter().chain(&to.owed).copied().collect();
        for number in unsure {
            let message = &mut self.messages[number];
            let topic = Topic::new(&message.topic).expect("a topic");
            if filter.as_filter().matches(topic) && message.copies[recipient].duty != Duty::May {
                message.copies[recipient].duty = Duty::May;
                self.recipients[recipient].owed.remove(&number);
                self.note(
                    number,
                    What::Unsure {
                        recipient: recipient as u8,
                    },
                );
            }
        }
    }

    /// A message came that the recipient has not got under this packet identifier before.
    pub(crate) fn delivered(&mut self, recipient: usize, connection: u32, came: &Arrived) -> Checked {
        let to = self.recipients[recipient].name.clone();
        let known = number(&came.payload).filter(|number| *number < self.messages.len());
        let Some(number) = known else {
            let start = String::from_utf8_lossy(&came.payload[..came.payload.len().min(40)]).into_owned();
            return Err(Fault::new(format!(
                "{to} got what nobody sent, on {}: '{start}'",
                came.topic
            )));
        };
        let dup = came.dup;
        self.note(
            number,
            What::Came {
                recipient: recipient as u8,
                dup,
                connection,
            },
        );
        let wrong =
            |what: &str, ledger: &Self| Err(Fault::new(format!("{to}: {what}")).and(&ledger.story(number)));
        if came.payload != self.payload(number) || came.topic != self.messages[number].topic {
            return wrong("a message came with another topic or payload", self);
        }
        if came.retain {
            return wrong(
                "a message came as retained that no new subscription asked for",
                self,
            );
        }
        let topic = Topic::new(&came.topic).expect("a topic");
        let message = &mut self.messages[number];
        let qos = self.recipients[recipient]
            .of(topic)
            .map_or(Qos::AtMostOnce, |subscription| subscription.qos);
        let qos = qos.min(message.qos);
        if came.delivery.qos() != qos {
            return wrong("a message came with another QoS than the lower of the two", self);
        }
        let copies = &mut message.copies[recipient];
        if copies.connection != connection {
            (copies.connection, copies.here) = (connection, 0);
        }
        copies.all += 1;
        copies.here += 1;
        copies.plain += u32::from(!dup);
        let copies = *copies;
        if copies.duty == Duty::Never {
            return wrong("a message came without a subscription", self);
        }
        // Only a publisher of QoS 1 that sends again makes a second message of it.
        let resent = if message.qos == Qos::AtLeastOnce {
            message.resent
        } else {
            0
        };
        if copies.all > 1 {
            self.counts.again += 1;
            let is_twice = matches!(came.delivery, Delivery::ExactlyOnce(_))
                || copies.plain > 1 + resent
                || copies.here > 1 + resent;
            if is_twice {
                self.counts.duplicated += 1;
                return wrong("a message was duplicated", self);
            }
            return Ok(());
        }
        self.counts.delivered += 1;
        let key = (message.publisher, message.topic.clone(), message.qos);
        let to = &mut self.recipients[recipient];
        to.owed.remove(&number);
        let before = to.newest.insert(key, number);
        // The members of a group take turns. mosquitto 2.0 lets new messages overtake queued ones. A message that is
        // sent again may find a subscription that was not there before, when newer ones did find it.
        let found_late = copies.duty == Duty::May && resent > 0;
        let is_ordered = !to.is_group && !found_late && !martlet_interop::on_mosquitto();
        if let Some(before) = before.filter(|before| *before > number && is_ordered) {
            let fault = wrong("a message came after a newer one", self);
            return fault.map_err(|fault| fault.and(&self.story(before)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use martlet_codec::PacketId;

    use super::*;

    /// One recipient with one subscription of QoS 2, granted.
    fn ledger() -> Ledger {
        let mut ledger = Ledger::new();
        ledger
            .recipients
            .push(Recipient::new("one", false, &[("k/#", Qos::ExactlyOnce)]));
        ledger.subscription(0, 0, Known::Active);
        ledger
    }

    fn accepted(ledger: &mut Ledger, qos: Qos) -> Number {
        let number = ledger.send(0, qos, "k/1", false, 20);
        ledger.accept(number);
        ledger.complete(number);
        number
    }

    fn comes(ledger: &mut Ledger, number: Number, connection: u32, dup: bool) -> Checked {
        let delivery = match ledger.messages[number].qos {
            Qos::ExactlyOnce => Delivery::ExactlyOnce(PacketId::MIN),
            _ => Delivery::AtLeastOnce(PacketId::MIN),
        };
        let payload = ledger.payload(number);
        let topic = "k/1".to_owned();
        ledger.delivered(
            0,
            connection,
            &Arrived {
                topic,
                payload,
                delivery,
                dup,
                retain: false,
            },
        )
    }

    #[test]
    fn what_is_accepted_is_owed_until_it_comes() {
        let mut ledger = ledger();
        let number = accepted(&mut ledger, Qos::AtLeastOnce);
        assert_eq!(ledger.recipients[0].owed, BTreeSet::from([number]));
        comes(&mut ledger, number, 1, false).unwrap();
        assert_eq!(ledger.recipients[0].owed, BTreeSet::new());
    }

    #[test]
    fn qos_1_comes_again_only_with_dup_or_if_it_was_sent_again() {
        let mut ledger = ledger();
        let number = accepted(&mut ledger, Qos::AtLeastOnce);
        comes(&mut ledger, number, 1, false).unwrap();
        comes(&mut ledger, number, 1, true).expect_err("twice on one connection");
        comes(&mut ledger, number, 2, true).unwrap();
        comes(&mut ledger, number, 3, false).expect_err("without DUP");
        ledger.resend(number);
        comes(&mut ledger, number, 4, true).unwrap();
    }

    #[test]
    fn qos_2_comes_once() {
        let mut ledger = ledger();
        let number = accepted(&mut ledger, Qos::ExactlyOnce);
        ledger.resend(number);
        comes(&mut ledger, number, 1, false).unwrap();
        comes(&mut ledger, number, 2, true).expect_err("again");
        assert_eq!(ledger.counts.duplicated, 1);
    }

    #[test]
    fn first_copies_come_in_order() {
        let mut ledger = ledger();
        let older = accepted(&mut ledger, Qos::AtLeastOnce);
        let newer = accepted(&mut ledger, Qos::AtLeastOnce);
        comes(&mut ledger, newer, 1, false).unwrap();
        comes(&mut ledger, older, 1, false).expect_err("after a newer one");
    }

    #[test]
    fn what_is_sent_again_may_find_a_later_subscription() {
        let mut ledger = ledger();
        let older = ledger.send(0, Qos::AtLeastOnce, "k/1", false, 20);
        ledger.subscription(0, 0, Known::Unsure);
        ledger.subscription(0, 0, Known::Active);
        let newer = ledger.send(0, Qos::AtLeastOnce, "k/1", false, 20);
        comes(&mut ledger, newer, 1, false).unwrap();
        ledger.resend(older);
        comes(&mut ledger, older, 2, false).unwrap();
    }

    #[test]
    fn nothing_comes_after_an_acknowledged_unsubscription() {
        let mut ledger = ledger();
        let queued = accepted(&mut ledger, Qos::AtLeastOnce);
        ledger.subscription(0, 0, Known::Unsure);
        ledger.subscription(0, 0, Known::Inactive);
        assert!(ledger.recipients[0].owed.is_empty(), "what is queued may go");
        comes(&mut ledger, queued, 1, false).unwrap();
        let later = accepted(&mut ledger, Qos::AtLeastOnce);
        comes(&mut ledger, later, 1, false).expect_err("unsubscribed");
    }

    #[test]
    fn a_retained_message_is_the_last_accepted_or_a_later_one() {
        let mut ledger = ledger();
        let mut set = |accept: bool, bytes| {
            let number = ledger.send(0, Qos::AtLeastOnce, "r/1", true, bytes);
            if accept {
                ledger.accept(number);
            }
            number
        };
        let (old, last, later) = (set(true, 9), set(true, 9), set(false, 9));
        let mut holds = |number: Number| {
            let found = [("r/1".to_owned(), ledger.payload(number))];
            ledger.check_retained(&found.into()).is_ok()
        };
        assert_eq!([holds(old), holds(last), holds(later)], [false, true, true]);
        assert!(ledger.check_retained(&BTreeMap::new()).is_err(), "nothing");
    }
}
