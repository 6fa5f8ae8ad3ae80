//! Histories by hand: a publisher, a subscriber, and what happens between them.

use martlet_codec::{Qos, ReasonCode};
use martlet_session::NEVER;

use super::view::UNREADABLE;
use crate::history::{ConnNo, Fact, History, Known, MessageNo, Said, Step, Willed};

const PUBLISHER: usize = 0;
const SUBSCRIBER: usize = 1;

pub(crate) struct ByHand {
    pub(crate) history: History,
    publisher: ConnNo,
    subscriber: ConnNo,
    next_conn: ConnNo,
    will: Option<MessageNo>,
}

impl ByHand {
    /// Both are connected, and the one has subscribed to all that the other says.
    pub(crate) fn pair(qos: Qos) -> Self {
        let mut history = History::default();
        history.inflight_max = 64;
        history.patience_ms = u64::MAX;
        history.clients = ["publisher", "subscriber"]
            .map(|name| Known {
                name: name.to_owned(),
                is_steady: true,
                packet_bytes_max: None,
            })
            .to_vec();
        let mut hand = Self {
            history,
            publisher: 0,
            subscriber: 0,
            next_conn: 1,
            will: None,
        };
        hand.publisher = hand.connect(PUBLISHER, false, None);
        hand.accept(PUBLISHER, hand.publisher, false);
        hand.connect_subscriber(false);
        hand.accept_subscriber(false);
        let (client, conn, filter) = (SUBSCRIBER, hand.subscriber, "t/#".to_owned());
        hand.note(Fact::Subscribing {
            client,
            conn,
            filter: filter.clone(),
            qos,
        });
        hand.note(Fact::Subscribed {
            client,
            conn,
            filter,
            reason: ReasonCode::granted(qos),
        });
        hand
    }

    /// The publisher has a will, and the subscriber listens.
    pub(crate) fn mortal() -> Self {
        let mut hand = Self::pair(Qos::ExactlyOnce);
        let end = hand.end(PUBLISHER, hand.publisher, true, false);
        hand.note(end);
        let message = hand.say(Qos::AtLeastOnce);
        hand.will = Some(message);
        let will = Willed { message, delay_ms: 0 };
        hand.publisher = hand.connect(PUBLISHER, false, Some(will));
        hand.accept(PUBLISHER, hand.publisher, true);
        hand
    }

    pub(crate) fn count_by(&self, checker: &str) -> usize {
        super::check(&self.history)
            .iter()
            .filter(|broken| broken.checker == checker)
            .count()
    }

    /// The messages that a checker complains of.
    pub(crate) fn found_by(&self, checker: &str) -> Vec<MessageNo> {
        let found = super::check(&self.history);
        let of = found.iter().filter(|broken| broken.checker == checker);
        of.filter_map(|broken| broken.message).collect()
    }

    pub(crate) fn pass_ms(&mut self, ms: u64) {
        self.history.set_now_ms(self.history.now_ms() + ms);
    }

    fn note(&mut self, fact: Fact) {
        self.pass_ms(1);
        self.history.note(fact);
    }

    fn connect(&mut self, client: usize, clean_start: bool, will: Option<Willed>) -> ConnNo {
        let conn = self.next_conn;
        self.next_conn += 1;
        self.note(Fact::Connecting {
            client,
            conn,
            clean_start,
            expiry_s: NEVER,
            window: u16::MAX,
            will,
        });
        conn
    }

    fn accept(&mut self, client: usize, conn: ConnNo, session_present: bool) {
        self.note(Fact::BrokerAccepted {
            client,
            conn,
            clean_start: false,
            session_present,
        });
        self.note(Fact::Connected {
            client,
            conn,
            session_present: Some(session_present),
        });
    }

    fn end(&self, client: usize, conn: ConnNo, by_goodbye: bool, accused: bool) -> Fact {
        Fact::BrokerEnded {
            client: Some(client),
            conn,
            by_goodbye,
            accused,
            has_will: self.will.is_some() && client == PUBLISHER,
            why: "by hand".to_owned(),
        }
    }

    pub(crate) fn connect_subscriber(&mut self, clean_start: bool) {
        self.subscriber = self.connect(SUBSCRIBER, clean_start, None);
    }

    pub(crate) fn accept_subscriber(&mut self, session_present: bool) {
        self.accept(SUBSCRIBER, self.subscriber, session_present);
    }

