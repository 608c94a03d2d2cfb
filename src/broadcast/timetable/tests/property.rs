//! What holds of every plan.

use super::*;
use chrono::{TimeDelta, Timelike};
use proptest::prelude::*;
use std::collections::BTreeMap;

const PLACES: [&str; 6] = ["vn", "vn/01", "vn/01/1", "vn/01/2", "vn/08", "vn/08/2"];

fn some_entry() -> impl Strategy<Value = Entry> {
    let when = prop_oneof![
        (0_i64..4, 0_i64..288).prop_map(|(day, slot)| When::Once(
            at("2026-11-22T00:00") + TimeDelta::days(day) + TimeDelta::minutes(slot * 5)
        )),
        (0_i64..288, "(FREQ=DAILY|FREQ=WEEKLY;BYDAY=MO,TU,WE|FREQ=DAILY;BYHOUR=6,12,23)(;INTERVAL=2)?").prop_map(
            |(slot, rrule)| {
                let start = at("2026-11-01T00:00") + TimeDelta::minutes(slot * 5);
                When::Rule { start, rrule, except: vec![day("2026-11-24")], extra: vec![at("2026-11-23T17:00")] }
            }
        ),
    ];
    let areas = proptest::collection::vec(0_usize..PLACES.len(), 1..3);
    let flags = (any::<bool>(), any::<bool>(), 0_u8..8);
    (0_u64..6, 0_u64..1_000, areas, when, 1_i64..100, flags).prop_map(|(created, id, places, when, minutes, flags)| {
        let names: Vec<&str> = places.iter().map(|at| PLACES[*at]).collect();
        let mut entry = lasting(entry(id, &names, when), minutes);
        // Many are entered at the same time, so that the id decides.
        entry.created = Civil(created as i64);
        let (is_priority, is_approved, except) = flags;
        entry.priority = if is_priority { Priority::Priority } else { Priority::Normal };
        entry.approver = is_approved.then(|| "An".to_owned());
        entry.except = (except == 0).then(|| area("vn/01/2")).into_iter().filter(|area| entry.covers(area)).collect();
        entry
    })
}

fn some_policies() -> impl Strategy<Value = Policies> {
    let quota =
        (0_u32..4, proptest::option::of(10_u32..200), any::<bool>()).prop_map(|(sessions, minutes, weekdays)| Quota {
            days: if weekdays { vec![chrono::Weekday::Mon, chrono::Weekday::Tue] } else { Vec::new() },
            sessions: (sessions > 0).then_some(sessions),
            minutes,
        });
    let clock = || {
        (0_u32..24, 0_u32..4)
            .prop_map(|(hour, quarter)| chrono::NaiveTime::from_hms_opt(hour, quarter * 15, 0).unwrap())
    };
    let quiet = (clock(), clock()).prop_map(|(from, until)| Quiet { from, until });
    let policy = (
        proptest::option::of(quiet),
        proptest::option::of(any::<bool>()),
        proptest::option::of(proptest::collection::vec(quota, 0..3)),
        proptest::option::of(5_u32..90),
        proptest::option::of(0_u32..20),
        proptest::option::of(any::<bool>()),
    );
    let policy = policy.prop_map(|(quiet, priority_in_quiet, quotas, longest_minutes, gap_minutes, approval)| Policy {
        quiet,
        priority_in_quiet,
        quotas,
        longest_minutes,
        gap_minutes,
        approval,
    });
    proptest::collection::btree_map(0_usize..PLACES.len(), policy, 0..4)
        .prop_map(|policies| Policies::new(policies.into_iter().map(|(at, policy)| (area(PLACES[at]), policy))))
}

fn of(entries: &[Entry], policies: &Policies) -> Plan {
    let (from, until) = (civil("2026-11-22T00:00:00+07:00"), civil("2026-11-26T00:00:00+07:00"));
    plan(entries, policies, &register(), &[area("vn")], from, until).unwrap()
}

