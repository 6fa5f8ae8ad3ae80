//! `martlet passwd`, and `mosquitto_passwd` by name: users of a password file are added, changed and taken out.

mod file;

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args as _, Command, FromArgMatches, ValueHint};
use martlet_server::config::{Finding, users_unreadable, wrong_user, wrong_users};
use martlet_users::edit::{self, Edited, Unhashed};
use martlet_users::limits::{ITERATIONS_MAX, PASSWORD_BYTES_MAX};
use martlet_users::{Fault, NameError, PasswordHash, Scheme, Users, check_name};

use self::file::{Changed, Locked};
use crate::console;
use crate::failure::{Failure, status};
use crate::program::Manner;
use crate::secret::{self, NoPassword};
use crate::wrong::cause;

/// What `martlet passwd` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct PasswdArgs {
    /// Take the password from the command line, where others on this machine can see it
    #[arg(short, long)]
    batch: bool,
    /// Make the file, which must not exist; with - as FILE the line is printed
    #[arg(short, long)]
    create: bool,
    /// Take the user out of the file
    #[arg(short = 'D', long)]
    delete: bool,
    /// Hash every password of the file that is plain text
    #[arg(short = 'U', long)]
    update: bool,
    /// How to hash: argon2id, sha512-pbkdf2 (mosquitto 2.0 reads it) or sha512 (so do older ones; weak)
    #[arg(
        short = 'H',
        long = "hash",
        value_name = "METHOD",
        default_value = "argon2id",
        value_parser = clap::builder::PossibleValuesParser::new(METHODS),
        hide_possible_values = true
    )]
    method: String,
    /// Iterations of sha512-pbkdf2 (default: 210000)
    #[arg(short = 'I', long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=i64::from(ITERATIONS_MAX)))]
    iterations: Option<u32>,
    /// The password file
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// The user
    #[arg(value_name = "USER")]
    user: Option<String>,
    /// The password, with -b
    #[arg(value_name = "PASSWORD")]
    password: Option<OsString>,
}

const METHODS: [&str; 3] = ["argon2id", "sha512-pbkdf2", "sha512"];

/// What is recommended for PBKDF2 with HMAC-SHA-512: about as long as argon2id takes.
const ITERATIONS: u32 = 210_000;

/// The command under the name that starts it.
pub(crate) fn command(name: &'static str) -> Command {
    let typed = if name == "passwd" { "martlet passwd" } else { name };
    PasswdArgs::augment_args(Command::new(name))
        .about("Add users to a password file, change their passwords, take them out")
        .override_usage(format!(
            "{typed} [-H METHOD] [-c | -D] FILE USER\n       {typed} [-H METHOD] [-c] -b FILE USER PASSWORD\n       \
             {typed} [-H METHOD] -U FILE"
        ))
        .after_help(
            "The password is asked for twice. Where standard input is no terminal, its first line is the password.\n\
             Options stand before FILE. All other lines of the file stay as they are, and so do its owner and its mode.\n\
             A broker that runs reads the file again on SIGHUP.\n\n\
             The exit status is 0, 2 if the two passwords differ, or 1.",
        )
}

/// Runs the command: `args` begin with what started it.
pub(crate) fn run(matches: &clap::ArgMatches) -> ExitCode {
    match PasswdArgs::from_arg_matches(matches) {
        Ok(args) => ended(work(&args), Manner::Martlet),
        Err(error) => error.exit(),
    }
}

/// The program `mosquitto_passwd`.
pub(crate) fn run_as_mosquitto(args: &[OsString]) -> ExitCode {
    let command = command(MOSQUITTO);
    let parsed = command
        .clone()
        .try_get_matches_from(options_first(args, 1))
        .and_then(|matches| PasswdArgs::from_arg_matches(&matches));
    match parsed {
        Ok(args) => ended(work(&args), Manner::Mosquitto),
        Err(error) => {
            use clap::error::ErrorKind;
            let is_asked = matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::MissingRequiredArgument
            );
            if !is_asked {
                console::put(&format!("Error: {}\n", crate::misuse::sentence(&error, &command)));
            }
            let help = command.help_template("{usage-heading} {usage}\n\n{all-args}{after-help}");
            let about = "mosquitto_passwd is a tool for managing password files for mosquitto.";
            let _ = write!(io::stdout(), "{about}\n\n{}", help.clone().render_help());
            ExitCode::FAILURE
        }
    }
}

/// The name of mosquitto's program.
pub(crate) const MOSQUITTO: &str = "mosquitto_passwd";

