//! The attention tone that every speaker keeps.
use crate::time::{RATE, micros};
use std::f64::consts::{PI, TAU};

/// The one tone of version 1.
pub const TONE: u32 = 1;

/// A stored tone: mono 48 kHz.
#[derive(Clone, Debug)]
pub struct Tone {
    pub samples: Vec<f32>,
}

/// The tone by its number; `None` if unknown. Deterministic.
pub fn tone(which: u32) -> Option<Tone> {
    match which {
        TONE => Some(Tone { samples: two_tone() }),
        _ => None,
    }
}

/// µs that the tone of version 1 lasts.
pub const fn tone_micros() -> i64 {
    micros((NOTES * NOTE) as u64)
}

/// Hz, in turn: E5 and A5, a fourth apart, which every horn loudspeaker carries.
const PITCHES: [f64; 2] = [660.0, 880.0];
/// Each pitch twice a second over two seconds, as multi-tone sirens do.
const NOTES: usize = 8;
const NOTE: usize = RATE as usize / 4;
/// Harmonics with their strength: the second and third stand out of traffic noise. The highest,
/// 2,640 Hz, is far below any filter on the way.
const HARMONICS: [(f64, f64); 3] = [(1.0, 1.0), (2.0, 0.4), (3.0, 0.2)];
/// Soft enough not to click (10 ms), quick enough to be heard as a beat.
const ATTACK: usize = RATE as usize / 100;
const RELEASE: usize = RATE as usize / 20;
/// −6 dBFS.
const PEAK: f64 = 0.501_187;

fn two_tone() -> Vec<f32> {
    let mut samples = Vec::with_capacity(NOTES * NOTE);
    for note in 0..NOTES {
        let pitch = PITCHES[note % PITCHES.len()];
        samples.extend((0..NOTE).map(|at| {
            let phase = TAU * pitch * at as f64 / f64::from(RATE);
            let wave: f64 = HARMONICS.iter().map(|(multiple, strength)| strength * (multiple * phase).sin()).sum();
            wave * envelope(at)
        }));
    }
    let highest = samples.iter().fold(0.0f64, |highest, sample| highest.max(sample.abs()));
    samples.into_iter().map(|sample| (sample * PEAK / highest) as f32).collect()
}

/// Raised cosine at both ends of a note.
fn envelope(at: usize) -> f64 {
    let ramp = |distance: usize, length: usize| {
        if distance >= length { 1.0 } else { (1.0 - (PI * distance as f64 / length as f64).cos()) / 2.0 }
    };
    ramp(at, ATTACK) * ramp(NOTE - 1 - at, RELEASE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tone_is_two_seconds_at_six_decibels_below_full_scale() {
        let tone = tone(TONE).unwrap();
        assert_eq!(tone.samples.len(), 96_000);
        let peak = tone.samples.iter().fold(0.0f32, |peak, sample| peak.max(sample.abs()));
        assert!((20.0 * peak.log10() + 6.0).abs() < 0.01, "{peak}");
        assert_eq!(super::tone(TONE).unwrap().samples, tone.samples);
        assert!(super::tone(0).is_none() && super::tone(2).is_none());
    }

    #[test]
    fn the_tone_does_not_click() {
        let samples = tone(TONE).unwrap().samples;
        assert_eq!((samples[0], samples[samples.len() - 1]), (0.0, 0.0));
        // A click is a sample that its neighbours don't foretell: a sine of 2,640 Hz, the highest here,
        // bends by at most (2π × 2640 / 48000)² of its height.
        for three in samples.windows(3) {
            let bend = (three[0] - 2.0 * three[1] + three[2]).abs();
            assert!(bend < 0.03, "{bend}");
        }
    }
}
