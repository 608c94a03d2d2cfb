//! One input on its way to the encoders: speech option, silence trimmed, levelled, limited; measured before and after.
//!
//! ```text
//! first pass   input ▸ de-clip … compression ▸ ┬ loudness, true peak ┬ level of each 10 ms ┬ excerpts ┬ spool
//! between      gain = wanted + what limiter and codec take off the excerpts; where the sound begins and ends
//! second pass  spool, then the input again ▸ gain ▸ limiter ▸ loudness, true peak ▸ encoders
//! ```
//! Memory: 64 MiB of spool, 12 MB of excerpts, 2 MB of levels at four hours; without a measured gain, 4 MB.
use super::encode::Encoders;
use super::loss::correction;
use super::loudness::Loudness;
use super::peak::TruePeak;
use super::silence::{Quiet, Sounding, Trimmer};
use super::speech::Speech;
use super::spool::{Excerpts, SPOOLED, Spool};
use super::transcode::{Clipping, Level, Leveling, Options, Report, Silence};
use super::{Error, Facts, Found, Input, Leveller, Limiter};
use crate::time::RATE;
use bytes::Bytes;

/// Where encoded frames go.
pub(super) type Emit<'a> = &'a mut dyn FnMut(usize, Bytes) -> Result<(), Error>;
/// Gives the same input each time.
pub(super) type Open<'a> = &'a mut dyn FnMut() -> Result<Box<dyn Input>, Error>;

/// The encoders, and how much went into them.
pub(super) struct Encoding<'a> {
    encoders: Encoders,
    emit: Emit<'a>,
    pub samples: u64,
}

impl<'a> Encoding<'a> {
    pub fn new(options: &Options, emit: Emit<'a>) -> Result<Self, Error> {
        Ok(Self { encoders: Encoders::new(&options.bitrates, options.complexity)?, emit, samples: 0 })
    }

    pub fn push(&mut self, samples: &[f32]) -> Result<(), Error> {
        self.samples += samples.len() as u64;
        self.encoders.push(samples, self.emit)
    }

    pub fn finish(self) -> Result<u64, Error> {
        self.encoders.finish(self.emit)?;
        Ok(self.samples)
    }
}

/// Brings one input to the encoders. `progress` hears 0 to 1.
pub(super) fn run(
    open: Open,
    name: &str,
    options: &Options,
    encoding: &mut Encoding,
    progress: &mut dyn FnMut(f64),
) -> Result<Report, Error> {
    match options.leveling {
        Leveling::Measured => measured(open, name, options, SPOOLED, encoding, progress),
        Leveling::Slow | Leveling::Off => passing(open, name, options, encoding, progress),
    }
}

