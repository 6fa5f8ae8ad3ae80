//! Delivery: a message and its route, to the sessions of this shard, to other shards, to groups.

use std::sync::Arc;

use martlet_codec::Qos;
use martlet_session::{Delivered, Key, MessageView, Now, Offer, Session, Target, Turn};

use super::{Shard, Sink};
use crate::event::Event;
use crate::parcels::{Assigned, Parcel, Parcels};
use crate::reason::Reason;
use crate::router::{Group, Hit, Member, Route, SessionRef};
use crate::store::Change;

impl Shard {
    /// Hands a message to everybody on its route.
    pub(super) fn deliver(
        &mut self,
        now: Now,
        offer: &mut Offer<'_>,
        route: &Arc<Route>,
        publisher: Option<SessionRef>,
        chosen: &[Option<Member>],
        sink: &mut impl Sink,
    ) {
        self.deliver_here(now, offer, route, publisher, sink);
        for shard in route.shards_but(self.index) {
            if offer.view().qos == Qos::AtMostOnce && !sink.has_room(shard) {
                self.dropped(None, offer.view(), Reason::ShardFull, sink);
                continue;
            }
            sink.parcels(shard).publish(offer.view(), route, publisher);
        }
        for (index, group) in route.groups().iter().enumerate() {
            let first = chosen.get(index).copied().flatten();
            let at = route.place_of_group(index);
            self.deliver_shared(
                now,
                group,
                offer,
                Vec::new(),
                first.map(|member| (member, at)),
                sink,
            );
        }
    }

    /// The hits of this shard.
    fn deliver_here(
        &mut self,
        now: Now,
        offer: &mut Offer<'_>,
        route: &Route,
        publisher: Option<SessionRef>,
        sink: &mut impl Sink,
    ) {
        match publisher.filter(|_| route.has_no_local()) {
            Some(publisher) => {
                for hit in route.shard_from(self.index, publisher) {
                    self.deliver_hit(now, offer, route, hit, sink);
                }
            }
            None => {
                for hit in route.shard(self.index) {
                    self.deliver_hit(now, offer, route, hit, sink);
                }
            }
        }
    }

    fn deliver_hit(
        &mut self,
        now: Now,
        offer: &mut Offer<'_>,
        route: &Route,
        hit: &Hit,
        sink: &mut impl Sink,
    ) {
        let target = Target {
            qos: hit.qos(),
            retain: offer.view().retain && hit.retain_as_published(),
            subscription_ids: route.identifiers(hit),
            shared: None,
            replay: false,
            at: if offer.view().number == 0 {
                0
            } else {
                route.place(hit)
            },
        };
        if let Some(Delivered::Dropped(reason)) = self.deliver_to(now, hit.session, target, offer) {
            self.dropped(Some(hit.session), offer.view(), reason.into(), sink);
        }
    }

    /// Delivers to one session of this shard; `None`: it has ended.
    pub(super) fn deliver_to(
        &mut self,
        now: Now,
        name: SessionRef,
        target: Target<'_>,
        offer: &mut Offer<'_>,
    ) -> Option<Delivered> {
        if self.sessions.find(name).is_none() {
            if self.keeps && offer.view().number != 0 {
                // It was stored for a session that has ended since.
                let key = Key::new(offer.view().number, target.at);
                self.keep(Change::Done { key });
            }
            return None;
        }
        let deliver = |session: &mut Session, turn: &mut Turn<'_>| session.deliver(target, offer, turn);
        let delivered = self.with_turn(now, name.index, deliver);
        let slot = self.sessions.get(name.index);
        slot.tell_presence(&self.shared.settings.session);
        match (delivered, slot.conn) {
            (Delivered::Sent, Some(conn)) => self.mark_dirty(conn),
            (Delivered::Queued, _) => self.settle_books(name.index),
            _ => {}
        }
        Some(delivered)
    }

    /// One member of a group gets it: here, or in another shard. `first` was chosen before, with its place among the
    /// recipients.
    pub(super) fn deliver_shared(
        &mut self,
        now: Now,
        group: &Arc<Group>,
        offer: &mut Offer<'_>,
        mut tried: Vec<SessionRef>,
        mut first: Option<(Member, u32)>,
        sink: &mut impl Sink,
    ) {
        loop {
            let chosen = first.take();
            let Some(member) = chosen.map(|(member, _)| member).or_else(|| group.pick(&tried)) else {
                break;
            };
            if chosen.is_none() && self.may_be_stored(offer) && !self.takes(now, offer.view(), group, &member)
            {
                // Nothing is stored for who does not take it.
                tried.push(member.session);
                continue;
            }
            let again = match chosen {
                Some(_) => None,
                None => self.address_again(offer, group, &member),
            };
            let at = chosen.map_or(0, |(_, at)| at);
            let went = match &again {
                Some(message) => {
                    let mut anew = Offer::kept(message);
                    anew.resent = offer.resent;
                    self.give_member(now, group, member, at, &mut anew, &mut tried, sink)
                }
                None => self.give_member(now, group, member, at, offer, &mut tried, sink),
            };
            if went {
                return;
            }
            tried.push(member.session);
        }
        self.dropped(None, offer.view(), Reason::NoMember, sink);
    }

