//! The sound card's clock against the node's oscillator.
use crate::time::{Local, RATE};
use std::collections::VecDeque;

/// A report of the sound thread, about every 50 ms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Device {
    pub at: Local,
    /// Frames that have left the device since it started.
    pub played: f64,
    /// Frames of silence the device inserted because no step was there (in total).
    pub inserted: u64,
    /// Steps taken in so far: `Step::number` of the next one it expects.
    pub steps: u64,
}

/// Fits `played` against `at`: least squares over the newest 20 s, without the reports that lie far
/// from the rest, with a prior of 48,000 ± 100 ppm that decides while the reports span less than
/// some seconds. A device that starts anew (`played` falls, or leaps by seconds) or that stood still for
/// a while is fitted anew.
#[derive(Debug, Default)]
pub struct DeviceClock {
    /// (at, played), in order.
    reports: VecDeque<(Local, f64)>,
    line: Option<Line>,
    /// Reports since the line was fitted.
    unused: usize,
    /// Newest reports in a row that lie far from the line.
    strays: usize,
}

#[derive(Clone, Copy, Debug)]
struct Line {
    at: Local,
    frame: f64,
    /// ppm of 48,000.
    skew: f64,
}

impl Line {
    fn frames_per_micro(&self) -> f64 {
        NOMINAL * (1.0 + self.skew * 1e-6)
    }

    fn frame(&self, local: Local) -> f64 {
        self.frame + (local - self.at) as f64 * self.frames_per_micro()
    }
}

impl DeviceClock {
    /// A report older than the newest one is ignored.
    pub fn handle_device(&mut self, device: &Device) {
        if !device.played.is_finite() {
            return;
        }
        if let Some(&(at, played)) = self.reports.back() {
            if device.at <= at {
                return;
            }
            let expected = (device.at - at) as f64 * NOMINAL;
            if device.played < played || (device.played - played - expected).abs() > ANEW {
                self.reports.clear();
                self.line = None;
            } else if device.at - at < CLOSEST {
                return;
            }
        }
        let far = |line: Line| (device.played - line.frame(device.at)).abs() > STRAY;
        self.strays = if self.line.is_some_and(far) { self.strays + 1 } else { 0 };
        if self.strays > STRAYS {
            self.reports.drain(..self.reports.len().saturating_sub(STRAYS));
            self.strays = 0;
        }
        while self.reports.front().is_some_and(|&(at, _)| device.at - at > SPAN) || self.reports.len() >= MOST {
            self.reports.pop_front();
        }
        self.reports.push_back((device.at, device.played));
        self.unused += 1;
        if self.unused >= REFIT || self.reports.len() <= FEW {
            self.unused = 0;
            self.line = fit(&self.reports);
        }
    }

    /// Local time at which device frame `frame` leaves.
    pub fn leaves(&self, frame: f64) -> Option<Local> {
        let line = self.line?;
        Some(line.at + ((frame - line.frame) / line.frames_per_micro()).round() as i64)
    }

    /// Device frame that leaves at `local`.
    pub fn frame(&self, local: Local) -> Option<f64> {
        Some(self.line?.frame(local))
    }

    /// [`Self::frame`] for `micros` after `local`, without rounding to whole µs.
    pub(super) fn frame_after(&self, local: Local, micros: f64) -> Option<f64> {
        let line = self.line?;
        Some(line.frame(local) + micros * line.frames_per_micro())
    }

    /// µs from `local` until `frame` leaves: the inverse of [`Self::frame_after`].
    pub(super) fn micros_until(&self, frame: f64, local: Local) -> Option<f64> {
        let line = self.line?;
        Some((frame - line.frame(local)) / line.frames_per_micro())
    }

    /// Frames per second of local time, near 48,000.
    pub fn rate(&self) -> f64 {
        self.line.map_or(f64::from(RATE), |line| line.frames_per_micro() * 1e6)
    }
}

/// Needs one report.
fn fit(reports: &VecDeque<(Local, f64)>) -> Option<Line> {
    let &(at, played) = reports.back()?;
    // Seconds before the newest report, and seconds by which the device was ahead of nominal.
    let points: Vec<(f64, f64)> = reports
        .iter()
        .map(|&(local, frame)| {
            let micros = (local - at) as f64;
            (micros * 1e-6, ((frame - played) / NOMINAL - micros) * 1e-6)
        })
        .collect();
    let (mut start, mut slope) = regress(points.iter(), TYPICAL);
    let mut residuals: Vec<f64> = points.iter().map(|&(x, y)| (y - start - slope * x).abs()).collect();
    let middle = residuals.len() / 2;
    let (_, median, _) = residuals.select_nth_unstable_by(middle, f64::total_cmp);
    // 1.5 × the median deviation is about one standard deviation.
    let deviation = (1.5 * *median).max(FINEST);
    let near = points.iter().filter(|&&(x, y)| (y - start - slope * x).abs() <= 3.0 * deviation);
    if near.clone().count() * 2 > points.len() {
        (start, slope) = regress(near, deviation);
    }
    Some(Line { at, frame: played + start * 1e6 * NOMINAL, skew: slope * 1e6 })
}

