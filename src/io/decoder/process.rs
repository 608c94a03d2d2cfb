//! A process that is given little and trusted with nothing.
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// What a process may take; the kernel holds it to that.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of address space.
    pub memory: u64,
    /// Seconds of computing; `None` for what lasts as long as its stream.
    pub seconds: Option<u64>,
    /// Descriptors open at once.
    pub descriptors: u64,
    /// 0 to 19: how far behind others it stands.
    pub nice: i32,
}

/// A running process; dropped, it and all it started are killed, and it is reaped.
pub struct Process {
    child: Child,
    output: Option<File>,
    words: Option<PipeReader>,
    /// The last that it said on standard error.
    tail: Vec<u8>,
}

/// What came of a read.
#[derive(Debug, PartialEq, Eq)]
pub enum Got {
    Bytes(usize),
    End,
    /// Nothing within the time given.
    Silence,
}

impl Limits {
    /// Of Loa's own decoder over a file of so many bytes.
    pub fn of_file(bytes: u64) -> Self {
        let seconds = LEAST_SECONDS + (bytes >> 20) * SECONDS_PER_MIB;
        Self { memory: MEMORY, seconds: Some(seconds.min(MOST_SECONDS)), descriptors: 16, nice: BEHIND }
    }

    /// Of Loa's own decoder over live sound, which waits for nobody.
    pub fn of_stream() -> Self {
        Self { memory: MEMORY, seconds: None, descriptors: 16, nice: 0 }
    }

    /// Of a foreign decoder, with its many libraries.
    pub fn of_foreign(bytes: u64) -> Self {
        Self { memory: FOREIGN_MEMORY, descriptors: 64, ..Self::of_file(bytes) }
    }

    /// In the child, between fork and exec.
    fn impose(&self, parent: u32) -> io::Result<()> {
        let limits = [
            (libc::RLIMIT_AS, Some(self.memory)),
            (libc::RLIMIT_CPU, self.seconds),
            // It writes into pipes alone.
            (libc::RLIMIT_FSIZE, Some(0)),
            (libc::RLIMIT_NOFILE, Some(self.descriptors)),
            (libc::RLIMIT_CORE, Some(0)),
        ];
        for (resource, limit) in limits {
            let Some(limit) = limit else { continue };
            // At the hard limit of computing comes SIGKILL, which doesn't say why; at the soft one, SIGXCPU.
            let above = if resource == libc::RLIMIT_CPU { 5 } else { 0 };
            let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit + above };
            // SAFETY: `limit` is a whole rlimit that lives across the call.
            check(unsafe { libc::setrlimit(resource, &limit) })?;
        }
        // SAFETY: these options of prctl take numbers alone; the unused ones must be 0.
        check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
        // SAFETY: as above.
        check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) })?;
        // SAFETY: getppid takes nothing and can't fail.
        if unsafe { libc::getppid() } as u32 != parent {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if self.nice > 0 {
            // SAFETY: takes numbers alone; 0 is the caller.
            check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, self.nice) })?;
        }
        Ok(())
    }
}

impl Process {
    pub fn spawn(program: &Path, arguments: &[OsString], input: Stdio, limits: Limits) -> io::Result<Self> {
        let (output, into) = io::pipe()?;
        let (words, speak) = io::pipe()?;
        // Fewer changes between two processes; without the right to it, a pipe of 64 KiB serves as well.
        // SAFETY: F_SETPIPE_SZ takes a number; the descriptor is open here.
        let _ = unsafe { libc::fcntl(output.as_raw_fd(), libc::F_SETPIPE_SZ, PIPE) };
        // Nobody may wait on words: what has no room is lost.
        unblock(words.as_raw_fd())?;
        unblock(speak.as_raw_fd())?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().stdin(input).stdout(into).stderr(speak).process_group(0);
        let parent = std::process::id();
        // SAFETY: between fork and exec `impose` makes system calls alone, and an error of its own carries no
        // allocation.
        unsafe { command.pre_exec(move || limits.impose(parent)) };
        let child = command.spawn()?;
        // `command`, with its own ends of the pipes, goes here: the child's are then the only ones.
        drop(command);
        let output = File::from(OwnedFd::from(output));
        Ok(Self { child, output: Some(output), words: Some(words), tail: Vec::new() })
    }

    /// Its standard output, for another process to read; from then on [`Process::read`] gives the end.
    pub fn take_output(&mut self) -> Option<File> {
        self.output.take()
    }

    /// Waits for output, at most so long.
    pub fn read(&mut self, buffer: &mut [u8], patience: Duration) -> io::Result<Got> {
        let until = Instant::now() + patience;
        loop {
            let Some(output) = &mut self.output else { return Ok(Got::End) };
            let left = until.saturating_duration_since(Instant::now());
            let [output_ready, words_ready] = wait(output.as_raw_fd(), self.words.as_ref(), left)?;
            if output_ready {
                return match output.read(buffer) {
                    Ok(0) => Ok(Got::End),
                    Ok(count) => Ok(Got::Bytes(count)),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => Err(error),
                };
            }
            if words_ready {
                self.listen();
            } else if left.is_zero() {
                return Ok(Got::Silence);
            }
        }
    }

