//! What a speaker plays is what an offline decoder makes of the same packets, wherever the plan puts
//! it: with loss, after a jump, and at a sound card's own rate.
use loa::audio::{
    Content, Gain, Options, Renderer, Step, TONE, code, code_micros, code_number, decode, frames_of, join, tone,
};
use loa::time::Civil;
use loa::track::Sound;
use proptest::prelude::*;
use std::io::Cursor;
use std::sync::{Arc, LazyLock};
use uuid::Uuid;

const TRACK: Uuid = Uuid::from_u128(1);
const STEP: usize = 480;
/// 240 ms.
const PACKET: usize = 11_520;
const STEPS: usize = PACKET / STEP;
const FULL: Gain = Gain { from: 1.0, to: 1.0 };

/// The second demo bulletin in packets of 240 ms.
static BULLETIN: LazyLock<Vec<Arc<Sound>>> = LazyLock::new(|| {
    let file = include_bytes!("../config/demo/bulletin-2.flac");
    let options = Options { complexity: 5, ..Options::default() };
    let (frames, _) = frames_of(|| Ok(Cursor::new(file)), "bulletin-2.flac", &options, |_| {}).unwrap();
    let sound = |(index, frames): (usize, &[bytes::Bytes])| {
        Arc::new(Sound { index: index as u64, time: Civil(0), records: join(frames) })
    };
    // The last packet may be shorter; whole ones only keep the arithmetic of these tests plain.
    frames[0].frames.chunks_exact(PACKET / 960).enumerate().map(sound).collect()
});

fn sound(packet: &Arc<Sound>, from: usize) -> Content {
    Content::Sound { track: TRACK, sound: packet.clone(), from: from as u32 }
}

fn conceal(index: usize, from: usize) -> Content {
    Content::Conceal { track: TRACK, index: index as u64, from: from as u32 }
}

/// Renders contents one by one; `begins` are the plan's device frames.
struct Speaker {
    renderer: Renderer,
    begins: Vec<f64>,
    ratios: Vec<f64>,
    out: Vec<f32>,
}

impl Speaker {
    fn new() -> Self {
        Self { renderer: Renderer::new(), begins: vec![0.0], ratios: Vec::new(), out: Vec::new() }
    }

    fn play(&mut self, content: Content, ratio: f64, gain: Gain) {
        let (number, at) = (self.ratios.len() as u64, self.begins[self.ratios.len()]);
        let step = Step { number, content, count: STEP as u32, ratio, gain, at };
        self.renderer.render(&step, &mut self.out);
        self.ratios.push(ratio);
        self.begins.push(at + STEP as f64 * ratio);
    }

    /// Content sample that leaves with output frame `frame`.
    fn content_at(&self, frame: usize) -> Option<f64> {
        let place = frame.checked_sub(Renderer::LATENCY)? as f64;
        let step = self.begins.partition_point(|begin| *begin <= place) - 1;
        Some((step * STEP) as f64 + (place - self.begins[step]) / self.ratios.get(step)?)
    }

    /// Correlation with `reference`, moved to each frame's own fraction of a sample, for every 250 ms
    /// that aren't silent.
    fn correlations(&self, reference: &[f32]) -> Vec<f64> {
        let mut found = Vec::new();
        for begin in (0..self.out.len()).step_by(12_000) {
            let frames = begin..(begin + 12_000).min(self.out.len());
            let pairs = frames.filter_map(|frame| {
                let expected = interpolate(reference, self.content_at(frame)?)?;
                Some((f64::from(self.out[frame]), expected))
            });
            let (mut xx, mut yy, mut xy, mut count) = (0.0, 0.0, 0.0, 0.0);
            for (x, y) in pairs {
                (xx, yy, xy, count) = (xx + x * x, yy + y * y, xy + x * y, count + 1.0);
            }
            // −50 dBFS: below lies the background between sentences.
            if count > 6_000.0 && yy / count > 1e-5 {
                found.push(xy / (xx * yy).sqrt());
            }
        }
        found
    }
}

