use super::*;
use crate::broadcast::Stagger;
use crate::time::MILLISECOND;
use chrono::NaiveDateTime;
use chrono_tz::{Asia::Ho_Chi_Minh, Europe::Berlin};
use proptest::prelude::*;
use uuid::Uuid;

const START: Local = Local(1_000_000);

fn volume(decibels: f64) -> Volume {
    Volume::of_decibels(decibels).unwrap()
}

fn open() -> Settings {
    Settings::open(Uuid::from_u128(1))
}

fn limit(from: u16, until: u16, most: f64) -> HourLimit {
    HourLimit { from, until, most: volume(most) }
}

/// The instant of a wall clock.
fn at(zone: Tz, text: &str) -> Civil {
    crate::broadcast::timetable::instant(zone, text.parse::<NaiveDateTime>().unwrap())
}

fn of(hands: &Hands, class: Priority, civil: Civil) -> f64 {
    hands.volume(class, civil).0.decibels()
}

#[test]
fn the_newest_word_on_a_volume_counts_and_an_order_takes_back_what_people_set_only_where_it_says_another() {
    let mut hands = Hands::new(Options { normal: volume(-3.0), ..Options::default() });
    let normal = |hands: &Hands| of(hands, Priority::Normal, Civil(0));
    assert_eq!(normal(&hands), -3.0);
    hands.handle_settings(&Settings { normal: Some(volume(-6.0)), ..open() });
    assert_eq!(normal(&hands), -6.0);
    hands.handle_local(Some(volume(-12.0)), None);
    assert_eq!((normal(&hands), of(&hands, Priority::Priority, Civil(0))), (-12.0, 0.0));
    hands.handle_settings(&Settings { normal: Some(volume(-6.0)), delay: 40_000, ..open() });
    assert_eq!(normal(&hands), -12.0, "it says of it what the one before said");
    hands.handle_settings(&Settings { normal: Some(volume(-9.0)), ..open() });
    assert_eq!(normal(&hands), -9.0);
    hands.handle_settings(&open());
    assert_eq!(normal(&hands), -3.0, "as the configuration has it");
}

#[test]
fn hours_are_those_of_the_wall_over_midnight_and_cap_all_but_emergencies() {
    let night = vec![limit(21 * 60, 6 * 60, -12.0), limit(23 * 60, 5 * 60, -20.0)];
    let mut hands = Hands::new(Options { hours: night, zone: Ho_Chi_Minh, ..Options::default() });
    let heard = |hands: &Hands, time: &str| {
        let civil = at(Ho_Chi_Minh, &format!("2026-11-23T{time}"));
        [Priority::Normal, Priority::Priority, Priority::Emergency].map(|class| of(hands, class, civil))
    };
    assert_eq!(heard(&hands, "20:59:59"), [0.0, 0.0, 0.0]);
    assert_eq!(heard(&hands, "21:00:00"), [-12.0, -12.0, 0.0]);
    assert_eq!(heard(&hands, "23:30:00"), [-20.0, -20.0, 0.0], "the least of two");
    assert_eq!(heard(&hands, "00:00:00"), [-20.0, -20.0, 0.0]);
    assert_eq!(heard(&hands, "05:59:59"), [-12.0, -12.0, 0.0]);
    assert_eq!(heard(&hands, "06:00:00"), [0.0, 0.0, 0.0]);
    hands.handle_local(Some(volume(-25.0)), Some(volume(-1.0)));
    assert_eq!(heard(&hands, "22:00:00"), [-25.0, -12.0, 0.0], "a limit raises nobody and holds for people too");
    hands.handle_settings(&Settings { hours: Some(Vec::new()), ..open() });
    assert_eq!(heard(&hands, "22:00:00"), [-25.0, -1.0, 0.0], "an order lifts the configuration's");
}

#[test]
fn a_limit_follows_the_clock_on_the_wall_through_its_leaps() {
    let mut hands = Hands::new(Options { zone: Ho_Chi_Minh, ..Options::default() });
    let early = vec![limit(0, 3 * 60, -10.0)];
    hands.handle_settings(&Settings { hours: Some(early), zone: Some(Berlin), ..open() });
    let heard = |civil: Civil| of(&hands, Priority::Normal, civil);
    // Clocks go from 02:00 to 03:00: the limit ends an hour of time earlier.
    let leap = at(Berlin, "2026-03-29T03:00:00");
    assert_eq!((heard(leap - 1), heard(leap)), (-10.0, 0.0));
    // And back from 03:00 to 02:00: it is half past two twice.
    let twice = at(Berlin, "2026-10-25T02:30:00");
    assert_eq!((heard(twice), heard(twice + 3_600 * SECOND), heard(twice + 5_400 * SECOND)), (-10.0, -10.0, 0.0));
}

