//! Bytes that wait for peers to acknowledge them: in our queues and inside QUIC alike, because each
//! buffer counts itself off when the last of them lets it go.
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// Of all links of one socket.
#[derive(Debug, Default)]
pub struct Ledger {
    all: Arc<AtomicUsize>,
}

/// Of one link.
#[derive(Debug)]
pub struct Account {
    held: AtomicUsize,
    /// The link is down: what it still holds goes with its connection and counts no more.
    closed: AtomicBool,
    all: Arc<AtomicUsize>,
}

struct Held {
    bytes: Bytes,
    account: Arc<Account>,
}

impl Ledger {
    pub fn open(&self) -> Arc<Account> {
        Arc::new(Account { held: AtomicUsize::new(0), closed: AtomicBool::new(false), all: self.all.clone() })
    }

    pub fn held(&self) -> usize {
        self.all.load(Relaxed)
    }
}

impl Account {
    pub fn hold(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        let cost = bytes.len() + OVERHEAD;
        self.held.fetch_add(cost, Relaxed);
        if !self.closed.load(Relaxed) {
            self.all.fetch_add(cost, Relaxed);
        }
        Bytes::from_owner(Held { bytes, account: self.clone() })
    }

    pub fn held(&self) -> usize {
        self.held.load(Relaxed)
    }

    pub fn close(&self) {
        if !self.closed.swap(true, Relaxed) {
            self.all.fetch_sub(self.held(), Relaxed);
        }
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let cost = self.bytes.len() + OVERHEAD;
        self.account.held.fetch_sub(cost, Relaxed);
        if !self.account.closed.load(Relaxed) {
            self.account.all.fetch_sub(cost, Relaxed);
        }
    }
}

/// What the smallest message takes besides its bytes: two allocations and a place in a queue.
const OVERHEAD: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_until_the_last_holder_lets_go_or_the_link_ends() {
        let ledger = Ledger::default();
        let (one, two) = (ledger.open(), ledger.open());
        let bytes = one.hold(Bytes::from_static(&[0; 1_000]));
        let other = two.hold(Bytes::from_static(&[0; 10]));
        let part = bytes.slice(990..);
        drop(bytes);
        assert_eq!((one.held(), ledger.held()), (1_128, 1_266));
        two.close();
        assert_eq!(ledger.held(), 1_128);
        drop((part, other));
        two.close();
        assert_eq!((one.held(), two.held(), ledger.held()), (0, 0, 0));
    }
}
