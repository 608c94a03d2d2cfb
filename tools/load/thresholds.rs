//! What the profile asks to hold, against what was found.
use crate::outcome::{Outcome, Quantiles, Step, Threshold};
use crate::plot::Fit;
use crate::profile::Thresholds;

/// One for each bound that the profile sets, in the profile's order. What was not measured does not hold.
pub fn judge(bounds: &Thresholds, outcome: &Outcome) -> Vec<Threshold> {
    let p99 = |quantiles: &Quantiles| (quantiles.count > 0).then_some(quantiles.p99);
    let sound = (outcome.sound.expected > 0).then_some(&outcome.sound);
    let (emergency, storm) = (outcome.emergency.as_ref(), outcome.storm.as_ref());
    let joined = outcome.joined as f64 / outcome.speakers.max(1) as f64;
    let targets = &outcome.targets;
    let listened: f64 = listener_seconds(outcome);
    let cpu = targets.iter().map(|target| target.cpu_s).sum::<f64>() * 1e6 / listened;
    let rss = targets.iter().filter(|target| target.listeners > 0).map(|target| target.rss_kib_per_listener);
    let grown = targets.iter().map(|target| target.rss_end_kib as f64 - target.rss_joined_kib as f64);
    let steps = &outcome.steps;
    let lost = match (steps.is_empty(), steps.iter().all(|step| step.delivery_ms.count > 0)) {
        (true, _) => sound.map(|sound| sound.lost as f64),
        (false, all) => all.then(|| steps.iter().map(|step| step.lost as f64).sum()),
    };
    // In the very window in which a storm's others were listened for.
    let others_lost = storm.filter(|_| sound.is_some()).map(|found| found.others_lost as f64);
    let others = storm.and_then(|found| p99(&found.others_delivery_ms));
    let most = [
        ("join_p99_ms", bounds.join_p99_ms, p99(&outcome.join_ms)),
        ("lost", bounds.lost, lost),
        ("forged", bounds.forged, sound.filter(|sound| sound.checked > 0).map(|sound| sound.forged as f64)),
        ("delivery_p50_ms", bounds.delivery_p50_ms, worst_delivery(outcome, |delivery| delivery.p50)),
        ("delivery_p99_ms", bounds.delivery_p99_ms, worst_delivery(outcome, |delivery| delivery.p99)),
        ("delivery_max_ms", bounds.delivery_max_ms, worst_delivery(outcome, |delivery| delivery.max)),
        ("cpu_us_per_listener_second", bounds.cpu_us_per_listener_second, Some(cpu).filter(|cpu| cpu.is_finite())),
        ("rss_kib_per_listener", bounds.rss_kib_per_listener, rss.reduce(f64::max)),
        ("memory_growth_kib", bounds.memory_growth_kib, grown.reduce(f64::max)),
        ("order_p99_ms", bounds.order_p99_ms, emergency.and_then(|found| p99(&found.order_ms))),
        ("first_sound_p99_ms", bounds.first_sound_p99_ms, emergency.and_then(|found| p99(&found.first_sound_ms))),
        ("hush_p99_ms", bounds.hush_p99_ms, emergency.and_then(|found| p99(&found.hush_ms))),
        ("not_reached", bounds.not_reached, emergency.map(|found| found.not_reached as f64)),
        (
            "receipts_s",
            bounds.receipts_s,
            emergency.filter(|found| found.no_receipt == 0).map(|found| found.receipts_s),
        ),
        ("storm_all_streaming_s", bounds.storm_all_streaming_s, storm.map(|found| found.all_streaming_s)),
        ("others_lost", bounds.others_lost, others_lost),
        ("others_delivery_p99_ms", bounds.others_delivery_p99_ms, others),
    ];
    let mut all = Vec::from_iter(least("joined", bounds.joined, Some(joined)));
    all.extend(most.into_iter().filter_map(|(name, bound, value)| {
        let held = |bound| value.is_some_and(|value| value <= bound);
        bound.map(|bound| Threshold { name: name.into(), bound, value, held: held(bound) })
    }));
    all.extend(least("cpu_r2", bounds.cpu_r2, worst_r2(steps, |step| step.cpu_percent)));
    all.extend(least("memory_r2", bounds.memory_r2, worst_r2(steps, |step| step.rss_kib as f64)));
    all
}

fn least(name: &str, bound: Option<f64>, value: Option<f64>) -> Option<Threshold> {
    let held = |bound| value.is_some_and(|value| value >= bound);
    bound.map(|bound| Threshold { name: name.into(), bound, value, held: held(bound) })
}

