//! Who a client is, before anything is touched that belongs to anybody.
//!
//! A CONNECT with a user and a password is handed out to be checked, and stays unread as long: when the verdict comes,
//! it is handled as if it came now. What the client sends behind it waits as well.

use std::sync::atomic::Ordering;

use martlet_codec::Connect;
use martlet_session::Now;

use super::incoming::Flow;
use super::{Shard, Sink};
use crate::connection::{ConnId, Phase};
use crate::event::Ending;
use crate::login::{Known, Login, Revoked, Verdict};
use crate::reason::Reason;

impl Shard {
    /// Whether the client may come in; if not, or not yet, what to do with its CONNECT.
    pub(super) fn log_in(
        &mut self,
        now: Now,
        conn: ConnId,
        connect: &Connect<'_>,
        sink: &mut impl Sink,
    ) -> Option<Flow> {
        let connection = &mut self.connections[conn.index as usize];
        let listener = connection.peer.listener;
        let rules = &self.shared.listeners[usize::from(listener)];
        if rules.user_from_certificate {
            // It is who its certificate says, whatever CONNECT says.
            let is_known = connection.identity.is_some();
            return (!is_known).then(|| self.deny_login(conn, connect, Reason::NoIdentity, sink));
        }
        let Some(user_name) = connect.user_name else {
            let denied = !rules.allow_anonymous;
            return denied.then(|| self.deny_login(conn, connect, Reason::NoCredentials, sink));
        };
        if !rules.has_users {
            // Where nobody is known a name says nothing.
            let denied = !rules.allow_anonymous;
            return denied.then(|| self.deny_login(conn, connect, Reason::UnknownUser, sink));
        }
        match connection.login.take().map(|known| *known) {
            Some(Known::Verdict(Verdict::Accepted { generation })) => {
                connection.login = Some(Box::new(Known::User(user_name.into(), generation)));
                None
            }
            Some(Known::Verdict(Verdict::UnknownUser)) => {
                Some(self.deny_login(conn, connect, Reason::UnknownUser, sink))
            }
            Some(Known::Verdict(Verdict::WrongPassword)) => {
                Some(self.deny_login(conn, connect, Reason::WrongPassword, sink))
            }
            Some(Known::Verdict(Verdict::Busy)) => {
                Some(self.refuse_for(conn, connect, Reason::LoginsFull, sink))
            }
            Some(Known::User(..)) | None => Some(self.ask(now, conn, connect, user_name, sink)),
        }
    }

    /// Hands the login out, unless there is nothing to check or nobody to do it.
    fn ask(
        &mut self,
        now: Now,
        conn: ConnId,
        connect: &Connect<'_>,
        user_name: &str,
        sink: &mut impl Sink,
    ) -> Flow {
        let Some(password) = connect.password else {
            return self.deny_login(conn, connect, Reason::NoCredentials, sink);
        };
        let connection = &mut self.connections[conn.index as usize];
        let login = Login {
            listener: connection.peer.listener,
            user_name,
            password,
        };
        if !sink.check_login(conn, login) {
            return self.refuse_for(conn, connect, Reason::LoginsFull, sink);
        }
        let deadline_ms = now.mono_ms + self.shared.settings.connect_timeout_ms;
        connection.phase = Phase::Checking { deadline_ms };
        Flow::Wait
    }

    /// A login was checked. The connection may be gone by now, or another one.
    pub(super) fn login_checked(&mut self, now: Now, conn: ConnId, verdict: Verdict, sink: &mut impl Sink) {
        let Some(connection) = self.connection(conn) else {
            return;
        };
        let Phase::Checking { deadline_ms } = connection.phase else {
            return;
        };
        connection.phase = Phase::Opening { deadline_ms };
        connection.login = Some(Box::new(Known::Verdict(verdict)));
        self.resume(now, conn, sink);
    }

    /// A connection came from another shard, which has checked its login. That holds as long as the users are those
    /// that it was checked by; else it is checked again.
    pub fn vouch(&mut self, conn: ConnId, generation: u64) {
        let is_current = self.shared.users_generation.load(Ordering::Acquire) == generation;
        if let Some(connection) = self.connection(conn).filter(|_| is_current) {
            connection.login = Some(Box::new(Known::Verdict(Verdict::Accepted { generation })));
        }
    }

