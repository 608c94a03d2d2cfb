//! From packets with their places to mono at 48 kHz: trimmed, filled, screened, mixed, resampled.
use super::decoder::Decoder;
use super::fault::{Fault, guarded};
use super::stream::{Packet, Stream};
use crate::audio::header::{MOST_CHANNELS, RATES};
use crate::audio::input::{Damage, Found};
use crate::audio::mix::{Layout, Mixer};
use crate::audio::resample::ToPlayoutRate;

/// What plays now, and counts over all that has played. Places are in samples of the file's rate, 0 the first
/// that may be heard.
pub(super) struct Run {
    decoder: Decoder,
    rate: u32,
    mixer: Mixer,
    resampler: ToPlayoutRate,
    /// Place of the next sample.
    at: i64,
    ends: Option<u64>,
    samples: Option<u64>,
    slack: u64,
    clipping: Clipping,
    /// Of silence, what is still to be filled in.
    silence: u64,
    /// Decoded in this stream.
    decoded: u64,
    /// In this stream something was lost, so that no checksum can hold.
    damaged: bool,
    planes: Vec<Vec<f32>>,
    mono: Vec<f32>,
    /// Seconds of the streams before this one; packets seen, and seconds decoded, over all streams.
    before: f64,
    packets: u64,
    sound: f64,
    /// Out of phase, in seconds, of mixers before this one.
    against: f64,
}

impl Run {
    pub fn new(stream: Stream) -> Result<Self, Fault> {
        let channels = stream.layout.channels();
        check(stream.rate, channels)?;
        let decoder = Decoder::new(&stream.codec)?;
        Ok(Self {
            decoder,
            rate: stream.rate,
            mixer: Mixer::new(stream.layout, stream.rate),
            resampler: ToPlayoutRate::new(stream.rate),
            at: stream.begins,
            ends: stream.ends,
            samples: stream.samples,
            slack: stream.slack,
            clipping: Clipping::new(stream.full_scale),
            silence: 0,
            decoded: 0,
            damaged: false,
            planes: vec![Vec::new(); channels.into()],
            mono: Vec::new(),
            before: 0.0,
            packets: 0,
            sound: 0.0,
            against: 0.0,
        })
    }

    /// Samples at 48 kHz of all streams; neighbours of one rate are resampled as one.
    pub fn output_for(&self, lengths: &[(u32, u64)]) -> u64 {
        let mut same = lengths.chunk_by(|a, b| a.0 == b.0);
        let sum = |part: &[(u32, u64)]| part.iter().fold(0u64, |sum, (_, samples)| sum.saturating_add(*samples));
        same.by_ref().map(|part| ToPlayoutRate::length(part[0].0.into(), sum(part))).fold(0, u64::saturating_add)
    }

    /// One packet further.
    pub fn play(&mut self, packet: &Packet, out: &mut Vec<f32>, found: &mut Found) {
        self.packets += 1;
        let mut planes = std::mem::take(&mut self.planes);
        let decoder = &mut self.decoder;
        let ended = guarded(|| decoder.decode(packet, &mut planes)).and_then(|spec| self.agree(spec, out, found));
        match ended {
            Ok(()) => {
                self.reach(packet.at, found);
                if self.silence > 0 {
                    while self.fill(out, found) {}
                }
                let end = self.at + planes.first().map_or(0, Vec::len) as i64;
                let until = packet.until.or((packet.cut > 0).then(|| end.saturating_sub_unsigned(packet.cut)));
                self.emit(&mut planes, until, out, found);
            }
            Err(_) => {
                self.reach(packet.at, found);
                // What precedes the first good packet is the rest of what the file was cut out of.
                if self.decoded > 0 {
                    self.note(packet.samples, "packets that can't be decoded", found);
                }
                self.silence += packet.samples;
            }
        }
        self.planes = planes;
    }

    /// The sound may know its rate and its channels better than the container, but only before it has begun.
    fn agree(&mut self, spec: Option<(u32, Layout)>, out: &mut Vec<f32>, found: &mut Found) -> Result<(), Fault> {
        let Some((rate, layout)) = spec else { return Ok(()) };
        let alike = rate == self.rate && layout.channels() == self.mixer.layout().channels();
        if alike && (self.decoded > 0 || layout == *self.mixer.layout()) {
            return Ok(());
        }
        if self.decoded > 0 {
            return Err(Fault::damaged("the sample rate or the number of channels changes"));
        }
        check(rate, layout.channels())?;
        self.flush(out, found);
        (self.rate, self.mixer, self.resampler) = (rate, Mixer::new(layout, rate), ToPlayoutRate::new(rate));
        Ok(())
    }

    /// Notes that a stretch before `place` is missing, and fills it.
    fn reach(&mut self, place: Option<i64>, found: &mut Found) {
        let Some(place) = place else { return };
        let missing = place.saturating_sub(self.at.saturating_add(self.silence as i64));
        if missing > self.slack as i64 {
            self.lost(missing as u64, "a stretch is missing", found);
        }
    }

