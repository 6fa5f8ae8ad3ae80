//! `martlet store`: a store that no broker runs is checked, shown, repaired, exported and imported.

use std::collections::BTreeSet;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use martlet_journal::{Error as JournalError, Limits, RealDisk};
use martlet_store::offline::{Check, ImportError, Importer, Line, Offline, repair};

use crate::console;
use crate::wrong::cause;

/// What was asked for could not be done.
const FAILED: u8 = 2;
/// It was done, and something is damaged.
const DAMAGED: u8 = 1;

/// What `martlet store` can do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum StoreCommand {
    /// Read everything, and say what is there and what is damaged
    #[command(
        after_help = "The exit status is 0 if it is whole, 1 if something is damaged, 2 if it cannot be read."
    )]
    Check(FolderArgs),
    /// Print a line of JSON for each record
    Dump(DumpArgs),
    /// Set aside what is damaged, and write the rest anew
    Repair(FolderArgs),
    /// Write all that lives as lines of JSON, for another machine or version
    Export(ExportArgs),
    /// Make a store in an empty folder from what export wrote
    Import(ImportArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct FolderArgs {
    // Help is no Markdown.
    #[arg(
        long,
        value_name = "DIR",
        value_hint = clap::ValueHint::DirPath,
        help = "Folder of the store (default: $STATE_DIRECTORY, else ./martlet-data)"
    )]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DumpArgs {
    #[command(flatten)]
    folder: FolderArgs,
    /// Only what belongs to the sessions of this client
    #[arg(short = 'i', long, value_name = "ID")]
    client_id: Option<String>,
    /// Only records of this kind (may be repeated)
    #[arg(long, value_name = "KIND", value_parser = clap::builder::PossibleValuesParser::new(KINDS))]
    kind: Vec<String>,
    /// Records that are dead too
    #[arg(long)]
    dead: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    folder: FolderArgs,
    /// Where to write (default: standard output)
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    #[command(flatten)]
    folder: FolderArgs,
    /// What to read (default: standard input)
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: Option<PathBuf>,
}

const KINDS: [&str; 12] = [
    "session",
    "subscription",
    "message",
    "body",
    "link",
    "retained",
    "retained-link",
    "received",
    "sending",
    "releasing",
    "clock",
    "format",
];

/// Why nothing was done: a code, and what people read.
struct Failure {
    code: &'static str,
    text: String,
}

impl Failure {
    fn new(code: &'static str, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { code, text }
    }
}

/// Runs the command.
pub(crate) fn run(command: &StoreCommand) -> ExitCode {
    let done = match command {
        StoreCommand::Check(args) => check(&args.folder()),
        StoreCommand::Dump(args) => dump(&args.folder.folder(), args),
        StoreCommand::Repair(args) => mend(&args.folder()),
        StoreCommand::Export(args) => export(&args.folder.folder(), args.file.as_deref()),
        StoreCommand::Import(args) => import(&args.folder.folder(), args.file.as_deref()),
    };
    match done {
        Ok(status) => ExitCode::from(status),
        Err(Failure { code, text }) => {
            console::error(code, &text);
            ExitCode::from(FAILED)
        }
    }
}

impl FolderArgs {
    /// As an absolute path, so that it is clear which one is meant.
    fn folder(&self) -> PathBuf {
        let folder = self
            .data_dir
            .clone()
            .unwrap_or_else(martlet_server::config::state_folder);
        std::path::absolute(&folder).unwrap_or(folder)
    }
}

fn holder(command: &str) -> String {
    format!("martlet store {command}, process {}", std::process::id())
}

/// A number that strangers cannot guess: the keys of the hasher are drawn from the system.
fn salt() -> u32 {
    RandomState::new().hash_one(std::process::id()) as u32
}

/// As the broker has them: a store that was made or mended here is like its own.
fn limits() -> Limits {
    martlet_store::Limits::default().journal
}