    /// Closes whoever came in as a user who is gone, or has another password.
    pub(super) fn revoke(&mut self, now: Now, revoked: &Revoked, sink: &mut impl Sink) {
        let concerned: Vec<ConnId> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.session().is_some())
            .filter(|(_, connection)| match connection.login.as_deref() {
                Some(Known::User(user, _)) => revoked.concerns(connection.peer.listener, user),
                _ => false,
            })
            .map(|(_, connection)| connection.id)
            .collect();
        for conn in concerned {
            self.end(now, conn, Ending::Broker(Reason::UserChanged), None, sink);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use martlet_codec::{Packet, Properties, ReasonCode, Version};

    use super::*;
    use crate::shard::Relocated;
    use crate::{Event, Input, ListenerRules, MemoryStore, Parcels, Peer, Seed, Settings, Shared};

    const NOW: Now = Now {
        mono_ms: 1_000,
        wall_ms: 1_000,
    };

    /// What shards did.
    #[derive(Default)]
    struct Seen {
        asked: Vec<(ConnId, String)>,
        closed: Vec<ConnId>,
        relocated: Vec<Relocated>,
    }

    impl Sink for Seen {
        fn close(&mut self, conn: ConnId) {
            self.closed.push(conn);
        }
        fn relocate(&mut self, _: ConnId, _: u16, relocated: Relocated) {
            self.relocated.push(relocated);
        }
        fn check_login(&mut self, conn: ConnId, login: Login<'_>) -> bool {
            self.asked.push((conn, login.user_name.to_owned()));
            true
        }
        fn has_room(&self, _: u16) -> bool {
            true
        }
        fn parcels(&mut self, _: u16) -> &mut Parcels {
            unreachable!("nothing is published")
        }
        fn event(&mut self, _: Event<'_>) {}
    }

    fn shards() -> (Arc<Shared>, [Shard; 2]) {
        let rules = || ListenerRules {
            allow_anonymous: false,
            has_users: true,
            ..ListenerRules::default()
        };
        let shared = Shared::new(Settings::default(), vec![rules(), rules()], 2, &mut Seed::new(1));
        let shard = |index| {
            Shard::new(
                index,
                Arc::clone(&shared),
                Box::new(MemoryStore),
                Seed::new(2),
                NOW,
            )
        };
        let shards = [shard(0), shard(1)];
        (shared, shards)
    }

    fn connect(id: &str, user_name: &str) -> Vec<u8> {
        let connect = Connect {
            version: Version::V5,
            bridge: false,
            clean_start: true,
            keep_alive_s: 0,
            client_id: id,
            will: None,
            user_name: Some(user_name),
            password: Some(b"secret"),
            properties: Properties::EMPTY,
        };
        let mut bytes = Vec::new();
        Packet::Connect(connect).encode(Version::V5, &mut bytes);
        bytes
    }

    const fn peer(listener: u16) -> Peer {
        Peer {
            address: crate::connection::Address::Internet(core::net::SocketAddr::new(
                core::net::IpAddr::V4(core::net::Ipv4Addr::LOCALHOST),
                1,
            )),
            listener,
        }
    }

    const ACCEPTED: Verdict = Verdict::Accepted { generation: 0 };

    /// A client that is let in as that user.
    fn client(shard: &mut Shard, seen: &mut Seen, listener: u16, id: &str, user: &str) -> ConnId {
        let conn = shard.open(NOW, peer(listener));
        shard.handle(NOW, Input::Bytes(conn, &connect(id, user)), seen);
        assert_eq!(seen.asked.pop(), Some((conn, user.to_owned())));
        shard.handle(NOW, Input::Login(conn, ACCEPTED), seen);
        conn
    }

    /// The last packet of a connection.
    fn last(shard: &Shard, conn: ConnId) -> Vec<u8> {
        let mut slices = [std::io::IoSlice::new(&[]); 16];
        let output = shard.output(conn).expect("it is there");
        let count = output.slices(&mut slices);
        slices[..count]
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .collect()
    }

    #[test]
    fn who_is_gone_or_changed_is_closed_and_nobody_else() {
        let (_, [mut shard, _]) = shards();
        let mut seen = Seen::default();
        let gone = client(&mut shard, &mut seen, 0, "a", "alice");
        let stays = client(&mut shard, &mut seen, 0, "b", "bob");
        let elsewhere = client(&mut shard, &mut seen, 1, "c", "alice");
        let waits = shard.open(NOW, peer(0));
        shard.handle(NOW, Input::Bytes(waits, &connect("d", "alice")), &mut seen);
        let revoked = Revoked {
            listeners: vec![0],
            users: vec!["alice".into(), "carol".into()],
        };
        shard.handle(NOW, Input::Revoked(&revoked), &mut seen);
        assert_eq!(seen.closed, [gone]);
        let bytes = last(&shard, gone);
        let at = bytes.len() - usize::from(bytes[bytes.iter().rposition(|byte| *byte == 0xe0).unwrap() + 1]);
        assert_eq!(bytes[at], ReasonCode::NotAuthorized.as_u8(), "{bytes:02x?}");
        for conn in [stays, elsewhere, waits] {
            assert!(shard.wants_read(conn), "{conn:?}");
        }
    }

    #[test]
    fn a_verdict_for_a_connection_that_is_gone_is_nobodys() {
        let (_, [mut shard, _]) = shards();
        let mut seen = Seen::default();
        let gone = shard.open(NOW, peer(0));
        shard.handle(NOW, Input::Bytes(gone, &connect("a", "alice")), &mut seen);
        shard.handle(NOW, Input::Closed(gone), &mut seen);
        let next = shard.open(NOW, peer(0));
        assert_eq!(next.index, gone.index);
        shard.handle(NOW, Input::Login(gone, ACCEPTED), &mut seen);
        shard.handle(NOW, Input::Login(next, ACCEPTED), &mut seen);
        assert!(shard.output(next).is_none_or(martlet_session::Output::is_empty));
        // And one that comes twice changes nothing.
        shard.handle(NOW, Input::Bytes(next, &connect("a", "bob")), &mut seen);
        assert_eq!(seen.asked.len(), 2);
        shard.handle(NOW, Input::Login(next, Verdict::WrongPassword), &mut seen);
        shard.handle(NOW, Input::Login(next, ACCEPTED), &mut seen);
        assert_eq!(seen.closed, [gone, next]);
    }

    #[test]
    fn who_moves_to_another_shard_is_checked_once_unless_users_changed_meanwhile() {
        let (shared, [mut here, mut there]) = shards();
        let mut seen = Seen::default();
        client(&mut there, &mut seen, 0, "a", "alice");
        client(&mut here, &mut seen, 0, "a", "alice");
        let moved = seen.relocated.pop().expect("its session is there");
        assert_eq!(moved.vouched, Some(0));
        let mut arrive = |seen: &mut Seen| {
            let conn = there.open(NOW, moved.peer);
            there.vouch(conn, moved.vouched.expect("it was checked"));
            there.handle(NOW, Input::Bytes(conn, &moved.unread), seen);
            there.output(conn).is_some_and(|output| !output.is_empty())
        };
        assert!(arrive(&mut seen));
        assert_eq!(seen.asked.len(), 0);
        shared.users_generation.store(1, Ordering::Release);
        assert!(!arrive(&mut seen), "it must be checked again");
        assert_eq!(seen.asked.len(), 1);
    }

    #[test]
    fn what_is_sent_while_a_login_is_checked_is_bounded() {
        let (_, [mut shard, _]) = shards();
        let mut seen = Seen::default();
        let conn = shard.open(NOW, peer(0));
        shard.handle(NOW, Input::Bytes(conn, &connect("a", "alice")), &mut seen);
        assert!(shard.wants_read(conn));
        shard.handle(NOW, Input::Bytes(conn, &[0xc0, 0].repeat(16_384)), &mut seen);
        assert!(!shard.wants_read(conn));
        shard.handle(NOW, Input::Login(conn, ACCEPTED), &mut seen);
        assert!(shard.wants_read(conn));
        assert!(last(&shard, conn).len() > 2 * 16_384, "each ping is answered");
    }
}
