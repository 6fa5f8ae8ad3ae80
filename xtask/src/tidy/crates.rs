//! Arrows between our crates, and crates of other people, against the table in `ARCHITECTURE.md`.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, MetadataCommand};

use super::Finding;

const FILE: &str = "ARCHITECTURE.md";
const BEGIN: &str = "<!-- tidy: crates -->";
const END: &str = "<!-- /tidy: crates -->";
/// The row for crates that any of ours may use in its tests.
const IN_TESTS: &str = "(tests)";

/// A row of the table: `| crate | ours | outside |`, names by commas, `-` for none.
#[derive(Debug)]
struct Row {
    line: usize,
    ours: Vec<String>,
    outside: Vec<String>,
}

/// A crate of ours as cargo knows it. Its name is that of its folder.
struct Crate {
    name: String,
    manifest: String,
    /// Name, whether it is ours, whether only tests use it.
    uses: Vec<(String, bool, bool)>,
}

pub(super) fn check() -> Result<Vec<Finding>> {
    let text = std::fs::read_to_string(FILE).with_context(|| format!("cannot read {FILE}"))?;
    Ok(compare(&table(&text)?, &crates()?))
}

fn table(text: &str) -> Result<BTreeMap<String, Row>> {
    let missing = || format!("{FILE} has no table between {BEGIN} and {END}");
    let lines = text.lines().zip(1..).skip_while(|(line, _)| line.trim() != BEGIN);
    anyhow::ensure!(text.contains(BEGIN) && text.contains(END), missing());
    let rows = lines
        .skip(1)
        .take_while(|(line, _)| line.trim() != END)
        .filter_map(|(text, line)| {
            let mut cells = text.trim().strip_prefix('|')?.split('|').map(names);
            let name = cells.next()?.pop()?;
            Some((
                name,
                Row {
                    line,
                    ours: cells.next()?,
                    outside: cells.next()?,
                },
            ))
        });
    Ok(rows.skip(2).collect()) // the heading and the rule below it
}

fn names(cell: &str) -> Vec<String> {
    let words = cell.split([',', ';']).map(|word| word.trim().trim_matches('`'));
    words
        .filter(|word| !word.is_empty() && *word != "-")
        .map(str::to_owned)
        .collect()
}

fn crates() -> Result<Vec<Crate>> {
    let metadata = MetadataCommand::new().no_deps().exec()?;
    let folder = |path: &cargo_metadata::camino::Utf8Path| path.file_name().unwrap_or_default().to_owned();
    let of = |package: &cargo_metadata::Package| Crate {
        name: package.manifest_path.parent().map(folder).unwrap_or_default(),
        manifest: package
            .manifest_path
            .strip_prefix(&metadata.workspace_root)
            .map_or_else(|_| package.manifest_path.to_string(), ToString::to_string),
        uses: package
            .dependencies
            .iter()
            .map(|used| {
                let ours = used.path.as_deref().map(folder);
                let in_tests = used.kind == DependencyKind::Development;
                (
                    ours.clone().unwrap_or_else(|| used.name.clone()),
                    ours.is_some(),
                    in_tests,
                )
            })
            .collect(),
    };
    Ok(metadata.workspace_packages().into_iter().map(of).collect())
}

fn compare(table: &BTreeMap<String, Row>, crates: &[Crate]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for Crate { name, manifest, uses } in crates {
        let Some(row) = table.get(name) else {
            let advice = format!("the crate `{name}` is not in the table of crates in {FILE}: add its row");
            findings.push(Finding::new(manifest, 1, advice));
            continue;
        };
        for (used, ours, in_tests) in uses {
            let may = if *ours { &row.ours } else { &row.outside };
            let any_test_may =
                || *in_tests && (*ours || table.get(IN_TESTS).is_some_and(|row| row.outside.contains(used)));
            if !may.contains(used) && !any_test_may() {
                let advice = format!(
                    "uses `{used}`, which its row at {FILE}:{} does not allow",
                    row.line
                );
                findings.push(Finding::new(manifest, 1, advice));
            }
        }
    }
    let gone =
        |(name, _): &(&String, &Row)| *name != IN_TESTS && !crates.iter().any(|ours| ours.name == **name);
    findings.extend(table.iter().filter(gone).map(|(name, row)| {
        Finding::new(
            FILE,
            row.line,
            format!("there is no crate `{name}`: remove its row"),
        )
    }));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "text\n<!-- tidy: crates -->\n| crate | ours | outside |\n|---|---|---|\n\
        | `codec` | - | `bytes` |\n| `session` | `codec` | - |\n| (tests) | - | `proptest` |\n<!-- /tidy: crates -->\n";

    fn found(name: &str, uses: &[(&str, bool, bool)]) -> Vec<String> {
        let uses = uses
            .iter()
            .map(|&(name, ours, in_tests)| (name.to_owned(), ours, in_tests))
            .collect();
        let other = if name == "codec" { "session" } else { "codec" };
        let crates = [
            Crate {
                name: name.into(),
                manifest: "Cargo.toml".into(),
                uses,
            },
            Crate {
                name: other.into(),
                manifest: "Cargo.toml".into(),
                uses: vec![],
            },
        ];
        compare(&table(TABLE).unwrap(), &crates)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn arrows_point_down() {
        assert!(found("session", &[("codec", true, false)]).is_empty());
        assert!(
            found("codec", &[("session", true, true)]).is_empty(),
            "tests may look up"
        );
        let up = found("codec", &[("session", true, false)]);
        assert_eq!(up.len(), 1);
        assert!(
            up[0].contains("uses `session`, which its row at ARCHITECTURE.md:5"),
            "{}",
            up[0]
        );
    }

    #[test]
    fn outside_crates_are_listed() {
        assert!(found("codec", &[("bytes", false, false), ("proptest", false, true)]).is_empty());
        assert_eq!(
            found("session", &[("bytes", false, false), ("proptest", false, false)]).len(),
            2
        );
    }

    #[test]
    fn the_table_has_exactly_our_crates() {
        let mut crates = vec![Crate {
            name: "new".into(),
            manifest: "Cargo.toml".into(),
            uses: vec![],
        }];
        assert_eq!(compare(&table(TABLE).unwrap(), &crates).len(), 3);
        crates.clear();
        assert_eq!(compare(&table(TABLE).unwrap(), &crates).len(), 2);
        assert!(table("no table").is_err());
    }
}
