//! Which shard a new connection goes to: the one that has least to do.

use std::time::{Duration, Instant};

/// What a shard has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    /// Connections that it has.
    pub(crate) connections: u64,
    /// Packets that it has received and sent since it started.
    pub(crate) packets: u64,
}

/// Connections alone say little: a shard may have all those that are busy. So a shard counts by its share of all
/// connections and by its share of the work of late.
#[derive(Debug)]
pub(crate) struct Placement {
    measured: Instant,
    packets: Vec<u64>,
    /// Packets a second of each shard, of late.
    rates: Vec<f64>,
    turn: usize,
}

/// How long work is counted before it is looked at again.
const INTERVAL: Duration = Duration::from_millis(200);
/// Work that is this long ago counts for a third.
const MEMORY_S: f64 = 2.0;
/// Packets a second of all shards; below, nobody is busy.
const WORK_MIN: f64 = 1_000.0;

impl Placement {
    pub(crate) fn new(now: Instant, shards: usize) -> Self {
        Self {
            measured: now,
            packets: vec![0; shards],
            rates: vec![0.0; shards],
            turn: 0,
        }
    }

    /// The shard for the next connection; where several have as little to do, they take turns.
    pub(crate) fn choose(&mut self, now: Instant, load: impl Fn(usize) -> Load) -> usize {
        self.measure(now, &load);
        let shards = self.rates.len();
        let share = |part: f64, all: f64| if all > 0.0 { part / all } else { 0.0 };
        #[allow(clippy::cast_precision_loss)] // connections stay far below 2^52
        let connections = |shard| load(shard).connections as f64;
        let all_connections = (0..shards).map(connections).sum();
        let all_work = Some(self.rates.iter().sum()).filter(|rate| *rate >= WORK_MIN);
        let score = |shard: usize| {
            share(connections(shard), all_connections)
                + all_work.map_or(0.0, |all| share(self.rates[shard], all))
        };
        let first = self.turn;
        self.turn = (first + 1) % shards;
        (0..shards)
            .map(|i| (first + i) % shards)
            .min_by(|a, b| score(*a).total_cmp(&score(*b)))
            .unwrap_or(0)
    }

    fn measure(&mut self, now: Instant, load: impl Fn(usize) -> Load) {
        let passed = now.saturating_duration_since(self.measured);
        if passed < INTERVAL {
            return;
        }
        self.measured = now;
        let passed_s = passed.as_secs_f64();
        let kept = (-passed_s / MEMORY_S).exp();
        for (shard, rate) in self.rates.iter_mut().enumerate() {
            let packets = load(shard).packets;
            let new = packets.wrapping_sub(std::mem::replace(&mut self.packets[shard], packets));
            #[allow(clippy::cast_precision_loss)]
            let latest = new as f64 / passed_s;
            *rate = *rate * kept + latest * (1.0 - kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Places `count` connections, each counted where it went.
    fn place(placement: &mut Placement, now: Instant, load: &mut [Load], count: usize) -> Vec<usize> {
        (0..count)
            .map(|_| {
                let shard = placement.choose(now, |shard| load[shard]);
                load[shard].connections += 1;
                shard
            })
            .collect()
    }

    const IDLE: Load = Load {
        connections: 0,
        packets: 0,
    };

    #[test]
    fn idle_connections_are_spread_evenly() {
        let start = Instant::now();
        let mut load = [IDLE; 3];
        let mut placement = Placement::new(start, 3);
        assert_eq!(place(&mut placement, start, &mut load, 6), [0, 1, 2, 0, 1, 2]);
        load[1].connections = 0;
        assert_eq!(place(&mut placement, start, &mut load, 2), [1, 1]);
    }

    #[test]
    fn a_shard_that_does_all_the_work_gets_no_more_until_it_is_idle_again() {
        let start = Instant::now();
        let mut load = [IDLE; 2];
        load[0].connections = 50;
        load[1].connections = 50;
        let mut placement = Placement::new(start, 2);
        load[1].packets = 1_000_000;
        let busy = start + Duration::from_secs(1);
        assert_eq!(place(&mut placement, busy, &mut load, 4), [0, 0, 0, 0]);
        // Nothing happens for long: the shard with fewer connections is next.
        let idle = busy + Duration::from_mins(10);
        assert_eq!(place(&mut placement, idle, &mut load, 4), [1, 1, 1, 1]);
    }

    #[test]
    fn a_few_packets_are_no_work() {
        let start = Instant::now();
        let mut load = [IDLE; 2];
        load[0].connections = 1;
        load[1].packets = 100;
        let mut placement = Placement::new(start, 2);
        let later = start + Duration::from_secs(1);
        assert_eq!(place(&mut placement, later, &mut load, 1), [1]);
    }
}
