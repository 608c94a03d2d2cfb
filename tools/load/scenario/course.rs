//! One scenario under way: the crowd, the tree, and what is being written down.
use super::{Options, Scenario, Tree, Used, Watch};
use crate::crowd::{self, Crowd};
use crate::outcome::{Emergency, Event, Outcome, Storm};
use crate::plan::{Cohort, Plan, Tally};
use crate::plot::number;
use crate::quantiles::Histogram;
use std::io;
use std::time::{Duration, Instant};
use uuid::Uuid;

pub struct Course<'a> {
    pub(super) options: &'a Options,
    pub(super) tree: &'a mut dyn Tree,
    pub(super) watch: &'a mut dyn Watch,
    pub(super) crowd: Crowd,
    pub(super) began: Instant,
    pub(super) outcome: Outcome,
    /// Seconds of CPU of the tree and of the tool, when the last sample was taken.
    pub(super) last: (Instant, f64, f64),
    pub(super) before: Vec<Used>,
    /// Of those who had joined when they were last gathered, so many heard sound.
    pub(super) streamed: u64,
    /// Of those who were gathered, the most who did not come or heard nothing.
    missing: u64,
    /// Cancelled at the end: the tree may go on without us.
    aired: Vec<Uuid>,
}

impl<'a> Course<'a> {
    pub fn begin(options: &'a Options, tree: &'a mut dyn Tree, watch: &'a mut dyn Watch) -> io::Result<Self> {
        let before = tree.usage()?;
        let speakers = match options.kind {
            // It brings a crowd for each of its halves.
            Scenario::Growth { .. } => 1,
            _ => options.speakers,
        };
        let crowd = Crowd::start(&crowd_options(options, speakers, 1, options.places.len()))?;
        let now = Instant::now();
        let outcome = Outcome { speakers: u64::from(options.speakers), tracks: 1, ..Outcome::default() };
        let mut course = Self {
            options,
            tree,
            watch,
            crowd,
            began: now,
            outcome,
            last: (now, 0.0, 0.0),
            before,
            streamed: 0,
            missing: 0,
            aired: Vec::new(),
        };
        // Keys and certificates are made before anybody dials, so that dialling is as quick as it is asked to be.
        course.until("the speakers' keys", |crowd| crowd.ready())?;
        Ok(course)
    }

    /// All join; then they are measured.
    pub fn hold(&mut self) -> io::Result<()> {
        let (options, speakers) = (self.options, self.options.speakers);
        let window = options.settle_s + options.hold_s + WINDOW;
        let windows = if options.hostile > 0.0 { 2.0 } else { 1.0 };
        self.gather(speakers, windows * window)?;
        self.settle()?;
        if options.hostile <= 0.0 {
            return self.measure(options.hold_s);
        }
        self.measure(options.hold_s)?;
        let without = self.outcome.sound.delivery_ms;
        let hostile = (f64::from(speakers) * options.hostile) as u32;
        self.event(&format!("without hostile listeners p99 is {} ms; {hostile} turn hostile", number(without.p99)));
        let before = self.tree.cuts();
        self.crowd.turn(hostile, &options.hostile_kinds)?;
        self.settle()?;
        self.measure(options.hold_s)?;
        self.outcome.without_hostile_ms = without;
        for (name, count) in self.tree.cuts() {
            let more = count.saturating_sub(before.get(&name).copied().unwrap_or(0));
            if more > 0 {
                self.outcome.hostile.insert(format!("target: {name}"), more);
            }
        }
        Ok(())
    }

    /// Sound for all who join now, and for so long after; until they hear it.
    fn gather(&mut self, speakers: u32, seconds: f64) -> io::Result<()> {
        let options = self.options;
        let seconds = self.joining(speakers) + seconds + MARGIN;
        let area = options.area.clone();
        if options.tracks == 1 {
            self.air(&area, seconds)?;
            self.join(speakers, options.connect_rate, Cohort::Steady)?;
        } else {
            // An area in which nobody has reported yet is refused.
            self.join(speakers, options.connect_rate, Cohort::Steady)?;
            self.joined(speakers)?;
            self.outcome.join_ms = self.crowd.told().welcomed.quantiles();
            self.air(&area, seconds)?;
        }
        self.streams(speakers)
    }

    /// Seconds within which so many have joined, or never will.
    fn joining(&self, count: u32) -> f64 {
        self.options.patience_s.min(JOINING + 2.0 * f64::from(count) / self.options.connect_rate)
    }

