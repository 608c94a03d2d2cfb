//! What becomes of channels and of levels that no row of the table has: speech must stay speech.

use crate::made::{BULLETIN, BULLETIN_2, at_rate, specification};
use crate::measure::{Heard, correlation, hear_reader, level, played};
use loa::audio::{Options, frames_of};
use std::io::Cursor;

const RATE: u32 = 48_000;
const SAMPLES: u64 = 4 * 48_000;

fn speech() -> Vec<f32> {
    at_rate(BULLETIN_2, RATE, SAMPLES, 0.0)
}

fn other(number: u16) -> Vec<f32> {
    at_rate(BULLETIN, RATE, SAMPLES, 1.0 + 4.0 * f64::from(number))
}

fn wav(channels: &[Vec<f32>]) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut bytes, specification(RATE, channels.len() as u16)).unwrap();
    for at in 0..channels[0].len() {
        for channel in channels {
            writer.write_sample((channel[at].clamp(-1.0, 1.0) * 32_767.0).round() as i16).unwrap();
        }
    }
    writer.finalize().unwrap();
    bytes.into_inner()
}

fn hear(channels: &[Vec<f32>]) -> Heard {
    hear_reader(Cursor::new(wav(channels)), "mix.wav").unwrap()
}

fn times(sound: &[f32], factor: f32) -> Vec<f32> {
    sound.iter().map(|sample| sample * factor).collect()
}

/// In the mean of the two it would be silence.
#[test]
fn speech_whose_one_side_is_wired_upside_down_is_heard_and_reported() {
    let speech = speech();
    let heard = hear(&[speech.clone(), times(&speech, -1.0)]);
    let alike = correlation(&speech, &heard.samples, 0).abs();
    assert!(alike > 0.99, "like {alike}");
    assert!(heard.found.out_of_phase > 3.0, "{:?}", heard.found);
    let (loudness, before) = (level(&heard.samples).0, level(&speech).0);
    assert!((loudness - before).abs() < 1.0, "{loudness} LUFS of {before}");
    let open = || Ok(Cursor::new(wav(&[speech.clone(), times(&speech, -1.0)])));
    let (_, report) = frames_of(open, "mix.wav", &Options::default(), |_| {}).unwrap();
    assert!((report.out_of_phase - heard.found.out_of_phase).abs() < 1e-9, "{report:?}");
}

#[test]
fn wide_stereo_is_not_taken_for_a_wrong_cable() {
    let (speech, other) = (speech(), other(0));
    let heard = hear(&[speech.clone(), times(&other, 0.5)]);
    assert!(heard.found.out_of_phase < 0.1, "{:?}", heard.found);
    let both: Vec<f32> = speech.iter().zip(&other).map(|(a, b)| (a + 0.5 * b) / 2.0).collect();
    assert!(correlation(&both, &heard.samples, 0) > 0.995);
    let one_side = hear(&[vec![0.0; speech.len()], speech.clone()]);
    assert!(one_side.found.out_of_phase == 0.0 && correlation(&speech, &one_side.samples, 0) > 0.995);
}

/// Power of the wanted sound against that of all the rest.
fn ratio(wanted: &[f32], heard: &[f32]) -> f64 {
    let alike = correlation(wanted, heard, 0).powi(2);
    alike / (1.0 - alike).max(1e-12)
}

#[test]
fn the_centre_of_a_surround_recording_is_kept_above_what_surrounds_it() {
    let speech = speech();
    let mut channels: Vec<Vec<f32>> = (0..6).map(|number| times(&other(number), 0.7)).collect();
    channels[2] = speech.clone();
    let average: Vec<f32> =
        (0..speech.len()).map(|at| channels.iter().map(|channel| channel[at]).sum::<f32>() / 6.0).collect();
    let (ours, plain) = (ratio(&speech, &hear(&channels).samples), ratio(&speech, &average));
    assert!(ours > 2.0 * plain, "speech to the rest {ours:.2}, by plain averaging {plain:.2}");
}

#[test]
fn a_rumbling_subwoofer_is_left_out() {
    let speech = speech();
    let rumble: Vec<f32> =
        (0..speech.len()).map(|at| (at as f32 * 40.0 / 48_000.0 * std::f32::consts::TAU).sin() * 0.9).collect();
    let silence = vec![0.0; speech.len()];
    let heard = hear(&[silence.clone(), silence.clone(), speech.clone(), rumble, silence.clone(), silence]);
    let alike = correlation(&speech, &heard.samples, 0);
    assert!(alike > 0.995, "like {alike}");
}

/// Soft recordings, clipped ones, and ones whose peaks stand far above the rest: all leave equally loud, and none
/// overshoots.
#[test]
fn every_recording_leaves_equally_loud_and_below_the_true_peak_allowed() {
    let speech = speech();
    let power = |exponent: f32| -> Vec<f32> {
        speech.iter().map(|sample| sample.signum() * (sample.abs() / 0.75).powf(exponent)).collect()
    };
    let recordings = [
        ("as it is", speech.clone()),
        ("40 dB softer", times(&speech, 0.01)),
        ("clipped", times(&speech, 8.0)),
        ("peaky", power(1.4)),
        ("very peaky", power(1.8)),
    ];
    let mut faults = Vec::new();
    for (name, sound) in recordings {
        let bytes = wav(&[sound]);
        let options = Options::default();
        let (frames, report) = frames_of(|| Ok(Cursor::new(bytes.clone())), name, &options, |_| {}).unwrap();
        let (loudness, peak) = level(&played(&frames[0]));
        let (before, after) = (report.before, report.after);
        println!(
            "{name:<14} {before:?} → {after:?}, limited {:.2} dB, played {loudness:.2} LUFS, {peak:.2} dBTP",
            report.limited
        );
        if (loudness + 16.0).abs() > 0.5 || after.true_peak.is_none_or(|peak| peak > -1.495) || peak > 0.0 {
            faults.push(format!("{name}: {loudness:.2} LUFS, {peak:.2} dBTP after {report:?}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
