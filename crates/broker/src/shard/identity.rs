//! Clients whose name is in their certificate.

use super::Shard;
use crate::connection::ConnId;

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
}
