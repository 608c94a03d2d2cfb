//! Packets held until those come that they leave together with, as `io` holds them.

use crate::track::{Packet, last_of_bunch};

/// One track's packets that wait.
pub(super) struct Bunch {
    together: u32,
    /// Bunches before this index have left: what comes of them still is a repair.
    left: u64,
    held: Vec<Packet>,
}

impl Bunch {
    pub fn new(together: u32) -> Self {
        Self { together, left: 0, held: Vec::new() }
    }

    /// What leaves now that this one is there.
    pub fn handle(&mut self, packet: Packet) -> Vec<Packet> {
        if packet.index < self.left {
            return vec![packet];
        }
        let last = last_of_bunch(packet.index, self.together);
        let older = self.held.first().is_some_and(|held| last_of_bunch(held.index, self.together) != last);
        let mut leaving = if older { self.flush() } else { Vec::new() };
        let whole = packet.index == last;
        self.held.push(packet);
        if whole {
            leaving.extend(self.flush());
        }
        leaving
    }

    pub fn flush(&mut self) -> Vec<Packet> {
        if let Some(newest) = self.held.last() {
            self.left = last_of_bunch(newest.index, self.together) + 1;
        }
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_wait_for_the_last_of_their_bunch_and_repairs_for_nobody() {
        let mut bunch = Bunch::new(4);
        let mut leave = |index| {
            let packet = Packet { index, bytes: Default::default() };
            bunch.handle(packet).iter().map(|packet| packet.index).collect::<Vec<_>>()
        };
        assert!([0, 2].map(&mut leave).concat().is_empty());
        assert_eq!(leave(3), [0, 2, 3]);
        assert_eq!(leave(1), [1]);
        assert!(leave(4).is_empty());
        assert_eq!(leave(9), [4]);
        assert_eq!(leave(7), [7]);
        assert_eq!(bunch.flush().len(), 1);
        assert_eq!(bunch.handle(Packet { index: 11, bytes: Default::default() }).len(), 1);
    }
}
