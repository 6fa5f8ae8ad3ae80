//! Stores as earlier versions left them, and how the latest of them was written. What this version makes of them is in
//! `tests/store.rs`.

mod generator;

use std::path::{Path, PathBuf};

use martlet_journal::RealDisk;
use martlet_store::offline::Offline;

pub use generator::write;

/// A file or folder of this one.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// What lives in the store in a folder: a line each.
pub fn text(folder: &Path) -> String {
    let disk = RealDisk::open_to_read(folder, "martlet-compat").expect("the folder is there");
    let limits = martlet_store::Limits::default().journal;
    let mut store = Offline::open(disk, limits).expect("it is a store");
    let mut text = String::new();
    let left_out = store.each_live(|line| {
        text.push_str(&line.text());
        text.push('\n');
        Ok::<_, std::fmt::Error>(())
    });
    assert_eq!(left_out, Ok(0), "records that cannot be read");
    text
}
