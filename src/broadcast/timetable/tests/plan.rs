//! Who sounds, who does not, and when it could instead.

use super::*;

#[test]
fn priority_comes_before_normal_and_who_was_entered_first_before_who_came_later() {
    let entries = [
        entry(3, &["vn/01"], once("2026-11-23T06:35")),
        entry(1, &["vn/01"], once("2026-11-23T06:30")),
        entry(2, &["vn/01"], once("2026-11-23T17:00")),
        urgent(entry(9, &["vn/01"], once("2026-11-23T17:05"))),
    ];
    let place = planned(&entries, &Policies::default(), "vn/01", "2026-11-23", 1);
    assert_eq!(sounding(&place), ["23 06:30", "23 17:05"]);
    let overlap = "timetable.overlap";
    assert_eq!(refused(&place), [row("23 06:35", overlap, "23 06:40"), row("23 17:00", overlap, "23 17:15")]);
    let why = &place.refused[1].why[0];
    assert_eq!(
        why.to_string(),
        "\"Bản tin 9\" sounds there from 17:05:00 to 17:15:00 and comes before it; move one of them"
    );
}

#[test]
fn one_item_may_begin_where_another_ends() {
    let entries = [entry(1, &["vn"], once("2026-11-23T06:30")), entry(2, &["vn/01"], once("2026-11-23T06:40"))];
    assert_eq!(sounding(&planned(&entries, &Policies::default(), "vn/01", "2026-11-23", 1)), ["23 06:30", "23 06:40"]);
    let gap = policies(r#"[{"area":"vn","gap_minutes":5}]"#);
    let place = planned(&entries, &gap, "vn/01", "2026-11-23", 1);
    assert_eq!(refused(&place), [row("23 06:40", "timetable.gap", "23 06:45")]);
}

#[test]
fn nothing_sounds_in_quiet_hours_unless_the_policy_lets_priority() {
    let entries = [
        entry(1, &["vn/01"], once("2026-11-23T03:15")),
        entry(2, &["vn/01"], once("2026-11-23T21:50")),
        entry(3, &["vn/01"], once("2026-11-23T21:51")),
        entry(4, &["vn/01"], once("2026-11-23T04:55")),
        urgent(entry(5, &["vn/01"], once("2026-11-23T23:00"))),
    ];
    let quiet = "timetable.quiet_hours";
    let place = planned(&entries, &Policies::default(), "vn/01", "2026-11-23", 1);
    assert_eq!(sounding(&place), ["23 21:50"]);
    let late =
        [row("23 21:51", "timetable.quiet_hours timetable.overlap", "24 05:00"), row("23 23:00", quiet, "24 05:00")];
    let early = [row("23 03:15", quiet, "23 05:00"), row("23 04:55", quiet, "23 05:00")];
    assert_eq!(refused(&place), [early, late].concat());
    let lets = policies(r#"[{"area":"vn","priority_in_quiet":true}]"#);
    assert_eq!(sounding(&planned(&entries, &lets, "vn/01", "2026-11-23", 1)), ["23 21:50", "23 23:00"]);
    // The nearest area decides, field by field.
    let near = policies(
        r#"[{"area":"vn","priority_in_quiet":true},{"area":"vn/01","quiet":{"from":"12:00","until":"12:00"}}]"#,
    );
    assert_eq!(sounding(&planned(&entries, &near, "vn/01", "2026-11-23", 1)).len(), 4);
}

/// DOMAIN: Hanoi has at most two sessions a day, on weekdays, of fifteen minutes in towns.
#[test]
fn hanoi_has_two_sessions_on_weekdays_of_fifteen_minutes() {
    let hanoi = policies(
        r#"[{"area":"vn/01","longest_minutes":15,
            "quotas":[{"days":["mo","tu","we","th","fr"],"sessions":2},{"days":["sa","su"],"sessions":0}]}]"#,
    );
    let entries = [
        entry(1, &["vn/01"], rule("2026-11-20T06:30", "FREQ=DAILY;BYHOUR=6,11,17")),
        lasting(entry(2, &["vn/01"], once("2026-11-20T09:00")), 16),
    ];
    // 20 November 2026 is a Friday.
    let place = planned(&entries, &hanoi, "vn/01", "2026-11-20", 4);
    assert_eq!(sounding(&place), ["20 06:30", "20 11:30", "23 06:30", "23 11:30"]);
    let sessions = "timetable.sessions";
    let long = "timetable.too_long";
    let all = refused(&place);
    assert_eq!(all[0], row("20 09:00", &format!("{long} {sessions}"), "-"));
    // All of Monday is taken by what is entered; whatever is left of a day comes first on no day of the week.
    assert_eq!(all[1], row("20 17:30", sessions, "-"));
    assert_eq!(all[2].0, "21 06:30");
    assert_eq!(all.len(), 1 + 1 + 6 + 1);
}

