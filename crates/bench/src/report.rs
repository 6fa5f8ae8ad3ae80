//! What a run found, for people and as JSON.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use crate::check::Faults;
use crate::histogram::Histogram;
use crate::process::Usage;

/// The result of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The workload, with its numbers.
    pub workload: String,
    /// The version of MQTT, and what carries it if that is not the bare socket.
    pub version: String,
    /// Each thing that was measured, in its order.
    pub phases: Vec<Phase>,
    /// What was wrong with the messages.
    pub faults: Faults,
    /// Why the run ended early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_early: Option<String>,
}

/// Something that was done many times.
#[derive(Debug, Serialize)]
pub struct Phase {
    /// What was done.
    pub name: &'static str,
    /// What is counted.
    pub unit: &'static str,
    /// How often it was done.
    pub count: u64,
    /// How long it took.
    pub seconds: f64,
    /// How often a second.
    pub per_second: f64,
    /// From sending to delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_us: Option<Latency>,
    /// What it took of the broker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerUse>,
    /// The part of the time that this program's thread ran.
    pub own_busy: f64,
    /// The part of the time that it waited for a core that others had.
    pub own_waiting: f64,
    /// How late a message was sent at most, at a fixed rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_late_us_max: Option<f64>,
}

/// Latencies in microseconds.
#[derive(Debug, Serialize)]
#[allow(missing_docs)] // the names say it
pub struct Latency {
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub max: f64,
}

/// What the broker took.
#[derive(Debug, Serialize)]
pub struct ServerUse {
    /// User and system time for each.
    pub cpu_us_each: f64,
    /// In all.
    pub cpu_seconds: f64,
    /// The part of the time of one core that it ran.
    pub busy: f64,
    /// The part of the time that it waited for a core that others had: noise. A broker whose `busy` and
    /// `waiting` are together below 1 had nothing to do for the rest.
    pub waiting: f64,
    /// The part of its CPU time that the busiest of its threads took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub busiest_thread: Option<f64>,
    /// Resident memory at the end.
    pub rss_bytes: u64,
    /// The most that it was, from the start of the broker to the end.
    pub rss_bytes_max: u64,
    /// What it grew by, for each; in a phase `after`, since before that came which has gone again.
    pub rss_bytes_each: f64,
}

/// The phase in which nothing is done.
pub(crate) const AFTER: &str = "after";

impl Latency {
    pub(crate) fn of(histogram: &Histogram) -> Option<Self> {
        let us = |ns: u64| rounded(micros(ns));
        (histogram.count() > 0).then(|| Self {
            mean: us(histogram.mean()),
            p50: us(histogram.quantile(500_000)),
            p90: us(histogram.quantile(900_000)),
            p99: us(histogram.quantile(990_000)),
            p99_9: us(histogram.quantile(999_000)),
            max: us(histogram.max()),
        })
    }
}

impl Phase {
    /// Without latencies.
    #[allow(clippy::cast_precision_loss)] // a report has three digits
    pub(crate) fn new(
        name: &'static str,
        unit: &'static str,
        count: u64,
        took: Duration,
        (own, own_waited): (Duration, Duration),
        server: Option<(&Usage, Usage)>,
    ) -> Self {
        let seconds = took.as_secs_f64();
        let each = count.max(1) as f64;
        let server = server.map(|(before, after)| {
            let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64();
            ServerUse {
                cpu_us_each: cpu * 1e6 / each,
                cpu_seconds: cpu,
                busy: cpu / seconds,
                waiting: after.waited.saturating_sub(before.waited).as_secs_f64() / seconds,
                busiest_thread: after.busiest_part_since(before),
                rss_bytes: after.rss_bytes,
                rss_bytes_max: after.rss_bytes_max,
                rss_bytes_each: (after.rss_bytes as f64 - before.rss_bytes as f64) / each,
            }
        });
        Self {
            name,
            unit,
            count,
            seconds,
            per_second: count as f64 / seconds,
            latency_us: None,
            server,
            own_busy: own.as_secs_f64() / seconds,
            own_waiting: own_waited.as_secs_f64() / seconds,
            send_late_us_max: None,
        }
    }

    /// Whether this program was the limit, and the broker, as far as it is known, was not.
    fn is_limited_by_us(&self) -> bool {
        let broker_was = |server: &ServerUse| server.busy + server.waiting >= BUSY_MAX;
        self.own_busy + self.own_waiting >= BUSY_MAX && !self.server.as_ref().is_some_and(broker_was)
    }
}

