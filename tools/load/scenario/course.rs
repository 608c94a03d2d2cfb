//! One scenario under way: the crowd, the tree, and what is being written down.
use super::{Options, Scenario, Tree, Used, Watch};
use crate::crowd::{self, Crowd};
use crate::outcome::{Emergency, Event, Outcome, Sample, Sound, Step, Storm, Target, Usage};
use crate::plan::{Cohort, Plan};
use loa::io::clock;
use std::io;
use std::time::{Duration, Instant};

pub struct Course<'a> {
    options: &'a Options,
    tree: &'a mut dyn Tree,
    watch: &'a mut dyn Watch,
    crowd: Crowd,
    began: Instant,
    outcome: Outcome,
    /// Seconds of CPU of the tree and of the tool, when the last sample was taken.
    last: (Instant, f64, f64),
    before: Vec<Used>,
}

impl<'a> Course<'a> {
    pub fn begin(options: &'a Options, tree: &'a mut dyn Tree, watch: &'a mut dyn Watch) -> io::Result<Self> {
        let before = tree.usage()?;
        let crowd = Crowd::start(&crowd_options(options, options.speakers, 1, options.places.len()))?;
        let now = Instant::now();
        let outcome = Outcome { speakers: u64::from(options.speakers), tracks: 1, ..Outcome::default() };
        let mut course = Self { options, tree, watch, crowd, began: now, outcome, last: (now, 0.0, 0.0), before };
        // Keys and certificates are made before anybody dials, so that dialling is as quick as it is asked to be.
        course.until("the speakers' keys", |crowd| crowd.ready())?;
        Ok(course)
    }

    /// All join; then they are measured.
    pub fn hold(&mut self) -> io::Result<()> {
        let (options, speakers) = (self.options, self.options.speakers);
        let seconds = options.patience_s + 2.0 * (options.settle_s + options.hold_s) + MARGIN;
        let area = options.area.clone();
        self.tree.air(&area, seconds)?;
        self.join(speakers, options.connect_rate, Cohort::Steady)?;
        self.streams(speakers)?;
        self.settle()?;
        if options.hostile > 0.0 {
            self.measure(options.hold_s)?;
            let p99 = self.crowd.told().of(Cohort::Steady).delivery.quantiles().p99;
            let hostile = (f64::from(speakers) * options.hostile) as u32;
            self.event(&format!("without hostile listeners p99 is {p99:.1} ms; {hostile} turn hostile"));
            self.crowd.turn(hostile, &options.hostile_kinds)?;
            self.settle()?;
        }
        self.measure(options.hold_s)
    }

    /// Some stream; the rest dials at once.
    pub fn storm(&mut self, steady: u32) -> io::Result<()> {
        let options = self.options;
        let newcomers = options.speakers.saturating_sub(steady);
        let area = options.area.clone();
        self.tree.air(&area, 2.0 * options.patience_s + options.settle_s + options.hold_s + MARGIN)?;
        self.join(steady, options.connect_rate, Cohort::Steady)?;
        self.streams(steady)?;
        self.settle()?;
        self.open_window()?;
        self.event(&format!("{newcomers} dial at once"));
        self.crowd.forget_joins();
        let began = Instant::now();
        self.crowd.join(newcomers, f64::INFINITY, Cohort::Newcomers)?;
        let until = began + Duration::from_secs_f64(options.patience_s);
        let streaming = loop {
            self.tick()?;
            let streaming = self.crowd.told().streaming_in(Cohort::Newcomers);
            if streaming >= u64::from(newcomers) || Instant::now() >= until || self.watch.is_over() {
                break streaming;
            }
        };
        let all_streaming_s = if streaming >= u64::from(newcomers) { began.elapsed().as_secs_f64() } else { f64::MAX };
        self.event(&format!("{streaming} of {newcomers} stream after {:.1} s", began.elapsed().as_secs_f64()));
        self.wait(options.hold_s)?;
        self.close_window(began.elapsed().as_secs_f64())?;
        let told = self.crowd.told();
        let others = told.of(Cohort::Steady);
        self.outcome.storm = Some(Storm {
            sessions: u64::from(newcomers),
            all_streaming_s,
            stream_ms: told.first_packet.quantiles(),
            others: told.streaming_in(Cohort::Steady),
            others_lost: others.expected.saturating_sub(others.received),
            others_delivery_ms: others.delivery.quantiles(),
        });
        Ok(())
    }