    /// Some stream; the rest dials at once.
    pub fn storm(&mut self, steady: u32) -> io::Result<()> {
        let options = self.options;
        let newcomers = options.speakers.saturating_sub(steady);
        self.gather(steady, options.patience_s + options.settle_s + options.hold_s + WINDOW)?;
        self.settle()?;
        self.open_window()?;
        self.crowd.forget_joins();
        let began = Instant::now();
        // Without newcomers, everybody loses its session and comes back.
        let (cohort, count) = match newcomers {
            0 => {
                self.event(&format!("{steady} lose their sessions and dial again"));
                self.crowd.drop_sessions(steady, Cohort::Steady)?;
                self.wait(RINGS_ON)?;
                (Cohort::Steady, steady)
            }
            _ => {
                self.event(&format!("{newcomers} dial at once"));
                self.crowd.join(newcomers, f64::INFINITY, Cohort::Newcomers)?;
                (Cohort::Newcomers, newcomers)
            }
        };
        let until = began + Duration::from_secs_f64(options.patience_s);
        let streaming = loop {
            self.tick()?;
            let streaming = self.crowd.told().streaming_in(cohort);
            if streaming >= u64::from(count) || Instant::now() >= until || self.watch.is_over() {
                break streaming;
            }
        };
        let all_streaming_s = if streaming >= u64::from(count) { began.elapsed().as_secs_f64() } else { f64::MAX };
        self.event(&format!("{streaming} of {count} stream after {:.1} s", began.elapsed().as_secs_f64()));
        // The others were counted when they gathered, and their losses are judged by themselves.
        self.missing = self.missing.max(u64::from(count).saturating_sub(streaming));
        self.streamed = if cohort == Cohort::Steady { streaming } else { self.streamed + streaming };
        let calm = Instant::now();
        // The calm that follows must not hide what the storm did to the others.
        self.wait(LEAST_STORM - began.elapsed().as_secs_f64())?;
        // Workers tell once a second: this one brings what came until now.
        self.tick()?;
        let during = self.crowd.told().of(Cohort::Steady).clone();
        self.wait(options.hold_s - calm.elapsed().as_secs_f64())?;
        self.close_window(began.elapsed().as_secs_f64())?;
        let told = self.crowd.told();
        self.outcome.storm = Some(Storm {
            sessions: u64::from(count),
            all_streaming_s,
            stream_ms: told.first_packet.quantiles(),
            others: told.streaming_in(Cohort::Steady),
            ..others(&during, told.of(Cohort::Steady))
        });
        Ok(())
    }

    /// An order to all, and its end; again and again.
    pub fn emergency(&mut self, rounds: u32) -> io::Result<()> {
        let (options, speakers) = (self.options, self.options.speakers);
        let area = options.area.clone();
        let round = HUSHED + 2.0 * REACH.as_secs_f64() + RECEIPTS.as_secs_f64();
        self.gather(speakers, options.settle_s + f64::from(rounds) * round + WINDOW)?;
        self.settle()?;
        self.open_window()?;
        let began = Instant::now();
        let (mut orders, mut hushes) = (Vec::new(), Vec::new());
        let mut found = Emergency::default();
        for round in 1..=rounds {
            self.event(&format!("emergency {round} of {rounds}"));
            let order = self.tree.emergency(&area)?;
            let reached = self.reach(order)?;
            orders.push(order);
            let unreached = self.crowd.told().unreached.clone();
            if reached < u64::from(speakers) && !unreached.is_empty() {
                self.event(&format!("not reached, by number: {unreached:?}"));
            }
            self.receipts(order, reached, &mut found)?;
            self.event("hush");
            let hush = self.tree.hush(&area)?;
            let silenced = self.reach(hush)?;
            hushes.push(hush);
            found.count(u64::from(speakers), reached, silenced);
            if silenced < u64::from(speakers) {
                self.event(&format!("the hush reached {silenced} of {speakers}"));
            }
            // One that is over by itself needs no cancelling.
            let _ = self.tree.cancel(order);
            if self.watch.is_over() {
                break;
            }
            if round < rounds {
                self.event("waiting for the end of the hush");
                self.wait(HUSHED)?;
            }
        }
        self.close_window(began.elapsed().as_secs_f64())?;
        let (mut order, mut sound, mut silence) = <(Histogram, Histogram, Histogram)>::default();
        for heard in &self.crowd.told().orders {
            if orders.contains(&heard.order) {
                order.merge(&heard.arrival);
                sound.merge(&heard.obeyed);
            }
            if hushes.contains(&heard.order) {
                silence.merge(&heard.obeyed);
            }
        }
        found.rounds = orders.len() as u64;
        found.order_ms = order.quantiles();
        found.first_sound_ms = sound.quantiles();
        found.hush_ms = silence.quantiles();
        self.outcome.emergency = Some(found);
        Ok(())
    }

