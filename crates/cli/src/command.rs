//! The commands as clap sees them: for help, man pages and completions of all, and to parse those
//! that are not clients. The clients' options come from their table.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, Args as _, Command, Subcommand as _, ValueHint};
use clap_complete::Shell;

use crate::broker::BrokerArgs;
use crate::flags::{Flag, Group, Id};
use crate::program::{Program, Role};
use crate::store::StoreCommand;
use crate::words::wrapped;

const ABOUT: &str = "MQTT that never drops what it has acknowledged: a broker and its command line";

/// `martlet` with all its commands.
pub(crate) fn martlet() -> Command {
    let mut command = Command::new("martlet")
        .about(ABOUT)
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_subcommand(true)
        .arg_required_else_help(true)
        .subcommand_required(true)
        .subcommand(BrokerArgs::augment_args(Command::new("broker")).about("Run the broker"));
    for program in Program::ALL {
        command = command.subcommand(client(program, program.name()));
    }
    command = command.subcommand(crate::passwd::command("passwd"));
    #[cfg(feature = "lua")]
    {
        let lua = crate::lua::LuaArgs::augment_args(Command::new("lua"));
        command = command.subcommand(lua.about("Run a script of a LuatOS module, against any broker"));
    }
    let bench = martlet_bench::BenchArgs::augment_args(Command::new("bench"));
    command
        .subcommand(bench.about("Measure any broker, and check every message"))
        .subcommand(
            StoreCommand::augment_subcommands(Command::new("store"))
                .about("Check, show, repair, export or import the store of a broker that is not running")
                .arg_required_else_help(true)
                .subcommand_required(true)
                .disable_help_subcommand(true),
        )
        .subcommand(
            Command::new("help")
                .about("Explain a command, a subject, or the code of an error")
                .arg(
                    Arg::new("subject")
                        .value_name("SUBJECT")
                        .allow_hyphen_values(true)
                        .help("A command, an error's code such as C001, a directive, `config`, `format` or `properties`"),
                ),
        )
        .subcommand(
            Command::new("man")
                .about("Write the man pages into a folder")
                .arg(
                    Arg::new("dir")
                        .long("dir")
                        .value_name("DIR")
                        .value_parser(clap::value_parser!(PathBuf))
                        .value_hint(ValueHint::DirPath)
                        .default_value("man")
                        .help("The folder; it is made if it is not there"),
                ),
        )
        .subcommand(
            Command::new("completions")
                .about("Print the completions for a shell")
                .arg(
                    Arg::new("shell")
                        .required(true)
                        .value_parser(clap::value_parser!(Shell))
                        .help("bash, zsh, fish, elvish or powershell"),
                ),
        )
}

/// A client under the name that starts it.
pub(crate) fn client(program: Program, name: &'static str) -> Command {
    let command = Command::new(name)
        .about(program.about())
        .disable_help_flag(true)
        .disable_version_flag(true)
        .override_usage(usage(program, name))
        .after_help(after_help(program, name))
        .after_long_help(after_long_help(program, name));
    let flags = Flag::all(program).filter(|flag| flag.group != Group::Later);
    flags.map(argument).fold(command, Command::arg)
}

/// `martlet pub`, or the name of the link.
fn typed(program: Program, name: &str) -> String {
    if name == program.name() {
        format!("martlet {name}")
    } else {
        name.to_owned()
    }
}

fn usage(program: Program, name: &str) -> String {
    let name = typed(program, name);
    match program {
        Program::Pub => format!("{name} [-h HOST] -t TOPIC {{-m TEXT | -f FILE | -l | -s | -n}} [OPTIONS]"),
        Program::Sub => format!("{name} [-h HOST] -t TOPIC... [OPTIONS]"),
        Program::Rr => {
            format!("{name} [-h HOST] -t TOPIC -e TOPIC {{-m TEXT | -f FILE | -s | -n}} [OPTIONS]")
        }
    }
}

fn after_help(program: Program, name: &str) -> String {
    let example = match program {
        Program::Pub => "-t S013/MOT01/RECM -m 'DRVZ+1000'",
        Program::Sub => "-v -t 'S013/#'",
        Program::Rr => "-t S013/MOT01/ASK -e S013/MOT01/ANSWER -m status -W 5",
    };
    let later = Flag::all(program).filter(|flag| flag.group == Group::Later);
    let later: Vec<String> = later.map(Flag::name).collect();
    let (heading, later) = (Group::Later.heading(), wrapped(&later.join(", "), "  "));
    let (file, typed) = (program.mosquitto(), typed(program, name));
    format!(
        "{heading}:\n{later}\n\
         Defaults are read from $XDG_CONFIG_HOME/{file} or ~/.config/{file}, one option with its value per line.\n\n\
         Example: {typed} {example}"
    )
}

/// Man pages have room for what `help` has under names of its own.
fn after_long_help(program: Program, name: &str) -> String {
    let format = match program {
        Program::Pub => String::new(),
        Program::Sub | Program::Rr => format!("{}\n", crate::subjects::format()),
    };
    format!(
        "{format}{}\n{}",
        crate::subjects::properties(),
        after_help(program, name)
    )
}

