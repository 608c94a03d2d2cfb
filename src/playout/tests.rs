//! One speaker and several, in virtual time.
mod code;
mod hands;

use super::model::{Heard, Speaker, TICK, World, world_civil};
use super::*;
use crate::audio::Content;
use crate::broadcast::{Priority, Purpose, Tone};
use crate::key::PublicKey;
use crate::time::Civil;
use crate::track::{Info, Sound};
use proptest::prelude::*;
use std::sync::Arc;
use uuid::Uuid;

const DELAY: i64 = 1_000_000;
const DURATION: u32 = 11_520;

fn program(number: u128, priority: Priority, anchor: i64, packets: Option<u64>) -> Program {
    Program {
        broadcast: Uuid::from_u128(number),
        priority,
        purpose: Purpose::Real,
        track: Info {
            id: Uuid::from_u128(number + 100),
            sign: PublicKey([0; 32]),
            ssrc: number as u32,
            duration: DURATION,
            anchor: world_civil(anchor),
            key_hash: [0; 32],
            bitrate: 24_000,
            packets,
        },
        delay: DELAY,
        until: world_civil(anchor + 10_000_000_000),
        tone: None,
    }
}

fn sound(index: u64) -> Arc<Sound> {
    Arc::new(Sound { index, time: Civil(0), records: Vec::new() })
}

/// Hands the speaker what it wants of a stored track, except packets that `lost` names.
fn feed(speaker: &mut Speaker, time: i64, track: Uuid, lost: impl Fn(u64) -> bool) {
    let now = speaker.local(time);
    for index in speaker.player.wants(now, track).into_iter().flatten().filter(|&index| !lost(index)) {
        speaker.player.handle_sound(now, track, sound(index));
    }
}

fn begin(program: &Program) -> i64 {
    program.speech() - world_civil(0)
}

/// Plays `program` from stored packets, except those that `lost` names; calls `each` every tick.
fn play_with(
    world: &mut World,
    speakers: &mut [Speaker],
    program: Option<&Program>,
    span: (i64, i64),
    lost: impl Fn(u64) -> bool,
    mut each: impl FnMut(i64, &mut [Speaker]),
) {
    for time in (span.0..span.1).step_by(TICK as usize) {
        each(time, speakers);
        for speaker in speakers.iter_mut() {
            speaker.tick(world, time);
            if time % 100_000 == 0 {
                speaker.player.handle_program(speaker.local(time), program.cloned());
                if let Some(program) = program {
                    feed(speaker, time, program.track.id, &lost);
                }
            }
        }
    }
}

fn play(world: &mut World, speakers: &mut [Speaker], program: &Program, span: (i64, i64)) {
    play_with(world, speakers, Some(program), span, |_| false, |_, _| ());
}

/// Everything audible of `track`: (sample, step and time).
fn of_track(speaker: &Speaker, track: Uuid) -> Vec<(u64, &Heard)> {
    let ours = |heard: &&Heard| match &heard.step.content {
        Content::Sound { track: id, .. } | Content::Conceal { track: id, .. } => *id == track,
        _ => false,
    };
    speaker.card.heard.iter().filter(ours).filter_map(|heard| Some((heard.sample(DURATION)?, heard))).collect()
}

/// Lateness (µs) of every step of `program`'s speech, with the second in which it left.
fn lateness(speaker: &Speaker, program: &Program) -> Vec<(i64, f64)> {
    of_track(speaker, program.track.id)
        .iter()
        .filter_map(|(_, heard)| Some(((heard.time * 1e-6) as i64, heard.late(begin(program), DURATION)?)))
        .collect()
}

