//! Properties of the codec: what holds of all packets and of all bytes.

#![allow(missing_docs)]

mod arbitrary;
mod hostile;
mod oracle;
mod round_trip;

/// A failure prints its smallest input; it becomes a row of the tables, not a file of seeds.
fn config() -> proptest::test_runner::Config {
    proptest::test_runner::Config {
        cases: 1_000,
        failure_persistence: None,
        ..Default::default()
    }
}
