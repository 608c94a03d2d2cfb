//! Whether media reaches this child by its parent's multicast group (DESIGN §4; rules on the page of
//! `session`). Orders come by unicast whatever the group does, so only sound counts.
use crate::session::arrivals::MOST_BELIEVED;
use crate::time::{Local, MILLISECOND};
use bytes::Bytes;
use uuid::Uuid;

#[derive(Debug, Default)]
pub(super) struct Hears {
    /// The newest candidate that came live: whose, and whether by the group.
    offered: Option<(Uuid, u64, Bytes, bool)>,
    /// The newest live packet of sound that was verified: a copy of it that comes by the group is as good.
    proven: Option<Bytes>,
    /// Packets that leave the parent in one send.
    together: i64,
    /// While the parent is told that media comes by the group: when the next must have come.
    due: Option<Local>,
}

impl Hears {
    pub fn offer(&mut self, track: Uuid, index: u64, bytes: &Bytes, group: bool) {
        self.offered = Some((track, index, bytes.clone(), group));
    }

    #[cfg(test)]
    pub fn memory(&self) -> usize {
        let offered = self.offered.as_ref().map_or(0, |(.., bytes, _)| bytes.len());
        offered + self.proven.as_ref().map_or(0, Bytes::len)
    }

    /// How many packets of a track leave the parent in one send.
    pub fn together(&mut self, together: u32) {
        self.together = self.together.max(i64::from(together.min(MOST_BELIEVED)));
    }

    /// A live packet was verified. `duration` µs. True if the parent must be told that the group is heard.
    pub fn handle_accepted(&mut self, now: Local, track: Uuid, index: u64, duration: i64) -> bool {
        let offered = self.offered.take_if(|(of, at, ..)| (*of, *at) == (track, index));
        let Some((.., bytes, group)) = offered.filter(|_| duration > 0) else { return false };
        self.proven = Some(bytes);
        group && self.heard(now, duration)
    }

    /// A copy came by the group of what is held already. As `handle_accepted`; `None` if it proves nothing.
    pub fn handle_copy(&mut self, now: Local, bytes: &Bytes, duration: i64) -> Option<bool> {
        let same = self.proven.as_ref() == Some(bytes);
        same.then(|| self.heard(now, duration))
    }

    pub fn poll_timeout(&self) -> Option<Local> {
        self.due
    }

    /// True if the parent must be told that the group is silent.
    pub fn handle_timeout(&mut self, now: Local) -> bool {
        self.due.take_if(|due| *due <= now).is_some()
    }

    fn heard(&mut self, now: Local, duration: i64) -> bool {
        let due = now + self.together.max(1) * duration + BEYOND;
        let news = self.due.is_none();
        // Of several tracks the one with the longest packets must not seem to be silent.
        self.due = Some(self.due.map_or(due, |before| before.max(due)));
        news
    }
}

/// After the due time of a packet (DESIGN §4).
const BEYOND: i64 = 300 * MILLISECOND;

#[cfg(test)]
mod tests {
    use super::*;

    const TRACK: Uuid = Uuid::from_u128(1);
    const DURATION: i64 = 240 * MILLISECOND;
    const PACKET: Bytes = Bytes::from_static(b"packet");

    #[test]
    fn only_a_verified_packet_that_came_by_the_group_is_told_to_the_parent() {
        let mut hears = Hears::default();
        hears.offer(TRACK, 0, &PACKET, true);
        assert!(!hears.handle_accepted(Local(0), TRACK, 1, DURATION), "another packet was accepted");
        assert!(hears.handle_accepted(Local(0), TRACK, 0, DURATION));
        hears.offer(TRACK, 1, &PACKET, true);
        assert!(!hears.handle_accepted(Local(1), TRACK, 1, DURATION), "it is told once");
        let mut hears = Hears::default();
        hears.offer(TRACK, 0, &PACKET, false);
        assert!(!hears.handle_accepted(Local(0), TRACK, 0, DURATION), "unicast says nothing of the group");
        hears.offer(TRACK, 1, &PACKET, true);
        assert!(!hears.handle_accepted(Local(0), TRACK, 1, 0), "nor does an order");
    }

    #[test]
    fn the_copy_that_comes_second_by_the_group_counts_if_it_is_the_same_bytes() {
        let mut hears = Hears::default();
        assert_eq!(hears.handle_copy(Local(0), &PACKET, DURATION), None);
        hears.offer(TRACK, 0, &PACKET, false);
        hears.handle_accepted(Local(0), TRACK, 0, DURATION);
        assert_eq!(hears.handle_copy(Local(1), &Bytes::from_static(b"forged"), DURATION), None);
        assert_eq!(hears.handle_copy(Local(1), &PACKET, DURATION), Some(true));
        assert_eq!(hears.handle_copy(Local(2), &PACKET, DURATION), Some(false));
    }

    #[test]
    fn silence_shows_300_ms_after_the_next_bunch_was_due() {
        let mut hears = Hears::default();
        hears.together(2);
        hears.offer(TRACK, 0, &PACKET, true);
        assert!(hears.handle_accepted(Local(0), TRACK, 0, DURATION));
        let due = Local(780 * MILLISECOND);
        assert_eq!(hears.poll_timeout(), Some(due));
        assert!(!hears.handle_timeout(Local(due.0 - 1)));
        assert!(hears.handle_timeout(due));
        assert_eq!(hears.poll_timeout(), None);
        hears.offer(TRACK, 9, &PACKET, true);
        assert!(hears.handle_accepted(Local(due.0 + 1), TRACK, 9, DURATION), "it may come back");
    }
}
