//! A slow gain for live sound: brings speech to its loudness without ever pumping.
use super::loudness::{BLOCK, STEP, Weighting, lufs};
use std::collections::VecDeque;

/// Follows the loudness of what it hears and moves its gain so slowly that nobody notices.
///
/// It listens in steps of 100 ms, to blocks of 400 ms (ITU-R BS.1770-4), without delay: what it learns from a
/// step, it applies to the next. Only *programme* counts: blocks above [`QUIETEST`], no further than
/// [`GATE`] below the programme so far, and, if they are to raise the gain, moving in level as speech and music
/// do ([`LIVELY`]): hum, hiss and rain don't. In pauses the gain stands still. So noise is never
/// raised by a pause, and a sentence begins as loud as the last one ended.
///
/// From its first sound on it is within 1 LU of the loudness wanted after 8 s of speech, if that takes no more
/// than ±15 dB; later it rises by at most [`RISE`] and falls by at most [`FALL`] per second of programme.
pub struct Leveller {
    wanted: f64,
    weighting: Weighting,
    sum: f64,
    count: usize,
    /// Mean squares of the last steps, before the gain; the newest last.
    steps: VecDeque<f64>,
    /// Mean square of the programme so far, the older the less.
    programme: f64,
    /// Steps of programme so far.
    heard: u64,
    /// Steps since one of programme.
    idle: u64,
    /// dB at the end of the present step; and per sample on the way there.
    gain: f64,
    ramp: Ramp,
}

/// A gain on its way, as factors.
#[derive(Clone, Copy)]
struct Ramp {
    now: f32,
    per_sample: f32,
}

impl Leveller {
    /// `wanted` in LUFS.
    pub fn new(wanted: f64) -> Self {
        Self {
            wanted,
            weighting: Weighting::new(),
            sum: 0.0,
            count: 0,
            steps: VecDeque::with_capacity(SPREAD),
            programme: 0.0,
            heard: 0,
            idle: 0,
            gain: 0.0,
            ramp: Ramp { now: 1.0, per_sample: 0.0 },
        }
    }

    /// Applies the gain to these samples, and learns from them.
    pub fn push(&mut self, mut samples: &mut [f32]) {
        while !samples.is_empty() {
            let (now, later) = samples.split_at_mut(samples.len().min(STEP - self.count));
            self.sum += self.weighting.energy(now);
            if self.ramp.per_sample == 0.0 {
                for sample in now.iter_mut() {
                    *sample *= self.ramp.now;
                }
            } else {
                for sample in now.iter_mut() {
                    *sample *= self.ramp.now;
                    self.ramp.now += self.ramp.per_sample;
                }
            }
            self.count += now.len();
            if self.count == STEP {
                self.step(self.sum / STEP as f64);
                (self.sum, self.count) = (0.0, 0);
            }
            samples = later;
        }
    }

    /// dB, at present.
    pub fn gain(&self) -> f64 {
        self.gain
    }

    fn step(&mut self, energy: f64) {
        if self.steps.len() == SPREAD {
            self.steps.pop_front();
        }
        self.steps.push_back(energy);
        let before = self.gain;
        if self.listen() {
            let error = self.wanted - lufs(self.programme) - self.gain;
            let early = self.heard <= START;
            let (rise, fall) = if early { (EARLY, EARLY) } else { (RISE, FALL) };
            // Close enough is left alone, or the gain would wander with every sentence.
            let slack = if early { 0.0 } else { SLACK };
            let error = error.signum() * (error.abs() - slack).max(0.0);
            self.gain = (self.gain + error.clamp(-fall / PER_SECOND, rise / PER_SECOND)).clamp(LEAST, MOST);
        }
        let (from, to) = (10f64.powf(before / 20.0) as f32, 10f64.powf(self.gain / 20.0) as f32);
        self.ramp = Ramp { now: from, per_sample: (to - from) / STEP as f32 };
    }

    /// Whether the newest block is programme; it then counts.
    fn listen(&mut self) -> bool {
        if self.steps.len() < BLOCK {
            return false;
        }
        let block = self.steps.iter().rev().take(BLOCK).sum::<f64>() / BLOCK as f64;
        let level = lufs(block);
        if level < QUIETEST {
            return false;
        }
        let louder = self.heard > 0 && block >= self.programme;
        if !louder && !self.lively() {
            return false;
        }
        if self.heard > 0 && level < lufs(self.programme) - GATE {
            // Quieter speech, or noise between sentences? Only what goes on for longer than a pause is
            // believed to be speech, and then by and by.
            self.idle += 1;
            if self.idle > PATIENCE {
                self.programme *= YIELD;
            }
            return false;
        }
        self.idle = 0;
        self.heard += 1;
        // The mean of all at first, of the last seconds later.
        let weight = (1.0 / self.heard as f64).max(1.0 / MEMORY);
        self.programme += (block - self.programme) * weight;
        true
    }

    /// Whether the level moved lately.
    fn lively(&self) -> bool {
        let (low, high) =
            self.steps.iter().fold((f64::MAX, 0.0f64), |(low, high), step| (low.min(*step), high.max(*step)));
        high > low * LIVELY
    }
}

