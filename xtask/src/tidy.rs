//! Checks of what no compiler checks. Each finding names a place and says what to do.

mod crates;
mod ledger;
mod lines;
mod ratchet;
mod source;
mod words;

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Result, bail};

use crate::sh;
use ledger::Ledger;
use ratchet::Ratchet;

/// Something to mend.
#[derive(Debug, PartialEq)]
struct Finding {
    path: String,
    line: usize,
    advice: String,
}

impl Finding {
    fn new(path: &str, line: usize, advice: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            line,
            advice: advice.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.advice)
    }
}

/// Checks all that can be checked without running a test.
pub(crate) fn sources(tighten: bool) -> Result<()> {
    let mut findings = crates::check()?;
    let mut ratchet = Ratchet::load()?;
    let spec = Ledger::specs()?;
    let ids: BTreeSet<&str> = spec.iter().flat_map(Ledger::ids).collect();
    let mut lengths = Vec::new();
    for path in files()? {
        let Ok(text) = std::fs::read_to_string(&path) else {
            continue;
        }; // pictures and the like, links to nowhere
        findings.extend(lines::check(&path, &text, &ids));
        if std::path::Path::new(&path)
            .extension()
            .is_some_and(|end| end == "rs")
        {
            match source::parse(&text) {
                Ok(source) if source::is_test(&path) => findings.extend(words::check_test(&path, &source)),
                Ok(source) => {
                    findings.extend(words::check(&path, &source));
                    lengths.push((path, source.lines));
                }
                Err(error) => findings.push(Finding::new(&path, 1, format!("is not Rust: {error}"))),
            }
        }
    }
    findings.extend(ratchet.long_files(&lengths));
    let (tested, requirements) = (
        spec.iter().map(Ledger::tested).sum::<usize>(),
        Ledger::requirements()?,
    );
    eprintln!(
        "{tested} of {} statements of the standards and {} of {} requirements have tests or say why none can be",
        ids.len(),
        requirements.tested(),
        requirements.ids().count()
    );
    report(&findings, &mut ratchet, tighten)
}

/// Checks that each row of the standards and of the requirements names tests that are in `tests`.
/// Says nothing when all is well, so that a test runner's summary can come last.
pub(crate) fn ledgers(tests: &BTreeSet<String>, tighten: bool) -> Result<()> {
    let mut ratchet = Ratchet::load()?;
    let spec = Ledger::specs()?;
    let requirements = Ledger::requirements()?;
    let mut findings: Vec<Finding> = spec
        .iter()
        .chain([&requirements])
        .flat_map(|ledger| ledger.check(tests))
        .collect();
    findings.extend(ratchet.statements(spec.iter().map(Ledger::tested).sum()));
    findings.extend(ratchet.requirements(requirements.open()));
    report(&findings, &mut ratchet, tighten)
}

fn report(findings: &[Finding], ratchet: &mut Ratchet, tighten: bool) -> Result<()> {
    if tighten {
        ratchet.save()?;
    }
    for finding in findings {
        eprintln!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        1 => bail!("tidy: 1 thing to mend, see above"),
        n => bail!("tidy: {n} things to mend, see above"),
    }
}

/// Every file that git tracks or would track.
fn files() -> Result<Vec<String>> {
    let mut git = std::process::Command::new("git");
    let list = sh::output(git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]))?;
    let files: BTreeSet<&str> = list.split_terminator('\0').collect();
    Ok(files.into_iter().map(str::to_owned).collect())
}
