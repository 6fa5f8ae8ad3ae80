//! `martlet store`, word for word: `golden/store*.txt`, written anew by `UPDATE=1`.

mod common;

use std::fmt::Write as _;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use common::{MARTLET, folder, plain, run};
use martlet_journal::{Group, Journal, Limits, RealDisk};
use martlet_store::offline::{Importer, Line};

/// A session of command lines in a folder that they know as `DIR`.
struct Session {
    dir: PathBuf,
    found: String,
}

impl Session {
    fn new(name: &str) -> Self {
        let dir = folder(name);
        std::fs::copy(golden("store.jsonl"), dir.join("lines")).unwrap();
        let found = String::new();
        Self { dir, found }
    }

    fn run(&mut self, line: &str) {
        let mut command = plain(MARTLET);
        command.env_remove("STATE_DIRECTORY").current_dir(&self.dir);
        let words = line.split_whitespace().skip(1);
        command.args(words.map(|word| word.replace("DIR", self.dir.to_str().unwrap())));
        let ran = run(command);
        let text = format!("{}{}", String::from_utf8_lossy(&ran.stdout), ran.stderr);
        let text = text.replace(self.dir.to_str().unwrap(), "DIR");
        let _ = writeln!(self.found, "$ {line}\n{text}[status {}]\n", ran.status);
    }

    fn matches(&self, name: &str) {
        let file = golden(&format!("{name}.txt"));
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&file, &self.found).unwrap();
            return;
        }
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(
            self.found,
            expected,
            "{} (UPDATE=1 writes it anew)",
            file.display()
        );
    }
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

#[test]
fn a_store_from_its_import_to_its_export() {
    let mut session = Session::new("store-whole");
    for line in [
        "martlet store import --data-dir DIR/new -f DIR/lines",
        "martlet store check --data-dir DIR/new",
        "martlet store dump --data-dir DIR/new -i gate",
        "martlet store dump --data-dir DIR/new --kind retained --kind format --dead",
        "martlet store export --data-dir DIR/new -f DIR/again",
        "martlet store import --data-dir DIR/martlet-data -f DIR/again",
        "martlet store check",
        "martlet store repair",
    ] {
        session.run(line);
    }
    session.matches("store");
    // A store that is made here is like one of the broker.
    let reserve = std::fs::metadata(session.dir.join("new/reserve")).unwrap();
    assert_eq!(reserve.len(), u64::from(limits().reserve_bytes));
    let read = |name| std::fs::read_to_string(session.dir.join(name)).unwrap();
    assert_eq!(read("again"), read("lines"));
    let mut piped = plain(MARTLET);
    piped.args(["store", "export"]).current_dir(&session.dir);
    assert_eq!(run(piped).text(), read("lines"));
}

#[test]
fn a_store_that_is_damaged() {
    let mut session = Session::new("store-damaged");
    session.run("martlet store import --data-dir DIR/new -f DIR/lines");
    let name = session.dir.join("new/00000001.seg");
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(name)
        .unwrap();
    file.write_all_at(b"damage", 300).unwrap();
    for line in [
        "martlet store check --data-dir DIR/new",
        "martlet store dump --data-dir DIR/new --kind session",
        "martlet store export --data-dir DIR/new",
        "martlet store repair --data-dir DIR/new",
        "martlet store check --data-dir DIR/new",
    ] {
        session.run(line);
    }
    session.matches("store_damaged");
}

/// Nothing is lost by it, so the store is whole.
#[test]
fn a_snapshot_that_is_damaged() {
    let mut session = Session::new("store-snapshot");
    session.run("martlet store import --data-dir DIR/new -f DIR/lines");
    std::fs::write(session.dir.join("new/00000001-00000100.snap"), "damage").unwrap();
    for line in [
        "martlet store check --data-dir DIR/new",
        "martlet store export --data-dir DIR/new -f DIR/again",
        "martlet store repair --data-dir DIR/new",
        "martlet store check --data-dir DIR/new",
    ] {
        session.run(line);
    }
    session.matches("store_snapshot");
}

