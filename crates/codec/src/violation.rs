//! What a peer can do wrong: one row a rule, with the statements it breaks and the answer it gets.
//!
//! Cannot be parsed (truncated, unknown property, bad UTF-8, reserved bits, surplus bytes) is 0x81;
//! parses but is not allowed here is 0x82. Before CONNACK the code goes into CONNACK, later into
//! DISCONNECT; version 3 has no word for most of it and the connection is closed.

use crate::reason_code::ReasonCode;

/// How a version 3 peer learns of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum V3Answer {
    /// The connection is closed without a packet.
    Close,
    /// CONNACK with this return code if there was none yet, then close.
    ConnAck(u8),
}

/// The fixed facts of one violation.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The rule in words, as a log line or a reason string says it.
    pub text: &'static str,
    /// The statements of the standards, for example `MQTT5-3.1.0-1`.
    pub statements: &'static [&'static str],
    /// What a version 5 peer is told.
    pub code: ReasonCode,
    /// What a version 3 peer sees.
    pub v3: V3Answer,
}

macro_rules! violations {
    ($( $(#[$doc:meta])* $name:ident, $code:ident, $v3:expr, $text:literal, [$($id:literal)*]; )*) => {
        /// A rule that a peer broke.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
        #[error("{}", self.text())]
        pub enum Violation { $( #[doc = $text] $(#[$doc])* $name, )* }

        impl Violation {
            /// All violations.
            pub const ALL: &[Self] = &[ $( Self::$name, )* ];

            /// Its row.
            pub const fn row(self) -> &'static Row {
                match self { $(
                    Self::$name => &Row {
                        text: $text,
                        statements: &[$($id),*],
                        code: ReasonCode::$code,
                        v3: $v3,
                    },
                )* }
            }
        }
    };
}

use V3Answer::{Close, ConnAck};

violations! {
    // Opening a connection.
    NotConnect, ProtocolError, Close, "the first packet is not CONNECT", ["MQTT5-3.1.0-1" "MQTT3-3.1.0-1"];
    ProtocolName, UnsupportedProtocolVersion, Close, "the protocol name is neither MQTT nor MQIsdp", ["MQTT5-3.1.2-1" "MQTT3-3.1.2-1"];
    ProtocolLevel, UnsupportedProtocolVersion, ConnAck(1), "the protocol level is not served", ["MQTT5-3.1.2-2" "MQTT3-3.1.2-2"];
    ConnectFlags, MalformedPacket, Close, "the reserved flag of CONNECT is set", ["MQTT5-3.1.2-3" "MQTT3-3.1.2-3"];
    WillQos, MalformedPacket, Close, "the will has QoS 3", ["MQTT5-3.1.2-12" "MQTT3-3.1.2-14"];
    WillFlags, MalformedPacket, Close, "will QoS or will retain is set without a will", ["MQTT5-3.1.2-11" "MQTT5-3.1.2-13" "MQTT3-3.1.2-11" "MQTT3-3.1.2-13" "MQTT3-3.1.2-15"];
    WillTopic, TopicNameInvalid, Close, "the topic of the will is not a topic name", ["MQTT5-3.1.3-11" "MQTT3-3.1.3-10"];
    WillTopicEmpty, ProtocolError, Close, "the topic of the will is empty", ["MQTT5-4.7.3-1" "MQTT3-4.7.3-1"];
    PasswordWithoutUserName, MalformedPacket, Close, "a password without a user name", ["MQTT3-3.1.2-22"];
    ClientIdText, ClientIdentifierNotValid, Close, "the client identifier is not a valid string", ["MQTT5-3.1.3-4" "MQTT3-3.1.3-4"];
    ClientIdTooLong, ClientIdentifierNotValid, ConnAck(2), "the client identifier is longer than the limit", ["MQTT5-3.1.3-8" "MQTT3-3.1.3-9"];
    ClientIdEmpty, ClientIdentifierNotValid, ConnAck(2), "an empty client identifier is not allowed here", ["MQTT5-3.1.3-6" "MQTT5-3.1.3-8" "MQTT3-3.1.3-7" "MQTT3-3.1.3-8"];
    SecondConnect, ProtocolError, Close, "a second CONNECT", ["MQTT5-3.1.0-2" "MQTT3-3.1.0-2"];

    // Any packet.
    RemainingLength, MalformedPacket, Close, "the remaining length has more than four bytes or is not in its shortest form", ["MQTT5-1.5.5-1"];
    VariableByteInteger, MalformedPacket, Close, "a variable byte integer has more than four bytes or is not in its shortest form", ["MQTT5-1.5.5-1"];
    PacketTooLarge, PacketTooLarge, Close, "the packet is larger than the limit", ["MQTT5-3.2.2-15"];
    Truncated, MalformedPacket, Close, "a field runs over the end of the packet", ["MQTT5-4.13.1-1" "MQTT3-4.8.0-1"];
    SurplusBytes, MalformedPacket, Close, "bytes are left over at the end of the packet", ["MQTT5-3.1.4-1" "MQTT3-3.1.4-1"];
    FixedHeaderFlags, MalformedPacket, Close, "reserved flags of the fixed header are set", ["MQTT5-2.1.3-1" "MQTT5-3.6.1-1" "MQTT5-3.8.1-1" "MQTT5-3.10.1-1" "MQTT5-3.14.1-1" "MQTT5-3.15.1-1" "MQTT3-2.2.2-1" "MQTT3-2.2.2-2" "MQTT3-3.6.1-1" "MQTT3-3.8.1-1" "MQTT3-3.10.1-1" "MQTT3-3.14.1-1"];
    PacketType, ProtocolError, Close, "there is no packet of that type in this version", ["MQTT5-4.13.1-1" "MQTT3-4.8.0-1"];
    Direction, ProtocolError, Close, "a packet that only the other side sends", ["MQTT5-4.13.1-1" "MQTT3-4.8.0-1"];
    BadString, MalformedPacket, Close, "a string is not well-formed UTF-8 or has a character that is refused", ["MQTT5-1.5.4-1" "MQTT5-1.5.4-2" "MQTT5-1.5.7-1" "MQTT3-1.5.3-1" "MQTT3-1.5.3-2"];
    PacketIdZero, ProtocolError, Close, "the packet identifier is 0", ["MQTT5-2.2.1-3" "MQTT3-2.3.1-1"];
    KeepAlive, KeepAliveTimeout, Close, "nothing came for one and a half times the keep alive", ["MQTT5-3.1.2-22" "MQTT3-3.1.2-24"];

    // Properties.
    PropertyUnknown, MalformedPacket, Close, "there is no property of that number", ["MQTT5-4.13.1-1"];
    PropertyNotHere, ProtocolError, Close, "a property that does not belong in this packet", ["MQTT5-4.13.1-1"];
    PropertyTwice, ProtocolError, Close, "a property that may stand once stands twice", ["MQTT5-4.13.1-1"];
    PropertyValue, ProtocolError, Close, "a property has a value that is not allowed", ["MQTT5-4.13.1-1"];
    ResponseTopic, ProtocolError, Close, "the response topic is not a topic name", ["MQTT5-3.3.2-13" "MQTT5-3.3.2-14"];
    AuthDataWithoutMethod, ProtocolError, Close, "authentication data without an authentication method", ["MQTT5-4.12.0-5"];

    // PUBLISH.
    Qos3, MalformedPacket, Close, "QoS 3 does not exist", ["MQTT5-3.3.1-4" "MQTT3-3.3.1-4"];
    DupAtQos0, MalformedPacket, Close, "DUP is set on a message of QoS 0", ["MQTT5-3.3.1-2" "MQTT3-3.3.1-2"];
    TopicName, MalformedPacket, Close, "the topic name has a wildcard or a character that is refused", ["MQTT5-3.3.2-1" "MQTT5-3.3.2-2" "MQTT5-4.7.0-1" "MQTT5-4.7.3-2" "MQTT3-3.3.2-1" "MQTT3-3.3.2-2" "MQTT3-4.7.1-1" "MQTT3-4.7.3-2"];
    TopicEmpty, ProtocolError, Close, "the topic name is empty and there is no topic alias", ["MQTT5-4.7.3-1" "MQTT3-4.7.3-1"];
    TopicTooDeep, MalformedPacket, Close, "the topic has more levels than the limit", ["MQTT5-4.13.1-1" "MQTT3-4.8.0-1"];
    TopicAliasRange, TopicAliasInvalid, Close, "the topic alias is 0 or above the maximum", ["MQTT5-3.3.2-8" "MQTT5-3.3.2-9" "MQTT5-3.3.2-11"];
    TopicAliasUnknown, ProtocolError, Close, "the topic alias was never defined on this connection", ["MQTT5-3.3.2-7"];
    SubscriptionIdInPublish, ProtocolError, Close, "a client's PUBLISH has a subscription identifier", ["MQTT5-3.3.4-6"];
    QosNotSupported, QosNotSupported, Close, "the QoS is above the maximum", ["MQTT5-3.2.2-11" "MQTT5-3.2.2-12"];
    RetainNotSupported, RetainNotSupported, Close, "retained messages are not available", ["MQTT5-3.2.2-13" "MQTT5-3.2.2-14"];
    ReceiveMaximum, ReceiveMaximumExceeded, Close, "more unacknowledged messages than the receive maximum", ["MQTT5-3.3.4-7" "MQTT5-3.3.4-9"];

    // Acknowledgements.
    AckReasonCode, ProtocolError, Close, "a reason code that this packet does not have", ["MQTT5-3.4.2-1" "MQTT5-3.5.2-1" "MQTT5-3.6.2-1" "MQTT5-3.7.2-1" "MQTT5-3.9.3-2" "MQTT5-3.11.3-2" "MQTT5-3.14.2-1" "MQTT5-3.15.2-1"];
    WrongAck, ProtocolError, Close, "an acknowledgement that does not belong to this message's QoS or step", ["MQTT5-4.3.3-4" "MQTT3-4.3.3-1"];

    // SUBSCRIBE and UNSUBSCRIBE.
    NoFilter, ProtocolError, Close, "no topic filter", ["MQTT5-3.8.3-2" "MQTT5-3.10.3-2" "MQTT3-3.8.3-3" "MQTT3-3.10.3-2"];
    TopicFilter, MalformedPacket, Close, "a topic filter is not valid", ["MQTT5-4.7.1-1" "MQTT5-4.7.1-2" "MQTT5-4.8.2-1" "MQTT5-4.8.2-2" "MQTT5-3.8.3-1" "MQTT5-3.10.3-1" "MQTT3-4.7.1-2" "MQTT3-4.7.1-3" "MQTT3-3.8.3-1" "MQTT3-3.10.3-1"];
    SubscribeOptions, MalformedPacket, Close, "subscription options with QoS 3, retain handling 3 or reserved bits", ["MQTT5-3.8.3-5" "MQTT3-3.8.3-4"];
    SharedNoLocal, ProtocolError, Close, "no local on a shared subscription", ["MQTT5-3.8.3-4"];

    // DISCONNECT and AUTH.
    SessionExpiryFromZero, ProtocolError, Close, "DISCONNECT sets a session expiry though CONNECT had none", ["MQTT5-3.1.2-23"];
    AuthWithoutMethod, ProtocolError, Close, "AUTH though CONNECT named no authentication method", ["MQTT5-4.12.0-7"];
    AuthMethodUnknown, BadAuthenticationMethod, Close, "the authentication method is not served", ["MQTT5-4.12.0-1"];

    // What only a server can do wrong.
    ConnAckFlags, MalformedPacket, Close, "reserved flags of CONNACK are set", ["MQTT5-3.2.2-1"];
    SessionPresent, ProtocolError, Close, "session present though there is no session here, or in a refusal", ["MQTT5-3.2.2-4" "MQTT5-3.2.2-6" "MQTT3-3.2.2-4"];
    BeforeConnAck, ProtocolError, Close, "a packet before CONNACK", ["MQTT5-3.2.0-1" "MQTT3-3.2.0-1"];
    SecondConnAck, ProtocolError, Close, "a second CONNACK", ["MQTT5-3.2.0-2"];
    ServerExpiry, ProtocolError, Close, "the server's DISCONNECT has a session expiry", ["MQTT5-3.14.2-2"];
}

impl Violation {
    /// The rule in words.
    pub const fn text(self) -> &'static str {
        self.row().text
    }

    /// What a version 5 peer is told.
    pub const fn code(self) -> ReasonCode {
        self.row().code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_violation_names_its_rule() {
        for violation in Violation::ALL {
            let row = violation.row();
            assert!(!row.statements.is_empty(), "{violation:?}");
            assert!(row.code.is_error(), "{violation:?}");
            assert!(!row.text.ends_with('.'), "{violation:?}");
        }
    }
}
