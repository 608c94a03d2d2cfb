//! The verdict and the figures for a terminal.
use crate::found::{Grid, figures, parts, steps, targets};
use crate::outcome::{Outcome, Threshold};
use crate::plot::number;
use crate::thresholds::words;
use std::fmt::Write;

/// Whether everything that was asked to hold did.
pub fn held(outcome: &Outcome) -> bool {
    outcome.thresholds.iter().all(|threshold| threshold.held)
}

pub fn summary(outcome: &Outcome) -> String {
    let mut text = String::new();
    for (name, value) in figures(outcome).into_iter().chain(parts(outcome).into_iter().flatten()) {
        let _ = writeln!(text, "{name:<38} {value}");
    }
    write_grid(&mut text, &targets(&outcome.targets));
    write_grid(&mut text, &steps(&outcome.steps));
    for threshold in &outcome.thresholds {
        let (name, unit, least) = words(&threshold.name);
        let (mark, least) =
            (if threshold.held { "held  " } else { "MISSED" }, if least { "at least" } else { "at most" });
        let _ = writeln!(text, "{mark} {name:<38} {}, {least} {}", found(threshold, unit), number(threshold.bound));
    }
    let verdict = match (outcome.thresholds.is_empty(), held(outcome)) {
        _ if outcome.interrupted => "interrupted, so nothing is judged",
        (true, _) => "nothing was asked to hold",
        (_, true) => "held",
        (_, false) => "MISSED",
    };
    let _ = write!(text, "{}: {verdict}", outcome.profile);
    text
}

/// The thresholds that were missed, each in a line, for whoever reads no summary.
pub fn missed(outcome: &Outcome) -> Vec<String> {
    let missed = outcome.thresholds.iter().filter(|threshold| !threshold.held);
    let line = |threshold: &Threshold| {
        let (name, unit, least) = words(&threshold.name);
        let side = if least { "at least" } else { "at most" };
        format!("missed: {name} ({}): {}, {side} {}", threshold.name, found(threshold, unit), number(threshold.bound))
    };
    missed.map(line).collect()
}

fn found(threshold: &Threshold, unit: &str) -> String {
    match threshold.value {
        None => "not measured".into(),
        Some(value) if unit.is_empty() => number(value),
        Some(value) => format!("{} {unit}", number(value)),
    }
}

/// Columns as wide as their widest cell.
fn write_grid(text: &mut String, grid: &Grid) {
    if grid.rows.is_empty() {
        return;
    }
    let head: Vec<String> = grid.head.iter().map(ToString::to_string).collect();
    let lines = || std::iter::once(&head).chain(&grid.rows);
    let wide = |at: usize| lines().filter_map(|line| line.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let wides: Vec<usize> = (0..head.len()).map(wide).collect();
    for line in lines() {
        let cells = line.iter().zip(&wides).enumerate().map(|(at, (cell, wide))| match at >= grid.numbers {
            true => format!("{cell:>wide$}"),
            false => format!("{cell:<wide$}"),
        });
        let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Emergency, Quantiles, Step, Storm, Target};

    #[test]
    fn what_was_missed_is_said_with_its_unit_and_what_was_not_measured_without() {
        let threshold = |name: &str, value| Threshold { name: name.into(), bound: 1.0, value, held: false };
        let thresholds = vec![
            threshold("joined", Some(0.5)),
            threshold("hush_p99_ms", Some(7.0)),
            threshold("join_p99_ms", None),
            Threshold { held: true, ..threshold("lost", Some(0.0)) },
        ];
        let missed = missed(&Outcome { thresholds, ..Default::default() });
        let expected = [
            "missed: Speakers that joined, share (joined): 0.5, at least 1",
            "missed: Hush: silence, p99 (hush_p99_ms): 7 ms, at most 1",
            "missed: Time to join, p99 (join_p99_ms): not measured, at most 1",
        ];
        assert_eq!(missed, expected);
    }

    #[test]
    fn a_terminal_is_told_all_that_a_run_of_any_kind_finds() {
        let delay = Quantiles { count: 9, p50: 0.41, p90: 1.0, p99: 2.5, p999: 3.0, max: 12.0 };
        let outcome = Outcome {
            targets: vec![Target { name: "origin".into(), listeners: 100, cpu_s: 1.5, ..Default::default() }],
            steps: vec![Step { listeners: 50_000, tracks: 1, delivery_ms: delay, ..Default::default() }],
            emergency: Some(Emergency { rounds: 3, hush_ms: delay, ..Default::default() }),
            storm: Some(Storm { all_streaming_s: f64::MAX, ..Default::default() }),
            hostile: [("stalled: target".to_owned(), 7)].into(),
            without_hostile_ms: delay,
            ..Default::default()
        };
        let text = summary(&outcome).replace('\u{202f}', " ");
        for told in [
            "Hush: silence                          p50 0.41 ms, p99 2.5 ms, longest 12 ms",
            "Storm: until all stream                never\n",
            "Hostile, stalled: target               7",
            "Delivery to all, none hostile          p50 0.41 ms",
            "   50 000       1",
            "origin",
        ] {
            assert!(text.contains(told), "{told:?} is not in\n{text}");
        }
    }
}