/// Value at x = 0 and slope of y over x; `deviation` of one y weighs the points against the prior
/// slope of 0.
fn regress<'a>(points: impl Iterator<Item = &'a (f64, f64)> + Clone, deviation: f64) -> (f64, f64) {
    let (count, x, y) = points.clone().fold((0.0, 0.0, 0.0), |(n, sx, sy), &(x, y)| (n + 1.0, sx + x, sy + y));
    if count < 1.0 {
        return (0.0, 0.0);
    }
    let (x, y) = (x / count, y / count);
    let (xx, xy) = points.fold((0.0, 0.0), |(xx, xy), &(px, py)| (xx + (px - x).powi(2), xy + (px - x) * (py - y)));
    let slope = (xy / (xx + (deviation / OSCILLATOR).powi(2))).clamp(-LIMIT, LIMIT);
    (y - slope * x, slope)
}

/// Frames per µs of a device without error.
const NOMINAL: f64 = RATE as f64 * 1e-6;
/// µs: long enough that ±1 ms of report jitter leaves some 0.05 ms, short enough to follow a
/// warming crystal.
const SPAN: i64 = 20_000_000;
/// Reports kept: 20 s at 50 ms, and some.
const MOST: usize = 512;
/// µs: closer reports add nothing, and must not crowd the span out.
const CLOSEST: i64 = 39_000;
/// Reports between two fits (half a second), since a fit walks all of them.
const REFIT: usize = 10;
/// The first reports are fitted one by one.
const FEW: usize = 40;
/// Frames by which a report may differ from the one before; more is another device.
const ANEW: f64 = 5.0 * RATE as f64;
/// Frames (10 ms) from the line that no scheduling delay explains when
const STRAY: f64 = 480.0;
/// so many reports in a row agree.
const STRAYS: usize = 10;
/// Seconds: deviation of a report before it is known.
const TYPICAL: f64 = 0.5e-3;
/// Seconds: no report is finer.
const FINEST: f64 = 20e-6;
/// One standard deviation of a device's rate.
const OSCILLATOR: f64 = 100e-6;
/// A sound card and an oscillator, each worse than any sold.
const LIMIT: f64 = 1_000e-6;

#[cfg(test)]
mod tests {
    use super::super::model::World;
    use super::*;

    fn report(at: i64, played: f64) -> Device {
        Device { at: Local(at), played, inserted: 0, steps: 0 }
    }

    #[test]
    fn one_report_counts_on_at_the_nominal_rate() {
        let mut clock = DeviceClock::default();
        assert_eq!(clock.frame(Local(5)), None);
        clock.handle_device(&report(1_000_000, 4_800.0));
        assert_eq!(clock.frame(Local(2_000_000)), Some(52_800.0));
        assert_eq!(clock.leaves(52_800.0), Some(Local(2_000_000)));
        assert_eq!(clock.rate(), 48_000.0);
    }

    #[test]
    fn twenty_seconds_of_jittered_reports_give_the_rate_and_the_frame() {
        for seed in 0..20 {
            let mut world = World::new(seed);
            let rate = 48_000.0 * (1.0 + world.within(100.0) * 1e-6);
            let mut clock = DeviceClock::default();
            for number in 0..600_i64 {
                let time = number * 50_000;
                clock.handle_device(&report(time + world.within(1_000.0) as i64, time as f64 * 1e-6 * rate));
                if time >= 20_000_000 {
                    assert!((clock.rate() / rate - 1.0).abs() < 25e-6, "seed {seed}: {} of {rate}", clock.rate());
                    let error = clock.frame(Local(time)).unwrap() - time as f64 * 1e-6 * rate;
                    assert!(error.abs() < 0.25e-3 * rate, "seed {seed}: {error} frames off");
                }
            }
        }
    }

    #[test]
    fn the_first_seconds_do_not_take_jitter_for_rate() {
        let mut world = World::new(1);
        let mut clock = DeviceClock::default();
        for number in 0..40_i64 {
            let time = number * 50_000;
            clock.handle_device(&report(time + world.within(1_000.0) as i64, time as f64 * 0.048));
            assert!((clock.rate() - 48_000.0).abs() < 48_000.0 * 150e-6, "{}", clock.rate());
            assert!((clock.frame(Local(time)).unwrap() - time as f64 * 0.048).abs() < 60.0);
        }
    }

    #[test]
    fn a_report_held_up_for_long_moves_nothing() {
        let mut clock = DeviceClock::default();
        for number in 0..400_i64 {
            let held = if number % 20 == 7 { 30_000 } else { 0 };
            clock.handle_device(&report(number * 50_000 + held, number as f64 * 2_400.0));
        }
        assert!((clock.frame(Local(20_000_000)).unwrap() - 960_000.0).abs() < 1.0);
        assert!((clock.rate() - 48_000.0).abs() < 0.1);
    }

    #[test]
    fn a_device_that_stood_still_is_followed_within_a_second() {
        let mut clock = DeviceClock::default();
        (0..400).for_each(|number| clock.handle_device(&report(number * 50_000, number as f64 * 2_400.0)));
        (400..420).for_each(|number| clock.handle_device(&report(number * 50_000, (number - 4) as f64 * 2_400.0)));
        assert!((clock.frame(Local(21_000_000)).unwrap() - 416.0 * 2_400.0).abs() < 1.0);
    }

    #[test]
    fn a_device_that_starts_anew_is_fitted_anew() {
        let mut clock = DeviceClock::default();
        (0..100).for_each(|number| clock.handle_device(&report(number * 50_000, number as f64 * 2_400.0)));
        clock.handle_device(&report(6_000_000, 0.0));
        assert_eq!(clock.frame(Local(7_000_000)), Some(48_000.0));
    }
}
