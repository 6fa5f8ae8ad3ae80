//! What `martlet bench` takes.

use std::time::Duration;

use clap::{Args, Subcommand};
use martlet_codec::{Qos, Version};

use crate::way::Way;

/// The arguments of `martlet bench`.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct BenchArgs {
    #[command(subcommand)]
    pub(crate) workload: Workload,
    /// Print this help
    #[arg(long, action = clap::ArgAction::Help, global = true)]
    help: Option<bool>,
}

/// What is done to the broker.
#[derive(Debug, Subcommand)]
pub(crate) enum Workload {
    /// Each publisher sends to a subscriber of its own
    Pairs {
        /// Publishers, and as many subscribers
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=9_999))]
        pairs: u32,
        /// In which order they connect: it decides where a broker of several threads puts them
        #[arg(long, value_enum, default_value_t = Order::Sides)]
        order: Order,
        #[command(flatten)]
        traffic: Traffic,
        #[command(flatten)]
        server: Server,
    },
    /// One publisher sends to many subscribers
    FanOut {
        /// Subscribers
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=19_000))]
        subscribers: u32,
        #[command(flatten)]
        traffic: Traffic,
        #[command(flatten)]
        server: Server,
    },
    /// Many publishers send to one subscriber
    FanIn {
        /// Publishers
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=19_000))]
        publishers: u32,
        #[command(flatten)]
        traffic: Traffic,
        #[command(flatten)]
        server: Server,
    },
    /// Many filters (exact, `+` and `#` in equal parts), each message matches one
    Filters {
        /// Filters
        #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=9_999_999))]
        filters: u32,
        /// Connections that hold them
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        subscribers: u32,
        /// Publishers
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        publishers: u32,
        #[command(flatten)]
        traffic: Traffic,
        #[command(flatten)]
        server: Server,
    },
    /// Retained messages: set them, read all back by one subscription, clear them
    Retained {
        /// Retained messages
        #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=9_999_999))]
        messages: u32,
        #[command(flatten)]
        load: Load,
        #[command(flatten)]
        after: After,
        #[command(flatten)]
        server: Server,
    },
    /// Messages queued for a client that is away, then taken by it
    Offline {
        /// Messages
        #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=9_999_999))]
        messages: u32,
        #[command(flatten)]
        load: Load,
        #[command(flatten)]
        after: After,
        #[command(flatten)]
        server: Server,
    },
    /// Stored sessions in parts, between which the broker may be restarted
    Stored {
        /// Which part
        #[arg(value_enum)]
        part: Part,
        /// Sessions
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=9_999_999))]
        sessions: u32,
        /// Subscriptions of each
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=9))]
        filters: u32,
        /// Messages for each
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(0..=9_999_999))]
        messages: u32,
        /// Publishers
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        publishers: u32,
        #[command(flatten)]
        load: Load,
        #[command(flatten)]
        server: Server,
    },
    /// Connect and disconnect as fast as the broker lets
    Connect {
        /// Connections under way at once
        #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        at_once: u32,
        /// Seconds to measure
        #[arg(long, default_value = "5", value_parser = seconds)]
        seconds: Duration,
        #[command(flatten)]
        server: Server,
    },
    /// Connections that do nothing: what each costs in memory
    Idle {
        /// Connections
        #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
        connections: u32,
        #[command(flatten)]
        after: After,
        #[command(flatten)]
        server: Server,
    },
    /// A relay that copies bytes without looking at them: the floor that a broker is compared with
    #[command(hide = true)]
    Relay(RelayArgs),
}

/// How the broker is reached and what is told of it.
#[derive(Debug, Args, Clone)]
pub(crate) struct Server {
    /// Host
    #[arg(short, long, default_value = "127.0.0.1")]
    pub(crate) host: String,
    /// Port
    #[arg(short, long, default_value_t = 1883)]
    pub(crate) port: u16,
    /// MQTT version: 5 or 3.1.1
    #[arg(short = 'V', long, default_value = "3.1.1", value_parser = version)]
    pub(crate) protocol_version: Version,
    /// User name
    #[arg(short, long)]
    pub(crate) username: Option<String>,
    /// Password
    #[arg(short = 'P', long = "pw", value_name = "PASSWORD")]
    pub(crate) password: Option<String>,
    /// Process of the broker, to tell its CPU time and memory
    #[arg(long, value_name = "PID")]
    pub(crate) server_pid: Option<u32>,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) way: Way,
}

