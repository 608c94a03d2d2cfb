//! A card in virtual time: what it played is what it was written, less what it still holds.
use super::*;
use crate::audio::{Content, Gain, TONE};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

#[derive(Default)]
struct Model {
    now: i64,
    /// Frames per µs.
    rate: f64,
    written: u64,
    played: f64,
    /// Frames in a converter behind the buffer.
    hidden: usize,
    running: bool,
    empty: bool,
    gone: bool,
    frozen: bool,
    swallows: bool,
    opened: u32,
    samples: Vec<i16>,
}

impl Model {
    fn advance(&mut self, now: i64) {
        if self.running && !self.frozen {
            self.played += (now - self.now) as f64 * self.rate;
        }
        self.now = now;
        if self.swallows {
            self.played = self.written as f64;
        } else if self.running && self.played >= self.written as f64 {
            (self.played, self.running, self.empty) = (self.written as f64, false, true);
        }
    }
}

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Model>>);

impl Fake {
    fn model(&self) -> MutexGuard<'_, Model> {
        self.0.lock().unwrap()
    }
}

const BUFFER: usize = 4_800;

impl Port for Fake {
    fn now(&self) -> Local {
        Local(self.model().now)
    }

    fn buffer(&self) -> usize {
        BUFFER
    }

    fn state(&mut self) -> Result<State, Fault> {
        let mut model = self.model();
        if model.gone {
            return Err(Fault::Lost(Lost { why: "No such device".into(), mend: "plug it in again" }));
        }
        if std::mem::take(&mut model.empty) {
            return Err(Fault::Empty);
        }
        let left = (model.written as f64 - model.played).round() as usize;
        let delay = left + if model.running { model.hidden } else { 0 };
        Ok(State { at: Local(model.now), room: BUFFER - left, delay, running: model.running })
    }

    fn write(&mut self, samples: &[i16]) -> Result<usize, Fault> {
        let room = self.state()?.room.min(samples.len());
        let mut model = self.model();
        model.written += room as u64;
        model.samples.extend(&samples[..room]);
        model.running = true;
        if model.swallows {
            model.played = model.written as f64;
        }
        Ok(room)
    }
}

/// A card, and a player that gives out steps of the tone up to the horizon ahead of what it reports.
struct Bench {
    fake: Fake,
    hardware: Hardware,
    now: i64,
    played: f64,
    inserted: u64,
    planned: u64,
    given: u64,
    said: Vec<Said>,
    heard: bool,
    out: usize,
    queue: VecDeque<Step>,
}

const HORIZON: f64 = 150.0 * 48.0;

impl Bench {
    fn new(ppm: f64, set: impl FnOnce(&mut Model)) -> Self {
        let fake = Fake::default();
        set(&mut fake.model());
        fake.model().rate = NOMINAL * (1.0 + ppm * 1e-6);
        let other = fake.clone();
        let opener: Opener = Box::new(move || {
            let mut model = other.model();
            if model.gone {
                return Err(Lost { why: "cannot be opened (No such device)".into(), mend: "plug it in" });
            }
            (model.written, model.played, model.running, model.empty) = (0, 0.0, false, false);
            model.opened += 1;
            drop(model);
            Ok(Box::new(other.clone()))
        });
        let hardware = Hardware::new("hw:test".into(), Local(0), opener);
        Self {
            fake,
            hardware,
            now: 0,
            played: 0.0,
            inserted: 0,
            planned: 0,
            given: 0,
            said: Vec::new(),
            heard: false,
            out: 0,
            queue: VecDeque::new(),
        }
    }

    /// Serves it at `now`, and reports.
    fn turn(&mut self, now: i64) {
        self.now = now;
        self.fake.model().advance(now);
        let mut steps = Vec::new();
        while ((self.planned + self.inserted) as f64) < self.played + HORIZON {
            steps.push(Step {
                number: self.given,
                content: Content::Tone { which: TONE, from: self.given * 480 },
                count: 480,
                ratio: 1.0,
                gain: Gain { from: 1.0, to: 1.0 },
                at: 0.0,
            });
            self.given += 1;
            self.planned += 480;
        }
        self.queue.extend(steps);
        let mut out = Vec::new();
        let queue = &mut self.queue;
        self.heard = self.hardware.serve(Local(now), &mut out, &mut self.said, &mut || queue.pop_front());
        self.out += out.len();
        let report = self.hardware.report(Local(now));
        assert!(report.played >= self.played, "the counter went back: {} after {}", report.played, self.played);
        (self.played, self.inserted) = (report.played, report.inserted);
    }

    fn run(&mut self, micros: i64) {
        let until = self.now + micros;
        while self.now < until {
            self.turn(self.now + 10_000);
        }
    }

    fn codes(&mut self) -> Vec<String> {
        self.said
            .drain(..)
            .map(|said| match said {
                Said::Trouble { code, .. } => format!("+{code}"),
                Said::Mended { code, .. } => format!("-{code}"),
                other => panic!("{other:?}"),
            })
            .collect()
    }
}

