//! Files to Opus: measured, levelled, limited, encoded.
use super::chain::{self, Encoding, Given};
use super::encode::BITRATES;
use super::tone::{TONE, tone};
use super::{Damage, Error, Facts, Frames, Input, Source};
use crate::time::RATE;
use bytes::Bytes;
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
    /// The attention tone ahead of it all.
    pub tone: bool,
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
            tone: false,
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
    /// Of what went into the encoder: louder than wanted by what coding takes off.
    pub after: Level,
    /// Applied to the whole, dB, with what makes up for the limiter's and the codec's loss; with a slow
    /// gain, that at the end.
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

/// Reads what `open` gives, once (or twice, if it is longer than [`super::spool::SPOOLED`] holds and the leveling
/// is measured), and hands each encoded frame of each rendition to `emit` as soon as it is made. `progress`
/// hears of the part done, 0 to 1. CPU only, blocking.
pub fn transcode<I: Input + 'static>(
    mut open: impl FnMut() -> Result<I, Error>,
    name: &str,
    options: &Options,
    emit: &mut dyn FnMut(usize, Bytes) -> Result<(), Error>,
    progress: impl FnMut(f64),
) -> Result<Report, Error> {
    let mut open = || open().map(|input| Box::new(input) as Box<dyn Input>);
    let mut part = [Part { name, open: &mut open, speech: true }];
    let mut sequence = sequence(&mut part, options, emit, progress)?;
    let mut report = sequence.reports.pop().unwrap_or_default();
    report.duration = sequence.samples as f64 / f64::from(RATE);
    Ok(report)
}

/// One of several inputs that follow each other: a jingle, the bulletin, a jingle.
pub struct Part<'a> {
    /// For messages.
    pub name: &'a str,
    /// Gives the same input each time; it is called once or twice.
    pub open: &'a mut dyn FnMut() -> Result<Box<dyn Input>, Error>,
    /// Whether [`Options::speech`] is meant for this part too: a jingle is none.
    pub speech: bool,
}

/// What became of a sequence.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sequence {
    /// Encoded, at 48 kHz: tone, parts and the gaps between them.
    pub samples: u64,
    /// Of each part, in order; the tone has none.
    pub reports: Vec<Report>,
}

/// [`transcode`] of several inputs into one run of frames: each brought to the same loudness by itself, with short
/// gaps between, and the attention tone ahead of all if the options say so.
pub fn sequence(
    parts: &mut [Part],
    options: &Options,
    emit: &mut dyn FnMut(usize, Bytes) -> Result<(), Error>,
    mut progress: impl FnMut(f64),
) -> Result<Sequence, Error> {
    options.check()?;
    let mut encoding = Encoding::new(options, emit)?;
    let mut reports = Vec::with_capacity(parts.len());
    if options.tone {
        let plain = Options { leveling: Leveling::Measured, speech: false, silence: None, ..options.clone() };
        let mut open = || Ok(Box::new(Given::new(tone(TONE).map(|tone| tone.samples).unwrap_or_default())) as Box<_>);
        chain::run(&mut open, "attention tone", &plain, &mut encoding, &mut |_| ())?;
    }
    let count = parts.len() as f64;
    for (number, part) in parts.iter_mut().enumerate() {
        if encoding.samples > 0 {
            encoding.push(&[0.0; GAP])?;
        }
        let options = Options { speech: options.speech && part.speech, ..options.clone() };
        let mut within = |done: f64| progress((number as f64 + done) / count);
        reports.push(chain::run(part.open, part.name, &options, &mut encoding, &mut within)?);
    }
    Ok(Sequence { samples: encoding.finish()?, reports })
}

/// Samples between two parts: 0.3 s, a breath.
const GAP: usize = RATE as usize * 3 / 10;

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
        } else if self.silence.is_some_and(|silence| !(0.0..=60.0).contains(&silence)) {
            format!("silence {:?} is outside 0 to 60 s", self.silence.unwrap_or_default())
        } else {
            return Ok(());
        };
        Err(Error::new("media.options", format!("transcoding: {fault}; set it within")))
    }
}