fn look(folder: &Path, command: &str) -> Result<Offline<RealDisk>, Failure> {
    if folder.is_file() {
        return Err(no_store(folder, "it is a file, not a folder"));
    }
    if !folder.is_dir() {
        return Err(no_store(folder, "there is no such folder"));
    }
    let failed = |error: martlet_store::Error| failure(folder, &error);
    let disk = RealDisk::open_to_read(folder, &holder(command)).map_err(|error| failed(error.into()))?;
    let offline = Offline::open(disk, limits()).map_err(failed)?;
    if offline.is_there() {
        Ok(offline)
    } else {
        Err(no_store(folder, "the folder has no segments"))
    }
}

fn no_store(folder: &Path, why: &str) -> Failure {
    let text = format!(
        "there is no store in {}: {why}.\n  name its folder: --data-dir DIR",
        folder.display()
    );
    Failure::new("S001", text)
}

fn failure(folder: &Path, error: &martlet_store::Error) -> Failure {
    use martlet_store::Error as Store;
    let folder = folder.display();
    match error {
        Store::Journal(JournalError::Locked { holder, .. }) => {
            let text = format!(
                "the store in {folder} is in use by {holder}.\n  stop that first: only one at a time may use it"
            );
            Failure::new("S002", text)
        }
        Store::Format { .. } | Store::Unfinished => {
            Failure::new("S004", format!("the store in {folder} cannot be read: {error}."))
        }
        _ => Failure::new(
            "S003",
            format!("the store in {folder} cannot be used: {}.", chain(error)),
        ),
    }
}

/// An error with what led to it, without the system's numbers.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!(
            "{text}: {}",
            lower(&crate::wrong::without_number(&error.to_string()))
        );
        source = error.source();
    }
    text
}

fn lower(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

fn check(folder: &Path) -> Result<u8, Failure> {
    let mut offline = look(folder, "check")?;
    let check = offline.check().map_err(|error| failure(folder, &error))?;
    let mut out = Output::stdout();
    out.put(&report(folder, &check))?;
    out.end()?;
    Ok(if check.is_whole() { 0 } else { DAMAGED })
}

fn report(folder: &Path, check: &Check) -> String {
    let folder = folder.display();
    let state = if check.is_whole() { "whole" } else { "damaged" };
    let mut lines = vec![
        format!("the store in {folder} is {state}"),
        format!("  sessions       {}", check.sessions),
        format!("  subscriptions  {}", check.subscriptions),
        format!("  queued         {}", check.queued),
        format!("  retained       {}", check.retained),
        format!("  QoS 2          {} coming, {} going", check.received, check.sent),
        format!(
            "  bytes          {}, of which {} live",
            check.bytes, check.live_bytes
        ),
    ];
    for damage in &check.damage {
        let why = damage
            .why
            .as_ref()
            .map_or_else(String::new, |why| format!(" ({why})"));
        lines.push(format!(
            "damaged: bytes {} to {} of {}{why}",
            damage.from, damage.to, damage.name
        ));
    }
    lines.extend(
        check
            .missing
            .iter()
            .map(|segment| format!("missing: segment {segment:08x}")),
    );
    lines.extend(
        check
            .senseless
            .iter()
            .map(|place| format!("makes no sense to this version: {place}")),
    );
    if check.bodiless > 0 {
        lines.push(format!("messages whose bodies are lost: {}", check.bodiless));
    }
    if check.torn_bytes > 0 {
        lines.push(format!(
            "torn end: {} bytes; a crash leaves such, which nobody was promised (what cuts files does too)",
            check.torn_bytes
        ));
    }
    if check.sessionless > 0 {
        lines.push(format!(
            "of sessions that are not there: {}, which the next start removes; if they are many, segments are gone",
            check.sessionless
        ));
    }
    lines.extend(check.snapshots_damaged.iter().map(|name| {
        format!("damaged snapshot: {name}; nothing is lost by it, but the next start takes longer")
    }));
    lines.extend(check.unused.iter().map(|name| format!("not used: {name}")));
    if !check.is_whole() {
        lines.push(format!("fix: martlet store repair --data-dir {folder}"));
    }
    lines.join("\n") + "\n"
}

/// Where a line of a dump comes from.
#[derive(serde::Serialize)]
struct Dumped<'a> {
    at: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dead: bool,
    #[serde(flatten)]
    line: &'a Line,
}

