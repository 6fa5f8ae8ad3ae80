//! The connections of one stored session.

use std::time::Instant;

use martlet_codec::{
    Connect, Disconnect, Packet, PacketId, Properties, PropertiesBuf, PropertyId, Qos, ReasonCode, Topic,
    Version,
};

use crate::fault::{Checked, Fault};
use crate::limits::{EXPIRY_S, IDS_MAX};
use crate::link::{Came, Link};
use crate::scene::Scene;

/// Whether the broker has the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stored {
    No,
    /// CONNECT is sent, CONNACK has not come.
    Unsure,
    /// CONNACK came: from now on it must be there.
    Yes,
}

/// A will as CONNECT carries it.
#[derive(Debug, Clone)]
pub(crate) struct Will {
    pub(crate) topic: &'static str,
    pub(crate) payload: String,
    pub(crate) qos: Qos,
    pub(crate) delay_s: u32,
}

/// A session that is kept for longer than the run, and its connection if it has one.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: String,
    version: Version,
    /// How many messages it takes at once.
    pub(crate) receive_max: u16,
    /// How many the broker takes at once.
    pub(crate) send_max: u16,
    /// When it connects next.
    pub(crate) connects_at: Instant,
    /// The number of its connection among all of the run.
    pub(crate) connection: u32,
    stored: Stored,
    link: Option<Link>,
    is_on: bool,
    told: Option<ReasonCode>,
    next_id: u16,
}

impl Session {
    pub(crate) fn new(id: &str, version: Version, receive_max: u16) -> Self {
        Self {
            id: id.to_owned(),
            version,
            receive_max,
            send_max: u16::MAX,
            connects_at: Instant::now(),
            connection: 0,
            stored: Stored::No,
            link: None,
            is_on: false,
            told: None,
            next_id: 0,
        }
    }

    pub(crate) fn is_v5(&self) -> bool {
        self.version == Version::V5
    }

    /// Whether CONNACK has come on this connection.
    pub(crate) const fn is_on(&self) -> bool {
        self.is_on
    }

    /// Whether there is a socket.
    pub(crate) const fn is_open(&self) -> bool {
        self.link.is_some()
    }

    /// Sends CONNECT, which does not ask for a clean start.
    pub(crate) fn connect(&mut self, will: Option<&Will>, scene: &mut Scene) {
        let Some(mut link) = Link::open(scene.port, self.version) else {
            return;
        };
        scene.connections += 1;
        self.connection = scene.connections;
        self.told = None;
        let mut properties = PropertiesBuf::new();
        let mut will_properties = PropertiesBuf::new();
        if self.is_v5() {
            properties.number(PropertyId::SessionExpiryInterval, EXPIRY_S);
            properties.number(PropertyId::ReceiveMaximum, self.receive_max);
            if let Some(will) = will {
                will_properties.number(PropertyId::WillDelayInterval, will.delay_s);
            }
        }
        link.send(&Packet::Connect(Connect {
            version: self.version,
            bridge: false,
            clean_start: false,
            keep_alive_s: 0,
            client_id: &self.id,
            will: will.map(|will| martlet_codec::Will {
                topic: Topic::new(will.topic).expect("a topic"),
                payload: will.payload.as_bytes(),
                qos: will.qos,
                retain: false,
                properties: will_properties.as_properties(),
            }),
            user_name: None,
            password: None,
            properties: properties.as_properties(),
        }));
        link.flush();
        scene.ledger.connection(
            &self.id,
            &format!("sends CONNECT on connection {}", self.connection),
        );
        if self.stored == Stored::No {
            self.stored = Stored::Unsure;
        }
        self.link = Some(link);
    }

    /// The next packet, if it is there. CONNACK is checked, an end is kept for the scene.
    pub(crate) fn next(&mut self, scene: &mut Scene) -> Checked<Option<Came>> {
        let Some(link) = &mut self.link else {
            return Ok(None);
        };
        let came = link.next().map_err(|fault| fault.and(&self.id))?;
        match &came {
            None => return Ok(None),
            Some(Came::ConnAck {
                reason,
                present,
                receive_max,
            }) => {
                self.connected(*reason, *present)?;
                scene.ledger.connection(&self.id, "got CONNACK");
                scene.ledger.counts.present += u64::from(*present);
                self.send_max = *receive_max;
            }
            Some(Came::Disconnect(reason)) => self.told = Some(*reason),
            Some(Came::Closed) => {
                let told = self.told.map_or_else(String::new, |told| format!(", {told:?}"));
                scene.closed.push(format!("{}{told}", self.id));
                scene.ledger.connection(&self.id, "was closed");
                self.drop_link();
            }
            Some(_) => {}
        }
        scene.packets += 1;
        Ok(came)
    }

    fn connected(&mut self, reason: ReasonCode, present: bool) -> Checked {
        let id = &self.id;
        if reason != ReasonCode::Success {
            return Err(Fault::new(format!("{id} is not let in: {reason:?}")));
        }
        match (self.stored, present) {
            (Stored::Yes, false) => {
                return Err(Fault::new(format!(
                    "the session of {id} was acknowledged and is gone"
                )));
            }
            (Stored::No, true) => return Err(Fault::new(format!("{id} has a session that it never had"))),
            _ => {}
        }
        self.stored = Stored::Yes;
        self.is_on = true;
        Ok(())
    }

    /// Sends a packet, if there is a connection.
    pub(crate) fn send(&mut self, packet: &Packet<'_>) {
        if let Some(link) = &mut self.link {
            link.send(packet);
        }
    }

    /// Writes what waits.
    pub(crate) fn flush(&mut self) {
        if let Some(link) = &mut self.link {
            link.flush();
        }
    }

    /// Ends the connection, with a DISCONNECT if a reason is given.
    pub(crate) fn leave(&mut self, reason: Option<ReasonCode>) {
        if let (Some(reason), Some(link)) = (reason, &mut self.link) {
            link.send(&Packet::Disconnect(Disconnect {
                reason,
                properties: Properties::EMPTY,
            }));
            link.flush();
        }
        self.drop_link();
    }

    /// Closes the socket; what came before is still read.
    pub(crate) fn cut(&self) {
        if let Some(link) = &self.link {
            link.cut();
        }
    }

    fn drop_link(&mut self) {
        self.link = None;
        self.is_on = false;
    }

    /// An identifier that nothing uses.
    pub(crate) fn id(&mut self, is_used: impl Fn(PacketId) -> bool) -> PacketId {
        loop {
            self.next_id = self.next_id % IDS_MAX + 1;
            let id = PacketId::new(self.next_id).expect("never 0");
            if !is_used(id) {
                return id;
            }
        }
    }
}
