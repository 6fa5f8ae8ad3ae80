//! What happens because time passes.

use std::sync::Arc;

use martlet_session::Now;

use super::{Shard, Sink};
use crate::connection::{ConnId, Phase};
use crate::event::Ending;
use crate::reason::Reason;
use crate::timers::Timer;
use martlet_codec::Violation;

/// Retained messages that are forgotten in one go; more are left for the next.
const EXPIRE_AT_ONCE: usize = 1_000;

/// How often expired retained messages are looked for when none is known to be due.
const RETAINED_INTERVAL_MS: u64 = 1_000;

impl Shard {
    pub(super) fn time(&mut self, now: Now, sink: &mut impl Sink) {
        while let Some((at_ms, timer)) = self.timers.pop_due(now.mono_ms) {
            match timer {
                Timer::Connection(conn) => self.connection_due(now, at_ms, conn, sink),
                Timer::Session(name) => self.session_due(now, at_ms, name, sink),
                Timer::Retained => {
                    self.shared.retained.expire(now.mono_ms, EXPIRE_AT_ONCE);
                    let soonest_ms = now.mono_ms + RETAINED_INTERVAL_MS;
                    let next_ms = self.shared.retained.next_expiry_ms().unwrap_or(soonest_ms);
                    self.timers
                        .add(next_ms.clamp(now.mono_ms + 1, soonest_ms), Timer::Retained);
                }
                Timer::Sys => self.sys_due(now, sink),
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
            self.publish_message(now, &Arc::new(message), None, sink);
        }
        self.timers.add(sys.next_ms(now), Timer::Sys);
        self.sys = Some(sys);
    }
}
