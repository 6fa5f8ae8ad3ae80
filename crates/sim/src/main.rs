//! `cargo xtask sim`: plays one seed with a trace, or many on all cores.

use std::cell::Cell;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use martlet_sim::check::{Broken, check};
use martlet_sim::history::History;
use martlet_sim::plant::Bug;
use martlet_sim::{Play, cut, cuts, ours, run};

/// Plays whole brokers and clients from seeds
#[derive(Parser)]
#[command(name = "cargo xtask sim")]
struct Args {
    /// Play this seed and print all that happens
    #[arg(long, conflicts_with_all = ["seeds", "minutes"])]
    seed: Option<u64>,
    /// Play the seeds from A to below B
    #[arg(long, value_name = "A..B", value_parser = range)]
    seeds: Option<(u64, u64)>,
    /// Play as many seeds as fit
    #[arg(long)]
    minutes: Option<u64>,
    /// Have the disk fail too: writes, syncs, reads, and all else that can
    #[arg(long)]
    harsh: bool,
    /// Cut the power at each point of what short runs do to the disk
    #[arg(long)]
    cuts: bool,
    /// Of a seed, only the short run with this power cut, with a trace
    #[arg(long, requires = "seed")]
    cut: Option<usize>,
    /// Put this bug in
    #[arg(long, value_parser = bug)]
    plant: Option<Bug>,
    /// Play the engine of our own client against the broker instead
    #[arg(long, conflicts_with_all = ["harsh", "cuts", "cut", "plant"])]
    client: bool,
    /// Put a bug into the client's store: it says that something is kept before it is
    #[arg(long, requires = "client")]
    lies: bool,
}

/// Seeds that are played when nothing else is asked for.
const SEEDS: u64 = 1_000;

/// Broken promises that are shown of one seed.
const SHOWN: usize = 3;

thread_local! {
    static SEED: Cell<u64> = const { Cell::new(0) };
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let (low, high) = text.split_once("..").ok_or("a range looks like 0..1000")?;
    let number = |text: &str| text.parse().map_err(|error| format!("{text}: {error}"));
    Ok((number(low)?, number(high)?))
}

fn bug(text: &str) -> Result<Bug, String> {
    let names: Vec<_> = Bug::ALL.iter().map(|bug| bug.name()).collect();
    Bug::from_name(text).ok_or_else(|| format!("the bugs are {}", names.join(", ")))
}

fn main() -> ExitCode {
    let args = Args::parse();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        eprintln!("seed {}", SEED.get());
        hook(info);
    }));
    let (low, high) = match (args.seed, args.seeds, args.minutes) {
        (Some(seed), ..) => (seed, seed + 1),
        (_, Some(range), _) => range,
        (_, _, Some(_)) => (0, u64::MAX),
        _ => (0, SEEDS),
    };
    let until = args
        .minutes
        .map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    let began = Instant::now();
    let (next, played, failed) = (AtomicU64::new(low), AtomicU64::new(0), AtomicU64::new(0));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= high || until.is_some_and(|until| Instant::now() >= until) {
                        return;
                    }
                    SEED.set(seed);
                    let holds = play(&args, seed);
                    played.fetch_add(1, Ordering::Relaxed);
                    failed.fetch_add(u64::from(!holds), Ordering::Relaxed);
                }
            });
        }
    });
    let (played, failed) = (played.into_inner(), failed.into_inner());
    let seconds = began.elapsed().as_secs_f64();
    println!("{played} seeds in {seconds:.1} s, {failed} with broken promises");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Plays one seed; whether all promises hold.
fn play(args: &Args, seed: u64) -> bool {
    if args.client {
        return play_client(args, seed);
    }
    let what = Play {
        seed,
        bug: args.plant,
        is_harsh: args.harsh,
        prints: args.seed.is_some() && !args.cuts,
    };
    if args.cuts {
        let found = cuts(what);
        for (at, broken, lines) in &found {
            tell(seed, &format!("power cut {at}"), broken, lines);
        }
        return found.is_empty();
    }
    let history = match args.cut {
        Some(at) => cut(what, at),
        None => run(what),
    };
    let found = check(&history);
    for broken in found.iter().take(SHOWN) {
        tell(seed, "", broken, &about(&history, broken));
    }
    found.is_empty()
}

fn play_client(args: &Args, seed: u64) -> bool {
    let faults = ours::run(ours::Play {
        seed,
        lies: args.lies,
        prints: args.seed.is_some(),
    });
    for fault in &faults {
        println!("seed {seed}: client: {fault}");
    }
    faults.is_empty()
}

fn about(history: &History, broken: &Broken) -> Vec<String> {
    history.lines_about(broken.message, broken.client)
}

fn tell(seed: u64, at: &str, broken: &Broken, lines: &[String]) {
    let mut text = format!("seed {seed} {at}: {}: {}\n", broken.checker, broken.what);
    for line in lines {
        text.push_str(&format!("    {line}\n"));
    }
    print!("{text}");
}
