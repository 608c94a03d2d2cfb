//! What the transcoder found, for people and programs.
use super::text::{Language, say};
use crate::audio::{Damage, Level, Report};

/// The same with what people can use of a measurement, and with numbers that JSON gives back exactly.
pub fn rounded(report: Report) -> Report {
    let level =
        |level: Level| Level { loudness: level.loudness.map(thousandths), true_peak: level.true_peak.map(thousandths) };
    let mut rounded = Report {
        duration: thousandths(report.duration),
        before: level(report.before),
        after: level(report.after),
        gain: thousandths(report.gain),
        limited: thousandths(report.limited),
        out_of_phase: thousandths(report.out_of_phase),
        lost: thousandths(report.lost),
        ..report
    };
    let silence = &mut rounded.silence;
    for time in [&mut silence.leading, &mut silence.trailing, &mut silence.trimmed, &mut silence.longest] {
        *time = thousandths(*time);
    }
    for damage in &mut rounded.damage {
        (damage.at, damage.lasts) = (thousandths(damage.at), thousandths(damage.lasts));
    }
    rounded
}

/// One line for each thing that somebody should hear of before it is on the air.
pub fn warnings(report: &Report, name: &str, language: Language) -> Vec<String> {
    let mut lines: Vec<String> =
        report.damage.iter().take(SHOWN).map(|damage| damaged(damage, name, language)).collect();
    let more = report.damage.len().saturating_sub(SHOWN);
    if more > 0 {
        lines.push(say(language, "media.damage_more", [&name, &more, &decimal(report.lost)]));
    }
    if report.out_of_phase > OUT_OF_PHASE {
        lines.push(say(language, "media.out_of_phase", [&name, &decimal(report.out_of_phase)]));
    }
    lines
}

fn damaged(damage: &Damage, name: &str, language: Language) -> String {
    let (at, lasts) = (decimal(damage.at), decimal(damage.lasts));
    match damage.lasts > 0.0 {
        true => say(language, "media.damage", [&name, &at, &lasts, &damage.what]),
        false => say(language, "media.damage_point", [&name, &at, &damage.what]),
    }
}

/// Seconds, to the thousandth.
fn decimal(seconds: f64) -> String {
    format!("{seconds:.3}")
}

fn thousandths(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// Damaged stretches named one by one; a file with more is known by its first ones.
const SHOWN: usize = 5;
/// Seconds: less is an effect, more a cable that is soldered the wrong way round.
const OUT_OF_PHASE: f64 = 3.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_damage_is_named_with_its_time_and_the_rest_is_counted() {
        let damage = |at| Damage { at, lasts: 0.026, what: "a bad frame".into() };
        let report =
            Report { damage: (0..12).map(|n| damage(f64::from(n) + 0.5)).collect(), lost: 0.312, ..Report::default() };
        let lines = warnings(&report, "tin.mp3", Language::English);
        assert_eq!(lines.len(), 6);
        assert!(
            lines[0].starts_with("tin.mp3: 0.500 s")
                && lines[0].contains("0.026 s")
                && lines[0].contains("a bad frame")
        );
        assert!(lines[5].contains("7") && lines[5].contains("0.312 s"), "{}", lines[5]);
        assert!(warnings(&Report::default(), "tin.mp3", Language::Vietnamese).is_empty());
    }
}