    /// Gives a message to a member of a group, or to its shard; `false`: it does not take it.
    #[allow(clippy::too_many_arguments)] // what one step of a loop needs
    fn give_member(
        &mut self,
        now: Now,
        group: &Arc<Group>,
        member: Member,
        at: u32,
        offer: &mut Offer<'_>,
        tried: &mut Vec<SessionRef>,
        sink: &mut impl Sink,
    ) -> bool {
        let shard = member.session.shard;
        if shard == self.index {
            return self.deliver_member(now, group, &member, at, offer);
        }
        if offer.view().qos == Qos::AtMostOnce && !sink.has_room(shard) {
            return false;
        }
        sink.parcels(shard).assign(Assigned {
            message: offer.keep(),
            resent: offer.resent,
            at,
            group: Arc::clone(group),
            member,
            tried: std::mem::take(tried),
        });
        true
    }

    fn deliver_member(
        &mut self,
        now: Now,
        group: &Group,
        member: &Member,
        at: u32,
        offer: &mut Offer<'_>,
    ) -> bool {
        let identifier = member.options.identifier().map(std::num::NonZeroU32::get);
        let target = member_target(group, member, offer.view(), at, identifier.as_slice());
        matches!(
            self.deliver_to(now, member.session, target, offer),
            Some(Delivered::Sent | Delivered::Queued)
        )
    }

    /// Another shard has messages for sessions of this one.
    pub(super) fn forwarded(&mut self, now: Now, parcels: &mut Parcels, sink: &mut impl Sink) {
        let (list, runs, bytes) = parcels.drain();
        for parcel in list {
            match parcel {
                Parcel::Letter(letter) => {
                    let run = letter.run(runs);
                    let mut offer = Offer::new(letter.view(run, bytes));
                    self.deliver_here(now, &mut offer, &run.route, run.publisher, sink);
                }
                Parcel::Assigned(assigned) => self.deliver_assigned(now, *assigned, sink),
            }
        }
        parcels.clear();
    }

    fn deliver_assigned(&mut self, now: Now, assigned: Assigned, sink: &mut impl Sink) {
        let Assigned {
            message,
            resent,
            at,
            group,
            member,
            mut tried,
        } = assigned;
        let mut offer = Offer::kept(&message);
        offer.resent = resent;
        if !self.deliver_member(now, &group, &member, at, &mut offer) {
            tried.push(member.session);
            self.deliver_shared(now, &group, &mut offer, tried, None, sink);
        }
    }

    /// Counts and tells a message that did not reach somebody.
    pub(super) fn dropped(
        &mut self,
        name: Option<SessionRef>,
        view: &MessageView<'_>,
        reason: Reason,
        sink: &mut impl Sink,
    ) {
        self.counters().count(reason, 1);
        if reason == Reason::ClientAway {
            return;
        }
        let client_id = name
            .and_then(|name| self.sessions.find_mut(name))
            .map(|slot| &*slot.session.client_id);
        sink.event(Event::Dropped {
            client_id,
            topic: Some(view.topic.as_str()),
            reason,
            count: 1,
        });
    }

    /// The same of messages of which nobody looks at the topics.
    pub(super) fn dropped_unseen(
        &mut self,
        name: Option<SessionRef>,
        reason: Reason,
        count: u64,
        sink: &mut impl Sink,
    ) {
        if count == 0 {
            return;
        }
        self.counters().count(reason, count);
        let client_id = name
            .and_then(|name| self.sessions.find_mut(name))
            .map(|slot| &*slot.session.client_id);
        sink.event(Event::Dropped {
            client_id,
            topic: None,
            reason,
            count,
        });
    }
}

/// What the subscription of a member of a group makes of a message.
pub(super) fn member_target<'a>(
    group: &'a Group,
    member: &Member,
    view: &MessageView<'_>,
    at: u32,
    subscription_ids: &'a [u32],
) -> Target<'a> {
    Target {
        qos: member.options.qos(),
        retain: view.retain && member.options.retain_as_published(),
        subscription_ids,
        shared: Some(group.filter()),
        replay: false,
        at,
    }
}
