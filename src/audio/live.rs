//! Live sound on its way onto the air, in step with civil time.
//!
//! ```text
//! samples ─▶ pace: buffer, resample by ppm, silence for what is missing ─▶ watch ─▶ slow gain ─▶ limiter ─▶ Opus ─▶ frames
//!                ▲ steered so that its reserve stays where it is
//! ```
//! Contract: pure, and time is an argument. The owner pushes samples as they come, but no more than there is
//! [`Live::room`] for: whoever sends faster than time passes is made to wait, never cut. Once the sound
//! [`Live::has_begun`], the owner puts it on the air and says from when ([`Live::handle_air`]); it then calls
//! [`Live::poll_packet`] whenever [`Live::poll_timeout`] has passed. Packet `n` is made at
//! `anchor + (n + 1) × duration`, when its last sample has been spoken, whatever the microphone's clock does.
//!
//! Sound that comes before the anchor waits for it and is aired from its first sample on: an emergency's first
//! words, spoken while the tone sounds, come behind the tone.
mod pace;

use super::{Encoders, Error, FRAME, LOOKAHEAD, Leveller, Limiter, SoundLevel, Watch, WatchOptions, Watched};
use crate::time::{Civil, SECOND, micros};
use bytes::Bytes;
use pace::Pace;
use std::collections::VecDeque;

#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// b/s of each rendition, one to four.
    pub bitrates: Vec<u32>,
    /// Opus complexity, 0–10.
    pub complexity: i32,
    /// Samples per packet, a multiple of a frame's.
    pub packet: u32,
    /// LUFS that a slow gain brings speech to; `None` leaves it as it is.
    pub loudness: Option<f64>,
    /// True peak allowed, dBTP.
    pub peak: f64,
    pub watch: WatchOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bitrates: vec![24_000],
            complexity: 10,
            packet: 11_520,
            loudness: Some(-16.0),
            peak: -1.5,
            watch: WatchOptions { silence_after: 10.0, ..WatchOptions::default() },
        }
    }
}

/// One packet's worth of frames.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    pub index: u64,
    /// 20 ms Opus frames, by rendition.
    pub frames: Vec<Vec<Bytes>>,
}

