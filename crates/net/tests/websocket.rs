//! WebSocket as a pure layer: both ends over memory, and a peer that breaks the rules.

use std::io::IoSlice;

use martlet_net::websocket::{Fault as WebFault, Refused, Request, Requirements, WebSocket};
use martlet_net::{Fault, Got, Layers};
use proptest::prelude::*;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

fn server() -> Layers {
    let requirements = Requirements {
        head_bytes_max: 1024,
        origins: vec!["https://good.example".to_owned()],
    };
    Layers::new(None, Some(WebSocket::server(requirements)))
}

/// A server whose opening is over.
fn open_server() -> Layers {
    let mut layers = server();
    layers.receive(request("mqtt").as_bytes(), &mut []).unwrap();
    sent(&mut layers);
    layers
}

fn request(protocol: &str) -> String {
    format!(
        "GET /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n"
    )
}

/// What a layer has to send.
fn sent(layers: &mut Layers) -> Vec<u8> {
    let mut all = Vec::new();
    while layers.has_unsent() {
        let write = |slices: &[IoSlice<'_>]| {
            for slice in slices {
                all.extend_from_slice(slice);
            }
            Ok(slices.iter().map(|slice| slice.len()).sum())
        };
        layers.send_with(write).unwrap();
    }
    all
}