    /// `samples`: 0 where nobody can tell.
    pub fn lost(&mut self, samples: u64, what: &str, found: &mut Found) {
        self.note(samples, what, found);
        self.silence += samples.min(LONGEST_GAP * u64::from(self.rate));
    }

    /// Nothing more comes, and more should.
    pub fn early(&mut self, what: &str, found: &mut Found) {
        if self.missing() == 0 {
            self.note(0, what.split("; ").next().unwrap_or_default(), found);
        }
    }

    fn note(&mut self, samples: u64, what: &str, found: &mut Found) {
        self.damaged = true;
        let at = self.before + (self.at.max(0) as f64 + self.silence as f64) / f64::from(self.rate);
        let lasts = samples as f64 / f64::from(self.rate);
        found.lost += lasts;
        let room = found.damage.len() < MOST_DAMAGE;
        match found.damage.last_mut() {
            // A run of packets that can't be decoded is one damage.
            Some(last) if last.what == what && (last.at + last.lasts - at).abs() < 1e-3 => last.lasts += lasts,
            _ if room => found.damage.push(Damage { at, lasts, what: what.into() }),
            _ => {}
        }
    }

    /// Some silence of a gap; false if there is none.
    pub fn fill(&mut self, out: &mut Vec<f32>, found: &mut Found) -> bool {
        let count = self.silence.min(FILLING);
        self.silence -= count;
        if count > 0 {
            let mut planes = vec![vec![0.0; count as usize]; self.mixer.layout().channels().into()];
            self.output(&mut planes, None, out, found);
        }
        count > 0
    }

    fn emit(&mut self, planes: &mut [Vec<f32>], until: Option<i64>, out: &mut Vec<f32>, found: &mut Found) {
        let count = planes.iter().map(Vec::len).min().unwrap_or(0);
        self.decoded += count as u64;
        self.sound += count as f64 / f64::from(self.rate);
        self.output(planes, until, out, found);
    }

    /// Of planes that begin at the present place, what may be heard.
    fn output(&mut self, planes: &mut [Vec<f32>], until: Option<i64>, out: &mut Vec<f32>, found: &mut Found) {
        let count = planes.iter().map(Vec::len).min().unwrap_or(0);
        let (begin, end) = (self.at, self.at.saturating_add(count as i64));
        self.at = end;
        let last =
            [until, self.ends.and_then(|ends| i64::try_from(ends).ok())].into_iter().flatten().fold(end, i64::min);
        let (from, to) = ((-begin).clamp(0, count as i64) as usize, (last - begin).clamp(0, count as i64) as usize);
        if from >= to {
            return;
        }
        self.screen(planes, from..to, begin, found);
        let heard: Vec<&[f32]> = planes.iter().map(|plane| &plane[from..to]).collect();
        self.clipping.count(&heard, found);
        if let [only] = heard[..] {
            self.resampler.push(only, out);
            return;
        }
        self.mono.clear();
        self.mixer.push(&heard, &mut self.mono);
        self.resampler.push(&self.mono, out);
        found.out_of_phase = self.against + self.mixer.out_of_phase() as f64 / f64::from(self.rate);
    }

    /// What is not a number, or beyond any loudness, becomes silence.
    fn screen(&mut self, planes: &mut [Vec<f32>], heard: std::ops::Range<usize>, begin: i64, found: &mut Found) {
        let good = |sample: f32| sample.abs() <= LOUDEST;
        let fine = |plane: &[f32]| plane.iter().fold(true, |fine, sample| fine & good(*sample));
        if planes.iter().all(|plane| fine(&plane[heard.clone()])) {
            return;
        }
        let bad = |at: &usize| planes.iter().any(|plane| !good(plane[*at]));
        let places: Vec<usize> = heard.filter(bad).collect();
        let now = self.at;
        for stretch in places.chunk_by(|a, b| a + 1 == *b) {
            self.at = begin + stretch[0] as i64;
            self.sound -= stretch.len() as f64 / f64::from(self.rate);
            self.note(stretch.len() as u64, "a sample is not a number or beyond any loudness", found);
        }
        self.at = now;
        for plane in planes {
            for at in &places {
                plane[*at] = 0.0;
            }
        }
    }

    /// Promised and not there.
    fn missing(&self) -> u64 {
        let there = self.at.max(0) as u64 + self.silence;
        self.samples.map_or(0, |promised| promised.saturating_sub(there).saturating_sub(self.slack))
    }

