//! The rule that makes the next step.
//!
//! ```text
//!            ┌──────────── error > restart: fade out ───────────┐
//!            ▼                                                  │
//!          Wait ── tone due ──▶ Tone ── its end ──▶ Wait ──▶ Speech ── last sample ──▶ Over
//!     (silence up to the sample)                 speech due   (or until + delay: fade out)
//! ```
//! Every step that sounds is measured against the timeline: how late its first sample is decides the
//! ratio, never the position. Only Wait chooses a position.
use super::buffer::Track;
use super::hands::{Heard, Level};
use super::player::{Event, Player, Program};
use super::timeline::{Place, SAMPLES_PER_MICRO, Timeline};
use crate::audio::{Content, Gain, Step};
use crate::time::{Civil, RATE};

/// What sounds or is about to.
#[derive(Debug)]
pub(super) struct Voice {
    pub program: Program,
    pub part: Part,
    /// Of its fades.
    gain: f32,
    /// Of its volume; none before the first step.
    level: Option<Level>,
    pub heard: Heard,
    closing: Option<Closing>,
    began: bool,
    /// Every packet from index 0 on has been played in full.
    whole: bool,
    /// Whether a packet that isn't there counts as lost before the first sound: it was chosen in time.
    early: bool,
}

/// `next`: the next sample of that part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Wait,
    Tone { next: u64 },
    Speech { next: u64 },
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Closing {
    /// Replaced or stopped.
    Stop,
    /// At its own end.
    End,
    /// µs late.
    Restart(i64),
}

impl Voice {
    fn new(program: Program, place: Place, done: u64) -> Self {
        let early = !matches!(place, Place::Speech(samples) if samples > 0.5);
        let (part, level, heard) = (Part::Wait, None, Heard::default());
        Self { program, part, gain: 1.0, level, heard, closing: None, began: false, whole: done == 0, early }
    }

    pub fn sounds(&self) -> bool {
        matches!(self.part, Part::Tone { .. } | Part::Speech { .. })
    }

    /// µs by which its next sample is late when planned at `frame`.
    pub fn late(&self, timeline: &Timeline, frame: f64) -> f64 {
        let frames = match self.part {
            Part::Tone { next } => timeline.late(frame, self.program.begin(), next),
            Part::Speech { next } => timeline.late(frame, self.program.speech(), next),
            Part::Wait | Part::Over => 0.0,
        };
        frames / SAMPLES_PER_MICRO
    }

    /// The same sound with other limits. One that was over may go on.
    pub fn revise(&mut self, program: Program) {
        if self.part == Part::Over {
            (self.part, self.began, self.closing) = (Part::Wait, false, None);
        }
        self.program = program;
    }

    fn ended(&self, at: Civil, whole: bool) -> Option<Event> {
        self.began.then_some(Event::Ended { broadcast: self.program.broadcast, at, whole })
    }
}

/// What to play next, before it is timed.
struct Sounding {
    content: Content,
    count: u32,
    gain: Gain,
    /// Device frames per sample.
    ratio: f64,
}

impl Sounding {
    fn silence(samples: f64, ratio: f64) -> Self {
        let count = samples.round().clamp(1.0, f64::from(STEP)) as u32;
        Self { content: Content::Silence, count, gain: Gain { from: 1.0, to: 1.0 }, ratio }
    }
}

impl Player {
    /// The next step; there always is one.
    pub(super) fn step(&mut self) -> Step {
        let at = self.at();
        let Sounding { content, count, gain, ratio } = self.next();
        let ratio = ratio.clamp(1.0 - WIDEST, 1.0 + WIDEST);
        let step = Step { number: self.number, content, count, ratio, gain, at };
        self.number += 1;
        self.planned += f64::from(count) * ratio;
        self.counters.steps += 1;
        // For a caller that does not drain: the newest matter most.
        while self.events.len() > EVENTS {
            self.events.pop_front();
        }
        step
    }

