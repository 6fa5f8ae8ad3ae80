//! CONNECT: who comes in, and with which session.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use martlet_codec::{Connect, PacketType, ReasonCode};
use martlet_session::{Link, Now, Session, Ticket, handshake};

use super::commit::Pending;
use super::incoming::Flow;
use super::{Relocated, Shard, Sink};
use crate::connection::{ClientId, ConnId, Peer, Phase};
use crate::event::{Ending, Event};
use crate::login::Known;
use crate::reason::Reason;
use crate::registry::Claim;
use crate::sessions::Slot;
use crate::store::{Change, Durability};
use crate::takeovers::Takeovers;
use crate::timers::Timer;
use crate::will::Will;

impl Shard {
    pub(super) fn connect(
        &mut self,
        now: Now,
        conn: ConnId,
        connect: &Connect<'_>,
        rest: &[u8],
        sink: &mut impl Sink,
    ) -> Flow {
        let connection = &mut self.connections[conn.index as usize];
        let peer = connection.peer;
        let shared = Arc::clone(&self.shared);
        let rules = &shared.listeners[usize::from(peer.listener)];
        let agreed = match handshake::accept(connect, &rules.policy) {
            Ok(agreed) => agreed,
            Err(refusal) => return self.refuse(conn, connect, refusal, sink),
        };
        if rules
            .connections_max
            .is_some_and(|max| rules.connections.load(Ordering::Relaxed) > max)
        {
            return self.refuse_for(conn, connect, Reason::TooManyConnections, sink);
        }
        // Nothing of anybody's session is touched before this.
        if let Some(flow) = self.log_in(now, conn, connect, sink) {
            return flow;
        }
        let assigned = connect
            .client_id
            .is_empty()
            .then(|| self.assign_client_id(&rules.auto_id_prefix));
        let client_id = assigned.clone().unwrap_or_else(|| connect.client_id.into());
        if assigned.is_none()
            && let Claim::There(shard) = shared.registry.claim(&client_id, self.index)
        {
            return self.relocate(conn, shard, rest, sink);
        }
        self.counters().connects.add(1);
        let takeovers = self
            .sessions
            .index_of(&client_id)
            .and_then(|index| self.take_over(now, index, connect.clean_start, peer, sink));
        let found = self.sessions.index_of(&client_id);
        if found.is_none() {
            // Its session may have ended in the take-over, and its claim with it.
            if let Claim::There(shard) = shared.registry.claim(&client_id, self.index) {
                return self.relocate(conn, shard, rest, sink);
            }
            if shared.registry.len() as u64 > shared.settings.sessions_max {
                self.release(&client_id);
                return self.refuse_for(conn, connect, Reason::TooManySessions, sink);
            }
        }
        let index = found.unwrap_or_else(|| self.new_session(&client_id, agreed.expiry_s));

        let mut link = Box::new(Link::new(agreed, now));
        link.output.lend_buffer(&mut self.buffers);
        let fits = handshake::connack(
            connect,
            &agreed,
            &rules.policy,
            found.is_some(),
            assigned.as_deref(),
            &mut link.output,
        );
        self.counters().packets_sent.add(1);
        let will = Will::of(connect, &client_id);
        let slot = self.sessions.get_mut(index);
        slot.conn = Some(conn);
        slot.will = will.map(Box::new);
        slot.will_due_ms = None;
        slot.expires_at_ms = None;
        slot.session.expiry_s = agreed.expiry_s;
        slot.takeovers = takeovers;
        let connection = &mut self.connections[conn.index as usize];
        connection.version = Some(connect.version);
        connection.phase = Phase::Accepted { session: index };
        self.counters().sessions_connected.add(1);
        if !fits {
            self.end(now, conn, Ending::Broker(Reason::ConnAckTooLarge), None, sink);
            return Flow::Stop;
        }
        sink.event(Event::Connected {
            client_id: &client_id,
            peer,
            version: connect.version,
            clean_start: connect.clean_start,
            keep_alive_s: agreed.keep_alive_s,
            expiry_s: agreed.expiry_s,
            session_present: found.is_some(),
            user_name: self.identity(conn).or(connect.user_name),
        });
        if let Some(ticket) = self.commit_connect(now, conn, index) {
            self.pending.insert(
                ticket,
                Pending::Connect {
                    conn,
                    session: index,
                    link,
                    is_new: found.is_none(),
                },
            );
            return Flow::Pause;
        }
        self.attach(now, conn, index, link);
        Flow::Next
    }

