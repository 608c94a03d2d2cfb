//! The sound thread: one modelled sound card that lets frames out at its own rate, into a WAV file or
//! nowhere.
//!
//! The card's frame counter runs with the machine's monotonic clock times 48,000 × (1 + error). Latency
//! is settled here and nowhere else: the renderer's output lags the plan by `Renderer::LATENCY` frames,
//! so the card leaves the first `LATENCY` rendered frames out. Frame `p` of the plan (`Step::at`) is
//! then frame `p` of the device and of the file, and the player need not know.
use super::clock;
use super::node::Played;
use super::queue;
use crate::audio::{Content, Renderer, Step};
use crate::playout::Device;
use crate::time::{Local, RATE};
use crossbeam_channel::{Receiver, TryRecvError};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use uuid::Uuid;

/// What a sound thread is given.
pub struct Options {
    /// `None`: the null device.
    pub file: Option<PathBuf>,
    pub rate_error_ppm: f64,
    pub steps: Receiver<Step>,
    pub reports: queue::Sender<Device>,
    pub played: Arc<Mutex<VecDeque<Played>>>,
}

/// Starts the thread; it ends when the sender of its steps is dropped.
pub fn start(options: Options) -> io::Result<JoinHandle<()>> {
    let sink = options.file.as_deref().map(Sink::create).transpose()?;
    std::thread::Builder::new().name("sound".into()).spawn(move || run(options, sink))
}

fn run(options: Options, mut sink: Option<Sink>) {
    let mut card = Card::new(clock::local(), options.rate_error_ppm);
    let mut out = Vec::new();
    let mut reported = clock::local() - REPORT;
    loop {
        let now = clock::local();
        out.clear();
        let mut open = true;
        card.advance(now, &mut out, || match options.steps.try_recv() {
            Ok(step) => Some(step),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                open = false;
                None
            }
        });
        if let Some(file) = &mut sink
            && let Err(error) = file.write(&out, now)
        {
            tracing::error!(file = %file.path.display(), %error, "the speaker's file takes no more sound");
            sink = None;
        }
        if !card.played.is_empty() {
            let mut played = options.played.lock().unwrap_or_else(PoisonError::into_inner);
            played.extend(card.played.drain(..));
            let excess = played.len().saturating_sub(PLAYED);
            played.drain(..excess);
        }
        if now - reported >= REPORT {
            reported = now;
            options.reports.offer(card.report(now));
        }
        if !open {
            break;
        }
        std::thread::sleep(PERIOD);
    }
    if let Some(file) = sink
        && let Err(error) = file.writer.finalize()
    {
        tracing::error!(file = %file.path.display(), %error, "the speaker's file is not complete");
    }
}

/// The card without its thread: what leaves it, and when.
struct Card {
    start: Local,
    /// Frames per µs.
    rate: f64,
    renderer: Renderer,
    /// Rendered, and not let out yet.
    pending: VecDeque<f32>,
    rendered: Vec<f32>,
    /// Rendered frames still to be left out: the latency.
    skip: usize,
    /// Frames let out, silence included.
    out: u64,
    inserted: u64,
    steps: u64,
    /// Σ count × ratio of the steps taken in.
    planned: f64,
    /// Steps whose first sample has not left, with the sum before them.
    coming: VecDeque<(f64, Step)>,
    /// Samples per packet of the track heard last: a missing packet does not say.
    packet: Option<(Uuid, u64)>,
    played: Vec<Played>,
}

impl Card {
    fn new(start: Local, error_ppm: f64) -> Self {
        Self {
            start,
            rate: f64::from(RATE) * (1.0 + error_ppm * 1e-6) / 1e6,
            renderer: Renderer::new(),
            pending: VecDeque::new(),
            rendered: Vec::new(),
            skip: Renderer::LATENCY,
            out: 0,
            inserted: 0,
            steps: 0,
            planned: 0.0,
            coming: VecDeque::new(),
            packet: None,
            played: Vec::new(),
        }
    }

    /// The frame counter at `now`, with its fraction.
    fn frame(&self, now: Local) -> f64 {
        (now - self.start).max(0) as f64 * self.rate
    }

    fn report(&self, now: Local) -> Device {
        Device { at: now, played: self.frame(now), inserted: self.inserted, steps: self.steps }
    }

    /// Lets out exactly the frames that are due: of the plan, or of silence where it has none.
    fn advance(&mut self, now: Local, out: &mut Vec<f32>, mut next: impl FnMut() -> Option<Step>) {
        let due = self.frame(now) as u64;
        // A thread that was held up for long must not fill memory with what nobody will hear.
        let mut left = usize::try_from(due.saturating_sub(self.out)).unwrap_or(usize::MAX);
        if left > LONGEST_GAP {
            self.inserted += (left - LONGEST_GAP) as u64;
            self.out += (left - LONGEST_GAP) as u64;
            left = LONGEST_GAP;
        }
        while left > 0 {
            if self.pending.is_empty() {
                match next() {
                    Some(step) => self.take(step),
                    None => {
                        out.extend(std::iter::repeat_n(0.0, left));
                        self.inserted += left as u64;
                        self.out += left as u64;
                        break;
                    }
                }
                continue;
            }
            let count = left.min(self.pending.len());
            out.extend(self.pending.drain(..count));
            self.out += count as u64;
            left -= count;
            self.leave();
        }
    }