/// Two passes: the first measures and keeps, the second encodes what was kept, and beyond that what it
/// decodes again.
fn measured(
    open: Open,
    name: &str,
    options: &Options,
    spooled: usize,
    encoding: &mut Encoding,
    progress: &mut dyn FnMut(f64),
) -> Result<Report, Error> {
    let mut front = Front::new(open()?, name, options)?;
    let (mut before, mut quiet, mut excerpts) = (Meter::new(), Quiet::new(), Excerpts::new());
    let mut spool = Spool::new(spooled);
    let mut block = Vec::new();
    let mut more = true;
    while more {
        block.clear();
        more = front.read(&mut block)?;
        before.push(&block);
        quiet.push(&block);
        excerpts.push(&block);
        spool.push(&block);
        if let Some(promised) = front.facts().samples {
            progress(MEASURING * (spool.taken() as f64 / promised.max(1) as f64).min(1.0));
        }
    }
    spool.finish();
    let total = spool.taken();
    let before = before.level();
    let found = before.loudness.and_then(|loudness| quiet.sounding(loudness));
    let kept = kept(found, total, options.silence);
    let gain = match before.loudness {
        // Silence, or shorter than one gating block of 0.4 s (ITU-R BS.1770-4 Annex 1): nothing is raised.
        None => 0.0,
        Some(loudness) => {
            let wanted = (options.loudness - loudness).min(MOST_GAIN);
            wanted + correction(&excerpts.finish(), wanted, options)?
        }
    };
    let mut report = front.report();
    (report.before, report.gain) = (before, gain);
    report.silence = silence(found, total, total - (kept.end - kept.start));

    let mut tail = Tail::new(options, encoding);
    tail.gain(gain);
    let mut at = 0;
    let mut pass = |block: &mut [f32], progress: &mut dyn FnMut(f64)| {
        let (begin, end) = (at, at + block.len() as u64);
        at = end;
        let within = |place: u64| (place.clamp(kept.start, kept.end).clamp(begin, end) - begin) as usize;
        tail.push(&mut block[within(begin)..within(end)])?;
        progress(MEASURING + (1.0 - MEASURING) * (end as f64 / total.max(1) as f64).min(1.0));
        Ok::<(), Error>(())
    };
    let in_memory = spool.kept();
    let mut next = spool.drain();
    while next(&mut block) {
        pass(&mut block, progress)?;
    }
    if in_memory < total {
        let mut again = Front::new(open()?, name, options)?;
        let (mut taken, mut more) = (0, true);
        while more && taken <= total {
            block.clear();
            more = again.read(&mut block)?;
            let skip = in_memory.saturating_sub(taken).min(block.len() as u64) as usize;
            taken += block.len() as u64;
            pass(&mut block[skip..], progress)?;
        }
        if taken != total {
            let text = format!("{name}: the file changed while it was read; try again when it is complete");
            return Err(Error::new("media.changed", text));
        }
    }
    (report.after, report.limited) = tail.finish()?;
    report.duration = seconds(kept.end - kept.start);
    progress(1.0);
    Ok(report)
}

/// One pass: what is read leaves at once.
fn passing(
    open: Open,
    name: &str,
    options: &Options,
    encoding: &mut Encoding,
    progress: &mut dyn FnMut(f64),
) -> Result<Report, Error> {
    let mut front = Front::new(open()?, name, options)?;
    let (mut before, mut quiet) = (Meter::new(), Quiet::new());
    let mut trimmer = options.silence.map(Trimmer::new);
    let mut leveller = (options.leveling == Leveling::Slow).then(|| Leveller::new(options.loudness));
    let begin = encoding.samples;
    let mut tail = Tail::new(options, encoding);
    let (mut block, mut trimmed) = (Vec::new(), Vec::new());
    let (mut total, mut off, mut more) = (0, 0, true);
    while more {
        block.clear();
        more = front.read(&mut block)?;
        total += block.len() as u64;
        before.push(&block);
        quiet.push(&block);
        if let Some(trimmer) = &mut trimmer {
            trimmed.clear();
            trimmer.push(&block, &mut trimmed);
            std::mem::swap(&mut block, &mut trimmed);
        }
        if !more && let Some(trimmer) = trimmer.take() {
            off = trimmer.finish(&mut block);
        }
        if let Some(leveller) = &mut leveller {
            leveller.push(&mut block);
        }
        tail.push(&mut block)?;
        if let Some(promised) = front.facts().samples {
            progress((total as f64 / promised.max(1) as f64).min(1.0));
        }
    }
    let (after, limited) = tail.finish()?;
    let before = before.level();
    let found = before.loudness.and_then(|loudness| quiet.sounding(loudness));
    progress(1.0);
    Ok(Report {
        duration: seconds(encoding.samples - begin),
        before,
        after,
        gain: leveller.map_or(0.0, |leveller| leveller.gain()),
        limited,
        silence: silence(found, total, off),
        ..front.report()
    })
}

/// Samples that are there already.
pub(super) struct Given {
    facts: Facts,
    found: Found,
    samples: Vec<f32>,
}

impl Given {
    pub fn new(samples: Vec<f32>) -> Self {
        let facts = Facts { rate: RATE, channels: 1, samples: Some(samples.len() as u64), ..Facts::default() };
        Self { facts, found: Found::default(), samples }
    }
}

impl Input for Given {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn read(&mut self, out: &mut Vec<f32>) -> Result<bool, Error> {
        out.append(&mut self.samples);
        Ok(false)
    }

    fn found(&self) -> &Found {
        &self.found
    }
}