    /// The stream ends here: was it all there?
    pub fn close(&mut self, found: &mut Found) -> Result<(), Fault> {
        let missing = self.missing();
        if let (Some(promised), 1..) = (self.samples, missing) {
            let there = promised - missing;
            // Encoders differ in whether they count a last, partial block.
            if missing > ROUNDING {
                if there < promised / 2 {
                    return Err(Fault::truncated(there, promised, self.rate));
                }
                self.note(missing, "the file ends before its sound does", found);
            }
        }
        if !self.damaged && !self.decoder.verified() {
            self.note(0, "the sound is not what its checksum says", found);
        }
        Ok(())
    }

    /// The next stream, behind the one that was closed.
    pub fn go_on(&mut self, mut next: Self, out: &mut Vec<f32>, found: &mut Found) {
        while self.fill(out, found) {}
        next.before = self.before + self.at.max(0) as f64 / f64::from(self.rate);
        (next.packets, next.sound) = (self.packets, self.sound);
        if next.rate == self.rate && next.mixer.layout() == self.mixer.layout() {
            // One resampler over both: no seam.
            std::mem::swap(&mut next.mixer, &mut self.mixer);
            std::mem::swap(&mut next.resampler, &mut self.resampler);
            next.against = self.against;
        } else {
            self.flush(out, found);
            next.against = self.against;
        }
        *self = next;
    }

    /// What mixer and resampler still hold.
    fn flush(&mut self, out: &mut Vec<f32>, found: &mut Found) {
        self.mono.clear();
        self.mixer.finish(&mut self.mono);
        self.resampler.push(&self.mono, out);
        self.resampler.finish(out);
        self.against += self.mixer.out_of_phase() as f64 / f64::from(self.rate);
        found.out_of_phase = self.against;
    }

    /// The end of all.
    pub fn finish(&mut self, out: &mut Vec<f32>, found: &mut Found) -> Result<(), Fault> {
        if self.packets == 0 {
            return Err(Fault::without_sound());
        }
        if self.sound == 0.0 && found.lost == 0.0 {
            return Err(Fault::new(
                "media.damaged",
                "at 0.000 s: nothing of it can be decoded; copy or export it again",
            ));
        }
        if found.lost > self.sound {
            let place = found.damage.first().map_or(0.0, |damage| damage.at);
            let what = found.damage.first().map_or("nothing", |damage| &damage.what);
            let text = format!(
                "at {place:.3} s: {what}; {:.3} s are lost, more than is left; copy or export it again",
                found.lost
            );
            return Err(Fault::new("media.damaged", text));
        }
        while self.fill(out, found) {}
        self.flush(out, found);
        Ok(())
    }
}

/// Refuses what no recording of speech has.
pub(super) fn check(rate: u32, channels: u16) -> Result<(), Fault> {
    if !RATES.contains(&rate) {
        let (low, high) = (RATES.start(), RATES.end());
        let text =
            format!("the header gives a sample rate of {rate} Hz, Loa takes {low} to {high}; export it at 48000");
        return Err(Fault::new("media.unsupported", text));
    }
    if channels == 0 || channels > MOST_CHANNELS {
        let text = format!(
            "the header gives {channels} channels, Loa takes 1 to {MOST_CHANNELS}; export it as mono or stereo"
        );
        return Err(Fault::new("media.unsupported", text));
    }
    Ok(())
}

/// Runs of samples at full scale.
struct Clipping {
    full_scale: f32,
    /// Length of the run that each channel is in.
    runs: [u64; MOST_CHANNELS as usize],
}

impl Clipping {
    fn new(full_scale: f32) -> Self {
        Self { full_scale, runs: [0; MOST_CHANNELS as usize] }
    }

    fn count(&mut self, planes: &[&[f32]], found: &mut Found) {
        let full = self.full_scale;
        for (plane, run) in planes.iter().zip(&mut self.runs) {
            if !plane.iter().fold(false, |any, sample| any | (sample.abs() >= full)) {
                *run = 0;
                continue;
            }
            for sample in *plane {
                *run = if sample.abs() >= full { *run + 1 } else { 0 };
                match *run {
                    SHORTEST_RUN => {
                        found.clipped_runs += 1;
                        found.clipped += SHORTEST_RUN;
                    }
                    run if run > SHORTEST_RUN => found.clipped += 1,
                    _ => {}
                }
            }
        }
    }
}

/// Float samples beyond this (+120 dBFS) are no sound but a damaged or mislabelled file.
const LOUDEST: f32 = 1e6;
/// One or two samples at full scale are a peak that was normalised.
const SHORTEST_RUN: u64 = 3;
/// Seconds of silence for one gap: of the lowest bitrates, 10 s are already 10,000 bytes lost in one piece; a
/// timestamp that leaps further is itself what is damaged.
pub(super) const LONGEST_GAP: u64 = 10;
/// Entries of [`Found::damage`]; the sum of all stays right.
const MOST_DAMAGE: usize = 100;
/// Samples of silence made at once.
const FILLING: u64 = 1 << 14;
/// Samples by which a file may fall short of its promise unnoticed: one long block of any codec.
const ROUNDING: u64 = 4_096;
