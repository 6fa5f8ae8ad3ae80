//! Wrong arguments of the commands that clap parses, in the shape that those of the clients have.

use std::ffi::OsString;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::command::martlet;
use crate::nearest::nearest;

/// What is wrong, and where to read on. `args` begin with the program.
pub(crate) fn text(error: &clap::Error, args: &[OsString]) -> String {
    let mut command = &martlet();
    let mut typed = command.get_name().to_owned();
    for arg in &args[1..] {
        let Some(below) = command.find_subcommand(arg) else {
            break;
        };
        command = below;
        typed = format!("{typed} {}", below.get_name());
    }
    let more = if command.has_subcommands() {
        format!("all of them: {typed} --help")
    } else {
        format!("all options: {typed} --help")
    };
    format!("{}\n  {more}", sentence(error, command))
}

/// What is wrong, as one sentence.
pub(crate) fn sentence(error: &clap::Error, command: &Command) -> String {
    let said = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    let (kind, name, names): (_, _, Vec<String>) = match error.kind() {
        ErrorKind::UnknownArgument => {
            let longs = command.get_arguments().filter_map(clap::Arg::get_long);
            let longs = longs.chain(["help"]).map(|long| format!("--{long}"));
            ("option", said(ContextKind::InvalidArg), longs.collect())
        }
        ErrorKind::InvalidSubcommand => {
            let names = command.get_subcommands().map(Command::get_name);
            let names = names.map(str::to_owned);
            ("command", said(ContextKind::InvalidSubcommand), names.collect())
        }
        _ => return plain(error),
    };
    match nearest(name, names) {
        _ if kind == "option" && !name.starts_with('-') => format!("'{name}' is not an option."),
        Some(known) => format!("there is no {kind} '{name}'. Did you mean '{known}'?"),
        None => format!("there is no {kind} '{name}'."),
    }
}

/// The first paragraph of what clap prints, as one sentence.
fn plain(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines = text.lines().take_while(|line| !line.is_empty()).map(str::trim);
    let text = lines.collect::<Vec<_>>().join(" ");
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    // What Rust says of letters where a number belongs.
    let text = text.replace("invalid digit found in string", "it is not a number");
    format!("{}.", text.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_shape() {
        let cases = [
            (
                "broker --confg x",
                "there is no option '--confg'. Did you mean '--config'?\n  all options: martlet broker --help",
            ),
            (
                "broker x",
                "'x' is not an option.\n  all options: martlet broker --help",
            ),
            (
                "broker -c",
                "a value is required for '--config <FILE>' but none was supplied.\n  \
                 all options: martlet broker --help",
            ),
            (
                "broker -p x",
                "invalid value 'x' for '--port <PORT>': it is not a number.\n  all options: martlet broker --help",
            ),
            (
                "bench pairs --pair 3",
                "there is no option '--pair'. Did you mean '--pairs'?\n  all options: martlet bench pairs --help",
            ),
            (
                "bench pair",
                "there is no command 'pair'. Did you mean 'pairs'?\n  all of them: martlet bench --help",
            ),
            (
                "completions --foo",
                "there is no option '--foo'.\n  all options: martlet completions --help",
            ),
            (
                "brokr",
                "there is no command 'brokr'. Did you mean 'broker'?\n  all of them: martlet --help",
            ),
        ];
        for (line, expected) in cases {
            let args: Vec<OsString> = format!("martlet {line}").split(' ').map(OsString::from).collect();
            let error = martlet().try_get_matches_from(&args).unwrap_err();
            assert_eq!(text(&error, &args), expected);
        }
    }
}
