//! A few hundred seeds of our own client against the broker, and a bug that they must find.

use martlet_sim::ours::{Play, run};

fn faults(seeds: std::ops::Range<u64>, lies: bool) -> Vec<String> {
    let play = |seed| {
        let prints = false;
        let faults = run(Play { seed, lies, prints });
        faults
            .into_iter()
            .map(move |fault| format!("seed {seed}: {fault}"))
    };
    seeds.flat_map(play).collect()
}

#[test]
fn our_client_loses_and_repeats_nothing_and_comes_to_rest() {
    let faults = faults(0..300, false);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// A store that says too early that something is kept.
#[test]
fn a_store_that_lies_is_found_out() {
    let faults = faults(0..30, true).join("\n");
    for found in [
        "the broker never got it",
        "the broker has got it twice",
        "offered again",
    ] {
        assert!(faults.contains(found), "{found}\n{faults}");
    }
}
