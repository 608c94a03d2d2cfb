//! Bounded queues between the threads of a node. A full queue drops what may be lost, keeps what may
//! not in a second bounded place, and counts both.
use super::wake::Waker;
use crossbeam_channel as channel;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many times its capacity a queue keeps of what must not be lost, on the sender's side: enough
/// for a thread that stalls for a second at start-up, small enough to notice one that never returns.
const PATIENCE: usize = 8;

/// A queue's number of drops, readable by metrics under the queue's name.
#[derive(Clone, Debug)]
pub struct Drops {
    pub queue: &'static str,
    count: Arc<AtomicU64>,
}

impl Drops {
    /// Of a place that is no queue between threads, and drops all the same.
    pub fn new(queue: &'static str) -> Self {
        Self { queue, count: Arc::default() }
    }

    pub fn add(&self, count: u64) {
        self.count.fetch_add(count, Ordering::Relaxed);
    }

    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

/// One producer's end. Clones have their own place for late items.
#[derive(Debug)]
pub struct Sender<T> {
    channel: channel::Sender<T>,
    late: VecDeque<T>,
    limit: usize,
    waker: Option<Waker>,
    drops: Drops,
}

/// A queue of `capacity`; `waker` wakes the thread that reads it.
pub fn bounded<T>(queue: &'static str, capacity: usize, waker: Option<Waker>) -> (Sender<T>, channel::Receiver<T>) {
    let (sender, receiver) = channel::bounded(capacity);
    let drops = Drops::new(queue);
    let limit = capacity.saturating_mul(PATIENCE);
    (Sender { channel: sender, late: VecDeque::new(), limit, waker, drops }, receiver)
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self {
            channel: self.channel.clone(),
            late: VecDeque::new(),
            limit: self.limit,
            waker: self.waker.clone(),
            drops: self.drops.clone(),
        }
    }
}

impl<T> Sender<T> {
    /// For what may be lost: false, and counted, when the queue is full or something is late (order
    /// is kept).
    pub fn offer(&self, item: T) -> bool {
        if self.late.is_empty() && self.channel.try_send(item).is_ok() {
            self.wake();
            return true;
        }
        self.drops.add(1);
        false
    }

    /// For what must not be lost: kept, in order, while the queue is full. False only when that place
    /// is full too; then it is counted.
    pub fn send(&mut self, item: T) -> bool {
        if self.late.is_empty() {
            match self.channel.try_send(item) {
                Ok(()) => self.wake(),
                Err(channel::TrySendError::Full(item)) => self.late.push_back(item),
                // The reader has stopped; nothing is owed to it.
                Err(channel::TrySendError::Disconnected(_)) => return false,
            }
            return true;
        }
        if self.late.len() >= self.limit {
            self.drops.add(1);
            return false;
        }
        self.late.push_back(item);
        self.flush();
        true
    }

    /// Hands late items over as room appears. True while some are left: call again within
    /// milliseconds.
    pub fn flush(&mut self) -> bool {
        let mut moved = false;
        while let Some(item) = self.late.pop_front() {
            match self.channel.try_send(item) {
                Ok(()) => moved = true,
                Err(channel::TrySendError::Full(item)) => {
                    self.late.push_front(item);
                    break;
                }
                Err(channel::TrySendError::Disconnected(_)) => self.late.clear(),
            }
        }
        if moved {
            self.wake();
        }
        !self.late.is_empty()
    }

    /// Blocks until there is room: only for a thread on which nobody waits. False when the reader has
    /// stopped.
    pub fn wait(&self, item: T) -> bool {
        let sent = self.channel.send(item).is_ok();
        self.wake();
        sent
    }

    pub fn drops(&self) -> Drops {
        self.drops.clone()
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_what_may_be_lost_and_counts_it() {
        let (sender, receiver) = bounded("test", 2, None);
        assert!(sender.offer(1) && sender.offer(2));
        assert!(!sender.offer(3));
        assert_eq!(sender.drops().count(), 1);
        assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn what_must_not_be_lost_waits_in_order() {
        let (mut sender, receiver) = bounded("test", 1, None);
        for item in 0..4 {
            assert!(sender.send(item));
        }
        assert!(!sender.offer(9), "nothing overtakes what is late");
        let mut seen = Vec::new();
        while let Ok(item) = receiver.try_recv() {
            seen.push(item);
            sender.flush();
        }
        assert_eq!(seen, [0, 1, 2, 3]);
    }

    #[test]
    fn the_second_place_is_bounded_too() {
        let (mut sender, _receiver) = bounded("test", 1, None);
        assert_eq!((0..20).filter(|item| sender.send(*item)).count(), 1 + PATIENCE);
        assert_eq!(sender.drops().count(), 20 - 1 - PATIENCE as u64);
    }
}