#[test]
fn what_a_volume_is_holds_until_the_instant_that_is_named() {
    let hands = Hands::new(Options { hours: vec![limit(60, 61, -10.0)], zone: Ho_Chi_Minh, ..Options::default() });
    let mut civil = at(Ho_Chi_Minh, "2026-11-23T00:57:30");
    let mut said = Vec::new();
    for _ in 0..6 {
        let (volume, until) = hands.volume(Priority::Normal, civil);
        assert!(until > civil && hands.volume(Priority::Normal, until - 1).0 == volume);
        said.push(volume.decibels());
        civil = until;
    }
    assert_eq!(said, [0.0, 0.0, 0.0, -10.0, 0.0, 0.0]);
}

#[test]
fn the_floor_stands_and_a_configuration_may_raise_it_alone() {
    let mut hands = Hands::new(Options { emergency: volume(-20.0), floor: volume(-20.0), ..Options::default() });
    assert_eq!(of(&hands, Priority::Emergency, Civil(0)), -6.0);
    hands.handle_settings(&Settings { emergency: Some(volume(-30.0)), ..open() });
    assert_eq!(of(&hands, Priority::Emergency, Civil(0)), -6.0);
    let mut hands = Hands::new(Options { floor: volume(-2.0), ..Options::default() });
    hands.handle_settings(&Settings { emergency: Some(volume(-30.0)), ..open() });
    assert_eq!(of(&hands, Priority::Emergency, Civil(0)), -2.0);
}

#[test]
fn a_mute_ends_by_itself_and_the_switch_must_be_turned_to_begin_another() {
    let mut hands = Hands::new(Options::default());
    let muted = |hands: &Hands, after: i64| hands.muted(START + after).is_some();
    hands.handle_switch(START, false);
    assert!(!muted(&hands, 0));
    hands.handle_switch(START, true);
    hands.handle_switch(START + 60 * SECOND, true);
    assert!(muted(&hands, 0) && muted(&hands, Settings::MUTE - 1));
    assert!(!muted(&hands, Settings::MUTE), "though the switch is still on");
    let later = START + Settings::MUTE + SECOND;
    hands.handle_switch(later, false);
    hands.handle_switch(later + SECOND, true);
    assert_eq!(hands.muted(later + SECOND), Some(later + SECOND + Settings::MUTE));
    hands.handle_switch(later + 2 * SECOND, false);
    assert_eq!(hands.muted(later + 2 * SECOND), None);
}

#[test]
fn the_latest_word_on_the_mute_counts_whoever_says_it() {
    let (mut hands, civil) = (Hands::new(Options::default()), Civil(1_800_000_000 * SECOND));
    hands.handle_switch(START, true);
    hands.unmute();
    assert_eq!(hands.muted(START), None);
    hands.handle_mute(START, civil, Mute::Until(civil + 5 * SECOND));
    assert_eq!(hands.muted(START), Some(START + 5 * SECOND));
    hands.handle_mute(START, civil, Mute::Until(civil - 1));
    assert_eq!(hands.muted(START), None, "an order that comes too late mutes nobody");
    hands.handle_mute(START, civil, Mute::Until(civil + 3 * Settings::MUTE));
    assert_eq!(hands.muted(START), Some(START + Settings::MUTE), "whatever a clock says");
    hands.handle_mute(START, civil, Mute::Off);
    assert_eq!(hands.muted(START), None);
}

#[test]
fn a_switch_that_was_on_before_a_restart_does_not_mute_again() {
    let mut hands = Hands::new(Options::default());
    hands.restore(None, None, true);
    hands.handle_switch(START, true);
    assert_eq!(hands.muted(START), None);
}

#[test]
fn an_exercise_is_no_emergency_at_whatever_priority() {
    for purpose in [Purpose::Exercise, Purpose::Test] {
        assert_eq!(class(Priority::Emergency, purpose), Priority::Priority);
        assert_eq!(class(Priority::Normal, purpose), Priority::Normal);
    }
    assert_eq!(class(Priority::Emergency, Purpose::Real), Priority::Emergency);
}

#[test]
fn a_group_waits_for_its_turn_and_a_cluster_for_its_neighbour() {
    let mut hands = Hands::new(Options::default());
    assert_eq!(hands.late(), 0);
    let stagger = Some(Stagger { group: 3, groups: 3, step: 2 * SECOND });
    hands.handle_settings(&Settings { delay: 120 * MILLISECOND, stagger, ..open() });
    assert_eq!(hands.late(), 4_120 * MILLISECOND);
}

