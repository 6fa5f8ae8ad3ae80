//! What the measured programs have in common: their arguments, and what a part of their life costs.
//!
//! `PROGRAM publish|receive QOS MESSAGES PORT [TOPICS]` connects to a broker on the loopback interface, does that, and prints
//! how much CPU time it took: nanoseconds a message, of the whole process. One that receives prints `ready` first. With
//! several topics it has a subscription for each, and messages come to one after the other.
//!
//! A broker may drop messages of QoS 0 where the receiver is slower than the publisher. So behind them comes an empty one of
//! QoS 1, which ends it, and a receiver counts what has come.
//!
//! `PROGRAM idle QOS CLIENTS PORT` connects so many clients that do nothing, and prints the bytes of memory of one.

use std::num::NonZeroU16;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Where messages go, if there is one topic.
pub const TOPIC: &str = "bench/clients/one";

/// Bytes of a payload.
pub const PAYLOAD_BYTES: usize = 64;

/// Messages of QoS 1 and 2 under way.
pub const INFLIGHT: NonZeroU16 = NonZeroU16::new(100).unwrap();

/// Messages between the application and the connection.
pub const QUEUE: usize = 1_000;

/// How long clients do nothing before they are weighed.
pub const SETTLE: Duration = Duration::from_secs(1);

/// What a program does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Publish,
    Receive,
    Idle,
}

/// The arguments.
#[derive(Debug, Clone, Copy)]
pub struct Args {
    pub role: Role,
    pub qos: u8,
    /// Of one that is idle: clients.
    pub messages: u64,
    pub port: u16,
    pub topics: usize,
}

impl Args {
    pub fn read() -> Result<Self> {
        let mut args = std::env::args().skip(1);
        let mut next = |what: &str| args.next().with_context(|| format!("please name {what}"));
        Ok(Self {
            role: match next("publish, receive or idle")?.as_str() {
                "publish" => Role::Publish,
                "receive" => Role::Receive,
                "idle" => Role::Idle,
                other => bail!("'{other}' is neither publish, receive nor idle"),
            },
            qos: next("the QoS")?.parse()?,
            messages: next("the number of messages")?.parse()?,
            port: next("the port")?.parse()?,
            topics: args.next().map_or(Ok(1), |topics| topics.parse())?,
        })
    }

    /// The topics, in the order in which they are published to.
    pub fn topics(&self) -> Vec<String> {
        match self.topics {
            1 => vec![TOPIC.to_owned()],
            topics => (0..topics).map(|n| format!("bench/clients/{n}/of-many")).collect(),
        }
    }

    /// A name that two programs do not share.
    pub fn client_id(&self) -> String {
        format!("{:?}-{}", self.role, std::process::id())
    }
}

/// CPU time of this process from here on.
pub struct Meter(Duration);

impl Meter {
    pub fn start() -> Self {
        Self(cpu())
    }

    /// Prints what a message took.
    pub fn stop(self, messages: u64) {
        let nanos = (cpu() - self.0).as_nanos();
        println!("{}", nanos / u128::from(messages));
    }
}

fn cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("a process may ask for its own");
    let of = |time: TimeVal| {
        Duration::from_secs(time.tv_sec().unsigned_abs())
            + Duration::from_micros(time.tv_usec().unsigned_abs())
    };
    of(usage.user_time()) + of(usage.system_time())
}

/// Memory of this process from here on.
pub struct Scales(u64);

impl Scales {
    pub fn start() -> Result<Self> {
        Ok(Self(resident()?))
    }

    /// Prints what one of so many took.
    pub fn stop(self, count: u64) -> Result<()> {
        println!("{}", resident()?.saturating_sub(self.0) / count);
        Ok(())
    }
}

/// Bytes that are in memory, code and shared libraries included.
fn resident() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib.context("the system tells VmRSS")?.parse::<u64>()? * 1024)
}
