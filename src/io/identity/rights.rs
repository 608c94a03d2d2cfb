//! What may be granted by a root.

use crate::broadcast::Kind;

/// What a grant of a root allows, at any priority.
#[derive(Clone, Copy, Debug)]
pub struct Rights<'a> {
    pub kinds: &'a [Kind],
    /// See [`crate::broadcast::Grant::alone_from`].
    pub alone_from: u8,
}

impl<'a> Rights<'a> {
    /// Alone, wherever they hold.
    pub fn of(kinds: &'a [Kind]) -> Self {
        Self { kinds, alone_from: 0 }
    }
}

/// What a person may sign beside another: broadcasts, and the release of a lock.
pub const RELEASES: [Kind; 2] = [Kind::Broadcast, Kind::Hush];
/// What a node that speaks may do …
pub const SPEAKS: [Kind; 4] = [Kind::Broadcast, Kind::Cancel, Kind::Hush, Kind::Tick];
/// … one that also takes in new nodes of its area, places them and expels them …
pub const PLACES: [Kind; 6] = [Kind::Broadcast, Kind::Cancel, Kind::Hush, Kind::Tick, Kind::Placement, Kind::Revoke];
/// … and one that also lets others speak, places nodes and takes rights away.
pub const GOVERNS: [Kind; 7] =
    [Kind::Broadcast, Kind::Cancel, Kind::Hush, Kind::Tick, Kind::Grant, Kind::Revoke, Kind::Placement];
