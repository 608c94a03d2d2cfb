//! Numbers, lines and ticks as people read them.
use super::*;

fn chart(scale: Scale, points: &[(f64, f64)]) -> Chart {
    let series = Series { name: "a < b".into(), form: Form::Line, points: points.to_vec() };
    let y = Axis { label: "ms".into(), scale, at_least: 0.0 };
    let x = Axis { label: "time".into(), scale: Scale::Time, at_least: 0.0 };
    Chart { title: "t".into(), x, y, series: vec![series], note: String::new() }
}

#[test]
fn a_straight_line_is_found_and_what_is_off_it_is_told() {
    let line: Vec<_> = (0..10).map(|x| (f64::from(x), 3.0 + 2.0 * f64::from(x))).collect();
    let fit = Fit::of(&line).unwrap();
    assert!((fit.slope - 2.0).abs() < 1e-9 && (fit.at_zero - 3.0).abs() < 1e-9 && fit.r2 > 0.999_999, "{fit:?}");
    let bent: Vec<_> = (0..10).map(|x| (f64::from(x), f64::from(x * x))).collect();
    let fit = Fit::of(&bent).unwrap();
    assert!(fit.r2 < 0.95 && fit.off > 0.1, "{fit:?}");
    assert_eq!(Fit::of(&line[..2]), None);
    assert_eq!(Fit::of(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]), None);
}

#[test]
fn ticks_are_round_and_hold_all_values() {
    let seen = |scale, points: &[(f64, f64)], most| {
        let chart = chart(scale, points);
        let range = chart.range(&chart.y, |point| point.1);
        range.ticks(most).into_iter().map(|(_, name)| name).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(seen(Scale::Linear, &[(0.0, 1.0), (1.0, 47.0)], 6), "0 10 20 30 40 50");
    assert_eq!(seen(Scale::Linear, &[(0.0, 0.0)], 6), "0 0.2 0.4 0.6 0.8 1");
    assert_eq!(seen(Scale::Log, &[(0.0, 3.0), (1.0, 170.0)], 6), "2 5 10 20 50 100 200");
    assert_eq!(seen(Scale::Log, &[(0.0, 0.4), (1.0, 900.0)], 6), "1 10 100 1000");
    assert_eq!(seen(Scale::Time, &[(0.0, 600.0)], 9), "0 2 4 6 8 10");
}

#[test]
fn numbers_are_read_at_a_glance() {
    let said = [0.0, 0.0314, 1.239, 47.0, 47.26, 1234.0, 50_000.0, 1_234_567.8, -12.5].map(number);
    assert_eq!(said.join("|"), "0|0.031|1.24|47|47.3|1234|50\u{202f}000|1\u{202f}234\u{202f}568|−12.5");
}

#[test]
fn names_are_escaped_spikes_stay_and_an_empty_plot_says_so() {
    let mut points: Vec<_> = (0..20_000).map(|at| (f64::from(at), 1.0)).collect();
    points[12_345].1 = 77.0;
    let points: Vec<_> = points;
    let thin = thinned(&points);
    assert!(thin.len() <= 2 * COLUMNS && thin.contains(&(12_345.0, 77.0)));
    let svg = chart(Scale::Linear, &points).file();
    assert!(svg.contains("a &lt; b") && !svg.contains("a < b") && svg.contains("xmlns="));
    assert!(chart(Scale::Log, &[]).inline().contains("nothing was measured"));
}
