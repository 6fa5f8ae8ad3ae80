//! Numbers that may only get better, in `xtask/ratchet.toml`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result};

use super::Finding;

const FILE: &str = "xtask/ratchet.toml";
/// The longest source file, tests apart.
const LINES_MAX: usize = 600;
const HEADER: &str = "\
# Numbers that may only get better. `cargo xtask tidy --tighten` writes today's where they did.
";

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ratchet {
    /// Statements of the standards that name a test or say why none can show them.
    statements_tested: usize,
    /// Requirements that do neither yet.
    requirements_open: usize,
    /// Source files that are too long, with their length.
    #[serde(default)]
    long_files: BTreeMap<String, usize>,
}

impl Ratchet {
    pub(super) fn load() -> Result<Self> {
        let text = std::fs::read_to_string(FILE).with_context(|| format!("cannot read {FILE}"))?;
        toml::from_str(&text).with_context(|| format!("cannot read {FILE}"))
    }

    pub(super) fn save(&self) -> Result<()> {
        let mut text = format!(
            "{HEADER}statements_tested = {} # may only grow\nrequirements_open = {} # may only shrink\n",
            self.statements_tested, self.requirements_open
        );
        text.push_str("\n[long_files] # may only shrink and lose entries\n");
        for (path, lines) in &self.long_files {
            writeln!(text, "\"{path}\" = {lines}")?;
        }
        std::fs::write(FILE, text).with_context(|| format!("cannot write {FILE}"))
    }

    pub(super) fn statements(&mut self, tested: usize) -> Option<Finding> {
        let before = std::mem::replace(&mut self.statements_tested, tested);
        (tested < before).then(|| {
            Finding::new(
                FILE,
                1,
                format!("{tested} statements have tests, {before} had: bring the tests back"),
            )
        })
    }

    pub(super) fn requirements(&mut self, open: usize) -> Option<Finding> {
        let before = std::mem::replace(&mut self.requirements_open, open);
        (open > before).then(|| {
            Finding::new(
                FILE,
                1,
                format!("{open} requirements have no test, {before} had none: name their tests"),
            )
        })
    }

    /// Files over the limit that are new to it or have grown.
    pub(super) fn long_files(&mut self, lengths: &[(String, usize)]) -> Vec<Finding> {
        let long = lengths
            .iter()
            .filter(|(_, lines)| *lines > LINES_MAX)
            .cloned()
            .collect();
        let before = std::mem::replace(&mut self.long_files, long);
        let grown = self.long_files.iter().filter_map(|(path, &lines)| {
            let limit = before.get(path).copied().unwrap_or(LINES_MAX);
            let advice =
                || format!("{lines} lines without tests, at most {limit}: find the missing boundary");
            (lines > limit).then(|| Finding::new(path, limit, advice()))
        });
        grown.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_may_only_shrink() {
        let mut ratchet = Ratchet {
            long_files: [("old.rs".to_owned(), 700)].into(),
            ..Ratchet::default()
        };
        let lengths = |old| [("old.rs".to_owned(), old), ("new.rs".to_owned(), 600)];
        assert!(ratchet.long_files(&lengths(690)).is_empty());
        assert_eq!(ratchet.long_files(&lengths(691)).len(), 1, "grew from 690");
        ratchet.long_files(&lengths(10));
        assert_eq!(ratchet.long_files(&lengths(601)).len(), 1, "had left the list");
    }

    #[test]
    fn statements_grow_and_open_requirements_shrink() {
        let mut ratchet = Ratchet {
            statements_tested: 5,
            requirements_open: 5,
            ..Ratchet::default()
        };
        assert!(ratchet.statements(6).is_none() && ratchet.statements(5).is_some());
        assert!(ratchet.requirements(4).is_none() && ratchet.requirements(5).is_some());
    }
}
