//! Wills: what is published when a connection is lost.

use std::sync::Arc;

use martlet_codec::{Connect, PropertyId};
use martlet_session::{Message, Now, message};

use crate::connection::ClientId;

/// A will as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredWill {
    /// The message; when it expires is counted from its publication.
    pub message: Arc<Message>,
    /// How long it lives then.
    pub expiry_s: Option<u32>,
    /// How long it waits once the connection is lost.
    pub delay_ms: u64,
}

/// The will of a session.
#[derive(Debug)]
pub(crate) struct Will {
    message: Message,
    /// Counted from publication, not from CONNECT.
    expiry_s: Option<u32>,
    pub(crate) delay_ms: u64,
}

impl Will {
    pub(crate) fn of(connect: &Connect<'_>, client_id: &ClientId) -> Option<Self> {
        let will = connect.will.as_ref()?;
        let (message, expiry_s) = Message::of_will(will, Arc::clone(client_id));
        let delay_s = will.properties.number(PropertyId::WillDelayInterval).unwrap_or(0);
        Some(Self {
            message,
            expiry_s,
            delay_ms: u64::from(delay_s) * 1_000,
        })
    }

    /// What a store must keep of it.
    pub(crate) fn to_stored(&self) -> StoredWill {
        StoredWill {
            message: Arc::new(self.message.clone()),
            expiry_s: self.expiry_s,
            delay_ms: self.delay_ms,
        }
    }

    pub(crate) fn of_stored(stored: &StoredWill) -> Self {
        Self {
            message: (*stored.message).clone(),
            expiry_s: stored.expiry_s,
            delay_ms: stored.delay_ms,
        }
    }

    pub(crate) fn into_message(self, now: Now) -> Message {
        Message {
            expires_at_ms: message::expires_at_ms(self.expiry_s, now),
            ..self.message
        }
    }
}
