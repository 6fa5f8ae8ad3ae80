//! `martlet lua`: runs a script of a LuatOS module.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use martlet_luatos::{Missing, ScriptError, Settings, check_value, limits};

use crate::{console, wrong};

/// What `martlet lua` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct LuaArgs {
    /// The script
    #[arg(value_name = "SCRIPT", value_hint = clap::ValueHint::FilePath)]
    script: PathBuf,
    /// Arguments of the script
    #[arg(value_name = "ARGS", trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
    /// Another folder in which `require` looks (may be repeated; first the script's own)
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    path: Vec<PathBuf>,
    /// Print each packet as a line
    #[arg(long)]
    trace: bool,
    /// End the script after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    time_limit: Option<Duration>,
    /// Mebibytes that the script may use; more is the error `not enough memory`
    #[arg(long, value_name = "MIB", default_value_t = limits::MEMORY_MIB_DEFAULT, value_parser = mebibytes)]
    memory_limit: usize,
    /// Let timers jump instead of waiting; clients reach a broker of this process only, and the time limit jumps too
    #[arg(long)]
    virtual_time: bool,
    /// Compile only, and list what the script uses of LuatOS that is not here
    #[arg(long)]
    check: bool,
    /// The IMEI of the module that the script believes to run on
    #[arg(long, value_name = "IMEI")]
    imei: Option<String>,
    /// What another stand-in of the module's hardware says, such as mobile.csq=20 (may be repeated)
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
    /// The same from a file, a line each
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    set_from: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok();
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.ok_or_else(|| "a number of seconds is wanted, such as 10 or 0.5".to_owned())
}

fn mebibytes(text: &str) -> Result<usize, String> {
    let mebibytes = text.parse::<usize>().ok().filter(|n| (1..=1 << 20).contains(n));
    mebibytes.ok_or_else(|| "a number of mebibytes from 1 to 1048576 is wanted".to_owned())
}

fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, value) = pair.ok_or("NAME=VALUE is wanted, such as mobile.csq=20")?;
    check_value(name, value)?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Lines `NAME=VALUE`; empty ones and those that begin with `#` say nothing.
fn pairs_of(path: &Path) -> Result<Vec<(String, String)>, String> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| format!("cannot read {}: {}", path.display(), wrong::cause(&error)))?;
    let mut pairs = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            let line = match line.split_once('=') {
                Some((name, value)) => format!("{}={}", name.trim_end(), value.trim_start()),
                None => line.to_owned(),
            };
            pairs.push(pair(&line).map_err(|why| format!("{}:{}: {why}", path.display(), n + 1))?);
        }
    }
    Ok(pairs)
}

/// Runs the script: 0 if it comes to its end, 1 if it fails.
pub(crate) fn run(args: &LuaArgs) -> ExitCode {
    let mut values = BTreeMap::new();
    if let Some(path) = &args.set_from {
        match pairs_of(path) {
            Ok(pairs) => values.extend(pairs),
            Err(why) => {
                console::error("C010", &format!("--set-from: {why}."));
                return ExitCode::FAILURE;
            }
        }
    }
    values.extend(args.set.iter().cloned());
    if let Some(imei) = &args.imei {
        values.insert("mobile.imei".to_owned(), imei.clone());
    }
    let settings = Settings {
        path: args.path.clone(),
        args: args.args.clone(),
        trace: args.trace,
        time_limit: args.time_limit.map(|limit| (limit, time_is_over as fn() -> i32)),
        memory_limit: Some(args.memory_limit << 20),
        virtual_time: args.virtual_time,
        values,
        ..Settings::default()
    };
    if args.check {
        return check(&args.script, settings);
    }
    match martlet_luatos::run(&args.script, settings) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// Lists what is missing, a line each: 1 if there is something.
fn check(script: &Path, settings: Settings) -> ExitCode {
    let missing = match martlet_luatos::check(script, settings) {
        Ok(missing) => missing,
        Err(error) => return failed(&error),
    };
    let mut text = String::new();
    for Missing { file, line, name } in &missing {
        text += &format!("{}:{line}: {name} is not there\n", file.display());
    }
    // Whoever does not read it any more knows enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
    if missing.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn failed(error: &ScriptError) -> ExitCode {
    let code = match error {
        ScriptError::Read { .. } | ScriptError::Start(_) => "L001",
        ScriptError::Syntax(_) => "L002",
        _ => "L003",
    };
    let text = match error {
        ScriptError::Read { path, source } => {
            format!(
                "cannot read the script {}: {}.",
                path.display(),
                wrong::cause(source)
            )
        }
        error => error.to_string(),
    };
    console::error(code, &text);
    ExitCode::FAILURE
}

/// The exit status.
fn time_is_over() -> i32 {
    console::error(
        "L004",
        "the script has not ended within the time of --time-limit.",
    );
    124
}
