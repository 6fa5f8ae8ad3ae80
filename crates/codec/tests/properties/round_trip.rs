//! What is encoded is decoded alike, whole or in pieces.

use martlet_codec::{
    Decoded, Extras, Limits, Packet, PacketType, PropertyId, SubAck, SubscribeOptions, Version,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::arbitrary::{self, Owned, in_version};
use crate::oracle;

proptest! {
    #![proptest_config(crate::config())]

    /// The short way to decode an acknowledgement is no other way.
    #[test]
    fn a_short_acknowledgement_is_decoded_as_any_packet(first: u8, id: u16, more in vec(any::<u8>(), 0..3)) {
        let mut bytes = vec![first, 2];
        bytes.extend_from_slice(&id.to_be_bytes());
        bytes.extend_from_slice(&more);
        for version in [Version::V3_1, Version::V3_1_1, Version::V5] {
            let decoded = Packet::decode(&bytes, Some(version), &Limits::NONE);
            if let Some((packet, n)) = Packet::decode_short_ack(&bytes) {
                prop_assert_eq!(decoded, Ok(Decoded::Packet(packet, n)));
            } else if let Ok(Decoded::Packet(packet, 4)) = decoded {
                let is_ack = matches!(
                    packet,
                    Packet::PubAck(_) | Packet::PubRec(_) | Packet::PubRel(_) | Packet::PubComp(_)
                );
                // The DUP that version 3.1 allows in PUBREL is not for the short way.
                prop_assert!(!is_ack || version == Version::V3_1);
            }
        }
    }
}

/// The version that a decoder knows before this packet.
fn known(packet: &Owned, version: Version) -> Option<Version> {
    (!matches!(packet, Owned::Connect { .. })).then_some(version)
}

fn decode_whole(bytes: &[u8], version: Option<Version>) -> Packet<'_> {
    match Packet::decode(bytes, version, &Limits::NONE) {
        Ok(Decoded::Packet(packet, n)) => {
            assert_eq!(n, bytes.len());
            packet
        }
        other => panic!("{bytes:x?} in {version:?}: {other:?}"),
    }
}

/// As `==`, but for what encoding may choose: the place of the topic alias, the failure code of a
/// version 3 SUBACK.
fn assert_same(sent: &Packet<'_>, got: &Packet<'_>, version: Version) {
    match (sent, got) {
        (Packet::Publish(a), Packet::Publish(b)) => {
            assert_eq!(
                (a.dup, a.retain, a.delivery, a.address),
                (b.dup, b.retain, b.delivery, b.address)
            );
            assert_eq!(a.properties.as_bytes(), oracle::without_alias(b));
            assert_eq!(a.payload, b.payload);
        }
        (Packet::Subscribe(a), Packet::Subscribe(b)) if version != Version::V5 => {
            assert_eq!((a.packet_id, b.properties.is_empty()), (b.packet_id, true));
            let asked = a
                .requests
                .iter()
                .map(|(f, options)| (f, SubscribeOptions::qos(options.qos)));
            assert!(asked.eq(b.requests.iter()));
        }
        (
            Packet::SubAck(SubAck {
                packet_id, reasons, ..
            }),
            Packet::SubAck(b),
        ) if version != Version::V5 => {
            assert_eq!((*packet_id, b.properties.is_empty()), (b.packet_id, true));
            let expected = reasons
                .iter()
                .map(|c| if c.is_error() { 0x80 } else { c.as_u8() });
            assert!(expected.eq(b.reasons.iter().map(martlet_codec::ReasonCode::as_u8)));
        }
        _ => assert_eq!(sent, got),
    }
}

