//! What is read at the start and at the end of a phase.

use std::time::{Duration, Instant};

use crate::error::Error;
use crate::process::{Process, Usage, own_cpu, own_waited};
use crate::report::Phase;

/// The clocks at one time.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    server: Option<(Process, Usage)>,
    own: (Duration, Duration),
    at: Instant,
}

impl Meter {
    pub(crate) fn start(server_pid: Option<u32>) -> Result<Self, Error> {
        let server = server_pid.map(Process);
        let usage = |process: Process| process.usage().map(|usage| (process, usage));
        Ok(Self {
            server: server.map(usage).transpose()?,
            own: (own_cpu(), own_waited()),
            at: Instant::now(),
        })
    }

    /// Starts anew, but memory is compared with what it was when this one started.
    pub(crate) fn restart(&self) -> Result<Self, Error> {
        let mut anew = Self::start(self.server.as_ref().map(|(process, _)| process.0))?;
        if let (Some((_, now)), Some((_, then))) = (&mut anew.server, &self.server) {
            now.rss_bytes = then.rss_bytes;
        }
        Ok(anew)
    }

    /// The phase from then to now, in which something was done `count` times.
    pub(crate) fn stop(&self, name: &'static str, unit: &'static str, count: u64) -> Result<Phase, Error> {
        let server = match &self.server {
            Some((process, before)) => Some((before, process.usage()?)),
            None => None,
        };
        let own = (
            own_cpu().saturating_sub(self.own.0),
            own_waited().saturating_sub(self.own.1),
        );
        Ok(Phase::new(name, unit, count, self.at.elapsed(), own, server))
    }
}
