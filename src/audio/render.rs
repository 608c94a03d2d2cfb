//! Renders a plan on the sound thread: decode, conceal, resample by parts per million, fade.
use super::decode::Voice;
use super::resample::{STEP, ToDevice};
use super::spoken::speak;
use super::tone::{TONE, Tone, tone};
use super::{Content, Step};

/// Ratios beyond are a fault of the plan and are brought back: 1 ± 0.002 is promised.
const RATIOS: (f64, f64) = (0.995, 1.005);
/// The longest packet, 480 ms: no step is longer.
const LONGEST_STEP: usize = 23_040;
/// Opus may overshoot full scale a little; more comes from damaged records or a mistaken gain.
const LOUDEST: f32 = 4.0;

/// One device's renderer. Decoding continues across steps of one track; a jump restarts the decoder
/// at the start of the packet and runs up to the step's sample. Allocates only when made (and when
/// `out` has to grow).
pub struct Renderer {
    voice: Voice,
    device: ToDevice,
    tone: Option<Tone>,
}

impl Default for Renderer {
    fn default() -> Self {
        Self::new()
    }
}

impl Renderer {
    /// Device frames by which output lags the plan (the resampler's filter); constant. The device
    /// leaves out the first so many, so that a step leaves at `Step::at`.
    pub const LATENCY: usize = ToDevice::LATENCY;

    pub fn new() -> Self {
        Self { voice: Voice::new(), device: ToDevice::new(), tone: tone(TONE) }
    }

    /// Appends the step's device frames to `out` (mono f32, within ±1). After any number of steps the
    /// frames produced differ from the sum of `count × ratio` by less than one plus a constant. Never
    /// panics on bad records: it conceals.
    pub fn render(&mut self, step: &Step, out: &mut Vec<f32>) {
        let ratio = if step.ratio.is_finite() { step.ratio.clamp(RATIOS.0, RATIOS.1) } else { 1.0 };
        let count = (step.count as usize).min(LONGEST_STEP);
        let begin = out.len();
        let mut content = [0.0; STEP];
        let mut done = 0;
        while done < count {
            let piece = &mut content[..(count - done).min(STEP)];
            self.fill(&step.content, done, piece);
            let slope = (step.gain.to - step.gain.from) / count as f32;
            for (at, sample) in piece.iter_mut().enumerate() {
                *sample *= step.gain.from + slope * (done + at) as f32;
                // What isn't a number, or is far too loud, would ring in the filter.
                *sample = if sample.is_finite() { sample.clamp(-LOUDEST, LOUDEST) } else { 0.0 };
            }
            self.device.push(piece, ratio, out);
            done += piece.len();
        }
        for frame in &mut out[begin..] {
            *frame = frame.clamp(-1.0, 1.0);
        }
    }

    /// The step's content from its sample `done` on.
    fn fill(&mut self, content: &Content, done: usize, piece: &mut [f32]) {
        let done = done as u32;
        match content {
            Content::Silence => piece.fill(0.0),
            Content::Tone { which, from } => {
                let from = from.saturating_add(u64::from(done));
                let Some(tone) = self.tone.as_ref().filter(|_| *which == TONE) else {
                    return speak(*which, from, &mut self.voice, piece);
                };
                let rest = usize::try_from(from).ok().and_then(|from| tone.samples.get(from..)).unwrap_or(&[]);
                let there = rest.len().min(piece.len());
                piece[..there].copy_from_slice(&rest[..there]);
                piece[there..].fill(0.0);
            }
            Content::Sound { track, sound, from } => {
                self.voice.sound(*track, sound.index, &sound.records, from.saturating_add(done), piece);
            }
            Content::Conceal { track, index, from } => {
                self.voice.conceal(*track, *index, from.saturating_add(done), piece);
            }
        }
    }
}
