//! CONNECT, CONNACK and the end of a connection.

use std::time::Duration;

use martlet_client::engine::Event;
use martlet_client::{
    Bytes, Lost, Options, PropertiesBuf, PropertyId, Protocol, Qos, ReasonCode, Rejected, RequestError,
    Version, Violation,
};
use martlet_codec::{Auth, ConnAck, Decoded, Disconnect, Limits, Packet, Properties};

use crate::bench::*;

fn connack(reason: ReasonCode) -> Packet<'static> {
    Packet::ConnAck(ConnAck {
        session_present: false,
        reason,
        properties: Properties::EMPTY,
    })
}

#[test]
fn each_version_says_its_own_connect() {
    for (protocol, expected) in [
        (V3_1, "CONNECT 3.1 \"c\" clean"),
        (V3_1_1, "CONNECT 3.1.1 \"c\" clean"),
        (V5, "CONNECT 5.0 \"c\" clean"),
        (Protocol::Auto, "CONNECT 5.0 \"c\" clean"),
    ] {
        let mut bench = Bench::new(options(protocol));
        bench.engine.connect(0);
        assert_eq!(bench.sent(), [expected]);
    }
}

#[test]
fn version_3_makes_a_client_identifier_up_and_version_5_has_one_assigned() {
    let made_up = |seed| {
        let options = Options::new("bench", 1883).protocol(V3_1);
        let mut bench = Bench::with_seed(options, seed);
        bench.engine.connect(0);
        bench.sent().remove(0)
    };
    assert_eq!(made_up(1), made_up(1));
    assert_ne!(made_up(1), made_up(2));
    assert!(made_up(1).len() <= "CONNECT 3.1 \"\" clean".len() + 23);

    let mut bench = Bench::new(options(V5).client_id(""));
    let assigned = props(|p| {
        p.text(PropertyId::AssignedClientIdentifier, "auto-1");
    });
    assert_eq!(bench.reconnect(false, &assigned).0, ["CONNECT 5.0 \"\" clean"]);
    let Event::Connected(connected) = bench.event() else {
        panic!()
    };
    assert_eq!(connected.client_id, "auto-1");
    // The next connection is for the same session.
    bench.lose();
    assert_eq!(
        bench.reconnect(true, &PropertiesBuf::new()).0,
        ["CONNECT 5.0 \"auto-1\""]
    );
}

#[test]
fn a_reconnect_keeps_the_session_where_the_version_can_say_so() {
    for (protocol, clean, expected) in [
        (V5, true, "CONNECT 5.0 \"c\""),
        (V5, false, "CONNECT 5.0 \"c\""),
        (V3_1_1, true, "CONNECT 3.1.1 \"c\" clean"),
        (V3_1_1, false, "CONNECT 3.1.1 \"c\""),
    ] {
        let mut bench = Bench::up(options(protocol).clean_start(clean));
        bench.lose();
        assert_eq!(bench.reconnect(false, &PropertiesBuf::new()).0, [expected]);
    }
}

#[test]
fn what_the_server_agreed_to_is_told() {
    let agreed = props(|p| {
        p.number(PropertyId::ReceiveMaximum, 3_u32)
            .number(PropertyId::MaximumQos, 1_u32)
            .number(PropertyId::ServerKeepAlive, 9_u32);
    });
    let mut bench = Bench::new(options(V5));
    bench.reconnect(false, &agreed);
    let Event::Connected(connected) = bench.event() else {
        panic!()
    };
    assert_eq!((connected.receive_maximum, connected.keep_alive_s), (3, 9));
    assert_eq!(
        (connected.qos_max, connected.version),
        (Qos::AtLeastOnce, Version::V5)
    );
    assert_eq!(connected.properties, agreed);
}

#[test]
fn a_refusal_has_the_number_of_its_version() {
    for (protocol, code) in [(V3_1_1, 5), (V5, 0x87)] {
        let mut bench = Bench::new(options(protocol));
        bench.engine.connect(0);
        bench.sent();
        bench.server_sends(&connack(ReasonCode::NotAuthorized));
        let Event::Refused {
            refusal, retry_with, ..
        } = bench.event()
        else {
            panic!()
        };
        assert_eq!((refusal.reason, refusal.code), (ReasonCode::NotAuthorized, code));
        assert_eq!(retry_with, None);
    }
}