    fn take(&mut self, step: Step) {
        self.rendered.clear();
        self.renderer.render(&step, &mut self.rendered);
        let skip = self.skip.min(self.rendered.len());
        self.skip -= skip;
        self.pending.extend(self.rendered.get(skip..).unwrap_or_default());
        self.steps = step.number + 1;
        let begin = self.planned;
        self.planned += f64::from(step.count) * step.ratio;
        self.coming.push_back((begin, step));
    }

    /// Logs the steps whose first sample has left.
    fn leave(&mut self) {
        let planned_out = (self.out - self.inserted) as f64;
        while let Some((begin, step)) = self.coming.pop_front_if(|(begin, _)| *begin < planned_out) {
            let frame = begin + self.inserted as f64;
            let left = self.start.0 as f64 + frame / self.rate;
            if let Some((track, sample)) = self.place(&step) {
                let concealed = matches!(step.content, Content::Conceal { .. });
                let lasts = f64::from(step.count) * step.ratio / self.rate;
                let gain = step.gain.from.max(step.gain.to);
                self.played.push(Played { track, sample, count: step.count, concealed, left, lasts, gain });
            }
        }
    }

    /// Which sample of what a step begins with; nothing for silence.
    fn place(&mut self, step: &Step) -> Option<(Option<Uuid>, u64)> {
        match &step.content {
            Content::Silence => None,
            Content::Tone { from, .. } => Some((None, *from)),
            Content::Sound { track, sound, from } => {
                let samples = |record: &bytes::Bytes| opus::packet::get_nb_samples(record, RATE).unwrap_or(0) as u64;
                let known = self.packet.filter(|(known, _)| known == track).map(|(_, packet)| packet);
                let packet = known.unwrap_or_else(|| sound.records.iter().map(samples).sum());
                self.packet = Some((*track, packet));
                Some((Some(*track), sound.index * packet + u64::from(*from)))
            }
            Content::Conceal { track, index, from } => {
                let (_, packet) = self.packet.filter(|(known, _)| known == track)?;
                Some((Some(*track), index * packet + u64::from(*from)))
            }
        }
    }
}

/// A WAV file, 16 bits mono 48 kHz, readable whenever the process ends.
struct Sink {
    writer: hound::WavWriter<BufWriter<File>>,
    path: PathBuf,
    flushed: Local,
}

impl Sink {
    fn create(path: &Path) -> io::Result<Self> {
        let create = || -> io::Result<_> {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            let file = BufWriter::new(File::create(path)?);
            let spec = hound::WavSpec {
                channels: 1,
                sample_rate: RATE,
                bits_per_sample: 16,
                sample_format: hound::SampleFormat::Int,
            };
            let mut writer = hound::WavWriter::new(file, spec).map_err(io::Error::other)?;
            writer.flush().map_err(io::Error::other)?;
            Ok(writer)
        };
        let writer = create().map_err(|error| {
            let text = format!("{}: {error}; choose a file that can be written as playout.device", path.display());
            io::Error::new(error.kind(), text)
        })?;
        Ok(Self { writer, path: path.to_owned(), flushed: clock::local() })
    }

    fn write(&mut self, frames: &[f32], now: Local) -> Result<(), hound::Error> {
        if self.writer.len() > LONGEST_FILE {
            return Err(hound::Error::TooWide);
        }
        for frame in frames {
            self.writer.write_sample((frame.clamp(-1.0, 1.0) * f32::from(i16::MAX)).round() as i16)?;
        }
        if now - self.flushed >= FLUSH {
            self.flushed = now;
            self.writer.flush()?;
        }
        Ok(())
    }
}

/// How often the card is served: half a step of slack beside the player's 100 ms.
const PERIOD: Duration = Duration::from_millis(10);
/// µs between reports to the player.
const REPORT: i64 = 50_000;
/// µs between headers brought up to date: a killed process leaves a file that lacks a second at most.
const FLUSH: i64 = 500_000;
/// Chunks kept for measurements: 160 s of 10 ms steps.
const PLAYED: usize = 16_384;
/// Frames let out in one go: a second.
const LONGEST_GAP: usize = RATE as usize;
/// Frames in one file: WAV counts bytes in 32 bits, so 12 hours.
const LONGEST_FILE: u32 = RATE * 3600 * 12;

#[cfg(test)]
#[path = "sound/tests.rs"]
mod tests;
