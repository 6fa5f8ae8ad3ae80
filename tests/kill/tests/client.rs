//! The client, killed at each point between store and transmit.

use martlet_kill::{Forgets, POINTS, Victims, has_victim};

fn number(variable: &str, default: u64) -> u64 {
    let told = std::env::var(variable).ok();
    told.map_or(default, |told| {
        told.parse()
            .unwrap_or_else(|_| panic!("{variable} is no number: {told}"))
    })
}

/// Each point once with the driver of threads and once with the pump.
const ROUNDS: usize = 2 * POINTS.len();

fn check_victim() {
    assert!(
        has_victim(),
        "there is no victim: `cargo xtask kill --client` builds the program with kill points"
    );
}

#[test]
fn a_client_that_is_killed_loses_and_repeats_nothing() {
    check_victim();
    let rounds = number("MARTLET_KILL_ROUNDS", ROUNDS as u64) as usize;
    let seed = number("MARTLET_KILL_SEED", 1);
    let mut victims = Victims::new("kill-client", seed, Forgets::Nothing);
    let report = victims.run(rounds);
    let report = report.unwrap_or_else(|fault| panic!("{fault}"));
    println!("{rounds} rounds, seed {seed}\n{report}");
    assert!(report.accepted() > 0, "a run without messages shows nothing");
    assert!(report.faults().is_empty(), "{}", report.faults().join("\n"));
    if rounds >= ROUNDS {
        assert_eq!(report.points(), POINTS.len(), "a point was never passed");
    }
}

/// A ledger that finds nothing wrong with a client that forgets everything is worth nothing.
#[test]
fn a_client_that_stores_nothing_is_found_out() {
    check_victim();
    let mut victims = Victims::new("kill-client-forgets", 1, Forgets::All);
    let report = victims
        .run(POINTS.len())
        .unwrap_or_else(|fault| panic!("{fault}"));
    let faults = report.faults().join("\n");
    assert!(faults.contains("never came"), "{report}");
}
