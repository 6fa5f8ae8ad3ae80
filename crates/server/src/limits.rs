//! What the server itself bounds, beyond what a directive sets.
//!
//! The limits that an operator can choose stand in the table of directives
//! ([`crate::config::DIRECTIVES`]) with their defaults and ranges. Here are the fixed ones.

/// Bytes of one configuration file. A larger one is refused unread (F011): it is not a configuration.
pub const CONFIG_FILE_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of one line of a configuration file. A longer one is an error (F014) and is not looked into.
pub const CONFIG_LINE_BYTES_MAX: usize = 8 * 1024;

/// Files that `include_dir` brings in, over all directories. One more is an error (F015).
pub const CONFIG_FILES_MAX: usize = 256;

/// Findings that are kept of one configuration. The rest is only counted.
pub const CONFIG_FINDINGS_MAX: usize = 50;

/// Listeners of one broker. One more is an error (F016).
pub const LISTENERS_MAX: usize = 256;

/// Columns of a source line that an error shows. A longer line is cut around the mark.
pub const SHOWN_COLUMNS_MAX: usize = 100;

/// Characters of a word of the user's that an error repeats. A longer one is cut.
pub const QUOTED_CHARS_MAX: usize = 60;

/// Processes that are looked at to name the holder of a port. Beyond, the holder stays unnamed.
pub const PROCESSES_SEARCHED_MAX: usize = 65_536;