/// Windowed sinc over 32 samples, computed by the formula: an oracle, not the code under test.
fn interpolate(samples: &[f32], at: f64) -> Option<f64> {
    let (whole, fraction) = (at.floor(), at - at.floor());
    let first = (whole as usize).checked_sub(15)?;
    let taps = samples.get(first..first + 32)?;
    if fraction < 1e-9 {
        return Some(f64::from(taps[15]));
    }
    let sine = (std::f64::consts::PI * fraction).sin() / std::f64::consts::PI;
    let sum = taps.iter().enumerate().map(|(tap, sample)| {
        let distance = fraction - (tap as f64 - 15.0);
        let window = 0.5 + 0.5 * (std::f64::consts::PI * distance / 16.5).cos();
        let sign = if tap % 2 == 1 { 1.0 } else { -1.0 };
        f64::from(*sample) * sign * sine / distance * window
    });
    Some(sum.sum())
}

fn wandering(step: usize) -> f64 {
    1.0 + 300e-6 * (step as f64 / 200.0).sin()
}

fn assert_equal(correlations: &[f64], at_least: f64) {
    assert!(correlations.len() > 20, "{} windows with sound", correlations.len());
    let worst = correlations.iter().copied().fold(1.0, f64::min);
    assert!(worst >= at_least, "worst window {worst}: {correlations:?}");
}

#[test]
fn the_offline_decode_is_what_libopus_makes_of_the_same_records() {
    let mut decoder = opus::Decoder::new(48_000, opus::Channels::Mono).unwrap();
    let mut expected = Vec::new();
    for record in BULLETIN.iter().flat_map(|sound| &sound.records) {
        let mut block = vec![0.0; 5_760];
        let count = decoder.decode_float(record, &mut block, false).unwrap();
        expected.extend_from_slice(&block[..count]);
    }
    assert_eq!(decode(BULLETIN.iter().map(|sound| Some(&**sound)), PACKET), expected);
}

#[test]
fn a_speaker_plays_what_an_offline_decoder_makes_of_the_same_packets() {
    let reference = decode(BULLETIN.iter().map(|sound| Some(&**sound)), PACKET);
    for ratio in [|_| 1.0, |_| 1.0003, |_| 0.9997, wandering] {
        let mut speaker = Speaker::new();
        for (index, packet) in BULLETIN.iter().enumerate() {
            for step in 0..STEPS {
                speaker.play(sound(packet, step * STEP), ratio(index * STEPS + step), FULL);
            }
        }
        assert_equal(&speaker.correlations(&reference), 0.9999);
    }
}

#[test]
fn lost_packets_are_concealed_as_the_offline_decoder_conceals_them() {
    let lost = |index: usize| index % 20 == 7 || index % 20 == 8;
    let packets = BULLETIN.iter().enumerate();
    let reference = decode(packets.map(|(index, sound)| (!lost(index)).then_some(&**sound)), PACKET);
    let mut speaker = Speaker::new();
    for (index, packet) in BULLETIN.iter().enumerate() {
        for step in 0..STEPS {
            let from = step * STEP;
            let content = if lost(index) { conceal(index, from) } else { sound(packet, from) };
            speaker.play(content, wandering(index * STEPS + step), FULL);
        }
    }
    assert_equal(&speaker.correlations(&reference), 0.9999);
    // 200 ms into a loss there is silence, and no longer.
    let silent = 7 * PACKET + 9_600..9 * PACKET;
    assert!(reference[silent.clone()].iter().all(|sample| *sample == 0.0));
    assert!(reference[7 * PACKET..7 * PACKET + 4_800].iter().any(|sample| *sample != 0.0));
    assert!(reference[silent.end..silent.end + PACKET].iter().any(|sample| sample.abs() > 0.01));
}