/// A thread that runs, or would if it had a core, so much of the time is the limit.
const BUSY_MAX: f64 = 0.95;

impl Report {
    /// Whether all went well: every message as it must be, and the run came to its end.
    pub const fn is_good(&self) -> bool {
        !self.faults.any() && self.ended_early.is_none()
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = format!("{}, MQTT {}\n", self.workload, self.version);
        for phase in &self.phases {
            phase.write(&mut text);
        }
        let _ = writeln!(text, "  checked      {}", self.faults);
        if let Some(first) = &self.faults.first {
            let _ = writeln!(text, "  first fault  {first}");
        }
        if let Some(why) = &self.ended_early {
            let _ = writeln!(text, "  ended early  {why}");
        }
        text
    }
}

impl Phase {
    fn write(&self, text: &mut String) {
        let Self {
            name, unit, count, ..
        } = self;
        if *name == AFTER {
            return self.write_after(text);
        }
        let _ = writeln!(
            text,
            "  {name:<12} {count} {unit}s in {:.2} s, {:.0} a second",
            self.seconds, self.per_second
        );
        if let Some(l) = &self.latency_us {
            let _ = writeln!(
                text,
                "  latency      50 % {} us, 90 % {} us, 99 % {} us, 99.9 % {} us, max {} us",
                l.p50, l.p90, l.p99, l.p99_9, l.max
            );
        }
        if let Some(late) = self.send_late_us_max {
            let _ = writeln!(
                text,
                "  sent late    at most {late:.0} us, which the latencies contain"
            );
        }
        if let Some(server) = &self.server {
            let _ = writeln!(
                text,
                "  broker       {:.3} us of CPU a {unit}, {:.0} % of a core{}{}, {:.1} MB resident ({:+.0} bytes a {unit})",
                server.cpu_us_each,
                server.busy * 100.0,
                waiting(server.waiting),
                busiest(server.busiest_thread),
                mega(server.rss_bytes),
                server.rss_bytes_each
            );
        }
        let limit = if self.is_limited_by_us() {
            ": THE LIMIT IS THIS PROGRAM, not the broker"
        } else {
            ""
        };
        let waiting = waiting(self.own_waiting);
        let _ = writeln!(
            text,
            "  bench itself {:.0} % of a core{waiting}{limit}",
            self.own_busy * 100.0
        );
    }
}

impl Phase {
    fn write_after(&self, text: &mut String) {
        let Some(server) = &self.server else { return };
        let _ = writeln!(
            text,
            "  {AFTER:<12} {:.0} s with nothing, {:.1} MB resident ({:+.0} bytes a {} that is gone), {:.1} MB at most",
            self.seconds,
            mega(server.rss_bytes),
            server.rss_bytes_each,
            self.unit,
            mega(server.rss_bytes_max)
        );
    }
}

/// Says how much one thread did, if there is more than one that counts.
fn busiest(part: Option<f64>) -> String {
    match part {
        Some(part) if part < 0.95 => format!(" ({:.0} % of it in one thread)", part * 100.0),
        _ => String::new(),
    }
}

/// Says that others had the core, if it matters.
fn waiting(part: f64) -> String {
    if part < 0.01 {
        return String::new();
    }
    format!(" (waited for one {:.0} % of the time)", part * 100.0)
}

#[allow(clippy::cast_precision_loss)]
fn micros(ns: u64) -> f64 {
    ns as f64 / 1e3
}

fn rounded(us: f64) -> f64 {
    (us * 10.0).round() / 10.0
}

#[allow(clippy::cast_precision_loss)]
fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_the_limit() {
        let phase = |own_busy, server: Option<f64>| {
            let one = Duration::from_secs(1);
            let usage = |cpu: f64| Usage {
                cpu: one.mul_f64(cpu),
                waited: Duration::ZERO,
                threads: Vec::new(),
                rss_bytes: 0,
                rss_bytes_max: 0,
            };
            let server = server.map(usage);
            let before = usage(0.0);
            let own = (one.mul_f64(own_busy), Duration::ZERO);
            Phase::new(
                "deliver",
                "message",
                1,
                one,
                own,
                server.map(|after| (&before, after)),
            )
        };
        let cases = [
            (0.99, None, true),
            (0.99, Some(0.9), true),
            (0.99, Some(0.99), false),
            (0.5, Some(0.5), false),
        ];
        for (own, server, limit) in cases {
            assert_eq!(phase(own, server).is_limited_by_us(), limit, "{own} {server:?}");
        }
    }
}
