//! What a crowd of listeners heard since it was last asked: packets, bytes on the wire, delays, who.
use std::sync::Mutex;
use std::time::Duration;

/// Shared between the one who listens and the one who asks.
#[derive(Debug, Default)]
pub struct Heard(Mutex<Tally>);

#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Packets, pages, chunks or frames of the stated duration.
    pub packets: u64,
    /// With the headers of IP and UDP or TCP, towards the listeners.
    pub bytes: u64,
    /// How many listeners got anything.
    pub listeners: usize,
    pub delays: Delays,
}

impl Heard {
    pub fn add(&self, tally: &Tally) {
        let mut held = self.0.lock().expect("nobody panics with the tally in hand");
        held.packets += tally.packets;
        held.bytes += tally.bytes;
        held.listeners += tally.listeners;
        held.delays.merge(&tally.delays);
    }

    /// How many listeners were heard since the tally was taken.
    pub fn listeners(&self) -> usize {
        self.0.lock().expect("nobody panics with the tally in hand").listeners
    }

    /// What came since it was taken last.
    pub fn take(&self) -> Tally {
        std::mem::take(&mut *self.0.lock().expect("nobody panics with the tally in hand"))
    }
}

/// Delays by the millisecond.
#[derive(Clone, Debug, Default)]
pub struct Delays(Vec<u64>);

impl Delays {
    pub fn add(&mut self, milliseconds: u64, count: u64) {
        let at = milliseconds.min(LONGEST) as usize;
        if self.0.len() <= at {
            self.0.resize(at + 1, 0);
        }
        self.0[at] += count;
    }

    pub fn merge(&mut self, other: &Self) {
        for (at, count) in other.0.iter().enumerate().filter(|(_, count)| **count > 0) {
            self.add(at as u64, *count);
        }
    }

    pub fn clear(&mut self) {
        self.0.fill(0);
    }

    /// The delay in ms that such a part of all stays within.
    pub fn within(&self, part: f64) -> Option<u64> {
        let wanted = (self.0.iter().sum::<u64>() as f64 * part).ceil() as u64;
        let mut seen = 0;
        self.0
            .iter()
            .position(|count| {
                seen += count;
                seen > 0 && seen >= wanted
            })
            .map(|at| at as u64)
    }
}

/// A clock that all processes of the machine share.
pub fn clock() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of ours.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    assert_eq!(result, 0, "Linux has a monotonic clock");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// ms that are told apart; what is later counts as this.
const LONGEST: u64 = 60_000;
