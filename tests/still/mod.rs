//! Whether the machine lets threads run when their time has come; what is tested in real time counts only if it does.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A failure counts only if the machine let the threads run: a loudspeaker whose process stands still for
/// longer than its horizon falls silent, rightly, and proves nothing about its network.
pub fn holds(name: &str, run: impl Fn()) -> bool {
    for attempt in 1..=ATTEMPTS {
        let watch = Watch::start();
        let held = catch_unwind(AssertUnwindSafe(&run)).is_ok();
        let stood_still = watch.stop();
        if held {
            return true;
        }
        eprintln!("{name}, attempt {attempt}: the machine held threads up for {stood_still:?} at most");
        if stood_still < STOOD_STILL {
            return false;
        }
    }
    false
}

/// A thread that does nothing but sleep, and measures how much longer it slept than it asked for.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl Watch {
    fn start() -> Self {
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
    fn stop(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

const SLEEP: Duration = Duration::from_millis(5);
/// A speaker plans 100 ms ahead, and its card is served each 10 ms: what a thread waits beyond its sleep
/// comes on top of both, and of everything between.
const STOOD_STILL: Duration = Duration::from_millis(30);
const ATTEMPTS: u32 = 3;
