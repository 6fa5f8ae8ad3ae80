//! Counts the instructions of what the broker does most, and holds them against kept numbers: a slow-down is
//! seen at once, on any machine, however busy it is.
//!
//! A count is the difference of two runs under valgrind, divided by the work between them: what a run does
//! once falls out. `docs/decisions/0005-instruction-counts.md` says why it is done so.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::setup;
use crate::sh::{self, cargo, step};

const KEPT: &str = "benches/instructions.toml";
/// Where the compiler is another one than that of the kept numbers, in percent.
const OTHER_COMPILER_MARGIN: f64 = 10.0;

/// What is kept.
#[derive(Debug, Deserialize)]
struct Kept {
    /// The machine and the compiler that the numbers are of.
    target: String,
    rustc: String,
    /// What a number may grow by before it is a slow-down.
    margin_percent: f64,
    margin_instructions: f64,
    instructions: BTreeMap<String, f64>,
}

/// Something that is counted.
#[derive(Debug, PartialEq)]
struct Work {
    name: String,
    low: u64,
    high: u64,
    each: u64,
}

/// How a count compares with the kept one.
#[derive(Debug, PartialEq)]
enum Verdict {
    Slower,
    Alike,
    Better,
    New,
}

pub(crate) fn run(tighten: bool) -> Result<()> {
    if std::env::consts::ARCH != "x86_64" {
        eprintln!("the numbers in {KEPT} are of x86_64: nothing is compared here");
        return Ok(());
    }
    setup::valgrind()?;
    step(
        "build of what is counted",
        cargo().args([
            "build",
            "--release",
            "--locked",
            "--package",
            "martlet-broker",
            "--example",
            "instructions",
        ]),
    )?;
    let program = sh::target()?.join("release/examples/instructions");
    let works = works(&sh::output(&mut Command::new(&program))?)?;
    let counts = count_all(&program, &works)?;

    let text = std::fs::read_to_string(KEPT).with_context(|| format!("cannot read {KEPT}"))?;
    let kept: Kept = toml::from_str(&text).with_context(|| format!("cannot read {KEPT}"))?;
    let (rustc, target) = compiler()?;
    let margin_percent = if (&rustc, &target) == (&kept.rustc, &kept.target) {
        kept.margin_percent
    } else {
        eprintln!(
            "the kept numbers are of rustc {} for {}, this is {rustc} for {target}: {OTHER_COMPILER_MARGIN} % more are let pass",
            kept.rustc, kept.target
        );
        OTHER_COMPILER_MARGIN
    };
    let mut slower = Vec::new();
    for (name, count) in &counts {
        let before = kept.instructions.get(name).copied();
        let verdict = kept.judge(before, *count, margin_percent);
        let change = before.map_or_else(String::new, |before| {
            format!("{before:>10.1} kept  {:+.1} %", (count / before - 1.0) * 100.0)
        });
        let said = match verdict {
            Verdict::Slower => "  SLOWER",
            Verdict::Better => "  better",
            Verdict::New => "new",
            Verdict::Alike => "",
        };
        eprintln!("{name:<20} {count:>10.1} {change}{said}");
        if verdict == Verdict::Slower {
            slower.push(name.clone());
        }
    }
    let gone: Vec<_> = kept
        .instructions
        .keys()
        .filter(|name| !counts.contains_key(*name))
        .collect();
    if tighten {
        let written = kept.tightened(&counts, &rustc, &target);
        std::fs::write(KEPT, rewritten(&text, &written, &rustc, &target))?;
        eprintln!("{KEPT} is written");
    } else if !gone.is_empty() || counts.keys().any(|name| !kept.instructions.contains_key(name)) {
        bail!(
            "{KEPT} does not have what is counted: `cargo xtask guards --tighten` writes it (gone: {gone:?})"
        );
    }
    if !slower.is_empty() {
        bail!(
            "more instructions than before: {}. Find out why (valgrind --tool=callgrind on {}, built with --profile profiling); \
             if it must be, write the new numbers into {KEPT} and say in the commit what they buy",
            slower.join(", "),
            "target/profiling/examples/instructions"
        );
    }
    Ok(())
}

impl Kept {
    fn judge(&self, before: Option<f64>, count: f64, margin_percent: f64) -> Verdict {
        let Some(before) = before else {
            return Verdict::New;
        };
        let margin = before * margin_percent / 100.0 + self.margin_instructions;
        if count > before + margin {
            Verdict::Slower
        } else if count < before - margin {
            Verdict::Better
        } else {
            Verdict::Alike
        }
    }

    /// The smaller of each kept number and today's; another compiler starts anew.
    fn tightened(&self, counts: &BTreeMap<String, f64>, rustc: &str, target: &str) -> BTreeMap<String, f64> {
        let same = self.rustc == rustc && self.target == target;
        counts
            .iter()
            .map(|(name, count)| {
                let kept = self.instructions.get(name).filter(|_| same);
                (name.clone(), kept.map_or(*count, |kept| kept.min(*count)))
            })
            .collect()
    }
}

