//! `martlet help config` and `martlet help DIRECTIVE`: the table behind `docs/configuration.md`.

use std::fmt::Write;

use martlet_server::config::{self, DIRECTIVES, Directive, Mode, Owner, Scope, Status};

use crate::words::wrapped;

/// All that there are, those first that work.
pub(crate) fn all() -> String {
    let mut text = String::from(
        "`martlet broker -c FILE` reads a file in the language of mosquitto.conf: on a line the name of a directive, \
         a\nspace, its value; # begins a comment. `martlet broker --set NAME=VALUE` wins over it.\n",
    );
    let works =
        |scope| move |directive: &Directive| (directive.status, directive.scope) == (Status::Works, scope);
    section(&mut text, "For the whole broker", works(Scope::Global));
    section(
        &mut text,
        "For one listener, below its line",
        works(Scope::Listener),
    );
    section(&mut text, "Known, and not carried out yet", |directive| {
        matches!(directive.status, Status::Later { .. })
    });
    section(&mut text, "Without effect", |directive| {
        matches!(directive.status, Status::Gone(_))
    });
    text
}

fn section(text: &mut String, title: &str, belongs: impl Fn(&Directive) -> bool) {
    let _ = writeln!(text, "\n{title}:");
    for directive in DIRECTIVES.iter().filter(|directive| belongs(directive)) {
        text.push_str(&entry(directive));
    }
}

/// The directive of that name.
pub(crate) fn find(name: &str) -> Option<String> {
    config::find(name).map(entry)
}

fn entry(directive: &Directive) -> String {
    let mut head = directive.name.to_owned();
    if !directive.alias.is_empty() {
        let _ = write!(head, ", {}", directive.alias);
    }
    let _ = write!(head, ": {}", directive.kind.short().replace('`', ""));
    if directive.owner == Owner::Martlet {
        head += " (not in mosquitto)";
    }
    let mut help = directive.help.to_owned();
    match directive.status {
        Status::Works => {
            let [native, mosquitto] = [Mode::Native, Mode::Mosquitto].map(|mode| directive.default_in(mode));
            if !native.is_empty() {
                let _ = write!(help, " Default: {native}.");
            }
            if mosquitto != native {
                let mosquitto = if mosquitto.is_empty() { "none" } else { mosquitto };
                let _ = write!(help, " Default in mosquitto: {mosquitto}.");
            }
        }
        Status::Later { feature, same } => {
            let _ = write!(help, " It needs {feature}, which this version does not have yet");
            help += &match same {
                [] => ".".to_owned(),
                ["*"] => "; until then any value is accepted.".to_owned(),
                values => format!("; accepted: {}.", values.join(", ")),
            };
        }
        Status::Gone(why) => {
            help = format!("Has no effect: {why}.");
        }
    }
    format!("{}{}", wrapped(&head, "  "), wrapped(help.trim(), "      "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_directive_has_its_entry() {
        let all = all();
        for directive in DIRECTIVES {
            let entry = find(directive.name).unwrap();
            assert!(all.contains(&entry), "{entry}");
            assert!(entry.contains(directive.name), "{entry}");
        }
        assert_eq!(find("no_such_directive"), None);
        let entry = find("maximum_qos").unwrap();
        assert!(entry.starts_with("  max_qos, maximum_qos: 0 to 2\n"), "{entry}");
        assert!(entry.ends_with(" Default: 2.\n"), "{entry}");
    }
}
