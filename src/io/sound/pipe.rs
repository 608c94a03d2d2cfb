//! A command that takes sound on its standard input: raw s16le, 48 kHz, mono.
//!
//! ```text
//!  frames ─▶ waiting: half a second ─▶ kernel's pipe: 170 ms ─▶ /bin/sh -c COMMAND
//!             full: the oldest go, counted          never blocks: O_NONBLOCK
//! ```
//! A command that ends or cannot be started is started again after 1 s, then 2, 4 … 30 s; one that takes
//! nothing for 10 s is ended and counts as one that ended. It runs in a process group of its own, which
//! ends as a whole; Ctrl-C at the node's terminal does not reach it.
use super::super::queue::Drops;
use super::Said;
use super::sink::{Sink, sample};
use crate::time::{Local, RATE, SECOND};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Pipe {
    command: String,
    folder: PathBuf,
    dropped: Drops,
    running: Option<Running>,
    /// Bytes that the kernel's pipe has no room for yet.
    waiting: VecDeque<u8>,
    /// When to start it again, and how long to wait after the next end, µs.
    next: Local,
    wait: i64,
    /// Why nothing is heard, if that has been said.
    trouble: bool,
}

struct Running {
    group: Group,
    input: ChildStdin,
    since: Local,
    /// When it last took something.
    took: Local,
}

impl Pipe {
    pub fn new(command: String, folder: PathBuf, dropped: Drops, now: Local) -> Self {
        let waiting = VecDeque::with_capacity(WAITING);
        Self { command, folder, dropped, running: None, waiting, next: now, wait: SHORTEST, trouble: false }
    }

    fn start(&self, now: Local) -> io::Result<Running> {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(&self.command).current_dir(&self.folder).process_group(0);
        // What it prints belongs into the node's log, and not among what the node itself prints.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::inherit());
        let mut child = command.spawn()?;
        let input = child.stdin.take();
        let group = Group(child);
        let input = input.ok_or_else(|| io::Error::other("the command has no standard input"))?;
        soften(&input)?;
        Ok(Running { group, input, since: now, took: now })
    }

    /// Gives the command what it takes. Fails when the command has ended, or has taken nothing for long.
    fn push(&mut self, now: Local) -> Result<(), String> {
        let Some(running) = &mut self.running else { return Ok(()) };
        if let Some(how) = running.group.ended() {
            return Err(format!("has ended ({how})"));
        }
        while !self.waiting.is_empty() {
            match running.input.write(self.waiting.as_slices().0) {
                Ok(0) => break,
                Ok(taken) => {
                    self.waiting.drain(..taken);
                    running.took = now;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("takes no sound any more ({error})")),
            }
        }
        if now - running.took >= BLOCKED {
            return Err(format!("has taken no sound for {} s", BLOCKED / SECOND));
        }
        Ok(())
    }

    fn give_up(&mut self, now: Local, why: &str, said: &mut Vec<Said>) {
        if let Some(running) = self.running.take() {
            if now - running.since >= LONGEST {
                self.wait = SHORTEST;
            }
            running.group.kill();
        }
        let lost = self.waiting.len();
        self.lose(lost);
        self.next = now + self.wait;
        if !self.trouble {
            self.trouble = true;
            let text = format!(
                "pipe:{}: the command {why}; it is started again in {} s, then ever more rarely; try it by hand in {}, \
                 and correct playout.device",
                self.command,
                self.wait / SECOND,
                self.folder.display()
            );
            said.push(Said::Trouble { code: TROUBLE, text });
        }
        self.wait = (self.wait * 2).min(LONGEST);
    }

    /// Drops the oldest bytes: what is late is of no use. Always whole frames.
    fn lose(&mut self, bytes: usize) {
        // A frame that went half into the pipe keeps its other half at the head of what waits.
        let half = self.waiting.len() % 2;
        let from = if self.running.is_some() { half } else { 0 };
        let until = (from + bytes.next_multiple_of(2)).min(self.waiting.len());
        self.waiting.drain(from..until);
        self.dropped.add((until.saturating_sub(from) / 2) as u64);
    }
}