/// An input and what is done to it before anything is measured; never longer than the options allow.
struct Front<'a> {
    input: Box<dyn Input>,
    name: &'a str,
    longest: u32,
    speech: Option<Speech>,
    raw: Vec<f32>,
    taken: u64,
}

impl<'a> Front<'a> {
    fn new(input: Box<dyn Input>, name: &'a str, options: &Options) -> Result<Self, Error> {
        let speech = options.speech.then(Speech::new);
        let this = Self { input, name, longest: options.longest, speech, raw: Vec::new(), taken: 0 };
        this.check(this.input.facts().samples.unwrap_or(0))?;
        Ok(this)
    }

    fn check(&self, samples: u64) -> Result<(), Error> {
        if samples <= u64::from(self.longest) * u64::from(RATE) {
            return Ok(());
        }
        let text = format!("{}: lasts over {} s, the longest accepted; cut it into parts", self.name, self.longest);
        Err(Error::new("media.too_long", text))
    }

    fn read(&mut self, out: &mut Vec<f32>) -> Result<bool, Error> {
        self.raw.clear();
        let more = self.input.read(&mut self.raw)?;
        self.taken += self.raw.len() as u64;
        self.check(self.taken)?;
        for sample in &mut self.raw {
            // What is no number would stay in every filter; NaN compares as false.
            *sample = if sample.abs() <= LOUDEST { *sample } else { 0.0 };
        }
        match &mut self.speech {
            None => out.append(&mut self.raw),
            Some(speech) => {
                speech.push(&self.raw, out);
                if !more {
                    speech.finish(out);
                }
            }
        }
        Ok(more)
    }

    fn facts(&self) -> &Facts {
        self.input.facts()
    }

    /// What the input says of itself.
    fn report(&self) -> Report {
        let Found { damage, lost, out_of_phase, clipped, clipped_runs } = self.input.found().clone();
        let clipping = Clipping { samples: clipped, runs: clipped_runs };
        Report { facts: self.facts().clone(), damage, lost, out_of_phase, clipping, ..Report::default() }
    }
}

/// Gain, limiter and meter before the encoders.
struct Tail<'a, 'b> {
    factor: f32,
    limiter: Limiter,
    limited: Vec<f32>,
    meter: Meter,
    encoding: &'a mut Encoding<'b>,
}

impl<'a, 'b> Tail<'a, 'b> {
    fn new(options: &Options, encoding: &'a mut Encoding<'b>) -> Self {
        Self { factor: 1.0, limiter: Limiter::new(options.peak), limited: Vec::new(), meter: Meter::new(), encoding }
    }

    /// dB, of all that comes.
    fn gain(&mut self, gain: f64) {
        self.factor = 10f64.powf(gain / 20.0) as f32;
    }

    fn push(&mut self, samples: &mut [f32]) -> Result<(), Error> {
        for sample in samples.iter_mut() {
            *sample *= self.factor;
        }
        self.limited.clear();
        self.limiter.push(samples, &mut self.limited);
        self.meter.push(&self.limited);
        self.encoding.push(&self.limited)
    }

    fn finish(mut self) -> Result<(Level, f64), Error> {
        self.limited.clear();
        let most = self.limiter.most_reduction();
        self.limiter.finish(&mut self.limited);
        self.meter.push(&self.limited);
        self.encoding.push(&self.limited)?;
        Ok((self.meter.level(), most))
    }
}

/// Loudness and true peak. Of ten minutes, libebur128 takes 0.49 s of CPU for both and this 0.21; encoding them
/// at 24 kb/s takes 7.6, and it is done twice.
struct Meter {
    loudness: Loudness,
    peak: TruePeak,
}

impl Meter {
    fn new() -> Self {
        Self { loudness: Loudness::new(), peak: TruePeak::new() }
    }

    fn push(&mut self, samples: &[f32]) {
        self.loudness.push(samples);
        self.peak.push(samples);
    }

    fn level(&self) -> Level {
        Level { loudness: self.loudness.integrated(), true_peak: self.peak.peak() }
    }
}

/// The samples that stay.
fn kept(found: Option<Sounding>, total: u64, keep: Option<f64>) -> std::ops::Range<u64> {
    match (found, keep) {
        (Some(found), Some(keep)) => {
            let keep = (keep * f64::from(RATE)) as u64;
            found.begin.saturating_sub(keep)..(found.end + keep).min(total)
        }
        _ => 0..total,
    }
}