/// Steps add up, content is played once and in order, gains go on where they were.
fn assert_contiguous(speaker: &Speaker) {
    let mut at: Option<f64> = None;
    let mut next: std::collections::BTreeMap<Uuid, u64> = Default::default();
    for heard in &speaker.card.heard {
        let step = &heard.step;
        assert!((1..=480).contains(&step.count) && (step.ratio - 1.0).abs() <= 0.002);
        assert!((0.0..=1.0).contains(&step.gain.from) && (0.0..=1.0).contains(&step.gain.to));
        // Only what the device inserted comes between.
        let gap = at.map_or(0.0, |at| step.at - at);
        assert!(gap.fract().abs() < 1e-3 || gap.fract().abs() > 0.999, "a gap of {gap} frames");
        at = Some(step.at + f64::from(step.count) * step.ratio);
        if let Content::Sound { track, .. } | Content::Conceal { track, .. } = &step.content {
            let sample = heard.sample(DURATION).unwrap();
            let next = next.entry(*track).or_default();
            assert!(sample >= *next, "sample {sample} after {next}");
            *next = sample + u64::from(step.count);
            assert!(sample % u64::from(DURATION) + u64::from(step.count) <= u64::from(DURATION), "within one packet");
        }
    }
}

fn ended(speaker: &Speaker, program: &Program) -> Vec<bool> {
    let ours = |event: &Event| match event {
        Event::Ended { broadcast, whole, .. } if *broadcast == program.broadcast => Some(*whole),
        _ => None,
    };
    speaker.events.iter().filter_map(ours).collect()
}

/// Largest difference of two speakers by second.
fn apart(one: &Speaker, other: &Speaker, program: &Program) -> Vec<(i64, f64)> {
    let by_second = |speaker| lateness(speaker, program).into_iter().collect::<std::collections::BTreeMap<_, _>>();
    let other = by_second(other);
    by_second(one).into_iter().filter_map(|(second, late)| Some((second, (late - other.get(&second)?).abs()))).collect()
}

#[test]
fn a_track_begins_at_its_first_sample_and_ends_whole() {
    for seed in 0..10 {
        let mut world = World::new(seed);
        let mut speakers = [Speaker::near(&mut world, 0)];
        let program = program(1, Priority::Normal, 1_000_000, Some(4));
        play(&mut world, &mut speakers, &program, (0, 5_000_000));
        let [speaker] = &speakers;
        let heard = of_track(speaker, program.track.id);
        assert_eq!(heard[0].0, 0);
        // One sample for the start, the rest for two clocks that are two seconds old.
        assert!(heard[0].1.late(begin(&program), DURATION).unwrap().abs() < 21.0 + 600.0);
        assert_eq!(heard.iter().map(|(_, heard)| heard.step.count).sum::<u32>(), 4 * DURATION);
        assert!(heard.iter().all(|(_, heard)| heard.step.gain == crate::audio::Gain { from: 1.0, to: 1.0 }));
        assert!(matches!(speaker.events[..], [Event::Began { .. }, Event::Ended { whole: true, .. }]));
        let Event::Began { at, .. } = speaker.events[0] else { unreachable!() };
        assert!((at - program.speech()).abs() <= 11, "{}", at - program.speech());
        assert_eq!(speaker.player.counters().played, 4);
        assert_eq!(speaker.player.status(speaker.local(4_999_000)).state, State::Idle);
        assert_contiguous(speaker);
    }
}

#[test]
fn two_speakers_are_in_step_across_fifty_milliseconds_of_jitter() {
    let (mut soon, mut late) = (Vec::new(), Vec::new());
    for seed in 0..4 {
        let mut world = World::new(seed);
        let mut speakers = [Speaker::new(&mut world, 0), Speaker::new(&mut world, 0)];
        speakers.iter_mut().for_each(|speaker| speaker.spacing = super::model::by_age);
        let program = program(1, Priority::Normal, 0, None);
        play(&mut world, &mut speakers, &program, (0, 330_000_000));
        for (second, apart) in apart(&speakers[0], &speakers[1], &program) {
            if second < 180 { soon.push(apart) } else { late.push(apart) }
        }
        speakers.iter().for_each(assert_contiguous);
    }
    late.sort_by(f64::total_cmp);
    assert!(soon.iter().all(|apart| *apart < 5_000.0));
    assert!(late[late.len() * 99 / 100] < 1_000.0, "{}", late[late.len() * 99 / 100]);
}

