//! Bounds on what strangers can make this node keep.
use std::collections::HashMap;
use std::net::IpAddr;

/// Half-open handshakes of children, by their address.
#[derive(Debug, Default)]
pub struct Handshakes {
    by_address: HashMap<IpAddr, usize>,
    count: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    /// The address must prove itself first (RFC 9000 §8.1.2), which costs nothing to keep.
    Retry,
    Refuse,
}

impl Handshakes {
    /// What to do with a stranger. `proven`: its address has echoed a token.
    pub fn judge(&self, address: IpAddr, proven: bool) -> Verdict {
        let from_there = self.by_address.get(&address).copied().unwrap_or(0);
        if self.count >= HALF_OPEN || from_there >= HALF_OPEN_EACH {
            Verdict::Refuse
        } else if !proven && self.count >= HALF_OPEN_TRUSTING {
            Verdict::Retry
        } else {
            Verdict::Accept
        }
    }

    pub fn begin(&mut self, address: IpAddr) {
        *self.by_address.entry(address).or_default() += 1;
        self.count += 1;
    }

    /// Complete, failed or given up.
    pub fn end(&mut self, address: IpAddr) {
        let Some(count) = self.by_address.get_mut(&address) else { return };
        *count -= 1;
        self.count -= 1;
        if *count == 0 {
            self.by_address.remove(&address);
        }
    }

    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.count
    }
}

/// Half-open handshakes at once: each holds some 20 KiB for at most 5 s and costs half a millisecond.
pub const HALF_OPEN: usize = 256;
/// From here on an address must prove itself first, which costs nothing to keep.
const HALF_OPEN_TRUSTING: usize = 32;
/// From one address: carrier NAT puts many speakers behind it, but they don't all start in one instant.
const HALF_OPEN_EACH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_trusted_then_tried_then_refused() {
        let mut handshakes = Handshakes::default();
        let address = |number: usize| IpAddr::from([10, 0, (number >> 8) as u8, number as u8]);
        for number in 0..HALF_OPEN {
            let verdict = if number < HALF_OPEN_TRUSTING { Verdict::Accept } else { Verdict::Retry };
            assert_eq!(handshakes.judge(address(number), false), verdict);
            assert_eq!(handshakes.judge(address(number), true), Verdict::Accept);
            handshakes.begin(address(number));
        }
        assert_eq!(handshakes.judge(address(999), true), Verdict::Refuse);
        (0..HALF_OPEN).for_each(|number| handshakes.end(address(number)));
        assert!(handshakes.by_address.is_empty());
        (0..HALF_OPEN_EACH).for_each(|_| handshakes.begin(address(1)));
        assert_eq!(handshakes.judge(address(1), true), Verdict::Refuse);
        assert_eq!(handshakes.judge(address(2), true), Verdict::Accept);
    }
}
