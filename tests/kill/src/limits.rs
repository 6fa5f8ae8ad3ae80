//! How much and how long; at a limit of time the run ends with a fault, unless it says otherwise.

use std::time::Duration;

/// Until a started broker listens.
pub(crate) const START_MAX: Duration = Duration::from_secs(30);
/// Until a dead broker's connections are closed.
pub(crate) const CLOSE_MAX: Duration = Duration::from_secs(5);
/// Without a packet from the broker while something is owed. A disk that others write to may take seconds for a sync.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(20);
/// Until all that is owed has come.
pub(crate) const SETTLE_MAX: Duration = Duration::from_mins(1);
/// Until all wills that must be published have come; longer than their delay and any grace.
pub(crate) const WILLS_MAX: Duration = Duration::from_secs(30);
/// How long nothing may come, once nothing is owed, before queues count as empty.
pub(crate) const QUIET: Duration = Duration::from_millis(300);
/// Until the counts that the broker publishes about itself say that nothing is queued.
pub(crate) const COUNTS_MAX: Duration = Duration::from_secs(10);
/// How long the traffic of a round goes on if the broker does not pass its point; then it is killed by the clock.
pub(crate) const POINT_MAX: Duration = Duration::from_millis(1_500);
/// Between a turn in which nothing came and the next.
pub(crate) const PAUSE: Duration = Duration::from_micros(100);

/// The latest moment of a kill by the clock, counted from the start of the traffic.
pub(crate) const TRAFFIC_MS_MAX: usize = 600;
/// The same for kills while clients come back, counted from when the broker listens.
pub(crate) const RETURN_MS_MAX: usize = 150;
/// Messages of each publisher in a round; it then waits for the kill.
pub(crate) const MESSAGES_MAX: u32 = 600;
/// A publisher sends a part of its window at once, and the next within so many milliseconds.
pub(crate) const BURST_MS_MAX: usize = 40;
/// Bytes of the largest payload, which spans several reads of the broker's.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 6_000;
/// Identifiers that a client uses, few, so that they are used again soon; twice the largest window.
pub(crate) const IDS_MAX: u16 = 128;

/// The delay of wills that must not come, as their sessions come back before.
pub(crate) const LONG_DELAY_S: u32 = 60;
/// How long a session may be away and its long will still counts as cancelled.
pub(crate) const LONG_AWAY_MAX: Duration = Duration::from_secs(40);
/// Session expiry of all stored sessions: longer than any run.
pub(crate) const EXPIRY_S: u32 = 86_400;