/// What an operator must hear of. Times are civil.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// No sound comes in since then.
    Silence {
        since: Civil,
    },
    Sound {
        from: Civil,
    },
    /// It is too loud for its input, or for the limiter.
    Overload {
        since: Civil,
    },
    Clear {
        from: Civil,
    },
    /// Nothing came for a while, and so much silence (µs) was aired in its place.
    Gap {
        at: Civil,
        lasts: i64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Status {
    /// As it came in.
    pub level: SoundLevel,
    pub silent: bool,
    pub overloaded: bool,
    /// Of the slow gain, dB.
    pub gain: f64,
    /// Stretches of silence put in for sound that did not come, and their µs.
    pub gaps: u64,
    pub missing: i64,
    /// µs of sound that are ready beyond the packets made.
    pub reserve: i64,
    /// How much slower than civil time the source's clock is taken to be, parts per million.
    pub slow_ppm: f64,
    /// Samples that found no room: 0 unless the owner pushed more than that.
    pub dropped: u64,
}

/// One live source. Memory: [`Live::room`] at most, 1.5 MB.
pub struct Live {
    options: Options,
    pace: Pace,
    leveller: Option<Leveller>,
    limiter: Limiter,
    watch: Watch,
    encoders: Encoders,
    /// Encoded and in no packet yet, by rendition.
    frames: Vec<VecDeque<Bytes>>,
    anchor: Option<Civil>,
    next: u64,
    packets: Option<u64>,
    events: VecDeque<Event>,
    taken: Vec<f32>,
    limited: Vec<f32>,
}

impl Live {
    pub fn new(options: Options) -> Result<Self, Error> {
        let fits = options.packet > 0 && (options.packet as usize).is_multiple_of(FRAME);
        if !fits || options.bitrates.is_empty() {
            let text = format!("live sound: {} samples are no whole frames; set a packet of such", options.packet);
            return Err(Error::new("media.options", text));
        }
        Ok(Self {
            pace: Pace::new(options.packet),
            leveller: options.loudness.map(Leveller::new),
            limiter: Limiter::new(options.peak),
            watch: Watch::new(options.watch),
            encoders: Encoders::new(&options.bitrates, options.complexity)?,
            frames: vec![VecDeque::new(); options.bitrates.len()],
            anchor: None,
            next: 0,
            packets: None,
            events: VecDeque::new(),
            taken: Vec::new(),
            limited: Vec::new(),
            options,
        })
    }

    /// Samples that may be pushed now.
    pub fn room(&self) -> usize {
        self.pace.room()
    }

    pub fn push(&mut self, samples: &[f32]) {
        self.pace.push(samples);
    }

    /// Nothing more will come: what is there is played to its end.
    pub fn finish(&mut self) {
        if self.packets.is_none() {
            self.pace.finish();
            self.packets = Some(self.all());
        }
    }

    /// Enough has come to put it on the air; or all that will, if that is anything at all.
    pub fn has_begun(&self) -> bool {
        self.pace.content() >= if self.packets.is_some() { FRAME as u64 } else { BEGIN }
    }

    /// It is on the air, its first sample at `anchor`.
    pub fn handle_air(&mut self, anchor: Civil) {
        self.anchor = Some(anchor);
    }

    /// How many packets there will be, once that is known.
    pub fn packets(&self) -> Option<u64> {
        self.packets
    }

    /// When the next packet is to be made; `None` off the air and after the last.
    pub fn poll_timeout(&self) -> Option<Civil> {
        let more = self.packets.is_none_or(|packets| self.next < packets);
        self.anchor.filter(|_| more).map(|anchor| anchor + self.micros_of(self.next + 1))
    }

    /// The next packet, if it is due. Called again, it gives those that are overdue, too; what is long past is
    /// left out, and its sound waits.
    pub fn poll_packet(&mut self, now: Civil) -> Result<Option<Made>, Error> {
        let Some(due) = self.poll_timeout().filter(|due| *due <= now) else { return Ok(None) };
        self.skip((now - due) / self.micros_of(1).max(1));
        let per_packet = self.options.packet as usize / FRAME;
        let mut wanted = self.options.packet as usize;
        while self.frames.iter().any(|frames| frames.len() < per_packet) {
            self.take(wanted)?;
            // The limiter holds some samples back at the very beginning.
            wanted = FRAME;
        }
        self.pace.steer();
        let index = self.next;
        self.next += 1;
        let frames = self.frames.iter_mut().map(|frames| frames.drain(..per_packet).collect()).collect();
        Ok(Some(Made { index, frames }))
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub fn status(&self) -> Status {
        Status {
            level: self.watch.level(),
            silent: self.watch.silent(),
            overloaded: self.watch.overloaded(),
            gain: self.leveller.as_ref().map_or(0.0, Leveller::gain),
            gaps: self.pace.gaps(),
            missing: micros(self.pace.missing()),
            reserve: micros(self.pace.reserve()),
            slow_ppm: (self.pace.ratio() - 1.0) * 1e6,
            dropped: self.pace.dropped(),
        }
    }

    /// A machine that slept, or a clock that was set, must not make minutes of packets that nobody can use.
    fn skip(&mut self, late: i64) {
        if late * self.micros_of(1) < LATE {
            return;
        }
        let most = self.packets.map_or(u64::MAX, |packets| packets.saturating_sub(self.next + 1));
        let packets = late.unsigned_abs().min(most);
        self.next += packets;
        self.pace.skip(packets * u64::from(self.options.packet));
        // What was content to come is so much later.
        self.packets = self.packets.map(|_| self.all());
        self.gap();
    }

    /// Packets that hold all that has come.
    fn all(&self) -> u64 {
        let content = match self.pace.content() {
            0 => 0,
            content => content + LOOKAHEAD as u64,
        };
        content.div_ceil(u64::from(self.options.packet)).max(self.next)
    }

    fn take(&mut self, count: usize) -> Result<(), Error> {
        self.taken.clear();
        self.pace.take(count, &mut self.taken);
        self.gap();
        let mut watched = Vec::new();
        for piece in self.taken.chunks_mut(FRAME) {
            let reduction = self.limiter.reduction();
            self.watch.push(piece, reduction, &mut watched);
            if let Some(leveller) = &mut self.leveller {
                leveller.push(piece);
            }
            self.limited.clear();
            self.limiter.push(piece, &mut self.limited);
            let frames = &mut self.frames;
            let mut keep = |rendition: usize, frame: Bytes| {
                if let Some(frames) = frames.get_mut(rendition) {
                    frames.push_back(frame);
                }
                Ok(())
            };
            self.encoders.push(&self.limited, &mut keep)?;
        }
        for event in watched {
            let event = match event {
                Watched::Silence { since } => Event::Silence { since: self.civil(since) },
                Watched::Sound { from } => Event::Sound { from: self.civil(from) },
                Watched::Overload { since } => Event::Overload { since: self.civil(since) },
                Watched::Clear { from } => Event::Clear { from: self.civil(from) },
            };
            self.tell(event);
        }
        Ok(())
    }

    fn gap(&mut self) {
        if let Some((at, lasts)) = self.pace.poll_gap() {
            let event = Event::Gap { at: self.civil(at), lasts: micros(lasts) };
            self.tell(event);
        }
    }

    fn tell(&mut self, event: Event) {
        // For an owner that does not ask: the newest matter most.
        if self.events.len() >= EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// Of a sample of the track.
    fn civil(&self, sample: u64) -> Civil {
        self.anchor.unwrap_or_default() + micros(sample)
    }

    fn micros_of(&self, packets: u64) -> i64 {
        micros(packets.saturating_mul(u64::from(self.options.packet)))
    }
}

/// Samples (100 ms) that prove a source: an order is given to a whole country for it.
const BEGIN: u64 = 4_800;
/// µs by which a packet may be late and still be made: beyond any playout delay in use it would be dropped.
const LATE: i64 = 3 * SECOND;
/// Events kept; a packet makes one or two.
const EVENTS: usize = 64;

#[cfg(test)]
mod tests;