#[test]
fn who_joins_in_the_middle_of_a_packet_soon_hears_what_the_others_hear() {
    let reference = decode(BULLETIN.iter().map(|sound| Some(&**sound)), PACKET);
    let (first, from) = (5, 13 * STEP);
    let mut speaker = Speaker::new();
    for (index, packet) in BULLETIN.iter().enumerate().skip(first) {
        for step in 0..STEPS {
            if index > first || step * STEP >= from {
                speaker.play(sound(packet, step * STEP), 1.0, FULL);
            }
        }
    }
    let heard = speaker.correlations(&reference[first * PACKET + from..]);
    assert_equal(&heard[1..], 0.99);
    assert_equal(&heard[4..], 0.999);
}

#[test]
fn a_jump_back_plays_the_same_sound_again() {
    let mut speaker = Speaker::new();
    for _ in 0..2 {
        for step in 0..STEPS {
            speaker.play(sound(&BULLETIN[9], step * STEP), 1.0, FULL);
        }
    }
    let (first, second) = speaker.out[Renderer::LATENCY..].split_at(PACKET);
    let difference = first.iter().zip(second).skip(STEP).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(difference < 1e-6, "{difference}");
}

#[test]
fn a_packet_that_comes_while_it_is_concealed_goes_on_in_its_place() {
    let reference = decode(BULLETIN.iter().map(|sound| Some(&**sound)), PACKET);
    let mut speaker = Speaker::new();
    for (index, packet) in BULLETIN.iter().enumerate() {
        for step in 0..STEPS {
            let from = step * STEP;
            let late = index % 8 == 3 && step < 5;
            speaker.play(if late { conceal(index, from) } else { sound(packet, from) }, 1.0, FULL);
        }
    }
    let correlations = speaker.correlations(&reference);
    let mut sorted = correlations.clone();
    sorted.sort_by(f64::total_cmp);
    assert!(sorted[sorted.len() / 2] > 0.999, "{correlations:?}");
}

#[test]
fn the_tone_and_silence_and_gains_come_out_as_planned() {
    let mut speaker = Speaker::new();
    let samples = tone(TONE).unwrap().samples;
    for step in 0..samples.len() / STEP + 2 {
        speaker.play(Content::Tone { which: TONE, from: (step * STEP) as u64 }, 1.0, FULL);
    }
    for (at, sample) in samples.iter().enumerate() {
        assert!((speaker.out[at + Renderer::LATENCY] - sample).abs() < 2e-3, "sample {at}");
    }
    assert!(speaker.out[samples.len() + 2 * Renderer::LATENCY..].iter().all(|sample| sample.abs() < 1e-6));

    let mut speaker = Speaker::new();
    for step in 0..10 {
        let gain = Gain { from: 1.0 - step as f32 / 10.0, to: 0.9 - step as f32 / 10.0 };
        speaker.play(Content::Tone { which: TONE, from: (step * STEP) as u64 }, 1.0, gain);
    }
    for (at, sample) in samples.iter().enumerate().take(9 * STEP) {
        let expected = sample * (1.0 - at as f32 / 4_800.0);
        assert!((speaker.out[at + Renderer::LATENCY] - expected).abs() < 2e-3, "sample {at}");
    }

    let mut speaker = Speaker::new();
    speaker.play(Content::Silence, 1.0, FULL);
    speaker.play(Content::Tone { which: 99, from: u64::MAX }, 1.0, FULL);
    assert!(speaker.out.iter().all(|sample| *sample == 0.0));
}

#[test]
fn a_code_comes_out_as_it_was_recorded_whatever_sounded_before() {
    let which = code_number(42_719);
    let samples = code(which).unwrap().samples;
    assert_eq!(code_micros(42_719), samples.len() as i64 * 1_000 / 48);
    let mut speaker = Speaker::new();
    for step in 0..2 * STEPS {
        speaker.play(sound(&BULLETIN[9 + step / STEPS], step % STEPS * STEP), 1.0, FULL);
    }
    for step in 0..samples.len() / STEP + 2 {
        speaker.play(Content::Tone { which, from: (step * STEP) as u64 }, 1.0, FULL);
    }
    // Another code, and the tone, in between: each is what it is alone.
    for step in 0..100 {
        speaker.play(Content::Tone { which: code_number(999_999), from: (step * STEP) as u64 }, 1.0, FULL);
        speaker.play(Content::Tone { which: TONE, from: (step * STEP) as u64 }, 1.0, FULL);
    }
    let begin = 2 * PACKET;
    // Where the bulletin breaks off, the resampler's filter rings into the code.
    for (at, sample) in samples.iter().enumerate().skip(Renderer::LATENCY) {
        let heard = speaker.out[begin + at + Renderer::LATENCY];
        assert!((heard - sample).abs() < 5e-3, "sample {at}: {heard}, not {sample}");
    }
    let power: f64 = speaker.out[begin..begin + samples.len()].iter().map(|sample| f64::from(*sample).powi(2)).sum();
    assert!(power / samples.len() as f64 > 1e-3, "{power}");
}

