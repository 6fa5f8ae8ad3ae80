use bytes::Bytes;
use martlet_codec::{PropertiesBuf, Qos, TopicBuf};

use super::*;
use crate::format::Format;
use crate::program::{Program, Role};

fn settings() -> Settings {
    Settings::new(Role {
        program: Program::Sub,
        manner: Manner::Martlet,
    })
}

fn message(topic: &str, payload: &'static [u8]) -> Incoming {
    Incoming {
        topic: TopicBuf::new(topic).unwrap(),
        payload: Bytes::from_static(payload),
        qos: Qos::AtMostOnce,
        retain: false,
        dup: false,
        packet_id: None,
        topic_alias: None,
        properties: PropertiesBuf::new(),
    }
}

fn printed(settings: &Settings, messages: &[Incoming]) -> String {
    let mut output = Output::new(settings);
    for message in messages {
        output.message(message, settings);
    }
    String::from_utf8(output.buffer).unwrap()
}

#[test]
fn payload_topic_and_end_of_line() {
    let messages = [message("a/b", b"x y"), message("a/b", b"")];
    type Set = fn(&mut Settings);
    let cases: &[(Set, &str)] = &[
        (|_| (), "x y\n"),
        (|s| s.eol = false, "x y"),
        (|s| s.verbose = true, "a/b x y\na/b (null)\n"),
        (
            |s| {
                s.verbose = true;
                s.eol = false;
            },
            "a/b x y",
        ),
        (
            |s| s.format = Some(Format::new("%t:%l").unwrap()),
            "a/b:3\na/b:0\n",
        ),
        (
            |s| {
                s.format = Some(Format::new("%t:%l\\n").unwrap());
                s.eol = false;
            },
            "a/b:3\na/b:0\n",
        ),
    ];
    for (set, expected) in cases {
        let mut settings = settings();
        set(&mut settings);
        assert_eq!(printed(&settings, &messages), *expected);
    }
}

#[test]
fn watch_gives_each_topic_a_line() {
    let mut settings = settings();
    settings.watch = true;
    settings.verbose = true;
    let messages = [message("a", b"1"), message("b", b"2"), message("a", b"3")];
    assert_eq!(
        printed(&settings, &messages),
        "\x1b[2J\x1b[1;1HBroker: localhost\n\
         \x1b[2;1H\x1b[Ka 1\n\x1b[2;1H\n\x1b[3;1H\x1b[Kb 2\n\x1b[3;1H\n\x1b[2;1H\x1b[Ka 3\n\x1b[3;1H\n"
    );
}

#[test]
fn a_share_of_the_messages() {
    let mut settings = settings();
    settings.random_filter = 500;
    let messages = vec![message("a", b"x"); 1_000];
    let lines = printed(&settings, &messages).lines().count();
    assert!((350..650).contains(&lines), "{lines}");
    settings.random_filter = RANDOM_FILTER_ALL;
    assert_eq!(printed(&settings, &messages).lines().count(), 1_000);
}
