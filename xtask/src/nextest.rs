//! The names of our tests, as nextest prints them: `binary-id path::of::test`.

use std::collections::BTreeSet;

use anyhow::{Context, Result};

use crate::sh;

/// Where the profile `ci` leaves its report. Nextest's own folder does not follow cargo's target folder.
const REPORT: &str = "target/nextest/ci/junit.xml";

/// Every test that nextest finds. Compiles the workspace's tests.
pub(crate) fn listed() -> Result<BTreeSet<String>> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct List {
        rust_suites: std::collections::BTreeMap<String, Suite>,
    }
    #[derive(serde::Deserialize)]
    struct Suite {
        testcases: std::collections::BTreeMap<String, Case>,
    }
    #[derive(serde::Deserialize)]
    struct Case {
        ignored: bool,
    }
    let list = sh::output(sh::cargo().args(["nextest", "list", "--workspace", "--message-format", "json"]))?;
    let list: List = serde_json::from_str(&list).context("cannot read nextest's list of tests")?;
    let named = |(binary, suite): (String, Suite)| {
        let runs = suite.testcases.into_iter().filter(|(_, case)| !case.ignored);
        runs.map(move |(test, _)| format!("{binary} {test}"))
    };
    Ok(list.rust_suites.into_iter().flat_map(named).collect())
}

/// Every test that ran in the last `cargo xtask ci`.
pub(crate) fn ran() -> Result<BTreeSet<String>> {
    let text = std::fs::read_to_string(REPORT)
        .with_context(|| format!("cannot read {REPORT}: run `cargo xtask ci` first"))?;
    in_report(&text)
}

fn in_report(junit: &str) -> Result<BTreeSet<String>> {
    let document = roxmltree::Document::parse(junit).context("nextest's JUnit report is not XML")?;
    let cases = document
        .descendants()
        .filter(|node| node.has_tag_name("testcase"));
    Ok(cases
        .filter(|case| !case.children().any(|child| child.has_tag_name("skipped")))
        .filter_map(|case| {
            Some(format!(
                "{} {}",
                case.attribute("classname")?,
                case.attribute("name")?
            ))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_what_ran() {
        let junit = r#"<testsuites><testsuite name="a::b">
            <testcase name="x::runs" classname="a::b" time="1"/>
            <testcase name="x::skipped" classname="a::b"><skipped/></testcase>
        </testsuite></testsuites>"#;
        assert_eq!(
            in_report(junit).unwrap(),
            BTreeSet::from(["a::b x::runs".to_owned()])
        );
        assert!(in_report("Summary: fine").is_err());
    }
}
