//! Bytes, version, packet. Each row is read in both directions, unless it says that there is a shorter form.

use std::num::NonZeroU16;

use martlet_codec::Version::{V3_1, V3_1_1, V5};
use martlet_codec::{
    Ack, Address, Auth, ConnAck, Connect, Decoded, Delivery, Disconnect, Filter, Filters, Limits, Packet,
    PacketId, Properties, PropertiesBuf, PropertyId, Publish, Qos, ReasonCode, ReasonCodes, RetainHandling,
    SubAck, Subscribe, SubscribeOptions, SubscribeRequests, Topic, UnsubAck, Unsubscribe, Value, Version,
    Will,
};

use super::bytes;

const ID: PacketId = NonZeroU16::new(0x0102).unwrap();
const NONE: Properties<'static> = Properties::EMPTY;

fn decode(buf: &[u8], version: Option<Version>) -> Packet<'_> {
    match Packet::decode(buf, version, &Limits::default()) {
        Ok(Decoded::Packet(packet, n)) if n == buf.len() => packet,
        other => panic!("{buf:x?} in {version:?}: {other:?}"),
    }
}

/// The row holds in both directions.
fn same(version: Version, notation: &str, packet: Packet<'_>) {
    reads(version, notation, packet);
    let mut out = Vec::new();
    packet.encode(version, &mut out);
    assert_eq!(out, bytes(notation), "{packet:?} in {version}");
}

/// The row holds in one direction: its sender could have said it more shortly, or may not say it.
fn reads(version: Version, notation: &str, packet: Packet<'_>) {
    let known = (!matches!(packet, Packet::Connect(_))).then_some(version);
    assert_eq!(decode(&bytes(notation), known), packet, "{notation} in {version}");
}