    /// An order to all, and its end.
    pub fn emergency(&mut self) -> io::Result<()> {
        let (options, speakers) = (self.options, self.options.speakers);
        let area = options.area.clone();
        self.tree.air(&area, options.patience_s + options.settle_s + options.hold_s + MARGIN)?;
        self.join(speakers, options.connect_rate, Cohort::Steady)?;
        self.streams(speakers)?;
        self.settle()?;
        self.open_window()?;
        let began = Instant::now();
        self.event("emergency");
        let order = self.tree.emergency(&area)?;
        let reached = self.reach(|heard| heard.order == order)?;
        self.event("hush");
        self.tree.hush(&area)?;
        self.reach(|heard| heard.hush)?;
        self.close_window(began.elapsed().as_secs_f64())?;
        let told = self.crowd.told();
        let emergency = told.orders.iter().find(|heard| heard.order == order);
        let hush = told.orders.iter().find(|heard| heard.hush);
        self.outcome.emergency = Some(Emergency {
            order_ms: emergency.map(|heard| heard.arrival.quantiles()).unwrap_or_default(),
            first_sound_ms: emergency.map(|heard| heard.obeyed.quantiles()).unwrap_or_default(),
            hush_ms: hush.map(|heard| heard.obeyed.quantiles()).unwrap_or_default(),
            reached,
            not_reached: u64::from(speakers).saturating_sub(reached),
        });
        if !told.unreached.is_empty() {
            let text = format!("not reached, by number: {:?}", told.unreached);
            self.event(&text);
        }
        Ok(())
    }

    /// Ever more listeners of one track, then ever more tracks.
    pub fn growth(&mut self, listeners: &[u32], tracks: &[u32], each: u32) -> io::Result<()> {
        let options = self.options;
        let most = tracks.iter().copied().max().unwrap_or(1).max(1);
        // Of the same track, one place below each parent.
        let parents = (options.places.len() / most as usize).max(1);
        if let Some(last) = listeners.iter().copied().max() {
            self.again(last, 1, parents)?;
            let window = options.settle_s + options.hold_s + MARGIN;
            let area = options.area.clone();
            self.tree.air(&area, (options.patience_s + window) * listeners.len() as f64)?;
            let mut joined = 0;
            for &step in listeners {
                self.join(step.saturating_sub(joined), options.connect_rate, Cohort::Steady)?;
                joined = joined.max(step);
                self.streams(joined)?;
                self.step(joined, 1)?;
            }
        }
        if let Some(last) = tracks.iter().copied().max() {
            let each = each.max(1);
            self.again(last * each, (each / parents as u32).max(1), options.places.len())?;
            let mut aired = 0;
            for &step in tracks {
                self.join((step.saturating_sub(aired)) * each, options.connect_rate, Cohort::Steady)?;
                self.joined(step * each)?;
                let window = options.settle_s + options.hold_s + MARGIN;
                for track in aired..step {
                    for place in options.places.iter().skip(track as usize * parents).take(parents) {
                        self.tree.air(&place.area, (options.patience_s + window) * tracks.len() as f64)?;
                    }
                }
                aired = aired.max(step);
                self.streams(aired * each)?;
                self.step(aired * each, aired)?;
            }
            self.outcome.tracks = u64::from(last);
        }
        Ok(())
    }

    pub fn end(mut self) -> io::Result<Outcome> {
        let used = self.load();
        let told = self.crowd.told();
        for (reason, count) in &told.ended {
            self.outcome.events.push(Event {
                at_s: self.began.elapsed().as_secs_f64(),
                text: format!("sessions ended: {count} × {reason}"),
            });
        }
        self.outcome.joined = self.outcome.joined.max(told.joined);
        self.outcome.join_ms = match told.first_packet.count() {
            0 => told.welcomed.quantiles(),
            _ => told.first_packet.quantiles(),
        };
        self.outcome.hostile = told.hostile.clone();
        self.outcome.load.rss_kib = self.outcome.load.rss_kib.max(used.rss_kib);
        self.outcome.load.processes = used.processes;
        self.crowd.finish()?;
        Ok(self.outcome)
    }

    /// Another crowd in place of this one.
    fn again(&mut self, speakers: u32, together: u32, places: usize) -> io::Result<()> {
        let crowd = Crowd::start(&crowd_options(self.options, speakers, together, places))?;
        std::mem::replace(&mut self.crowd, crowd).finish()?;
        self.last.2 = 0.0;
        self.until("the speakers' keys", |crowd| crowd.ready())
    }

    fn join(&mut self, count: u32, per_second: f64, cohort: Cohort) -> io::Result<()> {
        self.event(&format!("{count} more dial"));
        self.crowd.join(count, per_second, cohort)
    }

    fn joined(&mut self, count: u32) -> io::Result<()> {
        self.until("every speaker's welcome", |crowd| crowd.told().joined >= u64::from(count))
    }

