//! Volumes and mute in the plan.
use super::*;
use crate::audio::Step;
use crate::broadcast::{HourLimit, Settings, Volume};
use crate::playout::{Hands, Muted, hands};

const SECOND: i64 = 1_000_000;

fn volume(decibels: f64) -> Volume {
    Volume::of_decibels(decibels).unwrap()
}

fn real(priority: Priority) -> Program {
    Program { delay: DELAY, ..program(1, priority, 2 * SECOND, Some(40)) }
}

/// A speaker that plays ten seconds of `program`; `turn` is called once, at `when`.
fn played(
    program: &Program,
    options: hands::Options,
    when: i64,
    turn: impl Fn(&mut Hands, crate::time::Local),
) -> Speaker {
    let mut world = World::new(1);
    let mut speaker = Speaker::near(&mut world, 0);
    speaker.player = Player::new(Options { hands: options, ..Options::default() });
    let mut turned = false;
    let end = begin(program) + 11 * SECOND;
    for time in (0..end).step_by(TICK as usize) {
        let now = speaker.local(time);
        speaker.player.handle_program(now, Some(program.clone()));
        feed(&mut speaker, time, program.track.id, |_| false);
        if time >= when && !turned {
            turned = true;
            turn(speaker.player.hands_mut(), now);
        }
        speaker.tick(&mut world, time);
    }
    speaker
}

/// Steps that carry sound, with the true time at which each left.
fn sounding(speaker: &Speaker) -> Vec<(f64, &Step)> {
    let heard = speaker.card.heard.iter().map(|heard| (heard.time, &heard.step));
    heard.filter(|(_, step)| !matches!(step.content, Content::Silence)).collect()
}

fn gains(speaker: &Speaker) -> Vec<(f32, f32)> {
    sounding(speaker).into_iter().map(|(_, step)| (step.gain.from, step.gain.to)).collect()
}

/// No gain leaps from step to step, nor by more in one than 50 ms from full to nothing have it.
fn assert_no_click(gains: &[(f32, f32)]) {
    for pair in gains.windows(2) {
        assert!((pair[0].1 - pair[1].0).abs() < 1e-6, "{pair:?}");
    }
    assert!(gains.iter().all(|(from, to)| (from - to).abs() <= 0.2001), "{gains:?}");
}

#[test]
fn a_volume_holds_from_the_first_sample_on() {
    let options = hands::Options { normal: volume(-6.0), priority: volume(-10.0), ..Default::default() };
    for (priority, expected) in [(Priority::Normal, -6.0), (Priority::Priority, -10.0), (Priority::Emergency, 0.0)] {
        let speaker = played(&real(priority), options.clone(), i64::MAX, |_, _| {});
        let expected = volume(expected).gain();
        assert!(gains(&speaker).iter().all(|gain| *gain == (expected, expected)), "{priority:?}");
        assert_eq!(speaker.player.muted(Uuid::from_u128(1)), Muted::No);
    }
}

#[test]
fn a_mute_and_its_end_are_ramps_of_fifty_milliseconds() {
    let program = real(Priority::Normal);
    let when = begin(&program) + 3 * SECOND;
    let speaker = played(&program, hands::Options::default(), when, |hands, now| hands.mute(now));
    let gains = gains(&speaker);
    assert_no_click(&gains);
    let down = gains.iter().filter(|(from, to)| from > to).count();
    assert!((5..=6).contains(&down), "{down} steps of 10 ms on the way down");
    assert_eq!(gains.last(), Some(&(0.0, 0.0)));
    assert_eq!(speaker.player.muted(Uuid::from_u128(1)), Muted::Partly);
    assert_contiguous(&speaker);
    // What is in the device's queue is not taken back: a tenth of a second.
    let silent = sounding(&speaker).into_iter().find(|(_, step)| step.gain.to == 0.0).unwrap();
    assert!((silent.0 - when as f64) < 200_000.0, "silent {} µs after", silent.0 - when as f64);
}

