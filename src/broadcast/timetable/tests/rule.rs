//! Recurrence rules, beside the `rrule` crate.

use super::*;
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

fn codes(text: &str) -> Vec<&'static str> {
    let read = Rule::read(text, at("2026-11-23T06:30"));
    read.map(|_| Vec::new()).unwrap_or_else(|wrong| wrong.into_iter().map(|said| said.code).collect())
}

/// Days on which a rule from 2026-11-23 06:30 sounds within so many days.
fn days(text: &str, start: &str, count: i64) -> Vec<String> {
    let rule = Rule::read(text, at(start)).unwrap();
    let first = at(start).date();
    let times = rule.between(first, local::add_days(first, count - 1), chrono_tz::UTC);
    times.into_iter().map(|at| at.format("%m-%d").to_string()).collect()
}

#[test]
fn a_month_that_lacks_the_day_is_passed_over() {
    let lasts = days("FREQ=MONTHLY", "2026-01-31T06:30", 365);
    assert_eq!(lasts, ["01-31", "03-31", "05-31", "07-31", "08-31", "10-31", "12-31"]);
    assert_eq!(days("FREQ=MONTHLY;BYMONTHDAY=-1;COUNT=3", "2027-12-31T06:30", 365), ["12-31", "01-31", "02-29"]);
    let leap = Rule::read("FREQ=YEARLY", at("2096-02-29T06:30")).unwrap();
    let all = leap.between(day("2090-01-01"), day("2112-01-01"), chrono_tz::UTC);
    // 2100 is no leap year.
    assert_eq!(all, [at("2096-02-29T06:30"), at("2104-02-29T06:30"), at("2108-02-29T06:30")]);
}

#[test]
fn positions_are_those_of_the_whole_period() {
    // 2023-01-03 is a Tuesday: the first of Monday and Saturday in its week has passed.
    let first = days("FREQ=WEEKLY;BYDAY=MO,SA;BYSETPOS=1", "2023-01-03T06:30", 14);
    assert_eq!(first, ["01-09", "01-16"]);
    assert_eq!(days("FREQ=WEEKLY;BYDAY=MO,SA;BYSETPOS=-1", "2023-01-03T06:30", 14), ["01-07", "01-14"]);
    assert_eq!(
        days("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", "2026-11-23T06:30", 70),
        ["11-30", "12-31", "01-29"]
    );
    let halves = Rule::read("FREQ=DAILY;BYHOUR=6,12,18;BYSETPOS=1,-1", at("2026-11-23T06:30")).unwrap();
    let times = halves.between(day("2026-11-24"), day("2026-11-24"), chrono_tz::UTC);
    assert_eq!(times, [at("2026-11-24T06:30"), at("2026-11-24T18:30")]);
}

#[test]
fn a_week_is_the_same_counted_from_either_end_of_its_year() {
    // 2025 has 52 weeks, of which the first begins on 30 December 2024.
    let first = days("FREQ=YEARLY;BYWEEKNO=1;BYDAY=MO", "2024-12-01T06:30", 60);
    assert_eq!(first, ["12-30"]);
    assert_eq!(days("FREQ=YEARLY;BYWEEKNO=-52;BYDAY=MO", "2024-12-01T06:30", 60), first);
    // As in the RFC: Monday of week 20.
    assert_eq!(days("FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO", "2003-05-12T09:00", 800), ["05-12", "05-10", "05-16"]);
}

#[test]
fn numbered_weekdays_and_plain_ones_sound_both() {
    let mixed = days("FREQ=MONTHLY;BYDAY=1MO,TU", "2026-12-01T06:30", 31);
    assert_eq!(mixed, ["12-01", "12-07", "12-08", "12-15", "12-22", "12-29"]);
}

#[test]
fn a_rule_finer_than_a_day_is_refused_with_what_to_write_instead() {
    for frequency in ["SECONDLY", "MINUTELY", "HOURLY"] {
        assert_eq!(codes(&format!("FREQ={frequency}")), ["rule.too_fine"]);
    }
    let said = Rule::read("FREQ=SECONDLY", at("2026-11-23T06:30")).unwrap_err().remove(0);
    assert_eq!(said.to_string(), "FREQ=SECONDLY is finer than a day; use FREQ=DAILY with BYHOUR and BYMINUTE");
    let hours = (0..24).map(|hour| hour.to_string()).collect::<Vec<_>>().join(",");
    assert_eq!(codes(&format!("FREQ=DAILY;BYHOUR={hours}")), [] as [&str; 0]);
    assert_eq!(codes(&format!("FREQ=DAILY;BYHOUR={hours};BYMINUTE=0,30")), ["rule.often"]);
    assert_eq!(codes("FREQ=DAILY;BYSECOND=0"), ["rule.unknown"]);
}

