//! A client that publishes, and sends again what was not acknowledged.

use std::time::Instant;

use martlet_codec::{
    Ack, Address, Delivery, Packet, PacketId, Properties, Publish, Qos, ReasonCode, Topic, Version,
};

use crate::fault::{Checked, Fault};
use crate::limits::{BURST_MS_MAX, MESSAGES_MAX, PAYLOAD_BYTES_MAX};
use crate::link::Came;
use crate::message::Number;
use crate::scene::{Phase, Scene};
use crate::session::Session;

/// What a publisher publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// To topics that others publish to as well.
    Plain,
    /// Retained, to topics of its own; some of them are cleared now and then.
    Retained,
}

/// A message whose flow is not finished.
#[derive(Debug, Clone, Copy)]
struct Flow {
    id: PacketId,
    message: Number,
    qos: Qos,
    /// How often PUBREL was sent; not before PUBREC came.
    releases: u32,
}

#[derive(Debug)]
pub(crate) struct Publisher {
    pub(crate) session: Session,
    number: u8,
    kind: Kind,
    window: usize,
    /// In the order in which they were sent first.
    flows: Vec<Flow>,
    /// When it sends next.
    bursts_at: Instant,
    sent_in_round: u32,
    /// Of each retained topic, how many were sent.
    sets: [u32; 3],
}

impl Publisher {
    pub(crate) fn new(number: u8, version: Version, kind: Kind, window: usize) -> Self {
        Self {
            session: Session::new(&format!("publisher-{number}"), version, u16::MAX),
            number,
            kind,
            window,
            flows: Vec::new(),
            bursts_at: Instant::now(),
            sent_in_round: 0,
            sets: [0; 3],
        }
    }

    /// A round begins.
    pub(crate) const fn begin(&mut self) {
        self.sent_in_round = 0;
    }

    /// Nothing waits for an acknowledgement.
    pub(crate) fn is_settled(&self) -> bool {
        self.session.is_on() && self.flows.is_empty()
    }

    /// What it waits for.
    pub(crate) fn waits_for(&self) -> Option<Number> {
        self.flows.first().map(|flow| flow.message)
    }

    pub(crate) fn receive(&mut self, scene: &mut Scene) -> Checked {
        while let Some(came) = self.session.next(scene)? {
            match came {
                Came::ConnAck { .. } => self.resend(scene),
                Came::PubAck(id, reason) => self.answered(id, Qos::AtLeastOnce, reason, scene)?,
                Came::PubRec(id, reason) => self.answered(id, Qos::ExactlyOnce, reason, scene)?,
                Came::PubComp(id, reason) => self.completed(id, reason, scene)?,
                Came::Closed | Came::Disconnect(_) => {}
                other => return Err(Fault::new(format!("{} got {other:?}", self.session.id))),
            }
        }
        Ok(())
    }

    pub(crate) fn act(&mut self, scene: &mut Scene) {
        if !self.session.is_open() && scene.now >= self.session.connects_at {
            self.session.connect(None, scene);
        }
        let publishes = self.session.is_on() && scene.phase == Phase::Traffic;
        if publishes && scene.now >= self.bursts_at && self.sent_in_round < MESSAGES_MAX {
            let window = self.window.min(usize::from(self.session.send_max));
            let free = window.saturating_sub(self.flows.len());
            for _ in 0..scene.random.below(free + 1) {
                self.publish(scene);
            }
            self.bursts_at = scene.soon(BURST_MS_MAX);
        }
        self.session.flush();
    }