/// A record that makes no sense.
#[derive(serde::Serialize)]
struct Senseless {
    at: String,
    kind: &'static str,
    number: u8,
    bytes: usize,
}

fn dump(folder: &Path, args: &DumpArgs) -> Result<u8, Failure> {
    let offline = look(folder, "dump")?;
    let failed = |error: martlet_store::Error| failure(folder, &error);
    let mut sessions = BTreeSet::new();
    if let Some(wanted) = &args.client_id {
        let found = offline.each(|_, _, line| match line {
            Some(Line::Session {
                number, client_id, ..
            }) if client_id == *wanted => {
                sessions.insert(number);
            }
            _ => {}
        });
        found.map_err(failed)?;
    }
    let mut out = Output::stdout();
    let mut written = Ok(());
    let damage = offline.each(|record, lives, line| {
        let at = format!("{:08x}:{}", record.place.segment, record.place.offset);
        let text = match &line {
            _ if written.is_err() || (!lives && !args.dead) => return,
            Some(line) if args.wants(line, &sessions) => {
                let dead = !lives;
                serde_json::to_string(&Dumped { at, dead, line })
            }
            None if args.client_id.is_none() && args.kind.is_empty() => serde_json::to_string(&Senseless {
                at,
                kind: "senseless",
                number: record.kind,
                bytes: record.payload.len(),
            }),
            _ => return,
        };
        written = out.put(&(text.expect("all of it can be written as JSON") + "\n"));
    });
    let damage = damage.map_err(failed)?;
    written?;
    out.end()?;
    if damage.is_empty() {
        return Ok(0);
    }
    warn_of_damage(folder);
    Ok(DAMAGED)
}

impl DumpArgs {
    fn wants(&self, line: &Line, sessions: &BTreeSet<u64>) -> bool {
        let of_client = || line.session().is_some_and(|session| sessions.contains(&session));
        let of_kind = || {
            let value = serde_json::to_value(line).unwrap_or_default();
            self.kind.iter().any(|kind| value["kind"] == kind.as_str())
        };
        (self.client_id.is_none() || of_client()) && (self.kind.is_empty() || of_kind())
    }
}

fn warn_of_damage(folder: &Path) {
    let text = format!(
        "warning: parts of the store in {0} are damaged and left out.\n  see: martlet store check --data-dir {0}\n",
        folder.display()
    );
    console::put(&text);
}

fn mend(folder: &Path) -> Result<u8, Failure> {
    // A look first: a repair of what is no store would make one.
    let damaged = !look(folder, "repair")?
        .check()
        .map_err(|error| failure(folder, &error))?
        .is_whole();
    let failed = |error: martlet_store::Error| failure(folder, &error);
    let disk = RealDisk::open(folder, &holder("repair")).map_err(|error| failed(error.into()))?;
    let repaired = repair(&disk, limits(), salt()).map_err(failed)?;
    let mut out = Output::stdout();
    if !damaged {
        out.put(&format!("the store in {} was whole\n", folder.display()))?;
    }
    for segment in &repaired.report.missing {
        out.put(&format!("given up: segment {segment:08x}, which is gone\n"))?;
    }
    for name in &repaired.set_aside {
        out.put(&format!("set aside: {}\n", folder.join(name).display()))?;
    }
    if repaired.dropped > 0 {
        out.put(&format!(
            "dropped: {} records that made no sense or lacked their bodies\n",
            repaired.dropped
        ))?;
    }
    out.put(&format!("kept: {} records\n", repaired.kept))?;
    out.end()?;
    Ok(0)
}

fn export(folder: &Path, file: Option<&Path>) -> Result<u8, Failure> {
    let mut offline = look(folder, "export")?;
    let whole = offline
        .check()
        .map_err(|error| failure(folder, &error))?
        .is_whole();
    let mut out = match file {
        Some(path) => Output::file(path)?,
        None => Output::stdout(),
    };
    let left_out = offline.each_live(|line| out.put(&(line.text() + "\n")))?;
    out.end()?;
    if whole && left_out == 0 {
        return Ok(0);
    }
    warn_of_damage(folder);
    Ok(DAMAGED)
}

