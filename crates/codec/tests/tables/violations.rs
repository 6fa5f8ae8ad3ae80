//! Bytes, version, violation: each rule that decoding can see broken, broken at least once.

use std::collections::HashSet;

use martlet_codec::Version::{V3_1, V3_1_1, V5};
use martlet_codec::{Fault, Limits, Packet, Version, Violation};

use super::bytes;

/// What is known of the connection when the bytes come.
#[derive(Debug, Clone, Copy)]
enum On {
    /// No CONNECT yet; the fault is told in this version, if in any.
    New(Option<Version>),
    /// All of these.
    Each(&'static [Version]),
}

const NOBODY: On = On::New(None);
const NEW5: On = On::New(Some(V5));
const NEW4: On = On::New(Some(V3_1_1));
const NEW3: On = On::New(Some(V3_1));
const ALL: On = On::Each(&[V3_1, V3_1_1, V5]);
const THREES: On = On::Each(&[V3_1, V3_1_1]);
const FOUR: On = On::Each(&[V3_1_1]);
const FOUR_UP: On = On::Each(&[V3_1_1, V5]);
const FIVE: On = On::Each(&[V5]);

const ROWS: &[(Violation, On, &str)] = &[
    // Opening a connection. Row 1 of the outcomes: not even the first byte, or the name.
    (Violation::NotConnect, NOBODY, "c0"),
    (Violation::NotConnect, NOBODY, "'GET / HTTP/1.1'"),
    (Violation::NotConnect, NOBODY, "f0 00"),
    (
        Violation::ProtocolName,
        NOBODY,
        "10 # 0004 'mqtt' 04 02 003c 0000",
    ),
    (
        Violation::ProtocolName,
        NOBODY,
        "10 # 0005 'MQTTx' 04 02 003c 0000",
    ),
    (Violation::ProtocolName, NOBODY, "10 # 0000 04 02 003c 0000"),
    (Violation::ProtocolLevel, NEW5, "10 # 0004 'MQTT' 02 02 003c 0000"),
    (
        Violation::ProtocolLevel,
        NEW5,
        "10 # 0004 'MQTT' 06 02 003c 00 0000",
    ),
    (
        Violation::ProtocolLevel,
        NEW5,
        "10 # 0004 'MQTT' 85 02 003c 00 0000",
    ),
    (Violation::ProtocolLevel, NEW4, "10 # 0004 'MQTT' 03 02 003c 0000"),
    (
        Violation::ProtocolLevel,
        NEW4,
        "10 # 0006 'MQIsdp' 04 02 003c 0000",
    ),
    (
        Violation::FixedHeaderFlags,
        NEW5,
        "11 # 0004 'MQTT' 05 02 003c 00 0000",
    ),
    (
        Violation::FixedHeaderFlags,
        NEW4,
        "18 # 0004 'MQTT' 04 02 003c 0000",
    ),
    (
        Violation::ConnectFlags,
        NEW5,
        "10 # 0004 'MQTT' 05 03 003c 00 0000",
    ),
    (Violation::ConnectFlags, NEW4, "10 # 0004 'MQTT' 04 03 003c 0000"),
    (
        Violation::WillQos,
        NEW5,
        "10 # 0004 'MQTT' 05 1e 003c 00 0000 00 0001 'w' 0000",
    ),
    (
        Violation::WillQos,
        NEW4,
        "10 # 0004 'MQTT' 04 1e 003c 0000 0001 'w' 0000",
    ),
    (Violation::WillFlags, NEW5, "10 # 0004 'MQTT' 05 0a 003c 00 0000"),
    (Violation::WillFlags, NEW4, "10 # 0004 'MQTT' 04 22 003c 0000"),
    (
        Violation::WillTopic,
        NEW5,
        "10 # 0004 'MQTT' 05 06 003c 00 0000 00 0001 '+' 0000",
    ),
    (
        Violation::WillTopic,
        NEW4,
        "10 # 0004 'MQTT' 04 06 003c 0000 0003 'w/#' 0000",
    ),
    (
        Violation::WillTopicEmpty,
        NEW5,
        "10 # 0004 'MQTT' 05 06 003c 00 0000 00 0000 0000",
    ),
    (
        Violation::BadString,
        NEW5,
        "10 # 0004 'MQTT' 05 06 003c 00 0000 00 0001 00 0000",
    ),
    (
        Violation::PasswordWithoutUserName,
        NEW4,
        "10 # 0004 'MQTT' 04 42 003c 0000 0001 'p'",
    ),
    (
        Violation::PasswordWithoutUserName,
        NEW3,
        "10 # 0006 'MQIsdp' 03 42 003c 0001 'i' 0001 'p'",
    ),
    (
        Violation::ClientIdText,
        NEW5,
        "10 # 0004 'MQTT' 05 02 003c 00 0001 00",
    ),
    (
        Violation::ClientIdText,
        NEW5,
        "10 # 0004 'MQTT' 05 02 003c 00 0003 eda080",
    ),
    (
        Violation::ClientIdText,
        NEW4,
        "10 # 0004 'MQTT' 04 02 003c 0001 1f",
    ),
    (
        Violation::BadString,
        NEW5,
        "10 # 0004 'MQTT' 05 82 003c 00 0000 0001 7f",
    ),
    // Announced and missing; left over.
    (Violation::Truncated, NEW5, "10 # 0004 'MQTT' 05 82 003c 00 0000"),
    (
        Violation::Truncated,
        NEW4,
        "10 # 0004 'MQTT' 04 c2 003c 0000 0001 'u'",
    ),
    (Violation::Truncated, NEW4, "10 # 0004 'MQTT' 04 02 003c"),
    (Violation::Truncated, NOBODY, "10 # 0004 'MQTT'"),
    (Violation::Truncated, NOBODY, "10 00"),
    // A TLS hello reads as a short CONNECT with flags.
    (Violation::Truncated, NOBODY, "16 03 010200"),
    (
        Violation::SurplusBytes,
        NEW5,
        "10 # 0004 'MQTT' 05 02 003c 00 0000 00",
    ),
    (
        Violation::SurplusBytes,
        NEW4,
        "10 # 0004 'MQTT' 04 02 003c 0000 0001 'u'",
    ),
    (Violation::RemainingLength, NOBODY, "10 ffffffff"),
    (
        Violation::RemainingLength,
        NEW5,
        "10 8d00 0004 'MQTT' 05 02 003c 00 0000",
    ),
    (
        Violation::PacketTooLarge,
        NEW5,
        "10 ffffff7f 0004 'MQTT' 05 02 00",
    ),
    (
        Violation::PacketTooLarge,
        NEW4,
        "10 ffffff7f 0004 'MQTT' 04 02 00",
    ),
    (
        Violation::PacketTooLarge,
        NOBODY,
        "10 ffffff7f ffff 'MQTT' 04 02 00",
    ),
    // The first CONNECT's codes are not those of DISCONNECT: whatever else is wrong, it is the second.
    (
        Violation::SecondConnect,
        FIVE,
        "10 # 0004 'mqtt' 05 02 003c 00 0000",
    ),
    (
        Violation::SecondConnect,
        FIVE,
        "10 # 0004 'MQTT' 05 02 003c 00 0001 00",
    ),
    (Violation::SecondConnect, ALL, "10 # 0004 'MQTT' 04 03 003c 0000"),
    // Any packet.
    (Violation::PacketType, ALL, "00 00"),
    (Violation::PacketType, THREES, "f0 00"),
    (Violation::RemainingLength, ALL, "30 80808080 01"),
    (Violation::RemainingLength, FIVE, "c0 8000"),
    (Violation::PacketTooLarge, ALL, "30 ffffff7f"),
    (Violation::PacketTooLarge, FIVE, "82 c09a0c"),
    (Violation::PacketTooLarge, FIVE, "f0 c09a0c"),
    (Violation::PacketTooLarge, FIVE, "40 a09c01"),
    (Violation::FixedHeaderFlags, ALL, "41 02 0001"),
    (Violation::FixedHeaderFlags, ALL, "60 02 0001"),
    (Violation::FixedHeaderFlags, ALL, "80 # 0001 0001 'a' 00"),
    (Violation::FixedHeaderFlags, FOUR_UP, "8a # 0001 0001 'a' 00"),
    (Violation::FixedHeaderFlags, ALL, "a3 # 0001 0001 'a'"),
    (Violation::FixedHeaderFlags, ALL, "c1 00"),
    (Violation::FixedHeaderFlags, ALL, "e8 00"),
    (Violation::FixedHeaderFlags, FIVE, "f2 00"),
    (Violation::SurplusBytes, ALL, "c0 01 00"),
    (Violation::SurplusBytes, THREES, "40 03 0001 00"),
    (Violation::SurplusBytes, THREES, "e0 01 00"),
    (Violation::SurplusBytes, THREES, "b0 03 0001 00"),
    (Violation::SurplusBytes, FIVE, "40 # 0001 00 00 00"),
    (Violation::SurplusBytes, FIVE, "e0 # 00 00 00"),
    (Violation::Truncated, ALL, "30 01 00"),
    (Violation::Truncated, ALL, "30 03 0002 'a'"),
    (Violation::Truncated, ALL, "32 # 0001 'a' 00"),
    (Violation::Truncated, FIVE, "30 # 0001 'a'"),
    (Violation::Truncated, FIVE, "30 # 0001 'a' 05 'x'"),
    (Violation::Truncated, ALL, "40 01 00"),
    (Violation::Truncated, FIVE, "82 # 0001"),
    (Violation::Truncated, THREES, "82 # 0001 0001 'a'"),
    (Violation::Truncated, FIVE, "82 # 0001 00 0001 'a'"),
    (Violation::PacketIdZero, ALL, "32 # 0001 'a' 0000"),
    (Violation::PacketIdZero, ALL, "40 02 0000"),
    (Violation::PacketIdZero, ALL, "82 # 0000 0001 'a' 00"),
    (Violation::PacketIdZero, ALL, "a2 # 0000 0001 'a'"),
    // Properties.
    (Violation::VariableByteInteger, FIVE, "30 # 0001 'a' 8000"),
    (Violation::VariableByteInteger, FIVE, "30 # 0001 'a' ffffffff01"),
    (
        Violation::VariableByteInteger,
        FIVE,
        "82 # 0001 03 0b 8100 0001 'a' 00",
    ),
    (Violation::PropertyUnknown, FIVE, "30 # 0001 'a' 02 04 00"),
    (Violation::PropertyUnknown, FIVE, "30 # 0001 'a' 02 00 00"),
    (Violation::PropertyNotHere, FIVE, "30 # 0001 'a' 03 21 0001"),
    (
        Violation::PropertyNotHere,
        FIVE,
        "82 # 0001 03 23 0001 0001 'a' 00",
    ),
    (
        Violation::PropertyNotHere,
        NEW5,
        "10 # 0004 'MQTT' 05 06 003c 00 0000 05 11 00000000 0001 'w' 0000",
    ),
    (
        Violation::PropertyNotHere,
        NEW5,
        "10 # 0004 'MQTT' 05 02 003c 05 18 00000000 0000",
    ),
    (
        Violation::PropertyTwice,
        NEW5,
        "10 # 0004 'MQTT' 05 02 003c 06 21 0001 21 0001 0000",
    ),
    (
        Violation::PropertyTwice,
        FIVE,
        "82 # 0001 04 0b 01 0b 02 0001 'a' 00",
    ),
    (
        Violation::PropertyTwice,
        FIVE,
        "e0 # 00 08 1f 0001 'a' 1f 0001 'a'",
    ),
    (
        Violation::PropertyValue,
        NEW5,
        "10 # 0004 'MQTT' 05 02 003c 03 21 0000 0000",
    ),
    (
        Violation::PropertyValue,
        NEW5,
        "10 # 0004 'MQTT' 05 02 003c 05 27 00000000 0000",
    ),
    (
        Violation::PropertyValue,
        NEW5,
        "10 # 0004 'MQTT' 05 02 003c 02 17 02 0000",
    ),
    (
        Violation::PropertyValue,
        NEW5,
        "10 # 0004 'MQTT' 05 02 003c 02 19 ff 0000",
    ),
    (Violation::PropertyValue, FIVE, "30 # 0001 'a' 02 01 02"),
    (Violation::PropertyValue, FIVE, "82 # 0001 02 0b 00 0001 'a' 00"),
    (Violation::BadString, FIVE, "30 # 0001 'a' 04 03 0001 ff"),
    (Violation::BadString, FIVE, "30 # 0001 'a' 06 26 0001 00 0000"),
    (Violation::ResponseTopic, FIVE, "30 # 0001 'a' 06 08 0003 'r/+'"),
    (Violation::ResponseTopic, FIVE, "30 # 0001 'a' 03 08 0000"),
    (
        Violation::AuthDataWithoutMethod,
        NEW5,
        "10 # 0004 'MQTT' 05 02 003c 04 16 0001 00 0000",
    ),
    // PUBLISH.
    (Violation::Qos3, ALL, "36 # 0001 'a' 0001"),
    (Violation::DupAtQos0, ALL, "38 # 0001 'a'"),
    (Violation::TopicName, THREES, "30 # 0001 '+'"),
    (Violation::TopicName, FIVE, "30 # 0003 'a/#' 00"),
    (Violation::TopicName, FOUR, "30 # 0002 'a' 00"),
    (Violation::TopicName, FIVE, "30 # 0002 c0af 00"),
    (Violation::TopicEmpty, THREES, "30 # 0000"),
    (Violation::TopicEmpty, FIVE, "30 # 0000 00"),
    (Violation::TopicTooDeep, THREES, "30 # 0005 'a////'"),
    (Violation::TopicTooDeep, FIVE, "30 # 0005 '/////' 00"),
    (Violation::TopicTooDeep, THREES, "82 # 0001 0005 '+////' 00"),
    (Violation::TopicTooDeep, THREES, "a2 # 0001 0005 '////#'"),
    (
        Violation::TopicTooDeep,
        NEW4,
        "10 # 0004 'MQTT' 04 06 003c 0000 0005 'w////' 0000",
    ),
    (Violation::TopicAliasRange, FIVE, "30 # 0001 'a' 03 23 0000"),
    // Acknowledgements.
    (Violation::AckReasonCode, FIVE, "40 03 0001 92"),
    (Violation::AckReasonCode, FIVE, "40 03 0001 03"),
    (Violation::AckReasonCode, FIVE, "62 03 0001 10"),
    (Violation::AckReasonCode, FIVE, "90 # 0001 00 03"),
    (Violation::AckReasonCode, FIVE, "b0 # 0001 00 01"),
    (Violation::AckReasonCode, FIVE, "e0 01 01"),
    (Violation::AckReasonCode, FIVE, "f0 01 80"),
    (Violation::AckReasonCode, FIVE, "20 03 00 8b 00"),
    (Violation::ConnAckFlags, FOUR, "20 02 02 00"),
    (Violation::ConnAckFlags, FIVE, "20 03 80 00 00"),
    // SUBSCRIBE and UNSUBSCRIBE.
    (Violation::NoFilter, FOUR, "82 02 0001"),
    (Violation::NoFilter, FIVE, "82 03 0001 00"),
    (Violation::NoFilter, FOUR, "a2 02 0001"),
    (Violation::NoFilter, FIVE, "a2 03 0001 00"),
    (Violation::TopicFilter, THREES, "82 # 0001 0002 'a+' 00"),
    (Violation::TopicFilter, THREES, "82 # 0001 0003 '#/a' 00"),
    (Violation::TopicFilter, THREES, "82 # 0001 0000 00"),
    (Violation::TopicFilter, FIVE, "82 # 0001 00 0009 '$share//f' 00"),
    (Violation::TopicFilter, FIVE, "82 # 0001 00 0008 '$share/g' 00"),
    (Violation::TopicFilter, FIVE, "82 # 0001 00 000b '$share/g+/f' 00"),
    (Violation::TopicFilter, THREES, "a2 # 0001 0002 'a#'"),
    (Violation::BadString, THREES, "a2 # 0001 0001 ff"),
    (Violation::SubscribeOptions, THREES, "82 # 0001 0001 'a' 03"),
    (Violation::SubscribeOptions, THREES, "82 # 0001 0001 'a' 04"),
    (Violation::SubscribeOptions, FIVE, "82 # 0001 00 0001 'a' 03"),
    (Violation::SubscribeOptions, FIVE, "82 # 0001 00 0001 'a' 30"),
    (Violation::SubscribeOptions, FIVE, "82 # 0001 00 0001 'a' 40"),
    (
        Violation::SharedNoLocal,
        FIVE,
        "82 # 0001 00 000a '$share/g/f' 04",
    ),
];

/// What decoding cannot see, because it takes a session, a limit or a role to see it.
const RAISED_ABOVE: &[Violation] = &[
    Violation::ClientIdTooLong,
    Violation::ClientIdEmpty,
    Violation::Direction,
    Violation::KeepAlive,
    Violation::TopicAliasUnknown,
    Violation::SubscriptionIdInPublish,
    Violation::QosNotSupported,
    Violation::RetainNotSupported,
    Violation::ReceiveMaximum,
    Violation::WrongAck,
    Violation::SessionExpiryFromZero,
    Violation::AuthWithoutMethod,
    Violation::AuthMethodUnknown,
    Violation::SessionPresent,
    Violation::BeforeConnAck,
    Violation::SecondConnAck,
    Violation::ServerExpiry,
];

#[test]
fn each_broken_rule_is_named() {
    let limits = Limits {
        topic_separators_max: 3,
        ..Limits::default()
    };
    for (violation, on, notation) in ROWS {
        let buf = bytes(notation);
        let on_each: Vec<(Option<Version>, Option<Version>)> = match on {
            On::New(told) => vec![(None, *told)],
            On::Each(versions) => versions.iter().map(|v| (Some(*v), Some(*v))).collect(),
        };
        for (known, version) in on_each {
            let expected = Fault {
                violation: *violation,
                version,
            };
            let got = Packet::decode(&buf, known, &limits);
            assert_eq!(got, Err(expected), "{notation} on {on:?}");
        }
    }
}

#[test]
fn every_violation_has_a_row_or_is_raised_above() {
    let seen: HashSet<_> = ROWS.iter().map(|row| row.0).collect();
    for violation in Violation::ALL {
        let above = RAISED_ABOVE.contains(violation);
        assert_ne!(
            seen.contains(violation),
            above,
            "{violation:?}: a row in one of the two tables"
        );
    }
}