    fn streams(&mut self, count: u32) -> io::Result<()> {
        self.until("sound at every speaker", |crowd| crowd.told().streaming >= u64::from(count))?;
        self.outcome.joined = self.crowd.told().joined;
        let rss = self.tree.usage()?;
        self.outcome.targets = self.targets(&rss, &rss, 1.0);
        Ok(())
    }

    fn settle(&mut self) -> io::Result<()> {
        self.wait(self.options.settle_s)
    }

    fn measure(&mut self, seconds: f64) -> io::Result<()> {
        self.open_window()?;
        self.wait(seconds)?;
        self.close_window(seconds)
    }

    fn step(&mut self, listeners: u32, tracks: u32) -> io::Result<()> {
        self.settle()?;
        let seconds = self.options.hold_s;
        self.measure(seconds)?;
        let tally = self.crowd.told().of(Cohort::Steady);
        let dialled: Vec<&Target> = self.outcome.targets.iter().filter(|target| target.listeners > 0).collect();
        let cpu_s: f64 = dialled.iter().map(|target| target.cpu_s).sum();
        let rss_kib: u64 = dialled.iter().map(|target| target.rss_end_kib).sum();
        let before: u64 = dialled.iter().map(|target| target.rss_before_kib).sum();
        let step = Step {
            listeners: u64::from(listeners),
            tracks: u64::from(tracks),
            cpu_percent: cpu_s / seconds.max(0.001) * 100.0,
            cpu_us_per_listener_second: cpu_s * 1e6 / seconds.max(0.001) / f64::from(listeners.max(1)),
            rss_kib,
            rss_kib_per_listener: rss_kib.saturating_sub(before) as f64 / f64::from(listeners.max(1)),
            delivery_ms: tally.delivery.quantiles(),
            lost: tally.expected.saturating_sub(tally.received),
        };
        self.outcome.steps.push(step);
        Ok(())
    }

    fn open_window(&mut self) -> io::Result<()> {
        self.crowd.hold(clock::wall().0 + HOLD_AHEAD)?;
        std::thread::sleep(Duration::from_micros(HOLD_AHEAD as u64));
        self.event("measuring begins");
        self.outcome.load.cpu_s = self.load().cpu_s;
        self.window_before()
    }

    fn window_before(&mut self) -> io::Result<()> {
        let now = self.tree.usage()?;
        for target in &mut self.outcome.targets {
            if let Some(used) = now.iter().find(|used| used.name == target.name) {
                target.cpu_s = used.cpu_s;
            }
        }
        Ok(())
    }

    fn close_window(&mut self, seconds: f64) -> io::Result<()> {
        let until = clock::wall().0;
        let used = self.tree.usage()?;
        let load = self.load();
        self.crowd.release(until)?;
        self.event("measuring ends");
        self.until("the last packets", |crowd| crowd.released())?;
        let begun: Vec<Used> = (self.outcome.targets.iter())
            .map(|target| Used { name: target.name.clone(), cpu_s: target.cpu_s, rss_kib: target.rss_joined_kib, ..Used::default() })
            .collect();
        self.outcome.targets = self.targets(&begun, &used, seconds);
        self.outcome.load.cpu_s = load.cpu_s - self.outcome.load.cpu_s;
        self.outcome.load.rss_kib = load.rss_kib;
        self.outcome.held_s = seconds;
        let tally = self.crowd.told().of(Cohort::Steady);
        self.outcome.sound = Sound {
            expected: tally.expected,
            received: tally.received,
            lost: tally.expected.saturating_sub(tally.received),
            repaired: tally.repaired,
            duplicates: tally.duplicates,
            delivery_ms: tally.delivery.quantiles(),
            checked: tally.checked,
            forged: tally.forged,
            bytes: tally.bytes,
        };
        Ok(())
    }

    fn targets(&self, begun: &[Used], used: &[Used], seconds: f64) -> Vec<Target> {
        let dialled = used.iter().filter(|used| used.dialled).count().max(1) as u64;
        let of = |all: &[Used], name: &str| all.iter().find(|used| used.name == name).cloned().unwrap_or_default();
        let target = |used: &Used| {
            let (before, begun) = (of(&self.before, &used.name), of(begun, &used.name));
            let listeners = if used.dialled { self.crowd.told().joined / dialled } else { 0 };
            let each = listeners.max(1) as f64;
            let cpu_s = used.cpu_s - begun.cpu_s;
            Target {
                name: used.name.clone(),
                role: used.role.clone(),
                listeners,
                cpu_s,
                cpu_us_per_listener_second: cpu_s * 1e6 / seconds.max(0.001) / each,
                rss_before_kib: before.rss_kib,
                rss_joined_kib: begun.rss_kib,
                rss_end_kib: used.rss_kib,
                rss_kib_per_listener: used.rss_kib.saturating_sub(before.rss_kib) as f64 / each,
            }
        };
        used.iter().map(target).collect()
    }