/// Whether the clock on the wall says that it is quiet.
fn is_quiet(quiet: Quiet, at: chrono::NaiveTime) -> bool {
    if quiet.from <= quiet.until { quiet.from <= at && at < quiet.until } else { quiet.from <= at || at < quiet.until }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn the_order_in_which_entries_are_given_does_not_matter(
        (entries, shuffled) in proptest::collection::vec(some_entry(), 0..10)
            .prop_flat_map(|entries| (Just(entries.clone()), Just(entries).prop_shuffle())),
        policies in some_policies(),
    ) {
        prop_assert_eq!(of(&entries, &policies), of(&shuffled, &policies));
    }

    #[test]
    fn what_sounds_keeps_every_rule(entries in proptest::collection::vec(some_entry(), 0..12), policies in some_policies()) {
        for place in of(&entries, &policies).places {
            let rules = &place.rules;
            for pair in place.sounding.windows(2) {
                prop_assert!(pair[0].end + rules.gap <= pair[1].start, "{:?}", pair);
            }
            let mut used: BTreeMap<NaiveDate, (u32, i64)> = BTreeMap::new();
            for item in &place.sounding {
                let start = local::local(place.zone, item.start);
                let minutes = (item.end - item.start) / MINUTE;
                if item.priority == Priority::Normal || !rules.priority_in_quiet {
                    for minute in 0..minutes {
                        let at = (start + TimeDelta::minutes(minute)).time();
                        prop_assert!(!is_quiet(rules.quiet, at), "{} {:?}", at, rules.quiet);
                    }
                }
                prop_assert!(rules.longest.is_none_or(|longest| item.end - item.start <= longest));
                prop_assert!(entries.iter().any(|entry| entry.id == item.entry && entry.covers(&place.area)));
                let day = used.entry(start.date()).or_default();
                *day = (day.0 + 1, day.1 + minutes);
            }
            for (day, (sessions, minutes)) in used {
                if let Some(quota) = rules.quota(day) {
                    prop_assert!(quota.sessions.is_none_or(|most| sessions <= most), "{} {:?}", day, quota);
                    prop_assert!(quota.minutes.is_none_or(|most| minutes <= i64::from(most)), "{} {:?}", day, quota);
                }
            }
        }
    }

    #[test]
    fn every_time_of_every_entry_sounds_or_is_refused_with_a_reason(
        entries in proptest::collection::vec(some_entry(), 0..8),
        policies in some_policies(),
    ) {
        for place in of(&entries, &policies).places {
            let wanted: usize = entries
                .iter()
                .filter(|entry| entry.covers(&place.area))
                .map(|entry| entry.begins(day("2026-11-22"), day("2026-11-25"), place.zone).len())
                .sum();
            prop_assert_eq!(place.sounding.len() + place.refused.len(), wanted);
            for refused in &place.refused {
                prop_assert!(!refused.why.is_empty());
                let told = refused.why.iter().all(|said| said.to_string().len() > 20);
                prop_assert!(told);
            }
        }
    }

    #[test]
    fn what_is_offered_as_free_is_free(entries in proptest::collection::vec(some_entry(), 2..8), policies in some_policies()) {
        let whole = of(&entries, &policies);
        for place in &whole.places {
            let offered = place.refused.iter().filter(|refused| refused.item.priority == Priority::Normal);
            for (refused, free) in offered.filter_map(|refused| Some((refused, refused.free?))).take(2) {
                prop_assert!(refused.item.start <= free && free.0 % 1_000_000 == 0);
                // Entered last, it is in nobody's way.
                let mut moved = lasting(entry(9_999, &[place.area.as_str()], When::Once(local::local(place.zone, free))), 1);
                moved.plays = refused.item.plays.clone();
                (moved.approver, moved.created) = (Some("An".into()), Civil(i64::MAX));
                let all: Vec<Entry> = entries.iter().cloned().chain([moved.clone()]).collect();
                let again = plan(&all, &policies, &register(), std::slice::from_ref(&place.area), free, free + 1).unwrap();
                let there = again.place(&place.area).unwrap();
                prop_assert!(there.sounding.iter().any(|item| item.entry == moved.id), "{:?} {:?}", free, there.refused);
            }
        }
    }

    #[test]
    fn airings_are_heard_where_the_plan_says(entries in proptest::collection::vec(some_entry(), 0..8), policies in some_policies()) {
        let plan = of(&entries, &policies);
        let airings = plan.airings();
        for place in &plan.places {
            let heard: usize = airings
                .iter()
                .filter(|airing| airing.areas.iter().any(|area| area.contains(&place.area)))
                .filter(|airing| !airing.except.iter().any(|area| area.contains(&place.area)))
                .count();
            prop_assert_eq!(heard, place.sounding.len(), "{} {:?}", &place.area, &airings);
        }
    }

    #[test]
    fn quiet_hours_are_told_by_the_clock_on_the_wall(minute in 0_i64..1_440, length in 1_i64..120) {
        let start = at("2026-11-23T00:00") + TimeDelta::minutes(minute);
        let place = planned(&[lasting(entry(1, &["vn"], When::Once(start)), length)], &Policies::default(), "vn", "2026-11-23", 1);
        let quiet = (0..length).any(|after| {
            let hour = (start + TimeDelta::minutes(after)).hour();
            !(5..22).contains(&hour)
        });
        prop_assert_eq!(place.sounding.is_empty(), quiet);
    }
}
