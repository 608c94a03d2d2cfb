//! A sound card: its own clock counts the frames.
//!
//! ```text
//!            ┌──────── open, fill half with silence, start ────────┐
//!            │                                                     ▼
//!          Away ◀──── unplugged, stuck, or too far behind ──── Running: played = out − held − delay
//!   a modelled card counts on      │                               │ took frames faster than time
//!            │                     └───── unplugged ── Clockless ◀─┘ the modelled card paces it
//!            └── every 5 s: try again
//! ```
//! The card's buffer is filled with whatever the plan has, up to 100 ms, so that a thread that is held
//! up for long harms nothing; silence is put in only where less than [`LOW`] is left. What a buffer and a
//! converter hold is in `delay`, so a step leaves at `Step::at` whatever they hold.
//!
//! After an underrun, and when a card comes back, the frames that would have left meanwhile count as
//! inserted: the counter stays on its line, and so does playout. No call here blocks but `open`.
use super::Said;
use super::card::Card;
use super::feed::{Feed, Line};
use super::sink::sample;
use crate::audio::Step;
use crate::playout::Device;
use crate::time::{Local, RATE, SECOND};

/// An open card: 48 kHz, 16 bits, one channel as seen from here.
pub trait Port: Send {
    fn now(&self) -> Local;
    /// Frames that its buffer holds.
    fn buffer(&self) -> usize;
    fn state(&mut self) -> Result<State, Fault>;
    /// Frames that it took of these, perhaps none. It starts by itself when it holds a few.
    fn write(&mut self, samples: &[i16]) -> Result<usize, Fault>;
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct State {
    /// When this was so.
    pub at: Local,
    /// Frames that there is room for.
    pub room: usize,
    /// Frames between the last one written and the one that leaves now.
    pub delay: usize,
    pub running: bool,
}

#[derive(Debug, PartialEq)]
pub enum Fault {
    /// It had nothing left to play; it is ready again and starts when it is written to.
    Empty,
    Lost(Lost),
}

/// Why a card is of no use, and the mend.
#[derive(Debug, PartialEq)]
pub struct Lost {
    pub why: String,
    pub mend: &'static str,
}

pub type Opener = Box<dyn FnMut() -> Result<Box<dyn Port>, Lost> + Send>;

pub struct Hardware {
    /// As the configuration names it.
    name: String,
    opener: Opener,
    /// Counts the frames while no card does; the line is a running card's own.
    card: Card,
    open: Option<Open>,
    /// When to try to open it again.
    retry: Local,
    /// That it is away, or keeps no time, has been said.
    away: bool,
    clockless: bool,
}

struct Open {
    port: Box<dyn Port>,
    /// Samples that it has had no room for.
    held: Vec<i16>,
    paced: Paced,
    /// It had nothing left to play, and what went by since is not counted yet.
    emptied: bool,
    /// When its counter last moved.
    moved: Local,
}

#[derive(Clone, Copy, PartialEq)]
enum Paced {
    ByCard,
    ByMachine,
}

impl Hardware {
    pub fn new(name: String, now: Local, opener: Opener) -> Self {
        let card = Card::new(now, 0.0);
        Self { name, opener, card, open: None, retry: now, away: false, clockless: false }
    }

    pub fn feed(&mut self) -> &mut Feed {
        &mut self.card.feed
    }

    /// Lets out what the card has room for, or what is due while there is none. False when nothing of
    /// it will be heard.
    pub fn serve(
        &mut self,
        now: Local,
        out: &mut Vec<f32>,
        said: &mut Vec<Said>,
        next: &mut dyn FnMut() -> Option<Step>,
    ) -> bool {
        if self.open.is_none() && now >= self.retry {
            self.try_open(now, out, said);
        }
        let served = match &mut self.open {
            Some(open) if open.paced == Paced::ByCard => open.fill(now, &mut self.card, out, next),
            Some(open) => {
                self.card.advance(now, out, next);
                open.hold(out);
                // What a card without a clock does not take at once it has no need of.
                let written = open.write();
                open.held.clear();
                written
            }
            None => {
                self.card.advance(now, out, next);
                return false;
            }
        };
        match served {
            Ok(()) => true,
            Err(lost) => {
                self.give_up(now, &lost, said);
                false
            }
        }
    }

    /// The counter and the instant at which it was read.
    pub fn report(&mut self, now: Local) -> Device {
        let Some(open) = self.open.as_mut().filter(|open| open.paced == Paced::ByCard) else {
            return self.card.report(now);
        };
        let state = open.port.state();
        open.emptied |= state == Err(Fault::Empty);
        if let Ok(State { at, delay, running: true, .. }) = state {
            let behind = (open.held.len() + delay) as u64;
            let frame = self.card.feed.out.saturating_sub(behind) as f64;
            if frame > self.card.line.frame {
                open.moved = at;
            }
            // A counter that goes back would be a device that begins anew.
            self.card.line = Line { at, frame: frame.max(self.card.line.frame), rate: NOMINAL };
        }
        let Line { at, frame, .. } = self.card.line;
        Device { at, played: frame, inserted: self.card.feed.inserted, steps: self.card.feed.steps }
    }

