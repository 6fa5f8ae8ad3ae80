//! A broker under attack, and what the system says of it.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use martlet_interop::{Broker, Transport};

use crate::{Client, Options};

/// A broker that must live until its test ends.
#[derive(Debug)]
pub struct Live {
    broker: Broker,
    pid: u32,
}

impl Live {
    /// Starts one; `settings` are directives, `name=value`.
    pub fn start(name: &str, settings: &[&str]) -> Self {
        Self::spawn(name, None, settings, &[])
    }

    /// Starts one on a data folder that outlives it, with environment variables.
    pub fn start_on(name: &str, data: &Path, settings: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::spawn(name, Some(data), settings, variables)
    }

    /// The same with a configuration, which is told the port that its first listener is to have.
    pub fn start_configured(
        name: &str,
        data: &Path,
        config: &dyn Fn(u16) -> String,
        variables: &[(&str, &str)],
    ) -> Self {
        Self::of(
            |name, variables| {
                let interval = ["--set", "sys_interval=1"];
                Broker::start_configured(name, data, config, &interval, variables)
            },
            name,
            variables,
        )
    }

    fn spawn(name: &str, data: Option<&Path>, settings: &[&str], variables: &[(&str, &str)]) -> Self {
        let settings = settings.iter().chain(&["sys_interval=1"]);
        let arguments: Vec<&str> = settings.flat_map(|set| ["--set", set]).collect();
        let start =
            |name: &str, variables: &[(&str, &str)]| Broker::start_on(name, data, &arguments, variables);
        Self::of(start, name, variables)
    }

    fn of(
        start: impl FnOnce(&str, &[(&str, &str)]) -> Broker,
        name: &str,
        variables: &[(&str, &str)],
    ) -> Self {
        // Memory is measured, so it is to be had in small pages: mimalloc asks for huge ones, of which all is
        // resident when a byte is used.
        let variables = [&[("MIMALLOC_ALLOW_THP", "0")], variables].concat();
        let mut broker = start(&format!("robustness-{name}"), &variables);
        let pid = broker.process().id();
        Self { broker, pid }
    }

    /// Starts one with a second listener, which is reached another way; `more` are lines of its configuration.
    pub fn start_over(name: &str, transport: Transport, more: &str) -> Self {
        let more = format!("sys_interval 1\n{more}");
        let mut broker = Broker::start_over(&format!("robustness-{name}"), transport, &more);
        let pid = broker.process().id();
        Self { broker, pid }
    }

    /// The port of its second listener.
    pub fn other_port(&self) -> u16 {
        self.broker.other_port()
    }

    /// A file of its folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.broker.folder().join(name)
    }

    /// Its port on the loopback interface.
    pub fn port(&self) -> u16 {
        self.broker.port()
    }

    /// Its process identifier.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port()).into()
    }

    /// A bare TCP connection to it.
    pub fn open(&self) -> TcpStream {
        TcpStream::connect(self.address()).expect("the broker listens")
    }

    /// A client that is connected.
    pub fn client(&self, id: &str) -> Client {
        Client::connect(self.address(), &Options::new(id))
    }

    /// What it logged.
    pub fn log(&self) -> String {
        self.broker.log()
    }

    /// Waits until the log has that text.
    pub fn wait_log(&self, text: &str) {
        wait(&format!("'{text}' in the log"), Duration::from_secs(15), || {
            self.log().contains(text)
        });
    }

    /// Resident memory in KiB.
    pub fn rss_kib(&self) -> u64 {
        rss_kib(self.pid)
    }

    /// Waits until its memory is at most that, for what is given back with a delay; returns the last look.
    pub fn rss_below_kib(&self, kib: u64, bound: Duration) -> u64 {
        let start = Instant::now();
        loop {
            let rss = self.rss_kib();
            if rss <= kib || start.elapsed() > bound {
                return rss;
            }
            sleep(Duration::from_millis(50));
        }
    }

    /// Waits until a topic below `$SYS/broker/` has that value; who asks is a client too.
    pub fn wait_sys(&self, topic: &str, value: impl std::fmt::Display) {
        let value = value.to_string();
        let mut client = self.client("");
        client.subscribe(&format!("$SYS/broker/{topic}"), 0);
        let mut last = None;
        let deadline = Instant::now() + Duration::from_secs(15);
        while last.as_ref() != Some(&value) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some((_, payload)) = client.publish_within(left) else {
                panic!("$SYS/broker/{topic} is {last:?}, not {value}")
            };
            last = String::from_utf8(payload).ok();
        }
    }

    /// Sends it a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.pid.to_string()])
            .status();
        assert!(status.expect("there is kill").success());
    }

    /// Ends it by a signal, for brokers that let nobody in who could ask whether they are well.
    pub fn wait_exit_by(&mut self, signal: &str) {
        self.signal(signal);
        let (status, _) = self.wait_exit(Duration::from_secs(10));
        assert_eq!(status.code(), Some(0), "{status}");
    }

    /// Waits for its end.
    pub fn wait_exit(&mut self, bound: Duration) -> (ExitStatus, Duration) {
        let start = Instant::now();
        loop {
            let ended = self.broker.process().try_wait();
            if let Some(status) = ended.expect("a child can be waited for") {
                return (status, start.elapsed());
            }
            assert!(start.elapsed() < bound, "the broker still runs after {bound:?}");
            sleep(Duration::from_millis(5));
        }
    }

    /// It lives, serves, and never panicked.
    pub fn assert_well(&mut self) {
        let ended = self.broker.process().try_wait();
        assert!(matches!(ended, Ok(None)), "the broker is gone: {ended:?}");
        let mut client = self.client("");
        client.ping();
        let log = self.log();
        let panicked = log.lines().find(|line| line.contains("panicked"));
        assert_eq!(panicked, None, "in the log");
    }
}

/// Resident memory of a process in KiB.
pub fn rss_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    number.and_then(|n| n.parse().ok()).expect("VmRSS is a number")
}

/// Waits until something holds.
pub fn wait(what: &str, bound: Duration, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < bound, "{what}: not within {bound:?}");
        sleep(Duration::from_millis(5));
    }
}
