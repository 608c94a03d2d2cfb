//! Addresses that were told to wait a minute, and dial on: not another handshake is spent on them until it is over.
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Bounded: the eldest make room.
#[derive(Debug, Default)]
pub struct Shunned {
    /// How often each stands in `order`.
    ports: HashMap<SocketAddr, u32>,
    /// How many stand there for each.
    hosts: HashMap<IpAddr, usize>,
    order: VecDeque<(Instant, SocketAddr)>,
}

impl Shunned {
    pub fn add(&mut self, now: Instant, address: SocketAddr) {
        if self.order.len() >= MOST {
            self.forget_eldest();
        }
        *self.ports.entry(address).or_default() += 1;
        *self.hosts.entry(address.ip()).or_default() += 1;
        self.order.push_back((now + FOR, address));
    }

    /// Carrier NAT puts many behind one host: it is shunned as a whole only when very many of its ports are.
    pub fn has(&mut self, now: Instant, address: SocketAddr) -> bool {
        while self.order.front().is_some_and(|(until, _)| *until <= now) {
            self.forget_eldest();
        }
        self.ports.contains_key(&address) || self.hosts.get(&address.ip()).is_some_and(|ports| *ports > OF_ONE_HOST)
    }

    fn forget_eldest(&mut self) {
        let Some((_, address)) = self.order.pop_front() else { return };
        if let Some(count) = self.ports.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.ports.remove(&address);
            }
        }
        if let Some(count) = self.hosts.get_mut(&address.ip()) {
            *count -= 1;
            if *count == 0 {
                self.hosts.remove(&address.ip());
            }
        }
    }
}

/// What whoever comes too often is told to wait.
const FOR: Duration = Duration::from_secs(60);
/// Addresses remembered: 1 MiB of them.
const MOST: usize = 8_192;
const OF_ONE_HOST: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: u8, port: u16) -> SocketAddr {
        ([10, 0, 0, host], port).into()
    }

    #[test]
    fn whoever_was_told_to_wait_is_let_in_after_a_minute_and_its_neighbours_at_once() {
        let (mut shunned, now) = (Shunned::default(), Instant::now());
        shunned.add(now, address(1, 5));
        assert!(shunned.has(now, address(1, 5)));
        assert!(!shunned.has(now, address(1, 6)) && !shunned.has(now, address(2, 5)));
        shunned.add(now + FOR / 2, address(1, 5));
        assert!(shunned.has(now + FOR, address(1, 5)), "told again in the meantime");
        assert!(!shunned.has(now + FOR * 2, address(1, 5)));
        assert!(shunned.ports.is_empty() && shunned.hosts.is_empty() && shunned.order.is_empty());
    }

    #[test]
    fn a_host_that_comes_from_ever_new_ports_is_shunned_whole_and_memory_is_bounded() {
        let (mut shunned, now) = (Shunned::default(), Instant::now());
        (0..=OF_ONE_HOST as u16).for_each(|port| shunned.add(now, address(1, port)));
        assert!(shunned.has(now, address(1, 60_000)) && !shunned.has(now, address(2, 60_000)));
        (0..3 * MOST).for_each(|number| shunned.add(now, address(3, number as u16)));
        assert!(shunned.order.len() <= MOST && shunned.ports.len() <= MOST);
    }
}