fn ended(done: Result<(), Failure>, manner: Manner) -> ExitCode {
    let Err(failure) = done else {
        return ExitCode::SUCCESS;
    };
    console::say(&failure, manner);
    ExitCode::from(failure.status)
}

/// The arguments with a mark behind the options, so that a user or a password may begin with a hyphen. The first `skip`
/// are the program.
pub(crate) fn options_first(args: &[OsString], skip: usize) -> Vec<OsString> {
    let mut out = args[..skip.min(args.len())].to_vec();
    let mut rest = args[out.len()..].iter();
    while let Some(arg) = rest.next() {
        let is_option = arg.as_bytes().starts_with(b"-") && arg.len() > 1;
        if !is_option {
            out.push("--".into());
            out.push(arg.clone());
            break;
        }
        out.push(arg.clone());
        if arg == "--" {
            break;
        }
        if takes_the_next(arg) {
            out.extend(rest.next().cloned());
        }
    }
    out.extend(rest.cloned());
    out
}

/// `-H`, `-bH`, `--hash`: the value is the next argument.
fn takes_the_next(option: &OsStr) -> bool {
    let option = option.as_bytes();
    if let Some(long) = option.strip_prefix(b"--") {
        return long == b"hash" || long == b"iterations";
    }
    let letter = option.iter().position(|letter| matches!(letter, b'H' | b'I'));
    letter.is_some_and(|at| at + 1 == option.len())
}

/// What is to be done, all arguments looked at together.
enum Task<'a> {
    Create(Change<'a>),
    Set(Change<'a>),
    Delete(&'a str),
    Update,
}

/// A user and where the password comes from.
struct Change<'a> {
    user: &'a str,
    /// None: it is asked for.
    password: Option<&'a OsStr>,
}

fn task(args: &PasswdArgs) -> Result<Task<'_>, Failure> {
    let chosen = [(args.create, "-c"), (args.delete, "-D"), (args.update, "-U")];
    let mut chosen = chosen
        .iter()
        .filter(|(is_chosen, _)| *is_chosen)
        .map(|(_, flag)| *flag);
    if let (Some(first), Some(second)) = (chosen.next(), chosen.next()) {
        return Err(together(first, second));
    }
    if args.delete && args.batch {
        return Err(together("-b", "-D"));
    }
    if args.iterations.is_some() && args.method != "sha512-pbkdf2" {
        let text = format!(
            "-I belongs to -H sha512-pbkdf2; {} has no iterations.",
            args.method
        );
        return Err(misused(&text));
    }
    if args.update {
        return match (args.batch, &args.user) {
            (true, _) => Err(together("-b", "-U")),
            (false, Some(_)) => Err(misused(
                "-U takes FILE alone; it hashes the passwords of all users in it.",
            )),
            (false, None) => Ok(Task::Update),
        };
    }
    let Some(user) = args.user.as_deref() else {
        return Err(misused("which user? FILE and USER are needed."));
    };
    let password = args.password.as_deref();
    match (args.batch, password) {
        (true, None) => {
            return Err(misused(
                "-b takes the password from the command line: FILE USER PASSWORD.",
            ));
        }
        (false, Some(_)) => {
            let text =
                "there is an argument too many: options stand before FILE, and a password there needs -b.";
            return Err(misused(text));
        }
        _ => {}
    }
    check_name(user).map_err(|error| wrong_name(error, user))?;
    let change = Change { user, password };
    Ok(match (args.create, args.delete) {
        (true, _) => Task::Create(change),
        (_, true) => Task::Delete(user),
        _ => Task::Set(change),
    })
}

fn work(args: &PasswdArgs) -> Result<(), Failure> {
    match task(args)? {
        Task::Create(change) => create(args, &change),
        Task::Set(change) => {
            // Nobody types a password in vain.
            let locked = Locked::open(&args.file).map_err(|error| unreadable(&args.file, &error))?;
            drop(locked);
            let hash = hash(args, &change)?;
            let set = |bytes: &[u8]| Ok(edit::set(bytes, change.user, &hash));
            let edited = rewrite(&args.file, set)?;
            let done = if edited.lines > 0 { "Updating" } else { "Adding" };
            say(&format!("{done} password for user {}\n", change.user));
            warn_of_faults(&args.file, &edited.bytes);
            Ok(())
        }
        Task::Delete(user) => {
            let edited = rewrite(&args.file, |bytes| {
                let edited = edit::remove(bytes, user);
                if edited.lines == 0 {
                    return Err(no_user(&args.file, user));
                }
                Ok(edited)
            })?;
            warn_of_faults(&args.file, &edited.bytes);
            Ok(())
        }
        Task::Update => {
            let edited = rewrite(&args.file, |bytes| {
                edit::hash_plain(bytes, |password| hashed(args, password)).map_err(|error| match error {
                    Unhashed::Line(fault) => faulty(&args.file, &fault),
                    Unhashed::Failed(failure) => failure,
                })
            })?;
            warn_of_faults(&args.file, &edited.bytes);
            Ok(())
        }
    }
}