    fn publish(&mut self, scene: &mut Scene) {
        let draw = scene.random.below(4);
        let bytes = if scene.one_in(40) {
            PAYLOAD_BYTES_MAX
        } else {
            10 + scene.random.below(300)
        } as u16;
        let (topic, qos, bytes) = match self.kind {
            Kind::Plain => {
                let qos = if scene.one_in(2) {
                    Qos::AtLeastOnce
                } else {
                    Qos::ExactlyOnce
                };
                (format!("k/{draw}"), qos, bytes)
            }
            Kind::Retained => {
                // One QoS for each topic, as QoS 1 and 2 may overtake each other.
                let nth = draw % self.sets.len();
                let qos = if nth == 0 {
                    Qos::AtLeastOnce
                } else {
                    Qos::ExactlyOnce
                };
                self.sets[nth] += 1;
                let clears = nth == 2 && self.sets[nth].is_multiple_of(2);
                let root = if nth == 2 { "c" } else { "r" };
                (
                    format!("{root}/{}/{nth}", self.number),
                    qos,
                    if clears { 0 } else { bytes },
                )
            }
        };
        let retain = self.kind == Kind::Retained;
        let message = scene.ledger.send(self.number, qos, &topic, retain, bytes);
        let flows = &self.flows;
        let id = self.session.id(|id| flows.iter().any(|flow| flow.id == id));
        let flow = Flow {
            id,
            message,
            qos,
            releases: 0,
        };
        self.flows.push(flow);
        self.sent_in_round += 1;
        self.send(flow, false, scene);
    }

    fn send(&mut self, flow: Flow, dup: bool, scene: &Scene) {
        let message = &scene.ledger.messages[flow.message];
        let delivery = match flow.qos {
            Qos::ExactlyOnce => Delivery::ExactlyOnce(flow.id),
            _ => Delivery::AtLeastOnce(flow.id),
        };
        self.session.send(&Packet::Publish(Publish {
            dup,
            retain: message.retain,
            delivery,
            address: Address::Name(Topic::new(&message.topic).expect("a topic")),
            properties: Properties::EMPTY,
            payload: &scene.ledger.payload(flow.message),
        }));
    }

    /// All that is not finished, in its order, with its identifiers [MQTT5-4.4.0-1], [MQTT5-4.6.0-1].
    fn resend(&mut self, scene: &mut Scene) {
        for at in 0..self.flows.len() {
            let flow = self.flows[at];
            if flow.releases > 0 {
                self.flows[at].releases += 1;
                self.session
                    .send(&Packet::PubRel(Ack::new(flow.id, ReasonCode::Success)));
            } else {
                scene.ledger.resend(flow.message);
                self.send(flow, true, scene);
            }
        }
    }

    /// PUBACK or PUBREC.
    fn answered(&mut self, id: PacketId, qos: Qos, reason: ReasonCode, scene: &mut Scene) -> Checked {
        let found = self
            .flows
            .iter()
            .position(|flow| flow.id == id && flow.qos == qos && flow.releases == 0);
        let Some(at) = found else {
            return Err(self.stray("an acknowledgement", id));
        };
        let message = self.flows[at].message;
        if reason.is_error() {
            let text = format!("{} is refused a message: {reason:?}", self.session.id);
            return Err(Fault::new(text).and(&scene.ledger.story(message)));
        }
        scene.ledger.accept(message);
        if qos == Qos::AtLeastOnce {
            scene.ledger.complete(message);
            self.flows.remove(at);
        } else {
            self.flows[at].releases = 1;
            self.session
                .send(&Packet::PubRel(Ack::new(id, ReasonCode::Success)));
        }
        Ok(())
    }

    /// PUBCOMP. That the broker does not know the identifier is right if an earlier PUBREL reached it.
    fn completed(&mut self, id: PacketId, reason: ReasonCode, scene: &mut Scene) -> Checked {
        let found = self
            .flows
            .iter()
            .position(|flow| flow.id == id && flow.releases > 0);
        let Some(at) = found else {
            return Err(self.stray("a PUBCOMP", id));
        };
        let Flow {
            message, releases, ..
        } = self.flows.remove(at);
        if reason != ReasonCode::Success && releases == 1 {
            let text = format!(
                "{}: the broker forgot identifier {id}: {reason:?}",
                self.session.id
            );
            return Err(Fault::new(text).and(&scene.ledger.story(message)));
        }
        scene.ledger.complete(message);
        Ok(())
    }

    fn stray(&self, what: &str, id: PacketId) -> Fault {
        Fault::new(format!(
            "{} got {what} of {id}, which waits for none",
            self.session.id
        ))
    }
}