#[test]
fn a_server_that_knows_no_version_5_is_asked_in_3_1_1() {
    let v3_form: &[u8] = &[0x20, 2, 0, 1];
    let v5_form: &[u8] = &[0x20, 3, 0, 0x84, 0];
    for refusal in [v3_form, v5_form] {
        let mut bench = Bench::new(options(Protocol::Auto));
        bench.engine.connect(0);
        bench.sent();
        bench.engine.input(0, refusal);
        let Event::Refused { retry_with, .. } = bench.event() else {
            panic!()
        };
        assert_eq!(retry_with, Some(Version::V3_1_1));
        assert_eq!(
            bench.reconnect(false, &PropertiesBuf::new()).0,
            ["CONNECT 3.1.1 \"c\" clean"]
        );
    }
    // One that closes without a word may be such a server; only before it ever agreed, and once.
    let mut bench = Bench::new(options(Protocol::Auto));
    for retry in [Some(Version::V3_1_1), None] {
        bench.engine.connect(0);
        bench.lose();
        let Event::Lost {
            cause, retry_with, ..
        } = bench.event()
        else {
            panic!()
        };
        assert_eq!((cause, retry_with), (Lost::Closed, retry));
    }
    let mut bench = Bench::up(options(Protocol::Auto));
    bench.lose();
    bench.events();
    bench.engine.connect(0);
    bench.lose();
    assert!(matches!(bench.event(), Event::Lost { retry_with: None, .. }));
    // Who asks for 5.0 only is not given less.
    let mut bench = Bench::new(options(V5));
    bench.engine.connect(0);
    bench.engine.input(0, v3_form);
    assert!(matches!(bench.event(), Event::Refused { retry_with: None, .. }));
}

#[test]
fn what_is_not_mqtt_is_known_by_its_first_byte() {
    for (bytes, expected) in [
        (&b"HTTP/1.1 400 Bad"[..], "HTTP/1.1 400 Bad"),
        (b"SSH-2.0-x\r\nmore", "SSH-2.0-x"),
        (b"\x15\x03\x01\0\x02\x02F", "\\x15\\x03\\x01\\x00\\x02\\x02F"),
    ] {
        for protocol in [V3_1, V3_1_1, V5] {
            let mut bench = Bench::new(options(protocol));
            bench.engine.connect(0);
            bench.engine.input(0, bytes);
            let began = expected.to_owned();
            let lost = Event::Lost {
                cause: Lost::NotMqtt { began },
                retry_with: None,
                retry_at_ms: None,
            };
            assert_eq!(bench.event(), lost);
        }
    }
    // This could be a PUBLISH, of which more must come; but not here.
    let mut bench = Bench::new(options(V5));
    bench.engine.connect(0);
    bench.engine.input(0, b"220 ready\r\n");
    assert_eq!(bench.violation(), Violation::BeforeConnAck);
}

#[test]
fn a_connection_begins_without_the_bytes_that_ended_the_last_one() {
    let mut bench = Bench::up(options(V5));
    // A packet in two pieces, of which the rest never comes.
    bench.engine.input(0, &[0x30]);
    bench.engine.input(0, &[0xff, 0x7f, 0]);
    bench.lose();
    bench.events();
    bench.reconnect(false, &PropertiesBuf::new());
    assert!(matches!(bench.event(), Event::Connected(_)));
}

