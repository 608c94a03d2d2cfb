//! Jitter buffer and plan of one speaker.
use super::{Device, Phase};
use crate::audio::Step;
use crate::broadcast::{Priority, Tone};
use crate::time::{Civil, Local};
use crate::track::{self, Sound};
use std::sync::Arc;
use uuid::Uuid;

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How far ahead of the device steps are given out, µs.
    pub horizon: i64,
    /// Strongest correction by resampling beyond the device's own rate error.
    pub correction_ppm: f64,
    /// A playout error beyond this restarts in step with a fade instead, µs.
    pub restart: i64,
    /// Fade at a change of programme, µs.
    pub fade: i64,
}

impl Default for Options {
    fn default() -> Self {
        Self { horizon: 100_000, correction_ppm: 500.0, restart: 20_000, fade: 50_000 }
    }
}

/// What the tuner chose, as playout needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    pub broadcast: Uuid,
    pub priority: Priority,
    pub track: track::Info,
    /// Playout delay, µs.
    pub delay: i64,
    pub until: Civil,
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
    /// The first sample of a broadcast (tone or speech) is planned to leave at this civil time.
    Began { broadcast: Uuid, at: Civil },
    /// Its last packet has been planned, or it was replaced or stopped.
    Ended { broadcast: Uuid, at: Civil, whole: bool },
    /// Packet `index` was not there when its sound was due.
    Lost { track: Uuid, index: u64 },
    /// Restarted in step because the error exceeded `Options::restart`.
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
    /// Dropped because the jitter buffer (2 tracks × 256 packets) was full.
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
}

/// One speaker's playout.
pub struct Player {}

impl Player {
    pub fn new(_options: Options) -> Self {
        todo!()
    }

    /// The tuner's choice; the same again is free. A change fades the old one out over
    /// `Options::fade` from the next step and brings the new one in, in step, at once.
    pub fn handle_program(&mut self, _now: Local, _program: Option<Program>) {
        todo!()
    }

    /// A verified packet, of the present programme's track or one that may come (kept, bounded).
    pub fn handle_sound(&mut self, _now: Local, _track: Uuid, _sound: Arc<Sound>) {
        todo!()
    }

    pub fn handle_phase(&mut self, _now: Local, _phase: Phase) {
        todo!()
    }

    pub fn handle_device(&mut self, _now: Local, _device: Device) {
        todo!()
    }

    pub fn poll_step(&mut self, _now: Local) -> Option<Step> {
        todo!()
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        todo!()
    }

    pub fn poll_timeout(&self) -> Option<(Local, Reason)> {
        todo!()
    }

    /// The packets still of use: those with an index at or past what the device will need.
    pub fn needed(&self, _now: Local, _track: Uuid) -> Option<u64> {
        todo!()
    }

    pub fn status(&self, _now: Local) -> Status {
        todo!()
    }

    pub fn counters(&self) -> Counters {
        todo!()
    }
}
