//! The `martlet` binary: the broker, and the clients `pub`, `sub` and `rr`.
//!
//! Started through a link named `mosquitto_pub`, `mosquitto_sub`, `mosquitto_rr` or `mosquitto_passwd`, it is that program:
//! its texts, its exit codes, its default version.

mod broker;
mod command;
mod connect;
mod console;
mod directives;
mod explain;
mod failure;
mod flags;
mod format;
mod input;
#[cfg(feature = "lua")]
mod lua;
mod misuse;
mod nearest;
mod neighbours;
mod output;
mod passwd;
mod program;
mod publish;
mod request;
mod secret;
mod settings;
mod stop;
mod store;
mod subjects;
mod subscribe;
mod words;
mod wrong;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgMatches, FromArgMatches};
use martlet_bench::BenchArgs;

use crate::broker::BrokerArgs;
use crate::failure::Failure;
use crate::flags::parse::{Asked, parse};
use crate::program::{Manner, Program, Role};
use crate::settings::Settings;
use crate::stop::Stops;
use crate::store::StoreCommand;
use crate::wrong::Wrong;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let started_as = args.first().map(Path::new).and_then(Path::file_name);
    let started_as = started_as.and_then(|name| name.to_str()).unwrap_or_default();
    if let Some(program) = Program::from_link(started_as) {
        let manner = Manner::Mosquitto;
        return client(Role { program, manner }, &args[1..]);
    }
    if started_as == passwd::MOSQUITTO {
        return passwd::run_as_mosquitto(&args);
    }
    if started_as == "mosquitto" {
        let text = "this version of martlet does not stand in for mosquitto's broker by name yet.\n  \
                    run the broker: martlet broker -c FILE";
        console::error("C011", text);
        return ExitCode::FAILURE;
    }
    let command = args.get(1).and_then(|arg| arg.to_str()).unwrap_or_default();
    if let Some(program) = Program::from_name(command) {
        let manner = Manner::Martlet;
        return client(Role { program, manner }, &args[2..]);
    }
    let args = if command == "passwd" {
        passwd::options_first(&args, 2)
    } else {
        args
    };
    match command::martlet().try_get_matches_from(&args) {
        Ok(matches) => other(&matches),
        Err(error) => misused(&error, &args),
    }
}

/// Help and versions are errors to clap; all else is one to us.
fn misused(error: &clap::Error, args: &[OsString]) -> ExitCode {
    use clap::error::ErrorKind;
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1))
        }
        _ => {
            console::error("C010", &misuse::text(error, args));
            ExitCode::FAILURE
        }
    }
}

/// A command that is no client.
fn other(matches: &ArgMatches) -> ExitCode {
    match matches.subcommand() {
        Some(("broker", matches)) => match BrokerArgs::from_arg_matches(matches) {
            Ok(args) => broker::run(&args),
            Err(error) => error.exit(),
        },
        Some(("bench", matches)) => match BenchArgs::from_arg_matches(matches) {
            Ok(args) => bench(&args),
            Err(error) => error.exit(),
        },
        Some(("store", matches)) => match StoreCommand::from_arg_matches(matches) {
            Ok(command) => store::run(&command),
            Err(error) => error.exit(),
        },
        #[cfg(feature = "lua")]
        Some(("lua", matches)) => match lua::LuaArgs::from_arg_matches(matches) {
            Ok(args) => lua::run(&args),
            Err(error) => error.exit(),
        },
        Some(("passwd", matches)) => passwd::run(matches),
        Some(("help", matches)) => help(matches.get_one::<String>("subject").map(String::as_str)),
        Some(("man", matches)) => {
            let dir: &PathBuf = matches.get_one("dir").expect("it has a default");
            written(
                command::write_man(dir),
                &format!("cannot write to {}", dir.display()),
            )
        }
        Some(("completions", matches)) => {
            let shell = *matches.get_one("shell").expect("it is required");
            written(
                command::print_completions(shell),
                "cannot write to standard output",
            )
        }
        other => unreachable!("clap lets no other command through: {other:?}"),
    }
}

