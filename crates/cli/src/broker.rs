//! `martlet broker`: its arguments.

use std::path::PathBuf;
use std::process::ExitCode;

/// What `martlet broker` takes; the rest stands in the configuration.
#[derive(Debug, clap::Args)]
pub(crate) struct BrokerArgs {
    /// Configuration file, in the language of mosquitto.conf
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Address to listen on (may be repeated; default: loopback only)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) bind: Vec<String>,
    /// Port to listen on (default: 1883)
    #[arg(short, long)]
    pub(crate) port: Option<u16>,
    /// Log more: what each client does
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// Set a directive of the configuration (may be repeated)
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
}

/// Runs the broker until it is told to stop.
pub(crate) fn run(args: &BrokerArgs) -> ExitCode {
    crate::console::error("B001", &format!("this build has no broker ({args:?})."));
    ExitCode::FAILURE
}