/// The file with other numbers: the comments stay.
fn rewritten(text: &str, counts: &BTreeMap<String, f64>, rustc: &str, target: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        match line.split_once(" = ").map(|(key, _)| key) {
            Some("rustc") => out += &format!("rustc = \"{rustc}\"\n"),
            Some("target") => out += &format!("target = \"{target}\"\n"),
            _ => out += &format!("{line}\n"),
        }
        if line == "[instructions]" {
            break;
        }
    }
    for (name, count) in counts {
        out += &format!("{name} = {count:.1}\n");
    }
    out
}

/// `NAME LOW HIGH EACH`, a line each.
fn works(list: &str) -> Result<Vec<Work>> {
    let parse = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [name, low, high, each] = fields[..] else {
            return None;
        };
        Some(Work {
            name: name.to_owned(),
            low: low.parse().ok()?,
            high: high.parse().ok()?,
            each: each.parse().ok()?,
        })
    };
    list.lines()
        .map(|line| parse(line).with_context(|| format!("not a work: {line}")))
        .collect()
}

/// Two at a time: counts do not mind.
fn count_all(program: &Path, works: &[Work]) -> Result<BTreeMap<String, f64>> {
    let mut counts = BTreeMap::new();
    for work in works {
        let (low, high) = thread::scope(|scope| {
            let low = scope.spawn(|| instructions(program, &work.name, work.low));
            let high = instructions(program, &work.name, work.high);
            (low.join().expect("it does not panic"), high)
        });
        #[allow(clippy::cast_precision_loss)] // far below 2^52
        let each = (high? - low?) as f64 / ((work.high - work.low) * work.each) as f64;
        counts.insert(work.name.clone(), each);
    }
    Ok(counts)
}

/// All instructions of a run.
fn instructions(program: &Path, name: &str, steps: u64) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([name, &steps.to_string()])
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .output()
        .context("cannot start valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{name} under valgrind ended with {}: {said}", output.status);
    }
    collected(&said).with_context(|| format!("valgrind says no count: {said}"))
}

/// `==1234== Collected : 5678`
fn collected(said: &str) -> Option<u64> {
    let line = said.lines().find(|line| line.contains("Collected :"))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// Its version, and what it compiles for.
fn compiler() -> Result<(String, String)> {
    let said = sh::output(Command::new("rustc").arg("-vV"))?;
    let field = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name));
        line.map(str::to_owned)
            .with_context(|| format!("rustc says no {name}"))
    };
    Ok((field("release: ")?, field("host: ")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> Kept {
        let text = "rustc = \"1\"\ntarget = \"t\"\nmargin_percent = 2\nmargin_instructions = 3\n\
            [instructions]\na = 100.0\nb = 1000.0\n";
        toml::from_str(text).unwrap()
    }

    #[test]
    fn what_grew_beyond_the_margin_is_slower() {
        let kept = kept();
        let cases = [
            (Some(100.0), 105.0, Verdict::Alike),
            (Some(100.0), 105.1, Verdict::Slower),
            (Some(100.0), 94.9, Verdict::Better),
            (Some(1000.0), 1023.0, Verdict::Alike),
            (Some(1000.0), 1024.0, Verdict::Slower),
            (None, 1.0, Verdict::New),
        ];
        for (before, count, verdict) in cases {
            assert_eq!(kept.judge(before, count, kept.margin_percent), verdict, "{count}");
        }
    }

    #[test]
    fn tightening_never_loosens() {
        let counts = BTreeMap::from([
            ("a".to_owned(), 104.0),
            ("b".to_owned(), 900.0),
            ("c".to_owned(), 7.0),
        ]);
        let tight = kept().tightened(&counts, "1", "t");
        assert_eq!(tight.values().copied().collect::<Vec<_>>(), [100.0, 900.0, 7.0]);
        assert_eq!(kept().tightened(&counts, "2", "t"), counts, "another compiler");
        let text = "# why\nrustc = \"1\"\n[instructions]\na = 5\n";
        let written = rewritten(text, &tight, "2", "t");
        assert_eq!(
            written,
            "# why\nrustc = \"2\"\n[instructions]\na = 100.0\nb = 900.0\nc = 7.0\n"
        );
    }

    #[test]
    fn what_valgrind_and_the_program_say_is_read() {
        assert_eq!(
            collected("==1== Events    : Ir\n==1== Collected : 52314\n"),
            Some(52_314)
        );
        assert_eq!(collected("nothing"), None);
        let work = works("a 1 2 3\n").unwrap();
        assert_eq!((work[0].low, work[0].high, work[0].each), (1, 2, 3));
        assert!(works("a 1 2\n").is_err());
    }
}
