//! What the kernel says of a process: its CPU time and its memory, and our own.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::error::Error;

/// CPU time and resident memory of a process at one time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// User and system time of all its threads, those that ended included.
    pub(crate) cpu: Duration,
    /// What its threads that live waited for a core that others had.
    pub(crate) waited: Duration,
    pub(crate) rss_bytes: u64,
}

/// A process, by its identifier.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    /// `/proc/PID/stat`, utime and stime in clock ticks, and rss in pages.
    pub(crate) fn usage(self) -> Result<Usage, Error> {
        let path = format!("/proc/{}/stat", self.0);
        let text = std::fs::read_to_string(path).map_err(|source| Error::Process { pid: self.0, source })?;
        let unreadable = || Error::Process {
            pid: self.0,
            source: std::io::ErrorKind::InvalidData.into(),
        };
        // The name may hold anything, so fields are counted from the last bracket: state is the first.
        let fields: Vec<&str> = text
            .rsplit_once(')')
            .ok_or_else(unreadable)?
            .1
            .split_whitespace()
            .collect();
        let field = |at: usize| -> Result<u64, Error> {
            let number = fields.get(at).and_then(|field| field.parse().ok());
            number.ok_or_else(unreadable)
        };
        let ticks = field(11)? + field(12)?;
        Ok(Usage {
            cpu: Duration::from_nanos(ticks * 1_000_000_000 / rustix::param::clock_ticks_per_second()),
            waited: self.waited(),
            rss_bytes: field(21)? * rustix::param::page_size() as u64,
        })
    }

    /// A kernel without schedstat knows of no waiting.
    fn waited(self) -> Duration {
        let Ok(tasks) = std::fs::read_dir(format!("/proc/{}/task", self.0)) else {
            return Duration::ZERO;
        };
        let stats = tasks.flatten().map(|task| task.path().join("schedstat"));
        stats
            .filter_map(|path| std::fs::read_to_string(path).ok())
            .map(|stat| waited(&stat))
            .sum()
    }
}

/// The second of the three numbers of a schedstat: nanoseconds on a run queue.
fn waited(schedstat: &str) -> Duration {
    let waited = schedstat.split_whitespace().nth(1).and_then(|ns| ns.parse().ok());
    Duration::from_nanos(waited.unwrap_or(0))
}

/// What this thread waited for a core that others had.
pub(crate) fn own_waited() -> Duration {
    std::fs::read_to_string("/proc/thread-self/schedstat").map_or(Duration::ZERO, |stat| waited(&stat))
}

/// The CPU time of this thread.
pub(crate) fn own_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
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
        assert!(us.usage().unwrap().rss_bytes > before.rss_bytes + (60 << 20));
        assert!(Process(u32::MAX).usage().is_err());
    }

    #[test]
    fn too_many_files_are_refused_before_the_run() {
        assert!(raise_open_files(1).is_ok());
        assert!(raise_open_files(usize::MAX).is_err());
    }
}
