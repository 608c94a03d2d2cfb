//! What the tool asks of the machine: cores, files, CPU and memory of processes, and whether somebody pressed
//! Ctrl-C.
use crate::failure::{Failure, Result};
use crate::outcome::Machine;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

/// User and system CPU of a process and all its threads so far, seconds; children that it waited for are not in it.
pub fn cpu_s(process: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name may hold spaces and brackets; the fields count from behind it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    // SAFETY: sysconf takes no pointer.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1);
    Some((ticks(USER)? + ticks(SYSTEM)?) as f64 / per_second as f64)
}

/// Resident memory, KiB.
pub fn rss_kib(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// Whether the machine has these cores.
pub fn check_cores(cores: &[usize]) -> Result<()> {
    let there = std::thread::available_parallelism().map_or(1, usize::from);
    match cores.iter().find(|core| **core >= there) {
        None => Ok(()),
        Some(core) => Err(Failure::usage(format!("core {core} is not there: this machine has 0 to {}", there - 1))),
    }
}

/// A child process that stays on `cores`, is not reached by the terminal's Ctrl-C, and ends with us, however we end.
/// To be spawned by a thread that lives as long as the child shall.
pub fn tame(command: &mut Command, cores: &[usize]) {
    let (cores, parent) = (cores.to_vec(), std::process::id());
    command.process_group(0);
    // SAFETY: between fork and exec only system calls are made and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) < 0 {
                return Err(io::Error::last_os_error());
            }
            // We may have ended before the line above.
            if libc::getppid() as u32 != parent {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            pin_here(&cores)
        });
    }
}

fn pin_here(cores: &[usize]) -> io::Result<()> {
    if cores.is_empty() {
        return Ok(());
    }
    // SAFETY: cpu_set_t is plain bits; the set and its size are ours. CPU_SET ignores what lies beyond it.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        cores.iter().filter(|core| **core < libc::CPU_SETSIZE as usize).for_each(|core| libc::CPU_SET(*core, &mut set));
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// From now on Ctrl-C and SIGTERM end nothing by themselves: [`interrupted`] tells.
pub fn watch_interrupt() {
    extern "C" fn note(_: libc::c_int) {
        INTERRUPTED.store(true, Ordering::Relaxed);
    }
    let handler = note as extern "C" fn(libc::c_int);
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler only stores into an atomic.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

/// Whether somebody wants this to end.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

impl Machine {
    pub fn read() -> Self {
        let text = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let memory = field(&text("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let kib = memory.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0);
        Self {
            processor: field(&text("/proc/cpuinfo"), "model name").unwrap_or_else(|| std::env::consts::ARCH.into()),
            cores: std::thread::available_parallelism().map_or(1, usize::from) as u64,
            memory_mib: kib / 1_024,
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// Of `/proc/PID/stat`, counted from behind the name.
const USER: usize = 11;
const SYSTEM: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_cpu_and_memory_and_one_that_is_gone_has_none() {
        let own = std::process::id();
        let before = cpu_s(own).unwrap();
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        // Ten ms is the clock's tick.
        while cpu_s(own).unwrap() < before + 0.02 {
            assert!(std::time::Instant::now() < until, "no CPU is counted");
        }
        assert!(rss_kib(own).unwrap() > 500);
        assert_eq!((cpu_s(u32::MAX), rss_kib(u32::MAX)), (None, None));
        assert!(Machine::read().memory_mib > 0);
    }

    #[test]
    fn a_child_stays_on_its_core() {
        let mut command = Command::new("cat");
        command.arg("/proc/self/status");
        tame(&mut command, &[0]);
        let status = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
        assert_eq!(allowed.trim(), "0");
        assert!(check_cores(&[100_000]).unwrap_err().to_string().contains("core 100000 is not there"));
    }
}
