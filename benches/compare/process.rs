//! The server under test: a process of its own on core 0, which ends with this one.
use super::machine::pin;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts it with a pipe to its standard input; what it says goes to the log.
    pub fn start(mut command: Command, log: &Path) -> Result<Self, String> {
        let name = command.get_program().to_string_lossy().into_owned();
        let file = File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
        let second = file.try_clone().map_err(|error| format!("{}: {error}", log.display()))?;
        command.stdin(Stdio::piped()).stdout(file).stderr(second);
        end_with_parent(&mut command);
        // A child inherits the core of the thread that starts it.
        pin(0);
        let child = command.spawn();
        pin(1);
        let child = child.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => format!("{name} is not installed: tools/compare installs it"),
            _ => format!("{name}: {error}"),
        })?;
        Ok(Self { child, log: log.to_owned() })
    }

    pub fn input(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// User and system CPU of all its threads, with the kernel's work for its sends; to the nanosecond, where
    /// /proc/PID/stat counts hundredths of a second.
    pub fn cpu(&mut self) -> Result<Duration, String> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Err(format!("it ended, {status}: {}", self.last_words()));
        }
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let mut clock = 0;
        // SAFETY: both pointers are to values of ours; the process is our child and not waited for, so its
        // number is nobody else's.
        let read = unsafe {
            libc::clock_getcpuclockid(self.child.id() as libc::pid_t, &raw mut clock) == 0
                && libc::clock_gettime(clock, &raw mut time) == 0
        };
        if !read {
            return Err(format!("its CPU clock can't be read: {}", io::Error::last_os_error()));
        }
        Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
    }

    /// Tries until it works; ends early when the process does.
    pub fn until<T>(&mut self, what: &str, mut attempt: impl FnMut() -> Option<T>) -> Result<T, String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(value) = attempt() {
                return Ok(value);
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("it ended before {what}, {status}: {}", self.last_words()));
            }
            if Instant::now() > deadline {
                return Err(format!("no {what} within {} s: {}", PATIENCE.as_secs(), self.last_words()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn last_words(&self) -> String {
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
        format!("{last} ({})", self.log.display())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Nothing that a benchmark starts may outlive it.
pub fn end_with_parent(command: &mut Command) {
    // SAFETY: between fork and exec only prctl is called, which is a bare system call and takes no pointer.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
}

/// How long a server may take to open its port, and a crowd to hear something.
pub const PATIENCE: Duration = Duration::from_secs(60);
