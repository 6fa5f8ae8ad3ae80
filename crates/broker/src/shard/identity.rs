//! Clients whose name is in their certificate.

use martlet_codec::Connect;
use martlet_session::handshake;

use super::incoming::Flow;
use super::{Shard, Sink};
use crate::connection::ConnId;
use crate::event::Event;
use crate::reason::Reason;

impl Shard {
    /// Tells who a connection is by its certificate. Comes before its first byte.
    pub fn identify(&mut self, conn: ConnId, identity: Option<Box<str>>) {
        let connection = self.connections.get_mut(conn.index as usize);
        if let Some(connection) = connection.filter(|connection| connection.id == conn) {
            connection.identity = identity;
        }
    }

    pub(super) fn identity(&self, conn: ConnId) -> Option<&str> {
        self.connections[conn.index as usize].identity.as_deref()
    }

    /// At this listener the certificate says who a client is, and this one's says nothing.
    pub(super) fn deny_unidentified(
        &mut self,
        conn: ConnId,
        connect: &Connect<'_>,
        sink: &mut impl Sink,
    ) -> Flow {
        let reason = Reason::NoIdentity;
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
}
