//! The verdict and the figures for a terminal.
use crate::outcome::Outcome;
use crate::plot::number;
use crate::thresholds::words;
use std::fmt::Write;

/// Whether everything that was asked to hold did.
pub fn held(outcome: &Outcome) -> bool {
    outcome.thresholds.iter().all(|threshold| threshold.held)
}

pub fn summary(outcome: &Outcome) -> String {
    let mut text = String::new();
    for (name, value) in figures(outcome) {
        let _ = writeln!(text, "{name:<38} {value}");
    }
    for threshold in &outcome.thresholds {
        let (name, unit, least) = words(&threshold.name);
        let (mark, least) =
            (if threshold.held { "held  " } else { "MISSED" }, if least { "at least" } else { "at most" });
        let value = threshold.value.map_or("not measured".into(), number);
        let _ = writeln!(text, "{mark} {name:<38} {value} {unit}, {least} {}", number(threshold.bound));
    }
    let verdict = match (outcome.thresholds.is_empty(), held(outcome)) {
        (true, _) => "nothing was asked to hold",
        (_, true) => "held",
        (_, false) => "MISSED",
    };
    let _ = write!(text, "{}: {verdict}", outcome.profile);
    text
}

/// What was found, as name and value with its unit: the same on the page.
pub fn figures(outcome: &Outcome) -> Vec<(String, String)> {
    let count = |count: u64| number(count as f64);
    let (sound, mut all) = (&outcome.sound, Vec::new());
    let mut add = |name: &str, value: String| all.push((name.to_owned(), value));
    let asked = format!("{} of {}", count(outcome.joined), count(outcome.speakers));
    add("Speakers joined", asked);
    if outcome.join_ms.count > 0 {
        let join = &outcome.join_ms;
        add(
            "Time to join",
            format!("p50 {} ms, p99 {} ms, longest {} ms", number(join.p50), number(join.p99), number(join.max)),
        );
    }
    if sound.expected > 0 {
        add("Held for", format!("{} s", number(outcome.held_s)));
        add("Packets due", count(sound.expected));
        add("Packets lost", count(sound.lost));
        add("Packets repaired, come twice", format!("{}, {}", count(sound.repaired), count(sound.duplicates)));
        let due = &sound.delivery_ms;
        if due.count > 0 {
            let (p50, p99, p999) = (number(due.p50), number(due.p99), number(due.p999));
            add(
                "Delivery delay",
                format!("p50 {p50} ms, p99 {p99} ms, p99.9 {p999} ms, longest {} ms", number(due.max)),
            );
        }
        add("Seals checked, failed", format!("{}, {}", count(sound.checked), count(sound.forged)));
        let rate = sound.bytes as f64 * 8.0 / outcome.held_s.max(1e-9) / outcome.joined.max(1) as f64 / 1e3;
        add(
            "Bytes of sound",
            format!("{} MiB, {} kb/s per listener", number(sound.bytes as f64 / 1_048_576.0), number(rate)),
        );
    }
    let load = &outcome.load;
    if load.processes > 0 {
        let (cpu, rss) = (number(load.cpu_s), number((load.rss_kib / 1_024) as f64));
        add("The tool itself", format!("{} processes, {cpu} s of CPU, {rss} MiB", count(load.processes)));
    }
    all
}