fn silence(found: Option<Sounding>, total: u64, trimmed: u64) -> Silence {
    let found = found.unwrap_or(Sounding { begin: total, end: total, longest: 0 });
    Silence {
        leading: seconds(found.begin),
        trailing: seconds(total - found.end),
        trimmed: seconds(trimmed),
        longest: seconds(found.longest),
    }
}

fn seconds(samples: u64) -> f64 {
    samples as f64 / f64::from(RATE)
}

/// No sound is louder, +120 dBFS: what is comes from a damaged file.
const LOUDEST: f32 = 1e6;
/// dB. A recording that needs more holds hardly anything but its own noise.
const MOST_GAIN: f64 = 40.0;
/// Of the whole work, the first pass's share of the time, for the progress given out.
const MEASURING: f64 = 0.15;

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(samples: usize) -> Vec<f32> {
        (0..samples).map(|at| (at as f32 * 0.03).sin() * (at as f32 * 0.000_1).sin().abs() * 0.3).collect()
    }

    /// Frames of an input that has so many samples at its first reading, and at its second.
    fn encoded(lengths: [usize; 2], spooled: usize, options: &Options) -> Result<(Vec<Bytes>, Report, usize), Error> {
        let (mut opened, mut frames) = (0, Vec::new());
        let mut open = || {
            opened += 1;
            Ok(Box::new(Given::new(wave(lengths[opened.min(2) - 1]))) as Box<dyn Input>)
        };
        let mut emit = |_, frame| {
            frames.push(frame);
            Ok(())
        };
        let mut encoding = Encoding::new(options, &mut emit)?;
        let report = measured(&mut open, "a.wav", options, spooled, &mut encoding, &mut |_| ())?;
        encoding.finish()?;
        Ok((frames, report, opened))
    }

    #[test]
    fn what_memory_does_not_hold_is_decoded_again_and_sounds_the_same() {
        for speech in [false, true] {
            let options = Options { complexity: 0, speech, silence: Some(0.1), ..Options::default() };
            let (whole, report, opened) = encoded([200_001; 2], 1 << 20, &options).unwrap();
            assert_eq!((opened, whole.len()), (1, ((report.duration * 48_000.0).round() as usize + 312).div_ceil(960)));
            for spooled in [0, 9_600, 100_000] {
                let (frames, again, opened) = encoded([200_001; 2], spooled, &options).unwrap();
                assert_eq!((opened, frames.len()), (2, whole.len()));
                assert!((again.after.loudness.unwrap() - report.after.loudness.unwrap()).abs() < 1e-3);
            }
        }
    }

    #[test]
    fn what_is_no_number_and_what_is_no_sound_do_no_harm() {
        let mut samples = wave(100_000);
        (samples[100], samples[5_000], samples[70_000], samples[70_001]) = (f32::NAN, f32::INFINITY, -1e30, 1e6);
        for (leveling, speech) in [(Leveling::Measured, false), (Leveling::Measured, true), (Leveling::Slow, false)] {
            let options = Options { complexity: 0, leveling, speech, silence: Some(0.1), ..Options::default() };
            let mut open = || Ok(Box::new(Given::new(samples.clone())) as Box<dyn Input>);
            let mut count = 0;
            let mut emit = |_, _| {
                count += 1;
                Ok(())
            };
            let mut encoding = Encoding::new(&options, &mut emit).unwrap();
            let report = run(&mut open, "a.wav", &options, &mut encoding, &mut |_| ()).unwrap();
            encoding.finish().unwrap();
            assert!(count > 0 && report.after.true_peak.unwrap() <= -1.5 + 1e-3, "{report:?}");
        }
    }

    #[test]
    fn a_file_that_changes_between_two_readings_is_refused() {
        for second in [150_000, 150_001, 199_999, 200_001, 400_000] {
            let error =
                encoded([200_000, second], 50_000, &Options { complexity: 0, ..Options::default() }).unwrap_err();
            assert_eq!(error.code, "media.changed");
            assert!(error.text.starts_with("a.wav"), "{error}");
        }
    }
}
