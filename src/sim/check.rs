//! Judges what loudspeakers let out. Works on any list of [`Heard`], simulated or recorded.

use super::device::{Heard, What};
use uuid::Uuid;

/// When each sample of a track should leave: sample 0 at `zero`, µs of true time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timeline {
    pub track: Uuid,
    pub zero: f64,
    /// How far a sample may leave from its time and still be on time, µs.
    pub tolerance: f64,
}

/// What became of the samples `[from, until)` of a track at one speaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    pub samples: u64,
    /// Sounded within the tolerance of their time.
    pub on_time: u64,
    /// Sounded, but early or late.
    pub out_of_step: u64,
    /// Their packet was missing and something was made up.
    pub concealed: u64,
    /// Nothing was let out for them at all.
    pub absent: u64,
}

impl Account {
    pub fn of(heard: &[Heard], timeline: Timeline, from: u64, until: u64) -> Self {
        let mut account = Self { samples: until.saturating_sub(from), ..Self::default() };
        for step in of_track(heard, timeline.track) {
            let first = step.sample.max(from);
            let last = (step.sample + u64::from(step.count)).min(until);
            let count = last.saturating_sub(first);
            let error = step.left - timeline.zero - samples_to_micros(step.sample);
            match step.what {
                What::Concealed => account.concealed += count,
                _ if error.abs() <= timeline.tolerance => account.on_time += count,
                _ => account.out_of_step += count,
            }
        }
        let found = account.on_time + account.out_of_step + account.concealed;
        account.absent = account.samples.saturating_sub(found);
        account
    }

    pub fn plus(self, other: Self) -> Self {
        Self {
            samples: self.samples + other.samples,
            on_time: self.on_time + other.on_time,
            out_of_step: self.out_of_step + other.out_of_step,
            concealed: self.concealed + other.concealed,
            absent: self.absent + other.absent,
        }
    }

    pub fn share_on_time(&self) -> f64 {
        if self.samples == 0 { 0.0 } else { self.on_time as f64 / self.samples as f64 }
    }

    pub fn is_whole(&self) -> bool {
        self.samples > 0 && self.on_time == self.samples
    }
}

/// Every sample at most once and in order; the error says where not.
pub fn once_and_in_order(heard: &[Heard], track: Uuid) -> Result<(), String> {
    let mut next = (0, f64::MIN);
    for step in of_track(heard, track) {
        if step.sample < next.0 || step.left < next.1 - 1.0 {
            let (sample, left) = next;
            return Err(format!("after sample {sample} at {left:.0} µs came {step:?}"));
        }
        next = (step.sample + u64::from(step.count), step.left + step.lasts);
    }
    Ok(())
}

/// When a speaker let `sample` of `track` out, whether it was real or made up.
pub fn left(heard: &[Heard], what: What, track: Option<Uuid>, sample: u64) -> Option<f64> {
    let matches = |step: &&Heard| step.what == what && step.track == track;
    let steps: Vec<&Heard> = heard.iter().filter(matches).collect();
    left_of(&steps, sample)
}

/// The largest difference between any two of these speakers, per second in which more than one of
/// them sounded `track`: (true time of the second, µs).
pub fn spread(speakers: &[&[Heard]], track: Uuid) -> Vec<(i64, f64)> {
    let tracks: Vec<Vec<&Heard>> =
        speakers.iter().map(|heard| of_track(heard, track).filter(|step| step.what == What::Sound).collect()).collect();
    let last = tracks.iter().filter_map(|steps| steps.last()).map(|step| step.sample).max().unwrap_or_default();
    let mut windows: Vec<(i64, f64)> = Vec::new();
    for sample in (0..=last).step_by(PROBE) {
        let times: Vec<f64> = tracks.iter().filter_map(|steps| left_of(steps, sample)).collect();
        if times.len() < 2 {
            continue;
        }
        let earliest = times.iter().copied().fold(f64::MAX, f64::min);
        let latest = times.iter().copied().fold(f64::MIN, f64::max);
        let second = (earliest / 1e6).floor() as i64 * 1_000_000;
        match windows.last_mut().filter(|(window, _)| *window == second) {
            Some((_, largest)) => *largest = largest.max(latest - earliest),
            None => windows.push((second, latest - earliest)),
        }
    }
    windows
}

