//! Each scenario for each of its versions on each setting of the broker: one test each.
//!
//! `UPDATE=1 cargo test -p martlet-conformance --test scenarios` rewrites the expectations that differ.

mod broker;

use std::fs;
use std::path::{Path, PathBuf};

use broker::{Broker, Setting};
use libtest_mimic::{Arguments, Failed, Trial};
use martlet_codec::Version;
use martlet_conformance::run::{self, Outcome};
use martlet_conformance::scenario::{self, File, Scenario};

fn main() {
    let args = Arguments::from_args();
    let files = files();
    if std::env::var_os("UPDATE").is_some() && !args.list {
        for (path, text, file) in &files {
            update(path, text, file);
        }
        return;
    }
    let mut trials = Vec::new();
    for (path, _, file) in files {
        let stem = path
            .file_stem()
            .expect("a file has a name")
            .to_string_lossy()
            .into_owned();
        let name = path
            .file_name()
            .expect("a file has a name")
            .to_string_lossy()
            .into_owned();
        let file: &'static File = Box::leak(Box::new(file));
        for scenario in &file.scenarios {
            for version in &scenario.versions {
                for setting in Setting::ALL
                    .into_iter()
                    .filter(|setting| is_for(scenario, *setting))
                {
                    let test = format!(
                        "{stem}::{}::{}::{}",
                        scenario.name,
                        version_name(*version),
                        setting.name()
                    );
                    let name = name.clone();
                    trials.push(Trial::test(test, move || {
                        verdict(scenario, &name, *version, setting)
                    }));
                }
            }
        }
    }
    libtest_mimic::run(&args, trials).exit();
}

/// Plays with each seed. A scenario with a known fault must fail with one of them.
fn verdict(scenario: &Scenario, file: &str, version: Version, setting: Setting) -> Result<(), Failed> {
    let mut reports = Vec::new();
    for seed in 0..setting.seeds() {
        let outcome = play(scenario, version, setting, seed)?;
        reports.extend(
            outcome
                .report(file)
                .map(|report| format!("seed {seed}: {report}")),
        );
    }
    match (&scenario.broken, reports.is_empty()) {
        (None, true) | (Some(_), false) => Ok(()),
        (None, false) => Err(reports.swap_remove(0).into()),
        (Some(fault), true) => Err(format!("this holds now: take away 'broken: {fault}'").into()),
    }
}

/// The scenario files beside the crate, parsed.
fn files() -> Vec<(PathBuf, String, File)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<_> = fs::read_dir(folder)
        .expect("the crate has a folder")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no scenarios in {}", folder.display());
    let parsed = paths.into_iter().map(|path| {
        let text = fs::read_to_string(&path).expect("a scenario file is UTF-8");
        let file = File::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path, text, file)
    });
    parsed.collect()
}

fn play(scenario: &Scenario, version: Version, setting: Setting, seed: u64) -> Result<Outcome, String> {
    run::run(
        scenario,
        version,
        &mut Broker::new(&scenario.config, setting, seed)?,
    )
}

fn is_for(scenario: &Scenario, setting: Setting) -> bool {
    scenario.settings.is_empty() || scenario.settings.iter().any(|name| name == setting.name())
}

/// Rewrites the steps that differ on the first setting; the other settings must agree with it anyway.
fn update(path: &Path, text: &str, file: &File) {
    let mut new = Vec::new();
    for scenario in file.scenarios.iter().filter(|s| s.broken.is_none()) {
        let outcomes: Vec<(Version, Outcome)> = scenario
            .versions
            .iter()
            .map(|v| {
                let setting = Setting::ALL
                    .into_iter()
                    .find(|setting| is_for(scenario, *setting));
                let setting = setting.expect("a scenario is for one setting at least");
                let outcome = play(scenario, *v, setting, 0);
                (
                    *v,
                    outcome.unwrap_or_else(|error| panic!("{}: {error}", path.display())),
                )
            })
            .collect();
        for step in &scenario.steps {
            let differs = |(_, o): &(Version, Outcome)| o.mismatches.iter().any(|m| m.line == step.line);
            if !outcomes.iter().any(differs) {
                continue;
            }
            let outputs: Vec<_> = outcomes
                .iter()
                .filter_map(|(v, o)| {
                    Some((
                        *v,
                        o.outputs.iter().find(|(line, _)| *line == step.line)?.1.clone(),
                    ))
                })
                .collect();
            new.push((step.line, run::expectations(&outputs)));
        }
    }
    if !new.is_empty() {
        fs::write(path, scenario::rewrite(text, file, &new)).expect("the file can be written");
        println!("{}: {} steps rewritten", path.display(), new.len());
    }
}

fn version_name(version: Version) -> &'static str {
    match version {
        Version::V3_1 => "v3_1",
        Version::V3_1_1 => "v3_1_1",
        Version::V5 => "v5",
    }
}
