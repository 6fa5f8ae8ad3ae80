//! The connection of a session: what holds on it, and packets into its output.

use martlet_codec::limits::PACKET_BYTES_CEILING;
use martlet_codec::{
    Address, Delivery, Disconnect, Extras, Packet, PacketId, PropertiesBuf, PropertyId, Publish, Qos,
    ReasonCode, Violation,
};

use super::{Target, Turn};
use crate::alias::Resolved;
use crate::handshake::Agreed;
use crate::message::MessageView;
use crate::received::Owed;
use crate::{AliasesIn, AliasesOut, KeepAlive, Now, Output};

/// The connection of a session, after its CONNACK.
#[derive(Debug)]
pub struct Link {
    /// What holds on it.
    pub agreed: Agreed,
    /// What is to be written.
    pub output: Output,
    /// When the client counts as gone.
    pub keep_alive: KeepAlive,
    /// Whether the log told that the client exceeds our receive maximum: once is enough.
    pub is_warned: bool,
    /// A message was refused to a client that cannot be told: it is closed when all before that was acknowledged, and
    /// what it sends behind it is not taken.
    pub(super) is_refused: bool,
    /// Reason strings of acknowledgements that are owed: few have one.
    pub(super) words: Vec<(Owed, Box<str>)>,
    aliases_in: AliasesIn,
    aliases_out: AliasesOut,
}

impl Link {
    /// A new connection; aliases begin empty [MQTT5-3.3.2-7].
    pub fn new(agreed: Agreed, now: Now) -> Self {
        Self {
            agreed,
            output: Output::default(),
            keep_alive: KeepAlive::new(agreed.keep_alive_s, now.mono_ms),
            is_warned: false,
            is_refused: false,
            words: Vec::new(),
            aliases_in: AliasesIn::new(agreed.alias_in_max),
            aliases_out: AliasesOut::new(agreed.alias_out_max),
        }
    }

    /// The topic name of an incoming PUBLISH.
    pub fn resolve<'a>(&mut self, address: Address<'a>) -> Result<Resolved<'a>, Violation> {
        self.aliases_in.resolve(address)
    }

    /// Appends a packet that the client asked for; reason string and user properties go where they
    /// are not wanted or do not fit.
    pub fn answer(&mut self, packet: &Packet<'_>) {
        // An answer that does not fit even without its words is at most 5 bytes plus its codes: only a
        // client with an absurd limit loses it, and that limit is its own [MQTT5-3.1.2-24].
        let _ = self
            .output
            .packet_within(packet, self.agreed.packet_bytes_max, self.agreed.version);
    }

    /// Appends DISCONNECT where the version has one [MQTT5-3.14.0-1].
    pub fn disconnect(&mut self, reason: ReasonCode, text: Option<&str>) {
        if !self.agreed.can_send_disconnect {
            return;
        }
        let mut properties = PropertiesBuf::new();
        if let Some(text) = text {
            properties.text(PropertyId::ReasonString, text);
        }
        self.answer(&Packet::Disconnect(Disconnect {
            reason,
            properties: properties.as_properties(),
        }));
    }

    /// Appends a PUBLISH. `false`: it is larger than the client takes, and nothing was appended.
    pub(super) fn publish(&mut self, to: &Outgoing<'_>, view: &MessageView<'_>, turn: &mut Turn<'_>) -> bool {
        let mut publish = Publish {
            dup: to.dup,
            retain: to.retain,
            delivery: to.delivery,
            address: Address::Name(view.topic),
            properties: view.properties,
            payload: view.payload,
        };
        let extras = Extras {
            expiry_s: view.expiry_left_s(turn.now),
            subscription_ids: to.subscription_ids,
        };
        let version = self.agreed.version;
        match self.address(&publish, extras) {
            Some(address) => publish.address = address,
            None => return false,
        }
        let shared = view
            .shared
            .filter(|payload| payload.len() >= turn.limits.share_payload_bytes_min);
        self.output.publish(&publish, extras, version, shared);
        turn.tally.sent += 1;
        turn.tally.sent_bytes += view.payload.len() as u64;
        true
    }

    /// Whether the client takes a packet as large as this message makes it.
    pub(super) fn fits(&self, qos: Qos, target: &Target<'_>, view: &MessageView<'_>, now: Now) -> bool {
        let bytes_max = self.agreed.packet_bytes_max;
        if bytes_max >= PACKET_BYTES_CEILING {
            return true;
        }
        let delivery = match qos {
            Qos::AtMostOnce => Delivery::AtMostOnce,
            _ => Delivery::AtLeastOnce(PacketId::MIN),
        };
        let publish = Publish {
            dup: false,
            retain: target.retain,
            delivery,
            address: Address::Name(view.topic),
            properties: view.properties,
            payload: view.payload,
        };
        let extras = Extras {
            expiry_s: view.expiry_left_s(now),
            subscription_ids: target.subscription_ids,
        };
        publish.encoded_len(self.agreed.version, extras) <= bytes_max as usize
    }

    /// The topic name of a packet, or an alias for it; none: the packet is larger than the client takes.
    fn address<'a>(&mut self, publish: &Publish<'a>, extras: Extras<'_>) -> Option<Address<'a>> {
        let Address::Name(topic) = publish.address else {
            return Some(publish.address);
        };
        let bytes_max = self.agreed.packet_bytes_max;
        if bytes_max < PACKET_BYTES_CEILING {
            let len = publish.encoded_len(self.agreed.version, extras);
            // An alias may add three bytes and one to a length.
            if len + 4 > bytes_max as usize {
                return (len <= bytes_max as usize).then_some(publish.address);
            }
        }
        Some(self.aliases_out.address(topic))
    }
}

pub(super) struct Outgoing<'a> {
    pub(super) dup: bool,
    pub(super) retain: bool,
    pub(super) delivery: Delivery,
    pub(super) subscription_ids: &'a [u32],
}
