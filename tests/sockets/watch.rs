//! Whether the machine lets threads run when their time has come.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A thread that does nothing but sleep, and measures how much longer it slept than it asked for.
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl Watch {
    pub fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let ended = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut longest = Duration::ZERO;
            while !ended.load(Ordering::Relaxed) {
                let asleep = Instant::now();
                std::thread::sleep(SLEEP);
                longest = longest.max(asleep.elapsed().saturating_sub(SLEEP));
            }
            longest
        });
        Self { stop, thread }
    }

    /// The longest that the thread was held up.
    pub fn stop(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

const SLEEP: Duration = Duration::from_millis(5);