/// Ends with 1 when a message was not as it must be, or when there was no run.
fn bench(args: &BenchArgs) -> ExitCode {
    match martlet_bench::run(args) {
        Ok(outcome) => {
            let printed = print(&outcome.text);
            if outcome.good { printed } else { ExitCode::FAILURE }
        }
        Err(error) => {
            let failure = Failure::bench(&error);
            console::say(&failure, Manner::Martlet);
            ExitCode::from(failure.status)
        }
    }
}

fn written(result: std::io::Result<()>, what: &str) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            console::error("C014", &format!("{what}: {}.", wrong::cause(&error)));
            ExitCode::FAILURE
        }
    }
}

fn help(subject: Option<&str>) -> ExitCode {
    let mut martlet = command::martlet();
    // Each command learns that `martlet` stands in front of it.
    martlet.build();
    let Some(subject) = subject else {
        let text = format!(
            "{}\nErrors, explained by `martlet help CODE`:\n{}",
            martlet.render_long_help(),
            explain::list()
        );
        return print(&text);
    };
    if let Some(text) = explain::explain(subject).or_else(|| subjects::find(subject)) {
        return print(&text);
    }
    if let Some(program) = Program::from_name(subject) {
        let manner = Manner::Martlet;
        return print(&command::client_help(Role { program, manner }));
    }
    if let Some(command) = martlet.find_subcommand_mut(subject) {
        return print(&command.render_long_help().to_string());
    }
    if let Some(text) = directives::find(subject) {
        return print(&text);
    }
    let text = format!(
        "there is no command, no directive and no error code '{subject}'.\n  all of them: martlet help"
    );
    console::error("C010", &text);
    ExitCode::FAILURE
}

fn print(text: &str) -> ExitCode {
    written(
        std::io::stdout().write_all(text.as_bytes()),
        "cannot write to standard output",
    )
}

/// `pub`, `sub` or `rr`.
fn client(role: Role, args: &[OsString]) -> ExitCode {
    let settings = match parse(role, args) {
        Ok(Asked::Run(settings)) => settings,
        Ok(Asked::Help) => return asked(role, &command::client_help(role)),
        Ok(Asked::Version) => return asked(role, &role.version()),
        Err(wrong) => {
            let failure = Failure::wrong(&wrong, role);
            console::say(&failure, role.manner);
            if role.is_mosquitto() && matches!(wrong, Wrong::NoMessage) {
                let _ = print(&command::client_help(role));
            }
            return ExitCode::from(failure.status);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            console::error("C014", &format!("cannot start: {}.", wrong::cause(&error)));
            return ExitCode::FAILURE;
        }
    };
    let status = runtime.block_on(run(&settings));
    // A thread that waits for standard input waits in vain.
    runtime.shutdown_background();
    ExitCode::from(status)
}

/// mosquitto's programs end with 1 after what they print on demand.
fn asked(role: Role, text: &str) -> ExitCode {
    let printed = print(text);
    if role.is_mosquitto() {
        ExitCode::FAILURE
    } else {
        printed
    }
}

async fn run(settings: &Settings) -> u8 {
    match work(settings).await {
        Ok(status) => status,
        Err(failure) => console::report(&failure, settings),
    }
}

async fn work(settings: &Settings) -> Result<u8, Failure> {
    // Standard input may never end: until it did, a signal ends the program as it ends any other.
    let payload = input::payload(settings)?;
    let mut stops = Stops::new(settings.timeout_s).map_err(|error| {
        let text = format!("cannot listen for signals: {}.", wrong::cause(&error));
        Failure::new(
            "C014",
            text.clone(),
            format!("Error: {text}\n"),
            failure::status::FAILED,
        )
    })?;
    match settings.role.program {
        Program::Pub => publish::run(settings, payload, &mut stops).await,
        Program::Sub => subscribe::run(settings, &mut stops).await,
        Program::Rr => request::run(settings, payload, &mut stops).await,
    }
}
