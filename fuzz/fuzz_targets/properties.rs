//! Any bytes as the properties of every packet.
#![no_main]

#[allow(dead_code)]
#[path = "../../crates/codec/tests/properties/oracle.rs"]
mod oracle;

use libfuzzer_sys::fuzz_target;
use martlet_codec::Properties;

fuzz_target!(|data: &[u8]| {
    for place in oracle::places() {
        if let Ok(properties) = Properties::check(data, place) {
            oracle::read_all(properties);
        }
    }
});
