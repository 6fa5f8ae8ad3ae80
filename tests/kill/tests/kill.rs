//! Kills in CI, and that they find what they look for.

use martlet_interop::on_mosquitto;
use martlet_kill::{Blow, Durability, Report, Settings, World};

fn number(variable: &str, default: u64) -> u64 {
    let told = std::env::var(variable).ok();
    told.map_or(default, |told| {
        told.parse()
            .unwrap_or_else(|_| panic!("{variable} is no number: {told}"))
    })
}

fn settings(durability: Durability, blow: Blow) -> Settings {
    Settings {
        rounds: number("MARTLET_KILL_ROUNDS", 20) as u32,
        seed: number("MARTLET_KILL_SEED", 1),
        durability,
        blow,
    }
}

fn finds_nothing(name: &str, settings: Settings) -> Report {
    let rounds = settings.rounds;
    let mut world = World::new(name, settings);
    let ran = world.run();
    let report = world.report();
    println!("{report}");
    if let Err(fault) = ran {
        panic!("{fault}");
    }
    assert!(report.acknowledged() > 0, "a run without messages shows nothing");
    assert_eq!(report.lost(), 0);
    assert_eq!(report.kills(), rounds);
    report
}

/// So many rounds hit a point, whatever the seed: half of them aim at one.
const ROUNDS_FOR_POINTS: u32 = 20;

#[test]
fn nothing_acknowledged_is_lost() {
    let settings = settings(Durability::Fsync, Blow::Kill);
    let is_long = settings.rounds >= ROUNDS_FOR_POINTS;
    let report = finds_nothing("kill", settings);
    if is_long && !on_mosquitto() {
        let at_points = report.kills_at_points();
        assert!(
            at_points > 0,
            "it was killed by the clock only: `cargo xtask kill` builds the broker with kill points"
        );
    }
}

/// What the system has, a kill does not take.
#[test]
fn nothing_is_lost_without_fsync() {
    let rounds = 5;
    let settings = Settings {
        rounds,
        ..settings(Durability::Os, Blow::Kill)
    };
    finds_nothing("os", settings);
}

/// The ledger accuses nobody who does nothing wrong: the broker is not killed, all connections are cut.
#[test]
fn cut_connections_do_no_harm() {
    let rounds = 5;
    let settings = Settings {
        rounds,
        ..settings(Durability::None, Blow::Cut)
    };
    finds_nothing("cut", settings);
}

/// A ledger that finds nothing wrong with a broker that forgets everything is worth nothing.
#[test]
fn a_broker_that_stores_nothing_is_found_out() {
    let rounds = 5;
    let settings = Settings {
        rounds,
        ..settings(Durability::None, Blow::Kill)
    };
    let mut world = World::new("forgets", settings);
    let ran = world.run();
    world.forget();
    let fault = ran.expect_err("sessions, messages and subscriptions are gone");
    assert!(
        ["is gone", "has nothing"]
            .iter()
            .any(|words| fault.to_string().contains(words)),
        "{fault}"
    );
}
