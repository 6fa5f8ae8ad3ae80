//! The reason codes of MQTT 5.0, and which packet may carry which.

use crate::packet::PacketType;

macro_rules! reason_codes {
    ($( $(#[$doc:meta])* $name:ident = $value:literal, $text:literal, [$($packet:ident)*]; )*) => {
        /// A reason code [MQTT5-3.2.2-8]. Version 3 peers see what the packet's encoding makes of it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum ReasonCode { $( $(#[$doc])* $name = $value, )* }

        /// All codes, in the order of their numbers.
        pub const ALL: &[ReasonCode] = &[ $( ReasonCode::$name, )* ];

        impl ReasonCode {
            /// The code of that number, if there is one.
            pub const fn from_u8(value: u8) -> Option<Self> {
                match value { $( $value => Some(Self::$name), )* _ => None }
            }

            /// The name of the standard, in lower case.
            pub const fn text(self) -> &'static str {
                match self { $( Self::$name => $text, )* }
            }

            const fn packets(self) -> u16 {
                match self { $( Self::$name => 0 $( | PacketType::$packet.bit() )*, )* }
            }
        }
    };
}

reason_codes! {
    /// Success, normal disconnection or granted QoS 0.
    Success = 0x00, "success", [ConnAck PubAck PubRec PubRel PubComp SubAck UnsubAck Auth Disconnect];
    /// Granted QoS 1.
    GrantedQos1 = 0x01, "granted qos 1", [SubAck];
    /// Granted QoS 2.
    GrantedQos2 = 0x02, "granted qos 2", [SubAck];
    /// The client goes and wants its will published.
    DisconnectWithWill = 0x04, "disconnect with will message", [Disconnect];
    /// The message was taken, nobody subscribes to it.
    NoMatchingSubscribers = 0x10, "no matching subscribers", [PubAck PubRec];
    /// There was no such subscription.
    NoSubscriptionExisted = 0x11, "no subscription existed", [UnsubAck];
    /// The authentication goes on.
    ContinueAuthentication = 0x18, "continue authentication", [Auth];
    /// The client authenticates again.
    ReAuthenticate = 0x19, "re-authenticate", [Auth];
    /// A refusal whose reason is not told.
    Unspecified = 0x80, "unspecified error", [ConnAck PubAck PubRec SubAck UnsubAck Disconnect];
    /// The packet cannot be parsed.
    MalformedPacket = 0x81, "malformed packet", [ConnAck Disconnect];
    /// The packet parses but is not allowed here.
    ProtocolError = 0x82, "protocol error", [ConnAck Disconnect];
    /// Valid, but this implementation refuses it.
    ImplementationSpecific = 0x83, "implementation specific error", [ConnAck PubAck PubRec SubAck UnsubAck Disconnect];
    /// The protocol version is not served.
    UnsupportedProtocolVersion = 0x84, "unsupported protocol version", [ConnAck];
    /// The client identifier is not allowed.
    ClientIdentifierNotValid = 0x85, "client identifier not valid", [ConnAck];
    /// Wrong user name or password.
    BadUserNameOrPassword = 0x86, "bad user name or password", [ConnAck];
    /// The client may not do this.
    NotAuthorized = 0x87, "not authorized", [ConnAck PubAck PubRec SubAck UnsubAck Disconnect];
    /// The server cannot be used now.
    ServerUnavailable = 0x88, "server unavailable", [ConnAck];
    /// The server is busy.
    ServerBusy = 0x89, "server busy", [ConnAck Disconnect];
    /// The client is banned.
    Banned = 0x8a, "banned", [ConnAck];
    /// The server stops.
    ServerShuttingDown = 0x8b, "server shutting down", [Disconnect];
    /// The authentication method is not served, or not the one in use.
    BadAuthenticationMethod = 0x8c, "bad authentication method", [ConnAck Disconnect];
    /// Nothing came for 1.5 times the keep alive.
    KeepAliveTimeout = 0x8d, "keep alive timeout", [Disconnect];
    /// Another connection uses this client identifier now.
    SessionTakenOver = 0x8e, "session taken over", [Disconnect];
    /// The filter is well-formed and refused.
    TopicFilterInvalid = 0x8f, "topic filter invalid", [SubAck UnsubAck Disconnect];
    /// The topic name is well-formed and refused.
    TopicNameInvalid = 0x90, "topic name invalid", [ConnAck PubAck PubRec Disconnect];
    /// The packet identifier is in use.
    PacketIdentifierInUse = 0x91, "packet identifier in use", [PubAck PubRec SubAck UnsubAck];
    /// The packet identifier is not known.
    PacketIdentifierNotFound = 0x92, "packet identifier not found", [PubRel PubComp];
    /// More unacknowledged messages than the receive maximum.
    ReceiveMaximumExceeded = 0x93, "receive maximum exceeded", [Disconnect];
    /// A topic alias of 0 or above the maximum.
    TopicAliasInvalid = 0x94, "topic alias invalid", [Disconnect];
    /// The packet is larger than the maximum packet size.
    PacketTooLarge = 0x95, "packet too large", [ConnAck Disconnect];
    /// Too many messages in a time.
    MessageRateTooHigh = 0x96, "message rate too high", [Disconnect];
    /// A quota is used up, or there is no room to take the message.
    QuotaExceeded = 0x97, "quota exceeded", [ConnAck PubAck PubRec SubAck Disconnect];
    /// An administrator closed the connection.
    AdministrativeAction = 0x98, "administrative action", [Disconnect];
    /// The payload is not what its format indicator says.
    PayloadFormatInvalid = 0x99, "payload format invalid", [ConnAck PubAck PubRec Disconnect];
    /// Retained messages are not served.
    RetainNotSupported = 0x9a, "retain not supported", [ConnAck Disconnect];
    /// The QoS is above the maximum.
    QosNotSupported = 0x9b, "qos not supported", [ConnAck Disconnect];
    /// Use another server for now.
    UseAnotherServer = 0x9c, "use another server", [ConnAck Disconnect];
    /// Use another server from now on.
    ServerMoved = 0x9d, "server moved", [ConnAck Disconnect];
    /// Shared subscriptions are not served.
    SharedSubscriptionsNotSupported = 0x9e, "shared subscriptions not supported", [SubAck Disconnect];
    /// Too many connections in a time.
    ConnectionRateExceeded = 0x9f, "connection rate exceeded", [ConnAck Disconnect];
    /// The longest time that this connection was allowed is over.
    MaximumConnectTime = 0xa0, "maximum connect time", [Disconnect];
    /// Subscription identifiers are not served.
    SubscriptionIdentifiersNotSupported = 0xa1, "subscription identifiers not supported", [SubAck Disconnect];
    /// Wildcards in filters are not served.
    WildcardSubscriptionsNotSupported = 0xa2, "wildcard subscriptions not supported", [SubAck Disconnect];
}

impl ReasonCode {
    /// The number on the wire.
    pub const fn as_u8(self) -> u8 {
        self as u8
    }

    /// Whether it says that something failed.
    pub const fn is_error(self) -> bool {
        self as u8 >= 0x80
    }

    /// Whether a packet of that type may carry it [MQTT5-3.4.2-1] [MQTT5-3.14.2-1] and kin.
    pub const fn allowed_in(self, packet: PacketType) -> bool {
        self.packets() & packet.bit() != 0
    }

    /// The code that grants a subscription at that QoS.
    pub const fn granted(qos: crate::Qos) -> Self {
        match qos {
            crate::Qos::AtMostOnce => Self::Success,
            crate::Qos::AtLeastOnce => Self::GrantedQos1,
            crate::Qos::ExactlyOnce => Self::GrantedQos2,
        }
    }

    /// The return code of a version 3 CONNACK; `None` where that version has no word for it and
    /// the connection is closed in silence [MQTT3-3.2.2-6].
    pub const fn connack_v3(self) -> Option<u8> {
        Some(match self {
            Self::Success => 0,
            Self::UnsupportedProtocolVersion => 1,
            Self::ClientIdentifierNotValid => 2,
            Self::ServerUnavailable
            | Self::ServerBusy
            | Self::QuotaExceeded
            | Self::ConnectionRateExceeded => 3,
            Self::BadUserNameOrPassword => 4,
            Self::NotAuthorized | Self::Banned => 5,
            _ => return None,
        })
    }

    /// What the return code of a version 3 CONNACK means.
    pub const fn from_connack_v3(code: u8) -> Self {
        match code {
            0 => Self::Success,
            1 => Self::UnsupportedProtocolVersion,
            2 => Self::ClientIdentifierNotValid,
            3 => Self::ServerUnavailable,
            4 => Self::BadUserNameOrPassword,
            5 => Self::NotAuthorized,
            _ => Self::Unspecified,
        }
    }
}

impl std::fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (0x{:02x})", self.text(), self.as_u8())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip() {
        assert_eq!(ALL.len(), 43);
        for code in ALL {
            assert_eq!(ReasonCode::from_u8(code.as_u8()), Some(*code));
        }
        assert_eq!(ReasonCode::from_u8(0x03), None);
    }

    #[test]
    fn packets_and_their_codes() {
        use PacketType::{ConnAck, Disconnect, PubAck, PubRel, SubAck, UnsubAck};
        assert!(ReasonCode::NoMatchingSubscribers.allowed_in(PubAck));
        // Row 46 of the outcomes: 0x95 is not a code of PUBACK.
        assert!(!ReasonCode::PacketTooLarge.allowed_in(PubAck));
        assert!(!ReasonCode::ServerShuttingDown.allowed_in(ConnAck));
        let count = |packet| ALL.iter().filter(|c| c.allowed_in(packet)).count();
        assert_eq!((count(ConnAck), count(SubAck), count(UnsubAck)), (22, 12, 7));
        assert_eq!((count(PubAck), count(PubRel), count(Disconnect)), (9, 2, 30));
    }
}
