//! The configuration from outside: messages word for word, the page of the documentation, and any bytes.

use std::fs;
use std::path::{Path, PathBuf};

use martlet_server::config::{Config, Errors, Mode, Overrides, parse, render_markdown};
use martlet_server::limits::CONFIG_FINDINGS_MAX;
use proptest::prelude::*;

fn root(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(of)
}

/// Compares with a file, or writes it if `UPDATE` is set.
fn same_as_file(path: &Path, text: &str) -> Result<(), String> {
    if std::env::var_os("UPDATE").is_some() {
        return fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()));
    }
    match fs::read_to_string(path) {
        Ok(expected) if expected == text => Ok(()),
        Ok(expected) => Err(format!(
            "{}\n--- expected\n{expected}--- got\n{text}",
            path.display()
        )),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// A line `# flags: --set a=b --port 1` gives flags.
fn flags_of(text: &str) -> Overrides {
    let mut overrides = Overrides::default();
    let lines = text.lines().filter_map(|line| line.strip_prefix("# flags: "));
    let mut words = lines
        .flat_map(|line| line.split("--"))
        .map(str::trim)
        .filter(|word| !word.is_empty());
    for flag in &mut words {
        let (name, value) = flag.split_once(' ').unwrap_or((flag, ""));
        match name {
            "set" => overrides.set.push(value.into()),
            "bind" => overrides.bind.push(value.into()),
            "port" => overrides.port = Some(value.parse().expect("a port")),
            other => panic!("no flag {other}"),
        }
    }
    overrides
}

fn shown(result: Result<Config, Errors>) -> String {
    match result {
        Err(errors) => format!("{errors}\n"),
        Ok(config) => {
            let mut out = String::from("ok\n");
            for warning in &config.warnings {
                warning.write(&mut out, "warning").expect("writing into a string");
                out.push('\n');
            }
            out
        }
    }
}

/// Each `.conf` of `tests/golden/config` with the `.err` beside it.
#[test]
fn golden() {
    let folder = root("tests/golden/config");
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("golden files")
        .map(|entry| entry.expect("entry").path())
        .collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "conf"));
    paths.sort();
    assert!(paths.len() > 10, "{} golden files", paths.len());
    let mut failures = Vec::new();
    for path in &paths {
        let bytes = fs::read(path).expect("golden file");
        let overrides = flags_of(&String::from_utf8_lossy(&bytes));
        let name = path.file_name().map(PathBuf::from).unwrap_or_default();
        let text = shown(parse(&name, &bytes, &overrides, Mode::Native));
        failures.extend(same_as_file(&path.with_extension("err"), &text).err());
    }
    assert!(
        failures.is_empty(),
        "{}\nUPDATE=1 rewrites the files",
        failures.join("\n")
    );
}

#[test]
fn the_documentation_is_the_table() {
    let path = root("../../docs/configuration.md");
    same_as_file(&path, &render_markdown()).expect("UPDATE=1 rewrites docs/configuration.md");
}

/// Lines that look like a configuration more often than not.
fn line() -> impl Strategy<Value = String> {
    let names: Vec<&'static str> = martlet_server::config::DIRECTIVES
        .iter()
        .map(|directive| directive.name)
        .filter(|name| *name != "include_dir")
        .collect();
    let value = prop_oneof![
        "[ -~]{0,20}",
        any::<i128>().prop_map(|n| n.to_string()),
        any::<u16>().prop_map(|n| n.to_string()),
        Just("true".to_owned()),
        Just(String::new()),
        "[0-9]{1,40}[shdwmy]",
        "\\PC{0,20}",
        Just("file 温度 #".to_owned()),
        Just("%Y%".to_owned()),
        "[0-9]{1,5} [0-9a-f:.%\\[\\]*]{1,20}",
    ];
    (
        proptest::sample::select(names),
        prop_oneof![Just(" "), Just("\t"), Just("="), Just("")],
        value,
    )
        .prop_map(|(name, gap, value)| format!("{name}{gap}{value}"))
}

fn check(bytes: &[u8], overrides: &Overrides) {
    for mode in [Mode::Native, Mode::Mosquitto] {
        match parse(Path::new("any.conf"), bytes, overrides, mode) {
            Ok(config) => assert!(!config.listeners.is_empty()),
            Err(errors) => {
                assert!((1..=CONFIG_FINDINGS_MAX).contains(&errors.findings.len()));
                let text = errors.to_string();
                assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
                assert!(text.lines().all(|line| line.len() < 2000), "{text}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let none = !bytes.windows(11).any(|window| window == b"include_dir");
        prop_assume!(none);
        check(&bytes, &Overrides::default());
    }

    #[test]
    fn any_lines(
        lines in proptest::collection::vec(line(), 0..12),
        set in proptest::collection::vec(line(), 0..3),
        bind in proptest::collection::vec("[0-9a-z:.*\\[\\]]{0,12}", 0..2),
        port in any::<Option<u16>>(),
        cut in any::<proptest::sample::Index>(),
    ) {
        let text = lines.join("\n");
        let overrides = Overrides { bind, port, set, ..Overrides::default() };
        check(text.as_bytes(), &overrides);
        check(&text.as_bytes()[..cut.index(text.len() + 1)], &Overrides::default());
    }
}
