//! Every packet has a line, and the line has the packet's bytes.

#![allow(missing_docs)]

#[allow(dead_code)]
#[path = "../../../crates/codec/tests/properties/arbitrary.rs"]
mod arbitrary;

use martlet_codec::{Decoded, Limits, Packet, Version};
use martlet_conformance::notation;
use proptest::prelude::*;

/// The line of the packet, read back into bytes.
fn there_and_back(bytes: &[u8], known: Option<Version>, version: Version) -> (String, Vec<u8>) {
    let Ok(Decoded::Packet(packet, _)) = Packet::decode(bytes, known, &Limits::NONE) else {
        panic!("{bytes:x?} is no packet");
    };
    let line = notation::line_of(&packet);
    let again = notation::parse(&line, version).unwrap_or_else(|error| panic!("{line}: {error}"));
    (line, again)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_packet_reads_back(packet in arbitrary::packet(), version in arbitrary::version()) {
        prop_assume!(packet.exists_in(version));
        let bytes = packet.encode(version);
        // The name and the value of a user property are split at the first colon.
        prop_assume!(!bytes.contains(&b':'));
        let known = (bytes[0] >> 4 != 1).then_some(version);
        let (line, again) = there_and_back(&bytes, known, version);
        let (line_again, _) = there_and_back(&again, known, version);
        prop_assert_eq!(line, line_again);
        // Identical, but for a connect refused in version 3 with a reason that has no code there.
        prop_assert_eq!(again, bytes);
    }
}

#[test]
fn lines() {
    let cases = [
        (
            "connect v=3.1.1 id=a clean keep_alive=60 user=\"u\" will w/t qos=1 retain \"gone\"",
            Version::V3_1_1,
        ),
        (
            "connect v=5.0 id=\"\" session-expiry-interval=10 will w will-delay-interval=5 \"\"",
            Version::V5,
        ),
        ("connack session", Version::V3_1_1),
        ("connack unsupported-protocol-version", Version::V3_1_1),
        ("connack server-keep-alive=5 user-property=a:b", Version::V5),
        ("publish a/b \"hello\"", Version::V3_1),
        (
            "publish \"with space\" qos=2 id=7 dup retain user-property=\"a b:\" \"x\\x00\\xff\"",
            Version::V5,
        ),
        ("publish \"\" topic-alias=3 \"x\"*100", Version::V5),
        ("puback 7 no-matching-subscribers", Version::V5),
        ("pubrec 7", Version::V3_1_1),
        ("subscribe 1 subscription-identifier=3 a", Version::V5),
        (
            "subscribe 1 a/+ qos=1 no_local retain_as_published retain_handling=2 # qos=2",
            Version::V5,
        ),
        ("suback 1 0 1 2 not-authorized", Version::V5),
        ("unsubscribe 2 a/+ $share/g/b", Version::V3_1_1),
        ("unsuback 2 success no-subscription-existed", Version::V5),
        ("disconnect", Version::V3_1),
        (
            "disconnect disconnect-with-will-message session-expiry-interval=0",
            Version::V5,
        ),
        (
            "auth re-authenticate authentication-method=m authentication-data=\"\\x00\"",
            Version::V5,
        ),
    ];
    for (line, version) in cases {
        let bytes = notation::parse(line, version).unwrap();
        let known = (bytes[0] >> 4 != 1).then_some(version);
        let (again, _) = there_and_back(&bytes, known, version);
        // Properties come last when a line is written.
        let sorted = |line: &str| {
            let mut words: Vec<_> = line.split(' ').map(str::to_owned).collect();
            words.sort();
            words
        };
        assert_eq!(sorted(&again), sorted(line));
    }
}
