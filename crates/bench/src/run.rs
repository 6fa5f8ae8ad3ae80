//! What every workload needs: names, a way to stop, and a line that shows where it is.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::args::{After, Server};
use crate::client::{Client, Session, resolve};
use crate::error::Error;
use crate::meter::Meter;
use crate::report::{AFTER, Report};

/// A run as its workloads see it.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) server: Server,
    address: SocketAddr,
    /// In front of all topics and client identifiers.
    pub(crate) prefix: String,
    signals: Signals,
    progress: Progress,
}

/// Ctrl-C and its like.
#[derive(Debug)]
pub(crate) struct Signals(Arc<AtomicBool>);

impl Signals {
    pub(crate) fn new() -> Result<Self, Error> {
        let stopped = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // The second signal ends the process.
            let failed = Error::system("a signal handler");
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stopped))
                .map_err(&failed)?;
            signal_hook::flag::register(signal, Arc::clone(&stopped)).map_err(&failed)?;
        }
        Ok(Self(stopped))
    }

    /// Whether one came.
    pub(crate) fn stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Run {
    pub(crate) fn new(server: Server) -> Result<Self, Error> {
        Ok(Self {
            address: resolve(&server)?,
            server,
            prefix: prefix(),
            signals: Signals::new()?,
            progress: Progress::new(),
        })
    }

    /// Whether the user wants no more.
    pub(crate) fn stopped(&self) -> bool {
        self.signals.stopped()
    }

    /// A client of this run without more than its socket.
    pub(crate) fn open(&self, name: &str) -> Result<Client, Error> {
        Client::open(&self.server, self.address, self.name(name))
    }

    pub(crate) fn connect(&self, name: &str, session: Session) -> Result<Client, Error> {
        Client::connect(&self.server, self.address, self.name(name), session)
    }

    /// When all is gone that was there: what the broker gives back until `after.settle` has passed, as a
    /// phase. `before` was started before it came.
    pub(crate) fn settle(
        &mut self,
        before: &Meter,
        after: After,
        (unit, count): (&'static str, u64),
        report: &mut Report,
    ) -> Result<(), Error> {
        if after.settle.is_zero() {
            return Ok(());
        }
        let meter = before.restart()?;
        let start = Instant::now();
        while let left = after.settle.saturating_sub(start.elapsed())
            && !left.is_zero()
            && !self.stopped()
        {
            std::thread::sleep(left.min(SHOWN_EVERY));
            self.show(|| format!("all is gone since {} s", start.elapsed().as_secs()));
        }
        report.phases.push(meter.stop(AFTER, unit, count)?);
        Ok(())
    }

    fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix.replace('/', "-"))
    }

    /// Shows a line on a terminal, not oftener than four times a second.
    pub(crate) fn show(&mut self, line: impl FnOnce() -> String) {
        self.progress.show(line);
    }
}

/// In front of the topics of this process; of one length, so that runs compare.
pub(crate) fn prefix() -> String {
    format!("bench/{:06x}", std::process::id() & 0xff_ffff)
}

#[derive(Debug)]
struct Progress {
    on_terminal: bool,
    shown: Option<Instant>,
}

const SHOWN_EVERY: Duration = Duration::from_millis(250);

impl Progress {
    fn new() -> Self {
        Self {
            on_terminal: std::io::stderr().is_terminal(),
            shown: None,
        }
    }

    fn show(&mut self, line: impl FnOnce() -> String) {
        let due = self.shown.is_none_or(|shown| shown.elapsed() >= SHOWN_EVERY);
        if self.on_terminal && due {
            self.shown = Some(Instant::now());
            eprint!("\r\x1b[K{}", line());
            let _ = std::io::stderr().flush();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.on_terminal && self.shown.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}