/// Of all listeners together while the run was held.
fn listener_seconds(outcome: &Outcome) -> f64 {
    let dialled: u64 = outcome.targets.iter().map(|target| target.listeners).sum();
    dialled as f64 * outcome.held_s
}

/// Of all windows of the run, the one with the longest delay; nothing, if nothing came in one of them.
fn worst_delivery(outcome: &Outcome, of: impl Fn(&Quantiles) -> f64) -> Option<f64> {
    let windows: Vec<&Quantiles> = match outcome.steps.as_slice() {
        [] => {
            let without = Some(&outcome.without_hostile_ms).filter(|without| without.count > 0);
            without.into_iter().chain([&outcome.sound.delivery_ms]).collect()
        }
        steps => steps.iter().map(|step| &step.delivery_ms).collect(),
    };
    let measured = windows.iter().all(|window| window.count > 0);
    windows.into_iter().map(of).reduce(f64::max).filter(|_| measured)
}

/// Of the two lines, the one that is less straight.
fn worst_r2(steps: &[Step], of: impl Fn(&Step) -> f64) -> Option<f64> {
    let fit = |points: Vec<(f64, f64)>| Fit::of(&points).map(|fit| fit.r2);
    let listeners = fit(by_listeners(steps).map(|step| (step.listeners as f64, of(step))).collect());
    let tracks = fit(by_tracks(steps).map(|step| (step.tracks as f64, of(step))).collect());
    [listeners, tracks].into_iter().flatten().reduce(f64::min)
}

/// Steps of ever more listeners, all on one track.
pub fn by_listeners(steps: &[Step]) -> impl Iterator<Item = &Step> {
    steps.iter().filter(|step| step.tracks == 1)
}

/// Steps of ever more tracks, each with as many listeners.
pub fn by_tracks(steps: &[Step]) -> impl Iterator<Item = &Step> {
    let each = steps.iter().filter(|step| step.tracks > 1).map(|step| step.listeners / step.tracks).next_back();
    steps.iter().filter(move |step| each.is_some_and(|each| step.listeners == each * step.tracks))
}