#[test]
fn what_only_a_server_can_do_wrong() {
    let refused_with_session: &[u8] = &[0x20, 3, 1, 0x87, 0];
    let kept_what_was_clean: &[u8] = &[0x20, 3, 1, 0, 0];
    let before: &[(&[u8], Violation)] = &[
        (&[0xd0, 0], Violation::BeforeConnAck),
        (&[0x20, 3, 2, 0, 0], Violation::ConnAckFlags),
        (refused_with_session, Violation::SessionPresent),
        (kept_what_was_clean, Violation::SessionPresent),
        (&[0xf0, 0], Violation::AuthWithoutMethod),
        (&[0x00, 0], Violation::PacketType),
    ];
    for (bytes, violation) in before {
        let mut bench = Bench::new(options(V5));
        bench.engine.connect(0);
        bench.sent();
        bench.engine.input(0, bytes);
        assert_eq!(bench.violation(), *violation, "{bytes:x?}");
        assert!(
            bench.sent().is_empty(),
            "no DISCONNECT before CONNACK [MQTT5-3.14.0-1]"
        );
    }
    let after: &[(&[u8], Violation, &str)] = &[
        (&[0x20, 3, 0, 0, 0], Violation::SecondConnAck, "DISCONNECT 82"),
        (&[0xc0, 0], Violation::Direction, "DISCONNECT 82"),
        (&[0x36, 3, 0, 1, b'a'], Violation::Qos3, "DISCONNECT 81"),
        (&[0xf0, 0], Violation::AuthWithoutMethod, "DISCONNECT 82"),
        (
            &[0xe0, 7, 0, 5, 0x11, 0, 0, 0, 9],
            Violation::ServerExpiry,
            "DISCONNECT 82",
        ),
        (&[0x40, 2, 0, 0], Violation::PacketIdZero, "DISCONNECT 82"),
    ];
    for (bytes, violation, told) in after {
        let mut bench = Bench::up(options(V5));
        bench.engine.input(0, bytes);
        assert_eq!(bench.violation(), *violation, "{bytes:x?}");
        assert_eq!(bench.sent(), [*told], "{bytes:x?}");
    }
    // Version 3 has no word for it.
    for bytes in [&[0x20_u8, 2, 0, 0][..], &[0xe0, 0]] {
        let mut bench = Bench::up(options(V3_1_1));
        bench.engine.input(0, bytes);
        bench.violation();
        assert!(bench.sent().is_empty());
    }
}

#[test]
fn auth_is_refused_by_the_reason_that_fits() {
    let asked = props(|p| {
        p.text(PropertyId::AuthenticationMethod, "SCRAM-SHA-1");
    });
    let mut bench = Bench::new(options(V5).connect_properties(&asked));
    bench.engine.connect(0);
    bench.sent();
    bench.server_sends(&Packet::Auth(Auth {
        reason: ReasonCode::ContinueAuthentication,
        properties: asked.as_properties(),
    }));
    assert_eq!(bench.violation(), Violation::AuthMethodUnknown);
}

#[test]
fn the_server_says_why_it_goes() {
    let mut bench = Bench::up(options(V5));
    let why = props(|p| {
        p.text(PropertyId::ReasonString, "two of you");
    });
    bench.server_sends(&Packet::Disconnect(Disconnect {
        reason: ReasonCode::SessionTakenOver,
        properties: why.as_properties(),
    }));
    let lost = bench.lost();
    assert_eq!(
        lost.to_string(),
        "the server disconnected: session taken over (0x8e) (two of you)"
    );
}

#[test]
fn our_disconnect_is_the_last_packet() {
    for (protocol, reason, told) in [
        (V3_1_1, ReasonCode::Success, "DISCONNECT 00"),
        (V5, ReasonCode::DisconnectWithWill, "DISCONNECT 04"),
    ] {
        let mut bench = Bench::up(options(protocol));
        bench.publish(message("a", qos(1))).unwrap();
        let left = bench.engine.disconnect(0, reason, &PropertiesBuf::new());
        assert_eq!(left, Ok(1));
        assert!(bench.engine.is_leaving());
        assert!(bench.publish(message("b", qos(0))).is_err());
        bench.server_sends(&puback(1));
        assert_eq!(bench.sent(), ["PUBLISH a q1 1", told]);
        bench.lose();
        assert_eq!(bench.engine.closed(), Some(&Lost::ByUs));
        let Event::Published { end, .. } = bench.event() else {
            panic!()
        };
        assert!(end.is_err());
    }
}