fn import(folder: &Path, file: Option<&Path>) -> Result<u8, Failure> {
    let source: Box<dyn BufRead> = match file {
        Some(path) => Box::new(BufReader::new(
            File::open(path).map_err(|error| unread(path, &error))?,
        )),
        None => Box::new(io::stdin().lock()),
    };
    let failed = |error: martlet_store::Error| failure(folder, &error);
    let disk = RealDisk::open(folder, &holder("import")).map_err(|error| failed(error.into()))?;
    let importer =
        Importer::new(disk.clone(), limits(), salt()).map_err(|error| unimported(folder, 0, &error))?;
    match take_all(folder, importer, source, file) {
        Ok(records) => {
            let mut out = Output::stdout();
            out.put(&format!("imported {records} records into {}\n", folder.display()))?;
            out.end()?;
            Ok(0)
        }
        Err(error) => {
            // The folder was empty, so all that is there was made here. What cannot be removed is no store all the same.
            for entry in martlet_journal::Disk::list(&disk).unwrap_or_default() {
                let _ = martlet_journal::Disk::remove(&disk, &entry.name);
            }
            Err(error)
        }
    }
}

fn take_all(
    folder: &Path,
    mut importer: Importer<RealDisk>,
    source: Box<dyn BufRead>,
    file: Option<&Path>,
) -> Result<u64, Failure> {
    let mut number = 0;
    for line in source.lines() {
        number += 1;
        let line = line.map_err(|error| unread(file.unwrap_or(Path::new("standard input")), &error))?;
        importer
            .take(&line)
            .map_err(|error| unimported(folder, number, &error))?;
    }
    importer
        .finish()
        .map_err(|error| unimported(folder, number.max(1), &error))
}

fn unread(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        "S006",
        format!("cannot read {}: {}.", path.display(), cause(error)),
    )
}

fn unimported(folder: &Path, line: u64, error: &ImportError) -> Failure {
    let shown = folder.display();
    match error {
        ImportError::NotEmpty => Failure::new(
            "S005",
            format!("cannot import into {shown}: it is not empty.\n  choose a new folder: --data-dir DIR"),
        ),
        ImportError::Store(error) => failure(folder, error),
        _ => Failure::new(
            "S006",
            format!("line {line} is not what an export writes: {error}.\n  nothing was imported"),
        ),
    }
}

/// Where lines go.
struct Output {
    name: String,
    out: BufWriter<Box<dyn Write>>,
    /// Whoever read them has left, which is no failure.
    closed: bool,
    file: Option<File>,
}

impl Output {
    fn stdout() -> Self {
        Self {
            name: "standard output".to_owned(),
            out: BufWriter::new(Box::new(io::stdout())),
            closed: false,
            file: None,
        }
    }

    fn file(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let opened = File::create(path).and_then(|file| Ok((file.try_clone()?, file)));
        let (file, again) = opened.map_err(|error| unwritten(&name, &error))?;
        Ok(Self {
            name,
            out: BufWriter::new(Box::new(file)),
            closed: false,
            file: Some(again),
        })
    }

    fn put(&mut self, text: &str) -> Result<(), Failure> {
        if self.closed {
            return Ok(());
        }
        let written = self.out.write_all(text.as_bytes());
        self.unless_closed(written)
    }

    /// What goes into a file is on the disk then: an export may be all that is left of a store.
    fn end(&mut self) -> Result<(), Failure> {
        let flushed = if self.closed { Ok(()) } else { self.out.flush() };
        self.unless_closed(flushed)?;
        match &self.file {
            Some(file) => file.sync_all().map_err(|error| unwritten(&self.name, &error)),
            None => Ok(()),
        }
    }

    fn unless_closed(&mut self, done: io::Result<()>) -> Result<(), Failure> {
        match done {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            done => done.map_err(|error| unwritten(&self.name, &error)),
        }
    }
}

fn unwritten(name: &str, error: &io::Error) -> Failure {
    Failure::new("S007", format!("cannot write to {name}: {}.", cause(error)))
}