fn argument(flag: &'static Flag) -> Arg {
    let id = flag.long.map_or_else(|| flag.name(), str::to_owned);
    let mut argument = Arg::new(id).help(flag.help).help_heading(flag.group.heading());
    if let Some(short) = flag.short {
        argument = argument.short(short);
    }
    if let Some(long) = flag.long {
        argument = argument.long(long);
    }
    if !flag.takes_value() {
        return argument.action(ArgAction::SetTrue);
    }
    let action = if flag.repeats {
        ArgAction::Append
    } else {
        ArgAction::Set
    };
    let hint = match flag.id {
        Id::File | Id::Options | Id::Authorities | Id::Certificate | Id::Key | Id::KeyPassFile | Id::Unix => {
            ValueHint::FilePath
        }
        Id::AuthoritiesFolder => ValueHint::DirPath,
        Id::Host => ValueHint::Hostname,
        Id::Url | Id::Proxy => ValueHint::Url,
        _ => ValueHint::Other,
    };
    // Completions offer them; the help says them in its own words.
    let values: &[&str] = match flag.id {
        Id::ProtocolVersion => &["5", "311", "31"],
        Id::RetainHandling => &["always", "new", "never"],
        Id::Qos | Id::WillQos => &["0", "1", "2"],
        Id::TlsVersion => &["tlsv1.2", "tlsv1.3"],
        _ => &[],
    };
    if !values.is_empty() {
        argument = argument
            .value_parser(PossibleValuesParser::new(values))
            .hide_possible_values(true);
    }
    argument
        .action(action)
        .value_name(flag.value)
        .value_hint(hint)
        .allow_hyphen_values(true)
}

/// The help of a client, named as it was started.
pub(crate) fn client_help(role: Role) -> String {
    let name = if role.is_mosquitto() {
        role.program.mosquitto()
    } else {
        role.program.name()
    };
    let mut command = client(role.program, name);
    if !role.is_mosquitto() {
        return command.render_help().to_string();
    }
    // As those programs begin: what it is, then its version; clap would break the lines.
    let help = command
        .help_template("{usage-heading} {usage}\n\n{all-args}{after-help}")
        .render_help();
    format!("{}\n{}\n{help}", role.program.mosquitto_about(), role.version())
}

/// Writes a man page for each command.
pub(crate) fn write_man(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let mut martlet = martlet();
    // Each command learns that `martlet` stands in front of it.
    martlet.build();
    let mut pages = vec![("martlet".to_owned(), martlet.clone())];
    for command in martlet.get_subcommands() {
        let name = format!("martlet-{}", command.get_name());
        for below in command.get_subcommands() {
            pages.push((format!("{name}-{}", below.get_name()), below.clone()));
        }
        pages.push((name, command.clone()));
    }
    for (name, command) in pages {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        std::fs::write(dir.join(format!("{name}.1")), page)?;
    }
    Ok(())
}

/// Prints the completions for a shell.
pub(crate) fn print_completions(shell: Shell) -> io::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut martlet(), "martlet", &mut script);
    io::stdout().write_all(&script)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::Manner;

    #[test]
    fn the_commands_are_sound() {
        martlet().debug_assert();
        for program in Program::ALL {
            client(program, program.mosquitto()).debug_assert();
        }
    }

    #[test]
    fn help_lists_every_option_that_works() {
        for program in Program::ALL {
            let help = client_help(Role {
                program,
                manner: Manner::Martlet,
            });
            let heading = format!("{}:\n", Group::Later.heading());
            let (options, later) = help.split_once(&heading).unwrap();
            for flag in Flag::all(program) {
                let name = flag.long.map_or_else(|| flag.name(), |long| format!("--{long}"));
                let is_later = flag.group == Group::Later;
                assert_eq!(
                    options.contains(&format!("{name}\n")) || options.contains(&format!("{name} ")),
                    !is_later,
                    "{name}"
                );
                let listed = later.split([',', ' ', '\n']).any(|word| word == name);
                assert!(!is_later || listed, "{name}");
            }
        }
    }

    #[test]
    fn help_of_a_link_begins_as_that_of_its_program() {
        for program in Program::ALL {
            let manner = Manner::Mosquitto;
            let help = client_help(Role { program, manner });
            let name = program.mosquitto();
            let mut lines = help.lines();
            assert!(
                lines.next().unwrap().starts_with(&format!("{name} is a")),
                "{help}"
            );
            let version = format!(
                "{name} version 2.1.2 running on martlet {}.",
                env!("CARGO_PKG_VERSION")
            );
            assert_eq!((lines.next(), lines.next()), (Some(version.as_str()), Some("")));
            assert!(
                lines
                    .next()
                    .unwrap()
                    .starts_with(&format!("Usage: {name} [-h HOST]")),
                "{help}"
            );
            assert!(
                help.contains(&format!("\nExample: {name} -")) && !help.contains("martlet pub"),
                "{help}"
            );
        }
    }

    #[test]
    fn completions_offer_values_and_nothing_that_is_missing() {
        let mut script = Vec::new();
        clap_complete::generate(Shell::Zsh, &mut martlet(), "martlet", &mut script);
        let script = String::from_utf8(script).unwrap();
        assert!(script.contains("(5 311 31)") && script.contains("(always new never)"));
        assert!(script.contains("--cafile") && !script.contains("--psk"));
    }
}
