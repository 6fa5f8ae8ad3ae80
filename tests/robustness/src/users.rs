//! A password file that `martlet passwd` writes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use martlet_interop::{binary, text};

/// A password file of one test, removed at its end.
#[derive(Debug)]
pub struct UsersFile {
    folder: PathBuf,
    path: PathBuf,
}

impl UsersFile {
    /// One without users.
    pub fn new(name: &str) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let own = format!("martlet-users-{name}-{}-{nth}", std::process::id());
        let folder = std::env::temp_dir().join(own);
        std::fs::create_dir_all(&folder).expect("a folder for the file");
        let path = folder.join("users");
        std::fs::write(&path, "").expect("the file can be written");
        Self { folder, path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directive that names it.
    pub fn setting(&self) -> String {
        format!("password_file={}", self.path.display())
    }

    /// Adds a user or changes a password, with a hash that costs little.
    pub fn set(&self, user: &str, password: &str) {
        self.passwd(&["-H", "sha512", "-b"], &[user, password]);
    }

    /// The same with the hash that `martlet passwd` chooses by itself.
    pub fn set_costly(&self, user: &str, password: &str) {
        self.passwd(&["-b"], &[user, password]);
    }

    /// Takes a user out.
    pub fn remove(&self, user: &str) {
        self.passwd(&["-D"], &[user]);
    }

    fn passwd(&self, options: &[&str], arguments: &[&str]) {
        let output = Command::new(binary())
            .arg("passwd")
            .args(options)
            .arg(&self.path)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("martlet runs");
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
}

impl Drop for UsersFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
