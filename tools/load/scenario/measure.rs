//! What is measured of a course: windows, steps, and a sample each second.
use super::Used;
use super::course::Course;
use crate::outcome::{Sample, Sound, Step, Target, Usage};
use crate::plan::Cohort;
use loa::io::clock;
use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

impl Course<'_> {
    pub(super) fn settle(&mut self) -> io::Result<()> {
        self.wait(self.options.settle_s)
    }

    pub(super) fn measure(&mut self, seconds: f64) -> io::Result<()> {
        self.open_window()?;
        let began = Instant::now();
        self.wait(seconds)?;
        // Ctrl-C ends a wait.
        self.close_window(began.elapsed().as_secs_f64().min(seconds))
    }

    pub(super) fn step(&mut self, listeners: u32, tracks: u32, idle_rss_kib: Option<u64>) -> io::Result<()> {
        self.settle()?;
        let seconds = self.options.hold_s;
        self.measure(seconds)?;
        let tally = self.crowd.told().of(Cohort::Steady);
        let dialled: Vec<&Target> = self.outcome.targets.iter().filter(|target| target.listeners > 0).collect();
        let cpu_s: f64 = dialled.iter().map(|target| target.cpu_s).sum();
        let rss_kib: u64 = dialled.iter().map(|target| target.rss_end_kib).sum();
        let before: u64 = dialled.iter().map(|target| target.rss_before_kib).sum();
        // Of those who are there, not of those who were asked for: who did not come costs nothing.
        let there = dialled.iter().map(|target| target.listeners).sum::<u64>().max(1) as f64;
        let step = Step {
            listeners: u64::from(listeners),
            tracks: u64::from(tracks),
            cpu_percent: cpu_s / seconds.max(0.001) * 100.0,
            cpu_us_per_listener_second: cpu_s * 1e6 / seconds.max(0.001) / there,
            rss_kib,
            idle_rss_kib,
            rss_kib_per_listener: rss_kib.saturating_sub(before) as f64 / there,
            delivery_ms: tally.delivery.quantiles(),
            lost: tally.expected.saturating_sub(tally.received),
        };
        self.outcome.steps.push(step);
        Ok(())
    }

    pub(super) fn open_window(&mut self) -> io::Result<()> {
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

    pub(super) fn close_window(&mut self, seconds: f64) -> io::Result<()> {
        let until = clock::wall().0;
        let used = self.tree.usage()?;
        let load = self.load();
        self.crowd.release(until)?;
        self.event("measuring ends");
        self.until("the last packets", |crowd| crowd.released())?;
        let begun: Vec<Used> = (self.outcome.targets.iter())
            .map(|target| Used {
                name: target.name.clone(),
                cpu_s: target.cpu_s,
                rss_kib: target.rss_joined_kib,
                ..Used::default()
            })
            .collect();
        self.outcome.targets = self.targets(&begun, &used, seconds);
        self.outcome.load.cpu_s = load.cpu_s - self.outcome.load.cpu_s;
        self.outcome.load.rss_kib = load.rss_kib;
        self.outcome.held_s = seconds;
        let tally = self.crowd.told().of(Cohort::Steady);
        // What an earlier window lost is lost.
        let earlier = &self.outcome.sound;
        self.outcome.sound = Sound {
            expected: earlier.expected + tally.expected,
            received: earlier.received + tally.received,
            lost: earlier.lost + tally.expected.saturating_sub(tally.received),
            repaired: earlier.repaired + tally.repaired,
            duplicates: earlier.duplicates + tally.duplicates,
            delivery_ms: tally.delivery.quantiles(),
            checked: earlier.checked + tally.checked,
            forged: earlier.forged + tally.forged,
            bytes: earlier.bytes + tally.bytes,
        };
        Ok(())
    }

    /// Of all nodes that speakers dial, now.
    pub(super) fn dialled_kib(&mut self) -> io::Result<u64> {
        Ok(self.tree.usage()?.iter().filter(|used| used.dialled).map(|used| used.rss_kib).sum())
    }

    pub(super) fn targets(&self, begun: &[Used], used: &[Used], seconds: f64) -> Vec<Target> {
        // Over all who are dialled: of some that run already, no process may be known.
        let parents: BTreeSet<_> = self.options.places.iter().map(|place| &place.addresses).collect();
        let there = self.crowd.told().joined.min(self.streamed) / parents.len().max(1) as u64;
        let of = |all: &[Used], name: &str| all.iter().find(|used| used.name == name).cloned().unwrap_or_default();
        let target = |used: &Used| {
            let (before, begun) = (of(&self.before, &used.name), of(begun, &used.name));
            let listeners = if used.dialled { there } else { 0 };
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

    /// About a second of the run.
    pub(super) fn tick(&mut self) -> io::Result<()> {
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

    pub(super) fn load(&self) -> Usage {
        self.crowd.usage()
    }
}

/// µs: every worker knows of a window before it begins.
const HOLD_AHEAD: i64 = 500_000;
