//! Places where a test can have the process killed: between what it writes, what it promises and what it delivers.

/// Kills the process if it is told to die when it passes this point: `MARTLET_KILL_AT=point:n`, the n-th time.
#[cfg(feature = "kill-points")]
pub(crate) fn pass(point: &str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static AT: LazyLock<Option<(String, AtomicU64)>> = LazyLock::new(|| {
        let told = std::env::var("MARTLET_KILL_AT").ok()?;
        let (point, n) = told.split_once(':')?;
        Some((point.to_owned(), AtomicU64::new(n.parse().ok()?)))
    });
    if let Some((at, left)) = &*AT
        && at == point
        && left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        // At once, without a step of any other thread that a signal from outside would leave time for.
        std::process::abort();
    }
}

/// In a broker that is not for such tests there is no such place.
#[cfg(not(feature = "kill-points"))]
pub(crate) fn pass(_: &str) {}