    /// A session begins. It is stored if it outlives its connection.
    fn new_session(&mut self, client_id: &ClientId, expiry_s: u32) -> u32 {
        self.counters().sessions.add(1);
        let mut session = Session::new(Arc::clone(client_id), expiry_s);
        if self.keeps && expiry_s > 0 {
            session.number = self.shared.take_numbers(1);
        }
        let number = session.number;
        let index = self.sessions.insert(session);
        if number != 0 {
            self.shared.stored.set(self.sessions.get(index).me, number);
        }
        index
    }

    /// What a CONNACK waits for: that its session is stored as it is now, and that one that has ended with its
    /// CONNECT is no more.
    fn commit_connect(&mut self, now: Now, conn: ConnId, index: u32) -> Option<Ticket> {
        let durability = self.durability_of(conn);
        let session = &self.sessions.get(index).session;
        let is_stored = session.number != 0;
        let client_id = Arc::clone(&session.client_id);
        // Also one that ended before this CONNECT, if that is not durable yet or could not be stored.
        let lingers = self.lingering.holds(&client_id);
        if durability == Durability::None || !(is_stored || lingers) {
            if is_stored {
                self.submit_loose(now);
                self.keep(Change::Session(self.stored_session(index)));
            }
            return None;
        }
        // What its session did before comes before it.
        self.submit_loose(now);
        let ticket = self.ticket();
        let mut changes = self.ends_again(&client_id, ticket, durability);
        if is_stored {
            changes.push(Change::Session(self.stored_session(index)));
        }
        self.submit_with(now, ticket, durability, changes);
        Some(ticket)
    }

    /// The session lives in another shard, so the connection goes there with all that it sent.
    fn relocate(&mut self, conn: ConnId, shard: u16, rest: &[u8], sink: &mut impl Sink) -> Flow {
        let connection = self.remove_connection(conn);
        let vouched = match connection.login.as_deref() {
            Some(Known::User(_, generation)) => Some(*generation),
            _ => None,
        };
        sink.relocate(
            conn,
            shard,
            Relocated {
                peer: connection.peer,
                unread: rest.to_vec(),
                vouched,
                identity: connection.identity,
            },
        );
        Flow::Stop
    }

    /// The CONNACK may leave: from now on the session is connected.
    pub(super) fn attach(&mut self, now: Now, conn: ConnId, index: u32, mut link: Box<Link>) {
        let connection = &mut self.connections[conn.index as usize];
        connection.phase = Phase::Live { session: index };
        link.keep_alive.heard(now.mono_ms);
        if let Some(deadline_ms) = link.keep_alive.deadline_ms() {
            connection
                .armed
                .arm(deadline_ms, Timer::Connection(conn), &mut self.timers);
        }
        let session = &mut self.sessions.get_mut(index).session;
        session.attach(link, &mut self.effects);
        self.keep_effects(index);
        self.mark_dirty(conn);
        self.pump(now, index);
    }

    pub(super) fn refuse_for(
        &mut self,
        conn: ConnId,
        connect: &Connect<'_>,
        reason: Reason,
        sink: &mut impl Sink,
    ) -> Flow {
        self.counters().count(reason, 1);
        let refusal = handshake::Refusal {
            reason: reason.code(),
            text: reason.text(),
        };
        self.refuse(conn, connect, refusal, sink)
    }

    fn refuse(
        &mut self,
        conn: ConnId,
        connect: &Connect<'_>,
        refusal: handshake::Refusal,
        sink: &mut impl Sink,
    ) -> Flow {
        sink.event(Event::Refused {
            client_id: connect.client_id,
            peer: self.connections[conn.index as usize].peer,
            code: refusal.reason,
            reason: refusal.text,
        });
        self.turn_away(conn, connect, refusal, sink)
    }

