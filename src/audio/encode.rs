//! 48 kHz mono → loudness → Opus frames of 20 ms, hard CBR.
use super::frames::{Frames, is_frame};
use super::{Error, Source};
use crate::time::RATE;
use bytes::{Bytes, BytesMut};
use ebur128::{EbuR128, Mode};
use opus::{Application, Bitrate, Channels, Encoder, Repacketizer};
use std::io::{Read, Seek};

/// Samples per Opus frame (20 ms).
pub const FRAME: usize = 960;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// b/s, 6,000–64,000.
    pub bitrate: u32,
    /// Integrated loudness wanted, LUFS.
    pub loudness: f64,
    /// True peak allowed, dBTP.
    pub peak: f64,
    /// Opus complexity, 0–10.
    pub complexity: i32,
    /// Longest file accepted, seconds.
    pub longest: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { bitrate: 24_000, loudness: -16.0, peak: -1.5, complexity: 10, longest: 4 * 3600 }
    }
}

/// What the transcoder found.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Report {
    /// Seconds of sound.
    pub duration: f64,
    /// Integrated loudness before, LUFS; `None` for silence and for less than 0.4 s.
    pub loudness: Option<f64>,
    /// Before, dBTP; `None` for digital silence.
    pub true_peak: Option<f64>,
    /// Gain applied, dB.
    pub gain: f64,
}

/// dB. A recording that needs more holds hardly anything but its own noise.
const MOST_GAIN: f64 = 40.0;
/// Of the whole work, the first pass's share of the time, for the progress given out.
const MEASURING: f64 = 0.25;
/// The longest Opus packet that a 20 ms frame can become (RFC 6716 §3.2.1).
const LONGEST_PACKET: usize = 1_276;

/// Decodes, normalises (two passes over what `open` gives) and encodes once. `progress` hears of the
/// part done, 0 to 1.
pub fn transcode<R: Read + Seek + Send + Sync + 'static>(
    mut open: impl FnMut() -> std::io::Result<R>,
    name: &str,
    options: &Options,
    mut progress: impl FnMut(f64),
) -> Result<(Frames, Report), Error> {
    check(options)?;
    let mut source = || Source::open(open().map_err(|error| super::header::unreadable(name, &error))?, name);
    let limit = u64::from(options.longest) * u64::from(RATE);

    let mut meter = Meter::new();
    let mut first = source()?;
    let promised = first.promised();
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
    drop(first);
    if meter.samples.max(promised.unwrap_or(0)) > limit {
        let text = format!("{name}: lasts over {} s, the longest accepted; cut it into parts", options.longest);
        return Err(Error::new("media.too_long", text));
    }

    let report = meter.report(options);
    let factor = 10f64.powf(report.gain / 20.0) as f32;
    let mut second = source()?;
    let mut coder = Coder::new(options)?;
    let mut samples = 0;
    let mut more = true;
    while more && samples <= meter.samples {
        block.clear();
        more = second.read(&mut block)?;
        for sample in &mut block {
            *sample *= factor;
        }
        coder.add(&block)?;
        samples += block.len() as u64;
        progress(MEASURING + (1.0 - MEASURING) * (samples as f64 / meter.samples as f64).min(1.0));
    }
    if samples != meter.samples {
        let text = format!("{name}: the file changed while it was read; try again when it is complete");
        return Err(Error::new("media.changed", text));
    }
    Ok((coder.finish()?, report))
}

fn check(options: &Options) -> Result<(), Error> {
    let fault = if !(6_000..=64_000).contains(&options.bitrate) {
        format!("bitrate {} is outside 6000 to 64000 b/s", options.bitrate)
    } else if !(0..=10).contains(&options.complexity) {
        format!("complexity {} is outside 0 to 10", options.complexity)
    } else if !(-70.0..=0.0).contains(&options.loudness) {
        format!("loudness {} is outside -70 to 0 LUFS", options.loudness)
    } else if !(-70.0..=0.0).contains(&options.peak) {
        format!("peak {} is outside -70 to 0 dBTP", options.peak)
    } else {
        return Ok(());
    };
    Err(Error::new("media.options", format!("transcoding: {fault}; set it within")))
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
        Report { duration, loudness, true_peak, gain: wanted.min(allowed) }
    }
}

/// The second pass.
///
/// A decoder's output lags the encoder's input by the encoder's look-ahead (312 samples). Frames
/// carry no such offset, and packet 0 sounds at the anchor; so the first `lookahead` samples are
/// withheld: the encoder's frame `n` starts at sample `n × 960 + lookahead` of the file, and the decoder's
/// frame `n` gives back the file's samples from `n × 960`. What is lost is the file's first 6.5 ms,
/// faded in by the codec.
struct Coder {
    encoder: Encoder,
    bitrate: u32,
    /// Samples of the look-ahead still to be withheld.
    withhold: usize,
    /// Less than a frame.
    waiting: Vec<f32>,
    samples: u64,
    packet: [u8; LONGEST_PACKET],
    bytes: BytesMut,
    /// Of every frame, set by the first.
    size: usize,
    count: u64,
}

