//! Subscriptions of sessions that have ended, on their way out of the router.
//!
//! A session may have a million. They go a slice at a time, so that neither this shard nor those that wait for the
//! router stand still meanwhile; what they still match reaches nobody, as the name of the session is gone.

use std::collections::VecDeque;

use martlet_codec::FilterBuf;
use martlet_session::Now;

use super::Shard;
use crate::router::SessionRef;
use crate::sessions::Slot;
use crate::timers::Timer;

/// Subscriptions that are removed in one go.
const AT_ONCE: usize = 512;

/// How long the next slice waits, so that others have their turn.
const PAUSE_MS: u64 = 1;

/// The subscriptions that are left, by session.
#[derive(Debug, Default)]
pub(super) struct Leaving(VecDeque<(SessionRef, std::vec::IntoIter<FilterBuf>)>);

impl Shard {
    /// The subscriptions of a session that has ended go: at once if they are few.
    pub(super) fn leave_router(&mut self, now: Now, slot: &mut Slot) {
        if slot.subscriptions.is_empty() {
            return;
        }
        let filters: Vec<_> = slot.subscriptions.drain().map(|(filter, _)| filter).collect();
        let is_first = self.leaving.0.is_empty();
        self.leaving.0.push_back((slot.me, filters.into_iter()));
        if is_first {
            self.leave_some(now);
        }
    }

    /// Removes a slice of what is left.
    pub(super) fn leave_some(&mut self, now: Now) {
        let mut router = self.shared.router.write();
        for _ in 0..AT_ONCE {
            let Some((session, filters)) = self.leaving.0.front_mut() else {
                return;
            };
            match filters.next() {
                Some(filter) => {
                    router.unsubscribe(filter.as_filter(), *session);
                }
                None => {
                    self.leaving.0.pop_front();
                }
            }
        }
        drop(router);
        self.timers.add(now.mono_ms + PAUSE_MS, Timer::Leaving);
    }
}

#[cfg(test)]
mod tests {
    use martlet_codec::{
        Filter, Packet, PacketId, Properties, Subscribe, SubscribeOptions, SubscribeRequests, Version,
    };

    use super::*;
    use crate::shard::nowhere::Nowhere;
    use crate::{Input, ListenerRules, MemoryStore, Peer, Seed, Settings, Shared};

    const START: Now = Now {
        mono_ms: 0,
        wall_ms: 0,
    };
    /// CONNECT of version 3.1.1, clean session, keep alive 0.
    const CONNECT: &[u8] = b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01c";

    #[test]
    fn many_subscriptions_of_one_session_leave_a_slice_at_a_time() {
        let settings = Settings {
            sys_interval_ms: None,
            ..Settings::default()
        };
        let shared = Shared::new(settings, vec![ListenerRules::default()], 1, &mut Seed::new(1));
        let mut shard = Shard::new(0, shared, Box::new(MemoryStore), Seed::new(2), START);
        let peer = Peer {
            address: ([127, 0, 0, 1], 1).into(),
            listener: 0,
        };
        let conn = shard.open(START, peer);
        shard.handle(START, Input::Bytes(conn, CONNECT), &mut Nowhere);
        let names: Vec<_> = (0..2 * AT_ONCE + 100).map(|i| format!("a/{i}")).collect();
        let requests: Vec<_> = names
            .iter()
            .map(|name| (Filter::new(name).unwrap(), SubscribeOptions::default()))
            .collect();
        let mut subscribe = Vec::new();
        Packet::Subscribe(Subscribe {
            packet_id: PacketId::MIN,
            properties: Properties::EMPTY,
            requests: SubscribeRequests::List(&requests),
        })
        .encode(Version::V3_1_1, &mut subscribe);
        shard.handle(START, Input::Bytes(conn, &subscribe), &mut Nowhere);
        assert_eq!(shard.shared.router.read().subscriptions(), names.len());

        shard.handle(START, Input::Closed(conn), &mut Nowhere);
        let mut left = Vec::new();
        for mono_ms in 0..5 {
            left.push(shard.shared.router.read().subscriptions());
            let now = Now { mono_ms, wall_ms: 0 };
            shard.handle(now, Input::Time, &mut Nowhere);
        }
        assert_eq!(left, [AT_ONCE + 100, AT_ONCE + 100, 100, 0, 0]);
    }
}
