//! What the kernel says of a process: its CPU time and its memory, and our own.

use std::io::{self, ErrorKind};
use std::time::Duration;

use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::error::Error;

/// CPU time and resident memory of a process at one time.
#[derive(Debug, Clone)]
pub(crate) struct Usage {
    /// User and system time of all its threads, those that ended included.
    pub(crate) cpu: Duration,
    /// What its threads that live waited for a core that others had.
    pub(crate) waited: Duration,
    /// The CPU time of each of its threads that live, by the thread's identifier.
    pub(crate) threads: Vec<(u32, Duration)>,
    pub(crate) rss_bytes: u64,
    /// The most that it ever was.
    pub(crate) rss_bytes_max: u64,
}

/// A process, by its identifier.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    pub(crate) fn usage(self) -> Result<Usage, Error> {
        let failed = |source| Error::Process { pid: self.0, source };
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0)).map_err(failed)?;
        let kib = |name| field(&status, name).ok_or_else(|| failed(ErrorKind::InvalidData.into()));
        let mut usage = Usage {
            cpu: self.cpu().map_err(failed)?,
            waited: Duration::ZERO,
            threads: Vec::new(),
            rss_bytes: kib("VmRSS:")? * 1024,
            rss_bytes_max: kib("VmHWM:")? * 1024,
        };
        // A kernel without schedstat knows neither of threads nor of waiting.
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.0));
        for task in tasks.into_iter().flatten().flatten() {
            let stat = std::fs::read_to_string(task.path().join("schedstat"));
            let id = task.file_name().to_str().and_then(|id| id.parse().ok());
            if let (Ok(stat), Some(id)) = (stat, id) {
                let (ran, waited) = ran_and_waited(&stat);
                usage.threads.push((id, ran));
                usage.waited += waited;
            }
        }
        Ok(usage)
    }

    /// The process's own clock: to the nanosecond, where `/proc/PID/stat` counts hundredths of a second.
    fn cpu(self) -> io::Result<Duration> {
        let pid = i32::try_from(self.0).map_err(|_| io::Error::from(ErrorKind::NotFound))?;
        let clock = clock_getcpuclockid(Pid::from_raw(pid))?;
        Ok(Duration::from(clock.now()?))
    }
}

impl Usage {
    /// The part of the time that its threads ran since `before` which the busiest of them took.
    pub(crate) fn busiest_part_since(&self, before: &Self) -> Option<f64> {
        let ran = self.threads.iter().map(|(id, ran)| {
            let ran_before = before.threads.iter().find(|(known, _)| known == id);
            ran.saturating_sub(ran_before.map_or(Duration::ZERO, |(_, ran)| *ran))
        });
        let ran: Vec<f64> = ran.map(|ran| ran.as_secs_f64()).collect();
        let all: f64 = ran.iter().sum();
        (all > 0.0).then(|| ran.into_iter().fold(0.0, f64::max) / all)
    }
}

/// `NAME:   123 kB`
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The first two of the three numbers of a schedstat: nanoseconds on a core, and on its run queue.
fn ran_and_waited(schedstat: &str) -> (Duration, Duration) {
    let mut numbers = schedstat.split_whitespace().map(|ns| ns.parse().unwrap_or(0));
    let mut next = || Duration::from_nanos(numbers.next().unwrap_or(0));
    (next(), next())
}

/// What this thread waited for a core that others had.
pub(crate) fn own_waited() -> Duration {
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .map_or(Duration::ZERO, |stat| ran_and_waited(&stat).1)
}

/// The CPU time of this thread.
pub(crate) fn own_cpu() -> Duration {
    ClockId::CLOCK_THREAD_CPUTIME_ID
        .now()
        .map_or(Duration::ZERO, Duration::from)
}

/// Lets this process open as many files as it may; says whether that is enough.
pub(crate) fn raise_open_files(wanted: usize) -> Result<(), Error> {
    let limit = getrlimit(Resource::Nofile);
    if let Some(maximum) = limit.maximum
        && limit.current.is_some_and(|current| current < maximum)
    {
        let raised = Rlimit {
            current: Some(maximum),
            maximum: Some(maximum),
        };
        let _ = setrlimit(Resource::Nofile, raised); // what it could not do shows below
    }
    match getrlimit(Resource::Nofile).current {
        Some(current) if current < wanted as u64 => Err(Error::OpenFiles {
            wanted,
            allowed: current,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_use_grows() {
        let us = Process(std::process::id());
        let before = us.usage().unwrap();
        let own = own_cpu();
        let kept = vec![1_u8; 64 << 20];
        loop {
            let sum: u64 = kept.iter().map(|byte| u64::from(*byte)).sum();
            assert_eq!(sum, 64 << 20);
            if us.usage().unwrap().cpu > before.cpu {
                break;
            }
        }
        assert!(own_cpu() > own);
        let after = us.usage().unwrap();
        assert!(after.rss_bytes > before.rss_bytes + (60 << 20));
        assert!(after.rss_bytes_max >= after.rss_bytes);
        assert!(after.busiest_part_since(&before).unwrap() <= 1.0);
        assert!(Process(u32::MAX).usage().is_err());
    }

    #[test]
    fn the_busiest_thread() {
        let usage = |threads: &[(u32, u64)]| Usage {
            cpu: Duration::ZERO,
            waited: Duration::ZERO,
            threads: threads
                .iter()
                .map(|(id, s)| (*id, Duration::from_secs(*s)))
                .collect(),
            rss_bytes: 0,
            rss_bytes_max: 0,
        };
        let before = usage(&[(1, 5), (2, 7)]);
        assert_eq!(usage(&[(1, 5), (2, 7)]).busiest_part_since(&before), None);
        assert_eq!(
            usage(&[(1, 6), (2, 9), (3, 1)]).busiest_part_since(&before),
            Some(0.5)
        );
        assert_eq!(usage(&[(1, 6), (2, 7)]).busiest_part_since(&before), Some(1.0));
    }

    #[test]
    fn too_many_files_are_refused_before_the_run() {
        assert!(raise_open_files(1).is_ok());
        assert!(raise_open_files(usize::MAX).is_err());
    }
}
