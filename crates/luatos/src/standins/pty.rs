//! A pseudo terminal, whose other end any program may open.

use std::fs::File;
use std::io::{self, Write};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// Our end, and the name of the other.
pub(super) struct Pty {
    ours: File,
    name: String,
    /// Held open, so that ours does not end when a program closes the other.
    _theirs: File,
}

impl Pty {
    /// Opens one that passes all bytes as they are.
    pub(super) fn open() -> io::Result<Self> {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let name = ptsname(&ours, Vec::new())?.to_string_lossy().into_owned();
        let theirs = File::options().read(true).write(true).open(&name)?;
        let mut settings = tcgetattr(&theirs)?;
        settings.make_raw();
        tcsetattr(&theirs, OptionalActions::Now, &settings)?;
        Ok(Self {
            ours: ours.into(),
            name,
            _theirs: theirs,
        })
    }

    /// What a program opens.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// For a thread that reads what the other end writes.
    pub(super) fn reader(&self) -> io::Result<File> {
        self.ours.try_clone()
    }

    /// Writes all of it, waiting for whoever reads at the other end.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.ours).write_all(bytes)
    }
}