#[test]
fn a_disconnect_that_would_break_a_rule_is_not_sent() {
    let expiry = props(|p| {
        p.number(PropertyId::SessionExpiryInterval, 5_u32);
    });
    let mut bench = Bench::up(options(V5));
    let refused = bench.engine.disconnect(0, ReasonCode::Success, &expiry);
    let violation = Violation::SessionExpiryFromZero;
    assert_eq!(
        refused,
        Err(RequestError::Rejected(Rejected::Violation(violation)))
    );
    assert!(
        bench
            .engine
            .disconnect(0, ReasonCode::GrantedQos1, &PropertiesBuf::new())
            .is_err()
    );
    assert!(bench.sent().is_empty() && bench.engine.is_online());
    let mut bench = Bench::up(options(V5).session_expiry(Duration::from_secs(9)));
    assert!(bench.engine.disconnect(0, ReasonCode::Success, &expiry).is_ok());
}

#[test]
fn version_3_says_goodbye_without_a_reason() {
    let mut bench = Bench::up(options(V3_1_1));
    let refused = bench
        .engine
        .disconnect(0, ReasonCode::DisconnectWithWill, &PropertiesBuf::new());
    assert!(
        matches!(&refused, Err(RequestError::Rejected(Rejected::NeedsVersion5 { what, .. })) if *what == "reasons of DISCONNECT"),
        "{refused:?}"
    );
    assert!(bench.sent().is_empty() && bench.engine.is_online());
}

#[test]
fn who_authenticates_does_not_fall_back_to_a_version_that_cannot() {
    let asked = options(Protocol::Auto).authenticator("M", |_| Ok(Bytes::new()));
    let mut bench = Bench::new(asked);
    assert!(bench.engine.connect(0));
    bench.sent();
    bench.lose();
    assert!(matches!(bench.event(), Event::Lost { retry_with: None, .. }));
}

#[test]
fn connect_has_what_its_flags_say_and_nothing_else() {
    for protocol in BOTH {
        for bits in 0..8_u8 {
            let (will, user, password) = (bits & 1 != 0, bits & 2 != 0, bits & 4 != 0);
            let mut asked = options(protocol);
            if will {
                asked = asked.will(message("w", Qos::AtLeastOnce).retain(true));
            }
            if user {
                asked = asked.user_name("");
            }
            if password {
                asked = asked.password("secret");
            }
            let without_name = protocol == V3_1_1 && password && !user;
            assert_eq!(asked.check().is_err(), without_name, "[MQTT3-3.1.2-22]");
            let mut bench = Bench::new(asked);
            bench.engine.connect(0);
            let bytes = bench.take_output();
            // Decoding checks the flags against each other and refuses surplus bytes.
            let decoded = Packet::decode(&bytes, None, &Limits::NONE).unwrap();
            let Decoded::Packet(Packet::Connect(connect), n) = decoded else {
                panic!("{decoded:?}")
            };
            assert_eq!((n, connect.client_id), (bytes.len(), "c"));
            assert_eq!(connect.user_name, user.then_some(""));
            let has_password = password && !without_name;
            assert_eq!(connect.password, has_password.then_some(&b"secret"[..]));
            assert_eq!(connect.will.is_some(), will);
            if let Some(will) = connect.will {
                let said = (will.topic.as_str(), will.payload, will.qos, will.retain);
                assert_eq!(said, ("w", &b"x"[..], Qos::AtLeastOnce, true));
            }
        }
    }
}

#[test]
fn a_server_that_takes_nothing_does_not_keep_us_from_leaving() {
    for protocol in BOTH {
        let mut bench = Bench::up(options(protocol));
        bench.publish(message("a", qos(0))).unwrap();
        bench
            .engine
            .disconnect(1_000, ReasonCode::Success, &PropertiesBuf::new())
            .unwrap();
        assert_eq!(bench.engine.deadline(), Some(6_000));
        // It takes a little: that counts.
        bench.engine.written(4_000, 1);
        bench.engine.timeout(6_000);
        assert_eq!(
            (bench.engine.closed(), bench.engine.deadline()),
            (None, Some(9_000))
        );
        bench.engine.timeout(9_000);
        assert_eq!(bench.engine.closed(), Some(&Lost::ByUs));
        assert!(matches!(bench.event(), Event::Published { end: Err(_), .. }));
    }
}