#[test]
fn drift_is_corrected_for_ten_minutes_without_a_jump() {
    let mut world = World::new(11);
    let mut speakers = [Speaker::near(&mut world, 0)];
    speakers[0].node.ppm = 100.0;
    speakers[0].card = super::model::Card::new(0, -100.0);
    let program = program(1, Priority::Normal, 0, None);
    play(&mut world, &mut speakers, &program, (0, 600_000_000));
    let [speaker] = &speakers;
    let heard = of_track(speaker, program.track.id);
    assert!(heard.windows(2).all(|pair| pair[0].0 + u64::from(pair[0].1.step.count) == pair[1].0));
    assert_eq!(speaker.player.counters().restarts + speaker.player.counters().concealed, 0);
    for (second, late) in lateness(speaker, &program) {
        let limit = if second < 30 { 1_000.0 } else { 250.0 };
        assert!(late.abs() < limit, "{late} µs late at {second} s");
    }
    assert_contiguous(speaker);
}

#[test]
fn a_late_joiner_enters_in_step_at_once_and_misses_nothing_by_that() {
    let mut world = World::new(12);
    let mut speakers = [Speaker::near(&mut world, 0), Speaker::near(&mut world, 20_000_000)];
    let program = program(1, Priority::Normal, 0, None);
    play(&mut world, &mut speakers, &program, (0, 30_000_000));
    let heard = of_track(&speakers[1], program.track.id);
    let (first, entry) = heard[0];
    assert!(first > 0 && entry.step.gain.from == 0.0 && entry.time < 20_500_000.0, "{first} at {}", entry.time);
    for (_, apart) in apart(&speakers[0], &speakers[1], &program) {
        assert!(apart < 1_000.0, "{apart}");
    }
    assert!(matches!(speakers[1].events[..], [Event::Began { .. }]));
}

#[test]
fn a_missing_packet_is_concealed_and_told_once() {
    let mut world = World::new(13);
    let mut speakers = [Speaker::near(&mut world, 0)];
    let program = program(1, Priority::Normal, 1_000_000, Some(8));
    play_with(&mut world, &mut speakers, Some(&program), (0, 6_000_000), |index| index == 3, |_, _| ());
    let [speaker] = &mut speakers;
    let lost: Vec<_> = speaker.events.iter().filter(|event| matches!(event, Event::Lost { .. })).collect();
    assert_eq!(lost, [&Event::Lost { track: program.track.id, index: 3 }]);
    let counters = speaker.player.counters();
    assert_eq!((counters.lost, counters.concealed, counters.played), (1, 24, 7));
    assert_eq!(ended(speaker, &program), [false]);
    let now = speaker.local(6_000_000);
    speaker.player.handle_sound(now, program.track.id, sound(3));
    assert_eq!(speaker.player.counters().late, 1);
    assert_contiguous(speaker);
}

#[test]
fn a_packet_that_comes_while_it_is_concealed_is_used_from_the_next_step() {
    let mut world = World::new(14);
    let mut speakers = [Speaker::near(&mut world, 0)];
    let program = program(1, Priority::Normal, 1_000_000, Some(8));
    let track = program.track.id;
    let due = begin(&program) + 3 * 240_000;
    play_with(
        &mut world,
        &mut speakers,
        Some(&program),
        (0, 6_000_000),
        |index| index == 3,
        |time, speakers| {
            if time == due {
                speakers[0].player.handle_sound(speakers[0].local(time), track, sound(3));
            }
        },
    );
    let counters = speakers[0].player.counters();
    assert_eq!((counters.lost, counters.played, counters.late), (1, 8, 0));
    assert!((8..=12).contains(&counters.concealed), "the 100 ms already planned: {}", counters.concealed);
}

