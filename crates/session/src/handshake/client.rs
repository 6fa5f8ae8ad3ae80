//! The client's side of CONNECT and its answer: what the version changes becomes data here.

use std::num::{NonZeroU16, NonZeroU32};

use martlet_codec::limits::PACKET_BYTES_CEILING;
use martlet_codec::{ConnAck, PropertyId, Qos, ReasonCode, Version};

/// What a client can say in a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speech {
    /// Whether packets have properties, subscriptions more options than a QoS, DISCONNECT a reason.
    pub properties: bool,
    /// Whether the server makes up a client identifier and tells it.
    pub assigned_client_id: bool,
    /// Whether CONNACK says if the server had the session.
    pub session_present: bool,
    /// Whether "clean" in CONNECT says how the session ends as well as how it starts, so that it must be
    /// said in each CONNECT of the session.
    pub clean_is_expiry: bool,
    /// Whether a password can stand without a user name.
    pub lone_password: bool,
}

impl Speech {
    /// What can be said in that version.
    pub const fn of(version: Version) -> Self {
        let v5 = matches!(version, Version::V5);
        Self {
            properties: v5,
            assigned_client_id: v5,
            session_present: !matches!(version, Version::V3_1),
            clean_is_expiry: !v5,
            lone_password: v5,
        }
    }

    /// The number with which a CONNACK of this version says `reason`.
    pub fn connack_code(self, reason: ReasonCode) -> u8 {
        match reason.connack_v3() {
            Some(code) if !self.properties => code,
            _ => reason.as_u8(),
        }
    }
}

/// What holds on one connection after its CONNACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAgreed {
    /// An argument for decoding and encoding, nothing else.
    pub version: Version,
    /// What can be said in it.
    pub speech: Speech,
    /// The keep alive, in seconds; 0 is off. The server's word counts [MQTT5-3.2.2-21].
    pub keep_alive_s: u16,
    /// Unacknowledged messages towards the server, at most.
    pub receive_maximum: u16,
    /// The largest packet that the server takes, in bytes.
    pub packet_bytes_max: u32,
    /// Topic aliases that the server takes.
    pub topic_alias_maximum: u16,
    /// The highest QoS that the server takes.
    pub qos_max: Qos,
    /// Whether the server retains.
    pub retain_available: bool,
    /// Whether filters may have wildcards.
    pub wildcard_available: bool,
    /// Whether subscriptions may have an identifier.
    pub subscription_id_available: bool,
    /// Whether subscriptions may be shared.
    pub shared_available: bool,
}

impl ClientAgreed {
    /// Reads a CONNACK that accepts; what it leaves out has the standard's default.
    pub fn read(version: Version, connack: &ConnAck<'_>, asked_keep_alive_s: u16) -> Self {
        let properties = connack.properties;
        let flag = |id| properties.flag(id).unwrap_or(true);
        Self {
            version,
            speech: Speech::of(version),
            keep_alive_s: properties
                .number(PropertyId::ServerKeepAlive)
                .map_or(asked_keep_alive_s, |n| n as u16),
            receive_maximum: properties.receive_maximum().map_or(u16::MAX, NonZeroU16::get),
            packet_bytes_max: properties
                .maximum_packet_size()
                .map_or(PACKET_BYTES_CEILING, NonZeroU32::get)
                .min(PACKET_BYTES_CEILING),
            topic_alias_maximum: properties.topic_alias_maximum().unwrap_or(0),
            qos_max: properties
                .number(PropertyId::MaximumQos)
                .and_then(|n| Qos::from_u8(n as u8))
                .unwrap_or(Qos::ExactlyOnce),
            retain_available: flag(PropertyId::RetainAvailable),
            wildcard_available: flag(PropertyId::WildcardSubscriptionAvailable),
            subscription_id_available: flag(PropertyId::SubscriptionIdentifierAvailable),
            shared_available: flag(PropertyId::SharedSubscriptionAvailable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use martlet_codec::{Properties, PropertiesBuf};

    #[test]
    fn connack_and_its_defaults() {
        let mut properties = PropertiesBuf::new();
        let read = |properties: Properties<'_>| {
            let connack = ConnAck {
                session_present: false,
                reason: ReasonCode::Success,
                properties,
            };
            ClientAgreed::read(Version::V5, &connack, 60)
        };
        let plain = read(Properties::EMPTY);
        assert_eq!((plain.keep_alive_s, plain.receive_maximum), (60, 65_535));
        assert_eq!((plain.qos_max, plain.topic_alias_maximum), (Qos::ExactlyOnce, 0));
        assert!(plain.retain_available && plain.shared_available);
        properties
            .number(PropertyId::ServerKeepAlive, 5_u32)
            .number(PropertyId::ReceiveMaximum, 2_u32)
            .number(PropertyId::MaximumQos, 0_u32)
            .number(PropertyId::RetainAvailable, 0_u32)
            .number(PropertyId::MaximumPacketSize, 100_u32);
        let told = read(properties.as_properties());
        assert_eq!((told.keep_alive_s, told.receive_maximum), (5, 2));
        assert_eq!((told.qos_max, told.packet_bytes_max), (Qos::AtMostOnce, 100));
        assert!(!told.retain_available);
    }

    #[test]
    fn what_a_version_can_say() {
        assert!(Speech::of(Version::V5).properties && !Speech::of(Version::V5).clean_is_expiry);
        assert!(!Speech::of(Version::V3_1_1).properties && Speech::of(Version::V3_1_1).session_present);
        assert!(!Speech::of(Version::V3_1).session_present);
    }
}