#[test]
fn a_level_takes_fifty_milliseconds_in_equal_parts_and_begins_anew_from_where_it_is() {
    let mut level = Level::at(1.0);
    let steps: Vec<_> = (0..6).map(|_| level.pass(0.0, 480)).collect();
    let rounded = |gain: f32| (gain * 10.0).round();
    assert_eq!(steps.iter().map(|step| rounded(step.1)).collect::<Vec<_>>(), [8.0, 6.0, 4.0, 2.0, 0.0, 0.0]);
    assert!(steps.windows(2).all(|pair| pair[0].1 == pair[1].0), "no leap: {steps:?}");
    assert_eq!(steps[5], (0.0, 0.0));
    level.pass(1.0, 1_200);
    assert_eq!(level.pass(0.0, 1_200).0, 0.5);
    assert_eq!(level.pass(0.0, 5_000).1, 0.0);
}

#[test]
fn what_was_heard_of_a_broadcast_is_said_in_one_word() {
    let mut heard = Heard::default();
    assert_eq!(heard.says(), Muted::No);
    heard.note((0.0, 0.0), 480);
    assert_eq!(heard.says(), Muted::Wholly);
    heard.note((0.0, 0.2), 480);
    assert_eq!(heard.says(), Muted::Partly);
}

fn any_volume() -> impl Strategy<Value = Volume> {
    (-300..=0).prop_map(|tenths| Volume::new(tenths).unwrap())
}

fn any_settings() -> impl Strategy<Value = Settings> {
    let hours = prop::collection::vec((0..1_440_u16, 0..1_440_u16, any_volume()), 0..8);
    let volumes = [prop::option::of(any_volume()), prop::option::of(any_volume()), prop::option::of(any_volume())];
    (volumes, prop::option::of(hours)).prop_map(|([normal, priority, emergency], hours)| {
        let limit = |(from, until, most)| HourLimit { from, until, most };
        let hours = hours.map(|hours| hours.into_iter().map(limit).collect());
        Settings { normal, priority, emergency, hours, zone: Some(Berlin), ..open() }
    })
}

#[derive(Clone, Debug)]
enum Word {
    Settings(Settings),
    Local(Option<Volume>, Option<Volume>),
    Mute(i64),
    Switch(bool),
    Restore(bool),
}

fn any_word() -> impl Strategy<Value = Word> {
    prop_oneof![
        any_settings().prop_map(Word::Settings),
        (prop::option::of(any_volume()), prop::option::of(any_volume())).prop_map(|(one, two)| Word::Local(one, two)),
        (0..4_000_000_000_i64).prop_map(Word::Mute),
        any::<bool>().prop_map(Word::Switch),
        any::<bool>().prop_map(Word::Restore),
    ]
}

proptest! {
    #[test]
    fn nothing_brings_a_real_emergency_below_the_floor_and_no_mute_outlasts_half_an_hour(
        floor in any_volume(),
        emergency in any_volume(),
        words in prop::collection::vec((any_word(), 0..600_000_000_i64), 0..24),
        purpose in prop::sample::select(vec![Purpose::Test, Purpose::Exercise, Purpose::Real]),
    ) {
        let mut hands = Hands::new(Options { floor, emergency, ..Options::default() });
        let (mut now, begin) = (START, Civil(1_790_000_000 * SECOND));
        for (word, later) in words {
            now += later;
            let civil = begin + (now - START);
            match word {
                Word::Settings(settings) => hands.handle_settings(&settings),
                Word::Local(normal, priority) => hands.handle_local(normal, priority),
                Word::Mute(left) => hands.handle_mute(now, civil, Mute::Until(civil + left)),
                Word::Switch(on) => hands.handle_switch(now, on),
                Word::Restore(on) => hands.restore(None, None, on),
            }
            let real = class(Priority::Emergency, Purpose::Real);
            let (volume, until) = hands.volume(real, civil);
            prop_assert!(volume >= Volume::FLOOR && volume >= floor && until > civil);
            prop_assert!(!hands.is_muted(real, now));
            prop_assert!(hands.muted(now).is_none_or(|until| until - now <= Settings::MUTE));
            prop_assert!(hands.muted(now + Settings::MUTE).is_none());
            if purpose != Purpose::Real {
                prop_assert_eq!(hands.is_muted(class(Priority::Emergency, purpose), now), hands.muted(now).is_some());
            }
        }
    }
}
