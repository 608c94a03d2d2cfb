//! From civil time to device frames and back, and where a programme stands at one of them.
use super::{DeviceClock, Phase, Program};
use crate::time::{Civil, RATE};

/// One moment's view: two lines, civil ─ phase ─▶ local ─ device ─▶ frame. In f64 relative to the
/// phase's own instant, so that whole µs are rounded nowhere.
pub(super) struct Timeline<'a> {
    phase: Phase,
    device: &'a DeviceClock,
}

/// What a programme has at a moment, in samples at 48 kHz from the beginning of the part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Place {
    /// So many samples before the tone.
    BeforeTone(f64),
    Tone(f64),
    /// Negative before the track begins.
    Speech(f64),
}

impl<'a> Timeline<'a> {
    /// `None` before the first device report.
    pub fn new(phase: Phase, device: &'a DeviceClock) -> Option<Self> {
        device.frame(phase.at)?;
        Some(Self { phase, device })
    }

    /// Device frame at which a sample must be planned to be heard `micros` after `civil`.
    pub fn frame(&self, civil: Civil, micros: f64) -> f64 {
        let civil = (civil - self.phase.civil) as f64 + micros;
        let frame = self.device.frame_after(self.phase.at, civil / (1.0 + self.phase.skew));
        frame.unwrap_or_default()
    }

    /// µs after `civil` at which a sample planned at `frame` is heard.
    pub fn since(&self, frame: f64, civil: Civil) -> f64 {
        let local = self.device.micros_until(frame, self.phase.at).unwrap_or_default();
        local * (1.0 + self.phase.skew) - (civil - self.phase.civil) as f64
    }

    pub fn civil(&self, frame: f64) -> Civil {
        self.phase.civil + self.since(frame, self.phase.civil).round() as i64
    }

    /// Device frames per sample of content, without correction.
    pub fn ratio(&self) -> f64 {
        self.device.rate() / f64::from(RATE) / (1.0 + self.phase.skew)
    }

    /// Frames by which sample `sample` of a part that begins at `begin` is late when planned at `frame`.
    pub fn late(&self, frame: f64, begin: Civil, sample: u64) -> f64 {
        frame - self.frame(begin, sample as f64 / SAMPLES_PER_MICRO)
    }

    pub fn place(&self, frame: f64, program: &Program) -> Place {
        if let Some(tone) = &program.tone {
            let samples = self.since(frame, tone.at) * SAMPLES_PER_MICRO;
            if samples < -0.5 {
                return Place::BeforeTone(-samples);
            }
            if samples.round() < program.tone_samples() as f64 {
                return Place::Tone(samples);
            }
        }
        Place::Speech(self.since(frame, program.speech()) * SAMPLES_PER_MICRO)
    }
}

impl Program {
    /// When sample 0 of packet 0 sounds.
    pub(super) fn speech(&self) -> Civil {
        self.track.anchor + self.delay
    }

    /// When its first sound is due.
    pub(super) fn begin(&self) -> Civil {
        self.tone.map_or(self.speech(), |tone| tone.at)
    }

    /// Nothing of it sounds after this.
    pub(super) fn end(&self) -> Civil {
        self.until + self.delay
    }

    pub(super) fn tone_samples(&self) -> u64 {
        self.tone.map_or(0, |tone| (tone.duration.max(0) as f64 * SAMPLES_PER_MICRO).round() as u64)
    }

    /// Samples in the whole track, if that is known.
    pub(super) fn samples(&self) -> Option<u64> {
        self.track.packets.map(|packets| packets.saturating_mul(self.duration()))
    }

    /// Samples per packet; never 0, whatever an order said.
    pub(super) fn duration(&self) -> u64 {
        u64::from(self.track.duration.max(1))
    }

    /// Whether `other` is this sound, perhaps with a later end.
    pub(super) fn same_sound(&self, other: &Program) -> bool {
        self.broadcast == other.broadcast
            && self.track.id == other.track.id
            && self.track.duration == other.track.duration
    }
}

pub(super) const SAMPLES_PER_MICRO: f64 = RATE as f64 * 1e-6;
