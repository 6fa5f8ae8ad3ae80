//! The file with the process identifier, for init scripts and logrotate.

use std::fs;
use std::path::PathBuf;

use crate::config::Written;
use crate::error::Error;

/// The file, until it is dropped.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
}

impl PidFile {
    pub(crate) fn write(to: &Written) -> Result<Self, Error> {
        fs::write(&to.path, content()).map_err(|error| vec![to.failed("the process identifier", &error)])?;
        Ok(Self {
            path: to.path.clone(),
        })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Another broker may have written its own there since.
        if fs::read_to_string(&self.path).is_ok_and(|found| found == content()) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn content() -> String {
    format!("{}\n", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origin;

    #[test]
    fn it_goes_unless_it_is_anothers() {
        let path = std::env::temp_dir().join(format!("martlet-pid-{}", std::process::id()));
        let written = Written {
            path: path.clone(),
            origin: Origin::Default,
        };
        let file = PidFile::write(&written).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), content());
        drop(file);
        assert!(!path.exists());
        let file = PidFile::write(&written).unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
        fs::remove_file(&path).unwrap();
    }
}
