//! Any bytes as a topic name and as a filter; two of them matched against each other.
#![no_main]

#[allow(dead_code)]
#[path = "../../crates/codec/tests/properties/oracle.rs"]
mod oracle;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: (&[u8], &[u8])| {
    oracle::check_text(data.0);
    oracle::check_text(data.1);
    oracle::check_match(data.0, data.1);
});
