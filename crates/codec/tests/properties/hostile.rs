//! Bytes that nobody should send: no panic, no wish beyond the limits, the same answer at any chunking.

use martlet_codec::{Decoded, Limits, Packet, Properties, Version};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::arbitrary::{self, Owned};
use crate::oracle::{self, VERSIONS};

fn limits() -> impl Strategy<Value = Limits> {
    let small = (8..400_u32, 8..400_u32, 4..400_u32, 0..4_u16).prop_map(
        |(packet_bytes_max, request_bytes_max, ack_bytes_max, topic_separators_max)| Limits {
            packet_bytes_max,
            request_bytes_max,
            ack_bytes_max,
            topic_separators_max,
        },
    );
    prop_oneof![Just(Limits::NONE), Just(Limits::default()), small]
}

/// A packet with its remaining length said anew.
fn with_length(packet: &[u8], length: usize) -> Vec<u8> {
    let header = 2 + packet[1..].iter().take_while(|b| **b & 0x80 != 0).count();
    let mut out = vec![packet[0]];
    let mut rest = length;
    loop {
        let more = if rest > 127 { 0x80 } else { 0 };
        out.push((rest & 0x7f) as u8 | more);
        rest >>= 7;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&packet[header..]);
    out
}

fn remaining(packet: &[u8]) -> usize {
    packet.len() - 2 - packet[1..].iter().take_while(|b| **b & 0x80 != 0).count()
}

fn known(packet: &Owned, version: Version) -> Option<Version> {
    (!matches!(packet, Owned::Connect { .. })).then_some(version)
}

proptest! {
    #![proptest_config(crate::config())]

    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..80), limits in limits()) {
        for version in VERSIONS {
            oracle::check(&bytes, version, &limits);
            oracle::same_prefixes(&bytes, version, &limits);
        }
    }

    #[test]
    fn any_body_behind_an_honest_header(first in any::<u8>(), body in vec(any::<u8>(), 0..60), limits in limits()) {
        let bytes = [&[first, body.len() as u8][..], &body].concat();
        for version in VERSIONS {
            oracle::check(&bytes, version, &limits);
        }
    }

    #[test]
    fn valid_packets_with_bytes_changed(
        packet in arbitrary::packet(),
        version in arbitrary::version(),
        edits in vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        limits in limits(),
    ) {
        let mut bytes = packet.encode(version);
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        for version in VERSIONS {
            oracle::check(&bytes, version, &limits);
            oracle::same_prefixes(&bytes, version, &limits);
        }
    }

    /// The stream stops at every byte: never a packet, never an error, always the true length.
    #[test]
    fn a_stream_that_stops(packet in arbitrary::packet(), version in arbitrary::version()) {
        prop_assume!(packet.exists_in(version));
        let bytes = packet.encode(version);
        let header = bytes.len() - remaining(&bytes);
        for n in 0..bytes.len().min(2_000) {
            let bytes_known = (n >= header).then_some(bytes.len());
            prop_assert_eq!(
                Packet::decode(&bytes[..n], known(&packet, version), &Limits::NONE),
                Ok(Decoded::Incomplete { bytes: bytes_known })
            );
        }
    }

    /// The packet itself ends at every byte, its length telling the truth about that.
    #[test]
    fn a_packet_that_is_cut(packet in arbitrary::packet(), version in arbitrary::version()) {
        prop_assume!(packet.exists_in(version));
        let bytes = packet.encode(version);
        for n in 0..remaining(&bytes).min(600) {
            let mut cut = with_length(&bytes, n);
            let header = cut.len() - remaining(&bytes);
            cut.truncate(header + n);
            // An exact allocation, so that a read beyond the end is one beyond the block.
            let cut = cut.into_boxed_slice();
            oracle::check(&cut, known(&packet, version), &Limits::NONE);
            if matches!(packet, Owned::Connect { .. }) && version != Version::V3_1 {
                prop_assert!(Packet::decode(&cut, None, &Limits::NONE).is_err());
            }
        }
    }

    #[test]
    fn lengths_that_lie(packet in arbitrary::packet(), version in arbitrary::version(), off in 1..=4_usize) {
        prop_assume!(packet.exists_in(version));
        let bytes = packet.encode(version);
        let longer = with_length(&bytes, remaining(&bytes) + off);
        oracle::check(&longer, known(&packet, version), &Limits::NONE);
        let short_of = Decoded::Incomplete { bytes: Some(longer.len() + off) };
        prop_assert_eq!(Packet::decode(&longer, known(&packet, version), &Limits::NONE), Ok(short_of));
        // The next packet stands where the lie points.
        let followed = [&longer[..], &[0xc0, 0, 0xc0, 0]].concat();
        oracle::check(&followed, known(&packet, version), &Limits::NONE);
        if let Some(length) = remaining(&bytes).checked_sub(off) {
            oracle::check(&with_length(&bytes, length), known(&packet, version), &Limits::NONE);
        }
    }

    #[test]
    fn any_properties(bytes in vec(any::<u8>(), 0..40)) {
        for place in oracle::places() {
            if let Ok(properties) = Properties::check(&bytes, place) {
                oracle::read_all(properties);
            }
        }
    }

    #[test]
    fn any_text(bytes in vec(any::<u8>(), 0..20), filter in arbitrary::filter()) {
        oracle::check_text(&bytes);
        oracle::check_text(filter.as_bytes());
    }

    /// Few letters, so that filters and topics meet.
    #[test]
    fn any_filter_against_any_topic(filter in "[ab+#/$]{1,6}", topic in "[ab/$]{1,6}") {
        oracle::check_match(filter.as_bytes(), topic.as_bytes());
        oracle::check_match(format!("$share/g/{filter}").as_bytes(), topic.as_bytes());
    }
}

#[test]
fn sixty_five_thousand_separators() {
    // CVE-2019-11779's shape: no recursion, no quadratic time.
    let deep = "/".repeat(65_535);
    let length = 2 + deep.len();
    let mut bytes = vec![0x30];
    bytes.extend_from_slice(&[
        (length & 0x7f) as u8 | 0x80,
        (length >> 7 & 0x7f) as u8 | 0x80,
        (length >> 14) as u8,
    ]);
    bytes.extend_from_slice(&65_535_u16.to_be_bytes());
    bytes.extend_from_slice(deep.as_bytes());
    oracle::check(&bytes, Some(Version::V3_1_1), &Limits::NONE);
    oracle::check_text(deep.as_bytes());
    let fault = Packet::decode(&bytes, Some(Version::V3_1_1), &Limits::default()).unwrap_err();
    assert_eq!(fault.violation, martlet_codec::Violation::TopicTooDeep);
}
