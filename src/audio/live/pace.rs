//! From a source's own clock to civil time.
use crate::audio::resample::{self, ToDevice};
use crate::time::RATE;
use std::collections::VecDeque;

/// A buffer that gives out exactly what is asked for, whatever comes in.
///
/// It is asked for a packet's samples once per packet of civil time. A source whose clock is fast or slow makes
/// its reserve grow or shrink; resampling by a few parts per million, too slowly to be heard, holds it near
/// [`RESERVE`]. The least reserve of the last seconds counts, so that a source that comes in bursts keeps a
/// reserve as deep as its bursts need. What does not come in time is replaced by silence, with a fade at both
/// ends; what comes too early waits outside.
pub(super) struct Pace {
    /// At 48 kHz of civil time.
    waiting: VecDeque<f32>,
    resampler: ToDevice,
    resampled: Vec<f32>,
    /// Of the resampler's delay, what is still to be dropped.
    trim: usize,
    steering: Steering,
    /// Samples given out or left out.
    given: u64,
    /// Where the last sample that came from the source stands among these.
    sounded: u64,
    ended: bool,
    /// Where the silence began that is being given out in place of sound.
    gap: Option<u64>,
    told: Option<(u64, u64)>,
    gaps: u64,
    missing: u64,
    dropped: u64,
}

impl Pace {
    /// `packet`: samples taken at a time.
    pub fn new(packet: u32) -> Self {
        Self {
            waiting: VecDeque::new(),
            resampler: ToDevice::new(),
            resampled: Vec::new(),
            trim: ToDevice::LATENCY,
            steering: Steering::new(packet),
            given: 0,
            sounded: 0,
            ended: false,
            gap: None,
            told: None,
            gaps: 0,
            missing: 0,
            dropped: 0,
        }
    }

    pub fn room(&self) -> usize {
        if self.ended { 0 } else { ROOM.saturating_sub(self.waiting.len()) }
    }

    pub fn push(&mut self, samples: &[f32]) {
        let taken = samples.len().min(self.room());
        self.dropped += (samples.len() - taken) as u64;
        self.resample(&samples[..taken]);
    }

    fn resample(&mut self, samples: &[f32]) {
        self.resampled.clear();
        for piece in samples.chunks(resample::STEP) {
            self.resampler.push(piece, self.steering.ratio, &mut self.resampled);
        }
        let trim = self.trim.min(self.resampled.len());
        self.trim -= trim;
        self.waiting.extend(&self.resampled[trim..]);
    }

    /// Nothing more will come.
    pub fn finish(&mut self) {
        if !self.ended {
            // What the filter still holds.
            self.resample(&[0.0; ToDevice::LATENCY]);
            self.ended = true;
        }
    }

    /// Samples from the first to the last that came so far, with all silence between.
    pub fn content(&self) -> u64 {
        match self.waiting.len() {
            0 => self.sounded,
            waiting => self.given + waiting as u64,
        }
    }

    /// Appends `count` samples.
    pub fn take(&mut self, count: usize, out: &mut Vec<f32>) {
        let waiting = self.waiting.len();
        let enough = match (self.ended, self.gap) {
            (true, _) => true,
            // As much as is left can still be faded out.
            (false, None) => waiting >= count + FADE,
            // Not at the first drop: it would be dry again at once.
            (false, Some(_)) => waiting >= count + RESERVE,
        };
        let sound = if enough || self.gap.is_none() { waiting.min(count) } else { 0 };
        if sound > 0 {
            let rise = self.end_gap();
            let first = out.len();
            out.extend(self.waiting.drain(..sound));
            let piece = &mut out[first..];
            if rise {
                fade(piece.iter_mut());
            }
            self.sounded = self.given + sound as u64;
            if !enough {
                fade(piece.iter_mut().rev());
            }
        }
        let silence = count - sound;
        out.extend(std::iter::repeat_n(0.0, silence));
        if !enough && self.gap.is_none() {
            self.gap = Some(self.given + sound as u64);
            self.gaps += 1;
        }
        if !self.ended {
            self.missing += silence as u64;
        }
        self.given += count as u64;
    }

