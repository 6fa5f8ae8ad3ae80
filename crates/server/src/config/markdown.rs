//! `docs/configuration.md`, rendered from the table.

use std::fmt::Write as _;

use super::directive::{Directive, Owner, Scope, Status};
use super::directives::DIRECTIVES;
use super::error::Code;

const HEAD: &str = "\
# Configuration

<!-- Written from the table of directives (crates/server/src/config/directives.rs) by its test:
     UPDATE=1 cargo nextest run -p martlet-server. Do not edit. -->

`martlet broker -c FILE` reads a file in the language of `mosquitto.conf`. Without a file the broker listens on
port 1883 of the loopback, and lets everybody in.

- One directive on a line: a name, a space, its value. Empty lines and lines that begin with `#` mean nothing.
- Behind a number or a word, a `#` begins a comment. Texts and paths take the whole rest of the line, spaces, `#` and
  quotes included.
- A `listener` line opens a block: the listener directives below it belong to it. Global directives may stand anywhere.
- Given twice, the last number or word counts; a second text, path or address is an error; `log_dest` and `log_type` add up.
- Flags win over the file. `--bind` and `--port` move the listener, `--set NAME=VALUE` sets any other directive;
  a listener directive set that way holds for every listener.
- All errors of a configuration are shown at once, and nothing is started. What mosquitto knows and this version does
  not carry out is an error, unless it asks for what the broker does anyway.

## Who may log in

Clients that name no user are let in as long as every listener is on the loopback, `--port` included, and none has a
`password_file`. A listener or `--bind` beyond the loopback refuses them, and so does a password file, unless
`allow_anonymous true` says otherwise.

Clients that name a user must be one of the `password_file`, with its password. Where there is none a name says nothing:
it is let in with `allow_anonymous true`, and refused without. `martlet passwd -c FILE USER` makes such a file; files of
`mosquitto_passwd` are read as they are. A line that makes no sense keeps the broker from starting. SIGHUP reads the file
again: with such a line the users stay as they were, and who came in as a user who is gone or changed is closed.
";

/// The whole page.
pub fn render_markdown() -> String {
    let mut out = String::from(HEAD);
    section(&mut out, "For the whole broker", Scope::Global);
    section(&mut out, "For one listener", Scope::Listener);
    later(&mut out);
    codes(&mut out);
    out
}

fn section(out: &mut String, title: &str, scope: Scope) {
    line(out, &format!("\n## {title}\n"));
    line(
        out,
        "| directive | value | default | in mosquitto mode | what it does |",
    );
    line(out, "|---|---|---|---|---|");
    for directive in DIRECTIVES
        .iter()
        .filter(|d| d.scope == scope && d.status == Status::Works)
    {
        let name = match (directive.owner, directive.alias) {
            (Owner::Martlet, _) => format!("`{}` (ours)", directive.name),
            (_, "") => format!("`{}`", directive.name),
            (_, alias) => format!("`{}`, `{alias}`", directive.name),
        };
        let (value, help) = (directive.kind.short(), directive.help);
        let (native, mosquitto) = (code(directive.native), code(directive.mosquitto));
        line(
            out,
            &format!("| {name} | {value} | {native} | {mosquitto} | {help} |"),
        );
    }
}

fn later(out: &mut String) {
    line(out, "\n## Known, and not carried out yet\n");
    line(
        out,
        "An error, but for the values in the third column, which the broker obeys by doing nothing.\n",
    );
    line(
        out,
        "| directive | needs | accepted | what it does in mosquitto |",
    );
    line(out, "|---|---|---|---|");
    for directive in DIRECTIVES {
        let Status::Later { feature, same } = directive.status else {
            continue;
        };
        let accepted = match same {
            [] => String::new(),
            ["*"] => "any value".into(),
            values => code(&values.join("`, `")),
        };
        line(
            out,
            &format!(
                "| {} | {feature} | {accepted} | {} |",
                names(directive),
                directive.help
            ),
        );
    }
    line(out, "\n## Without effect\n");
    line(out, "A warning.\n");
    for directive in DIRECTIVES {
        if let Status::Gone(why) = directive.status {
            line(out, &format!("- `{}`: {why}.", directive.name));
        }
    }
}

fn codes(out: &mut String) {
    line(out, "\n## Errors\n");
    let mut codes: Vec<&Code> = Code::ALL.iter().collect();
    codes.sort_by_key(|code| code.as_str());
    for code in codes {
        line(out, &format!("- **{}** {}", code.as_str(), code.explanation()));
    }
}

fn names(directive: &Directive) -> String {
    match directive.alias {
        "" => format!("`{}`", directive.name),
        alias => format!("`{}`, `{alias}`", directive.name),
    }
}

fn code(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!("`{text}`")
    }
}

fn line(out: &mut String, text: &str) {
    let written = writeln!(out, "{text}");
    assert!(written.is_ok(), "writing into a string");
}
