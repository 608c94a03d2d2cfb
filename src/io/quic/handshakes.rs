//! Bounds on what strangers can make this node keep.
use std::collections::HashMap;
use std::net::IpAddr;

/// Handshakes of children, by their address: half-open, and those that wait for their turn.
#[derive(Debug, Default)]
pub struct Handshakes {
    by_address: HashMap<IpAddr, Each>,
    open: usize,
    waiting: usize,
}

#[derive(Debug, Default)]
struct Each {
    open: usize,
    waiting: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Gets its turn when there is time and room.
    Wait,
    /// The address must prove itself first (RFC 9000 §8.1.2), which costs nothing to keep.
    Retry,
    Refuse,
}

impl Handshakes {
    /// What to do with a stranger. `proven`: its address has echoed a token.
    pub fn judge(&self, address: IpAddr, proven: bool) -> Verdict {
        let from_there = self.by_address.get(&address).map_or(0, |each| each.waiting);
        if self.waiting >= WAITING || from_there >= WAITING_EACH {
            Verdict::Refuse
        } else if !proven && self.open + self.waiting >= TRUSTING {
            Verdict::Retry
        } else {
            Verdict::Wait
        }
    }

    /// Whether one more may be half-open.
    pub fn has_room(&self, address: IpAddr) -> bool {
        let from_there = self.by_address.get(&address).map_or(0, |each| each.open);
        self.open < HALF_OPEN && from_there < HALF_OPEN_EACH
    }

    /// Whether nobody has room.
    pub fn is_full(&self) -> bool {
        self.open >= HALF_OPEN
    }

    pub fn wait(&mut self, address: IpAddr) {
        self.by_address.entry(address).or_default().waiting += 1;
        self.waiting += 1;
    }

    /// Waits no more.
    pub fn leave(&mut self, address: IpAddr) {
        self.change(address, |each| &mut each.waiting);
        self.waiting = self.waiting.saturating_sub(1);
    }

    pub fn begin(&mut self, address: IpAddr) {
        self.by_address.entry(address).or_default().open += 1;
        self.open += 1;
    }

    /// Complete, failed or given up.
    pub fn end(&mut self, address: IpAddr) {
        self.change(address, |each| &mut each.open);
        self.open = self.open.saturating_sub(1);
    }

    pub fn open(&self) -> usize {
        self.open
    }

    fn change(&mut self, address: IpAddr, which: impl Fn(&mut Each) -> &mut usize) {
        let Some(each) = self.by_address.get_mut(&address) else { return };
        let count = which(each);
        *count = count.saturating_sub(1);
        if each.open + each.waiting == 0 {
            self.by_address.remove(&address);
        }
    }
}

/// Half-open handshakes at once: each holds some 20 KiB for at most 5 s and costs half a millisecond.
const HALF_OPEN: usize = 256;
/// From here on an address must prove itself first, which costs nothing to keep.
const TRUSTING: usize = 32;
/// Half-open from one address: carrier NAT puts many speakers behind it, and the others of them wait.
const HALF_OPEN_EACH: usize = 64;
/// First packets that wait: what one core shakes hands with in a second or two, so that nobody who waits
/// has given up; each holds 3 KiB.
pub const WAITING: usize = 1_024;
/// Of these from one address: half, so that those behind one NAT don't shut all others out.
const WAITING_EACH: usize = WAITING / 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: usize) -> IpAddr {
        IpAddr::from([10, 0, (number >> 8) as u8, number as u8])
    }

    #[test]
    fn strangers_are_trusted_then_tried_and_beyond_what_may_be_half_open_they_wait() {
        let mut handshakes = Handshakes::default();
        for number in 0..HALF_OPEN {
            let verdict = if number < TRUSTING { Verdict::Wait } else { Verdict::Retry };
            assert_eq!(handshakes.judge(address(number), false), verdict);
            assert_eq!(handshakes.judge(address(number), true), Verdict::Wait);
            assert!(handshakes.has_room(address(number)));
            handshakes.begin(address(number));
        }
        assert!(!handshakes.has_room(address(999)));
        assert_eq!(handshakes.judge(address(999), true), Verdict::Wait);
        (0..HALF_OPEN).for_each(|number| handshakes.end(address(number)));
        assert!(handshakes.by_address.is_empty());
    }

    #[test]
    fn one_address_can_fill_neither_what_is_half_open_nor_what_waits() {
        let mut handshakes = Handshakes::default();
        (0..HALF_OPEN_EACH).for_each(|_| handshakes.begin(address(1)));
        assert!(!handshakes.has_room(address(1)) && handshakes.has_room(address(2)));
        (0..WAITING_EACH).for_each(|_| handshakes.wait(address(1)));
        assert_eq!(handshakes.judge(address(1), true), Verdict::Refuse);
        assert_eq!(handshakes.judge(address(2), true), Verdict::Wait);
        (WAITING_EACH..WAITING).for_each(|number| handshakes.wait(address(number)));
        assert_eq!(handshakes.judge(address(2), true), Verdict::Refuse);
        (WAITING_EACH..WAITING).for_each(|number| handshakes.leave(address(number)));
        (0..WAITING_EACH).for_each(|_| handshakes.leave(address(1)));
        (0..HALF_OPEN_EACH).for_each(|_| handshakes.end(address(1)));
        assert!(handshakes.by_address.is_empty());
    }
}
