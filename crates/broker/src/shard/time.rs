//! What happens because time passes.

use martlet_session::Now;

use super::{Shard, Sink};
use crate::connection::{ConnId, Phase};
use crate::event::Ending;
use crate::login::Verdict;
use crate::reason::Reason;
use crate::store::Change;
use crate::timers::Timer;
use martlet_codec::Violation;

/// Retained messages that are forgotten in one go; more are left for the next.
const EXPIRE_AT_ONCE: usize = 1_000;

/// How often expired retained messages are looked for when none is known to be due.
const RETAINED_INTERVAL_MS: u64 = 1_000;

/// Entries of timers beyond two for each connection and session. At it: those that count no more are dropped.
const TIMERS_SPARE: usize = 1_024;

impl Shard {
    /// Sessions that ended before their deadline leave an entry behind; not without end.
    pub(super) fn sweep_timers(&mut self) {
        if self.timers.len() <= TIMERS_SPARE + 2 * (self.connections.len() + self.sessions.len()) {
            return;
        }
        let (connections, sessions) = (&self.connections, &self.sessions);
        self.timers.retain(|at_ms, timer| match timer {
            Timer::Connection(conn) => connections
                .get(conn.index as usize)
                .is_some_and(|connection| connection.id == conn && connection.armed.is_at(at_ms)),
            Timer::Session(name) => sessions.find(name).is_some_and(|slot| slot.armed.is_at(at_ms)),
            Timer::Retained | Timer::Sys | Timer::Leaving => true,
        });
    }

    pub(super) fn time(&mut self, now: Now, sink: &mut impl Sink) {
        while let Some((at_ms, timer)) = self.timers.pop_due(now.mono_ms) {
            match timer {
                Timer::Connection(conn) => self.connection_due(now, at_ms, conn, sink),
                Timer::Session(name) => self.session_due(now, at_ms, name, sink),
                Timer::Retained => {
                    let expired = self.shared.retained.expire(now.mono_ms, EXPIRE_AT_ONCE);
                    if self.keeps && !expired.is_empty() {
                        self.keep(Change::Cleared { versions: expired });
                    }
                    let soonest_ms = now.mono_ms + RETAINED_INTERVAL_MS;
                    let next_ms = self.shared.retained.next_expiry_ms().unwrap_or(soonest_ms);
                    self.timers
                        .add(next_ms.clamp(now.mono_ms + 1, soonest_ms), Timer::Retained);
                }
                Timer::Sys => self.sys_due(now, sink),
                Timer::Leaving => self.leave_some(now),
            }
        }
    }

    fn connection_due(&mut self, now: Now, came_up_ms: u64, conn: ConnId, sink: &mut impl Sink) {
        let Some(connection) = self.connection(conn) else {
            return;
        };
        if !connection.armed.came_up(came_up_ms) {
            return;
        }
        let (deadline_ms, ending) = match connection.phase {
            Phase::Opening { deadline_ms } => (Some(deadline_ms), Ending::Broker(Reason::ConnectTimeout)),
            Phase::Checking { deadline_ms } if deadline_ms <= now.mono_ms => {
                return self.login_checked(now, conn, Verdict::Busy, sink);
            }
            Phase::Checking { deadline_ms } => (Some(deadline_ms), Ending::Broker(Reason::LoginsFull)),
            Phase::Live { session } => {
                let link = self.sessions.get(session).session.link.as_ref();
                let deadline_ms = link.and_then(|link| link.keep_alive.deadline_ms());
                (deadline_ms, Ending::Violation(Violation::KeepAlive))
            }
            // Accepted: a keep alive starts with the CONNACK.
            Phase::Accepted { .. } | Phase::Closing => return,
        };
        match deadline_ms {
            Some(at_ms) if at_ms > now.mono_ms => {
                let connection = &mut self.connections[conn.index as usize];
                connection
                    .armed
                    .arm(at_ms, Timer::Connection(conn), &mut self.timers);
            }
            Some(_) => self.end(now, conn, ending, None, sink),
            None => {}
        }
    }

    fn sys_due(&mut self, now: Now, sink: &mut impl Sink) {
        let Some(mut sys) = self.sys.take() else { return };
        for message in sys.update(now, &self.shared) {
            self.publish_message(now, &message, None, sink);
        }
        self.timers.add(sys.next_ms(now), Timer::Sys);
        self.sys = Some(sys);
    }
}

#[cfg(test)]
mod tests {
    use martlet_codec::{Packet, PropertiesBuf, PropertyId};

    use super::*;
    use crate::shard::nowhere::Nowhere;
    use crate::{Input, ListenerRules, MemoryStore, Peer, Seed, Settings, Shared};

    #[test]
    fn sessions_that_end_early_leave_no_timers_behind_without_end() {
        let now = Now {
            mono_ms: 0,
            wall_ms: 0,
        };
        let rules = vec![ListenerRules::default()];
        let shared = Shared::new(Settings::default(), rules, 1, &mut Seed::new(1));
        let mut shard = Shard::new(0, shared, Box::new(MemoryStore), Seed::new(2), now);
        let mut properties = PropertiesBuf::new();
        properties.number(PropertyId::SessionExpiryInterval, 86_400_u32);
        // Level 5, Clean Start, keep alive 0, client identifier "c".
        let mut connect = vec![0x10, 0, 0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 0];
        let encoded = properties.as_properties().as_bytes();
        connect.push(encoded.len() as u8);
        connect.extend_from_slice(encoded);
        connect.extend_from_slice(&[0, 1, b'c']);
        connect[1] = connect.len() as u8 - 2;
        assert!(Packet::decode(&connect, None, &martlet_codec::Limits::NONE).is_ok());
        for _ in 0..10_000 {
            let conn = shard.open(
                now,
                Peer {
                    address: ([127, 0, 0, 1], 1).into(),
                    listener: 0,
                },
            );
            shard.handle(now, Input::Bytes(conn, &connect), &mut Nowhere);
            shard.handle(now, Input::Closed(conn), &mut Nowhere);
        }
        assert_eq!(shard.sessions.len(), 1);
        assert!(
            shard.timers.len() <= TIMERS_SPARE + 8,
            "{} timers",
            shard.timers.len()
        );
    }
}