proptest! {
    #![proptest_config(crate::config())]

    #[test]
    fn every_packet_comes_back(packet in arbitrary::packet(), version in arbitrary::version()) {
        prop_assume!(packet.exists_in(version));
        let bytes = packet.encode(version);
        packet.with(version, |sent| {
            assert_same(&in_version(sent, version), &decode_whole(&bytes, known(&packet, version)), version);
        });
    }

    /// Each version cuts alone: a message that waited in version 5 goes out to version 3.
    #[test]
    fn what_one_version_sent_another_can_be_told(packet in arbitrary::packet(), to in arbitrary::version()) {
        prop_assume!(packet.exists_in(to) && !matches!(packet, Owned::Connect { .. }));
        let bytes = packet.encode(Version::V5);
        let forwarded = decode_whole(&bytes, Some(Version::V5));
        prop_assume!(!matches!(&forwarded, Packet::Publish(p)
            if matches!(p.address, martlet_codec::Address::Alias(_)) && to != Version::V5));
        let mut out = Vec::new();
        forwarded.encode(to, &mut out);
        decode_whole(&out, Some(to));
    }

    #[test]
    fn encoded_len_is_what_encode_writes(
        packet in arbitrary::publish(),
        version in arbitrary::version(),
        expiry_s in proptest::option::of(any::<u32>()),
        ids in vec(1..=268_435_455_u32, 0..4),
    ) {
        packet.with(version, |packet| {
            let Packet::Publish(publish) = packet else { unreachable!() };
            // The sender's expiry replaces the message's own, which it takes out first.
            let mut own = Vec::new();
            publish.properties.retain_into(&mut own, |id| id != PropertyId::MessageExpiryInterval);
            let place = martlet_codec::Place::Packet(PacketType::Publish);
            let publish = martlet_codec::Publish {
                properties: martlet_codec::Properties::check(&own, place).unwrap(),
                ..*publish
            };
            let extras = Extras { expiry_s, subscription_ids: &ids };
            let mut out = Vec::new();
            publish.encode(version, extras, &mut out);
            assert_eq!(out.len(), publish.encoded_len(version, extras));
            let mut parts = Vec::new();
            publish.encode_head(version, extras, &mut parts);
            parts.extend_from_slice(publish.payload);
            assert_eq!(out, parts);

            let Packet::Publish(got) = decode_whole(&out, Some(version)) else { unreachable!() };
            if version == Version::V5 {
                assert_eq!(got.properties.message_expiry_s(), expiry_s);
                let own_ids = publish.properties.subscription_identifiers().map(std::num::NonZeroU32::get);
                let expected: Vec<_> = own_ids.chain(ids.iter().copied()).collect();
                let got_ids: Vec<_> = got.properties.subscription_identifiers().map(std::num::NonZeroU32::get).collect();
                assert_eq!(got_ids, expected);
            }
            // What came in can be sent on: the alias among the properties is not counted twice.
            let mut again = Vec::new();
            got.encode(version, Extras::NONE, &mut again);
            assert_eq!(again.len(), got.encoded_len(version, Extras::NONE));
        });
    }

    #[test]
    fn any_chunking_gives_the_same_packets(
        packets in vec(arbitrary::packet(), 1..8),
        version in arbitrary::version(),
        chunks in vec(1..40_usize, 1..50),
    ) {
        // One CONNECT at most, and in front.
        let packets: Vec<_> = packets
            .iter()
            .filter(|p| p.exists_in(version))
            .enumerate()
            .filter(|(i, p)| *i == 0 || !matches!(p, Owned::Connect { .. }))
            .map(|(_, p)| p.encode(version))
            .collect();
        prop_assume!(!packets.is_empty());
        let stream = packets.concat();
        let mut known = (packets[0][0] >> 4 != 1).then_some(version);
        let (mut buf, mut fed, mut cuts) = (Vec::new(), 0, chunks.iter().cycle());
        let mut seen = Vec::new();
        while fed < stream.len() {
            let next = (fed + cuts.next().unwrap()).min(stream.len());
            buf.extend_from_slice(&stream[fed..next]);
            fed = next;
            loop {
                match Packet::decode(&buf, known, &Limits::NONE).unwrap() {
                    Decoded::Packet(_, n) => {
                        seen.push(buf.drain(..n).collect::<Vec<_>>());
                        known = Some(version);
                    }
                    Decoded::Incomplete { bytes } => {
                        let whole = packets.get(seen.len()).map(Vec::len);
                        let header = packets.get(seen.len()).map_or(0, |p| {
                            2 + p[1..].iter().take_while(|b| **b & 0x80 != 0).count()
                        });
                        // The length is known exactly when the fixed header is here.
                        assert_eq!(bytes, whole.filter(|_| buf.len() >= header));
                        break;
                    }
                }
            }
        }
        prop_assert_eq!(seen, packets);
    }

    #[test]
    fn a_maximum_costs_reason_string_and_user_properties_alone(
        packet in arbitrary::packet(),
        version in arbitrary::version(),
        percent in 0..=100_usize,
    ) {
        prop_assume!(packet.exists_in(version));
        let whole = packet.encode(version);
        let bytes_max = whole.len() * percent / 100;
        packet.with(version, |sent| {
            oracle::within(sent, version);
            let mut out = Vec::new();
            if !sent.encode_within(bytes_max as u32, version, &mut out) {
                return;
            }
            assert!(out.len() <= bytes_max);
            if out == whole {
                return;
            }
            // Something was dropped: what is left is what a packet without the two would be.
            let optional = |id| matches!(id, PropertyId::ReasonString | PropertyId::UserProperty);
            let got = decode_whole(&out, known(&packet, version));
            let (left, had) = (listed(&got), listed(sent));
            let had: Vec<_> = had.into_iter().filter(|(id, _)| !optional(*id)).collect();
            assert_eq!(left, had);
            assert_eq!(version, Version::V5, "version 3 has nothing to drop");
        });
    }
}

/// The properties of the packets that may be shortened.
fn listed<'a>(packet: &Packet<'a>) -> Vec<(PropertyId, martlet_codec::Value<'a>)> {
    let properties = match packet {
        Packet::ConnAck(p) => p.properties,
        Packet::PubAck(p) | Packet::PubRec(p) | Packet::PubRel(p) | Packet::PubComp(p) => p.properties,
        Packet::SubAck(p) => p.properties,
        Packet::UnsubAck(p) => p.properties,
        Packet::Disconnect(p) => p.properties,
        Packet::Auth(p) => p.properties,
        other => panic!("{other:?} was shortened"),
    };
    properties.iter().collect()
}
