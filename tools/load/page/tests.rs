//! The page says what was found, first whether it held, and needs nothing from elsewhere.
use super::*;
use crate::outcome::Threshold;

fn outcome() -> Outcome {
    let threshold = |name: &str, value, held| Threshold { name: name.into(), bound: 240.0, value, held };
    let step = |listeners: u64, tracks: u64| Step {
        listeners,
        tracks,
        cpu_percent: 1.0 + listeners as f64 / 500.0,
        rss_kib: 20_000 + 20 * listeners,
        ..Default::default()
    };
    Outcome {
        profile: "A <province>".into(),
        speakers: 50_000,
        joined: 50_000,
        samples: (0..600).map(|at| Sample { at_s: f64::from(at), joined: 9, ..Default::default() }).collect(),
        steps: [(100, 1), (1_000, 1), (5_000, 1), (50, 1), (500, 10), (1_000, 20)].map(|(a, b)| step(a, b)).into(),
        thresholds: vec![threshold("delivery_p99_ms", Some(41.0), true), threshold("lost", None, false)],
        ..Default::default()
    }
}

#[test]
fn what_was_missed_comes_first_and_nothing_comes_from_elsewhere() {
    let html = page(&outcome());
    assert!(
        html.contains("1 of 2 thresholds missed")
            && html.contains("A &lt;province&gt;")
            && !html.contains("<province>")
    );
    let at = |text: &str| html.find(text).unwrap_or_else(|| panic!("{text} is not there"));
    assert!(at("Packets lost") < at("Delivery delay, p99") && at("not measured") < at("<h2>Figures"));
    for outside in ["http:", "https:", "<script", "<link", "@import", "url("] {
        assert!(!html.contains(outside), "{outside}");
    }
}

#[test]
fn growth_is_drawn_against_listeners_and_against_tracks_with_its_straight_line() {
    let charts = charts(&outcome());
    let names: Vec<_> = charts.iter().map(|(name, _)| *name).collect();
    for name in ["joined", "delivery", "cpu-by-listeners", "memory-by-listeners", "cpu-by-tracks", "memory-by-tracks"] {
        assert!(names.contains(&name), "{names:?}");
    }
    let (_, chart) = charts.iter().find(|(name, _)| *name == "cpu-by-listeners").unwrap();
    assert!(chart.note.contains("R² = 1.0000"), "{}", chart.note);
    assert_eq!(chart.series.last().unwrap().name, "2 for each 1000 listeners + 1");
}

#[test]
fn an_empty_outcome_still_makes_a_page() {
    assert!(page(&Outcome::default()).contains("Nothing was asked to hold"));
    assert!(charts(&Outcome::default()).is_empty());
}
