//! A client whose only purpose is its will.

use std::time::Instant;

use martlet_codec::{Qos, ReasonCode, Version};

use crate::fault::Checked;
use crate::limits::{LONG_AWAY_MAX, LONG_DELAY_S};
use crate::link::Came;
use crate::message::Duty;
use crate::scene::{Phase, Scene};
use crate::session::{Session, Will};

/// The topic of all wills.
pub(crate) const TOPIC: &str = "w/will";

/// What becomes of the wills of a testator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The delay is short: a connection that is lost has its will published, once. The testator waits for it.
    Comes,
    /// The delay is long, and the testator comes back before it is over: no will is ever published.
    Cancelled,
}

#[derive(Debug)]
pub(crate) struct Testator {
    pub(crate) session: Session,
    kind: Kind,
    qos: Qos,
    delay_s: u32,
    /// The will that its last CONNECT carried.
    will: Option<usize>,
    /// CONNACK came, so the will is stored.
    was_on: bool,
    /// When that connection ended.
    lost_at: Option<Instant>,
}

impl Testator {
    pub(crate) fn new(id: &str, version: Version, kind: Kind, qos: Qos, delay_s: u32) -> Self {
        let delay_s = if kind == Kind::Cancelled {
            LONG_DELAY_S
        } else {
            delay_s
        };
        let session = Session::new(id, version, 10);
        Self {
            session,
            kind,
            qos,
            delay_s,
            will: None,
            was_on: false,
            lost_at: None,
        }
    }

    pub(crate) fn receive(&mut self, scene: &mut Scene) -> Checked {
        while let Some(came) = self.session.next(scene)? {
            match came {
                Came::ConnAck { .. } => {
                    self.was_on = true;
                    self.lost_at = None;
                }
                Came::Closed => self.lost(scene),
                _ => {}
            }
        }
        Ok(())
    }

    /// The connection ended without a DISCONNECT, or with one that does not take the will back.
    fn lost(&mut self, scene: &mut Scene) {
        self.lost_at = Some(scene.now);
        let Some(will) = self.will else { return };
        let will = &mut scene.ledger.wills.0[will];
        if self.kind == Kind::Comes && will.duty == Duty::May && self.was_on {
            will.duty = Duty::Must;
        }
    }

    pub(crate) fn act(&mut self, may_connect: bool, scene: &mut Scene) {
        let wills = &mut scene.ledger.wills;
        if self.kind == Kind::Cancelled && self.lost_at.is_some_and(|at| at.elapsed() > LONG_AWAY_MAX) {
            // The machine is slow; the delay may be over.
            self.will
                .take()
                .into_iter()
                .for_each(|will| wills.0[will].duty = Duty::May);
        }
        let waits = self
            .will
            .is_some_and(|will| wills.0[will].duty == Duty::Must && !wills.has_come(will));
        if !self.session.is_open() && may_connect && !waits && scene.now >= self.session.connects_at {
            self.connect(scene);
        }
        if self.session.is_on() && scene.phase == Phase::Traffic && scene.one_in(400) {
            self.part(scene);
        }
        self.session.flush();
    }

    fn connect(&mut self, scene: &mut Scene) {
        let wills = &mut scene.ledger.wills;
        let duty = if self.kind == Kind::Cancelled {
            Duty::Never
        } else {
            Duty::May
        };
        let number = wills.make(
            format!("{}, QoS {}", self.session.id, self.qos.as_u8()),
            self.qos,
            duty,
        );
        let (payload, qos, delay_s) = (number.to_string(), self.qos, self.delay_s);
        self.session.connect(
            Some(&Will {
                topic: TOPIC,
                payload,
                qos,
                delay_s,
            }),
            scene,
        );
        self.will = Some(number);
        self.was_on = false;
    }

    /// Ends the connection in one of the ways that there are; only a DISCONNECT of success takes the will back.
    fn part(&mut self, scene: &mut Scene) {
        let with_will = self.session.is_v5().then_some(ReasonCode::DisconnectWithWill);
        let reason = [None, with_will, Some(ReasonCode::Success)][scene.random.below(3)];
        self.session.leave(reason);
        self.session.connects_at = scene.soon(60);
        if reason == Some(ReasonCode::Success) {
            // The broker may be killed before it reads that: the will may come.
            self.lost_at = Some(scene.now);
        } else {
            self.lost(scene);
        }
    }
}
