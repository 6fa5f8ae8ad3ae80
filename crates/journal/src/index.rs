//! What the caller keeps of a journal, as the journal sees it.

use crate::place::Place;

/// A record and where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Where it lies.
    pub place: Place,
    /// What the caller called it.
    pub kind: u8,
    /// What the caller put.
    pub payload: &'a [u8],
}

/// The caller's index: for each record that lives its place, under a name that the record itself says, such as a
/// key and a version. It is filled when a journal is opened, and asked when one is cleaned.
///
/// A record may come twice, because cleaning had copied it: the later one counts, and the death of the earlier one
/// follows. So `killed` takes an entry away only if it still has that very place.
pub trait Index {
    /// Forgets everything: a replay begins.
    fn clear(&mut self);

    /// Whether a snapshot may be used. If not, everything is replayed, and snapshots are only looked at.
    fn takes_snapshots(&self) -> bool {
        true
    }

    /// The next bytes of a snapshot, cut anywhere.
    fn snapshot(&mut self, bytes: &[u8]);

    /// The snapshot is complete. `false`: it makes no sense to this version, so the one before it is tried, or a full
    /// replay. It stays where it is.
    fn snapshot_ends(&mut self) -> bool;

    /// These segments, in ascending order, of which the snapshot may hold places, have gone since: entries in
    /// them are to be forgotten. What of them lives comes again by `put`.
    fn gone(&mut self, segments: &[u32]);

    /// A record that was put after the snapshot.
    fn put(&mut self, record: Record<'_>);

    /// A record that died after the snapshot.
    fn killed(&mut self, place: Place);

    /// Whether an entry has the place of this record.
    fn is_live(&self, record: &Record<'_>) -> bool;

    /// The record, which lives, has been copied: its entry has the place `to` from now on.
    fn moved(&mut self, record: &Record<'_>, to: Place);
}
