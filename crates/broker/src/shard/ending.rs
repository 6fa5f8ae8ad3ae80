//! The end of connections and of sessions, and the wills in between.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use martlet_codec::{Disconnect, ReasonCode, Violation};
use martlet_session::{NEVER, Now, Offer, Queued};

use super::incoming::Flow;
use super::keep::Over;
use super::{Shard, Sink};
use crate::connection::{ConnId, Phase};
use crate::event::{Ending, Event};
use crate::reason::Reason;
use crate::router::SessionRef;
use crate::sessions::Slot;
use crate::store::Change;
use crate::timers::Timer;

impl Shard {
    /// DISCONNECT came.
    pub(super) fn disconnect(
        &mut self,
        now: Now,
        conn: ConnId,
        index: u32,
        disconnect: &Disconnect<'_>,
        sink: &mut impl Sink,
    ) -> Flow {
        let session = &mut self.sessions.get_mut(index).session;
        if let Some(expiry_s) = disconnect.properties.session_expiry_s() {
            if session.expiry_s == 0 && expiry_s > 0 {
                self.end(
                    now,
                    conn,
                    Ending::Violation(Violation::SessionExpiryFromZero),
                    None,
                    sink,
                );
                return Flow::Stop;
            }
            let listener = usize::from(self.connections[conn.index as usize].peer.listener);
            session.expiry_s = expiry_s.min(self.shared.listeners[listener].policy.session_expiry_s_max);
        }
        self.counters().packets_received.add(1);
        self.end(now, conn, Ending::Client(disconnect.reason), None, sink);
        Flow::Stop
    }

    /// The socket is gone.
    pub(super) fn closed(&mut self, now: Now, conn: ConnId, sink: &mut impl Sink) {
        let Some(connection) = self.connection(conn) else {
            return;
        };
        if connection.phase != Phase::Closing {
            self.end(now, conn, Ending::Lost, None, sink);
        }
        self.remove_connection(conn);
    }

    /// A connection ends: what is left to say goes out, its session goes on or ends, its will is
    /// published or scheduled.
    pub(super) fn end(
        &mut self,
        now: Now,
        conn: ConnId,
        ending: Ending,
        detail: Option<&str>,
        sink: &mut impl Sink,
    ) {
        let Some(connection) = self.connection(conn) else {
            return;
        };
        let peer = connection.peer;
        let index = connection.session();
        if let Ending::Violation(violation) = ending {
            self.counters().count(violation.into(), 1);
        } else if let Ending::Broker(reason) = ending {
            self.counters().count(reason, 1);
        }
        let Some(index) = index else {
            sink.event(Event::Disconnected {
                client_id: None,
                peer,
                ending,
                has_will: false,
                detail,
            });
            self.close(conn, sink);
            return;
        };
        self.send_disconnect(index, ending, detail);
        let slot = self.sessions.get_mut(index);
        let name = slot.me;
        let client_id = Arc::clone(&slot.session.client_id);
        sink.event(Event::Disconnected {
            client_id: Some(&client_id),
            peer,
            ending,
            has_will: slot.will.is_some(),
            detail,
        });
        slot.conn = None;
        slot.away_since_ms = now.wall_ms;
        slot.sent_up_to = self.shared.numbers.load(Ordering::Relaxed);
        if let Some(link) = slot.session.detach(&self.shared.settings.session) {
            *self.connections[conn.index as usize].last_output() = link.output;
        }
        self.wind_up(conn);
        match ending {
            Ending::Client(_) => sink.hang_up(conn),
            Ending::Violation(_) | Ending::Broker(_) | Ending::Lost => sink.close(conn),
        }
        self.settle_books(index);
        self.counters().sessions_connected.sub(1);
        self.leave(now, index, ending, sink);
        debug_assert!(
            self.sessions
                .find_mut(name)
                .is_none_or(|slot| slot.conn.is_none())
        );
    }

    /// The connection of a session is gone.
    fn leave(&mut self, now: Now, index: u32, ending: Ending, sink: &mut impl Sink) {
        let slot = self.sessions.get_mut(index);
        // Only DISCONNECT with code 0 deletes the will [MQTT5-3.14.4-3].
        if ending == Ending::Client(ReasonCode::Success) {
            slot.will = None;
        }
        let expiry_s = slot.session.expiry_s;
        if expiry_s == 0 {
            self.end_session(now, index, sink);
            return;
        }
        let is_stored = slot.session.number != 0;
        // The will of a stored session waits for the next start of the broker.
        let waits = is_stored && ending == Ending::Broker(Reason::ShuttingDown);
        slot.expires_at_ms = (expiry_s != NEVER).then(|| now.mono_ms + u64::from(expiry_s) * 1_000);
        if let Some(will) = &slot.will {
            if will.delay_ms == 0 && !waits {
                let will = slot.will.take().expect("there is one");
                let message = will.into_message(now);
                let name = slot.me;
                self.publish_message(now, &message, Some(name), sink);
            } else if !waits {
                slot.will_due_ms = Some(now.mono_ms + will.delay_ms);
            }
        }
        if is_stored {
            self.keep(Change::Session(self.stored_session(index)));
        }
        self.schedule(index);
    }

    pub(super) fn schedule(&mut self, index: u32) {
        let slot = self.sessions.get_mut(index);
        if let Some(at_ms) = slot.deadline_ms() {
            slot.armed.arm(at_ms, Timer::Session(slot.me), &mut self.timers);
        }
        self.sweep_timers();
    }