/// What a threshold is called by people, its unit, and whether it is a lowest value.
pub fn words(name: &str) -> (&'static str, &'static str, bool) {
    let known: [(&str, &str, &str); 20] = [
        ("joined", "Speakers that joined, share", ""),
        ("join_p99_ms", "Time to join, p99", "ms"),
        ("lost", "Packets lost", ""),
        ("forged", "Seals that failed", ""),
        ("delivery_p50_ms", "Delivery delay, p50", "ms"),
        ("delivery_p99_ms", "Delivery delay, p99", "ms"),
        ("delivery_max_ms", "Delivery delay, longest", "ms"),
        ("cpu_us_per_listener_second", "CPU per listener and second", "µs"),
        ("rss_kib_per_listener", "Memory per listener", "KiB"),
        ("memory_growth_kib", "Memory grown while held", "KiB"),
        ("order_p99_ms", "Emergency: order arrives, p99", "ms"),
        ("first_sound_p99_ms", "Emergency: first sound, p99", "ms"),
        ("hush_p99_ms", "Hush: silence, p99", "ms"),
        ("not_reached", "Emergency: speakers not reached", ""),
        ("receipts_s", "Emergency: receipts of all", "s"),
        ("storm_all_streaming_s", "Storm: until all stream", "s"),
        ("others_lost", "Storm: packets lost by the others", ""),
        ("others_delivery_p99_ms", "Storm: delivery to the others, p99", "ms"),
        ("cpu_r2", "CPU grows in a straight line, R²", ""),
        ("memory_r2", "Memory grows in a straight line, R²", ""),
    ];
    let found = known.into_iter().find(|known| known.0 == name);
    let (_, text, unit) = found.unwrap_or(("", "?", ""));
    (text, unit, matches!(name, "joined" | "cpu_r2" | "memory_r2"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Sound, Storm, Target};

    fn outcome() -> Outcome {
        let delivery_ms = Quantiles { count: 10, p50: 3.0, p90: 5.0, p99: 9.0, p999: 10.0, max: 12.0 };
        Outcome {
            speakers: 100,
            joined: 99,
            held_s: 10.0,
            sound: Sound { expected: 1_000, received: 999, lost: 1, delivery_ms, ..Default::default() },
            targets: vec![Target { listeners: 99, cpu_s: 0.0099, rss_kib_per_listener: 20.0, ..Default::default() }],
            ..Default::default()
        }
    }

    fn verdict(bounds: Thresholds, outcome: &Outcome) -> Vec<(String, Option<f64>, bool)> {
        judge(&bounds, outcome).into_iter().map(|one| (one.name, one.value, one.held)).collect()
    }

    #[test]
    fn a_bound_holds_up_to_itself_and_only_those_asked_for_are_judged() {
        let bounds =
            Thresholds { joined: Some(1.0), lost: Some(1.0), delivery_p99_ms: Some(8.9), ..Default::default() };
        let found = verdict(bounds, &outcome());
        let expected = [("joined", 0.99, false), ("lost", 1.0, true), ("delivery_p99_ms", 9.0, false)];
        assert_eq!(found, expected.map(|(name, value, held)| (name.to_owned(), Some(value), held)));
        let bounds = Thresholds { cpu_us_per_listener_second: Some(10.001), ..Default::default() };
        assert!(verdict(bounds, &outcome())[0].2);
    }

    #[test]
    fn what_was_not_measured_does_not_hold() {
        let bounds = Thresholds { lost: Some(0.0), hush_p99_ms: Some(1e9), forged: Some(0.0), ..Default::default() };
        for (name, value, held) in verdict(bounds, &Outcome::default()) {
            assert!(value.is_none() && !held, "{name}");
        }
        let mut stormy = outcome();
        stormy.storm = Some(Storm { all_streaming_s: 30.0, ..Default::default() });
        let bounds =
            Thresholds { storm_all_streaming_s: Some(60.0), others_delivery_p99_ms: Some(1e9), ..Default::default() };
        let found = verdict(bounds, &stormy);
        assert_eq!((found[0].2, found[1].2), (true, false));
        // Nobody was listening: that nothing was lost says nothing.
        let bounds = Thresholds { others_lost: Some(0.0), ..Default::default() };
        assert_eq!(verdict(bounds.clone(), &stormy), [("others_lost".to_owned(), Some(0.0), true)]);
        stormy.sound = Sound::default();
        assert_eq!(verdict(bounds, &stormy), [("others_lost".to_owned(), None, false)]);
    }

    #[test]
    fn no_window_hides_behind_the_last_one() {
        let delivery_ms = |p99| Quantiles { count: 10, p99, ..Default::default() };
        let step = |lost, p99| Step { lost, delivery_ms: delivery_ms(p99), ..Default::default() };
        let bounds = Thresholds { lost: Some(0.0), delivery_p99_ms: Some(240.0), ..Default::default() };
        let found =
            |outcome: &Outcome| verdict(bounds.clone(), outcome).into_iter().map(|one| one.1).collect::<Vec<_>>();
        let mut grown = Outcome { steps: vec![step(2, 9.0), step(3, 900.0), step(0, 8.0)], ..outcome() };
        assert_eq!(found(&grown), [Some(5.0), Some(900.0)]);
        // A step in which nothing came measured neither.
        grown.steps.push(Step { lost: 7, ..Default::default() });
        assert_eq!(found(&grown), [None, None]);
        let hostile = Outcome { without_hostile_ms: delivery_ms(300.0), ..outcome() };
        assert_eq!(found(&hostile), [Some(1.0), Some(300.0)]);
    }

    #[test]
    fn growth_is_judged_by_the_less_straight_of_its_two_lines() {
        let step = |listeners, tracks, cpu_percent| Step { listeners, tracks, cpu_percent, ..Default::default() };
        let straight = [step(100, 1, 1.0), step(200, 1, 2.0), step(400, 1, 4.0)];
        let bent = [step(50, 1, 0.5), step(500, 10, 9.0), step(1_000, 20, 9.5), step(2_000, 40, 40.0)];
        let steps: Vec<Step> = straight.iter().chain(&bent).cloned().collect();
        assert_eq!(by_tracks(&steps).map(|step| step.tracks).collect::<Vec<_>>(), [1, 10, 20, 40]);
        let bounds = Thresholds { cpu_r2: Some(0.99), ..Default::default() };
        let whole = Outcome { steps: steps.clone(), ..Default::default() };
        let found = verdict(bounds.clone(), &whole);
        assert!(!found[0].2 && found[0].1.unwrap() > 0.5, "{found:?}");
        let found = verdict(bounds, &Outcome { steps: straight.to_vec(), ..Default::default() });
        assert!(found[0].2, "{found:?}");
    }

    #[test]
    fn every_bound_of_a_profile_has_words() {
        let all = serde_json::to_value(Thresholds::default()).unwrap();
        for name in all.as_object().unwrap().keys() {
            assert_ne!(words(name).0, "?", "{name}");
        }
    }
}