/// A masked frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut frame = vec![first];
    match payload.len() {
        n @ 0..126 => frame.push(0x80 | n as u8),
        n @ 126..=0xffff => {
            frame.push(0x80 | 0x7e);
            frame.extend((n as u16).to_be_bytes());
        }
        n => {
            frame.push(0x80 | 0x7f);
            frame.extend((n as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    frame
}

/// All bytes of MQTT that come out of what goes in, in pieces of that size.
fn received(layers: &mut Layers, bytes: &[u8], piece: usize) -> Result<Vec<u8>, Fault> {
    let mut all = Vec::new();
    for part in bytes.chunks(piece.max(1)) {
        let mut buffer = [0; 7];
        let n = layers.receive(part, &mut buffer)?;
        all.extend_from_slice(&buffer[..n]);
        loop {
            match layers.take(&mut buffer) {
                0 => break,
                n => all.extend_from_slice(&buffer[..n]),
            }
        }
    }
    Ok(all)
}

#[test]
fn the_example_of_the_standard_is_answered() {
    let mut layers = server();
    assert!(!layers.is_open());
    layers
        .receive(request("chat, mqttv3.1").as_bytes(), &mut [])
        .unwrap();
    assert!(layers.is_open());
    let answer = String::from_utf8(sent(&mut layers)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(
        answer.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
        "{answer}"
    );
    assert!(
        answer.contains("Sec-WebSocket-Protocol: mqttv3.1\r\n"),
        "{answer}"
    );
}

#[test]
fn requests_that_are_refused() {
    let replaced = |old: &str, new: &str| request("mqtt").replace(old, new);
    type Case = (String, &'static str, fn(&Refused) -> bool);
    let cases: [Case; 9] = [
        ("\x10\x0c\0\x04MQTT".to_owned(), "", |r| {
            *r == Refused::NotHttp(Got::Mqtt)
        }),
        ("\x16\x03\x01\x02".to_owned(), "", |r| {
            *r == Refused::NotHttp(Got::Tls)
        }),
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), "426", |r| {
            matches!(r, Refused::NotWebSocket(_))
        }),
        (replaced("GET", "POST"), "426", |r| {
            matches!(r, Refused::NotWebSocket(_))
        }),
        (replaced("13\r\n", "12\r\n"), "426", |r| {
            matches!(r, Refused::NotWebSocket(_))
        }),
        (replaced("Sec-WebSocket-Protocol: mqtt\r\n", ""), "400", |r| {
            *r == Refused::Protocol {
                offered: "no sub-protocol".to_owned(),
            }
        }),
        (request("chat"), "400", |r| {
            *r == Refused::Protocol {
                offered: "'chat'".to_owned(),
            }
        }),
        (
            replaced("Host: h\r\n", "Host: h\r\nOrigin: https://bad.example\r\n"),
            "403",
            |r| *r == Refused::Origin("https://bad.example".to_owned()),
        ),
        (
            replaced("Host: h\r\n", &format!("X: {}\r\n", "x".repeat(2_000))),
            "431",
            |r| *r == Refused::TooLong { max: 1024 },
        ),
    ];
    for (text, status, is_right) in cases {
        let mut layers = server();
        match layers.receive(text.as_bytes(), &mut []) {
            Err(Fault::Web(WebFault::Opening(refused))) => assert!(is_right(&refused), "{text}: {refused:?}"),
            other => panic!("{text}: {other:?}"),
        }
        let answer = String::from_utf8(sent(&mut layers)).unwrap();
        let expected = if status.is_empty() {
            String::new()
        } else {
            format!("HTTP/1.1 {status} ")
        };
        assert!(
            answer.starts_with(&expected) && answer.is_empty() == expected.is_empty(),
            "{text}: {answer}"
        );
    }
    let good = replaced("Host: h\r\n", "Host: h\r\nOrigin: https://good.example\r\n");
    assert!(server().receive(good.as_bytes(), &mut []).is_ok());
}

#[test]
fn frames_that_break_the_rules_close_with_the_code_for_it() {
    let cases: [(Vec<u8>, WebFault, u16); 9] = [
        (frame(0x81, b"text"), WebFault::Text, 1003),
        (vec![0x82, 2, 0xc0, 0], WebFault::Masking { expected: true }, 1002),
        (frame(0xc2, b"x"), WebFault::Reserved, 1002),
        (frame(0x83, b"x"), WebFault::Reserved, 1002),
        (frame(0x80, b"x"), WebFault::Order, 1002),
        (
            [frame(0x02, b"x"), frame(0x82, b"y")].concat(),
            WebFault::Order,
            1002,
        ),
        (frame(0x09, b"x"), WebFault::Control, 1002),
        (frame(0x89, &[0; 126]), WebFault::Control, 1002),
        (
            [&[0x82, 0xff][..], &(1_u64 << 40).to_be_bytes(), &[0; 4]].concat(),
            WebFault::TooLarge { bytes: 1 << 40 },
            1009,
        ),
    ];
    for (bytes, fault, code) in cases {
        let mut layers = open_server();
        let error = received(&mut layers, &bytes, 3).unwrap_err();
        assert_eq!(error, Fault::Web(fault));
        let close = sent(&mut layers);
        assert_eq!(close, [&[0x88, 2][..], &code.to_be_bytes()].concat(), "{error}");
        // Nothing more is taken, and nothing more is said.
        assert_eq!(received(&mut layers, &frame(0x82, b"x"), 9), Ok(Vec::new()));
        assert_eq!(sent(&mut layers), []);
    }
}

#[test]
fn pings_are_answered_in_the_middle_of_a_message_and_close_is_once() {
    let mut layers = open_server();
    let bytes = [
        frame(0x02, b"ab"),
        frame(0x89, b"ping"),
        frame(0x8a, b"pong"),
        frame(0x80, b"cd"),
    ]
    .concat();
    assert_eq!(received(&mut layers, &bytes, 2).unwrap(), b"abcd");
    assert_eq!(sent(&mut layers), b"\x8a\x04ping");
    assert!(!layers.has_ended());
    assert_eq!(
        received(&mut layers, &frame(0x88, &1000_u16.to_be_bytes()), 1),
        Ok(Vec::new())
    );
    assert!(layers.has_ended());
    layers.say_goodbye();
    assert_eq!(sent(&mut layers), b"\x88\x02\x03\xe8");
}

#[test]
fn a_client_and_a_server_talk() {
    let headers = [("Authorization".to_owned(), "Bearer x".to_owned())];
    let mut client = Layers::with_request(None, Request::new("h:1", "mqtt", &headers).unwrap());
    let mut server = server();
    let asked = sent(&mut client);
    let text = String::from_utf8_lossy(&asked);
    assert!(text.starts_with("GET /mqtt HTTP/1.1\r\nHost: h:1\r\n"), "{text}");
    assert!(text.contains("\r\nAuthorization: Bearer x\r\n"), "{text}");
    received(&mut server, &asked, 5).unwrap();
    received(&mut client, &sent(&mut server), 5).unwrap();
    assert!(client.is_open() && server.is_open());

    let payload: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let mut left = &payload[..];
    let mut came = Vec::new();
    while !left.is_empty() {
        let n = client
            .send(&[IoSlice::new(&left[..1]), IoSlice::new(&left[1..])])
            .unwrap();
        left = &left[n..];
        came.extend(received(&mut server, &sent(&mut client), 1_000).unwrap());
    }
    assert_eq!(came, payload);
    server.send(&[IoSlice::new(b"back")]).unwrap();
    assert_eq!(received(&mut client, &sent(&mut server), 1).unwrap(), b"back");
}

#[test]
fn answers_that_open_nothing() {
    let cases = [
        ("HTTP/1.1 404 Not Found\r\n\r\n", "404 Not Found"),
        ("HTTP/1.1 101 S\r\nUpgrade: h2c\r\n\r\n", "Upgrade"),
        (
            "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n",
            "another request",
        ),
        ("\x20\x02\0\0", "MQTT came instead of HTTP"),
    ];
    for (answer, expected) in cases {
        let mut client = Layers::with_request(None, Request::new("h", "/", &[]).unwrap());
        let error = client
            .receive(answer.as_bytes(), &mut [])
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{answer}: {error}");
    }
    for (path, headers) in [
        ("/a b", ("X", "y")),
        ("/", ("Upgrade", "h2c")),
        ("/", ("A b", "y")),
        ("/", ("A", "b\r\nC: d")),
    ] {
        let headers = [(headers.0.to_owned(), headers.1.to_owned())];
        assert!(Request::new("h", path, &headers).is_err(), "{path} {headers:?}");
    }
}

proptest! {
    #[test]
    fn any_cut_reads_alike(
        frames in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..300), any::<bool>()), 1..8),
        piece in 1_usize..400,
    ) {
        let (mut bytes, mut expected, mut in_message) = (Vec::new(), Vec::new(), false);
        for (payload, is_final) in &frames {
            let opcode = if in_message { 0 } else { 2 };
            bytes.extend(frame(opcode | if *is_final { 0x80 } else { 0 }, payload));
            expected.extend_from_slice(payload);
            in_message = !is_final;
        }
        prop_assert_eq!(received(&mut open_server(), &bytes, piece).unwrap(), expected);
    }

    #[test]
    fn rubbish_is_refused_or_read_and_never_kept(bytes in prop::collection::vec(any::<u8>(), 0..600), piece in 1_usize..100) {
        let _ = received(&mut open_server(), &bytes, piece);
        let _ = received(&mut server(), &bytes, piece);
    }
}