#[test]
fn a_rule_that_never_sounds_is_refused() {
    for never in [
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=DAILY;BYMONTH=4;BYMONTHDAY=31;COUNT=3",
        "FREQ=YEARLY;UNTIL=20261122",
        "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=6",
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30;BYSETPOS=-1",
        "FREQ=DAILY;UNTIL=20261120T000000Z",
    ] {
        assert_eq!(codes(never), ["rule.never"], "{never}");
    }
}

#[test]
fn every_part_that_is_wrong_is_told() {
    let all = "FREQ=DAILY;INTERVAL=0;COUNT=2000;UNTIL=2026-12-31;BYDAY=MO,XX;BYHOUR=24;BYMONTHDAY=0;WKST=XX";
    assert_eq!(codes(all), vec!["rule.value"; 7]);
    for (text, expected) in [
        ("", "rule.part"),
        ("BYDAY=MO", "rule.freq"),
        ("FREQ=OFTEN", "rule.value"),
        ("FREQ=DAILY;FREQ=DAILY", "rule.twice"),
        ("FREQ=DAILY;BYEASTER=1", "rule.unknown"),
        ("FREQ=DAILY;COUNT=3;UNTIL=20270101", "rule.ends_twice"),
        ("FREQ=WEEKLY;BYMONTHDAY=1", "rule.together"),
        ("FREQ=MONTHLY;BYYEARDAY=1", "rule.together"),
        ("FREQ=MONTHLY;BYWEEKNO=1;BYDAY=MO", "rule.together"),
        ("FREQ=YEARLY;BYWEEKNO=1", "rule.together"),
        ("FREQ=YEARLY;BYWEEKNO=1;BYDAY=1MO", "rule.together"),
        ("FREQ=WEEKLY;BYDAY=1MO", "rule.together"),
        ("FREQ=DAILY;BYSETPOS=1", "rule.together"),
        ("FREQ=DAILY;COUNT=é", "rule.value"),
        ("FREQ=DAILY;BYDAY=é", "rule.value"),
        ("FREQ=DAILY;BYDAY=54MO", "rule.value"),
        ("FREQ=DAILY;UNTIL=20260229", "rule.value"),
        ("FREQ=DAILY;UNTIL=99990101", "rule.value"),
        (&"FREQ=DAILY;".repeat(60), "read.long"),
    ] {
        assert_eq!(codes(text), [expected], "{text}");
    }
    assert_eq!(Rule::read("FREQ=DAILY;COUNT=3", NaiveDateTime::MIN).unwrap_err()[0].code, "timetable.year");
    assert!(codes("RRULE:freq=weekly; byday=mo,fr").is_empty());
}

#[test]
fn until_means_the_whole_day_or_an_instant() {
    assert_eq!(days("FREQ=DAILY;UNTIL=20261125", "2026-11-23T06:30", 9), ["11-23", "11-24", "11-25"]);
    assert_eq!(days("FREQ=DAILY;UNTIL=20261125T063000", "2026-11-23T06:30", 9), ["11-23", "11-24", "11-25"]);
    assert_eq!(days("FREQ=DAILY;UNTIL=20261125T062959", "2026-11-23T06:30", 9), ["11-23", "11-24"]);
    let rule = Rule::read("FREQ=DAILY;UNTIL=20261125T000000Z", at("2026-11-23T06:30")).unwrap();
    let count = |zone| rule.between(day("2026-11-01"), day("2026-12-01"), zone).len();
    assert_eq!((count(chrono_tz::UTC), count(chrono_tz::Asia::Ho_Chi_Minh)), (2, 3));
}

#[test]
fn a_rule_that_began_long_ago_costs_no_more_than_one_of_today() {
    let old = Rule::read("FREQ=DAILY;INTERVAL=3", at("2000-01-01T06:30")).unwrap();
    let began = std::time::Instant::now();
    for _ in 0..1_000 {
        assert_eq!(old.between(day("2199-01-01"), day("2199-01-30"), chrono_tz::UTC).len(), 10);
    }
    // 24,000 steps each, were it walked: minutes.
    assert!(began.elapsed().as_secs() < 5);
}

