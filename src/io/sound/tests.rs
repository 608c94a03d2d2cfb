use super::card::LONGEST_GAP;
use super::sink::FLUSH;
use super::*;
use crate::audio::{Content, Gain};

fn step(number: u64, content: Content, ratio: f64) -> Step {
    Step { number, content, count: 480, ratio, gain: Gain { from: 1.0, to: 1.0 }, at: 0.0 }
}

fn tone(number: u64) -> Step {
    step(number, Content::Tone { which: crate::audio::TONE, from: number * 480 }, 1.0)
}

#[test]
fn the_card_lets_out_what_its_own_clock_says_and_fills_gaps_with_silence() {
    let mut card = Card::new(Local(0), 100.0);
    let (mut out, mut number) = (Vec::new(), 0);
    card.advance(Local(SECOND / 100), &mut out, || None);
    assert_eq!((out.len(), card.feed.inserted), (480, 480));
    for at in 1..=100 {
        card.advance(Local(at * SECOND / 10), &mut out, || {
            number += 1;
            Some(tone(number - 1))
        });
    }
    assert_eq!(out.len(), 480_048);
    assert_eq!(card.feed.inserted, 480);
    let report = card.report(Local(10 * SECOND));
    assert!((report.played - 480_048.0).abs() < 1e-6);
    assert_eq!(report.steps, number);
}

#[test]
fn frame_p_of_the_plan_is_frame_p_of_the_device() {
    let mut card = Card::new(Local(0), 0.0);
    let (mut out, mut number) = (Vec::new(), 0);
    card.advance(Local(SECOND), &mut out, || {
        number += 1;
        Some(tone(number - 1))
    });
    let tone = crate::audio::tone(crate::audio::TONE).unwrap().samples;
    let error =
        |shift: usize| -> f64 { (4_800..43_000).map(|at| f64::from(out[at + shift] - tone[at]).powi(2)).sum::<f64>() };
    assert!(error(0) < error(1) / 10.0, "{} {}", error(0), error(1));
}

#[test]
fn steps_are_logged_with_the_fractional_instant_at_which_they_leave() {
    let mut card = Card::new(Local(1_000), -200.0);
    let (mut out, mut number) = (Vec::new(), 0);
    // The first step comes 10 frames late: 10 frames of silence were inserted before it.
    card.advance(Local(1_000 + 209), &mut out, || None);
    assert_eq!(card.feed.inserted, 10);
    card.advance(Local(1_000 + SECOND), &mut out, || {
        number += 1;
        Some(step(number - 1, Content::Tone { which: crate::audio::TONE, from: (number - 1) * 480 }, 1.000_5))
    });
    assert!(card.feed.played.len() >= 99, "{}", card.feed.played.len());
    for (at, played) in card.feed.played.iter().enumerate() {
        let frame = 10.0 + at as f64 * 480.0 * 1.000_5;
        let left = 1_000.0 + frame / (0.048 * (1.0 - 200e-6));
        assert!((played.left - left).abs() < 1e-3, "step {at}: {} {left}", played.left);
        assert_eq!((played.sample, played.count, played.track), (at as u64 * 480, 480, None));
    }
}

#[test]
fn a_card_that_was_held_up_for_hours_does_not_fill_memory() {
    let mut card = Card::new(Local(0), 0.0);
    let mut out = Vec::new();
    card.advance(Local(3_600 * SECOND), &mut out, || None);
    assert_eq!(out.len(), LONGEST_GAP);
    assert_eq!((card.feed.out, card.feed.inserted), (172_800_000, 172_800_000));
}

#[test]
fn a_file_is_readable_while_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("speakers/a.wav");
    let mut sink = Wav::create(&path).unwrap();
    assert_eq!(hound::WavReader::open(&path).unwrap().len(), 0);
    let mut said = Vec::new();
    assert!(sink.write(&[0.5; 480], sink.flushed + FLUSH, &mut said));
    assert!(sink.write(&[0.5; 480], sink.flushed, &mut said));
    assert_eq!(said, []);
    let mut reader = hound::WavReader::open(&path).unwrap();
    assert_eq!(reader.len(), 480);
    assert!(reader.samples::<i16>().all(|sample| sample.unwrap() == 16_384));
}

#[test]
fn a_file_that_cannot_be_written_is_named() {
    let error = Wav::create(Path::new("/proc/no/such.wav")).err().unwrap().to_string();
    assert!(error.contains("/proc/no/such.wav"), "{error}");
}
