//! Waiting for sockets, other threads and deadlines at once: an eventfd and ppoll.
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

/// Wakes the thread that waits on it. Cheap to clone; waking an awake thread costs one system call.
#[derive(Clone, Debug)]
pub struct Waker(Arc<File>);

impl Waker {
    pub fn new() -> io::Result<Self> {
        // SAFETY: eventfd takes no pointer.
        let descriptor = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, valid and owned by nobody else.
        let owned = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Ok(Self(Arc::new(File::from(owned))))
    }

    pub fn wake(&self) {
        // A full counter means that the reader is about to wake anyway.
        let _ = (&*self.0).write(&1u64.to_ne_bytes());
    }

    /// Forgets the wakes so far. Called before the queues are looked at, so that none is missed.
    pub fn rest(&self) {
        let _ = (&*self.0).read(&mut [0; 8]);
    }

    pub fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// What to wait for.
#[derive(Clone, Copy, Debug)]
pub struct Interest {
    pub descriptor: RawFd,
    /// Wait for room to write too.
    pub write: bool,
}

/// Blocks until a descriptor is ready or the time is over; spurious returns are allowed. µs matter:
/// a plan's steps and a paced send are due between milliseconds.
pub fn wait<const N: usize>(interests: [Interest; N], timeout: Duration) {
    let mut polled = interests.map(|interest| libc::pollfd {
        fd: interest.descriptor,
        events: libc::POLLIN | if interest.write { libc::POLLOUT } else { 0 },
        revents: 0,
    });
    let timeout = libc::timespec {
        tv_sec: timeout.as_secs().min(i32::MAX as u64) as libc::time_t,
        tv_nsec: timeout.subsec_nanos() as libc::c_long,
    };
    // SAFETY: `polled` and `timeout` are ours and outlive the call; N is the array's length.
    unsafe { libc::ppoll(polled.as_mut_ptr(), N as libc::nfds_t, &timeout, std::ptr::null()) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_wake_before_the_wait_ends_it_at_once_and_only_once() {
        let waker = Waker::new().unwrap();
        waker.clone().wake();
        let interest = Interest { descriptor: waker.descriptor(), write: false };
        let began = Instant::now();
        wait([interest], Duration::from_secs(20));
        assert!(began.elapsed() < Duration::from_secs(10));
        waker.rest();
        let began = Instant::now();
        wait([interest], Duration::from_millis(5));
        assert!(began.elapsed() >= Duration::from_millis(5));
    }
}
