//! A client with a stored session that takes messages.

use std::collections::{BTreeSet, VecDeque};

use martlet_codec::{
    Ack, Delivery, Filter, Filters, Packet, PacketId, Properties, ReasonCode, RetainHandling, Subscribe,
    SubscribeOptions, SubscribeRequests, Unsubscribe, Version,
};

use crate::deliveries::Known;
use crate::fault::{Checked, Fault};
use crate::link::{Arrived, Came};
use crate::scene::{Phase, Scene};
use crate::session::Session;

/// How a subscriber lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Always connected.
    Stays,
    /// Not there in most rounds.
    Away,
    /// Leaves and comes back within a round.
    ComesAndGoes,
    /// Subscribes and unsubscribes.
    Changes,
    /// Gets nothing but wills.
    WatchesWills,
}

/// What is to be sent when the subscriber does not hesitate.
#[derive(Debug, Clone, Copy)]
enum Answer {
    PubAck(PacketId),
    PubRec(PacketId),
    PubComp(PacketId),
}

/// A subscription as its client sees it.
#[derive(Debug)]
struct Wish {
    is_wanted: bool,
    known: Known,
    /// What its SUBSCRIBE or UNSUBSCRIBE was called, until the answer comes.
    asked: Option<PacketId>,
}

#[derive(Debug)]
pub(crate) struct Subscriber {
    pub(crate) session: Session,
    pub(crate) recipient: usize,
    /// Whether it takes part in this round.
    pub(crate) is_here: bool,
    kind: Kind,
    wishes: Vec<Wish>,
    /// QoS 2 messages that it has and that were not released [MQTT5-4.3.3-10].
    held: BTreeSet<PacketId>,
    answers: VecDeque<Answer>,
    /// What it has not acknowledged on this connection.
    open: BTreeSet<PacketId>,
}

impl Subscriber {
    /// `filters` is how many its recipient has.
    pub(crate) fn new(
        id: &str,
        version: Version,
        receive_max: u16,
        kind: Kind,
        (recipient, filters): (usize, usize),
    ) -> Self {
        let wish = |_| Wish {
            is_wanted: true,
            known: Known::Inactive,
            asked: None,
        };
        Self {
            session: Session::new(id, version, receive_max),
            recipient,
            is_here: true,
            kind,
            wishes: (0..filters).map(wish).collect(),
            held: BTreeSet::new(),
            answers: VecDeque::new(),
            open: BTreeSet::new(),
        }
    }

    /// A round begins; `all` says that nobody stays away.
    pub(crate) fn begin(&mut self, all: bool, scene: &mut Scene) {
        self.is_here = all || self.kind != Kind::Away || scene.one_in(4);
    }

    /// Its subscriptions are as it wants them.
    pub(crate) fn is_subscribed(&self) -> bool {
        let is_so = |wish: &Wish| wish.known == wanted(wish.is_wanted);
        self.session.is_on() && self.wishes.iter().all(is_so)
    }

