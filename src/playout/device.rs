//! The sound card's clock against the node's oscillator.
use crate::time::Local;

/// A report of the sound thread, about every 50 ms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Device {
    pub at: Local,
    /// Frames that have left the device since it started.
    pub played: f64,
    /// Frames of silence the device inserted because no step was there (in total).
    pub inserted: u64,
    /// Steps taken in so far: `Step::number` of the next one it expects.
    pub steps: u64,
}

/// Fits `played` against `at`.
#[derive(Debug, Default)]
pub struct DeviceClock {}

impl DeviceClock {
    pub fn handle_device(&mut self, _device: &Device) {
        todo!()
    }

    /// Local time at which device frame `frame` leaves.
    pub fn leaves(&self, _frame: f64) -> Option<Local> {
        todo!()
    }

    /// Device frame that leaves at `local`.
    pub fn frame(&self, _local: Local) -> Option<f64> {
        todo!()
    }

    /// Frames per second of local time, near 48,000.
    pub fn rate(&self) -> f64 {
        todo!()
    }
}