#[test]
fn a_broadcast_that_is_muted_for_its_whole_time_is_said_to_be_so_also_once_it_is_over() {
    let program = real(Priority::Priority);
    let mut speaker = played(&program, hands::Options::default(), 0, |hands, now| hands.mute(now));
    assert!(gains(&speaker).iter().all(|gain| *gain == (0.0, 0.0)), "not a sample before the ramp");
    assert_eq!(speaker.player.muted(program.broadcast), Muted::Wholly);
    let mut world = World::new(2);
    let now = speaker.local(begin(&program) + 11 * SECOND);
    speaker.player.handle_program(now, None);
    for time in (begin(&program) + 11 * SECOND..begin(&program) + 12 * SECOND).step_by(TICK as usize) {
        speaker.tick(&mut world, time);
    }
    assert_eq!(speaker.player.status(now).state, State::Idle);
    assert_eq!(speaker.player.muted(program.broadcast), Muted::Wholly);
    assert_eq!(speaker.player.muted(Uuid::from_u128(9)), Muted::No);
}

#[test]
fn an_emergency_sounds_through_a_mute_with_its_tone_and_an_exercise_does_not() {
    for (purpose, heard) in [(Purpose::Real, true), (Purpose::Exercise, false), (Purpose::Test, false)] {
        let tone = Some(Tone { at: world_civil(2 * SECOND), which: crate::audio::TONE, duration: SECOND });
        let program = Program { purpose, tone, ..real(Priority::Emergency) };
        let speaker = played(&program, hands::Options::default(), 0, |hands, now| hands.mute(now));
        let kinds = |tone: bool| {
            let ours = sounding(&speaker)
                .into_iter()
                .filter(move |(_, step)| matches!(step.content, Content::Tone { .. }) == tone);
            ours.map(|(_, step)| step.gain.to > 0.0).collect::<Vec<_>>()
        };
        for part in [kinds(true), kinds(false)] {
            assert!(part.len() > 90 && part.iter().all(|sounds| *sounds == heard), "{purpose:?}");
        }
    }
}

#[test]
fn what_a_speaker_says_of_itself_is_muted_as_normal_is() {
    let said = super::code::said();
    let speaker = played(&said, hands::Options::default(), 0, |hands, now| hands.mute(now));
    assert!(!sounding(&speaker).is_empty() && gains(&speaker).iter().all(|gain| *gain == (0.0, 0.0)));
    let quiet = hands::Options { normal: volume(-20.0), ..Default::default() };
    let speaker = played(&said, quiet, i64::MAX, |_, _| {});
    let expected = volume(-20.0).gain();
    assert!(gains(&speaker).iter().all(|gain| *gain == (expected, expected)));
}

#[test]
fn a_limit_of_the_hour_begins_at_its_minute_while_a_programme_sounds() {
    // True time 0 is 2023-11-14 22:13:20 UTC; the 15th second of 05:14 in Hà Nội is heard as it begins.
    let night = HourLimit { from: 5 * 60 + 14, until: 6 * 60, most: volume(-12.0) };
    let options = hands::Options { hours: vec![night], ..Default::default() };
    let mut program = real(Priority::Normal);
    program.track.anchor = world_civil(34 * SECOND);
    program.until = world_civil(60 * SECOND);
    let speaker = played(&program, options, i64::MAX, |_, _| {});
    let gains = gains(&speaker);
    assert_no_click(&gains);
    assert_eq!((gains[0].0, gains.last().unwrap().1), (1.0, volume(-12.0).gain()));
    let falls = sounding(&speaker).into_iter().find(|(_, step)| step.gain.to < 1.0).unwrap();
    assert!((falls.0 - 40_000_000.0).abs() < 12_000.0, "at {}", falls.0);
}

#[test]
fn settings_that_change_in_a_wait_are_no_ramp_when_sound_begins() {
    let program = real(Priority::Normal);
    let quiet = Settings { normal: Some(volume(-20.0)), ..Settings::open(Uuid::from_u128(7)) };
    let speaker =
        played(&program, hands::Options::default(), begin(&program) - SECOND, |hands, _| hands.handle_settings(&quiet));
    let expected = volume(-20.0).gain();
    assert!(gains(&speaker).iter().all(|gain| *gain == (expected, expected)));
}
