//! A speaker without a place says its code: a tone with no track behind it.
use super::*;
use crate::audio::{code_micros, code_number};

const CODE: u32 = 42_719;
/// When it is said, true time.
const SAID: i64 = 2_000_000;

/// The code at [`SAID`] and nothing behind it.
pub(super) fn said() -> Program {
    let duration = code_micros(CODE);
    let mut program = program(1, Priority::Normal, SAID + duration - DELAY, Some(0));
    program.until = program.track.anchor;
    program.tone = Some(Tone { at: world_civil(SAID), which: code_number(CODE), duration });
    program
}

/// The steps of the code: (sample, step and time).
fn of_code(speaker: &Speaker) -> Vec<(u64, &Heard)> {
    let ours = |heard: &&Heard| matches!(heard.step.content, Content::Tone { which, .. } if which == code_number(CODE));
    speaker.card.heard.iter().filter(ours).filter_map(|heard| Some((heard.sample(DURATION)?, heard))).collect()
}

fn assert_nothing_was_missed(speaker: &Speaker) {
    let Counters { played, lost, late, concealed, dropped, restarts, .. } = speaker.player.counters();
    assert_eq!([played, lost, late, concealed, dropped, restarts], [0; 6]);
    assert!(!speaker.events.iter().any(|event| matches!(event, Event::Lost { .. } | Event::Restarted { .. })));
    assert_contiguous(speaker);
}

#[test]
fn a_code_is_said_once_at_its_time_and_is_then_over() {
    for seed in 0..10 {
        let mut world = World::new(30 + seed);
        let mut speakers = [Speaker::near(&mut world, 0)];
        let program = said();
        let end = SAID + code_micros(CODE);
        play(&mut world, &mut speakers, &program, (0, end - 500_000));
        let [speaker] = &speakers;
        let status = speaker.player.status(speaker.local(end - 500_000));
        assert_eq!((status.state, status.broadcast), (State::Sounding, Some(program.broadcast)));
        // Handed in again and again it stays over.
        play(&mut world, &mut speakers, &program, (end - 500_000, end + 20_000_000));
        let [speaker] = &speakers;
        let said = of_code(speaker);
        assert!(said[0].0 == 0 && said[0].1.late(SAID, DURATION).unwrap().abs() < 700.0);
        let all = code_micros(CODE) as u64 * 48 / 1_000;
        let mut next = 0;
        for (sample, heard) in &said {
            // The end of a tone is where the clock says; a few of its last samples may come twice.
            assert!(*sample == next || (heard.step.gain.from == 0.0 && next - sample < 48), "{sample} after {next}");
            next = sample + u64::from(heard.step.count);
        }
        assert_eq!(next, all);
        assert!(matches!(speaker.events[..], [Event::Began { .. }, Event::Ended { whole: true, .. }]));
        assert_eq!(speaker.player.status(speaker.local(end + 20_000_000)).state, State::Idle);
        assert_eq!(speaker.player.wants(speaker.local(end), program.track.id), None);
        assert_nothing_was_missed(speaker);
    }
}

#[test]
fn a_code_is_said_again_when_its_programme_names_another_time() {
    let mut world = World::new(50);
    let mut speakers = [Speaker::near(&mut world, 0)];
    let (first, minute) = (said(), 60_000_000);
    play(&mut world, &mut speakers, &first, (0, SAID + minute - Player::LEAD));
    let mut second = first.clone();
    second.tone = first.tone.map(|tone| Tone { at: tone.at + minute, ..tone });
    second.track.anchor += minute;
    second.until += minute;
    play(&mut world, &mut speakers, &second, (SAID + minute - Player::LEAD, SAID + 2 * minute));
    let [speaker] = &speakers;
    let begun: Vec<_> = of_code(speaker).into_iter().filter(|(sample, _)| *sample == 0).collect();
    let late: Vec<_> =
        [SAID, SAID + minute].iter().zip(&begun).map(|(at, (_, heard))| heard.late(*at, DURATION)).collect();
    assert!(begun.len() == 2 && late.iter().all(|late| late.unwrap().abs() < 700.0), "{late:?}");
    assert_eq!(ended(speaker, &first), [true, true]);
    assert_nothing_was_missed(speaker);
}

#[test]
fn an_emergency_takes_over_from_a_code_at_its_instant_or_at_once() {
    let t0 = 6_000_000;
    for told in [t0 - Player::LEAD, t0 + 700_000] {
        let mut world = World::new(51);
        let mut speakers = [Speaker::near(&mut world, 0)];
        let code = said();
        let mut emergency = program(2, Priority::Emergency, t0 + 2_000_000 - DELAY, Some(4));
        emergency.tone = Some(Tone { at: world_civil(t0), which: crate::audio::TONE, duration: 2_000_000 });
        play(&mut world, &mut speakers, &code, (0, told));
        play(&mut world, &mut speakers, &emergency, (told, t0 + 5_000_000));
        let [speaker] = &speakers;
        let (_, last) = *of_code(speaker).last().unwrap();
        let tone = speaker
            .card
            .heard
            .iter()
            .find(|heard| matches!(heard.step.content, Content::Tone { which: crate::audio::TONE, .. }));
        let tone = tone.unwrap();
        assert!(tone.late(t0, DURATION).unwrap().abs() < 200.0);
        assert_eq!(tone.sample(DURATION) == Some(0), told < t0);
        // Told late, it begins after the horizon and the fade.
        assert!(tone.time < (t0.max(told) + 170_000) as f64, "{}", tone.time);
        assert!(last.step.gain.to == 0.0 && tone.time - last.time < 22_000.0, "{}", tone.time - last.time);
        assert_eq!((ended(speaker, &code), ended(speaker, &emergency)), (vec![false], vec![true]));
        assert_eq!(of_track(speaker, emergency.track.id)[0].0, 0);
        let counters = speaker.player.counters();
        assert_eq!((counters.lost, counters.concealed, counters.played), (0, 0, 4));
        assert_contiguous(speaker);
    }
}

#[test]
fn a_code_stops_when_the_speaker_is_given_its_place() {
    for instead in [None, Some(program(2, Priority::Normal, 0, None))] {
        let mut world = World::new(52);
        let mut speakers = [Speaker::near(&mut world, 0)];
        let (code, placed) = (said(), 5_000_000);
        play(&mut world, &mut speakers, &code, (0, placed));
        play_with(&mut world, &mut speakers, instead.as_ref(), (placed, placed + 2_000_000), |_| false, |_, _| ());
        let [speaker] = &speakers;
        let (_, last) = *of_code(speaker).last().unwrap();
        assert!(last.step.gain.to == 0.0 && last.time < (placed + 170_000) as f64, "{}", last.time);
        assert_eq!(ended(speaker, &code), [false]);
        let after = speaker.player.status(speaker.local(placed + 2_000_000)).broadcast;
        assert_eq!(after, instead.map(|program| program.broadcast));
        assert_eq!(speaker.player.counters().lost, 0);
        assert_contiguous(speaker);
    }
}
