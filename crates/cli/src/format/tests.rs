use martlet_codec::{PropertiesBuf, Value};

use super::*;

const MOMENT: &str = "2026-02-03T04:05:06.007008009+01:00[Europe/Berlin]";

fn properties() -> PropertiesBuf {
    let mut properties = PropertiesBuf::new();
    properties
        .user_property("k", "v")
        .text(PropertyId::ContentType, "text/plain")
        .text(PropertyId::ResponseTopic, "re/ply")
        .push(PropertyId::CorrelationData, Value::Binary(b"\x01abc"))
        .number(PropertyId::MessageExpiryInterval, 60_u32)
        .number(PropertyId::PayloadFormatIndicator, 1_u32)
        .number(PropertyId::SubscriptionIdentifier, 7_u32)
        .user_property("k", "w");
    properties
}

fn shown<'a>(payload: &'a [u8], properties: &'a PropertiesBuf) -> Shown<'a> {
    Shown {
        topic: "S013/MOT01",
        payload,
        qos: 1,
        retain: true,
        packet_id: Some(12),
        topic_alias: Some(3),
        properties: properties.as_properties(),
    }
}

fn written(format: &str, payload: &[u8]) -> (Vec<u8>, Vec<Complaint>) {
    let properties = properties();
    let mut out = Vec::new();
    let format = Format::new(format).unwrap_or_else(|bad| panic!("{format}: {bad:?}"));
    let complaints = format.write(
        shown(payload, &properties),
        &Moment::parse(MOMENT),
        false,
        &mut out,
    );
    (out, complaints)
}

#[test]
fn specifiers() {
    let cases: &[(&str, &[u8], &str)] = &[
        ("%t %p", b"DRVZ+1000", "S013/MOT01 DRVZ+1000"),
        ("%%@@", b"", "%@"),
        ("%A|%C|%D|%E|%F|%R|%S", b"", "3|text/plain|\u{1}abc|60|1|re/ply|7"),
        ("%q %r %m %l", b"12345", "1 1 12 5"),
        ("%P", b"", "k:v k:w"),
        ("%x %X", b"\x00\xab", "00ab 00AB"),
        ("%I", b"", "2026-02-03T04:05:06+0100"),
        ("%U", b"", "1770087906.007008009"),
        (
            "@Y-@m-@d @H:@M:@S.@N @z",
            b"",
            "2026-02-03 04:05:06.007008009 +0100",
        ),
        (
            "@c|@x|@X|@r|@j|@Z|@F|@e",
            b"",
            "Tue Feb  3 04:05:06 2026|02/03/26|04:05:06|04:05:06 AM|034|CET|2026-02-03| 3",
        ),
        ("@Q@%@!", b"", "%Q%%!"),
        ("\\\\\\0\\a\\e\\n\\r\\t\\v", b"", "\\\0\u{7}\u{1b}\n\r\t\u{b}"),
        ("ä%tä", b"", "äS013/MOT01ä"),
    ];
    for (format, payload, expected) in cases {
        let (out, complaints) = written(format, payload);
        assert_eq!(String::from_utf8_lossy(&out), *expected, "{format}");
        assert_eq!(complaints, [], "{format}");
    }
}

#[test]
fn width_precision_and_padding() {
    let cases: &[(&str, &[u8], &str)] = &[
        ("[%12t]", b"", "[  S013/MOT01]"),
        ("[%-12t]", b"", "[S013/MOT01  ]"),
        ("[%.4t]", b"", "[S013]"),
        ("[%6.4t]", b"", "[  S013]"),
        ("[%-6.4t]", b"", "[S013  ]"),
        ("[%5l]", b"abc", "[    3]"),
        ("[%05l]", b"abc", "[00003]"),
        ("[%-5l]", b"abc", "[3    ]"),
        ("[%-05l]", b"abc", "[3    ]"),
        // The width of a payload is also the most that is shown of it.
        ("[%5p]", b"abc", "[  abc]"),
        ("[%05p]", b"abc", "[00abc]"),
        ("[%-5p]", b"abc", "[abc  ]"),
        ("[%2p]", b"abc", "[ab]"),
        ("[%6x]", b"\xab\xcd", "[  abcd]"),
        ("[%06x]", b"\xab\xcd", "[00abcd]"),
        ("[%1x]", b"\xab\xcd", "[ab]"),
        ("[%.2:x]", b"\xab\xcd\xef", "[ab:cd:ef]"),
        ("[%.4 X]", b"\xab\xcd\xef\x01", "[ABCD EF01]"),
        ("[%.1-x]", b"\xab\xcd", "[a-b-c-d]"),
        ("[%.2x]", b"\xab\xcd", "[ab cd]"),
        ("[%08.2:x]", b"\xab\xcd", "[00:00:ab:cd]"),
        ("[%f]", &1.5_f32.to_ne_bytes(), "[1.500000]"),
        ("[%.2f]", &1.5_f32.to_ne_bytes(), "[1.50]"),
        ("[%8.2d]", &(-2.25_f64).to_ne_bytes(), "[   -2.25]"),
        ("[%08.2d]", &(-2.25_f64).to_ne_bytes(), "[-0002.25]"),
        ("[%-8.1d]", &2.25_f64.to_ne_bytes(), "[2.2     ]"),
    ];
    for (format, payload, expected) in cases {
        let (out, complaints) = written(format, payload);
        assert_eq!(String::from_utf8_lossy(&out), *expected, "{format}");
        assert_eq!(complaints, [], "{format}");
    }
}

