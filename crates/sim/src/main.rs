//! `cargo xtask sim`.
use martlet_sim::{check::check, run, Play};
fn main() {
    if let Some(name) = std::env::args().nth(1).filter(|a| a == "plant").and(std::env::args().nth(2)) {
        for bug in martlet_sim::plant::Bug::ALL { if name != "all" && bug.name() != name { continue }
            let t = std::time::Instant::now();
            let f = (0..1000).find_map(|seed| { let h = run(Play { seed, bug: Some(*bug), ..Play::default() }); check(&h).first().map(|b| (seed, b.checker, b.what.clone())) });
            println!("{} {f:?} {:?}", bug.name(), t.elapsed());
        }
        return;
    }
    let args: Vec<u64> = std::env::args().skip(1).map(|a| a.parse().unwrap()).collect();
    if let [seed] = args[..] {
        let history = run(Play { seed, prints: true, ..Play::default() });
        for b in check(&history) { println!("{b:?}"); for l in history.lines_about(b.message, b.client) { println!("    {l}"); } }
        return;
    }
    let t = std::time::Instant::now();
    let mut n = 0;
    for seed in args[0]..args[1] {
        let history = run(Play { seed, ..Play::default() });
        n += history.facts.len();
        for b in check(&history).iter().take(2) { let f = history.facts.iter().any(|a| matches!(a.fact, martlet_sim::history::Fact::Store(_))); let st = history.facts.iter().find_map(|a| match a.fact { martlet_sim::history::Fact::Started{store,..} => Some(store), _ => None}).unwrap_or("?"); println!("seed {seed} {st}{} {} {}", if f {"-F"} else {""}, b.checker, b.what); }
    }
    println!("{n} facts {:?}", t.elapsed());
}
