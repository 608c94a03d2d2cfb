//! A file to Opus: measure, level, encode.
use super::encode::{BITRATES, Encoders};
use super::{Damage, Error, Facts, Frames, Input, Source};
use crate::time::RATE;
use bytes::Bytes;
use ebur128::{EbuR128, Mode};
use serde::{Deserialize, Serialize};
use std::io::{Read, Seek};

#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// b/s of each rendition, 6,000–64,000; one to four.
    pub bitrates: Vec<u32>,
    /// Opus complexity, 0–10.
    pub complexity: i32,
    pub leveling: Leveling,
    /// Integrated loudness wanted, LUFS.
    pub loudness: f64,
    /// True peak allowed, dBTP.
    pub peak: f64,
    /// High-pass, de-clip, gate and gentle compression, for speech through a horn.
    pub speech: bool,
    /// Seconds of silence left standing at the beginning and at the end; `None` leaves all.
    pub silence: Option<f64>,
    /// Longest file accepted, seconds.
    pub longest: u32,
}

/// How loudness is brought to the one wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leveling {
    /// One gain for the whole file, from a first pass over it: exact.
    Measured,
    /// A gain that follows slowly, as for live sound: the first frame leaves at once.
    Slow,
    /// As it is; only peaks are held.
    Off,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bitrates: vec![24_000],
            complexity: 10,
            leveling: Leveling::Measured,
            loudness: -16.0,
            peak: -1.5,
            speech: false,
            silence: None,
            longest: 4 * 3600,
        }
    }
}

/// What the transcoder found and did. Loudness in LUFS, `None` for silence and for less than 0.4 s; peaks in
/// dBTP, `None` for digital silence; times in seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub facts: Facts,
    /// Of what was encoded.
    pub duration: f64,
    pub before: Level,
    /// Of what went into the encoder.
    pub after: Level,
    /// Applied to the whole, dB.
    pub gain: f64,
    /// Most that the limiter took off, dB.
    pub limited: f64,
    pub clipping: Clipping,
    pub silence: Silence,
    /// Seconds in which a stereo file's channels were against each other.
    pub out_of_phase: f64,
    /// What was missing or beyond repair; the first hundred.
    pub damage: Vec<Damage>,
    /// Of all damage, seconds.
    pub lost: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Level {
    pub loudness: Option<f64>,
    pub true_peak: Option<f64>,
}

/// Runs of samples that stand at the recording's own full scale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Clipping {
    pub samples: u64,
    pub runs: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Silence {
    /// Found at the beginning and at the end, before any was trimmed.
    pub leading: f64,
    pub trailing: f64,
    /// Taken off at both ends together.
    pub trimmed: f64,
    /// The longest within.
    pub longest: f64,
}

/// dB. A recording that needs more holds hardly anything but its own noise.
const MOST_GAIN: f64 = 40.0;
/// Of the whole work, the first pass's share of the time, for the progress given out.
const MEASURING: f64 = 0.25;

/// Reads what `open` gives, once or twice as the options ask, and hands each encoded frame of each rendition
/// to `emit` as soon as it is made. `progress` hears of the part done, 0 to 1. CPU only, blocking.
pub fn transcode<I: Input>(
    mut open: impl FnMut() -> Result<I, Error>,
    name: &str,
    options: &Options,
    emit: &mut dyn FnMut(usize, Bytes) -> Result<(), Error>,
    mut progress: impl FnMut(f64),
) -> Result<Report, Error> {
    options.check()?;
    let limit = u64::from(options.longest) * u64::from(RATE);

    let mut meter = Meter::new();
    let mut first = open()?;
    let promised = first.facts().samples;
    let mut block = Vec::new();
    let mut more = promised.is_none_or(|samples| samples <= limit);
    while more {
        block.clear();
        more = first.read(&mut block)?;
        meter.add(&block);
        if let Some(promised) = promised {
            progress(MEASURING * (meter.samples as f64 / promised as f64).min(1.0));
        }
        more = more && meter.samples <= limit;
    }
    let (facts, damage) = (first.facts().clone(), first.found().damage.clone());
    drop(first);
    if meter.samples.max(promised.unwrap_or(0)) > limit {
        let text = format!("{name}: lasts over {} s, the longest accepted; cut it into parts", options.longest);
        return Err(Error::new("media.too_long", text));
    }

    let mut report = meter.report(options);
    (report.facts, report.damage) = (facts, damage);
    let factor = 10f64.powf(report.gain / 20.0) as f32;
    let mut second = open()?;
    let mut encoders = Encoders::new(&options.bitrates, options.complexity)?;
    let mut samples = 0;
    let mut more = true;
    while more && samples <= meter.samples {
        block.clear();
        more = second.read(&mut block)?;
        for sample in &mut block {
            *sample *= factor;
        }
        encoders.push(&block, emit)?;
        samples += block.len() as u64;
        progress(MEASURING + (1.0 - MEASURING) * (samples as f64 / meter.samples as f64).min(1.0));
    }
    if samples != meter.samples {
        let text = format!("{name}: the file changed while it was read; try again when it is complete");
        return Err(Error::new("media.changed", text));
    }
    encoders.finish(emit)?;
    Ok(report)
}

