//! One speaker's playout: what comes in, what goes out. The rule itself stands in `plan`.
use super::buffer::{Buffer, Inserted, PACKETS};
use super::hands::{self, Hands, Heard, Muted};
use super::plan::{Part, Voice};
use super::timeline::{Place, Timeline};
use super::{Device, DeviceClock, Phase};
use crate::audio::Step;
use crate::broadcast::{Priority, Purpose, Tone};
use crate::time::{Civil, Local, micros};
use crate::track::{self, Sound};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use uuid::Uuid;

#[derive(Clone, Debug)]
pub struct Options {
    /// How far ahead of the device steps are given out, µs.
    pub horizon: i64,
    /// Strongest correction by resampling beyond the device's own rate error.
    pub correction_ppm: f64,
    /// A playout error beyond this restarts in step with a fade instead, µs.
    pub restart: i64,
    /// Fade at a change of programme, µs.
    pub fade: i64,
    /// Volumes, as long as nobody says others.
    pub hands: hands::Options,
}

impl Default for Options {
    fn default() -> Self {
        let hands = hands::Options::default();
        Self { horizon: 100_000, correction_ppm: 1_000.0, restart: 20_000, fade: 50_000, hands }
    }
}

/// What the tuner chose, as playout needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    pub broadcast: Uuid,
    pub priority: Priority,
    pub purpose: Purpose,
    pub track: track::Info,
    /// Playout delay of this node, µs: the broadcast's, and by how much it comes after others.
    pub delay: i64,
    pub until: Civil,
    /// With a track of no packets (`Some(0)`) it is all there is: a code that the speaker says.
    pub tone: Option<Tone>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum State {
    /// No phase yet or no device report.
    #[default]
    Joining,
    Idle,
    /// A programme is chosen and not yet sounding.
    Buffering,
    Sounding,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The next step is due.
    Step,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The first sample of a broadcast (tone or speech) is planned to leave at this civil time. Again
    /// when a broadcast that was replaced comes back.
    Began { broadcast: Uuid, at: Civil },
    /// Its last packet has been planned, or it was replaced or stopped; only after `Began`. `whole`:
    /// every packet from index 0 to the last was played in full; of a tone alone, up to its end. The last is `packets − 1`; of a live
    /// track the one that sounds at `until + delay`.
    Ended { broadcast: Uuid, at: Civil, whole: bool },
    /// Packet `index` was not there when its sound was due. Once per packet. A speaker that comes
    /// late misses nothing before its first sound.
    Lost { track: Uuid, index: u64 },
    /// Restarted in step because the error (µs, positive: late) exceeded `Options::restart`.
    Restarted { error: i64 },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets handed in and used at least in part.
    pub played: u64,
    /// Packets that were missing at their time.
    pub lost: u64,
    /// Came after their time.
    pub late: u64,
    /// 10 ms steps concealed.
    pub concealed: u64,
    pub steps: u64,
    pub restarts: u64,
    /// Dropped because the jitter buffer (2 tracks × 320 packets) was full.
    pub dropped: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Status {
    pub state: State,
    /// µs of contiguous sound ahead of the device.
    pub buffer: i64,
    /// Playout error now, µs (positive: late).
    pub offset: i64,
    pub broadcast: Option<Uuid>,
    /// Whether that was muted so far; of one that is over see [`Player::muted`].
    pub muted: Muted,
}

/// One speaker's playout.
///
/// - Packets are handed in as they come due: the jitter buffer takes those up to 320 ahead of the
///   device, of two tracks. For a stored track [`Player::wants`] says which to feed; of a track that no
///   programme named yet the newest 320 are kept.
/// - Choices are best handed in [`Player::LEAD`] ahead of their time, so that a tone starts at T0 to
///   the sample although the device holds steps for `Options::horizon`: call the tuner with
///   `now + Player::LEAD`. What would end by itself within that lead goes on to its end; what a
///   higher priority replaces goes on until its fade fits before the new one's first sample.
/// - Content is played once and in order. A clock set back makes silence, never a repetition.
#[derive(Debug)]
pub struct Player {
    pub(super) options: Options,
    pub(super) phase: Option<Phase>,
    pub(super) device: DeviceClock,
    /// Frames of silence and all frames, as the device last reported (or must have had to insert).
    pub(super) inserted: f64,
    played: f64,
    /// Device frames of all steps given out.
    pub(super) planned: f64,
    pub(super) number: u64,
    pub(super) wanted: Option<Program>,
    pub(super) voice: Option<Voice>,
    pub(super) buffer: Buffer,
    pub(super) events: VecDeque<Event>,
    pub(super) counters: Counters,
    hands: Hands,
    /// What a class sounds with, until when, so that the calendar is not asked for each step.
    held: Option<(Priority, Civil, Civil, f32)>,
    /// What was heard of the newest broadcasts whose voices are gone.
    past: VecDeque<(Uuid, Heard)>,
}

impl Player {
    /// µs ahead of time at which the tuner's choice may be handed in: the horizon, a fade and some.
    pub const LEAD: i64 = 250_000;

    pub fn new(options: Options) -> Self {
        Self {
            hands: Hands::new(options.hands.clone()),
            held: None,
            past: VecDeque::new(),
            options,
            phase: None,
            device: DeviceClock::default(),
            inserted: 0.0,
            played: 0.0,
            planned: 0.0,
            number: 0,
            wanted: None,
            voice: None,
            buffer: Buffer::default(),
            events: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// The tuner's choice; the same again is free. A change fades the old one out over
    /// `Options::fade` from the next step and brings the new one in, in step, at once. A newer
    /// revision of the same sound (later end, known length) goes on without a fade.
    pub fn handle_program(&mut self, _now: Local, program: Option<Program>) {
        if self.wanted == program {
            return;
        }
        self.wanted = program;
        let Some(program) = self.wanted.clone() else { return };
        if let Some(voice) = self.voice.as_mut().filter(|voice| voice.program.same_sound(&program)) {
            voice.revise(program.clone());
        }
        let id = program.track.id;
        if let Some((track, dropped)) = self.buffer.open(id, self.in_use()) {
            track.program = Some(program);
            self.counters.dropped += dropped;
        }
    }

    /// Another broadcast has this track from now on: what was played of it plays once more.
    pub fn handle_renewed(&mut self, track: Uuid) {
        self.buffer.forget(track);
    }

    /// A verified packet, of the present programme's track or one that may come (kept, bounded).
    pub fn handle_sound(&mut self, now: Local, track: Uuid, sound: Arc<Sound>) {
        let needed = self.needed(now, track);
        let Some((track, evicted)) = self.buffer.open(track, self.in_use()) else {
            self.counters.dropped += 1;
            return;
        };
        self.counters.dropped += evicted;
        match track.insert(sound, needed) {
            Inserted::Kept | Inserted::Duplicate => (),
            Inserted::Late => self.counters.late += 1,
            Inserted::Dropped(packets) => self.counters.dropped += packets,
        }
    }

    /// Hand in the clock's phase at least once a second: each is a line, and playout follows it.
    pub fn handle_phase(&mut self, _now: Local, phase: Phase) {
        self.phase = Some(phase);
    }

    /// What the device inserted shifts every step that it has not yet taken. A device that counts
    /// from 0 again was opened anew: what it had of the plan is gone, and the next step is its first.
    pub fn handle_device(&mut self, _now: Local, device: Device) {
        let anew = device.played < self.played;
        self.device.handle_device(&device);
        (self.inserted, self.played) = (device.inserted as f64, device.played);
        if anew {
            self.planned = 0.0;
        }
    }

    /// The next step, while the device has less than `Options::horizon` ahead of it.
    pub fn poll_step(&mut self, now: Local) -> Option<Step> {
        if self.at() >= self.device.frame(now + self.options.horizon)? {
            return None;
        }
        // Steps that should have left already never reached the device in time: it has inserted
        // silence, although no report says so yet.
        let behind = self.device.frame(now)? - self.at();
        if behind > UNDERRUN {
            self.inserted += behind;
        }
        Some(self.step())
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<(Local, Reason)> {
        let slack = BATCH.min(self.options.horizon / 4);
        Some((self.device.leaves(self.at())? - self.options.horizon + slack, Reason::Step))
    }

    /// The packets still of use: those with an index at or past what the device will need. `None`
    /// while the track's place in time is unknown: no programme, no phase or no device.
    pub fn needed(&self, _now: Local, track: Uuid) -> Option<u64> {
        let program = self.program(track)?;
        let voice = self.voice.as_ref().filter(|voice| voice.program.same_sound(program));
        let sample = match voice.map(|voice| voice.part) {
            Some(Part::Speech { next }) => next,
            _ => {
                let done = self.buffer.track(track).map_or(0, |track| track.done);
                match self.timeline()?.place(self.at(), program) {
                    // A negative position is the track's beginning: the cast saturates.
                    Place::Speech(samples) => (samples.round() as u64).max(done),
                    Place::BeforeTone(_) | Place::Tone(_) => done,
                }
            }
        };
        Some(sample / program.duration())
    }

    /// The indices that the player would take now of a track whose packets are at hand: those of the
    /// next [`WANTED`] µs that it does not hold yet.
    pub fn wants(&self, now: Local, track: Uuid) -> Option<Range<u64>> {
        let needed = self.needed(now, track)?;
        let program = self.program(track)?;
        let ahead = self.timeline()?.since(self.at(), program.speech()) + WANTED;
        let due = (ahead.max(0.0) * super::timeline::SAMPLES_PER_MICRO) as u64 / program.duration();
        let until = due.min(program.track.packets.unwrap_or(u64::MAX)).min(needed + PACKETS as u64);
        let from = self.buffer.track(track).map_or(needed, |track| track.first_missing(needed));
        (from < until).then_some(from..until)
    }

    pub fn status(&self, now: Local) -> Status {
        let Some(timeline) = self.timeline() else { return Status::default() };
        let Some(voice) = self.voice.as_ref().filter(|voice| voice.sounds()) else {
            let waiting = self.wanted.is_some() && self.voice.as_ref().is_none_or(|voice| voice.part != Part::Over);
            let state = if waiting { State::Buffering } else { State::Idle };
            return Status { state, ..Status::default() };
        };
        let planned = self.device.leaves(self.at()).map_or(0, |leaves| (leaves - now).max(0));
        let held = match voice.part {
            Part::Speech { next } => {
                let (id, duration) = (voice.program.track.id, voice.program.duration());
                let until = self.buffer.track(id).map_or(0, |track| track.first_missing(next / duration) * duration);
                micros(until.saturating_sub(next))
            }
            Part::Tone { next } => micros(voice.program.tone_samples().saturating_sub(next)),
            Part::Wait | Part::Over => 0,
        };
        Status {
            state: State::Sounding,
            buffer: planned + held,
            offset: voice.late(&timeline, self.at()).round() as i64,
            broadcast: Some(voice.program.broadcast),
            muted: self.muted(voice.program.broadcast),
        }
    }

    /// Whether a broadcast was muted for the whole of the time that it sounded here, or for a part of it; of the newest
    /// few. Ask when it has ended, or at any time before.
    pub fn muted(&self, broadcast: Uuid) -> Muted {
        let past = self.past.iter().filter(|(id, _)| *id == broadcast).map(|(_, heard)| *heard);
        let now = self.voice.as_ref().filter(|voice| voice.program.broadcast == broadcast).map(|voice| voice.heard);
        past.chain(now).fold(Heard::default(), Heard::plus).says()
    }

    pub fn hands(&self) -> &Hands {
        &self.hands
    }

    /// To set something; it is heard from the next step on, by way of a ramp.
    pub fn hands_mut(&mut self) -> &mut Hands {
        self.held = None;
        &mut self.hands
    }

    /// The gain that a broadcast has at a device frame, its fades aside.
    pub(super) fn target(&mut self, priority: Priority, purpose: Purpose, at: f64) -> f32 {
        let class = hands::class(priority, purpose);
        let (Some(leaves), Some(civil)) = (self.device.leaves(at), self.timeline().map(|timeline| timeline.civil(at)))
        else {
            return 0.0;
        };
        if self.hands.is_muted(class, leaves) {
            return 0.0;
        }
        if let Some((of, from, until, gain)) = self.held
            && of == class
            && (from..until).contains(&civil)
        {
            return gain;
        }
        let (volume, until) = self.hands.volume(class, civil);
        self.held = Some((class, civil, until, volume.gain()));
        volume.gain()
    }

    /// A voice is gone; what was heard of it is kept for a while.
    pub(super) fn remember(&mut self, voice: &Voice) {
        let (id, heard) = (voice.program.broadcast, voice.heard);
        if let Some(known) = self.past.iter_mut().find(|(known, _)| *known == id) {
            known.1 = known.1.plus(heard);
            return;
        }
        if self.past.len() >= PAST {
            self.past.pop_front();
        }
        self.past.push_back((id, heard));
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Device frame of the next step.
    pub(super) fn at(&self) -> f64 {
        self.planned + self.inserted
    }

    pub(super) fn timeline(&self) -> Option<Timeline<'_>> {
        Timeline::new(self.phase?, &self.device)
    }

    fn in_use(&self) -> [Option<Uuid>; 2] {
        let id = |program: &Program| program.track.id;
        [self.wanted.as_ref().map(id), self.voice.as_ref().map(|voice| id(&voice.program))]
    }

    fn program(&self, track: Uuid) -> Option<&Program> {
        self.buffer.track(track)?.program.as_ref()
    }
}

/// µs of a stored track asked for in advance: enough for a slow disk, little in memory.
pub const WANTED: f64 = 3_000_000.0;
/// Frames (5 ms) behind the device at which steps have certainly missed it; less may be an error of
/// the device's line.
const UNDERRUN: f64 = 240.0;
/// What a speaker says of itself is nothing that an order can name.
const _: () = assert!(crate::audio::CODE >= Tone::LOCAL);
/// Broadcasts of which it is known how they were heard: what a receipt is still to be written for.
const PAST: usize = 16;
/// µs of steps made at one wake-up, so that a speaker wakes 50 times a second and not 100.
const BATCH: i64 = 20_000;