    /// Leaves out the time of so many samples: nobody asked for them in time.
    pub fn skip(&mut self, samples: u64) {
        if self.gap.is_none() {
            self.gap = Some(self.given);
            self.gaps += 1;
        }
        self.given += samples;
        self.missing += samples;
    }

    /// Once per packet, after it was taken.
    pub fn steer(&mut self) {
        let goes_on = self.gap.is_none() && !self.ended;
        self.steering.steer(goes_on.then_some(self.waiting.len()));
    }

    /// A gap that is over: where it began, and its samples. Once.
    pub fn poll_gap(&mut self) -> Option<(u64, u64)> {
        self.told.take()
    }

    pub fn gaps(&self) -> u64 {
        self.gaps
    }

    pub fn missing(&self) -> u64 {
        self.missing
    }

    pub fn reserve(&self) -> u64 {
        self.waiting.len() as u64
    }

    pub fn ratio(&self) -> f64 {
        self.steering.ratio
    }

    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether there was one.
    fn end_gap(&mut self) -> bool {
        let Some(began) = self.gap.take() else { return false };
        self.told = Some((began, self.given - began));
        true
    }
}

/// Holds the reserve by the ratio.
pub(super) struct Steering {
    /// Samples of civil time per sample of the source.
    pub ratio: f64,
    /// At the last packets.
    reserves: VecDeque<usize>,
    window: usize,
}

impl Steering {
    pub fn new(packet: u32) -> Self {
        let window = WINDOW.div_ceil(packet.max(1)) as usize;
        Self { ratio: 1.0, reserves: VecDeque::new(), window }
    }

    /// `reserve`: samples left after a packet; `None` while they say nothing about the source's clock.
    pub fn steer(&mut self, reserve: Option<usize>) {
        let Some(reserve) = reserve else { return self.reserves.clear() };
        if self.reserves.len() >= self.window {
            self.reserves.pop_front();
        }
        self.reserves.push_back(reserve);
        let least = self.reserves.iter().copied().min().unwrap_or(RESERVE);
        let excess = (least as f64 - RESERVE as f64) / f64::from(RATE);
        // A source that is held back says nothing either: it is no microphone.
        let held_back = least + HELD_BACK >= ROOM;
        let wanted = if held_back { 0.0 } else { (-excess / SETTLE).clamp(-WIDEST, WIDEST) };
        self.ratio += (1.0 + wanted - self.ratio) / self.window as f64;
    }
}

/// From nothing to all, in the order of the samples given.
fn fade<'a>(samples: impl Iterator<Item = &'a mut f32>) {
    for (at, sample) in samples.take(FADE).enumerate() {
        *sample *= at as f32 / FADE as f32;
    }
}

/// Samples (8 s): the two seconds of an emergency's tone, in which its first words wait, and a network that
/// stood still for some seconds and then brings all at once.
const ROOM: usize = 8 * RATE as usize;
/// Samples (150 ms) left when a packet has been taken: `arecord` and sound cards come in steps of up to 125 ms.
const RESERVE: usize = 7_200;
/// Samples (10 ms): soft enough not to click.
const FADE: usize = 480;
/// Samples (10 s) over which the least reserve is sought, and the ratio moves.
const WINDOW: u32 = 10 * RATE;
/// Seconds over which a wrong reserve is made good: a clock 100 ppm off leaves it 10 ms off.
const SETTLE: f64 = 100.0;
/// Nobody hears a pitch that is 0.05 % off (one hundredth of a semitone); no sound card is further off.
const WIDEST: f64 = 500e-6;
/// Samples (half a second, the longest packet): with less room than that after a packet, somebody waited.
const HELD_BACK: usize = 24_000;