    /// How it ended; killed if it doesn't within a second.
    pub fn end(&mut self) -> io::Result<ExitStatus> {
        self.output = None;
        let until = Instant::now() + LEAVING;
        loop {
            self.listen();
            if let Some(status) = self.child.try_wait()? {
                self.listen();
                return Ok(status);
            }
            if Instant::now() >= until {
                self.kill();
                return self.child.wait();
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Seconds of computing so far; 0 when it has gone.
    pub fn seconds(&self) -> f64 {
        let mut clock = 0;
        // SAFETY: the out parameter is a clock id that lives across the call; the pid is of a child not yet reaped.
        if unsafe { libc::clock_getcpuclockid(self.child.id() as libc::pid_t, &mut clock) } != 0 {
            return 0.0;
        }
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the out parameter is a timespec that lives across the call.
        match unsafe { libc::clock_gettime(clock, &mut time) } {
            0 => time.tv_sec as f64 + time.tv_nsec as f64 / 1e9,
            _ => 0.0,
        }
    }

    /// The last that it said on standard error, on one line.
    pub fn tail(&mut self) -> String {
        self.listen();
        let text = String::from_utf8_lossy(&self.tail);
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        super::message::plain(&lines[lines.len().saturating_sub(3)..].join("; "))
    }

    #[cfg(test)]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Takes in what was said on standard error, without waiting.
    pub fn listen(&mut self) {
        let mut buffer = [0; 4_096];
        while let Some(words) = &mut self.words {
            match words.read(&mut buffer) {
                Ok(0) => self.words = None,
                Ok(count) => {
                    self.tail.extend_from_slice(&buffer[..count]);
                    self.tail.drain(..self.tail.len().saturating_sub(TAIL));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.words = None,
            }
        }
    }

    fn kill(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // SAFETY: takes numbers alone; the child isn't reaped, so the group is still its own.
            unsafe { libc::kill(-(self.child.id() as libc::pid_t), libc::SIGKILL) };
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
        if !self.tail.is_empty() {
            tracing::debug!(process = self.child.id(), "a decoder said: {}", self.tail());
        }
    }
}

/// What ended a process, for people.
pub fn ending(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(libc::SIGXCPU), _) => "took all the computing time it may".into(),
        (Some(libc::SIGABRT), _) => "gave up (signal 6)".into(),
        (Some(signal), _) => format!("was ended by signal {signal}"),
        (None, Some(code)) => format!("ended with exit code {code}"),
        (None, None) => "ended".into(),
    }
}

/// Which of two descriptors can be read, or have no more to come.
fn wait(first: RawFd, second: Option<&PipeReader>, left: Duration) -> io::Result<[bool; 2]> {
    let second = second.map_or(-1, AsRawFd::as_raw_fd);
    let mut wanted = [first, second].map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    let millis = left.as_millis().min(i32::MAX as u128 - 1) as libc::c_int;
    // SAFETY: the pointer and the count are of one array that lives across the call.
    match unsafe { libc::poll(wanted.as_mut_ptr(), 2, millis + 1) } {
        -1 => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok([false, false]),
            error => Err(error),
        },
        _ => Ok(wanted.map(|one| one.revents != 0)),
    }
}

fn unblock(fd: RawFd) -> io::Result<()> {
    // SAFETY: F_SETFL takes a number; the descriptor is open at the caller's.
    check(unsafe { libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Bytes of address space: the program itself takes some 60 MiB, titles and pictures 32, a decoder's tables
/// under 10; the rest is for what nobody thought of.
pub const MEMORY: u64 = 512 << 20;
/// ffmpeg with all its libraries maps some 300 MiB before it begins.
const FOREIGN_MEMORY: u64 = 1 << 30;
/// Seconds of computing that any file may take, and more for each MiB: Opus at 6 kb/s is 23 minutes in one,
/// which take some two.
const LEAST_SECONDS: u64 = 60;
const SECONDS_PER_MIB: u64 = 10;
/// The longest recording accepted by default, four hours, decodes in a hundredth of it.
const MOST_SECONDS: u64 = 3_600;
/// So far that sound on its way out is not disturbed.
const BEHIND: i32 = 10;
/// Bytes.
const PIPE: libc::c_int = 1 << 20;
/// Bytes kept of what a process said.
const TAIL: usize = 4_096;
/// For a process to go after its last word.
const LEAVING: Duration = Duration::from_secs(1);
/// Between two looks whether it has gone: its closed outputs say that it is about to.
const LOOK: Duration = Duration::from_millis(1);