#[test]
fn minutes_of_a_day_are_counted_and_a_free_day_is_found() {
    let quota = policies(r#"[{"area":"vn","quotas":[{"minutes":25}]}]"#);
    let entries = [
        entry(1, &["vn/01"], rule("2026-11-23T06:30", "FREQ=DAILY;COUNT=2;BYHOUR=6,7")),
        entry(2, &["vn/01"], once("2026-11-23T09:00")),
    ];
    let place = planned(&entries, &quota, "vn/01", "2026-11-23", 1);
    assert_eq!(refused(&place), [row("23 09:00", "timetable.minutes", "24 05:00")]);
    let why = place.refused[0].why[0].to_string();
    assert!(why.starts_with("with it 30 min would sound in vn/01 on this day, at most 25 min"), "{why}");
}

#[test]
fn nobody_is_aired_unapproved_where_the_policy_asks_for_somebody() {
    let strict = policies(r#"[{"area":"vn","approval":true},{"area":"vn/08","approval":false}]"#);
    let mut entries = [entry(1, &["vn"], once("2026-11-23T06:30"))];
    let refused_at = |entries: &[Entry], place: &str| refused(&planned(entries, &strict, place, "2026-11-23", 1));
    assert_eq!(refused_at(&entries, "vn/01"), [row("23 06:30", "timetable.not_approved", "-")]);
    assert_eq!(refused_at(&entries, "vn/08"), []);
    entries[0].approver = Some("Nguyễn Văn An".into());
    assert_eq!(refused_at(&entries, "vn/01"), []);
}

#[test]
fn an_area_that_merged_refuses_its_entries_from_that_day_and_names_its_successors() {
    let entries = [entry(1, &["vn/08/1"], rule("2026-11-23T06:30", "FREQ=DAILY"))];
    let place = planned(&entries, &Policies::default(), "vn/08/1", "2026-11-24", 2);
    assert_eq!(sounding(&place), ["24 06:30"]);
    assert_eq!(refused(&place), [row("25 06:30", "timetable.area_ceased", "-")]);
    let why = place.refused[0].why[0].to_string();
    assert_eq!(why, "area vn/08/1 ceased on 2026-11-25; give the entry its successors: vn/08/2");
    // Who asks for the successor sees what no longer sounds for its people.
    let (from, until) = (civil("2026-11-23T00:00:00+07:00"), civil("2026-11-24T00:00:00+07:00"));
    let old = [entry(2, &["vn/02"], rule("2025-01-01T06:30", "FREQ=DAILY"))];
    let plan = plan(&old, &Policies::default(), &register(), &[area("vn/08")], from, until).unwrap();
    assert_eq!(plan.places.iter().map(|place| place.area.as_str()).collect::<Vec<_>>(), ["vn/02", "vn/08"]);
    assert_eq!(refused(&plan.places[0]), [row("23 06:30", "timetable.area_ceased", "-")]);
    assert_eq!(refused(&plan.places[1]), []);
}

#[test]
fn an_area_that_is_not_known_or_not_there_yet_is_told() {
    let entries = [entry(1, &["vn/01/9", "vn/08"], once("2025-06-30T06:30"))];
    let (from, until) = (civil("2025-06-30T00:00:00+07:00"), civil("2025-07-01T00:00:00+07:00"));
    let plan_of = |of: &str| plan(&entries, &Policies::default(), &register(), &[area(of)], from, until);
    let whole = plan_of("vn").unwrap();
    let codes = |place: &str| refused(whole.place(&area(place)).unwrap())[0].1.clone();
    assert_eq!(codes("vn/01/9"), "timetable.area_unknown");
    assert_eq!(codes("vn/08"), "timetable.area_not_yet");
    assert_eq!(plan_of("vn/03").unwrap_err().code, "area.unknown");
}

#[test]
fn a_province_may_sound_where_a_commune_refuses_and_an_order_leaves_that_out() {
    let strict = policies(r#"[{"area":"vn/01/2","longest_minutes":5}]"#);
    let mut wide = entry(1, &["vn"], once("2026-11-23T06:30"));
    wide.except = vec![area("vn/08")];
    let local = entry(2, &["vn/01/1"], once("2026-11-23T06:35"));
    let (from, until) = (civil("2026-11-23T00:00:00+07:00"), civil("2026-11-24T00:00:00+07:00"));
    let plan = plan(&[wide, local], &strict, &register(), &[area("vn")], from, until).unwrap();
    let places: Vec<_> = plan.places.iter().map(|place| place.area.as_str()).collect();
    assert_eq!(places, ["vn", "vn/01/1", "vn/01/2", "vn/08"]);
    assert_eq!(refused(&plan.places[1])[0].1, "timetable.overlap");
    assert_eq!(refused(&plan.places[2])[0].1, "timetable.too_long");
    assert!(plan.places[3].sounding.is_empty() && plan.places[3].refused.is_empty());
    let [airing] = &plan.airings()[..] else { panic!("{:?}", plan.airings()) };
    assert_eq!((&airing.areas, &airing.except), (&vec![area("vn")], &vec![area("vn/01/2"), area("vn/08")]));
    let order = register().cover(&airing.areas, &airing.except, day("2026-11-23")).unwrap();
    assert_eq!(order, [area("vn/01/1")]);
}

#[test]
fn what_sounds_again_inside_of_what_is_silent_is_an_airing_of_its_own() {
    let nested = policies(r#"[{"area":"vn/01","longest_minutes":5},{"area":"vn/01/2","longest_minutes":60}]"#);
    let wide = entry(1, &["vn"], once("2026-11-23T06:30"));
    let (from, until) = (civil("2026-11-23T00:00:00+07:00"), civil("2026-11-24T00:00:00+07:00"));
    let plan = plan(&[wide], &nested, &register(), &[area("vn")], from, until).unwrap();
    let reach: Vec<_> = plan.airings().into_iter().map(|airing| (airing.areas, airing.except)).collect();
    assert_eq!(reach, [(vec![area("vn")], vec![area("vn/01")]), (vec![area("vn/01/2")], vec![])]);
}

#[test]
fn an_item_that_crosses_midnight_counts_for_the_day_on_which_it_begins() {
    let open = r#"[{"area":"vn","quiet":{"from":"00:00","until":"00:00"},"quotas":[{"sessions":1}]}]"#;
    let entries = [
        lasting(entry(1, &["vn/01"], once("2026-11-22T23:50")), 60),
        entry(2, &["vn/01"], once("2026-11-23T00:30")),
        entry(3, &["vn/01"], once("2026-11-23T01:00")),
    ];
    let place = planned(&entries, &policies(open), "vn/01", "2026-11-23", 1);
    assert_eq!(sounding(&place), ["23 01:00"]);
    assert_eq!(refused(&place), [row("23 00:30", "timetable.overlap", "24 00:00")]);
    assert_eq!(sounding(&planned(&entries, &policies(open), "vn/01", "2026-11-22", 1)), ["22 23:50"]);
}

#[test]
fn a_day_is_planned_the_same_alone_and_within_a_week() {
    let open = policies(r#"[{"area":"vn","quiet":{"from":"00:00","until":"00:00"},"quotas":[{"sessions":3}]}]"#);
    let nightly = lasting(entry(1, &["vn/01"], rule("2026-11-01T23:30", "FREQ=DAILY;INTERVAL=2")), 60);
    let early = lasting(entry(2, &["vn/01"], rule("2026-11-01T00:10", "FREQ=DAILY")), 30);
    let often = entry(3, &["vn/01"], rule("2026-11-01T00:00", "FREQ=DAILY;BYHOUR=0,8,16,23;BYMINUTE=35"));
    let entries = [often, early, nightly];
    let week = planned(&entries, &open, "vn/01", "2026-11-09", 7);
    let days = (9..16).map(|number| planned(&entries, &open, "vn/01", &format!("2026-11-{number:02}"), 1));
    let (mut alone, mut apart) = (Vec::new(), Vec::new());
    for day in days {
        alone.extend(day.sounding);
        apart.extend(day.refused.into_iter().map(|refused| (refused.item, refused.why)));
    }
    assert_eq!(week.sounding, alone);
    assert_eq!(week.refused.into_iter().map(|refused| (refused.item, refused.why)).collect::<Vec<_>>(), apart);
}

#[test]
fn each_place_lives_by_its_own_clock_unless_the_entry_names_one() {
    let mut entries = [entry(1, &["vn", "de"], once("2026-11-23T06:30"))];
    let (from, until) = (civil("2026-11-22T00:00:00Z"), civil("2026-11-24T00:00:00Z"));
    let starts = |entries: &[Entry]| -> Vec<Civil> {
        let plan = plan(entries, &Policies::default(), &register(), &[area("vn"), area("de")], from, until).unwrap();
        plan.places.iter().flat_map(|place| &place.sounding).map(|item| item.start).collect()
    };
    assert_eq!(starts(&entries), [civil("2026-11-23T06:30:00+01:00"), civil("2026-11-23T06:30:00+07:00")]);
    entries[0].zone = Some(chrono_tz::Asia::Ho_Chi_Minh);
    // In Germany that is half past midnight.
    assert_eq!(starts(&entries), [civil("2026-11-23T06:30:00+07:00")]);
}

#[test]
fn clocks_that_leap_move_an_item_to_the_first_instant_that_exists() {
    let open = policies(r#"[{"area":"de","quiet":{"from":"00:00","until":"00:00"}}]"#);
    let daily = [entry(1, &["de"], rule("2026-03-01T02:30", "FREQ=DAILY"))];
    let start = |first: &str| planned(&daily, &open, "de", first, 1).sounding[0].start;
    assert_eq!(start("2026-03-28"), civil("2026-03-28T02:30:00+01:00"));
    assert_eq!(start("2026-03-29"), civil("2026-03-29T03:00:00+02:00"));
    assert_eq!(start("2026-10-25"), civil("2026-10-25T02:30:00+02:00"));
    assert_eq!(start("2026-10-26"), civil("2026-10-26T02:30:00+01:00"));
    // Two times in one gap are one item.
    let twice = [entry(1, &["de"], rule("2026-03-01T02:10", "FREQ=DAILY;BYMINUTE=10,40"))];
    assert_eq!(sounding(&planned(&twice, &open, "de", "2026-03-29", 1)), ["29 03:00"]);
    // The second hour of a night that has two of them is quiet too.
    let quiet = policies(r#"[{"area":"de","quiet":{"from":"22:00","until":"02:30"}}]"#);
    let place = planned(&[entry(1, &["de"], once("2026-10-25T02:15"))], &quiet, "de", "2026-10-25", 1);
    assert_eq!(place.refused[0].free, Some(civil("2026-10-25T02:30:00+01:00")));
}

#[test]
fn what_is_not_enabled_or_not_yet_or_no_longer_valid_does_not_sound() {
    let daily = || entry(1, &["vn/01"], rule("2026-11-01T06:30", "FREQ=DAILY"));
    let (mut off, mut bounded) = (daily(), daily());
    off.enabled = false;
    assert!(planned(&[off], &Policies::default(), "vn/01", "2026-11-23", 1).sounding.is_empty());
    (bounded.from, bounded.until) = (Some(day("2026-11-24")), Some(day("2026-11-26")));
    assert_eq!(
        sounding(&planned(&[bounded], &Policies::default(), "vn/01", "2026-11-20", 9)),
        ["24 06:30", "25 06:30"]
    );
}

#[test]
fn a_slot_is_free_within_a_week_or_not_at_all() {
    let entries =
        [entry(1, &["vn/01"], rule("2026-11-01T06:30", "FREQ=DAILY")), entry(2, &["vn/01"], once("2026-11-23T06:30"))];
    let one = |days: &str| policies(&format!(r#"[{{"area":"vn","quotas":[{{"days":[{days}],"sessions":1}}]}}]"#));
    let free = |policies: &Policies| planned(&entries, policies, "vn/01", "2026-11-23", 1).refused[0].free;
    assert_eq!(free(&one(r#""mo","tu","we","th","fr""#)), Some(civil("2026-11-28T05:00:00+07:00")));
    assert_eq!(free(&one("")), None);
    // Nothing is offered on a day on which the entry itself is over.
    let mut ends = entries;
    ends[1].until = Some(day("2026-11-24"));
    let policies = one(r#""mo""#);
    assert_eq!(planned(&ends, &policies, "vn/01", "2026-11-23", 1).refused[0].free, None);
}

#[test]
fn a_plan_that_would_be_too_large_is_refused_as_a_whole() {
    let (from, day) = (civil("2026-11-23T00:00:00Z"), 86_400_000_000);
    let code = |entries: &[Entry], from: Civil, until: Civil| {
        plan(entries, &Policies::default(), &register(), &[area("vn")], from, until).map(drop).map_err(|said| said.code)
    };
    assert_eq!(code(&[], from, from), Err("timetable.window"));
    assert_eq!(code(&[], from, from - 1), Err("timetable.window"));
    assert_eq!(code(&[], from, from + MOST_DAYS * day), Ok(()));
    assert_eq!(code(&[], from, from + MOST_DAYS * day + 1), Err("timetable.window"));
    assert_eq!(code(&[], Civil(i64::MIN), Civil(i64::MAX)), Err("timetable.window"));
    assert_eq!(code(&[], Civil(i64::MAX - day), Civil(i64::MAX)), Err("timetable.year"));
    let one = entry(1, &["vn"], once("2026-11-23T06:30"));
    assert_eq!(code(&vec![one; MOST_ENTRIES + 1], from, from + day), Err("timetable.entries"));
    let hours = (0..24).map(|hour| hour.to_string()).collect::<Vec<_>>().join(",");
    let hourly = entry(1, &["vn"], rule("2026-01-01T00:00", &format!("FREQ=DAILY;BYHOUR={hours}")));
    assert_eq!(code(&vec![hourly; 1_800], from, from + day), Err("timetable.size"));
}

#[test]
fn an_entry_that_its_check_refuses_is_passed_over() {
    let emergency = Entry { priority: Priority::Emergency, ..entry(1, &["vn"], once("2026-11-23T06:30")) };
    let endless = lasting(entry(2, &["vn"], once("2026-11-23T07:30")), 25 * 60);
    let wrong = entry(3, &["vn"], rule("2026-11-23T08:30", "FREQ=SECONDLY"));
    let good = entry(4, &["vn"], once("2026-11-23T09:30"));
    let place = planned(&[emergency, endless, wrong, good], &Policies::default(), "vn", "2026-11-23", 1);
    assert_eq!((sounding(&place), refused(&place)), (vec!["23 09:30".to_owned()], vec![]));
}