#[test]
fn who_begins_in_the_middle_of_a_code_hears_it_from_there() {
    let which = code_number(42_719);
    let samples = code(which).unwrap().samples;
    for from in [100 * STEP, 400 * STEP + 7] {
        let mut speaker = Speaker::new();
        let steps = (samples.len() - from).div_ceil(STEP);
        for step in 0..steps {
            speaker.play(Content::Tone { which, from: (from + step * STEP) as u64 }, 1.0, FULL);
        }
        // A decoder that begins in the middle of a word needs some packets to come to the same state.
        let (heard, wanted) = (&speaker.out[Renderer::LATENCY..], &samples[from..]);
        let pairs = || heard.iter().zip(wanted).skip(8 * STEP).map(|(a, b)| (f64::from(*a), f64::from(*b)));
        let error: f64 = pairs().map(|(a, b)| (a - b).powi(2)).sum();
        let all: f64 = pairs().map(|(_, b)| b * b).sum();
        assert!(all > 0.0 && error < 0.01 * all, "from {from}: {error} of {all}");
    }
}

#[test]
fn output_never_exceeds_full_scale() {
    let mut speaker = Speaker::new();
    for step in 0..100 {
        let content = Content::Tone { which: TONE, from: (step * STEP) as u64 };
        speaker.play(content, 1.0, Gain { from: 50.0, to: 50.0 });
    }
    assert!(speaker.out.iter().all(|sample| sample.abs() <= 1.0));
    assert!(speaker.out.iter().any(|sample| sample.abs() > 0.99));
}

/// Steps such as no honest player would plan.
fn any_step() -> impl Strategy<Value = Step> {
    let record = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200).prop_map(bytes::Bytes::from),
        (0usize..20, 0usize..2, 0usize..200, any::<u8>()).prop_map(|(packet, record, place, value)| {
            let mut bytes = BULLETIN[packet].records[record % BULLETIN[packet].records.len()].to_vec();
            let place = place % bytes.len();
            bytes[place] = value;
            bytes.into()
        }),
    ];
    let index = || prop_oneof![0u64..4, Just(u64::MAX), any::<u64>()];
    let from = || prop_oneof![(0u32..24).prop_map(|step| step * 480), any::<u32>()];
    let content = prop_oneof![
        Just(Content::Silence),
        (any::<u32>(), any::<u64>()).prop_map(|(which, from)| Content::Tone { which: which % 3, from }),
        (any::<u32>(), 0..800_000u64)
            .prop_map(|(code, from)| Content::Tone { which: code_number(code % 1_000_010), from }),
        (0u128..2, index(), from(), prop::collection::vec(record, 0..5)).prop_map(|(track, index, from, records)| {
            let sound = Arc::new(Sound { index, time: Civil(0), records });
            Content::Sound { track: Uuid::from_u128(track), sound, from }
        }),
        (0u128..2, index(), from())
            .prop_map(|(track, index, from)| { Content::Conceal { track: Uuid::from_u128(track), index, from } }),
    ];
    let count = prop_oneof![9 => Just(480u32), 1 => any::<u32>()];
    let ratio = prop_oneof![9 => 0.998..1.002, 1 => any::<f64>()];
    let gain = || prop_oneof![0.0..=1.0f32, any::<f32>()];
    (content, count, ratio, gain(), gain()).prop_map(|(content, count, ratio, from, to)| Step {
        number: 0,
        content,
        count,
        ratio,
        gain: Gain { from, to },
        at: 0.0,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_plan_and_no_record_makes_the_renderer_panic_or_shout(steps in prop::collection::vec(any_step(), 1..20)) {
        let mut renderer = Renderer::new();
        let mut out = Vec::new();
        for step in &steps {
            let before = out.len();
            renderer.render(step, &mut out);
            let expected = f64::from(step.count.min(23_040));
            prop_assert!(((out.len() - before) as f64 - expected).abs() <= expected * 0.006 + 2.0);
        }
        prop_assert!(out.iter().all(|sample| sample.abs() <= 1.0));
    }
}

/// The attention tone, each step with a gain of its own.
fn tone_with(gains: impl Iterator<Item = Gain>, ratio: f64) -> Vec<f32> {
    let mut speaker = Speaker::new();
    for (step, gain) in gains.enumerate() {
        speaker.play(Content::Tone { which: TONE, from: (step * STEP) as u64 }, ratio, gain);
    }
    speaker.out
}

fn largest_step(samples: &[f32]) -> f32 {
    samples.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max)
}