/// The value that a `share` of the values do not exceed; 0 for none.
pub fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(place.max(1) - 1).copied().unwrap_or_default()
}

/// µs of true time from the first to the last sound or tone let out in `[from, until)`, concealment
/// and steps faded to nothing left aside; `None` for silence.
pub fn sounding(heard: &[Heard], from: f64, until: f64) -> Option<(f64, f64)> {
    let mut steps = heard
        .iter()
        .filter(|step| matches!(step.what, What::Sound | What::Tone) && step.gain > 0.0)
        .filter(|step| step.left >= from && step.left < until);
    let first = steps.next()?;
    let last = steps.next_back().unwrap_or(first);
    Some((first.left, last.left + last.lasts))
}

fn of_track(heard: &[Heard], track: Uuid) -> impl Iterator<Item = &Heard> {
    heard.iter().filter(move |step| step.track == Some(track))
}

fn left_of(steps: &[&Heard], sample: u64) -> Option<f64> {
    let place = steps.partition_point(|step| step.sample <= sample).checked_sub(1)?;
    let step = steps[place];
    let within = sample - step.sample;
    (within < u64::from(step.count)).then(|| step.left + step.lasts * within as f64 / f64::from(step.count))
}

fn samples_to_micros(samples: u64) -> f64 {
    samples as f64 * 1e6 / f64::from(crate::time::RATE)
}

/// Samples between looks: ten a second.
const PROBE: usize = 4_800;

#[cfg(test)]
mod tests {
    use super::*;

    const TRACK: Uuid = Uuid::from_u128(1);

    fn played(from: u64, until: u64, zero: f64) -> Vec<Heard> {
        (from..until)
            .step_by(480)
            .map(|sample| Heard {
                what: What::Sound,
                track: Some(TRACK),
                sample,
                count: 480,
                left: zero + samples_to_micros(sample),
                lasts: 10_000.0,
                gain: 1.0,
            })
            .collect()
    }

    fn timeline(zero: f64) -> Timeline {
        Timeline { track: TRACK, zero, tolerance: 1_000.0 }
    }

    #[test]
    fn a_whole_bulletin_on_time_is_whole_and_a_shifted_one_is_out_of_step() {
        let heard = played(0, 96_000, 5e6);
        assert!(Account::of(&heard, timeline(5e6), 0, 96_000).is_whole());
        let shifted = Account::of(&heard, timeline(5e6 + 1_500.0), 0, 96_000);
        assert_eq!((shifted.on_time, shifted.out_of_step), (0, 96_000));
    }

    #[test]
    fn what_is_concealed_or_absent_is_counted_as_such() {
        let mut heard = played(0, 96_000, 0.0);
        heard[3].what = What::Concealed;
        heard.truncate(100);
        let account = Account::of(&heard, timeline(0.0), 0, 96_000);
        assert_eq!((account.concealed, account.absent, account.on_time), (480, 48_000, 99 * 480));
        assert!(!account.is_whole());
    }

    #[test]
    fn repeated_and_swapped_steps_are_found() {
        let mut heard = played(0, 4_800, 0.0);
        assert_eq!(once_and_in_order(&heard, TRACK), Ok(()));
        heard.swap(2, 3);
        assert!(once_and_in_order(&heard, TRACK).is_err());
        let mut heard = played(0, 4_800, 0.0);
        heard.insert(1, heard[0]);
        assert!(once_and_in_order(&heard, TRACK).is_err());
    }

    #[test]
    fn the_spread_is_the_largest_difference_in_each_second() {
        let (one, mut two) = (played(0, 96_000, 0.0), played(0, 96_000, 0.0));
        two.iter_mut().filter(|step| step.sample >= 48_000).for_each(|step| step.left += 700.0);
        let three = played(48_000, 96_000, 900.0);
        let windows = spread(&[&one, &two, &three], TRACK);
        let (first, rest) = windows.split_first().expect("windows");
        assert_eq!(*first, (0, 0.0), "the third one had not joined");
        assert!(rest.iter().any(|(_, largest)| (*largest - 900.0).abs() < 0.01), "{windows:?}");
    }

    #[test]
    fn percentiles_are_the_nearest_rank() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(percentile(&values, 0.99), 99.0);
        assert_eq!(percentile(&values, 1.0), 100.0);
        assert_eq!(percentile(&[], 0.5), 0.0);
    }
}
