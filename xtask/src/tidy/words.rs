//! Words that a Rust file may not say.

use super::Finding;
use super::source::{Named, Source};

/// Where the rules live: no I/O, clock, thread, async or randomness of their own (invariant I1).
const PURE: &[&str] = &[
    "crates/codec/src/",
    "crates/journal/src/",
    "crates/session/src/",
    "crates/broker/src/",
    "crates/users/src/",
    "crates/client/src/engine",
];

/// Files of pure crates that are not, each with its reason.
const EXCEPTED: &[(&str, &str)] = &[(
    "crates/journal/src/disk/real.rs",
    "the disk that a process hands to a journal; it stands beside the other two, and nothing of the journal calls it",
)];

const IMPURE: &[&str] = &[
    "std::net",
    "std::fs",
    "std::thread",
    "std::env",
    "std::process",
    "std::time::Instant",
    "std::time::SystemTime",
    "Instant",
    "SystemTime",
    "std::collections::HashMap", // its order is drawn from the system
    "std::collections::HashSet",
    "RandomState",
    "tokio",
    "async",
    "rand",
];

/// Where a version may be named (invariant I2), each place with its reason.
const VERSIONED: &[(&str, &str)] = &[
    ("crates/codec/src/packet", "the bytes differ"),
    ("crates/codec/src/version.rs", "says what a version is"),
    ("crates/session/src/handshake", "turns the version into data"),
    ("crates/client/src/options", "the user chooses one"),
    ("crates/client/src/lib.rs", "its documentation shows the choice"),
    ("crates/cli/src/", "the user chooses one"),
    (
        "crates/server/src/settings.rs",
        "the operator chooses those that are served",
    ),
    ("crates/broker/examples/", "speaks for clients"),
    ("crates/bench/src/args.rs", "the user chooses one"),
    ("crates/sim/src/", "speaks for clients"),
    ("bindings/", "the user chooses one"),
];

const UNFINISHED: &[&str] = &["todo!", "unimplemented!", "dbg!", "#[ignore]"];

pub(super) fn check(path: &str, source: &Source) -> Vec<Finding> {
    let mut findings = check_test(path, source);
    let excepted = EXCEPTED.iter().any(|(file, _)| path == *file);
    if !excepted && PURE.iter().any(|pure| path.starts_with(pure)) {
        findings.extend(find(path, source, |named| {
            let word = IMPURE.iter().find(|word| begins(&named.path, word))?;
            Some(format!(
                "`{word}` in a pure crate (I1): have the caller hand it in, or move the code up"
            ))
        }));
    }
    if !VERSIONED.iter().any(|(home, _)| path.starts_with(home)) {
        findings.extend(find(path, source, |named| {
            let version = named
                .path
                .split("::")
                .skip_while(|segment| *segment != "Version")
                .nth(1)?;
            let variant = version == "*" || version.starts_with('V');
            variant.then(|| {
                "names a version (I2): ask for what the version changed, as data from the handshake".into()
            })
        }));
    }
    findings
}

/// What holds in tests too.
pub(super) fn check_test(path: &str, source: &Source) -> Vec<Finding> {
    find(path, source, |named| {
        let word = UNFINISHED.iter().find(|word| named.path == **word)?;
        let advice = if *word == "#[ignore]" {
            "say why: #[ignore = \"reason\"]"
        } else {
            "finish or remove it"
        };
        Some(format!("`{word}`: {advice}"))
    })
}

fn find(path: &str, source: &Source, advice: impl Fn(&Named) -> Option<String>) -> Vec<Finding> {
    let found = |named: &Named| Some(Finding::new(path, named.line, advice(named)?));
    source.named.iter().filter_map(found).collect()
}

/// Whether `path` is `word` or below it.
fn begins(path: &str, word: &str) -> bool {
    path.strip_prefix(word)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[cfg(test)]
mod tests {
    use super::super::source::parse;
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(path, &parse(text).unwrap())
            .into_iter()
            .map(|finding| finding.line)
            .collect()
    }

    #[test]
    fn pure_crates_do_nothing_themselves() {
        let text = "use std::{fmt, net};\nasync fn f() {}\nlet now: Instant = Instant::now();\nuse tokio::time;\n\
            fn operand(random: u8) { std::time::Duration::ZERO }";
        assert_eq!(lines("crates/session/src/queue.rs", text), [1, 2, 3, 3, 4]);
        assert_eq!(lines("crates/client/src/engine/mod.rs", text), [1, 2, 3, 3, 4]);
        assert!(lines("crates/server/src/shard.rs", text).is_empty());
    }

    #[test]
    fn one_file_of_the_journal_is_the_disk() {
        assert_eq!(lines("crates/journal/src/journal.rs", "use std::fs::File;"), [1]);
        assert_eq!(
            lines("crates/journal/src/disk/memory.rs", "use std::fs::File;"),
            [1]
        );
        assert!(lines("crates/journal/src/disk/real.rs", "use std::fs::File;").is_empty());
    }

    #[test]
    fn versions_are_named_in_few_places() {
        let text = "if version == Version::V5 {}\nuse martlet_codec::Version::*;\nfn f(v: Version) { Version::try_from(3) }";
        assert_eq!(lines("crates/broker/src/shard.rs", text), [1, 2]);
        assert!(lines("crates/codec/src/packet/connect.rs", text).is_empty());
        assert!(lines("crates/session/src/handshake.rs", text).is_empty());
    }

    #[test]
    fn nothing_stays_unfinished() {
        let text = "fn f() {\n    unimplemented!()\n}\n#[ignore]\nfn g() {}";
        assert_eq!(lines("crates/server/src/lib.rs", text), [2, 4]);
    }
}
