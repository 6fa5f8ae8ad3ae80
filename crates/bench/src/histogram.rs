//! Latencies: counted in buckets of at most 1.6 % width, so a run of any length takes 30 KiB.

/// Buckets for each power of two.
const FINE: usize = 64;
const FINE_BITS: u32 = FINE.trailing_zeros();
const BUCKETS: usize = FINE * (64 - FINE_BITS as usize + 1);

/// Counts of durations in nanoseconds.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    sum: u128,
    max: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
            sum: 0,
            max: 0,
        }
    }

    /// `count` durations of that length.
    pub(crate) fn add(&mut self, ns: u64, count: u64) {
        if count == 0 {
            return;
        }
        self.counts[bucket(ns)] += count;
        self.total += count;
        self.sum += u128::from(ns) * u128::from(count);
        self.max = self.max.max(ns);
    }

    pub(crate) const fn count(&self) -> u64 {
        self.total
    }

    pub(crate) const fn max(&self) -> u64 {
        self.max
    }

    pub(crate) fn mean(&self) -> u64 {
        u64::try_from(self.sum / u128::from(self.total.max(1))).unwrap_or(u64::MAX)
    }

    /// The duration that `per_million` of a million do not exceed.
    pub(crate) fn quantile(&self, per_million: u64) -> u64 {
        let wanted = (u128::from(self.total) * u128::from(per_million)).div_ceil(1_000_000);
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += u128::from(*count);
            if seen >= wanted && *count > 0 {
                return upper(at).min(self.max);
            }
        }
        self.max
    }
}

fn bucket(ns: u64) -> usize {
    let power = ns.checked_ilog2().unwrap_or(0);
    if power < FINE_BITS {
        return ns as usize;
    }
    let shift = power - FINE_BITS;
    (shift as usize + 1) * FINE + ((ns >> shift) as usize - FINE)
}

/// The longest duration that falls into a bucket.
fn upper(at: usize) -> u64 {
    let (group, fine) = (at / FINE, (at % FINE) as u64);
    if group == 0 {
        return fine;
    }
    let shift = group - 1;
    let low = (FINE as u64 + fine) << shift;
    low + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_narrow_and_in_order() {
        let mut last = 0;
        for ns in (0..5_000).chain((13..64).map(|power| (1 << power) + 12_345)) {
            let at = bucket(ns);
            assert!(at >= last && at < BUCKETS);
            assert!(upper(at) >= ns && upper(at) - ns <= ns / 64, "{ns}");
            last = at;
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.quantile(500_000), 0);
        (1..=100).for_each(|ns| histogram.add(ns * 1_000, 1));
        let near = |found: u64, ns: u64| assert!(found.abs_diff(ns) <= ns / 50, "{found} {ns}");
        near(histogram.quantile(500_000), 50_000);
        near(histogram.quantile(990_000), 99_000);
        assert_eq!(histogram.quantile(1_000_000), 100_000);
        assert_eq!(
            (histogram.max(), histogram.mean(), histogram.count()),
            (100_000, 50_500, 100)
        );
    }
}