/// [`transcode`] of a reader, decoded in this process, with all frames collected: for sound that is trusted
/// and short.
pub fn frames_of<R: Read + Seek + Send + Sync + 'static>(
    mut open: impl FnMut() -> std::io::Result<R>,
    name: &str,
    options: &Options,
    progress: impl FnMut(f64),
) -> Result<(Vec<Frames>, Report), Error> {
    let source = || Source::open(open().map_err(|error| super::header::unreadable(name, &error))?, name);
    let mut all: Vec<Frames> =
        options.bitrates.iter().map(|bitrate| Frames { bitrate: *bitrate, frames: Vec::new() }).collect();
    let mut keep = |rendition: usize, frame: Bytes| {
        all[rendition].frames.push(frame);
        Ok(())
    };
    let report = transcode(source, name, options, &mut keep, progress)?;
    Ok((all, report))
}

impl Options {
    /// Refuses what no encoder and no law of sound allows.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = self.bitrates.iter().find(|bitrate| !BITRATES.contains(bitrate));
        let fault = if let Some(wrong) = wrong {
            format!("bitrate {wrong} is outside 6000 to 64000 b/s")
        } else if !(1..=4).contains(&self.bitrates.len()) {
            format!("{} renditions are outside 1 to 4", self.bitrates.len())
        } else if !(0..=10).contains(&self.complexity) {
            format!("complexity {} is outside 0 to 10", self.complexity)
        } else if !(-70.0..=0.0).contains(&self.loudness) {
            format!("loudness {} is outside -70 to 0 LUFS", self.loudness)
        } else if !(-70.0..=0.0).contains(&self.peak) {
            format!("peak {} is outside -70 to 0 dBTP", self.peak)
        } else {
            return Ok(());
        };
        Err(Error::new("media.options", format!("transcoding: {fault}; set it within")))
    }
}

/// The first pass: EBU R128 over the whole file.
struct Meter {
    /// Keeps 8 bytes per 100 ms for the gate: 1.2 MB at four hours.
    meter: EbuR128,
    samples: u64,
}

impl Meter {
    fn new() -> Self {
        let meter = EbuR128::new(1, RATE, Mode::I | Mode::TRUE_PEAK).expect("mono at 48 kHz is measurable");
        Self { meter, samples: 0 }
    }

    fn add(&mut self, samples: &[f32]) {
        let added = self.meter.add_frames_f32(samples);
        debug_assert!(added.is_ok(), "mono frames are always whole");
        self.samples += samples.len() as u64;
    }

    /// One gain for the whole file: up or down to the loudness wanted, no further than the peak
    /// allows. Without a loudness (silence; shorter than one gating block of 0.4 s, ITU-R BS.1770
    /// Annex 1) nothing is raised.
    fn report(&self, options: &Options) -> Report {
        let loudness = self.meter.loudness_global().ok().filter(|loudness| loudness.is_finite());
        let peak = self.meter.true_peak(0).ok().filter(|peak| *peak > 0.0);
        let true_peak = peak.map(|peak| 20.0 * peak.log10());
        let wanted = loudness.map_or(0.0, |loudness| (options.loudness - loudness).min(MOST_GAIN));
        let allowed = true_peak.map_or(0.0, |peak| options.peak - peak);
        let duration = self.samples as f64 / f64::from(RATE);
        let before = Level { loudness, true_peak };
        Report { duration, before, gain: wanted.min(allowed), ..Report::default() }
    }
}
