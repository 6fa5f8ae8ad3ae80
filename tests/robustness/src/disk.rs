//! A data folder on a disk that fills up, fails and hangs when it is told to, beside a clock that can be set.

use std::path::{Path, PathBuf};
use std::process::Command;

use martlet_interop::{run, target, text};

use crate::Live;

/// Files that say what is wrong.
const HELD: &str = "held";
const CLOCK: &str = "clock";

/// A data folder, and the library that stands between a broker and its disk. It outlives brokers.
#[derive(Debug)]
pub struct TroubledDisk {
    folder: PathBuf,
    library: PathBuf,
}

impl TroubledDisk {
    /// Makes an empty folder, and the library by the C compiler.
    pub fn new(name: &str) -> Self {
        let folder = target()
            .join("tmp")
            .join(format!("disk-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a folder for the test");
        // The library compares it with what the system says of open files.
        let folder = folder.canonicalize().expect("it was made");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/trouble.c");
        let library = folder.join("trouble.so");
        let mut command = Command::new("cc");
        command
            .args(["-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .arg("-ldl");
        let compiled = run(&mut command);
        assert!(compiled.status.success(), "{}", text(&compiled.stderr));
        Self { folder, library }
    }

    /// Starts a broker on it.
    pub fn start(&self, name: &str, settings: &[&str]) -> Live {
        self.with_variables(|variables| Live::start_on(name, &self.data(), settings, variables))
    }

    /// The same with a configuration, which is told the port that its first listener is to have.
    pub fn start_configured(&self, name: &str, config: &dyn Fn(u16) -> String) -> Live {
        self.with_variables(|variables| Live::start_configured(name, &self.data(), config, variables))
    }

    fn with_variables(&self, start: impl FnOnce(&[(&str, &str)]) -> Live) -> Live {
        let path = |name| self.folder.join(name).display().to_string();
        let variables = [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("MARTLET_TROUBLE_FOLDER", self.data().display().to_string()),
            ("MARTLET_TROUBLE_FULL", path("full")),
            ("MARTLET_TROUBLE_SYNC", path("sync-fails")),
            ("MARTLET_TROUBLE_HOLD", path(HELD)),
            ("MARTLET_TROUBLE_CLOCK", path(CLOCK)),
        ];
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        start(&variables)
    }

    /// The folder of the store.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        let files = std::fs::read_dir(self.data()).expect("a broker made it");
        files
            .map(|file| {
                file.and_then(|file| file.metadata())
                    .map_or(0, |found| found.len())
            })
            .sum()
    }

    /// From now on there is room for that many bytes more.
    pub fn fill(&self, left: u64) {
        // A name that appears with its content.
        let (begun, done) = (self.folder.join("begun"), self.folder.join("full"));
        std::fs::write(&begun, (self.bytes() + left).to_string()).expect("it can be written");
        std::fs::rename(begun, done).expect("it can be renamed");
    }

    /// There is room again.
    pub fn free(&self) {
        std::fs::remove_file(self.folder.join("full")).expect("it was full");
    }

    /// From now on no sync ends, until it is let go.
    pub fn hold_syncs(&self) {
        std::fs::write(self.folder.join(HELD), "").expect("it can be written");
    }

    /// Syncs end again.
    pub fn let_syncs_go(&self) {
        std::fs::remove_file(self.folder.join(HELD)).expect("they were held");
    }

    /// From now on the clock of the system is wrong by so many seconds.
    pub fn set_clock(&self, wrong_s: i64) {
        // A name that appears with its content.
        let (begun, done) = (self.folder.join("begun"), self.folder.join(CLOCK));
        std::fs::write(&begun, wrong_s.to_string()).expect("it can be written");
        std::fs::rename(begun, done).expect("it can be renamed");
    }

    /// From now on syncs fail, or no longer do.
    pub fn set_sync_fails(&self, fails: bool) {
        let path = self.folder.join("sync-fails");
        if fails {
            std::fs::write(path, "").expect("it can be written");
        } else {
            std::fs::remove_file(path).expect("it failed");
        }
    }
}

impl Drop for TroubledDisk {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