/// Steps in a second.
const PER_SECOND: f64 = 10.0;
/// LUFS: what is below is taken for background, whatever it is. A microphone set so low should be turned up.
const QUIETEST: f64 = -50.0;
/// LU below the programme: the relative gate of EBU R128.
const GATE: f64 = 10.0;
/// Mean squares of 100 ms within three seconds: speech spans 10 to 40 dB, music 6 and more, hum and hiss
/// below 1, rain and crowds 3.
const LIVELY: f64 = 3.2;
/// Steps that [`LIVELY`] looks at.
const SPREAD: usize = 30;
/// dB. More would raise a room's noise to the loudness of speech; less than nothing is a source far too loud.
const MOST: f64 = 20.0;
const LEAST: f64 = -30.0;
/// dB per second of programme.
const RISE: f64 = 0.5;
const FALL: f64 = 2.0;
/// dB per second of programme, either way, in the first [`START`] steps of programme: an announcer's first words
/// tell the setting of the microphone.
const EARLY: f64 = 3.0;
const START: u64 = 80;
/// LU.
const SLACK: f64 = 0.5;
/// Steps that the programme's mean remembers: 8 s of programme, two or three sentences.
const MEMORY: f64 = 80.0;
/// Steps of quieter sound, without programme, before it is believed: 5 s.
const PATIENCE: u64 = 50;
/// Per step then: 1 dB per second.
const YIELD: f64 = 0.977;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::loudness::Loudness;

    /// Something like speech: syllables of four a second, sentences of 3 s with 1 s between, over noise; in dBFS.
    fn speech(seconds: usize, voice: f32, noise: f32) -> Vec<f32> {
        let factor = |decibels: f32| 10f32.powf(decibels / 20.0);
        let mut state = 7_u64;
        (0..seconds * 48_000)
            .map(|at| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let hiss = ((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * factor(noise);
                let second = at as f32 / 48_000.0;
                let syllable = (std::f32::consts::PI * second * 4.0).sin().powi(2);
                let speaking = if second % 4.0 < 3.0 { factor(voice) } else { 0.0 };
                let wave: f32 = (1..6).map(|n| (second * 880.0 * n as f32).sin() / n as f32).sum();
                hiss + wave * 0.5 * syllable * speaking
            })
            .collect()
    }

    /// The gain at the end of every 100 ms, and the sound.
    fn levelled(samples: &[f32]) -> (Vec<f64>, Vec<f32>) {
        let (mut leveller, mut out) = (Leveller::new(-16.0), samples.to_vec());
        let gains = out.chunks_mut(STEP).map(|piece| {
            leveller.push(piece);
            leveller.gain()
        });
        (gains.collect(), out)
    }

    fn loudness(samples: &[f32]) -> f64 {
        let mut loudness = Loudness::new();
        loudness.push(samples);
        loudness.integrated().unwrap()
    }

    #[test]
    fn speech_of_any_level_is_at_the_loudness_wanted_after_eight_seconds_of_it() {
        for voice in [-17.0, -10.0, 0.0, 10.0] {
            let samples = speech(60, voice, voice - 40.0);
            let (_, out) = levelled(&samples);
            let (before, after) = (loudness(&samples), loudness(&out[11 * 48_000..]));
            assert!((after + 16.0).abs() < 1.0, "{before} LUFS became {after}");
        }
    }

    #[test]
    fn the_gain_stands_still_in_pauses_and_between_sentences_nobody_hears_it_move() {
        let mut samples = speech(40, -25.0, -60.0);
        samples.extend(speech(30, -90.0, -48.0));
        samples.extend(speech(20, -25.0, -60.0));
        let (gains, _) = levelled(&samples);
        // Thirty seconds of louder noise than before, without a word.
        assert!((gains[705] - gains[399]).abs() < 0.2, "{} dB became {}", gains[399], gains[705]);
        let sentences: Vec<f64> = (150..400).step_by(40).map(|step| gains[step]).collect();
        for two in sentences.windows(2) {
            assert!((two[1] - two[0]).abs() < 0.7, "{sentences:?}");
        }
        for two in gains.windows(2) {
            assert!(two[1] - two[0] < EARLY / PER_SECOND + 1e-9 && two[0] - two[1] < EARLY / PER_SECOND + 1e-9);
        }
    }

    #[test]
    fn neither_hiss_nor_hum_is_ever_raised() {
        let hum: Vec<f32> = (0..30 * 48_000).map(|at| (at as f32 * 0.006_545).sin() * 0.03).collect();
        for samples in [speech(30, -90.0, -35.0), hum, vec![0.0; 480_000]] {
            let (gains, _) = levelled(&samples);
            assert!(gains.iter().all(|gain| *gain == 0.0), "{:?}", gains.last());
        }
    }

    #[test]
    fn a_quieter_speaker_is_believed_and_a_louder_one_soon() {
        let mut samples = speech(30, -8.0, -70.0);
        samples.extend(speech(90, -21.0, -70.0));
        samples.extend(speech(30, -3.0, -70.0));
        let (_, out) = levelled(&samples);
        let quieter = loudness(&out[80 * 48_000..120 * 48_000]);
        assert!((quieter + 16.0).abs() < 1.5, "{quieter}");
        let louder = loudness(&out[135 * 48_000..]);
        assert!((louder + 16.0).abs() < 1.5, "{louder}");
    }

    #[test]
    fn it_does_the_same_whatever_the_pieces() {
        let samples = speech(12, -25.0, -60.0);
        let (_, whole) = levelled(&samples);
        let (mut leveller, mut out) = (Leveller::new(-16.0), samples.clone());
        for piece in out.chunks_mut(777) {
            leveller.push(piece);
        }
        let apart = whole.iter().zip(&out).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-6, "{apart}");
    }
}
