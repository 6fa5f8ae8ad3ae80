//! Places where a test can have the process killed: between what it stores, what it promises and what it sends.

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    /// The store is about to append.
    BeforeAppend,
    /// It has.
    AfterAppend,
    /// It has synced.
    AfterSync,
    /// It is about to look for something to clean.
    BeforeClean,
    /// It has cleaned something.
    AfterClean,
    /// The client is about to be told that operations are kept.
    BeforeStored,
    /// It was told, and nothing that waited for that has been written.
    AfterStored,
    /// Bytes are about to be written to the socket.
    BeforeWrite,
    /// They were.
    AfterWrite,
    /// Bytes were read, and nobody has looked at them.
    BeforeRead,
    /// What they say was dealt with.
    AfterRead,
    /// The application has taken a message, and the client does not know it yet.
    BeforeTaken,
    /// It does.
    AfterTaken,
}

/// Kills the process if it is told to die when it passes this point: `MARTLET_KILL_AT=point:n`, the n-th time.
#[cfg(feature = "kill-points")]
pub(crate) fn pass(point: Point) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static AT: LazyLock<Option<(String, AtomicU64)>> = LazyLock::new(|| {
        let told = std::env::var("MARTLET_KILL_AT").ok()?;
        let (point, n) = told.split_once(':')?;
        Some((point.to_owned(), AtomicU64::new(n.parse().ok()?)))
    });
    if let Some((at, left)) = &*AT
        && *at == format!("{point:?}")
        && left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        // At once, without a step of any other thread that a signal from outside would leave time for.
        std::process::abort();
    }
}

/// In a client that is not for such tests there is no such place.
#[cfg(not(feature = "kill-points"))]
#[inline]
pub(crate) const fn pass(_: Point) {}