    pub(crate) fn end_subscriber(&mut self) {
        let end = self.end(SUBSCRIBER, self.subscriber, false, false);
        self.note(end);
    }

    pub(crate) fn accuse_subscriber(&mut self) {
        let end = self.end(SUBSCRIBER, self.subscriber, false, true);
        self.note(end);
    }

    /// It ends its session; `hears`: the broker gets that.
    pub(crate) fn end_subscriber_for_good(&mut self, hears: bool) {
        self.note(Fact::Leaving {
            client: SUBSCRIBER,
            conn: self.subscriber,
            ends_session: true,
        });
        let end = self.end(SUBSCRIBER, self.subscriber, hears, false);
        self.note(end);
    }

    pub(crate) fn reconnect_subscriber(&mut self, session_present: bool) {
        self.end_subscriber();
        self.connect_subscriber(false);
        self.accept_subscriber(session_present);
    }

    fn say(&mut self, qos: Qos) -> MessageNo {
        self.history.say(Said {
            publisher: PUBLISHER,
            topic: "t/0".to_owned(),
            qos,
            retain: false,
            clears: false,
            expires: false,
            bytes: 10,
        })
    }

    pub(crate) fn publish(&mut self, qos: Qos) -> MessageNo {
        let message = self.say(qos);
        let (client, conn) = (PUBLISHER, self.publisher);
        self.note(Fact::Published {
            client,
            conn,
            message,
            dup: false,
            id: message as u16 + 1,
        });
        message
    }

    pub(crate) fn acknowledge(&mut self, message: MessageNo) {
        let step = match self.history.message(message).qos {
            Qos::ExactlyOnce => Step::PubRec,
            _ => Step::PubAck,
        };
        let (client, conn, reason) = (PUBLISHER, self.publisher, ReasonCode::Success);
        self.note(Fact::Acknowledged {
            client,
            conn,
            message,
            step,
            reason,
        });
    }

    pub(crate) fn publish_acknowledged(&mut self, qos: Qos) -> MessageNo {
        let message = self.publish(qos);
        self.acknowledge(message);
        message
    }

    pub(crate) fn receive(&mut self, message: MessageNo, qos: Qos, dup: bool) {
        let (client, conn) = (SUBSCRIBER, self.subscriber);
        self.note(Fact::Received {
            client,
            conn,
            message,
            topic: "t/0".to_owned(),
            qos,
            retain: false,
            dup,
            id: message as u16 + 1,
            is_new: true,
        });
    }

    pub(crate) fn finish(&mut self, message: MessageNo) {
        let (client, conn) = (SUBSCRIBER, self.subscriber);
        self.note(Fact::Finished {
            client,
            conn,
            id: message as u16 + 1,
        });
    }

    pub(crate) fn drop_for_subscriber(&mut self) {
        self.note(Fact::BrokerDropped {
            client: Some(SUBSCRIBER),
            topic: Some("t/0".to_owned()),
            reason: "queue_full".to_owned(),
            count: 1,
        });
    }

    pub(crate) fn unreadable_for_subscriber(&mut self) {
        self.note(Fact::BrokerDropped {
            client: Some(SUBSCRIBER),
            topic: None,
            reason: UNREADABLE.to_owned(),
            count: 1,
        });
    }

    pub(crate) fn unsubscribe(&mut self) {
        let (client, conn, filter) = (SUBSCRIBER, self.subscriber, "t/#".to_owned());
        self.note(Fact::Unsubscribing {
            client,
            conn,
            filter: filter.clone(),
        });
        self.note(Fact::Unsubscribed {
            client,
            conn,
            filter,
            is_gone: true,
        });
    }

    pub(crate) fn lose_mortal(&mut self) {
        let end = self.end(PUBLISHER, self.publisher, false, false);
        self.note(end);
    }

    pub(crate) fn say_goodbye(&mut self) {
        let end = self.end(PUBLISHER, self.publisher, true, false);
        self.note(end);
    }

    pub(crate) fn hear_will(&mut self) {
        let will = self.will.expect("a mortal has a will");
        self.receive(will, Qos::AtLeastOnce, false);
    }

    pub(crate) fn rest(&mut self) {
        self.note(Fact::Rested {
            is_quiet: true,
            why: String::new(),
        });
    }
}
