//! Files of rules, each rule with the tests that show it: the standards and the requirements.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde::Deserialize;
use toml::Spanned;

use super::Finding;

pub(super) struct Ledger {
    path: &'static str,
    text: String,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(alias = "statement", alias = "requirement")]
    rows: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: Spanned<String>,
    #[expect(dead_code, reason = "for people; parsing has checked its word")]
    binds: Option<Binds>,
    rule: String,
    tests: Option<Vec<Spanned<String>>>,
    untestable: Option<String>,
}

/// Whom a statement of a standard binds.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Binds {
    Client,
    Server,
    Sender,
    Receiver,
    Both,
}

impl Ledger {
    /// Both standards.
    pub(super) fn specs() -> Result<Vec<Self>> {
        ["spec/mqtt3.toml", "spec/mqtt5.toml"]
            .into_iter()
            .map(Self::load)
            .collect()
    }

    pub(super) fn requirements() -> Result<Self> {
        Self::load("tests/requirements.toml")
    }

    fn load(path: &'static str) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
        Self::parse(path, text).with_context(|| format!("cannot read {path}"))
    }

    fn parse(path: &'static str, text: String) -> Result<Self> {
        let File { rows } = toml::from_str(&text)?;
        Ok(Self { path, text, rows })
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().map(|row| row.id.get_ref().as_str())
    }

    /// Rows that need nothing more.
    pub(super) fn tested(&self) -> usize {
        self.rows.len() - self.open()
    }

    /// Rows that name no test yet.
    pub(super) fn open(&self) -> usize {
        self.rows
            .iter()
            .filter(|row| row.tests.as_ref().is_some_and(Vec::is_empty))
            .count()
    }

    /// Rows that contradict themselves, each other, or `tests`.
    pub(super) fn check(&self, tests: &BTreeSet<String>) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut seen = BTreeSet::new();
        for row in &self.rows {
            let id = row.id.get_ref();
            let mut find = |at, advice| findings.push(Finding::new(self.path, self.line(at), advice));
            if !seen.insert(id) {
                find(row.id.span().start, format!("{id} stands here twice: remove one"));
            }
            if row.tests.is_some() == row.untestable.is_some() {
                find(
                    row.id.span().start,
                    format!("{id} needs either `tests` or `untestable = \"why\"`"),
                );
            }
            if row.rule.is_empty() || row.untestable.as_ref().is_some_and(String::is_empty) {
                find(row.id.span().start, format!("{id} has an empty text: write it"));
            }
            for test in row
                .tests
                .iter()
                .flatten()
                .filter(|test| !tests.contains(test.get_ref()))
            {
                let name = test.get_ref();
                find(
                    test.span().start,
                    format!("no test `{name}` ran: correct the name or write the test"),
                );
            }
        }
        findings
    }

    fn line(&self, at: usize) -> usize {
        self.text[..at].lines().count().max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rows: &str) -> Vec<String> {
        let ledger = Ledger::parse("spec/x.toml", rows.to_owned()).unwrap();
        let tests = BTreeSet::from(["a x::runs".to_owned()]);
        ledger.check(&tests).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn named_tests_must_run() {
        let rows = "[[statement]]\nid = \"A-1\"\nbinds = \"both\"\nrule = \"r\"\ntests = [\n \"a x::runs\",\n \"a x::gone\",\n]";
        let found = check(rows);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("spec/x.toml:7: no test `a x::gone` ran"),
            "{}",
            found[0]
        );
    }

    #[test]
    fn rows_are_whole_and_stand_once() {
        let row = "[[requirement]]\nid = \"R1\"\nrule = \"r\"\nuntestable = \"advice\"\n";
        assert!(check(row).is_empty());
        assert_eq!(check(&row.repeat(2)).len(), 1);
        assert_eq!(check(&row.replace("\"advice\"", "\"\"")).len(), 1);
        assert_eq!(check(&format!("{row}tests = []\n")).len(), 1);
        assert!(Ledger::parse("x", row.replace("rule", "role")).is_err());
    }

    #[test]
    fn rows_without_tests_are_open() {
        let rows = "[[requirement]]\nid = \"R1\"\nrule = \"r\"\ntests = []\n[[requirement]]\nid = \"R2\"\nrule = \"r\"\nuntestable = \"history\"\n";
        let ledger = Ledger::parse("x", rows.to_owned()).unwrap();
        assert_eq!((ledger.open(), ledger.tested()), (1, 1));
    }
}