#[test]
fn an_emergency_takes_over_with_its_tone_at_t0_to_the_sample() {
    let mut world = World::new(15);
    let mut speakers = [Speaker::near(&mut world, 0), Speaker::near(&mut world, 0)];
    let normal = program(1, Priority::Normal, 0, None);
    let t0 = 10_000_000;
    let mut emergency = program(2, Priority::Emergency, t0 + 2_000_000 - DELAY, Some(4));
    emergency.tone = Some(Tone { at: world_civil(t0), which: 1, duration: 2_000_000 });
    play(&mut world, &mut speakers, &normal, (0, t0 - Player::LEAD));
    // The second learns of it 700 ms after T0.
    let (first, second) = speakers.split_at_mut(1);
    play(&mut world, first, &emergency, (t0 - Player::LEAD, t0 + 5_000_000));
    play(&mut world, second, &normal, (t0 - Player::LEAD, t0 + 700_000));
    play(&mut world, second, &emergency, (t0 + 700_000, t0 + 5_000_000));
    for (speaker, on_time) in [(&speakers[0], true), (&speakers[1], false)] {
        let tones: Vec<_> =
            speaker.card.heard.iter().filter(|heard| matches!(heard.step.content, Content::Tone { .. })).collect();
        assert!(tones.iter().all(|tone| tone.late(t0, DURATION).unwrap().abs() < 200.0));
        assert_eq!(tones[0].sample(DURATION) == Some(0), on_time);
        assert_eq!(
            tones.last().unwrap().sample(DURATION).unwrap() + u64::from(tones.last().unwrap().step.count),
            96_000
        );
        // The normal programme has faded out entirely, 0 to 10 ms before the tone or at once.
        let (_, last) = *of_track(speaker, normal.track.id).last().unwrap();
        assert_eq!(last.step.gain.to, 0.0);
        assert!(tones[0].time - last.time < 22_000.0, "{}", tones[0].time - last.time);
        assert_eq!(of_track(speaker, emergency.track.id)[0].0, 0);
        assert_eq!((ended(speaker, &normal), ended(speaker, &emergency)), (vec![false], vec![true]));
        assert_contiguous(speaker);
    }
}

#[test]
fn a_track_that_was_interrupted_is_rejoined_where_it_is_by_then() {
    let mut world = World::new(16);
    let mut speakers = [Speaker::near(&mut world, 0)];
    let normal = program(1, Priority::Normal, 0, None);
    let urgent = program(2, Priority::Priority, 3_000_000, Some(8));
    play(&mut world, &mut speakers, &normal, (0, 4_000_000 - Player::LEAD));
    play(&mut world, &mut speakers, &urgent, (4_000_000 - Player::LEAD, 5_920_000 - Player::LEAD));
    play(&mut world, &mut speakers, &normal, (5_920_000 - Player::LEAD, 8_000_000));
    let [speaker] = &speakers;
    assert_eq!((ended(speaker, &normal), ended(speaker, &urgent)), (vec![false], vec![true]));
    assert!(lateness(speaker, &normal).iter().all(|(_, late)| late.abs() < 700.0));
    assert!(of_track(speaker, normal.track.id).last().unwrap().1.time > 7_900_000.0);
    assert_contiguous(speaker);
}

#[test]
fn what_is_stopped_fades_out_within_the_horizon_and_the_fade() {
    let mut world = World::new(17);
    let mut speakers = [Speaker::near(&mut world, 0)];
    let program = program(1, Priority::Normal, 0, None);
    play(&mut world, &mut speakers, &program, (0, 4_000_000));
    play_with(&mut world, &mut speakers, None, (4_000_000, 5_000_000), |_| false, |_, _| ());
    let [speaker] = &speakers;
    let (_, last) = *of_track(speaker, program.track.id).last().unwrap();
    assert!(last.step.gain.to == 0.0 && last.time < 4_170_000.0, "{}", last.time);
    assert_eq!(ended(speaker, &program), [false]);
    assert_eq!(speaker.player.status(speaker.local(5_000_000)).state, State::Idle);
    assert_eq!(speaker.card.report(&speaker.node, 5_000_000, 0).inserted, 240, "the device always had a step");
}

#[test]
fn a_live_track_ends_whole_at_until_plus_delay() {
    let mut world = World::new(18);
    let mut speakers = [Speaker::near(&mut world, 0)];
    let mut program = program(1, Priority::Normal, 1_000_000, None);
    program.until = world_civil(4_000_000);
    play(&mut world, &mut speakers, &program, (0, 5_000_000 - Player::LEAD));
    play_with(&mut world, &mut speakers, None, (5_000_000 - Player::LEAD, 6_000_000), |_| false, |_, _| ());
    let [speaker] = &speakers;
    let (_, last) = *of_track(speaker, program.track.id).last().unwrap();
    assert!((5_000_000.0..5_090_000.0).contains(&last.time) && last.step.gain.to == 0.0, "{}", last.time);
    assert_eq!(ended(speaker, &program), [true]);
}