fn list(numbers: &[i32]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn part(name: &'static str, range: std::ops::RangeInclusive<i32>, signed: bool) -> impl Strategy<Value = String> {
    let number = (range, any::<bool>()).prop_map(move |(number, minus)| if signed && minus { -number } else { number });
    let some = proptest::collection::vec(number, 1..4).prop_map(move |numbers| format!(";{name}={}", list(&numbers)));
    prop_oneof![2 => Just(String::new()), 1 => some]
}

/// All with a number or none: of both together the crate takes what is in both, the RFC what is in either.
fn weekdays(may_be_numbered: bool) -> impl Strategy<Value = String> {
    let name = proptest::sample::select(vec!["MO", "TU", "WE", "TH", "FR", "SA", "SU"]);
    let one = (name, 1_i32..=5, any::<bool>());
    (proptest::collection::vec(one, 0..4), any::<bool>()).prop_map(move |(days, numbered)| {
        let shown = |(name, nth, minus): &(&str, i32, bool)| match numbered && may_be_numbered {
            true => format!("{}{nth}{name}", if *minus { "-" } else { "" }),
            false => (*name).to_owned(),
        };
        let days: Vec<String> = days.iter().map(shown).collect();
        if days.is_empty() { String::new() } else { format!(";BYDAY={}", days.join(",")) }
    })
}

/// Rules as the RFC allows them, mostly.
fn some_rule() -> impl Strategy<Value = String> {
    (0_usize..4).prop_flat_map(|at| {
        let name = ["DAILY", "WEEKLY", "MONTHLY", "YEARLY"][at];
        let end = prop_oneof![
            2 => Just(String::new()),
            1 => (1_u32..40).prop_map(|count| format!(";COUNT={count}")),
            1 => (2024_i32..2030, 1_u32..=12).prop_map(|(year, month)| format!(";UNTIL={year}{month:02}15T120000Z")),
        ];
        let month_days = part("BYMONTHDAY", 1..=31, true);
        let year_days = part("BYYEARDAY", 1..=366, true);
        // Week 1 as -52 or -53 is the same week to us; the crate loses it where it begins in December.
        let weeks = part("BYWEEKNO", 1..=51, true);
        let start_of_week = prop_oneof![Just(""), Just(";WKST=SU"), Just(";WKST=MO"), Just(";WKST=TH")];
        let parts = (part("BYMONTH", 1..=12, false), weekdays(at >= 2), part("BYHOUR", 0..=23, false), part("BYMINUTE", 0..=59, false));
        (1_u32..5, end, parts, month_days, year_days, weeks, part("BYSETPOS", 1..=4, true), start_of_week).prop_map(
            move |(interval, end, (months, days, hours, minutes), month_days, year_days, weeks, positions, week)| {
                let month_days = if at == 1 { String::new() } else { month_days };
                let year_days = if at == 3 { year_days } else { String::new() };
                let weeks = if at == 3 && !days.is_empty() { weeks } else { String::new() };
                // The crate picks from what is left of the first week, we from the whole of it, as of any period.
                let positions = if at == 1 { String::new() } else { positions };
                format!("FREQ={name};INTERVAL={interval}{end}{months}{weeks}{year_days}{month_days}{days}{hours}{minutes}{positions}{week}")
            },
        )
    })
}

/// By the crate, in UTC, so that local times are what they are.
fn by_the_crate(text: &str, start: NaiveDateTime, end: NaiveDateTime) -> Option<Vec<NaiveDateTime>> {
    let utc = |at: NaiveDateTime| DateTime::<Utc>::from_naive_utc_and_offset(at, Utc).with_timezone(&rrule::Tz::UTC);
    let rule: rrule::RRule<rrule::Unvalidated> = text.parse().ok()?;
    let set = rrule::RRuleSet::new(utc(start)).rrule(rule.validate(utc(start)).ok()?);
    let all = set.before(utc(end)).all(20_000);
    Some(all.dates.into_iter().map(|at| at.naive_utc()).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_rule_sounds_when_the_crate_says(text in some_rule(), offset in 0_i64..1_500, minute in 0_i64..1_440) {
        let start = at("2023-01-01T00:00") + TimeDelta::days(offset) + TimeDelta::minutes(minute);
        let end = start + TimeDelta::days(1_500);
        let ours = match Rule::read(&text, start) {
            Ok(rule) => rule.between(start.date(), end.date(), chrono_tz::UTC),
            Err(wrong) => {
                let codes: Vec<_> = wrong.iter().map(|said| said.code).collect();
                prop_assume!(codes == ["rule.never"]);
                Vec::new()
            }
        };
        let ours: Vec<_> = ours.into_iter().filter(|at| *at <= end).collect();
        let theirs = by_the_crate(&text, start, end);
        prop_assume!(theirs.is_some());
        prop_assert_eq!(ours, theirs.unwrap_or_default(), "{} from {}", text, start);
    }

    #[test]
    fn a_part_of_a_rule_is_the_same_as_the_whole(text in some_rule(), from in 0_i64..900, count in 0_i64..60) {
        let start = at("2023-05-31T06:30");
        let Ok(rule) = Rule::read(&text, start) else { return Ok(()) };
        let whole = rule.between(start.date(), start.date() + TimeDelta::days(1_000), chrono_tz::UTC);
        let (first, last) = (start.date() + TimeDelta::days(from), start.date() + TimeDelta::days(from + count));
        let part: Vec<_> = whole.into_iter().filter(|at| first <= at.date() && at.date() <= last).collect();
        prop_assert_eq!(rule.between(first, last, chrono_tz::UTC), part, "{}", text);
    }

    #[test]
    fn any_text_is_a_rule_or_refused_without_a_panic(text in "(FREQ=(DAILY|YEARLY))?[A-Z0-9=;,+é-]{0,60}") {
        let _ = Rule::read(&text, at("2026-11-23T06:30"));
    }
}