impl Sink for Pipe {
    fn write(&mut self, frames: &[f32], now: Local, said: &mut Vec<Said>) -> bool {
        if self.running.is_none() && now >= self.next {
            match self.start(now) {
                Ok(running) => self.running = Some(running),
                Err(error) => self.give_up(now, &format!("cannot be started ({error})"), said),
            }
        }
        if self.running.is_none() {
            self.dropped.add(frames.len() as u64);
            return false;
        }
        self.waiting.extend(frames.iter().flat_map(|frame| sample(*frame).to_le_bytes()));
        if let Err(why) = self.push(now) {
            self.give_up(now, &why, said);
            return false;
        }
        let excess = self.waiting.len().saturating_sub(WAITING);
        if excess > 0 {
            self.lose(excess);
        }
        let Some(running) = &self.running else { return false };
        if now - running.took >= STALLED && !self.trouble {
            self.trouble = true;
            let text = format!(
                "pipe:{}: the command takes sound too slowly, and what it does not take is lost; it must read 96,000 \
                 bytes a second",
                self.command
            );
            said.push(Said::Trouble { code: TROUBLE, text });
        }
        let steady = now - running.since >= STEADY && now - running.took < STALLED;
        if self.trouble && steady {
            self.trouble = false;
            let text = format!("pipe:{}: the command takes sound", self.command);
            said.push(Said::Mended { code: TROUBLE, text });
        }
        now - running.took < STALLED
    }

    /// The command sees the end of its input and has half a second to finish by itself.
    fn stop(&mut self) {
        if let Some(Running { group, input, .. }) = self.running.take() {
            drop(input);
            group.end();
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A process and all it has started, waited for by nobody yet: until then its id is nobody else's.
struct Group(Child);

impl Group {
    /// How it ended, if it has; without waiting for it, so that the group keeps its id.
    fn ended(&self) -> Option<String> {
        // SAFETY: all zeros are a valid siginfo_t, which is plain data.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: the pointer is to a siginfo_t of ours that outlives the call.
        if unsafe { libc::waitid(libc::P_PID, self.0.id() as libc::id_t, &mut info, options) } < 0 {
            return Some(io::Error::last_os_error().to_string());
        }
        // SAFETY: waitid has filled it in, or it is all zeros, which says that nothing has ended.
        let (process, status) = unsafe { (info.si_pid(), info.si_status()) };
        match info.si_code {
            _ if process == 0 => None,
            libc::CLD_EXITED => Some(format!("exit code {status}")),
            _ => Some(format!("signal {status}")),
        }
    }

    fn signal(&self, signal: libc::c_int) {
        if let Ok(id) = libc::pid_t::try_from(self.0.id()) {
            // SAFETY: no memory is passed. The group is our child's own, and lasts until it is waited for.
            unsafe { libc::kill(-id, signal) };
        }
    }

    fn kill(mut self) {
        self.signal(libc::SIGKILL);
        // Killed, it does not keep anybody waiting.
        let _ = self.0.wait();
    }

    fn end(self) {
        if !self.ends_within(FAREWELL) {
            self.signal(libc::SIGTERM);
            self.ends_within(FAREWELL);
        }
        self.kill();
    }

    fn ends_within(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        while Instant::now() < until {
            if self.ended().is_some() {
                return true;
            }
            std::thread::sleep(AGAIN);
        }
        false
    }
}

/// Writes to it never block, and it holds little: what waits in it sounds late.
fn soften(input: &ChildStdin) -> io::Result<()> {
    let descriptor = input.as_raw_fd();
    // SAFETY: fcntl takes no pointer here, and the descriptor is open.
    let done = unsafe {
        // A kernel that keeps its own size makes what waits sound later, no more.
        libc::fcntl(descriptor, libc::F_SETPIPE_SZ, PIPE);
        libc::fcntl(descriptor, libc::F_SETFL, libc::O_NONBLOCK)
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

const TROUBLE: &str = "sound.pipe";
/// Bytes a second.
const BYTES: usize = RATE as usize * 2;
/// Half a second: a command that is held up for so long loses nothing, and sound is never later than
/// this and what the pipe holds.
const WAITING: usize = BYTES / 2;
/// Bytes in the kernel's pipe, 170 ms: four pages.
const PIPE: libc::c_int = 16_384;
/// µs until a command that ended is started again, at first and at most; one that ran for longer than
/// that has done well and is started soon again.
const SHORTEST: i64 = SECOND;
const LONGEST: i64 = 30 * SECOND;
/// µs without a byte taken: sound is being lost.
const STALLED: i64 = SECOND;
/// The same: it will not come back by itself.
const BLOCKED: i64 = 10 * SECOND;
/// µs that it must have run before trouble is over.
const STEADY: i64 = 2 * SECOND;
/// How long a command may take to end by itself, and again when told to; a node stops within 3 s.
const FAREWELL: Duration = Duration::from_millis(500);
const AGAIN: Duration = Duration::from_millis(5);

#[cfg(test)]
#[path = "pipe/tests.rs"]
mod tests;
