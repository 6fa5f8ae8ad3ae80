//! Any bytes as a packet, in every version, under the first byte's choice of limits.
#![no_main]

#[allow(dead_code)]
#[path = "../../crates/codec/tests/properties/oracle.rs"]
mod oracle;

use libfuzzer_sys::fuzz_target;
use martlet_codec::Limits;

const SMALL: Limits =
    Limits { packet_bytes_max: 200, request_bytes_max: 100, ack_bytes_max: 20, topic_separators_max: 3 };

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else {
        return;
    };
    let limits = match choice % 3 {
        0 => Limits::NONE,
        1 => Limits::default(),
        _ => SMALL,
    };
    for version in oracle::VERSIONS {
        oracle::check(bytes, version, &limits);
        oracle::same_prefixes(bytes, version, &limits);
    }
});