impl Server {
    /// Host and port, or the path of a Unix socket.
    pub(crate) fn address(&self) -> String {
        match &self.way.unix {
            Some(path) => path.display().to_string(),
            None => format!("{}:{}", self.host, self.port),
        }
    }
}

/// What the messages are like.
#[derive(Debug, Args, Clone)]
pub(crate) struct Load {
    /// Quality of service of publishing and subscribing
    #[arg(short, long, default_value = "1", value_parser = qos)]
    pub(crate) qos: Qos,
    /// Bytes of a payload, at least 12
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(12..=16_777_216))]
    pub(crate) size: u32,
    /// Messages under way at once
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=16_384))]
    pub(crate) window: u32,
}

/// When memory is looked at again.
#[derive(Debug, Args, Clone, Copy)]
pub(crate) struct After {
    /// Seconds to wait when all is gone again, before the broker's memory is read a last time; 0 for not
    #[arg(long, default_value = "5", value_parser = seconds)]
    pub(crate) settle: Duration,
}

/// What is done to stored sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// They connect, subscribe and go
    Subscribe,
    /// Messages are published to them
    Publish,
    /// They come back and take their messages
    Take,
}

/// In which order pairs connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Order {
    /// All publishers, then all subscribers: a broker that deals clients out to two threads in turn has
    /// both sides of a pair in one (if the pairs are an even number)
    Sides,
    /// Each publisher, then its subscriber: such a broker has them in two threads
    Pairs,
    /// All publishers, then all subscribers, each followed by a client that does nothing: such a broker
    /// has all that are busy in one thread
    EveryOther,
}

/// What flows, and for how long.
#[derive(Debug, Args, Clone)]
pub(crate) struct Traffic {
    /// Quality of service of publishing and subscribing
    #[arg(short, long, default_value = "0", value_parser = qos)]
    pub(crate) qos: Qos,
    /// Bytes of a payload, at least 12
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(12..=16_777_216))]
    pub(crate) size: u32,
    /// Subscribers have stored sessions, which end when the run ends
    #[arg(long)]
    pub(crate) stored: bool,
    /// Messages of each publisher under way at once: the next is sent when one was delivered to all
    /// (and acknowledged)
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=16_384), conflicts_with = "rate")]
    pub(crate) window: u32,
    /// Send this many messages a second in all, at fixed times, however slow the broker is; the
    /// latency counts from those times
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) rate: Option<u32>,
    /// Seconds to measure
    #[arg(long, default_value = "5", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// Seconds of traffic before
    #[arg(long, default_value = "1", value_parser = seconds)]
    pub(crate) warm_up: Duration,
    /// No CONNECT and no SUBSCRIBE: the peer is `martlet bench relay`
    #[arg(long, hide = true)]
    pub(crate) raw: bool,
}

/// The arguments of the relay.
#[derive(Debug, Args)]
pub(crate) struct RelayArgs {
    /// Port on the loopback interface, 0 for a free one; it is printed
    #[arg(short, long, default_value_t = 0)]
    pub(crate) port: u16,
    /// Whom it copies to whom, by the order of connecting
    #[arg(long, value_enum)]
    pub(crate) pattern: Pattern,
    /// Pairs, or connections on the side of the many
    #[arg(long)]
    pub(crate) count: usize,
    /// Bytes of a payload: what is written has whole messages, so that fan-in does not cut them in two
    #[arg(long, default_value_t = 64)]
    pub(crate) size: usize,
    /// MQTT version of the messages
    #[arg(short = 'V', long, default_value = "3.1.1", value_parser = version)]
    pub(crate) protocol_version: Version,
}

/// Whom the relay copies to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Pattern {
    /// The first to the second, the third to the fourth ..
    Pairs,
    /// The first to all others.
    FanOut,
    /// All to the last.
    FanIn,
}

fn version(text: &str) -> Result<Version, String> {
    match text.strip_prefix("mqttv").unwrap_or(text) {
        "5" | "5.0" => Ok(Version::V5),
        "311" | "3.1.1" | "4" => Ok(Version::V3_1_1),
        _ => Err("the versions are 5 and 3.1.1".into()),
    }
}

fn qos(text: &str) -> Result<Qos, String> {
    let number = text.parse().ok().and_then(Qos::from_u8);
    number.ok_or_else(|| "it is 0, 1 or 2".into())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|s: &f64| (0.0..=86_400.0).contains(s));
    let seconds = seconds.ok_or("seconds, up to a day (86400)")?;
    Ok(Duration::from_secs_f64(seconds))
}