fn properties(list: &[(PropertyId, Value<'_>)]) -> PropertiesBuf {
    let mut buf = PropertiesBuf::new();
    for (id, value) in list {
        buf.push(*id, *value);
    }
    buf
}

const fn connect(version: Version) -> Connect<'static> {
    Connect {
        version,
        bridge: false,
        clean_start: true,
        keep_alive_s: 60,
        client_id: "ab",
        will: None,
        user_name: None,
        password: None,
        properties: NONE,
    }
}

#[test]
fn connect_in_each_version() {
    same(
        V3_1,
        "10 # 0006 'MQIsdp' 03 02 003c 0002 'ab'",
        Packet::Connect(connect(V3_1)),
    );
    same(
        V3_1_1,
        "10 # 0004 'MQTT' 04 02 003c 0002 'ab'",
        Packet::Connect(connect(V3_1_1)),
    );
    same(
        V5,
        "10 # 0004 'MQTT' 05 02 003c 00 0002 'ab'",
        Packet::Connect(connect(V5)),
    );
    let bridge = Connect {
        bridge: true,
        clean_start: false,
        ..connect(V3_1_1)
    };
    same(
        V3_1_1,
        "10 # 0004 'MQTT' 84 00 003c 0002 'ab'",
        Packet::Connect(bridge),
    );
    let empty = Connect {
        client_id: "",
        ..connect(V3_1_1)
    };
    same(V3_1_1, "10 # 0004 'MQTT' 04 02 003c 0000", Packet::Connect(empty));
}

#[test]
fn connect_with_everything() {
    let own = properties(&[
        (PropertyId::SessionExpiryInterval, Value::Number(0x0102_0304)),
        (PropertyId::ReceiveMaximum, Value::Number(5)),
        (PropertyId::MaximumPacketSize, Value::Number(600)),
        (PropertyId::TopicAliasMaximum, Value::Number(7)),
        (PropertyId::RequestResponseInformation, Value::Number(1)),
        (PropertyId::RequestProblemInformation, Value::Number(0)),
        (PropertyId::UserProperty, Value::Pair("a", "b")),
        (PropertyId::AuthenticationMethod, Value::Text("m")),
        (PropertyId::AuthenticationData, Value::Binary(&[9])),
    ]);
    let wills = properties(&[
        (PropertyId::WillDelayInterval, Value::Number(30)),
        (PropertyId::PayloadFormatIndicator, Value::Number(1)),
        (PropertyId::MessageExpiryInterval, Value::Number(2)),
        (PropertyId::ContentType, Value::Text("t")),
        (PropertyId::ResponseTopic, Value::Text("r")),
        (PropertyId::CorrelationData, Value::Binary(&[1])),
        (PropertyId::UserProperty, Value::Pair("", "")),
    ]);
    let v5 = Connect {
        clean_start: false,
        will: Some(Will {
            topic: Topic::new("w/t").unwrap(),
            payload: b"gone",
            qos: Qos::ExactlyOnce,
            retain: true,
            properties: wills.as_properties(),
        }),
        user_name: Some("u"),
        password: Some(&[0, 0xff]),
        properties: own.as_properties(),
        ..connect(V5)
    };
    same(
        V5,
        "10 # 0004 'MQTT' 05 f4 003c \
         [11 01020304 21 0005 27 00000258 22 0007 19 01 17 00 26 0001 'a' 0001 'b' 15 0001 'm' 16 0001 09] \
         0002 'ab' \
         [18 0000001e 01 01 02 00000002 03 0001 't' 08 0001 'r' 09 0001 01 26 0000 0000] \
         0003 'w/t' 0004 'gone' 0001 'u' 0002 00ff",
        Packet::Connect(v5),
    );
    let v3 = Connect {
        version: V3_1_1,
        properties: NONE,
        will: v5.will.map(|will| Will {
            properties: NONE,
            ..will
        }),
        ..v5
    };
    same(
        V3_1_1,
        "10 # 0004 'MQTT' 04 f4 003c 0002 'ab' 0003 'w/t' 0004 'gone' 0001 'u' 0002 00ff",
        Packet::Connect(v3),
    );
    let password_alone = Connect {
        password: Some(b"p"),
        ..connect(V5)
    };
    same(
        V5,
        "10 # 0004 'MQTT' 05 42 003c 00 0002 'ab' 0001 'p'",
        Packet::Connect(password_alone),
    );
}

#[test]
fn what_only_3_1_forgives() {
    // Header flags, reserved bit 0, a user name and a password that never come.
    reads(
        V3_1,
        "1f # 0006 'MQIsdp' 03 03 003c 0002 'ab'",
        Packet::Connect(connect(V3_1)),
    );
    reads(
        V3_1,
        "10 # 0006 'MQIsdp' 03 c2 003c 0002 'ab'",
        Packet::Connect(connect(V3_1)),
    );
    let named = Connect {
        user_name: Some("u"),
        ..connect(V3_1)
    };
    reads(
        V3_1,
        "10 # 0006 'MQIsdp' 03 c2 003c 0002 'ab' 0001 'u'",
        Packet::Connect(named),
    );
    // A DUP of their own.
    reads(
        V3_1,
        "6a # 0102",
        Packet::PubRel(Ack::new(ID, ReasonCode::Success)),
    );
    let (requests, filters) = (SubscribeRequests::List(&[]), Filters::List(&[]));
    reads(
        V3_1,
        "8a # 0102",
        Packet::Subscribe(Subscribe {
            packet_id: ID,
            properties: NONE,
            requests,
        }),
    );
    reads(
        V3_1,
        "aa # 0102",
        Packet::Unsubscribe(Unsubscribe {
            packet_id: ID,
            properties: NONE,
            filters,
        }),
    );
    // The length in a longer form is read in version 3.
    reads(V3_1_1, "c0 80 00", Packet::PingReq);
}

#[test]
fn connack() {
    let connack = |session_present, reason| {
        Packet::ConnAck(ConnAck {
            session_present,
            reason,
            properties: NONE,
        })
    };
    same(V3_1, "20 02 00 00", connack(false, ReasonCode::Success));
    reads(V3_1, "20 02 01 00", connack(false, ReasonCode::Success));
    same(V3_1_1, "20 02 01 00", connack(true, ReasonCode::Success));
    same(
        V3_1_1,
        "20 02 00 01",
        connack(false, ReasonCode::UnsupportedProtocolVersion),
    );
    same(
        V3_1_1,
        "20 02 00 02",
        connack(false, ReasonCode::ClientIdentifierNotValid),
    );
    same(
        V3_1_1,
        "20 02 00 03",
        connack(false, ReasonCode::ServerUnavailable),
    );
    same(
        V3_1_1,
        "20 02 00 04",
        connack(false, ReasonCode::BadUserNameOrPassword),
    );
    same(V3_1_1, "20 02 00 05", connack(false, ReasonCode::NotAuthorized));
    reads(V3_1_1, "20 02 00 06", connack(false, ReasonCode::Unspecified));
    same(V5, "20 03 01 00 00", connack(true, ReasonCode::Success));
    same(
        V5,
        "20 03 00 84 00",
        connack(false, ReasonCode::UnsupportedProtocolVersion),
    );
    // An old server refuses in the only form that it knows.
    reads(
        V5,
        "20 02 00 01",
        connack(false, ReasonCode::UnsupportedProtocolVersion),
    );
    let all = properties(&[
        (PropertyId::SessionExpiryInterval, Value::Number(1)),
        (PropertyId::AssignedClientIdentifier, Value::Text("i")),
        (PropertyId::ServerKeepAlive, Value::Number(2)),
        (PropertyId::AuthenticationMethod, Value::Text("m")),
        (PropertyId::AuthenticationData, Value::Binary(b"d")),
        (PropertyId::ResponseInformation, Value::Text("n")),
        (PropertyId::ServerReference, Value::Text("s")),
        (PropertyId::ReasonString, Value::Text("r")),
        (PropertyId::ReceiveMaximum, Value::Number(3)),
        (PropertyId::TopicAliasMaximum, Value::Number(4)),
        (PropertyId::MaximumQos, Value::Number(1)),
        (PropertyId::RetainAvailable, Value::Number(0)),
        (PropertyId::UserProperty, Value::Pair("k", "v")),
        (PropertyId::MaximumPacketSize, Value::Number(5)),
        (PropertyId::WildcardSubscriptionAvailable, Value::Number(0)),
        (PropertyId::SubscriptionIdentifierAvailable, Value::Number(0)),
        (PropertyId::SharedSubscriptionAvailable, Value::Number(0)),
    ]);
    same(
        V5,
        "20 # 00 00 [11 00000001 12 0001 'i' 13 0002 15 0001 'm' 16 0001 'd' 1a 0001 'n' 1c 0001 's' \
         1f 0001 'r' 21 0003 22 0004 24 01 25 00 26 0001 'k' 0001 'v' 27 00000005 28 00 29 00 2a 00]",
        Packet::ConnAck(ConnAck {
            session_present: false,
            reason: ReasonCode::Success,
            properties: all.as_properties(),
        }),
    );
}

#[test]
fn publish() {
    let base = Publish {
        dup: false,
        retain: false,
        delivery: Delivery::AtMostOnce,
        address: Address::Name(Topic::new("a/b").unwrap()),
        properties: NONE,
        payload: b"x",
    };
    for version in [V3_1, V3_1_1] {
        same(version, "30 06 0003 'a/b' 'x'", Packet::Publish(base));
        same(
            version,
            "31 05 0003 'a/b'",
            Packet::Publish(Publish {
                retain: true,
                payload: b"",
                ..base
            }),
        );
        let once = Delivery::AtLeastOnce(ID);
        same(
            version,
            "3a 08 0003 'a/b' 0102 'x'",
            Packet::Publish(Publish {
                dup: true,
                delivery: once,
                ..base
            }),
        );
        let exactly = Delivery::ExactlyOnce(ID);
        same(
            version,
            "34 08 0003 'a/b' 0102 'x'",
            Packet::Publish(Publish {
                delivery: exactly,
                ..base
            }),
        );
    }
    same(V5, "30 07 0003 'a/b' 00 'x'", Packet::Publish(base));
    same(
        V5,
        "34 09 0003 'a/b' 0102 00 'x'",
        Packet::Publish(Publish {
            delivery: Delivery::ExactlyOnce(ID),
            ..base
        }),
    );
    let seven = NonZeroU16::new(7).unwrap();
    let all = [
        (PropertyId::PayloadFormatIndicator, Value::Number(1)),
        (PropertyId::MessageExpiryInterval, Value::Number(0)),
        (PropertyId::ContentType, Value::Text("t")),
        (PropertyId::ResponseTopic, Value::Text("r")),
        (PropertyId::CorrelationData, Value::Binary(&[])),
        (PropertyId::UserProperty, Value::Pair("k", "1")),
        (PropertyId::UserProperty, Value::Pair("k", "2")),
        (PropertyId::SubscriptionIdentifier, Value::Number(1)),
        (PropertyId::SubscriptionIdentifier, Value::Number(268_435_455)),
        (PropertyId::TopicAlias, Value::Number(7)),
    ];
    let own = properties(&all);
    let defined = Publish {
        address: Address::Define(Topic::new("a/b").unwrap(), seven),
        properties: own.as_properties(),
        ..base
    };
    same(
        V5,
        "30 # 0003 'a/b' [01 01 02 00000000 03 0001 't' 08 0001 'r' 09 0000 26 0001 'k' 0001 '1' \
         26 0001 'k' 0001 '2' 0b 01 0b ffffff7f 23 0007] 'x'",
        Packet::Publish(defined),
    );
    let alias = properties(&all[9..]);
    let by_alias = Publish {
        address: Address::Alias(seven),
        properties: alias.as_properties(),
        ..base
    };
    same(V5, "30 # 0000 03 23 0007 'x'", Packet::Publish(by_alias));
}

#[test]
fn acknowledgements() {
    type Kind = fn(Ack<'static>) -> Packet<'static>;
    let kinds: [(u8, Kind); 4] = [
        (0x40, Packet::PubAck),
        (0x50, Packet::PubRec),
        (0x62, Packet::PubRel),
        (0x70, Packet::PubComp),
    ];
    for (first, kind) in kinds {
        let success = kind(Ack::new(ID, ReasonCode::Success));
        for version in [V3_1, V3_1_1, V5] {
            same(version, &format!("{first:02x} 02 0102"), success);
        }
        reads(V5, &format!("{first:02x} 03 0102 00"), success);
        reads(V5, &format!("{first:02x} 04 0102 00 00"), success);
    }
    same(
        V5,
        "40 03 0102 10",
        Packet::PubAck(Ack::new(ID, ReasonCode::NoMatchingSubscribers)),
    );
    same(
        V5,
        "50 03 0102 97",
        Packet::PubRec(Ack::new(ID, ReasonCode::QuotaExceeded)),
    );
    same(
        V5,
        "62 03 0102 92",
        Packet::PubRel(Ack::new(ID, ReasonCode::PacketIdentifierNotFound)),
    );
    let both = properties(&[
        (PropertyId::ReasonString, Value::Text("no")),
        (PropertyId::UserProperty, Value::Pair("k", "v")),
    ]);
    let ack = Ack {
        packet_id: ID,
        reason: ReasonCode::Success,
        properties: both.as_properties(),
    };
    same(
        V5,
        "70 # 0102 00 [1f 0002 'no' 26 0001 'k' 0001 'v']",
        Packet::PubComp(ack),
    );
}

#[test]
fn subscribe_and_unsubscribe() {
    let filter = |text| Filter::new(text).unwrap();
    let plain = [
        (filter("a/+"), SubscribeOptions::qos(Qos::AtLeastOnce)),
        (filter("#"), SubscribeOptions::default()),
    ];
    let subscribe = |requests| Subscribe {
        packet_id: ID,
        properties: NONE,
        requests,
    };
    let packet = Packet::Subscribe(subscribe(SubscribeRequests::List(&plain)));
    for version in [V3_1, V3_1_1] {
        same(version, "82 # 0102 0003 'a/+' 01 0001 '#' 00", packet);
    }
    let options = SubscribeOptions {
        qos: Qos::ExactlyOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::Never,
    };
    let shared = SubscribeOptions {
        retain_handling: RetainHandling::New,
        ..SubscribeOptions::default()
    };
    let list = [(filter("a"), options), (filter("$share/g/a"), shared)];
    let own = properties(&[
        (PropertyId::SubscriptionIdentifier, Value::Number(128)),
        (PropertyId::UserProperty, Value::Pair("k", "v")),
    ]);
    let packet = Subscribe {
        properties: own.as_properties(),
        ..subscribe(SubscribeRequests::List(&list))
    };
    same(
        V5,
        "82 # 0102 [0b 8001 26 0001 'k' 0001 'v'] 0001 'a' 2e 000a '$share/g/a' 10",
        Packet::Subscribe(packet),
    );

    let filters = [filter("a/+"), filter("$share/g/a")];
    let unsubscribe = Unsubscribe {
        packet_id: ID,
        properties: NONE,
        filters: Filters::List(&filters),
    };
    for version in [V3_1, V3_1_1] {
        same(
            version,
            "a2 # 0102 0003 'a/+' 000a '$share/g/a'",
            Packet::Unsubscribe(unsubscribe),
        );
    }
    same(
        V5,
        "a2 # 0102 00 0003 'a/+' 000a '$share/g/a'",
        Packet::Unsubscribe(unsubscribe),
    );
}

#[test]
fn suback_and_unsuback() {
    let codes = [
        ReasonCode::Success,
        ReasonCode::GrantedQos1,
        ReasonCode::GrantedQos2,
        ReasonCode::Unspecified,
    ];
    let suback = SubAck {
        packet_id: ID,
        properties: NONE,
        reasons: ReasonCodes::List(&codes),
    };
    same(V3_1_1, "90 06 0102 00 01 02 80", Packet::SubAck(suback));
    same(V5, "90 07 0102 00 00 01 02 80", Packet::SubAck(suback));
    // Version 3 knows one failure [MQTT3-3.9.3-2].
    let refused = [ReasonCode::NotAuthorized];
    let mut out = Vec::new();
    Packet::SubAck(SubAck {
        reasons: ReasonCodes::List(&refused),
        ..suback
    })
    .encode(V3_1_1, &mut out);
    assert_eq!(out, bytes("90 03 0102 80"));

    let none = UnsubAck {
        packet_id: ID,
        properties: NONE,
        reasons: ReasonCodes::List(&[]),
    };
    for version in [V3_1, V3_1_1] {
        same(version, "b0 02 0102", Packet::UnsubAck(none));
    }
    let codes = [ReasonCode::Success, ReasonCode::NoSubscriptionExisted];
    same(
        V5,
        "b0 05 0102 00 00 11",
        Packet::UnsubAck(UnsubAck {
            reasons: ReasonCodes::List(&codes),
            ..none
        }),
    );
}

#[test]
fn ping_disconnect_and_auth() {
    let normal = Packet::Disconnect(Disconnect::new(ReasonCode::Success));
    for version in [V3_1, V3_1_1, V5] {
        same(version, "c0 00", Packet::PingReq);
        same(version, "d0 00", Packet::PingResp);
        same(version, "e0 00", normal);
    }
    reads(V5, "e0 01 00", normal);
    reads(V5, "e0 02 00 00", normal);
    same(
        V5,
        "e0 01 04",
        Packet::Disconnect(Disconnect::new(ReasonCode::DisconnectWithWill)),
    );
    let all = properties(&[
        (PropertyId::SessionExpiryInterval, Value::Number(0)),
        (PropertyId::ReasonString, Value::Text("r")),
        (PropertyId::UserProperty, Value::Pair("k", "v")),
        (PropertyId::ServerReference, Value::Text("s")),
    ]);
    let moved = Disconnect {
        reason: ReasonCode::ServerMoved,
        properties: all.as_properties(),
    };
    same(
        V5,
        "e0 # 9d [11 00000000 1f 0001 'r' 26 0001 'k' 0001 'v' 1c 0001 's']",
        Packet::Disconnect(moved),
    );

    reads(
        V5,
        "f0 00",
        Packet::Auth(Auth {
            reason: ReasonCode::Success,
            properties: NONE,
        }),
    );
    let method = properties(&[
        (PropertyId::AuthenticationMethod, Value::Text("m")),
        (PropertyId::AuthenticationData, Value::Binary(&[0])),
    ]);
    let auth = Auth {
        reason: ReasonCode::ContinueAuthentication,
        properties: method.as_properties(),
    };
    same(V5, "f0 # 18 08 15 0001 'm' 16 0001 00", Packet::Auth(auth));
}