fn create(args: &PasswdArgs, change: &Change<'_>) -> Result<(), Failure> {
    let prints = args.file.as_os_str() == "-";
    if !prints && args.file.symlink_metadata().is_ok() {
        return Err(exists(&args.file));
    }
    let hash = hash(args, change)?;
    let line = edit::set(b"", change.user, &hash).bytes;
    if prints {
        return print(&line);
    }
    file::create(&args.file, &line).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(&args.file),
        _ => unwritable(&args.file, &error),
    })?;
    say(&format!("Adding password for user {}\n", change.user));
    Ok(())
}

fn rewrite(path: &Path, edit: impl FnOnce(&[u8]) -> Result<Edited, Failure>) -> Result<Edited, Failure> {
    let locked = Locked::open(path).map_err(|error| unreadable(path, &error))?;
    let edited = edit(locked.bytes())?;
    locked.replace(&edited.bytes).map_err(|error| match error {
        Changed::Owner(error) => foreign(path, &error),
        Changed::Failed(error) => unwritable(path, &error),
    })?;
    Ok(edited)
}

fn scheme(args: &PasswdArgs) -> Scheme {
    match args.method.as_str() {
        "sha512" => Scheme::Sha512,
        "sha512-pbkdf2" => Scheme::Pbkdf2 {
            iterations: args.iterations.unwrap_or(ITERATIONS),
        },
        _ => Scheme::Argon2id,
    }
}

fn salt(scheme: Scheme) -> Result<Vec<u8>, Failure> {
    let mut salt = vec![0; scheme.salt_bytes()];
    getrandom::fill(&mut salt).map_err(|error| {
        let text = format!("the system gives no random numbers: {error}.");
        Failure::new("C014", text, "Error: Unable to hash password.\n", status::FAILED)
    })?;
    Ok(salt)
}

fn hash(args: &PasswdArgs, change: &Change<'_>) -> Result<PasswordHash, Failure> {
    let password = match change.password {
        Some(password) if password.is_empty() => Err(NoPassword::Empty),
        Some(password) if password.len() > PASSWORD_BYTES_MAX => Err(NoPassword::TooLong),
        Some(password) => Ok(password.as_bytes().to_vec()),
        None => secret::ask(),
    };
    hashed(args, &password.map_err(no_password)?)
}

fn hashed(args: &PasswdArgs, password: &[u8]) -> Result<PasswordHash, Failure> {
    let scheme = scheme(args);
    Ok(PasswordHash::new(scheme, password, &salt(scheme)?))
}

/// Lines that were left alone, and that the broker will not take.
fn warn_of_faults(path: &Path, bytes: &[u8]) {
    let Err(faults) = Users::read(bytes) else { return };
    for finding in wrong_users(path, &faults) {
        console::warn(&format!(
            "{} The broker lets nobody in by such a file.",
            finding.message
        ));
    }
}

fn print(bytes: &[u8]) -> Result<(), Failure> {
    io::stdout()
        .write_all(bytes)
        .map_err(|error| Failure::output(&error))
}