/// Gains of a step each: full, down to nothing in five steps of 10 ms, nothing, and up again.
fn muted_for_a_while(step: usize) -> Gain {
    let at = |step: usize| match step {
        0..50 => 1.0,
        50..55 => 1.0 - (step - 50) as f32 / 5.0,
        55..80 => 0.0,
        80..85 => (step - 80) as f32 / 5.0,
        _ => 1.0,
    };
    Gain { from: at(step), to: at(step + 1) }
}

#[test]
fn a_mute_that_comes_and_goes_in_fifty_milliseconds_does_not_click() {
    for ratio in [1.0, 0.9995] {
        let full = tone_with((0..120).map(|_| FULL), ratio);
        let ramped = tone_with((0..120).map(muted_for_a_while), ratio);
        // 50 ms from full to nothing are 1 / 2,400 a sample.
        let allowed = largest_step(&full) + 1.0 / 2_400.0;
        assert!(largest_step(&ramped) <= allowed, "{} of {allowed}", largest_step(&ramped));
        let silent = &ramped[55 * STEP + 2 * Renderer::LATENCY..80 * STEP - Renderer::LATENCY];
        assert!(silent.iter().all(|sample| sample.abs() < 1e-6));
        // What a mute without a ramp would do, at the worst of many instants.
        let cut = |at: usize| tone_with((0..120).map(move |step| if step < at { FULL } else { SILENT }), ratio);
        let worst = (40..80).map(|at| largest_step(&cut(at))).fold(0.0, f32::max);
        assert!(worst > 1.5 * allowed, "{worst} of {allowed}: this would hear a click");
    }
}

#[test]
fn a_volume_is_applied_sample_by_sample() {
    let full = tone_with((0..120).map(|_| FULL), 1.0);
    let ramped = tone_with((0..120).map(muted_for_a_while), 1.0);
    let gain = |frame: usize| {
        let sample = frame.saturating_sub(Renderer::LATENCY);
        let (step, within) = (sample / STEP, (sample % STEP) as f32 / STEP as f32);
        let Gain { from, to } = muted_for_a_while(step);
        from + (to - from) * within
    };
    // The device's filter spreads a sample over its neighbours, among which the gain differs by thousandths.
    let furthest = (0..full.len()).map(|at| (ramped[at] - full[at] * gain(at)).abs()).fold(0.0, f32::max);
    assert!(furthest < 0.004, "{furthest}");
    let quiet = Gain { from: 0.25, to: 0.25 };
    let quarter = tone_with((0..120).map(|_| quiet), 1.0);
    let furthest = full.iter().zip(&quarter).map(|(full, quarter)| (full * 0.25 - quarter).abs()).fold(0.0, f32::max);
    assert!(furthest < 1e-5, "{furthest}");
}

const SILENT: Gain = Gain { from: 0.0, to: 0.0 };
