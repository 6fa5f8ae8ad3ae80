//! What files and flags say, line by line, before it becomes a [`super::Config`].

use std::collections::BTreeMap;

use super::directive::Directive;
use super::error::{Code, Errors, Finding, Place};
use super::origin::Origin;
use super::value::Value;
use crate::limits::CONFIG_FINDINGS_MAX;

/// A value and where it was given.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// Settings of one scope, by the name of the directive. What adds up has several.
pub(super) type Settings = BTreeMap<&'static str, Vec<Setting>>;

/// One `listener` with the lines below it.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) origin: Origin,
    /// The place of its line, for findings.
    pub(super) place: Place,
    pub(super) settings: Settings,
}

/// Everything that was said.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) global: Settings,
    /// Settings of the default listener: `port`, `bind_address`, and listener directives above all listeners.
    pub(super) default_listener: Settings,
    /// Where listener directives stand that stand above all listeners.
    pub(super) above: Vec<(&'static str, Place)>,
    pub(super) blocks: Vec<Block>,
    /// `per_listener_settings true` was read: some global directives belong to the listener above them.
    pub(super) per_listener: bool,
    /// Listener directives of flags: for every listener, over its own.
    pub(super) every_listener: Settings,
    pub(super) findings: Findings,
}

/// Errors and warnings so far, bounded.
#[derive(Debug, Default)]
pub(super) struct Findings {
    errors: Vec<Finding>,
    more: usize,
    pub(super) warnings: Vec<Finding>,
}

impl Findings {
    /// Further errors are only counted: what it costs to word them can be saved.
    pub(super) fn full(&self) -> bool {
        self.errors.len() >= CONFIG_FINDINGS_MAX
    }

    pub(super) fn error(&mut self, finding: Finding) {
        if self.full() {
            self.more += 1;
        } else {
            self.errors.push(finding);
        }
    }

    pub(super) fn warning(&mut self, finding: Finding) {
        if self.warnings.len() < CONFIG_FINDINGS_MAX {
            self.warnings.push(finding);
        }
    }

    /// The errors, if there are any, in the order of files and lines.
    pub(super) fn take_errors(&mut self) -> Option<Errors> {
        let mut findings = std::mem::take(&mut self.errors);
        let mut files: Vec<String> = Vec::new();
        findings.sort_by_cached_key(|finding| match &finding.place {
            Place::Whole => (0, 0),
            Place::Line { file, line, .. } => {
                let at = files.iter().position(|f| f == file).unwrap_or_else(|| {
                    files.push(file.clone());
                    files.len() - 1
                });
                (1 + at, *line)
            }
            Place::Flag(_) => (usize::MAX, 0),
        });
        (!findings.is_empty()).then_some(Errors {
            findings,
            more: self.more,
        })
    }
}

/// Puts a value where it belongs; `Err` if it may be given only once and was given before.
pub(super) fn put(settings: &mut Settings, directive: &Directive, setting: Setting) -> Result<(), Origin> {
    let list = settings.entry(directive.name).or_default();
    match list.first() {
        Some(first) if directive.kind.only_once() => Err(first.origin.clone()),
        _ if directive.kind.adds_up() => {
            list.push(setting);
            Ok(())
        }
        _ => {
            *list = vec![setting];
            Ok(())
        }
    }
}

/// The finding for a second value.
pub(super) fn twice(name: &str, first: &Origin, place: Place) -> Finding {
    Finding::new(
        Code::Twice,
        place,
        format!("'{name}' is given twice, first in {}.", first.short()),
    )
}