impl Coder {
    fn new(options: &Options) -> Result<Self, Error> {
        let mut encoder = Encoder::new(RATE, Channels::Mono, Application::Voip).map_err(internal)?;
        encoder.set_bitrate(Bitrate::Bits(options.bitrate as i32)).map_err(internal)?;
        encoder.set_vbr(false).map_err(internal)?;
        encoder.set_inband_fec(false).map_err(internal)?;
        encoder.set_dtx(false).map_err(internal)?;
        encoder.set_complexity(options.complexity).map_err(internal)?;
        let withhold = encoder.get_lookahead().map_err(internal)?.max(0) as usize;
        Ok(Self {
            encoder,
            bitrate: options.bitrate,
            withhold,
            waiting: Vec::with_capacity(FRAME),
            samples: 0,
            packet: [0; LONGEST_PACKET],
            bytes: BytesMut::new(),
            size: 0,
            count: 0,
        })
    }

    fn add(&mut self, samples: &[f32]) -> Result<(), Error> {
        self.samples += samples.len() as u64;
        let withheld = self.withhold.min(samples.len());
        self.withhold -= withheld;
        let mut rest = &samples[withheld..];
        while !rest.is_empty() {
            let room = (FRAME - self.waiting.len()).min(rest.len());
            self.waiting.extend_from_slice(&rest[..room]);
            rest = &rest[room..];
            if self.waiting.len() == FRAME {
                self.encode()?;
            }
        }
        Ok(())
    }

    /// Zeros fill the last frame: as many frames as the file's own samples begin.
    fn finish(mut self) -> Result<Frames, Error> {
        while self.count < self.samples.div_ceil(FRAME as u64) {
            self.waiting.resize(FRAME, 0.0);
            self.encode()?;
        }
        let (all, size) = (self.bytes.freeze(), self.size.max(1));
        let frames = (0..all.len() / size).map(|index| all.slice(index * size..(index + 1) * size)).collect();
        Ok(Frames { bitrate: self.bitrate, frames })
    }

    fn encode(&mut self) -> Result<(), Error> {
        let size = self.encoder.encode_float(&self.waiting, &mut self.packet).map_err(internal)?;
        self.waiting.clear();
        if self.count == 0 {
            self.size = size;
        }
        if size != self.size {
            let text = format!("frame {} has {size} bytes, all before {}; report this", self.count, self.size);
            return Err(Error::new("media.encoder", text));
        }
        self.bytes.extend_from_slice(&self.packet[..size]);
        self.count += 1;
        Ok(())
    }
}

fn internal(error: opus::Error) -> Error {
    Error::new("media.encoder", format!("the Opus encoder refuses its settings: {error}; report this"))
}

/// Frames of 20 ms per Opus packet (RFC 6716 §3.2: at most 120 ms).
const MOST_FRAMES: usize = 6;
/// All of the TOC but the frame count, which joining rewrites (RFC 6716 §3.1).
const CONFIGURATION: u8 = 0xfc;

/// Joins 20 ms frames into Opus packets of at most 120 ms (RFC 6716 §3.2); a changed TOC begins a new
/// one. `frames` are one track packet's worth. Padding of the frames is left out, so that records may
/// come out shorter than their frames. A frame that isn't 20 ms of Opus is passed on by itself.
pub fn join(frames: &[Bytes]) -> Vec<Bytes> {
    let mut records = Vec::with_capacity(frames.len().div_ceil(MOST_FRAMES));
    let mut rest = frames;
    while let Some(first) = rest.first() {
        let joinable = |frame: &&Bytes| is_frame(frame) && frame[0] & CONFIGURATION == first[0] & CONFIGURATION;
        let together = rest.iter().take(MOST_FRAMES).take_while(joinable).count().max(1);
        let (group, remaining) = rest.split_at(together);
        rest = remaining;
        match combine(group) {
            Some(record) => records.push(record),
            None => records.extend_from_slice(group),
        }
    }
    records
}

fn combine(group: &[Bytes]) -> Option<Bytes> {
    let slices: Vec<&[u8]> = group.iter().map(Bytes::as_ref).collect();
    // Each frame adds at most two bytes of length to its own, and the packet two of header.
    let mut record = vec![0; slices.iter().map(|frame| frame.len() + 2).sum::<usize>() + 2];
    let length = Repacketizer::new().ok()?.combine(&slices, &mut record).ok()?;
    record.truncate(length);
    Some(record.into())
}