    /// A deadline of a session without a connection may be due.
    pub(super) fn session_due(&mut self, now: Now, at_ms: u64, name: SessionRef, sink: &mut impl Sink) {
        let Some(slot) = self.sessions.find_mut(name) else {
            return;
        };
        if !slot.armed.came_up(at_ms) || slot.conn.is_some() {
            return;
        }
        if slot.expires_at_ms.is_some_and(|at| at <= now.mono_ms) {
            let client_id = Arc::clone(&slot.session.client_id);
            sink.event(Event::Expired {
                client_id: &client_id,
            });
            self.counters().sessions_expired.add(1);
            self.end_session(now, name.index, sink);
            return;
        }
        if slot.will_due_ms.is_some_and(|at| at <= now.mono_ms) {
            slot.will_due_ms = None;
            let is_stored = slot.session.number != 0;
            if let Some(will) = slot.will.take() {
                self.publish_message(now, &will.into_message(now), Some(name), sink);
                if is_stored {
                    self.keep(Change::Session(self.stored_session(name.index)));
                }
            }
        }
        if self.sessions.find_mut(name).is_some() {
            self.schedule(name.index);
        }
    }

    /// A session is over: its will goes out if it still has one, its subscriptions go, and what it did not
    /// acknowledge of shared subscriptions goes to other members.
    pub(super) fn end_session(&mut self, now: Now, index: u32, sink: &mut impl Sink) {
        let mut slot = self.sessions.remove(index);
        debug_assert!(slot.conn.is_none(), "a connected session does not end");
        self.counters().sessions.sub(1);
        self.counters().queued.sub(slot.counted.messages as u64);
        self.counters().queued_bytes.sub(slot.counted.bytes as u64);
        self.counters()
            .queued_memory_bytes
            .sub(slot.counted.memory_bytes as u64);
        self.window_bytes -= slot.counted.window_bytes;
        self.window_bytes_max = self.window_bytes_max_at(self.window_bytes);
        let over = Over::of(&slot);
        self.forget_loose(slot.me, slot.session.number);
        self.leave_router(now, &mut slot);
        let client_id = Arc::clone(&slot.session.client_id);
        if let Some(will) = slot.will.take() {
            self.publish_message(now, &will.into_message(now), Some(slot.me), sink);
        }
        self.pass_on(now, slot, over, sink);
        self.release(&client_id);
    }

    /// What came by shared subscriptions and is not finished: QoS 1, and what was never sent, goes to another
    /// member; QoS 2 that was sent dies with its session [MQTT5-4.8.2-5].
    fn pass_on(&mut self, now: Now, slot: Slot, over: Option<Over>, sink: &mut impl Sink) {
        let lost = slot.session.queued_len();
        let client_id = Arc::clone(&slot.session.client_id);
        let mut passed = 0;
        let mut remains = slot.session.into_remains();
        for queued in std::mem::take(&mut remains.shared) {
            passed += usize::from(self.pass_on_one(now, slot.me, &queued, sink));
        }
        let waits = if over.is_some() { remains.away.len() } else { 0 };
        let lost = lost.saturating_sub(passed + waits) as u64;
        if lost > 0 {
            self.counters().count(Reason::SessionEnded, lost);
            sink.event(Event::Dropped {
                client_id: Some(&client_id),
                topic: None,
                reason: Reason::SessionEnded,
                count: lost,
            });
        }
        if let Some(over) = over {
            self.end_stored(over, remains, sink);
        }
    }

    /// A message that came by a shared subscription goes to another member; `false`: there is no group any more.
    pub(super) fn pass_on_one(
        &mut self,
        now: Now,
        from: SessionRef,
        queued: &Queued,
        sink: &mut impl Sink,
    ) -> bool {
        let filter = queued
            .shared
            .as_deref()
            .and_then(|filter| martlet_codec::Filter::new(filter).ok());
        let group = filter.and_then(|filter| self.shared.router.read().group(filter));
        let Some(group) = group else { return false };
        let mut offer = Offer::kept(&queued.message);
        // Another member may have got it before a crash that forgot about it.
        let is_restored = (1..=self.restored_up_to).contains(&queued.message.number.get());
        offer.resent = queued.resent || is_restored;
        self.deliver_shared(now, &group, &mut offer, vec![from], None, sink);
        true
    }

    /// The output goes out, then the socket is closed.
    pub(super) fn close(&mut self, conn: ConnId, sink: &mut impl Sink) {
        self.wind_up(conn);
        sink.close(conn);
    }

    /// Nothing of a connection is handled any more.
    fn wind_up(&mut self, conn: ConnId) {
        if let Some(connection) = self.connection(conn) {
            connection.phase = Phase::Closing;
            connection.unread = Vec::new();
            connection.waits = false;
            self.mark_dirty(conn);
        }
    }

    /// The broker stops. Wills go out while there are clients who can hear them; as long as state is
    /// memory, each session ends now.
    pub(super) fn stop(&mut self, now: Now, sink: &mut impl Sink) {
        let keeps = self.keeps;
        for index in self.sessions.indices() {
            let slot = self.sessions.get_mut(index);
            if keeps && slot.session.number != 0 {
                continue;
            }
            let name = slot.me;
            if let Some(will) = slot.will.take() {
                self.publish_message(now, &will.into_message(now), Some(name), sink);
            }
        }
    }

    pub(super) fn disconnect_all(&mut self, now: Now, sink: &mut impl Sink) {
        let conns: Vec<_> = self
            .connections
            .iter()
            .map(|(_, connection)| connection.id)
            .collect();
        for conn in conns {
            if self
                .connection(conn)
                .is_some_and(|connection| connection.phase != Phase::Closing)
            {
                self.end(now, conn, Ending::Broker(Reason::ShuttingDown), None, sink);
            }
        }
    }
}
