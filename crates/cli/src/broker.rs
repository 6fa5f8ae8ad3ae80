//! `martlet broker`: its arguments, and the process around a [`Server`].

use std::path::PathBuf;
use std::process::ExitCode;

use martlet_server::config::{self, Config, Listener, Mode, Origin, Overrides};
use martlet_server::{Durability, Error, Place, Server};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::wrong::without_number;

/// What `martlet broker` takes; the rest stands in the configuration.
#[derive(Debug, clap::Args)]
pub(crate) struct BrokerArgs {
    /// Configuration file, in the language of mosquitto.conf
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Address to listen on (may be repeated; default: loopback only)
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    pub(crate) bind: Vec<String>,
    /// Port to listen on (default: 1883; 0 picks a free one)
    #[arg(short, long)]
    pub(crate) port: Option<u16>,
    /// Folder of the store (default: `$STATE_DIRECTORY`, else `./martlet-data`)
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<String>,
    /// What acknowledged messages survive: fsync (a power cut), os (the end of the broker), none
    #[arg(long, value_name = "LEVEL")]
    pub(crate) durability: Option<String>,
    /// Log more: what each client does
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Log nothing
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Set a directive of the configuration (may be repeated)
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
}

/// Runs the broker until it is told to stop. Flags win over the file.
pub(crate) fn run(args: &BrokerArgs) -> ExitCode {
    let overrides = Overrides {
        bind: args.bind.clone(),
        port: args.port,
        verbose: args.verbose,
        quiet: args.quiet,
        set: args.set.clone(),
        data_dir: args.data_dir.clone(),
        durability: args.durability.clone(),
    };
    // Before anybody can know that it runs: a signal that comes while it starts is obeyed too.
    let signals = Signals::catch();
    let started = config::load(args.config.as_deref(), &overrides, Mode::Native)
        .map_err(Error::from)
        .and_then(|config| start(&config));
    match started {
        Ok(server) => {
            signals.wait(&server);
            tracing::info!(target: "notice", "broker.stopping");
            server.stop();
            tracing::info!(target: "notice", "broker.stopped");
            martlet_server::flush_log();
            ExitCode::SUCCESS
        }
        Err(error) => {
            martlet_server::flush_log();
            eprintln!("{}", without_number(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}

fn start(config: &Config) -> Result<Server, Error> {
    martlet_server::init_log(&config.log)?;
    // Who looks into the file alone is to see there what kept the broker from starting, or nobody from coming in.
    let logs_more = config.log.leaves_stderr();
    for warning in &config.warnings {
        let mut text = String::new();
        if warning.write(&mut text, "warning").is_ok() {
            eprintln!("{}", text.trim_end());
        }
        if logs_more {
            tracing::warn!(
                code = warning.code.as_str(),
                text = warning.line(),
                "config.warning"
            );
        }
    }
    let server = Server::start(config).inspect_err(|error| {
        for (code, text) in error.lines().into_iter().filter(|_| logs_more) {
            tracing::error!(code = code.as_str(), text, "broker.failed");
        }
    })?;
    for Place { name, scheme, .. } in server.places() {
        // Plain MQTT needs no word.
        let scheme = (*scheme != "mqtt").then_some(*scheme);
        let version = env!("CARGO_PKG_VERSION");
        tracing::info!(target: "notice", address = name, scheme, version, "broker.listening");
    }
    if let (Some(folder), Some(store)) = (server.store_folder(), &config.store) {
        tracing::info!(
            target: "notice",
            folder = %folder.display(),
            survives = survives(store.durability),
            "broker.state"
        );
    } else {
        tracing::warn!(
            state = "memory",
            lost = "sessions, queues and retained messages are lost at exit",
            "broker.state"
        );
    }
    tell_reach(&config.listeners);
    Ok(server)
}

/// What acknowledged messages survive.
fn survives(durability: Durability) -> &'static str {
    match durability {
        Durability::Fsync => "a power cut",
        Durability::Os => "the end of the broker, not a power cut",
        Durability::None => "nothing",
    }
}

/// Says so if only this machine can reach the broker, and how to change that, if that is all that keeps others out.
fn tell_reach(listeners: &[Listener]) {
    if !listeners.iter().all(|listener| listener.place.bind.is_loopback()) {
        return;
    }
    let is_open = listeners.iter().any(|listener| listener.allow_anonymous);
    // What stands in a file is changed there.
    let is_in_file = |listener: &Listener| matches!(listener.origin, Origin::File { .. });
    let fix =
        "martlet broker --bind 0.0.0.0 --set allow_anonymous=true opens it to your network, for everybody";
    let fix = (is_open && !listeners.iter().any(is_in_file)).then_some(fix);
    tracing::info!(target: "notice", reach = "this machine only", fix, "broker.reach");
}

/// What logrotate and `systemctl reload` ask for, as far as there is such a thing.
fn hang_up(server: &Server) {
    martlet_server::reopen_log();
    server.reload_users();
    server.reread_certificates();
    tracing::warn!(
        text = "certificates and password files were read again and the log files opened anew; the rest of the configuration \
                is not read again in this version",
        "config.reload"
    );
}

/// A write beyond the limit of the size of a file.
const SIGXFSZ: i32 = 25;

/// The signals that would end the process without a word, caught.
struct Signals {
    runtime: tokio::runtime::Runtime,
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    /// SIGUSR1 and SIGUSR2 mean nothing here. To mosquitto they say "save" and "print what you hold". SIGXFSZ would end
    /// the process without a word; taken, a write beyond `ulimit -f` is an error as on a full disk.
    _ignored: [Signal; 3],
}

impl Signals {
    fn catch() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("the system has what a runtime needs");
        let inside = runtime.enter();
        let catch = |kind| signal(kind).expect("signals can be caught");
        let terminate = catch(SignalKind::terminate());
        let interrupt = catch(SignalKind::interrupt());
        let hang_up = catch(SignalKind::hangup());
        let beyond_file_size = SignalKind::from_raw(SIGXFSZ);
        let ignored = [
            SignalKind::user_defined1(),
            SignalKind::user_defined2(),
            beyond_file_size,
        ]
        .map(catch);
        drop(inside);
        Self {
            runtime,
            terminate,
            interrupt,
            hang_up,
            _ignored: ignored,
        }
    }

    /// Waits for the end.
    fn wait(mut self, server: &Server) {
        self.runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = self.terminate.recv() => return,
                    _ = self.interrupt.recv() => return,
                    _ = self.hang_up.recv() => hang_up(server),
                }
            }
        });
    }
}