    fn next(&mut self) -> Sounding {
        // One voice may end and another begin, each by way of Wait; more changes than that wait for
        // the next step.
        for _ in 0..4 {
            if self.phase.is_none() {
                break;
            }
            self.choose();
            let Some(voice) = &self.voice else { break };
            let planned = match voice.part {
                Part::Wait => self.wait(),
                Part::Tone { next } => self.tone(next),
                Part::Speech { next } => self.speech(next),
                Part::Over => break,
            };
            if let Some(planned) = planned {
                if matches!(planned.content, Content::Silence) {
                    // What changes meanwhile is not heard as a ramp when it begins.
                    self.volume(planned.count);
                }
                return planned;
            }
        }
        let ratio = self.timeline().map_or(self.device.rate() / f64::from(RATE), |timeline| timeline.ratio());
        Sounding::silence(f64::from(STEP), ratio)
    }

    /// Lets the old voice go and takes up the new one.
    fn choose(&mut self) {
        let at = self.at();
        let Some(timeline) = self.timeline() else { return };
        let civil = timeline.civil(at);
        if let Some(voice) = &self.voice {
            let stays = self.wanted.as_ref().is_some_and(|wanted| wanted.same_sound(&voice.program));
            if stays || lingers(voice, self.wanted.as_ref(), &timeline, at, self.options.fade) {
                return;
            }
            if voice.sounds() && voice.gain > 0.0 {
                if let Some(voice) = &mut self.voice {
                    voice.closing = Some(Closing::Stop);
                }
                return;
            }
        }
        let new = self.wanted.as_ref().map(|program| {
            let done = self.buffer.track(program.track.id).map_or(0, |track| track.done);
            Voice::new(program.clone(), timeline.place(at, program), done)
        });
        let old = std::mem::replace(&mut self.voice, new);
        old.iter().for_each(|old| self.remember(old));
        if let Some(event) = old.filter(|old| old.part != Part::Over).and_then(|old| old.ended(civil, false)) {
            self.events.push_back(event);
        }
    }

    /// Silence up to the sample at which tone or speech is due, or `None` once one of them is.
    fn wait(&mut self) -> Option<Sounding> {
        let (at, timeline) = (self.at(), Timeline::new(self.phase?, &self.device)?);
        let (ratio, civil) = (timeline.ratio(), timeline.civil(at));
        let voice = self.voice.as_mut()?;
        let (id, duration) = (voice.program.track.id, voice.program.duration());
        let samples = match timeline.place(at, &voice.program) {
            Place::BeforeTone(samples) => return Some(Sounding::silence(samples, ratio)),
            Place::Tone(samples) => {
                let next = nearest(samples, 0);
                begin(voice, Part::Tone { next }, civil, &mut self.events);
                return None;
            }
            Place::Speech(samples) => samples,
        };
        let done = self.buffer.track(id).map_or(0, |track| track.done);
        let ended = timeline.since(at, voice.program.end()) >= 0.0;
        let next = nearest(samples, done);
        if ended || voice.program.samples().is_some_and(|all| next >= all) {
            voice.part = Part::Over;
            // Of a tone alone nothing is left to be missing.
            let event = voice.ended(civil, voice.whole && voice.program.samples() == Some(0));
            self.events.extend(event);
            return None;
        }
        if samples < next as f64 - 0.5 {
            return Some(Sounding::silence(next as f64 - samples, ratio));
        }
        let index = next / duration;
        if self.buffer.track(id).is_some_and(|track| track.has(index)) {
            voice.whole &= next.saturating_sub(done) <= MISSED;
            begin(voice, Part::Speech { next }, civil, &mut self.events);
            return None;
        }
        if voice.early || voice.began {
            self.lose(index);
        }
        Some(Sounding::silence(((index + 1) * duration - next) as f64, ratio))
    }

    fn tone(&mut self, next: u64) -> Option<Sounding> {
        let all = self.voice.as_ref()?.program.tone_samples();
        if next >= all {
            self.voice.as_mut()?.part = Part::Wait;
            return None;
        }
        let which = self.voice.as_ref()?.program.tone?.which;
        let count = (all - next).min(STEP.into()) as u32;
        let ratio = self.follow()?;
        let gain = self.ramp(count, Part::Tone { next: next + u64::from(count) })?;
        Some(Sounding { content: Content::Tone { which, from: next }, count, gain, ratio })
    }