#[test]
fn the_counter_is_the_cards_own_and_no_silence_is_put_between_steps() {
    for ppm in [-90.0, 0.0, 120.0] {
        let mut bench = Bench::new(ppm, |model| model.hidden = 240);
        bench.run(SECOND);
        let begun = bench.inserted;
        // The thread is held up now and then, and once for longer than a period of the player.
        for held in [0, 30_000, 0, 65_000, 20_000] {
            bench.turn(bench.now + held + 10_000);
            bench.run(4 * SECOND);
        }
        assert_eq!(bench.inserted, begun, "{ppm} ppm");
        let model = bench.fake.model();
        // 10 ms went by before the card was opened; its converter holds 5 ms.
        let expected = 480.0 + model.played - 240.0;
        assert!((bench.played - expected).abs() <= 1.0, "{} of {expected}", bench.played);
        assert!(((bench.played + 240.0) / (bench.now as f64 * model.rate) - 1.0).abs() < 20e-6);
        assert!(bench.said.is_empty() && bench.heard);
    }
}

#[test]
fn frame_p_of_the_plan_is_frame_p_of_the_card() {
    let mut bench = Bench::new(0.0, |_| {});
    bench.run(SECOND / 2);
    // 10 ms went by before the card was opened.
    let (begun, model) = (bench.inserted as usize - 480, bench.fake.model());
    let tone = crate::audio::tone(TONE).unwrap().samples;
    let error = |shift: usize| -> f64 {
        let samples = 4_800..14_400;
        samples.map(|at| (f64::from(model.samples[begun + at + shift]) / 32_767.0 - f64::from(tone[at])).powi(2)).sum()
    };
    assert!(error(0) < error(1) / 10.0, "{} {}", error(0), error(1));
}

#[test]
fn what_went_by_in_an_underrun_counts_as_inserted_and_the_counter_stays_on_its_line() {
    let mut bench = Bench::new(0.0, |_| {});
    bench.run(SECOND);
    let (before, at) = (bench.inserted, bench.now);
    let line = bench.played;
    bench.turn(at + 500_000);
    bench.run(SECOND);
    let gap = bench.inserted - before;
    // It held 100 ms when the thread fell asleep.
    assert!((gap as f64 - 400.0 * 48.0).abs() <= 1_440.0, "{gap} frames");
    let expected = line + (bench.now - at) as f64 * NOMINAL;
    assert!((bench.played - expected).abs() <= 480.0, "{} of {expected}", bench.played);
    assert!(bench.said.is_empty(), "a held-up thread is no broken card: {:?}", bench.said);
    // The card is full again.
    let model = bench.fake.model();
    assert!(model.written as f64 - model.played > 4_000.0);
}

#[test]
fn a_card_that_is_unplugged_is_said_counted_on_for_and_taken_up_again() {
    let mut bench = Bench::new(0.0, |_| {});
    bench.run(SECOND);
    bench.fake.model().gone = true;
    bench.run(10_000);
    let text = format!("{:?}", bench.said);
    assert!(text.contains("alsa:hw:test: No such device; plug it in again") && text.contains("every 5 s"), "{text}");
    assert_eq!(bench.codes(), ["+sound.device"]);
    bench.run(12 * SECOND);
    assert!(!bench.heard && bench.codes().is_empty());
    let steps = bench.hardware.feed().steps;
    assert!((bench.played - bench.now as f64 * NOMINAL).abs() < 480.0, "{} at {}", bench.played, bench.now);
    assert!(steps > 1_290, "the plan goes on: {steps} steps");
    bench.fake.model().gone = false;
    bench.run(5 * SECOND);
    assert_eq!(bench.codes(), ["-sound.device"]);
    assert!(bench.heard);
    assert!((bench.played - bench.now as f64 * NOMINAL).abs() < 960.0, "{} at {}", bench.played, bench.now);
    assert_eq!(bench.fake.model().opened, 2);
}

#[test]
fn a_card_that_is_not_there_at_the_start_does_not_keep_the_node_from_starting() {
    let mut bench = Bench::new(0.0, |model| model.gone = true);
    bench.run(SECOND);
    assert_eq!(bench.codes(), ["+sound.device"]);
    assert!((bench.played - bench.now as f64 * NOMINAL).abs() < 1.0);
}

#[test]
fn a_card_that_stands_still_is_given_up_and_tried_again() {
    let mut bench = Bench::new(0.0, |_| {});
    bench.run(SECOND);
    bench.fake.model().frozen = true;
    bench.run(3 * SECOND);
    assert_eq!(bench.codes(), ["+sound.device"]);
    bench.fake.model().frozen = false;
    bench.run(6 * SECOND);
    assert_eq!(bench.codes(), ["-sound.device"]);
}

#[test]
fn a_card_that_swallows_sound_is_paced_by_the_machine_and_said_to_keep_no_time() {
    let mut bench = Bench::new(0.0, |model| model.swallows = true);
    bench.run(10 * SECOND);
    assert_eq!(bench.codes(), ["+sound.clockless"]);
    assert!((bench.out as i64 - 480_000).abs() <= BUFFER as i64, "{} frames in ten seconds", bench.out);
    assert!((bench.played - 480_000.0).abs() < 1.0 && bench.heard);
}

#[test]
fn a_card_that_holds_sound_back_for_longer_than_playout_plans_is_refused() {
    let mut bench = Bench::new(0.0, |model| model.hidden = 48 * 200);
    bench.run(SECOND);
    assert!(format!("{:?}", bench.said).contains("200 ms beyond its buffer"), "{:?}", bench.said);
    assert_eq!(bench.codes(), ["+sound.device"]);
}