#[test]
fn a_clock_set_by_a_tenth_of_a_second_restarts_with_a_fade_and_repeats_nothing() {
    for shift in [100_000, -100_000] {
        let mut world = World::new(19);
        let mut speakers = [Speaker::near(&mut world, 0)];
        let program = program(1, Priority::Normal, 0, None);
        play(&mut world, &mut speakers, &program, (0, 5_000_000));
        speakers[0].shift = shift;
        play(&mut world, &mut speakers, &program, (5_000_000, 8_000_000));
        let [speaker] = &speakers;
        let restarts: Vec<_> = speaker.events.iter().filter(|event| matches!(event, Event::Restarted { .. })).collect();
        let [Event::Restarted { error }] = restarts[..] else { panic!("{restarts:?}") };
        assert!((error - shift).abs() < 1_500, "{error}");
        assert!(speaker.card.heard.iter().any(|heard| heard.step.gain.to == 0.0));
        for (second, late) in lateness(speaker, &program) {
            let late = if second < 6 { continue } else { late + shift as f64 };
            assert!(late.abs() < 1_000.0, "{late} at {second}");
        }
        assert_contiguous(speaker);
    }
}

#[test]
fn sixteen_milliseconds_are_corrected_by_resampling_alone() {
    for shift in [16_000, -16_000] {
        let mut world = World::new(20);
        let mut speakers = [Speaker::near(&mut world, 0)];
        let program = program(1, Priority::Normal, 0, None);
        play(&mut world, &mut speakers, &program, (0, 5_000_000));
        speakers[0].shift = shift;
        play(&mut world, &mut speakers, &program, (5_000_000, 50_000_000));
        let [speaker] = &speakers;
        assert_eq!(speaker.player.counters().restarts, 0);
        let heard = of_track(speaker, program.track.id);
        assert!(heard.windows(2).all(|pair| pair[0].0 + u64::from(pair[0].1.step.count) == pair[1].0));
        let (_, last) = *lateness(speaker, &program).last().unwrap();
        assert!((last + shift as f64).abs() < 250.0, "{last}");
        assert!(speaker.player.status(speaker.local(50_000_000)).offset.abs() < 250);
    }
}

#[test]
fn a_sound_thread_that_starved_is_back_in_step() {
    let mut world = World::new(21);
    let mut speakers = [Speaker::near(&mut world, 0)];
    let program = program(1, Priority::Normal, 0, None);
    play(&mut world, &mut speakers, &program, (0, 5_000_000));
    // Nobody wakes the player for 400 ms; the device fills in.
    speakers[0].card.advance(5_400_000);
    play(&mut world, &mut speakers, &program, (5_400_000, 9_000_000));
    let [speaker] = &speakers;
    for (second, late) in lateness(speaker, &program) {
        assert!(second == 5 || late.abs() < 1_000.0, "{late} at {second}");
    }
    assert!(speaker.player.counters().restarts >= 1);
    assert_contiguous(speaker);
}

#[test]
fn a_device_opened_anew_gets_steps_again() {
    let mut world = World::new(22);
    let mut speakers = [Speaker::near(&mut world, 0)];
    let program = program(1, Priority::Normal, 0, None);
    play(&mut world, &mut speakers, &program, (0, 5_000_000));
    let steps = speakers[0].card.report(&speakers[0].node, 5_000_000, 0).steps;
    let queued = speakers[0].player.counters().steps;
    speakers[0].card = super::model::Card::resumed(5_000_000, 20.0, queued);
    assert!(steps <= queued);
    play(&mut world, &mut speakers, &program, (5_000_000, 12_000_000));
    let late = lateness(&speakers[0], &program);
    assert!(late.iter().all(|(second, late)| *second < 8 || late.abs() < 1_000.0));
    assert!(late.last().unwrap().0 >= 11);
}

