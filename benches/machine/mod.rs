//! What the side-by-side benchmarks ask of the machine: a core for a thread, the CPU that a thread has
//! used, file descriptors, the memory of a process.
#![allow(dead_code, reason = "each benchmark uses its part")]

use std::time::Duration;

/// Whether to show only that the benchmark works.
pub fn short() -> bool {
    std::env::var("LOA_BENCH_SHORT").is_ok_and(|value| value != "0")
}

/// A whole number from the environment.
pub fn number(name: &str) -> Option<usize> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a whole number")))
}

/// Keeps the calling thread on one core; a machine that lacks it says so and runs on.
pub fn pin(core: usize) {
    allow(core..core + 1);
}

/// Lets the calling thread and its children run on every core again.
pub fn unpin() {
    allow(0..libc::CPU_SETSIZE as usize);
}

fn allow(cores: std::ops::Range<usize>) {
    let first = cores.start;
    // SAFETY: cpu_set_t is plain bits; the set and its size are ours.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        cores.for_each(|core| libc::CPU_SET(core, &mut set));
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if result < 0 {
        println!("core {first} is not there: the threads share what is");
    }
}

/// User and system CPU of the calling thread, with the kernel's work for its sends.
pub fn thread_cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of ours.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0, "Linux has a CPU clock for each thread");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// User and system CPU of all children that have been waited for, and of theirs.
pub fn children_cpu() -> Duration {
    // SAFETY: rusage is plain numbers, and the pointer is to one of ours.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    let of = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1_000);
    of(usage.ru_utime) + of(usage.ru_stime)
}

/// Raises the limit of open files as far as it goes, and says how far.
pub fn raise_files() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to an rlimit of ours, both times.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
    }
    limit.rlim_cur as usize
}

/// Resident memory of a process, KiB.
pub fn resident(process: u32) -> u64 {
    let file = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    number.and_then(|number| number.trim().parse().ok()).unwrap_or_else(|| panic!("{file} has no VmRSS: {status}"))
}

pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}
