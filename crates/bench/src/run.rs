//! What every workload needs: names, a way to stop, and a line that shows where it is.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::args::{After, Server};
use crate::client::{Client, Place, Session};
use crate::error::Error;
use crate::meter::Meter;
use crate::report::{AFTER, Report};
use crate::way::Dresser;

/// A run as its workloads see it.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) server: Server,
    place: Place,
    dresser: Dresser,
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
            place: Place::of(&server)?,
            dresser: server.way.load(&server.host, server.port)?,
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
        Client::open(&self.server, &self.place, self.dresser.dress()?, self.name(name))
    }

    /// One with a session at the server.
    pub(crate) fn connect(&self, name: &str, session: Session) -> Result<Client, Error> {
        let mut client = self.open(name)?;
        client.send_connect(session)?;
        client.wait_for_connack()?;
        Ok(client)
    }

    /// The version of MQTT, and what carries it.
    pub(crate) fn speaks(&self) -> String {
        format!("{}{}", self.server.protocol_version, self.server.way.name())
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
            let part = (
                start.elapsed().as_millis() as u64,
                after.settle.as_millis() as u64,
            );
            self.show(part, || "all is gone; what does the broker give back?".into());
        }
        report.phases.push(meter.stop(AFTER, unit, count)?);
        Ok(())
    }

    fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix.replace('/', "-"))
    }

    /// Shows a bar and a line on a terminal, not oftener than four times a second: `done` of `all` are done.
    pub(crate) fn show(&mut self, (done, all): (u64, u64), line: impl FnOnce() -> String) {
        self.progress.show(|| format!("{} {}", bar(done, all), line()));
    }
}

/// In front of the topics of this process; of one length, so that runs compare.
pub(crate) fn prefix() -> String {
    format!("bench/{:06x}", std::process::id() & 0xff_ffff)
}

/// A bar of which `done` of `all` are full.
fn bar(done: u64, all: u64) -> String {
    let part = |whole: u64| (u128::from(done.min(all)) * u128::from(whole) / u128::from(all.max(1))) as usize;
    let full = part(BAR);
    format!(
        "[{}{}] {:3} %",
        "#".repeat(full),
        ".".repeat(BAR as usize - full),
        part(100)
    )
}

const BAR: u64 = 24;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_full_when_all_is_done_and_never_longer() {
        assert_eq!(bar(0, 5), "[........................]   0 %");
        assert_eq!(bar(1, 3), "[########................]  33 %");
        assert_eq!(bar(7, 5), "[########################] 100 %");
        assert_eq!(bar(0, 0), "[........................]   0 %");
        assert_eq!(bar(u64::MAX, u64::MAX).len(), bar(0, 1).len());
    }
}