    fn try_open(&mut self, now: Local, out: &mut Vec<f32>, said: &mut Vec<Said>) {
        let mut port = match (self.opener)() {
            Ok(port) => port,
            Err(lost) => return self.give_up(now, &lost, said),
        };
        // Opening may have taken long.
        let now = port.now();
        pass_until(now, &mut self.card, 0);
        self.card.line = Line { at: now, frame: self.card.feed.out as f64, rate: NOMINAL };
        let half = port.buffer() / 2;
        let mut silence = Vec::new();
        self.card.feed.silence(half, &mut silence);
        out.extend(&silence);
        let taken = port.write(&vec![0; half]);
        let state = port.state();
        let (taken, state) = match (taken, state) {
            (Ok(taken), Ok(state)) => (taken, state),
            (Err(Fault::Lost(lost)), _) | (_, Err(Fault::Lost(lost))) => return self.give_up(now, &lost, said),
            // It swallowed all at once and stands empty: it keeps no time.
            (Err(Fault::Empty), _) | (_, Err(Fault::Empty)) => {
                (half, State { at: now, room: port.buffer(), delay: 0, running: true })
            }
        };
        let left = port.buffer().saturating_sub(state.room);
        let sounded = ((port.now() - now).max(0) as f64 * NOMINAL) as usize;
        let clockless = taken.saturating_sub(left) > sounded + half / 2;
        let paced = if clockless { Paced::ByMachine } else { Paced::ByCard };
        self.open = Some(Open { port, held: vec![0; half.saturating_sub(taken)], paced, emptied: false, moved: now });
        if clockless && !self.clockless {
            self.clockless = true;
            let text = format!(
                "alsa:{}: takes sound faster than time passes, so it keeps no time of its own, and the machine's clock \
                 paces it; where sound is to be heard, name a sound card, such as alsa:plughw:0,0, as playout.device",
                self.name
            );
            said.push(Said::Trouble { code: "sound.clockless", text });
        }
        if self.away {
            self.away = false;
            said.push(Said::Mended { code: AWAY, text: format!("alsa:{}: the sound card is back", self.name) });
        }
    }

    fn give_up(&mut self, now: Local, lost: &Lost, said: &mut Vec<Said>) {
        self.open = None;
        self.retry = now + RETRY;
        // From where the card stood, the modelled one counts on.
        self.card.line = Line { at: now, frame: self.card.line.frame(now), rate: NOMINAL };
        if !self.away {
            self.away = true;
            let (name, Lost { why, mend }) = (&self.name, lost);
            let text = format!("alsa:{name}: {why}; {mend}; nothing is heard; tried again every {} s", RETRY / SECOND);
            said.push(Said::Trouble { code: AWAY, text });
        }
    }
}

impl Open {
    fn fill(
        &mut self,
        now: Local,
        card: &mut Card,
        out: &mut Vec<f32>,
        next: &mut dyn FnMut() -> Option<Step>,
    ) -> Result<(), Lost> {
        let buffer = self.port.buffer();
        let state = self.port.state();
        let room = match state {
            Ok(state) if !self.emptied => {
                let hidden = state.delay.saturating_sub(buffer.saturating_sub(state.room));
                if hidden > MOST_HIDDEN {
                    let why = format!("it holds sound back for {} ms beyond its buffer", hidden as u32 * 1_000 / RATE);
                    return Err(Lost { why, mend: "name it by its hardware, such as plughw:0,0" });
                }
                state.room.min(buffer)
            }
            Ok(_) | Err(Fault::Empty) => {
                self.emptied = false;
                // All that it had has left; since then silence went by.
                pass_until(now, card, self.held.len());
                let frame = card.feed.out.saturating_sub(self.held.len() as u64) as f64;
                card.line = Line { at: now, frame: frame.max(card.line.frame), rate: NOMINAL };
                self.moved = now;
                buffer
            }
            Err(Fault::Lost(lost)) => return Err(lost),
        };
        if now - self.moved > STUCK {
            let why = format!("has not moved for {} s", STUCK / SECOND);
            return Err(Lost { why, mend: "plug it out and in again, or end what holds it" });
        }
        let begin = out.len();
        let filled = buffer - room + self.held.len();
        let sounded = card.feed.sound(buffer.saturating_sub(filled), &card.line, out, next);
        card.feed.silence(LOW.min(buffer / 2).saturating_sub(filled + sounded), out);
        let (_, fresh) = out.split_at(begin);
        self.hold(fresh);
        self.write()
    }

    fn hold(&mut self, frames: &[f32]) {
        self.held.extend(frames.iter().map(|frame| sample(*frame)));
    }

    /// Writes what there is room for, and keeps the rest: never more than the buffer would hold.
    fn write(&mut self) -> Result<(), Lost> {
        while !self.held.is_empty() {
            match self.port.write(&self.held) {
                Ok(0) => break,
                Ok(taken) => drop(self.held.drain(..taken.min(self.held.len()))),
                Err(Fault::Empty) => {
                    self.emptied = true;
                    break;
                }
                Err(Fault::Lost(lost)) => return Err(lost),
            }
        }
        Ok(())
    }
}

/// Counts as inserted what should have left by `now` and did not; `held` frames are still to come.
fn pass_until(now: Local, card: &mut Card, held: usize) {
    let gone = card.feed.out.saturating_sub(held as u64);
    card.feed.pass((card.line.frame(now) as u64).saturating_sub(gone));
}

const AWAY: &str = "sound.device";
/// Frames per µs.
const NOMINAL: f64 = RATE as f64 * 1e-6;
/// Frames (30 ms) left in the card when silence must be put in: two late looks more.
const LOW: usize = RATE as usize * 30 / 1_000;
/// Frames (80 ms) beyond its buffer: with `LOW` and a wake-up of the player they fill its horizon.
const MOST_HIDDEN: usize = RATE as usize * 80 / 1_000;
/// µs between tries to open it.
const RETRY: i64 = 5 * SECOND;
/// µs without a frame played by a card that is fed.
const STUCK: i64 = 2 * SECOND;

#[cfg(test)]
#[path = "hardware/tests.rs"]
mod tests;