    /// Until everybody has heard of an order, or nobody new does any more.
    fn reach(&mut self, which: impl Fn(&crate::plan::Heard) -> bool) -> io::Result<u64> {
        let until = Instant::now() + REACH;
        loop {
            self.tick()?;
            let told = self.crowd.told();
            let reached = told.orders.iter().find(|heard| which(heard)).map_or(0, |heard| heard.arrival.count());
            if reached >= told.joined.max(1) || Instant::now() >= until || self.watch.is_over() {
                return Ok(reached);
            }
        }
    }

    fn wait(&mut self, seconds: f64) -> io::Result<()> {
        let until = Instant::now() + Duration::from_secs_f64(seconds.clamp(0.0, 1e6));
        while Instant::now() < until && !self.watch.is_over() {
            self.tick()?;
        }
        Ok(())
    }

    /// Until it is so, or patience ends: then the run goes on with those there are, and the thresholds judge.
    fn until(&mut self, what: &str, so: impl Fn(&Crowd) -> bool) -> io::Result<()> {
        let until = Instant::now() + Duration::from_secs_f64(self.options.patience_s.clamp(0.0, 1e6));
        while !so(&self.crowd) {
            if self.watch.is_over() {
                return Ok(());
            }
            if Instant::now() >= until {
                let told = self.crowd.told();
                let text = format!("waited {:.0} s for {what}: ", self.options.patience_s)
                    + &format!("{} joined, {} stream", told.joined, told.streaming);
                self.event(&text);
                return Ok(());
            }
            self.tick()?;
        }
        Ok(())
    }

    /// About a second of the run.
    fn tick(&mut self) -> io::Result<()> {
        self.crowd.wait(Duration::from_secs(1))?;
        let used = self.tree.usage()?;
        let (cpu_s, rss_kib) = used.iter().fold((0.0, 0), |sum, used| (sum.0 + used.cpu_s, sum.1 + used.rss_kib));
        let load = self.load();
        let now = Instant::now();
        let seconds = (now - self.last.0).as_secs_f64().max(0.001);
        let second = self.crowd.second();
        let told = self.crowd.told();
        let steady = told.of(Cohort::Steady);
        let delivery = second.delivery.quantiles();
        let sample = Sample {
            at_s: self.began.elapsed().as_secs_f64(),
            joined: told.joined,
            streaming: told.streaming,
            packets_per_s: second.packets as f64 / seconds,
            lost: steady.expected.saturating_sub(steady.received),
            delivery_p50_ms: delivery.p50,
            delivery_p99_ms: delivery.p99,
            delivery_max_ms: delivery.max,
            target_cpu_percent: ((cpu_s - self.last.1) / seconds * 100.0).max(0.0),
            load_cpu_percent: ((load.cpu_s - self.last.2) / seconds * 100.0).max(0.0),
            target_rss_kib: rss_kib,
        };
        self.last = (now, cpu_s, load.cpu_s);
        self.watch.sample(&sample);
        self.outcome.samples.push(sample);
        Ok(())
    }

    fn load(&self) -> Usage {
        self.crowd.usage()
    }

    fn event(&mut self, text: &str) {
        let at_s = self.began.elapsed().as_secs_f64();
        self.watch.event(at_s, text);
        self.outcome.events.push(Event { at_s, text: text.to_owned() });
    }
}

fn crowd_options(options: &Options, speakers: u32, together: u32, places: usize) -> crowd::Options {
    let speakers = if matches!(options.kind, Scenario::Growth { .. }) && together == 1 && places == options.places.len() {
        // Growth brings a crowd for each of its halves.
        speakers.min(1)
    } else {
        speakers
    };
    let plan = Plan {
        root: options.root.clone(),
        places: options.places.iter().take(places.max(1)).cloned().collect(),
        together,
        checked: options.checked,
        gro: options.gro,
        nap_us: options.nap_us,
        seed: options.seed,
        ..Plan::default()
    };
    crowd::Options { plan, speakers, per_process: options.per_process, cores: options.cores.clone() }
}

/// Of sound, s: beyond what a run is expected to take.
const MARGIN: f64 = 30.0;
/// µs: every worker knows of a window before it begins.
const HOLD_AHEAD: i64 = 500_000;
/// Whom an order has not reached by then, it does not reach.
const REACH: Duration = Duration::from_secs(15);
