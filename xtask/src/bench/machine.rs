//! The machine that the numbers are of, and which of its cores does what.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};

use super::rows::{Work, thousands};
use crate::sh;

/// What compares only with its like.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Machine {
    /// As a part of a file's name: `x86_64-2core`.
    pub(super) kind: String,
    pub(super) description: String,
}

impl Machine {
    pub(super) fn describe(cores: &Cores) -> Result<Self> {
        let read = |path: &str| std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"));
        let cpu = read("/proc/cpuinfo")?;
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?.to_owned();
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let model = field(&cpu, "model name").unwrap_or_else(|| "unknown CPU".into());
        let virtual_machine = if cpu.contains(" hypervisor") {
            ", virtual"
        } else {
            ""
        };
        let memory = field(&read("/proc/meminfo")?, "MemTotal").unwrap_or_default();
        let kib: u32 = memory.trim_end_matches(" kB").parse().unwrap_or(0);
        let kernel = read("/proc/sys/kernel/osrelease")?;
        let version: String = kernel
            .chars()
            .take_while(|c| c.is_ascii_digit() || *c == '.')
            .collect();
        let (arch, count) = (std::env::consts::ARCH, cores.count);
        Ok(Self {
            kind: format!("{arch}-{count}core"),
            description: format!(
                "{count} cores of {model}{virtual_machine}, {} MB of memory, Linux {}, loopback",
                thousands(kib / 1_000),
                version.trim_end_matches('.')
            ),
        })
    }
}

/// Today, and the commit that was measured.
pub(super) fn date_and_commit() -> Result<(String, String)> {
    let date = sh::output(Command::new("date").arg("+%F"))?;
    let commit = sh::output(Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=10"]))?;
    Ok((date.trim().into(), commit.trim().into()))
}

/// A core for the broker and one for the load.
pub(super) struct Cores {
    broker: CpuSet,
    load: CpuSet,
    all: CpuSet,
    count: usize,
}

impl Cores {
    pub(super) fn pick() -> Result<Self> {
        let all = sched_getaffinity(None)?;
        let ours: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu)).collect();
        ensure!(
            ours.len() > 1,
            "the benchmark needs two cores: one for the broker, one for the load"
        );
        let only = |cpu| {
            let mut set = CpuSet::new();
            set.set(cpu);
            set
        };
        Ok(Self {
            // The first core has most of the machine's other work.
            broker: only(ours[1]),
            load: only(ours[0]),
            count: ours.len(),
            all,
        })
    }

    /// What is started in `start` runs on the broker's core; with more than one shard, on any.
    pub(super) fn on_broker<T>(&self, work: &Work, start: impl FnOnce() -> Result<T>) -> Result<T> {
        self.on(if work.shards == 1 { &self.broker } else { &self.all }, start)
    }

    /// What is started in `start` runs on the load's core; beside more than one shard, on any.
    pub(super) fn on_load<T>(&self, work: &Work, start: impl FnOnce() -> Result<T>) -> Result<T> {
        self.on(if work.shards == 1 { &self.load } else { &self.all }, start)
    }

    /// A process inherits the cores of the thread that starts it.
    fn on<T>(&self, cores: &CpuSet, start: impl FnOnce() -> Result<T>) -> Result<T> {
        sched_setaffinity(None, cores)?;
        let result = start();
        sched_setaffinity(None, &self.all)?;
        result
    }
}