/// What `mosquitto_passwd` says when all is well. Whether anybody reads it changes nothing.
fn say(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

fn failure(code: &'static str, first: String, mosquitto: String) -> Failure {
    Failure::new(code, first, mosquitto, status::FAILED)
}

fn misused(text: &str) -> Failure {
    let mosquitto = format!("Error: {text}\n");
    failure("C010", text.to_owned(), mosquitto).with("all options: martlet passwd --help")
}

fn together(first: &str, second: &str) -> Failure {
    let mosquitto = format!("Error: {first} and {second} cannot be used together.\n");
    failure(
        "C010",
        format!("{first} and {second} cannot be used together."),
        mosquitto,
    )
    .with("all options: martlet passwd --help")
}

fn wrong_name(error: NameError, user: &str) -> Failure {
    let mosquitto = match error {
        NameError::Colon => "Error: Username must not contain the ':' character.\n".to_owned(),
        NameError::ControlCharacter => "Error: Username must not contain control characters.\n".to_owned(),
        NameError::TooLong => "Error: Username must be less than 65536 characters long.\n".to_owned(),
        error => format!("Error: {error}.\n"),
    };
    let user: String = user.escape_debug().take(60).collect();
    failure("U004", format!("'{user}' cannot be a user: {error}."), mosquitto)
}

fn no_user(path: &Path, user: &str) -> Failure {
    let mosquitto = format!("Warning: User {user} not found in password file.\n");
    failure(
        "U001",
        format!("there is no user '{user}' in {}.", path.display()),
        mosquitto,
    )
}

fn no_password(error: NoPassword) -> Failure {
    match error {
        NoPassword::Empty => failure(
            "U002",
            "the password is empty, and nothing was changed.".into(),
            "Error: Empty password.\n".into(),
        ),
        NoPassword::Differ => {
            let text = "the two passwords differ, and nothing was changed.";
            Failure::new("U002", text, "Error: Passwords do not match.\n", DIFFER)
        }
        NoPassword::TooLong => failure(
            "U002",
            format!("a password has at most {PASSWORD_BYTES_MAX} bytes, the most that MQTT can carry."),
            "Error: Password must be less than 65536 characters long.\n".into(),
        ),
        NoPassword::Interrupted => {
            let text = "interrupted, and nothing was changed.";
            Failure::new("U002", text, format!("Error: {text}\n"), INTERRUPTED)
        }
        NoPassword::Failed(error) => {
            let text = format!("no password can be read: {}.", cause(&error));
            failure("U002", text.clone(), format!("Error: {text}\n"))
        }
    }
}

/// As `mosquitto_passwd`.
const DIFFER: u8 = 2;
/// As a shell says of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let mosquitto = format!(
        "Error: Unable to open password file {}. {}.\n",
        path.display(),
        capital(&cause(error))
    );
    of_finding(&users_unreadable(path, error), mosquitto)
}

fn faulty(path: &Path, fault: &Fault) -> Failure {
    let mosquitto = format!(
        "Error: Corrupt password file at line {}: {}.\n",
        fault.line, fault.error
    );
    of_finding(&wrong_user(path, fault), mosquitto).with("nothing was changed")
}

fn of_finding(finding: &Finding, mosquitto: String) -> Failure {
    let failure = failure(finding.code.as_str(), finding.message.clone(), mosquitto);
    finding.notes.iter().fold(failure, Failure::with)
}

fn exists(path: &Path) -> Failure {
    let file = path.display();
    let mosquitto = format!("Error: Unable to open file {file} for writing. File exists.\n");
    failure(
        "U003",
        format!("{file} exists already, and -c would lose the users in it."),
        mosquitto,
    )
    .with("fix: leave -c out to add a user to it")
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    let (file, why) = (path.display(), cause(error));
    let mosquitto = format!(
        "Error: Unable to open file {file} for writing. {}.\n",
        capital(&why)
    );
    failure(
        "U005",
        format!("cannot write {file}: {why}. It is as it was."),
        mosquitto,
    )
}

fn foreign(path: &Path, error: &io::Error) -> Failure {
    let (file, why) = (path.display(), cause(error));
    let mosquitto = format!("Error: Unable to keep the owner of {file}. {}.\n", capital(&why));
    failure(
        "U005",
        format!("{file} belongs to somebody else, and this user cannot keep it so: {why}. It is as it was."),
        mosquitto,
    )
    .with("run it as its owner, or with sudo")
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> String {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let args = options_first(&args, 1);
        let words: Vec<_> = args.iter().map(|arg| arg.to_str().unwrap()).collect();
        words.join(" ")
    }

    #[test]
    fn behind_the_file_nothing_is_an_option() {
        let table = [
            ("p -b f u -c", "p -b -- f u -c"),
            ("p -H sha512 -b f u p", "p -H sha512 -b -- f u p"),
            ("p -bH sha512 f u -p", "p -bH sha512 -- f u -p"),
            ("p -Hsha512 f u", "p -Hsha512 -- f u"),
            ("p --hash sha512 f u", "p --hash sha512 -- f u"),
            ("p --hash=sha512 f u", "p --hash=sha512 -- f u"),
            ("p -c - u", "p -c -- - u"),
            ("p -- -f u", "p -- -f u"),
            ("p -H", "p -H"),
            ("p", "p"),
        ];
        for (line, expected) in table {
            assert_eq!(split(line), expected);
        }
    }

    #[test]
    fn the_command_is_sound_under_both_names() {
        for name in ["passwd", MOSQUITTO] {
            command(name).debug_assert();
        }
    }
}
