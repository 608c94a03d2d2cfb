//! What one piece of work took of memory and time, and what the decoders are allowed.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Duration;

/// Runs `work` alone among all tests here; panics if it panics, takes too much memory or too much time.
/// `case` is only for messages.
pub fn bounded<T>(case: &str, work: impl FnOnce() -> T) -> T {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let before = NOW.get();
    MOST.set(before);
    let started = processor_time();
    let done = catch_unwind(AssertUnwindSafe(work));
    let took = processor_time().saturating_sub(started);
    let memory = MOST.get().saturating_sub(before);
    let Ok(done) = done else { panic!("{case}: panicked") };
    assert!(memory <= MEMORY, "{case}: {memory} bytes asked for at once, {MEMORY} allowed");
    assert!(took <= TIME, "{case}: {took:?} of processor time, {TIME:?} allowed");
    done
}

/// Bytes beside the file itself and the samples given out: a decoder's tables, and titles and pictures of at
/// most 32 MiB, which a demuxer may hold twice while it grows a buffer.
pub const MEMORY: isize = 80 << 20;
/// Of one core, in a build without all optimisations; the longest cases read through 64 MiB.
pub const TIME: Duration = Duration::from_secs(10);

/// What this thread has used of the processor; other programs on the machine don't count.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec for the call to write.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

thread_local! {
    // What this thread asked for, less what it gave back; other tests don't count. Below zero where it gives back what
    // another one asked for.
    static NOW: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Counts what is asked for, touched or not: what a claim in a header makes a decoder reserve counts in full.
struct Counting;

// SAFETY: everything is passed on to the system's allocator, with the caller's own layout.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller keeps the contract of the same call.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: as above.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller keeps the contract of the same call.
        unsafe { System.alloc_zeroed(layout) }
    }

    // SAFETY: as above.
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        add(size);
        take(layout.size());
        // SAFETY: the caller keeps the contract of the same call.
        unsafe { System.realloc(pointer, layout, size) }
    }

    // SAFETY: as above.
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        take(layout.size());
        // SAFETY: the caller keeps the contract of the same call.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Neither has a destructor, so they are there for as long as their thread.
fn add(size: usize) {
    let now = NOW.get().saturating_add_unsigned(size);
    NOW.set(now);
    MOST.set(MOST.get().max(now));
}

fn take(size: usize) {
    NOW.set(NOW.get().saturating_sub_unsigned(size));
}