/// What the broker says of a store that it cannot have. The folders are relative: a long value is shown cut.
#[test]
fn what_keeps_the_broker_from_its_store() {
    let mut session = Session::new("store-start");
    let dir = session.dir.clone();
    let _held = RealDisk::open(&dir.join("held"), "martlet broker, process 7").unwrap();
    std::fs::create_dir(dir.join("silent")).unwrap();
    let silent = std::fs::File::create(dir.join("silent/lock")).unwrap();
    silent.lock().unwrap();

    let late = RealDisk::open(&dir.join("late"), "a test").unwrap();
    let (mut journal, _) = Journal::open(late, limits(), 7, &mut Nothing).unwrap();
    let mut group = Group::new();
    let (kind, payload) = Line::Format { format: 9 }.write().unwrap();
    group.put(kind, &payload);
    journal.append(&mut group).unwrap();
    journal.sync().unwrap();
    drop(journal);

    let half = RealDisk::open(&dir.join("half"), "a test").unwrap();
    drop(Importer::new(half, limits(), 7).unwrap());

    std::fs::write(dir.join("martlet-data"), "a file").unwrap();
    std::fs::write(dir.join("a.conf"), "# ours\ndata_dir held\n").unwrap();
    for line in [
        "martlet broker --bind 127.0.0.1:0 --data-dir held",
        "martlet broker --bind 127.0.0.1:0 --data-dir silent",
        "martlet broker --bind 127.0.0.1:0 -c a.conf",
        "martlet broker --bind 127.0.0.1:0 --data-dir lines",
        "martlet broker --bind 127.0.0.1:0 --data-dir lines/below",
        "martlet broker --bind 127.0.0.1:0",
        "martlet broker --bind 127.0.0.1:0 --data-dir late",
        "martlet broker --bind 127.0.0.1:0 --data-dir half",
        "martlet store check --data-dir half",
        "martlet help S101",
        "martlet help S102",
        "martlet help S103",
        "martlet help S104",
    ] {
        session.run(line);
    }
    session.matches("store_start");
}

/// An index for those who only append.
struct Nothing;

impl martlet_journal::Index for Nothing {
    fn clear(&mut self) {}
    fn snapshot(&mut self, _: &[u8]) {}
    fn snapshot_ends(&mut self) -> bool {
        false
    }
    fn gone(&mut self, _: &[u32]) {}
    fn put(&mut self, _: martlet_journal::Record<'_>) {}
    fn killed(&mut self, _: martlet_journal::Place) {}
    fn is_live(&self, _: &martlet_journal::Record<'_>) -> bool {
        true
    }
    fn moved(&mut self, _: &martlet_journal::Record<'_>, _: martlet_journal::Place) {}
}

fn limits() -> Limits {
    martlet_store::Limits::default().journal
}

#[test]
fn what_is_refused() {
    let mut session = Session::new("store-refused");
    let lines = std::fs::read_to_string(session.dir.join("lines")).unwrap();
    std::fs::write(session.dir.join("wrong"), lines.replace("a/+/b", "a/+b")).unwrap();
    std::fs::write(session.dir.join("late"), "{\"kind\":\"format\",\"format\":2}\n").unwrap();
    std::fs::create_dir(session.dir.join("empty")).unwrap();
    let held = RealDisk::open(&session.dir.join("held"), "martlet broker, process 7").unwrap();
    for line in [
        "martlet store check",
        "martlet store check --data-dir lines",
        "martlet store check --data-dir DIR/empty",
        "martlet store repair --data-dir DIR/empty",
        "martlet store check --data-dir DIR/held",
        "martlet store dump --data-dir DIR/held",
        "martlet store repair --data-dir DIR/held",
        "martlet store export --data-dir DIR/held",
        "martlet store import --data-dir DIR/held -f DIR/lines",
        "martlet store import --data-dir DIR -f DIR/lines",
        "martlet store import --data-dir DIR/new -f DIR/wrong",
        "martlet store import --data-dir DIR/new -f DIR/late",
        "martlet store import --data-dir DIR/new -f DIR/nothing",
        "martlet store import --data-dir DIR/new -f DIR/lines",
        "martlet store export --data-dir DIR/new -f DIR/no/such/folder",
        "martlet store dump --kind sesion",
        "martlet store chekc",
    ] {
        session.run(line);
    }
    assert!(
        !session.dir.join("empty/lock").exists(),
        "a look leaves nothing behind"
    );
    drop(held);
    session.matches("store_refused");
}

#[test]
fn help() {
    let mut session = Session::new("store-help");
    for line in [
        "martlet store --help",
        "martlet store check --help",
        "martlet store dump --help",
        "martlet store repair --help",
        "martlet store export --help",
        "martlet store import --help",
        "martlet help S002",
    ] {
        session.run(line);
    }
    session.matches("store_help");
}
