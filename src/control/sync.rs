//! How far the speakers of one commune are apart, from what their devices logged.
use crate::io::node::Played;
use crate::time::RATE;
use std::collections::BTreeMap;
use uuid::Uuid;

/// The spread of one group of speakers over all windows, µs.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Spread {
    /// Windows in which at least two of them played.
    pub windows: usize,
    pub p99: f64,
    pub largest: f64,
}

/// For each second of each track, the largest difference between two speakers in the instant at which the
/// same sample left them: `left − ideal(sample)` is compared at equal samples, chunk by chunk, so that
/// nothing is smoothed away within a window. `speakers`: one log each.
pub fn spread(speakers: &[Vec<Played>]) -> Spread {
    let mut windows = windows(speakers);
    windows.sort_by(f64::total_cmp);
    Spread {
        windows: windows.len(),
        p99: rank(&windows, 0.99).unwrap_or_default(),
        largest: windows.last().copied().unwrap_or_default(),
    }
}

/// The largest difference in each window, µs, in no particular order.
fn windows(speakers: &[Vec<Played>]) -> Vec<f64> {
    /// Earliest, latest and how many speakers.
    type Extent = (f64, f64, usize);
    let mut chunks: BTreeMap<(Uuid, u64), Extent> = BTreeMap::new();
    for log in speakers {
        let mut own: BTreeMap<(Uuid, u64), f64> = BTreeMap::new();
        for chunk in log {
            let Some(track) = chunk.track else { continue };
            let late = chunk.left - ideal(chunk.sample);
            // Of one that played a place twice, the first time counts.
            own.entry((track, chunk.sample / CHUNK)).or_insert(late);
        }
        for (place, late) in own {
            let extent = chunks.entry(place).or_insert((late, late, 0));
            *extent = (extent.0.min(late), extent.1.max(late), extent.2 + 1);
        }
    }
    let mut windows: BTreeMap<(Uuid, u64), f64> = BTreeMap::new();
    for ((track, chunk), (earliest, latest, count)) in chunks {
        if count >= 2 {
            let window = windows.entry((track, chunk * CHUNK / u64::from(RATE))).or_default();
            *window = window.max(latest - earliest);
        }
    }
    windows.into_values().collect()
}

/// Whatever lies at or above `share` of the sorted values (nearest rank).
fn rank(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

/// µs from the track's first sample.
fn ideal(sample: u64) -> f64 {
    sample as f64 * 1e6 / f64::from(RATE)
}

/// Samples within which two chunks are of the same instant: one step (10 ms).
const CHUNK: u64 = 480;

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten seconds of steps, each `late(second)` µs behind its ideal instant.
    fn log(track: u128, late: impl Fn(f64) -> f64) -> Vec<Played> {
        let chunk = |n: u64| {
            let sample = n * 480;
            let left = 5e9 + ideal(sample) + late(ideal(sample) / 1e6);
            Played {
                track: Some(Uuid::from_u128(track)),
                sample,
                count: 480,
                concealed: false,
                left,
                lasts: 10_000.0,
                gain: 1.0,
            }
        };
        (0..1_000).map(chunk).collect()
    }

    #[test]
    fn a_constant_difference_is_found_exactly() {
        let spread = spread(&[log(1, |_| 0.0), log(1, |_| 150.0), log(1, |_| -50.0)]);
        assert_eq!(spread.windows, 10);
        assert!((spread.p99 - 200.0).abs() < 0.01 && (spread.largest - 200.0).abs() < 0.01, "{spread:?}");
    }

    #[test]
    fn a_moment_of_difference_shows_in_its_window_alone() {
        let jump = |second: f64| if (3.5..3.52).contains(&second) { 4_000.0 } else { 0.0 };
        let (steady, jumping) = (log(1, |_| 0.0), log(1, jump));
        let mut each = windows(&[steady.clone(), jumping.clone()]);
        each.sort_by(f64::total_cmp);
        assert!(each[8] < 0.01 && (each[9] - 4_000.0).abs() < 0.01, "{each:?}");
        assert!((spread(&[steady, jumping]).largest - 4_000.0).abs() < 0.01);
    }

    #[test]
    fn chunks_that_begin_at_other_samples_are_compared_at_their_own_ideal() {
        let shifted: Vec<Played> = log(1, |_| 30.0)
            .into_iter()
            .map(|chunk| Played { sample: chunk.sample + 100, left: chunk.left + ideal(100), ..chunk })
            .collect();
        assert!((spread(&[log(1, |_| 0.0), shifted]).largest - 30.0).abs() < 0.01);
    }

    #[test]
    fn different_tracks_tones_and_lone_speakers_are_not_compared() {
        let mut tone = log(1, |_| 900.0);
        tone.iter_mut().for_each(|chunk| chunk.track = None);
        assert_eq!(spread(&[log(1, |_| 0.0), log(2, |_| 500.0), tone]), Spread::default());
        assert_eq!(spread(&[log(1, |_| 0.0)]), Spread::default());
        assert_eq!(spread(&[]), Spread::default());
    }

    #[test]
    fn the_hundredth_window_of_a_hundred_is_beyond_p99() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(rank(&values, 0.99), Some(99.0));
        assert_eq!(rank(&[7.0], 0.99), Some(7.0));
        assert_eq!(rank(&[], 0.99), None);
    }
}
