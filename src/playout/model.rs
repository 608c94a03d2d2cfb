//! The world that the tests of this room run in: true time, oscillators, exchanges, sound cards.
use super::{Clock, Device, Event, Options, Phase, Player};
use crate::audio::{Content, Step};
use crate::session::Exchange;
use crate::time::{Civil, Local};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::collections::VecDeque;

/// Shortest one-way delay and the jitter above it, µs.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    pub delay: i64,
    pub jitter: i64,
}

/// DESIGN §11: 50 ms of jitter.
pub const ACROSS: Path = Path { delay: 20_000, jitter: 50_000 };

/// A quiet local network.
pub const NEAR: Path = Path { delay: 500, jitter: 200 };

/// True time is µs since the world began.
pub struct World {
    random: ChaCha8Rng,
}

/// A node's clock.
#[derive(Clone, Copy, Debug)]
pub struct Oscillator {
    pub start: i64,
    pub ppm: f64,
}

impl Oscillator {
    pub fn local(&self, time: i64) -> Local {
        Local(self.start + time + (time as f64 * self.ppm * 1e-6).round() as i64)
    }
}

impl World {
    pub fn new(seed: u64) -> Self {
        Self { random: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// Evenly from 0 to `below`, exclusive.
    pub fn below(&mut self, below: i64) -> i64 {
        if below <= 0 { 0 } else { (self.random.next_u64() % below as u64) as i64 }
    }

    /// Evenly within ±`reach`.
    pub fn within(&mut self, reach: f64) -> f64 {
        (self.random.next_u64() as f64 / u64::MAX as f64 * 2.0 - 1.0) * reach
    }

    /// Any start, any rate within ±100 ppm.
    pub fn oscillator(&mut self) -> Oscillator {
        Oscillator { start: self.below(1_000_000_000_000), ppm: self.within(100.0) }
    }

    /// One exchange begun at `time` with a parent whose phase time and uncertainty are `answer`;
    /// also when it is back.
    pub fn travel(
        &mut self,
        node: &Oscillator,
        time: i64,
        path: Path,
        answer: impl Fn(i64) -> (Civil, u64),
    ) -> (i64, Exchange) {
        let there = time + path.delay + self.below(path.jitter);
        let back = there + 100 + path.delay + self.below(path.jitter);
        let (parent_received, _) = answer(there);
        let (parent_sent, parent_uncertainty) = answer(there + 100);
        let (sent, received) = (node.local(time), node.local(back));
        (back, Exchange { sent, parent_received, parent_sent, received, parent_uncertainty })
    }
}

pub fn world_civil(time: i64) -> Civil {
    Civil(1_700_000_000_000_000 + time)
}

/// A sound card: takes steps one period before they leave, inserts silence when it has none.
#[derive(Debug)]
pub struct Card {
    /// True time at which frame 0 left.
    start: i64,
    /// Frames per true µs.
    rate: f64,
    queue: VecDeque<Step>,
    /// Frames taken, silence included.
    taken: f64,
    inserted: u64,
    steps: u64,
    pub heard: Vec<Heard>,
}

/// One step, and the true time at which its first sample left.
#[derive(Clone, Debug)]
pub struct Heard {
    pub step: Step,
    pub time: f64,
}

impl Heard {
    /// µs by which it was late. `begin`: when sample 0 of its track or tone is due, true time.
    pub fn late(&self, begin: i64, duration: u32) -> Option<f64> {
        let sample = self.sample(duration)?;
        Some(self.time - begin as f64 - sample as f64 / 0.048)
    }

    /// The sample of the track or tone with which it begins; `None` for silence.
    pub fn sample(&self, duration: u32) -> Option<u64> {
        match &self.step.content {
            Content::Silence => None,
            Content::Tone { from, .. } => Some(*from),
            Content::Sound { sound, from, .. } => Some(sound.index * u64::from(duration) + u64::from(*from)),
            Content::Conceal { index, from, .. } => Some(index * u64::from(duration) + u64::from(*from)),
        }
    }
}

impl Card {
    pub fn new(start: i64, ppm: f64) -> Self {
        let rate = 0.048 * (1.0 + ppm * 1e-6);
        Self { start, rate, queue: VecDeque::new(), taken: 0.0, inserted: 0, steps: 0, heard: Vec::new() }
    }

    /// One that expects step `steps` next.
    pub fn resumed(start: i64, ppm: f64, steps: u64) -> Self {
        Self { steps, ..Self::new(start, ppm) }
    }

    pub fn push(&mut self, step: Step) {
        self.queue.push_back(step);
    }

    pub fn advance(&mut self, time: i64) {
        const PERIOD: f64 = 240.0;
        let played = (time - self.start) as f64 * self.rate;
        while self.taken < played + PERIOD {
            match self.queue.pop_front() {
                Some(step) => {
                    let time = self.start as f64 + self.taken / self.rate;
                    assert_eq!(step.number, self.steps, "steps come one by one");
                    self.steps += 1;
                    self.taken += f64::from(step.count) * step.ratio;
                    self.heard.push(Heard { step, time });
                }
                None => {
                    self.inserted += PERIOD as u64;
                    self.taken += PERIOD;
                }
            }
        }
    }

    pub fn report(&self, node: &Oscillator, time: i64, jitter: i64) -> Device {
        Device {
            at: node.local(time + jitter),
            played: (time - self.start) as f64 * self.rate,
            inserted: self.inserted,
            steps: self.steps,
        }
    }
}

/// A speaker: oscillator, clock, card and player, joined to a parent at `joined`.
pub struct Speaker {
    pub node: Oscillator,
    pub clock: Clock,
    pub card: Card,
    pub player: Player,
    pub events: Vec<Event>,
    pub path: Path,
    /// Added to what the phase says, µs: a clock that was set.
    pub shift: i64,
    pub spacing: fn(u32, i64) -> i64,
    joined: i64,
    exchanges: u32,
    next_exchange: i64,
    next_report: i64,
    returning: Vec<(i64, Exchange)>,
}

impl Speaker {
    pub fn new(world: &mut World, joined: i64) -> Self {
        let node = world.oscillator();
        let ppm = world.within(100.0);
        Self {
            node,
            clock: Clock::new(),
            card: Card::new(joined, ppm),
            player: Player::new(Options::default()),
            events: Vec::new(),
            path: ACROSS,
            shift: 0,
            spacing: by_default,
            joined,
            exchanges: 0,
            next_exchange: joined,
            next_report: joined,
            returning: Vec::new(),
        }
    }

    /// On a quiet local network.
    pub fn near(world: &mut World, joined: i64) -> Self {
        Self { path: NEAR, ..Self::new(world, joined) }
    }

    pub fn local(&self, time: i64) -> Local {
        self.node.local(time)
    }

    /// One tick of [`TICK`] µs at `time`.
    pub fn tick(&mut self, world: &mut World, time: i64) {
        if time < self.joined {
            return;
        }
        let now = self.node.local(time);
        while self.next_exchange <= time {
            let exchange = world.travel(&self.node, self.next_exchange, self.path, |time| (world_civil(time), 0));
            self.returning.push(exchange);
            self.exchanges += 1;
            self.next_exchange += (self.spacing)(self.exchanges, self.next_exchange - self.joined);
        }
        self.returning.sort_by_key(|(back, _)| *back);
        while self.returning.first().is_some_and(|(back, _)| *back <= time) {
            let (back, exchange) = self.returning.remove(0);
            self.clock.handle_exchange(self.node.local(back), exchange);
        }
        self.card.advance(time);
        if self.next_report <= time {
            let jitter = world.within(1_000.0) as i64;
            self.player.handle_device(now, self.card.report(&self.node, time, jitter));
            self.next_report = time + 50_000;
            if let Some(phase) = self.clock.phase(now) {
                self.player.handle_phase(now, Phase { civil: phase.civil + self.shift, ..phase });
            }
        }
        if self.player.poll_timeout().is_some_and(|(due, _)| due <= now) {
            while let Some(step) = self.player.poll_step(now) {
                self.card.push(step);
            }
        }
        while let Some(event) = self.player.poll_event() {
            self.events.push(event);
        }
    }
}

/// When the next exchange follows: `session::child::Options` by default.
pub fn by_default(exchanges: u32, age: i64) -> i64 {
    match exchanges {
        0..16 => 20_000,
        _ if age < 180_000_000 => 1_000_000,
        _ => 10_000_000,
    }
}

/// Twice a second for three minutes, then ever more rarely, so that what the skew may err by, times
/// the time to the next exchange, stays the same.
pub fn by_age(exchanges: u32, age: i64) -> i64 {
    match exchanges {
        0..16 => 20_000,
        _ => (age / 360).clamp(500_000, 10_000_000),
    }
}

pub const TICK: i64 = 5_000;