    pub(super) fn deny_login(
        &mut self,
        conn: ConnId,
        connect: &Connect<'_>,
        reason: Reason,
        sink: &mut impl Sink,
    ) -> Flow {
        self.counters().count(reason, 1);
        sink.event(Event::LoginDenied {
            client_id: connect.client_id,
            peer: self.connections[conn.index as usize].peer,
            user_name: connect.user_name,
            reason,
        });
        let refusal = handshake::Refusal {
            reason: reason.code(),
            text: reason.text(),
        };
        self.turn_away(conn, connect, refusal, sink)
    }

    pub(super) fn turn_away(
        &mut self,
        conn: ConnId,
        connect: &Connect<'_>,
        refusal: handshake::Refusal,
        sink: &mut impl Sink,
    ) -> Flow {
        self.counters().connects.add(1);
        let output = self.connections[conn.index as usize].last_output();
        handshake::refuse(connect.version, refusal, output);
        self.close(conn, sink);
        Flow::Stop
    }

    /// The same once its session was the client's already: what its CONNACK would promise could not be stored.
    pub(super) fn refuse_accepted(&mut self, now: Now, conn: ConnId, reason: Reason, sink: &mut impl Sink) {
        let connection = &mut self.connections[conn.index as usize];
        if let Some(version) = connection.version {
            let refusal = handshake::Refusal {
                reason: reason.code(),
                text: reason.text(),
            };
            handshake::refuse(version, refusal, connection.last_output());
        }
        self.end(now, conn, Ending::Broker(reason), None, sink);
    }

    fn assign_client_id(&mut self, prefix: &str) -> ClientId {
        loop {
            let id = format!("{prefix}{}", self.seed.uuid()).into();
            if self.shared.registry.claim_new(&id, self.index) {
                return id;
            }
        }
    }

    /// The client identifier has a session. Its old connection is cut, and its will goes out, before anything
    /// of the new one [MQTT5-3.1.4-3]; with Clean Start the session ends [MQTT5-3.1.2-4].
    fn take_over(
        &mut self,
        now: Now,
        index: u32,
        clean_start: bool,
        new: Peer,
        sink: &mut impl Sink,
    ) -> Option<Box<Takeovers>> {
        let slot = self.sessions.get_mut(index);
        let name = slot.me;
        // The session may end here, but not the quarrel about its client identifier.
        let mut takeovers = slot.takeovers.take();
        if let Some(old) = slot.conn {
            let flapping = self.shared.settings.flapping;
            let counted = takeovers.get_or_insert_with(|| Box::new(Takeovers::new(now.mono_ms)));
            if let Some(takeovers) = counted.count(now.mono_ms, flapping) {
                sink.event(Event::Flapping {
                    client_id: &slot.session.client_id,
                    takeovers,
                    window_s: flapping.window_ms / 1_000,
                    old: self.connections[old.index as usize].peer,
                    new,
                });
            }
            self.end(now, old, Ending::Broker(Reason::TakenOver), None, sink);
        }
        let is_over = |slot: &mut Slot| clean_start || slot.expires_at_ms.is_some_and(|at| at <= now.mono_ms);
        if self.sessions.find_mut(name).is_some_and(is_over) {
            self.end_session(now, index, sink);
        }
        takeovers
    }

    pub(super) fn send_disconnect(&mut self, index: u32, ending: Ending, detail: Option<&str>) {
        let code = match ending {
            Ending::Violation(violation) => violation.code(),
            Ending::Broker(reason) => reason.code(),
            Ending::Client(_) | Ending::Lost => return,
        };
        let text = detail.unwrap_or(ending.text());
        if let Some(link) = &mut self.sessions.get_mut(index).session.link {
            if code.allowed_in(PacketType::Disconnect) {
                link.disconnect(code, Some(text));
            } else {
                link.disconnect(ReasonCode::Unspecified, Some(text));
            }
        }
    }
}