#[test]
fn absent_properties_are_blank() {
    let none = PropertiesBuf::new();
    let mut message = shown(b"", &none);
    message.topic_alias = None;
    message.packet_id = None;
    let mut out = Vec::new();
    let format = Format::new("[%3A%3C%3E%3F%03S|%D%R%P|%m]").unwrap();
    format.write(message, &Moment::parse(MOMENT), false, &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), "[            000||0]");
}

#[test]
fn a_letter_is_not_cut_in_two() {
    let none = PropertiesBuf::new();
    let message = Shown {
        topic: "温度",
        ..shown(b"", &none)
    };
    let mut out = Vec::new();
    Format::new("%.4t")
        .unwrap()
        .write(message, &Moment::parse(MOMENT), false, &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), "温");
}

#[test]
fn json() {
    let (out, _) = written("%j", b"a\"b\\\n\x01\xff");
    assert_eq!(
        String::from_utf8(out).unwrap(),
        concat!(
            r#"{"tst":"2026-02-03T04:05:06.007008Z+0100","topic":"S013/MOT01","qos":1,"retain":true,"payloadlen":7,"#,
            r#""mid":12,"properties":{"user-properties":[{"k":"v"},{"k":"w"}],"content-type":"text/plain","#,
            r#""response-topic":"re/ply","correlation-data":"\u0001abc","message-expiry-interval":60,"#,
            r#""payload-format-indicator":1,"subscription-identifier":7},"payload":"a\"b\\\n\u0001"#,
            "\u{fffd}\"}",
        )
    );
}

#[test]
fn json_of_json() {
    let none = PropertiesBuf::new();
    let cases: &[(&str, Option<&str>)] = &[
        ("1", Some("1")),
        (
            " [1, 2.50 ,-3e+7, true,false , null, \"\\u00e9\\n\"] ",
            Some("[1,2.50,-3e+7,true,false,null,\"\\u00e9\\n\"]"),
        ),
        ("{ }", Some("{}")),
        ("[]", Some("[]")),
        (
            "{\"a\" : {\"b\":[{}]}, \"a\":1}",
            Some("{\"a\":{\"b\":[{}]},\"a\":1}"),
        ),
        ("", Some("null")),
        ("x", None),
        ("{", None),
        ("{\"a\"}", None),
        ("{\"a\":1,}", None),
        ("[1,]", None),
        ("[1 2]", None),
        ("01", None),
        ("1.", None),
        ("-", None),
        ("\"a", None),
        ("\"\\x\"", None),
        ("\"\n\"", None),
        ("1 1", None),
        ("nul", None),
    ];
    for (payload, expected) in cases {
        let mut out = b"kept ".to_vec();
        let message = Shown {
            qos: 0,
            ..shown(payload.as_bytes(), &none)
        };
        let format = Format::new("%J").unwrap();
        let complaints = format.write(message, &Moment::parse(MOMENT), false, &mut out);
        let text = String::from_utf8(out).unwrap();
        if let Some(expected) = expected {
            let end = text.split("\"payload\":").nth(1).unwrap();
            assert_eq!(end, format!("{expected}}}"), "{payload}");
            assert_eq!(complaints, [], "{payload}");
        } else {
            assert_eq!(complaints, [Complaint::NotJson], "{payload}");
            assert_eq!(text, "kept ", "{payload}");
        }
    }
    let deep = "[".repeat(5_000);
    let format = Format::new("%J").unwrap();
    let message = shown(deep.as_bytes(), &none);
    let complaints = format.write(message, &Moment::parse(MOMENT), false, &mut Vec::new());
    assert_eq!(complaints, [Complaint::NotJson]);
}

#[test]
fn pretty_json() {
    let none = PropertiesBuf::new();
    let mut out = Vec::new();
    let message = Shown {
        qos: 0,
        ..shown(br#"{"a":[1,{"b":2}],"c":{}}"#, &none)
    };
    let format = Format::new("%J").unwrap();
    format.write(message, &Moment::parse(MOMENT), true, &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "{\n\t\"tst\":\t\"2026-02-03T04:05:06.007008Z+0100\",\n\t\"topic\":\t\"S013/MOT01\",\n\t\"qos\":\t0,\n\
         \t\"retain\":\ttrue,\n\t\"payloadlen\":\t24,\n\t\"payload\":\t{\n\t\t\"a\":\t[1, {\n\t\t\t\t\"b\":\t2\n\t\t\t}],\n\
         \t\t\"c\":\t{\n\t\t}\n\t}\n}"
    );
}

#[test]
fn complaints() {
    assert_eq!(written("%f", b"abc").1, [Complaint::NotFloat]);
    assert_eq!(written("%d", b"abc").1, [Complaint::NotDouble]);
    assert_eq!(
        written("<%J>", b"abc"),
        (b"<>".to_vec(), vec![Complaint::NotJson])
    );
}

#[test]
fn what_is_no_format() {
    let cases = [
        ("%", BadFormat::Incomplete),
        ("%5", BadFormat::Incomplete),
        ("%-", BadFormat::Incomplete),
        ("%.3", BadFormat::Incomplete),
        ("a@", BadFormat::Incomplete),
        ("\\", BadFormat::IncompleteEscape),
        ("%z", BadFormat::Specifier('z')),
        ("%0-5t", BadFormat::Specifier('5')),
        ("\\q", BadFormat::Escape('q')),
    ];
    for (format, bad) in cases {
        assert_eq!(Format::new(format), Err(bad), "{format}");
    }
}
