//! What the measured programs have in common: their arguments, and what a part of their life costs.
//!
//! `PROGRAM publish|receive QOS MESSAGES PORT` connects to a broker on the loopback interface, does that, and prints how
//! much CPU time it took: nanoseconds a message, of the whole process. One that receives prints `ready` first.

use std::num::NonZeroU16;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Where messages go.
pub const TOPIC: &str = "bench/clients/one";

/// Bytes of a payload.
pub const PAYLOAD_BYTES: usize = 64;

/// Messages of QoS 1 and 2 under way.
pub const INFLIGHT: NonZeroU16 = NonZeroU16::new(100).unwrap();

/// Messages between the application and the connection.
pub const QUEUE: usize = 1_000;

/// What a program does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Publish,
    Receive,
}

/// The arguments.
#[derive(Debug, Clone, Copy)]
pub struct Args {
    pub role: Role,
    pub qos: u8,
    pub messages: u64,
    pub port: u16,
}

impl Args {
    pub fn read() -> Result<Self> {
        let mut args = std::env::args().skip(1);
        let mut next = |what: &str| args.next().with_context(|| format!("please name {what}"));
        Ok(Self {
            role: match next("publish or receive")?.as_str() {
                "publish" => Role::Publish,
                "receive" => Role::Receive,
                other => bail!("'{other}' is neither publish nor receive"),
            },
            qos: next("the QoS")?.parse()?,
            messages: next("the number of messages")?.parse()?,
            port: next("the port")?.parse()?,
        })
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
