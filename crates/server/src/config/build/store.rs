//! What is stored, where, and what acknowledgements wait for.

use std::path::PathBuf;

use martlet_broker::Durability;

use super::super::StoreConfig;
use super::super::draft::{Findings, Setting};
use super::super::error::{Code, Finding};
use super::super::origin::Origin;
use super::super::value::Value;
use super::Values;

/// The folder of a store, in another or in the current one.
pub(crate) const STORE_FOLDER: &str = "martlet-data";

/// What holds for the whole broker.
pub(super) fn durability(global: &Values<'_>) -> Durability {
    let unsaid = match global.bool("persistence") {
        Some(false) => Durability::None,
        _ => Durability::Fsync,
    };
    level(global.word("durability")).unwrap_or(unsaid)
}

/// What is said of the durability of something: its own directive, if it is given.
fn level(word: Option<&'static str>) -> Option<Durability> {
    word.map(|word| match word {
        "fsync" => Durability::Fsync,
        "os" => Durability::Os,
        _ => Durability::None,
    })
}

/// What the acknowledgements of a listener wait for.
pub(super) fn of_listener(values: &Values<'_>, global: &Values<'_>, findings: &mut Findings) -> Durability {
    let own = level(values.word("listener_durability"));
    let all = durability(global);
    if all != Durability::None {
        return own.unwrap_or(all);
    }
    if let (Some(setting), Some(cause)) = (values.set("listener_durability"), nothing_stored(global))
        && own != Some(Durability::None)
    {
        let message = format!(
            "acknowledgements cannot wait for a store here: '{}' ({}) stores nothing.",
            cause.0,
            cause.1.origin.short()
        );
        report(setting, cause.1, message, findings);
    }
    Durability::None
}

/// The setting by which nothing is stored, and its words.
fn nothing_stored<'a>(global: &'a Values<'_>) -> Option<(&'static str, &'a Setting)> {
    match global.set("durability") {
        Some(setting) => Some(("durability none", setting)),
        None => Some(("persistence false", global.set("persistence")?)),
    }
}

/// What is said of the store twice, and differently.
pub(super) fn contradictions(global: &Values<'_>, findings: &mut Findings) {
    if let (Some(old), Some(new)) = (global.set("persistence"), global.set("durability")) {
        let (stores, is_stored) = (
            old.value == Value::Bool(true),
            durability(global) != Durability::None,
        );
        if stores != is_stored {
            let level = global.word("durability").unwrap_or_default();
            let at = new.origin.short();
            let message = if stores {
                format!("this stores messages and sessions, and 'durability {level}' ({at}) stores nothing.")
            } else {
                format!("this stores nothing, and 'durability {level}' ({at}) stores messages and sessions.")
            };
            report(old, new, message, findings);
        }
    }
    let Some((words, cause)) = nothing_stored(global).filter(|_| durability(global) == Durability::None)
    else {
        return;
    };
    for name in ["data_dir", "persistence_location"] {
        // The two of mosquitto stand side by side in many files, and mean no more than they say.
        let is_usual = (name, words) == ("persistence_location", "persistence false");
        if let Some(setting) = global.set(name).filter(|_| !is_usual) {
            let at = cause.origin.short();
            let message = format!("nothing is put into this folder: '{words}' ({at}) stores nothing.");
            findings.warning(Finding::new(Code::Contradiction, setting.origin.place(), message));
        }
    }
}

/// A flag is typed by who knows the file, so it holds; in all other cases nobody can know which one was meant.
fn report(setting: &Setting, other: &Setting, message: String, findings: &mut Findings) {
    let is_flag = |setting: &Setting| matches!(setting.origin, Origin::Flag(_));
    let finding = Finding::new(Code::Contradiction, setting.origin.place(), message);
    if is_flag(other) && !is_flag(setting) {
        findings.warning(finding.note("the flag holds"));
    } else {
        findings.error(finding);
    }
}

/// The store, if anything is stored.
pub(super) fn store(global: &Values<'_>) -> Option<StoreConfig> {
    let durability = durability(global);
    if durability == Durability::None {
        return None;
    }
    let path = |name| {
        let setting = global.set(name)?;
        let Value::Path(path) = &setting.value else {
            panic!("{name} is not a path: {:?}", setting.value)
        };
        Some((PathBuf::from(path), setting.origin.clone()))
    };
    let (folder, origin) = match (path("data_dir"), path("persistence_location")) {
        (Some((folder, origin)), _) => (folder, origin),
        (None, Some((location, origin))) => (location.join(STORE_FOLDER), origin),
        (None, None) => (state_folder(), Origin::Default),
    };
    Some(StoreConfig {
        folder,
        origin,
        durability,
    })
}

/// Where the store is if nobody says: where the service manager says, else here.
pub fn state_folder() -> PathBuf {
    let told = std::env::var_os("STATE_DIRECTORY").filter(|told| !told.is_empty());
    let first = told.and_then(|told| std::env::split_paths(&told).next());
    first.unwrap_or_else(|| PathBuf::from(STORE_FOLDER))
}