    /// Waits until the origin has receipts of all whom its order reached.
    fn receipts(&mut self, order: Uuid, reached: u64, found: &mut Emergency) -> io::Result<()> {
        let accepted = i64::try_from(order.as_u128() >> 80).unwrap_or(0) * 1_000;
        let mut known = 0;
        let began = Instant::now();
        while known < reached && began.elapsed() < RECEIPTS && !self.watch.is_over() {
            self.tick()?;
            known = self.tree.reached(order)?;
        }
        let took = (loa::io::clock::wall().0 - accepted) as f64 / 1e6;
        self.event(&format!("receipts of {known} after {took:.1} s"));
        found.receipts_s = found.receipts_s.max(took);
        found.no_receipt += reached.saturating_sub(known);
        Ok(())
    }

    /// Ever more tracks, then ever more listeners of one.
    pub fn growth(&mut self, listeners: &[u32], tracks: &[u32], each: u32) -> io::Result<()> {
        let options = self.options;
        let most = tracks.iter().copied().max().unwrap_or(1).max(1);
        // Of the same track, one place below each parent.
        let parents = (options.places.len() / most as usize).max(1);
        let window = options.settle_s + options.hold_s + WINDOW;
        // First: what a node keeps of fifty thousand listeners would count as the first tracks'.
        if let Some(last) = tracks.iter().copied().max() {
            let each = each.max(1);
            self.again(last * each, (each / parents as u32).max(1), options.places.len())?;
            // Those of the first step sound until the last.
            let seconds = (window + REPORTS) * tracks.len() as f64 + 2.0 * self.joining(last * each) + MARGIN;
            let mut aired = 0;
            for &step in tracks {
                self.join((step.saturating_sub(aired)) * each, options.connect_rate, Cohort::Steady)?;
                self.joined(step * each)?;
                for track in aired..step {
                    for place in options.places.iter().skip(track as usize * parents).take(parents) {
                        self.air(&place.area, seconds)?;
                    }
                }
                aired = aired.max(step);
                self.streams(aired * each)?;
                self.step(aired * each, aired, None)?;
                if self.watch.is_over() {
                    return Ok(());
                }
            }
            self.outcome.tracks = u64::from(last);
            // The next crowd stands where the first track sounds, and hears one of its own.
            self.cancel();
        }
        if let Some(last) = listeners.iter().copied().max() {
            self.again(last, 1, parents)?;
            let area = options.area.clone();
            let mut joined = 0;
            for &step in listeners {
                self.join(step.saturating_sub(joined), options.connect_rate, Cohort::Steady)?;
                joined = joined.max(step);
                self.joined(joined)?;
                self.wait(IDLE)?;
                let idle = self.dialled_kib()?;
                // As long at each step: it is encoded once.
                self.air(&area, AIRED + window + MARGIN)?;
                self.streams(joined)?;
                self.step(joined, 1, Some(idle))?;
                // The next ones idle first, and a listener hears one track only.
                self.cancel();
                if self.watch.is_over() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    pub fn is_over(&self) -> bool {
        self.watch.is_over()
    }

    pub fn end(mut self) -> io::Result<Outcome> {
        self.cancel();
        let used = self.load();
        let told = self.crowd.told();
        for (reason, count) in &told.ended {
            self.outcome.events.push(Event {
                at_s: self.began.elapsed().as_secs_f64(),
                text: format!("sessions ended: {count} × {reason}"),
            });
        }
        self.outcome.together = u64::from(told.together);
        self.outcome.joined = self.outcome.joined.max(told.joined);
        // Who joined and hears nothing is a loudspeaker without sound; a step that lacked somebody is not made good by
        // a later one that did not.
        self.outcome.joined = self.outcome.joined.min(self.outcome.speakers.saturating_sub(self.missing));
        if self.outcome.join_ms.count == 0 {
            // Where they idle first, their first sound says nothing of how they joined.
            self.outcome.join_ms = match (&self.options.kind, told.first_packet.count()) {
                (Scenario::Growth { .. }, _) | (_, 0) => told.welcomed.quantiles(),
                _ => told.first_packet.quantiles(),
            };
        }
        self.outcome.hostile.extend(told.hostile.clone());
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

    fn air(&mut self, area: &str, seconds: f64) -> io::Result<()> {
        self.aired.extend(self.tree.air(area, seconds)?);
        Ok(())
    }

    fn cancel(&mut self) {
        for broadcast in std::mem::take(&mut self.aired) {
            // One that has ended by itself needs no cancelling.
            let _ = self.tree.cancel(broadcast);
        }
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
        self.count_there(count);
        self.outcome.joined = self.outcome.joined.max(self.crowd.told().joined);
        let rss = self.tree.usage()?;
        self.outcome.targets = self.targets(&rss, &rss, 1.0);
        Ok(())
    }

    /// How many of so many have joined and hear sound now.
    fn count_there(&mut self, count: u32) {
        let told = self.crowd.told();
        self.streamed = told.joined.min(told.streaming);
        self.missing = self.missing.max(u64::from(count).saturating_sub(self.streamed));
    }

    /// Until everybody has heard of an order, or nobody new does any more.
    fn reach(&mut self, order: Uuid) -> io::Result<u64> {
        let until = Instant::now() + REACH;
        loop {
            self.tick()?;
            let told = self.crowd.told();
            let reached =
                told.orders.iter().find(|heard| heard.order == order).map_or(0, |heard| heard.arrival.count());
            if reached >= told.joined.max(1) || Instant::now() >= until || self.watch.is_over() {
                return Ok(reached);
            }
        }
    }

    pub(super) fn wait(&mut self, seconds: f64) -> io::Result<()> {
        let until = Instant::now() + Duration::from_secs_f64(seconds.clamp(0.0, 1e6));
        while Instant::now() < until && !self.watch.is_over() {
            self.tick()?;
        }
        Ok(())
    }

    /// Until it is so, or patience ends: then the run goes on with those there are, and the thresholds judge.
    pub(super) fn until(&mut self, what: &str, so: impl Fn(&Crowd) -> bool) -> io::Result<()> {
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

    pub(super) fn event(&mut self, text: &str) {
        let at_s = self.began.elapsed().as_secs_f64();
        self.watch.event(at_s, text);
        self.outcome.events.push(Event { at_s, text: text.to_owned() });
    }
}

/// What a storm did to those who streamed already: delays of the storm itself, losses of the whole window, since what
/// is missing when all stream may yet be repaired, and what was lost later is the storm's doing too.
fn others(during: &Tally, whole: &Tally) -> Storm {
    Storm {
        others_lost: whole.expected.saturating_sub(whole.received),
        others_delivery_ms: during.delivery.quantiles(),
        ..Storm::default()
    }
}

fn crowd_options(options: &Options, speakers: u32, together: u32, places: usize) -> crowd::Options {
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
    let newcomers = match options.kind {
        Scenario::Storm { steady } => speakers.saturating_sub(steady),
        _ => 0,
    };
    crowd::Options { plan, speakers, newcomers, per_process: options.per_process, cores: options.cores.clone() }
}

/// Of sound, s: beyond what a run is expected to take.
const MARGIN: f64 = 30.0;
/// s: to join, beyond twice what the rate asks.
const JOINING: f64 = 20.0;
/// s: opening and closing a window, the last packets between.
const WINDOW: f64 = 10.0;
/// s: a hush of a minute is over at every speaker.
const HUSHED: f64 = 62.0;
/// s: what joining left behind has been freed.
const IDLE: f64 = 2.0;
/// s: until areas are known in which nobody has stood before.
const REPORTS: f64 = 30.0;
/// s: until all hear sound who have joined before.
const AIRED: f64 = 30.0;
/// s: of a storm that is over sooner, too few packets to judge a hundredth of them.
const LEAST_STORM: f64 = 10.0;
/// s: a speaker counts as streaming for about so long after its last packet.
const RINGS_ON: f64 = 3.0;
/// Of whom the origin has no receipt by then, it gets none.
const RECEIPTS: Duration = Duration::from_secs(40);
/// Whom an order has not reached by then, it does not reach.
const REACH: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(delays: &[(i64, usize)], lost: u64) -> Tally {
        let mut tally = Tally::default();
        for &(micros, count) in delays {
            (0..count).for_each(|_| tally.delivery.add(micros));
        }
        tally.received = tally.delivery.count();
        tally.expected = tally.received + lost;
        tally
    }

    #[test]
    fn minutes_of_calm_hide_no_storm() {
        let during = tally(&[(1_000, 90), (700_000, 10)], 3);
        // What was missing then was repaired but for one packet; two more were lost afterwards.
        let whole = tally(&[(1_000, 100_000), (700_000, 10)], 3);
        let found = others(&during, &whole);
        assert_eq!((found.others_lost, found.others_delivery_ms.count), (3, 100));
        assert!(found.others_delivery_ms.p99 > 600.0, "{:?}", found.others_delivery_ms);
        assert!(whole.delivery.quantiles().p99 < 10.0);
    }

    #[test]
    fn a_speaker_that_goes_on_after_the_hush_was_not_reached() {
        let mut found = Emergency::default();
        found.count(100, 98, 50);
        found.count(100, 100, 100);
        assert_eq!((found.reached, found.not_reached), (198, 52));
    }
}
