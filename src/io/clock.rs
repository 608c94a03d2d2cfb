//! The clocks of the machine: the only place that reads them.
use crate::config::Trusted;
use crate::time::{Civil, Local};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One reading of the monotonic clock, in both forms that it is needed in: the rooms count µs, QUIC
/// takes an `Instant`.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub local: Local,
    pub instant: Instant,
}

impl Now {
    pub fn read() -> Self {
        let instant = Instant::now();
        Self { local: local(), instant }
    }

    /// The local time of `instant`.
    pub fn local_at(&self, instant: Instant) -> Local {
        match instant.checked_duration_since(self.instant) {
            Some(ahead) => self.local + i64::try_from(ahead.as_micros()).unwrap_or(i64::MAX),
            None => {
                let ago = self.instant.saturating_duration_since(instant);
                self.local - i64::try_from(ago.as_micros()).unwrap_or(i64::MAX)
            }
        }
    }

    /// How long from this reading until `local`; zero if that has passed.
    pub fn until(&self, local: Local) -> Duration {
        Duration::from_micros(u64::try_from(local - self.local).unwrap_or(0))
    }
}

/// CLOCK_MONOTONIC in µs: the same origin for every process of this machine, so that what several
/// speakers log can be compared.
pub fn local() -> Local {
    Local((monotonic() / 1_000) as i64)
}

/// The wall clock of this machine; an origin's civil time, and nobody else's.
pub fn wall() -> Civil {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Civil(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// What the kernel knows of how right its clock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discipline {
    /// Something sets it: NTP, PTP, GNSS.
    pub synchronised: bool,
    /// µs by which it may be off, as that says.
    pub error: i64,
}

/// `None` where the kernel does not tell.
#[allow(clippy::unnecessary_cast, reason = "32 bits wide on small boards")]
pub fn discipline() -> Option<Discipline> {
    // SAFETY: all zero is a value of timex; without modes nothing is set.
    let mut found: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a timex of ours that outlives the call.
    let state = unsafe { libc::adjtimex(&mut found) };
    (state >= 0).then_some(Discipline {
        synchronised: state != libc::TIME_ERROR && found.status & libc::STA_UNSYNC == 0,
        error: found.esterror as i64,
    })
}

/// By how many µs the wall clock may be off, if it is trusted and runs: one that NTP or GNSS sets only while the kernel
/// says that something does, since after a power cut nothing may have.
pub fn trusted(clock: &crate::config::Clock) -> Option<u64> {
    let stated = clock.error()?;
    if wall() < EARLIEST {
        return None;
    }
    match clock.trusted {
        Trusted::None => None,
        Trusted::Rtc => Some(stated),
        Trusted::Ntp | Trusted::Gnss => {
            let found = discipline().filter(|found| found.synchronised)?;
            Some(stated.max(found.error.unsigned_abs()))
        }
    }
}

/// Whether the kernel knows a clock that runs without power.
pub fn has_rtc() -> bool {
    std::path::Path::new("/sys/class/rtc/rtc0").exists()
}

/// Before this no node was made: a clock that says so is not set.
pub const EARLIEST: Civil = Civil(1_735_689_600 * crate::time::SECOND);

/// CLOCK_MONOTONIC in ns.
fn monotonic() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of ours that outlives the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_and_local_times_convert_both_ways() {
        let now = Now::read();
        let later = now.instant + Duration::from_micros(1_500);
        assert_eq!(now.local_at(later), now.local + 1_500);
        assert_eq!(now.until(now.local_at(later)), Duration::from_micros(1_500));
        assert_eq!(now.until(now.local - 5), Duration::ZERO);
    }

    #[test]
    fn local_time_never_goes_back() {
        let first = local();
        assert!(local() >= first);
        assert!(wall() > Civil(1_700_000_000_000_000));
    }
}
