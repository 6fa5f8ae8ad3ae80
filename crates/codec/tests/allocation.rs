//! Decoding allocates nothing, whatever the bytes say: in a binary of its own, because the counter is
//! the process's allocator.

use martlet_codec::Version::{V3_1_1, V5};
use martlet_codec::{Decoded, Limits, Packet, Version};

/// Decodes and reads everything that an iterator reads again.
fn decode(bytes: &[u8], version: Option<Version>) -> bool {
    match Packet::decode(bytes, version, &Limits::NONE) {
        Ok(Decoded::Packet(packet, _)) => {
            match packet {
                Packet::Publish(p) => {
                    std::hint::black_box(p.properties.user_properties().count());
                    std::hint::black_box(p.properties.subscription_identifiers().count());
                }
                Packet::Subscribe(p) => {
                    std::hint::black_box(p.requests.iter().count());
                }
                Packet::Unsubscribe(p) => {
                    std::hint::black_box(p.filters.iter().count());
                }
                Packet::SubAck(p) => {
                    std::hint::black_box(p.reasons.iter().count());
                }
                _ => {}
            }
            true
        }
        Ok(Decoded::Incomplete { .. }) | Err(_) => false,
    }
}

fn varint(n: usize) -> [u8; 3] {
    [
        (n & 0x7f) as u8 | 0x80,
        (n >> 7 & 0x7f) as u8 | 0x80,
        (n >> 14) as u8,
    ]
}

#[test]
fn decoding_allocates_nothing() {
    let user_properties = [0x26, 0, 0, 0, 0].repeat(3_997);
    let body = [
        &[0, 1, b'a'],
        &varint(user_properties.len())[..],
        &user_properties,
    ]
    .concat();
    let many_properties = [&[0x30], &varint(body.len())[..], &body].concat();
    // Bytes, version, whether they are a packet.
    let cases: &[(&[u8], Option<Version>, bool)] = &[
        (b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02ab", None, true),
        (b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x02ab", None, true),
        (b"\x20\x03\x00\x00\x00", Some(V5), true),
        (b"\x30\x06\x00\x03a/bx", Some(V3_1_1), true),
        (
            b"\x32\x0e\x00\x03a/b\x00\x01\x05\x02\x00\x00\x00\x09x",
            Some(V5),
            true,
        ),
        (&many_properties, Some(V5), true),
        (b"\x40\x02\x00\x01", Some(V5), true),
        (b"\x82\x0a\x00\x01\x00\x01a\x00\x00\x01#\x01", Some(V3_1_1), true),
        (b"\xa2\x05\x00\x01\x00\x01a", Some(V3_1_1), true),
        (b"\x90\x05\x00\x01\x00\x01\x02", Some(V3_1_1), true),
        (b"\xc0\x00", Some(V5), true),
        (b"\xe0\x01\x04", Some(V5), true),
        // Lengths that promise 256 MiB reserve nothing.
        (b"\x30\xff\xff\xff\x7f\x00\x03a/b", Some(V3_1_1), false),
        (b"\x10\xff\xff\xff\x7f\x00\x04MQTT\x04\x02", None, false),
        (b"\x30\x07\x00\x03a/b\xff\xff", Some(V5), false),
        (b"\x30\x05\xff\xffa/b", Some(V5), false),
    ];
    for (bytes, version, is_packet) in cases {
        let mut decoded = !is_packet;
        let counted = allocation_counter::measure(|| decoded = decode(bytes, *version));
        assert_eq!(decoded, *is_packet, "{:x?}", &bytes[..bytes.len().min(40)]);
        assert_eq!(counted.count_total, 0, "{:x?}", &bytes[..bytes.len().min(40)]);
    }
    // The counter counts.
    let counted = allocation_counter::measure(|| drop(std::hint::black_box(vec![1_u8; 10])));
    assert_eq!(counted.count_total, 1);
}

#[test]
fn a_small_packet_is_encoded_into_room_that_is_there() {
    let bytes = b"\x32\x0e\x00\x03a/b\x00\x01\x05\x02\x00\x00\x00\x09x";
    let Ok(Decoded::Packet(packet, _)) = Packet::decode(bytes, Some(V5), &Limits::NONE) else {
        panic!("a valid PUBLISH");
    };
    let mut out = Vec::with_capacity(64);
    let counted = allocation_counter::measure(|| packet.encode(V5, &mut out));
    assert_eq!((counted.count_total, out.as_slice()), (0, &bytes[..]));
}
