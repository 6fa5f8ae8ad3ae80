//! What a runtime is told before a script begins.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// What a runtime is told before a script begins.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The folder of the script: `require` finds modules there, and `/luadb/` is it.
    pub folder: PathBuf,
    /// More folders for `require`.
    pub path: Vec<PathBuf>,
    /// Arguments of the script, for `arg` and `...`.
    pub args: Vec<String>,
    /// Whether packets are printed as readable lines.
    pub trace: bool,
    /// After which the process ends, with the status that the function returns.
    pub time_limit: Option<(Duration, fn() -> i32)>,
    /// Bytes that Lua may have; none: as many as there are.
    pub memory_limit: Option<usize>,
    /// Whether timers jump instead of waiting, and clients reach a broker of this process only.
    pub virtual_time: bool,
    /// What stand-ins for hardware say, such as `mobile.imei`.
    pub values: BTreeMap<String, String>,
    /// Whether the process is the script's: `os.exit` and `rtos.reboot` end it.
    pub is_program: bool,
}