#[test]
fn a_player_wants_three_seconds_and_refuses_what_is_far_ahead() {
    let mut world = World::new(23);
    let mut speakers = [Speaker::near(&mut world, 0)];
    let program = program(1, Priority::Normal, 0, Some(1_000));
    play_with(&mut world, &mut speakers, Some(&program), (0, 900_000), |_| true, |_, _| ());
    let [speaker] = &mut speakers;
    let (now, track) = (speaker.local(900_000), program.track.id);
    assert_eq!(speaker.player.needed(now, track), Some(0));
    // At 1.0 s (900 ms and the horizon) sample 0 is due: 3 s are 12.5 packets.
    let wanted = speaker.player.wants(now, track).unwrap();
    assert!(wanted.start == 0 && (12..=13).contains(&wanted.end), "{wanted:?}");
    assert_eq!(speaker.player.wants(now, Uuid::from_u128(9)), None);
    speaker.player.handle_sound(now, track, sound(320));
    assert_eq!(speaker.player.counters().dropped, 1);
    speaker.player.handle_sound(now, track, sound(0));
    assert_eq!(speaker.player.wants(now, track).unwrap().start, 1);
    assert_eq!(speaker.player.status(now).state, State::Buffering);
}

#[test]
fn without_a_phase_the_device_gets_silence() {
    let mut world = World::new(24);
    let mut speakers = [Speaker::near(&mut world, 0)];
    speakers[0].spacing = |_, _| i64::MAX / 2;
    play(&mut world, &mut speakers, &program(1, Priority::Normal, 0, None), (0, 1_000_000));
    let [speaker] = &speakers;
    assert_eq!(speaker.player.status(speaker.local(1_000_000)).state, State::Joining);
    assert!(speaker.card.heard.len() > 90);
    assert!(speaker.card.heard.iter().all(|heard| matches!(heard.step.content, Content::Silence)));
    assert_eq!(speaker.player.needed(speaker.local(1_000_000), Uuid::from_u128(101)), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn whatever_arrives_the_plan_is_contiguous_and_plays_each_sample_once(
        seed in any::<u64>(),
        lost in prop::collection::btree_set(0_u64..20, 0..12),
        strays in prop::collection::vec((0..5_000_i64, 0..30_u64, 0..3_u128), 0..60),
        switches in prop::collection::vec((0..5_000_i64, 0..3_u128), 0..6),
        shifts in prop::collection::vec((1_000..5_000_i64, -200_000..200_000_i64), 0..3),
        stalls in prop::collection::vec((1_000..5_000_i64, 0..300_i64), 0..2),
    ) {
        let mut world = World::new(seed);
        let mut speaker = Speaker::near(&mut world, 0);
        let programs = [
            None,
            Some(program(1, Priority::Normal, -500_000, Some(14))),
            Some(program(2, Priority::Priority, 700_000, None)),
        ];
        let mut chosen = 1;
        let mut asleep = 0;
        for time in (0..6_000_000).step_by(TICK as usize) {
            let tick = |millisecond: i64| millisecond / 5 == time / TICK;
            let now = speaker.local(time);
            for (_, which) in switches.iter().filter(|(at, _)| tick(*at)) {
                chosen = *which as usize;
            }
            for (_, shift) in shifts.iter().filter(|(at, _)| tick(*at)) {
                speaker.shift = *shift;
            }
            for (_, length) in stalls.iter().filter(|(at, _)| tick(*at)) {
                asleep = time + length * 1_000;
            }
            for (_, index, which) in strays.iter().filter(|(at, ..)| tick(*at)) {
                speaker.player.handle_sound(now, Uuid::from_u128(which + 101), sound(*index));
            }
            speaker.player.handle_program(now, programs[chosen].clone());
            if let Some(program) = &programs[chosen] {
                feed(&mut speaker, time, program.track.id, |index| lost.contains(&index));
            }
            if time >= asleep {
                speaker.tick(&mut world, time);
            }
        }
        assert_contiguous(&speaker);
        let counters = speaker.player.counters();
        let told = speaker.events.iter().filter(|event| matches!(event, Event::Lost { .. })).count();
        prop_assert_eq!(counters.lost, told as u64);
        prop_assert!(speaker.card.heard.len() > 400);
    }
}