    fn speech(&mut self, next: u64) -> Option<Sounding> {
        let (at, timeline) = (self.at(), Timeline::new(self.phase?, &self.device)?);
        let civil = timeline.civil(at);
        let voice = self.voice.as_mut()?;
        let (program, duration) = (&voice.program, voice.program.duration());
        if program.samples().is_some_and(|all| next >= all) {
            let event = voice.ended(civil, voice.whole && voice.closing.is_none());
            voice.part = Part::Over;
            self.events.extend(event);
            return None;
        }
        // A track that ends at `until` on a slightly late device is not cut for that.
        if timeline.since(at, program.end()) > self.options.restart as f64 {
            voice.closing.get_or_insert(Closing::End);
        }
        let (track, index, from) = (program.track.id, next / duration, (next % duration) as u32);
        let broadcast = program.broadcast;
        let count = (duration - u64::from(from)).min(STEP.into()) as u32;
        let held = self.buffer.track(track).and_then(|track| track.get(index)).cloned();
        let content = match held {
            Some(sound) => Content::Sound { track, sound, from },
            None => {
                self.lose(index);
                self.counters.concealed += 1;
                Content::Conceal { track, index, from }
            }
        };
        let after = next + u64::from(count);
        if let Some(track) = self.buffer.track_mut(track) {
            if matches!(content, Content::Sound { .. }) && track.use_packet(index) {
                self.counters.played += 1;
            }
            // What another broadcast is to play once more from its beginning is not done with this.
            if track.program.as_ref().is_none_or(|next| next.broadcast == broadcast) {
                track.done = after;
                track.forget_before(after / duration);
            }
        }
        let ratio = self.follow()?;
        let gain = self.ramp(count, Part::Speech { next: after })?;
        Some(Sounding { content, count, gain, ratio })
    }

    /// The ratio that brings the voice back in step; begins a restart if it is too far out.
    fn follow(&mut self) -> Option<f64> {
        let (at, timeline) = (self.at(), Timeline::new(self.phase?, &self.device)?);
        let voice = self.voice.as_mut()?;
        let late = voice.late(&timeline, at);
        if late.abs() > self.options.restart as f64 && voice.closing.is_none() {
            voice.closing = Some(Closing::Restart(late.round() as i64));
        }
        let limit = self.options.correction_ppm.abs() * 1e-6;
        Some(timeline.ratio() * (1.0 - (late / SETTLE).clamp(-limit, limit)))
    }

    /// The gain across a step of `count`, after which the voice stands at `then`, has faded out, or
    /// waits to restart.
    fn ramp(&mut self, count: u32, then: Part) -> Option<Gain> {
        let fade = (self.options.fade as f64 * SAMPLES_PER_MICRO).max(1.0) as f32;
        let volume = self.volume(count)?;
        let (at, timeline) = (self.at(), Timeline::new(self.phase?, &self.device)?);
        let voice = self.voice.as_mut()?;
        voice.heard.note(volume, count);
        let from = voice.gain;
        voice.part = then;
        let Some(closing) = voice.closing else {
            voice.gain = (from + count as f32 / FADE_IN).min(1.0);
            return Some(Gain { from: from * volume.0, to: voice.gain * volume.1 });
        };
        voice.gain = (from - count as f32 / fade).max(0.0);
        // A fade of whole steps ends at 0 whatever f32 made of its fractions.
        if voice.gain < 1e-4 {
            voice.gain = 0.0;
        }
        let gain = Gain { from: from * volume.0, to: voice.gain * volume.1 };
        if voice.gain > 0.0 {
            return Some(gain);
        }
        let civil = timeline.civil(at + f64::from(count) * timeline.ratio());
        match closing {
            Closing::Restart(error) => {
                (voice.part, voice.closing, voice.whole) = (Part::Wait, None, false);
                self.counters.restarts += 1;
                self.events.push_back(Event::Restarted { error });
            }
            Closing::End => {
                voice.part = Part::Over;
                let whole = voice.whole && voice.program.track.packets.is_none();
                let event = voice.ended(civil, whole);
                self.events.extend(event);
            }
            Closing::Stop => {
                let voice = self.voice.take();
                voice.iter().for_each(|voice| self.remember(voice));
                let event = voice.and_then(|voice| voice.ended(civil, false));
                self.events.extend(event);
            }
        }
        Some(gain)
    }