    /// Nothing is left to be said or to be finished.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_subscribed() && self.answers.is_empty() && self.held.is_empty()
    }

    pub(crate) fn receive(&mut self, scene: &mut Scene) -> Checked {
        while let Some(came) = self.session.next(scene)? {
            match came {
                Came::ConnAck { .. } | Came::Disconnect(_) => {}
                Came::Publish(arrived) => self.take(&arrived, scene)?,
                Came::PubRel(id) => {
                    self.held.remove(&id);
                    self.answers.push_back(Answer::PubComp(id));
                }
                Came::SubAck(id, reasons) => {
                    if reasons.iter().any(|reason| reason.is_error()) {
                        return Err(self.fault(&format!("is refused a subscription: {reasons:?}")));
                    }
                    self.answered(id, Known::Active, scene)?;
                }
                Came::UnsubAck(id) => self.answered(id, Known::Inactive, scene)?,
                Came::Closed => self.forget(),
                other => return Err(self.fault(&format!("got {other:?}"))),
            }
        }
        Ok(())
    }

    /// Leaves, and comes back at once.
    pub(crate) fn restart(&mut self) {
        self.session.leave(Some(ReasonCode::Success));
        self.forget();
    }

    /// What belonged to the connection.
    fn forget(&mut self) {
        self.answers.clear();
        self.open.clear();
        self.wishes.iter_mut().for_each(|wish| wish.asked = None);
    }

    fn take(&mut self, arrived: &Arrived, scene: &mut Scene) -> Checked {
        let id = match arrived.delivery {
            Delivery::AtMostOnce => return Err(self.fault("got a message of QoS 0 that nobody sent")),
            Delivery::AtLeastOnce(id) => {
                self.answers.push_back(Answer::PubAck(id));
                id
            }
            Delivery::ExactlyOnce(id) => {
                self.answers.push_back(Answer::PubRec(id));
                id
            }
        };
        self.open.insert(id);
        // mosquitto 2.0 exceeds it.
        let is_bound = self.session.is_v5() && !martlet_interop::on_mosquitto();
        if is_bound && self.open.len() > usize::from(self.session.receive_max) {
            return Err(self.fault("got more messages at once than its receive maximum [MQTT5-3.3.4-9]"));
        }
        if matches!(arrived.delivery, Delivery::ExactlyOnce(_)) && !self.held.insert(id) {
            // It has it already.
            let is_right = arrived.dup;
            return if is_right {
                Ok(())
            } else {
                Err(self.fault("got an identifier that is in use, without DUP"))
            };
        }
        let connection = self.session.connection;
        if self.kind == Kind::WatchesWills {
            return scene.ledger.wills.delivered(connection, arrived);
        }
        scene.ledger.delivered(self.recipient, connection, arrived)
    }

    pub(crate) fn act(&mut self, scene: &mut Scene) {
        if !self.session.is_open() && self.is_here && scene.now >= self.session.connects_at {
            self.session.connect(None, scene);
        }
        if self.session.is_on() {
            self.ask(scene);
            self.answer(scene);
            self.change(scene);
        }
        self.session.flush();
    }

    /// Asks for what it has not and wants, and gives up what it has and does not want.
    fn ask(&mut self, scene: &mut Scene) {
        for at in 0..self.wishes.len() {
            let wish = &self.wishes[at];
            let is_wanted = wish.is_wanted;
            if wish.asked.is_some() || wish.known == wanted(is_wanted) {
                continue;
            }
            let wishes = &self.wishes;
            let packet_id = self
                .session
                .id(|id| wishes.iter().any(|wish| wish.asked == Some(id)));
            self.know(at, Known::Unsure, scene);
            self.wishes[at].asked = Some(packet_id);
            let subscription = &scene.ledger.recipients[self.recipient].subscriptions[at];
            let text = if scene.ledger.recipients[self.recipient].is_group {
                format!("$share/group/{}", subscription.filter.as_str())
            } else {
                subscription.filter.as_str().to_owned()
            };
            let filter = Filter::new(&text).expect("a filter");
            if !is_wanted {
                self.session.send(&Packet::Unsubscribe(Unsubscribe {
                    packet_id,
                    properties: Properties::EMPTY,
                    filters: Filters::List(&[filter]),
                }));
                continue;
            }
            let mut options = SubscribeOptions::qos(subscription.qos);
            if self.session.is_v5() {
                options.retain_handling = RetainHandling::Never;
            }
            self.session.send(&Packet::Subscribe(Subscribe {
                packet_id,
                properties: Properties::EMPTY,
                requests: SubscribeRequests::List(&[(filter, options)]),
            }));
        }
    }

    fn answered(&mut self, id: PacketId, known: Known, scene: &mut Scene) -> Checked {
        let asked = |wish: &Wish| wish.asked == Some(id) && wanted(wish.is_wanted) == known;
        let Some(at) = self.wishes.iter().position(asked) else {
            return Err(self.fault("got the answer to a question that it did not ask"));
        };
        self.wishes[at].asked = None;
        self.know(at, known, scene);
        Ok(())
    }

    fn know(&mut self, at: usize, known: Known, scene: &mut Scene) {
        self.wishes[at].known = known;
        scene.ledger.subscription(self.recipient, at, known);
    }

    /// Acknowledges what it has, in its order; in traffic it hesitates.
    fn answer(&mut self, scene: &mut Scene) {
        while let Some(answer) = self.answers.front().copied() {
            if scene.phase == Phase::Traffic && scene.one_in(4) {
                return;
            }
            self.answers.pop_front();
            let ack = |id| Ack::new(id, ReasonCode::Success);
            match answer {
                Answer::PubAck(id) => {
                    self.open.remove(&id);
                    self.session.send(&Packet::PubAck(ack(id)));
                }
                Answer::PubRec(id) => self.session.send(&Packet::PubRec(ack(id))),
                Answer::PubComp(id) => {
                    self.open.remove(&id);
                    self.session.send(&Packet::PubComp(ack(id)));
                }
            }
        }
    }

    /// Leaves, or changes its mind.
    fn change(&mut self, scene: &mut Scene) {
        if scene.phase != Phase::Traffic {
            return;
        }
        match self.kind {
            Kind::ComesAndGoes if scene.one_in(300) => {
                let reason = scene.one_in(2).then_some(ReasonCode::Success);
                scene
                    .ledger
                    .connection(&self.session.id, &format!("leaves: {reason:?}"));
                self.session.leave(reason);
                self.forget();
                self.session.connects_at = scene.soon(60);
            }
            Kind::Changes if scene.one_in(60) => {
                let at = scene.random.below(self.wishes.len());
                let wish = &mut self.wishes[at];
                if wish.asked.is_none() && wish.known != Known::Unsure {
                    wish.is_wanted = !wish.is_wanted;
                }
            }
            _ => {}
        }
    }

    fn fault(&self, text: &str) -> Fault {
        Fault::new(format!("{} {text}", self.session.id))
    }
}

const fn wanted(is_wanted: bool) -> Known {
    if is_wanted { Known::Active } else { Known::Inactive }
}
