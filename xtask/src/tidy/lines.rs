//! What a line of any text file may not say.

use std::collections::BTreeSet;

use super::Finding;

/// Folders of somebody's machine. Spliced, so that this file may be checked too.
const MACHINE: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/")];
/// What the ids of both standards begin with.
const STANDARDS: &[&str] = &["MQTT3-", "MQTT5-"];

/// Checks for citations of statements that are not in `ids`, and for paths of a machine.
pub(super) fn check(path: &str, text: &str, ids: &BTreeSet<&str>) -> Vec<Finding> {
    let cites = [".rs", ".md", ".toml", ".txt"]
        .iter()
        .any(|end| path.ends_with(end));
    let mut findings = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        if cites {
            for id in citations(line).filter(|id| !ids.contains(id)) {
                let advice = format!(
                    "cites {id}, which is not in spec/: correct it, or write \"MQTT 5.0, section ..\" for a rule without an id"
                );
                findings.push(Finding::new(path, number, advice));
            }
        }
        if let Some(folder) = MACHINE.iter().find(|folder| is_machine_path(line, folder)) {
            findings.push(Finding::new(
                path,
                number,
                format!("names a folder of one machine ({folder}..)"),
            ));
        }
    }
    findings
}

/// Every statement id on a line; sections without a statement's number are not ids.
fn citations(line: &str) -> impl Iterator<Item = &str> {
    let starts = STANDARDS
        .iter()
        .flat_map(|standard| line.match_indices(standard).map(|(at, _)| at));
    starts.filter_map(|at| {
        let rest = &line[at + STANDARDS[0].len()..];
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-')
            .unwrap_or(rest.len());
        let number = rest[..end].trim_end_matches(['.', '-']);
        number
            .starts_with(|c: char| c.is_ascii_digit())
            .then(|| &line[at..at + STANDARDS[0].len() + number.len()])
    })
}

/// Whether `folder` stands where a path begins: not inside a web address or a longer path.
fn is_machine_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        !line[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '*' | '}'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn citations_must_exist() {
        let ids = BTreeSet::from(["MQTT5-3.3.1-5"]);
        let text = concat!(
            "/// [MQTT5-3.3.1-5], then [MQTT",
            "5-9.9.9-9].\nthe prefix MQTT5- alone\n"
        );
        let found = check("a.rs", text, &ids);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0]
                .to_string()
                .starts_with(concat!("a.rs:1: cites MQTT", "5-9.9.9-9,")),
            "{}",
            found[0]
        );
        assert!(check("a.py", text, &ids).is_empty());
    }

    #[test]
    fn paths_of_a_machine_are_found() {
        let found = |line: String| !check("a.sh", &line, &BTreeSet::new()).is_empty();
        for folder in MACHINE {
            assert!(found(format!("cd {folder}main")) && found(format!("\"{folder}x\"")));
            assert!(!found(format!("https://example.org{folder}x")) && !found(format!("home{folder}x")));
        }
    }
}