    /// The volume at the beginning and the end of a step of `count`.
    fn volume(&mut self, count: u32) -> Option<(f32, f32)> {
        let (priority, purpose) = self.voice.as_ref().map(|voice| (voice.program.priority, voice.program.purpose))?;
        let target = self.target(priority, purpose, self.at());
        let level = &mut self.voice.as_mut()?.level;
        Some(level.get_or_insert(Level::at(target)).pass(target, count))
    }

    /// The voice's packet `index` is not there.
    fn lose(&mut self, index: u64) {
        let Some(voice) = &mut self.voice else { return };
        voice.whole = false;
        let id = voice.program.track.id;
        if self.buffer.track_mut(id).is_some_and(|track: &mut Track| track.lose(index)) {
            self.counters.lost += 1;
            self.events.push_back(Event::Lost { track: id, index });
        }
    }
}

/// The sample due, but never one before `done`; and `done` itself, whole, if that is hardly late:
/// the rest is for resampling.
fn nearest(samples: f64, done: u64) -> u64 {
    if samples - (done as f64) < HARDLY { done } else { samples.round() as u64 }
}

/// Enters a part: at its first sample as it is, later with a short fade.
fn begin(voice: &mut Voice, part: Part, at: Civil, events: &mut std::collections::VecDeque<Event>) {
    let natural = matches!(part, Part::Tone { next: 0 } | Part::Speech { next: 0 });
    voice.gain = if natural { 1.0 } else { 0.0 };
    voice.part = part;
    if !voice.began {
        voice.began = true;
        events.push_back(Event::Began { broadcast: voice.program.broadcast, at });
    }
}

/// Whether the old voice goes on for a while although another choice was handed in.
fn lingers(voice: &Voice, wanted: Option<&Program>, timeline: &Timeline, at: f64, fade: i64) -> bool {
    if !voice.sounds() || voice.closing == Some(Closing::Stop) {
        return false;
    }
    match wanted.filter(|wanted| wanted.priority > voice.program.priority) {
        // Its fade shall end when the new one begins.
        Some(wanted) => {
            let left = -timeline.since(at, wanted.begin());
            (fade as f64 + ONE_STEP..LONGEST_HOLD).contains(&left)
        }
        None => {
            let speech = timeline.since(at, voice.program.speech());
            let of_track = voice.program.samples().map(|all| all as f64 / SAMPLES_PER_MICRO - speech);
            let left = of_track.unwrap_or(f64::INFINITY).min(-timeline.since(at, voice.program.end()));
            left < Player::LEAD as f64
        }
    }
}

/// Samples of content in a step, at most: 10 ms.
const STEP: u32 = 480;
/// µs of one step.
const ONE_STEP: f64 = 10_000.0;
/// Samples (1 ms) of lateness at which a beginning is still played from its first sample: what two
/// clocks may differ by when speech follows a tone.
const HARDLY: f64 = 48.0;
/// Samples (50 ms) of its beginning that a broadcast may lack and still be whole: what went before it ends with a fade as
/// long, and on a device that is a little slow, a little late.
const MISSED: u64 = 2_400;
/// Samples over which sound enters anywhere but at its beginning: one step, short enough to lose
/// nothing of a word and long enough not to click.
const FADE_IN: f32 = 480.0;
/// µs over which an error is corrected: slow enough that the noise of both clocks (some 20 µs from
/// one report to the next) stays below 10 ppm of pitch.
const SETTLE: f64 = 2_000_000.0;
/// The furthest that any ratio goes from 1: what `audio` can render.
const WIDEST: f64 = 0.002;
/// µs: a pre-empting programme that begins later than this takes over at once. Twice the default
/// playout delay; a cancel that meets a pre-emption waits no longer than that.
const LONGEST_HOLD: f64 = 2_000_000.0;
/// Events kept; a step makes a few at most.
const EVENTS: usize = 256;
