use super::pace::{Pace, Steering};
use super::*;
use opus::{Channels, Decoder};
use std::f64::consts::TAU;

const PACKET: usize = 11_520;
const EVERY: i64 = 240_000;
const ANCHOR: Civil = Civil(1_800_000_000 * SECOND);

fn sine(at: usize) -> f32 {
    (TAU * 440.0 * at as f64 / 48_000.0).sin() as f32 * 0.3
}

/// A sound card whose clock runs `ppm` fast and which hands its samples over in steps.
struct Card {
    ppm: f64,
    step: usize,
    given: usize,
}

impl Card {
    /// What has come by `micros` after the beginning, beyond what came before.
    fn by(&mut self, micros: i64) -> usize {
        let captured = micros as f64 * 0.048 * (1.0 + self.ppm * 1e-6);
        let whole = (captured / self.step as f64).floor() as usize * self.step;
        let new = whole.saturating_sub(self.given);
        self.given += new;
        new
    }
}

/// The reserve, in ms, after each packet of so many seconds. Counts only: what goes through the resampler comes
/// out as many times its ratio, as its own tests show.
fn reserves(ppm: f64, step_ms: usize, seconds: i64) -> Vec<f64> {
    let mut card = Card { ppm, step: step_ms * 48, given: 0 };
    let mut steering = Steering::new(PACKET as u32);
    let (mut waiting, mut all) = (0.0, Vec::new());
    // On the air 150 ms after the first step; the first packet is due one packet later.
    let begin = step_ms as i64 * 1_000 + 150_000;
    for packet in 1..=seconds * SECOND / EVERY {
        waiting += card.by(begin + packet * EVERY) as f64 * steering.ratio - PACKET as f64;
        assert!(waiting > 480.0, "a gap after {packet} packets");
        steering.steer(Some(waiting as usize));
        all.push(waiting / 48.0);
    }
    all
}

fn span(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::MAX, 0.0), |(least, most), value| (least.min(*value), most.max(*value)))
}

#[test]
fn three_hours_of_a_clock_100_ppm_fast_leave_the_reserve_where_it_was() {
    let reserves = reserves(100.0, 125, 3 * 3_600);
    // Left alone it would have grown by 1,080 ms. It swings by the card's own steps of 125 ms.
    let (least, most) = span(&reserves);
    let (settled_least, settled_most) = span(&reserves[reserves.len() / 4..]);
    println!(
        "+100 ppm, three hours: reserve {least:.0} to {most:.0} ms, later {settled_least:.0} to {settled_most:.0}"
    );
    assert!(least > 100.0 && most < 320.0, "{least} to {most} ms");
    assert!(settled_least > 150.0 && settled_most < 295.0, "{settled_least} to {settled_most} ms");
}

#[test]
fn clocks_up_to_450_ppm_off_and_steps_up_to_half_a_second_make_no_gap() {
    for (ppm, step) in [(450.0, 20), (-450.0, 20), (-100.0, 125), (-450.0, 125), (100.0, 500), (0.0, 1)] {
        let reserves = reserves(ppm, step, 3 * 3_600);
        let (least, most) = span(&reserves[reserves.len() - 400..]);
        assert!((90.0..210.0).contains(&least), "{ppm} ppm, {step} ms: {least} ms");
        assert!(most < least + step as f64 + 10.0, "{ppm} ppm, {step} ms: {least} to {most} ms");
    }
}

#[test]
fn real_samples_are_paced_as_the_counts_are() {
    let mut card = Card { ppm: 200.0, step: 6_000, given: 0 };
    let (mut pace, mut out) = (Pace::new(PACKET as u32), Vec::new());
    let (mut steering, mut waiting) = (Steering::new(PACKET as u32), 0.0);
    for packet in 1..=250 {
        let new = card.by(275_000 + packet * EVERY);
        pace.push(&vec![0.0; new]);
        waiting += new as f64 * steering.ratio - PACKET as f64;
        out.clear();
        pace.take(PACKET, &mut out);
        pace.steer();
        steering.steer(Some(waiting as usize));
        assert!((pace.reserve() as f64 - waiting).abs() < 60.0, "{} {waiting}", pace.reserve());
    }
    assert_eq!((pace.gaps(), pace.dropped()), (0, 0));
}

#[test]
fn the_pitch_never_moves_by_more_than_500_ppm_nor_suddenly() {
    let mut card = Card { ppm: 450.0, step: 6_000, given: 0 };
    let (mut steering, mut waiting) = (Steering::new(PACKET as u32), 9_600.0);
    let mut before = 1.0;
    for packet in 1..4_000 {
        waiting += card.by(packet * EVERY) as f64 * steering.ratio - PACKET as f64;
        steering.steer(Some(waiting.max(0.0) as usize));
        assert!((steering.ratio - 1.0).abs() <= 500e-6);
        assert!((steering.ratio - before).abs() < 30e-6);
        before = steering.ratio;
    }
    assert!((before - 1.0 + 450e-6).abs() < 20e-6, "{before}");
}

/// Bends of a 440 Hz sine at this height; a click bends by far more.
fn highest_bend(samples: &[f32]) -> f32 {
    samples.windows(3).map(|three| (three[0] - 2.0 * three[1] + three[2]).abs()).fold(0.0, f32::max)
}

#[test]
fn a_stall_is_silence_of_its_own_length_without_a_click_and_sound_goes_on_behind_it() {
    let (mut pace, mut out) = (Pace::new(PACKET as u32), Vec::new());
    let mut pushed = 0;
    let mut push = |pace: &mut Pace, count: usize| {
        let samples: Vec<f32> = (pushed..pushed + count).map(sine).collect();
        pace.push(&samples);
        pushed += count;
    };
    push(&mut pace, 9_600);
    for _ in 0..10 {
        push(&mut pace, PACKET);
        pace.take(PACKET, &mut out);
    }
    for _ in 0..8 {
        pace.take(PACKET, &mut out);
    }
    assert_eq!(pace.poll_gap(), None, "it goes on");
    for _ in 0..10 {
        push(&mut pace, PACKET);
        pace.take(PACKET, &mut out);
    }
    assert_eq!(out.len(), 28 * PACKET, "the schedule holds");
    let (at, lasts) = pace.poll_gap().expect("it is over");
    // All that had come was played first; then it waited for a reserve before it went on.
    assert!((10 * PACKET + 9_500..10 * PACKET + 9_700).contains(&(at as usize)), "{at}");
    assert!((7 * PACKET..10 * PACKET).contains(&(lasts as usize)), "{lasts}");
    assert_eq!((pace.gaps(), pace.missing()), (1, lasts));
    let silent = &out[at as usize..(at + lasts) as usize];
    assert!(silent.iter().all(|sample| *sample == 0.0));
    assert!(highest_bend(&out[1_000..]) < 0.002, "{}", highest_bend(&out[1_000..]));
    // Nothing of what came was lost: it only sounds later.
    pace.finish();
    assert!((pace.content() as i64 - lasts as i64 - pushed as i64).abs() < 40, "{} {pushed}", pace.content());
}

#[test]
fn a_flood_is_held_back_and_played_at_its_own_pitch_to_the_last_sample() {
    let (mut pace, mut out) = (Pace::new(PACKET as u32), Vec::new());
    let mut pushed = 0;
    while out.len() < 60 * 48_000 {
        let room = pace.room();
        assert!(room <= 8 * 48_000);
        pace.push(&(pushed..pushed + room).map(sine).collect::<Vec<_>>());
        pushed += room;
        pace.take(PACKET, &mut out);
        pace.steer();
        assert!((pace.ratio() - 1.0).abs() < 1e-9);
    }
    assert_eq!((pace.dropped(), pace.gaps()), (0, 0));
    pace.finish();
    assert_eq!(pace.room(), 0);
    let all = pace.content() as usize;
    while out.len() < all {
        pace.take(PACKET, &mut out);
    }
    assert!(all.abs_diff(pushed) < 40, "{all} of {pushed}");
    let worst = (1_000..pushed - 1_000).map(|at| (out[at] - sine(at)).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-3, "{worst}");
    assert!(out[all..].iter().all(|sample| *sample == 0.0));
}

fn live() -> Live {
    Live::new(Options { complexity: 0, loudness: None, ..Options::default() }).unwrap()
}

/// Decodes packet after packet; a packet that was left out is silence.
fn decode(made: &[Made], rendition: usize) -> Vec<f32> {
    let mut decoder = Decoder::new(48_000, Channels::Mono).unwrap();
    let (mut all, mut next) = (Vec::new(), 0);
    for made in made {
        all.resize(all.len() + (made.index - next) as usize * PACKET, 0.0);
        next = made.index + 1;
        for frame in &made.frames[rendition] {
            let mut samples = [0.0; FRAME];
            assert_eq!(decoder.decode_float(frame, &mut samples, false).unwrap(), FRAME);
            all.extend(samples);
        }
    }
    all
}

/// Runs until `until`, every millisecond a sample's worth of `source`; gives packets with when they were made.
fn run(live: &mut Live, from: i64, until: i64, mut source: impl FnMut(i64) -> Vec<f32>) -> Vec<(i64, Made)> {
    let mut made = Vec::new();
    for millisecond in from..until {
        live.push(&source(millisecond));
        let now = ANCHOR + millisecond * 1_000;
        while let Some(packet) = live.poll_packet(now).unwrap() {
            made.push((millisecond, packet));
        }
    }
    made
}

fn speech(millisecond: i64) -> Vec<f32> {
    // Beats of 3 a second with a rising pitch: its place can be told.
    (millisecond * 48..(millisecond + 1) * 48)
        .map(|at| {
            let second = at as f64 / 48_000.0;
            let beat = (TAU * 1.5 * second).sin().powi(2);
            ((TAU * (300.0 + 20.0 * second) * second).sin() * beat * 0.3) as f32
        })
        .collect()
}

/// Milliseconds of the demonstration's bulletin.
fn voice(milliseconds: usize) -> Vec<f32> {
    let file = include_bytes!("../../../config/demo/bulletin.flac");
    let mut source = crate::audio::Source::open(std::io::Cursor::new(file), "bulletin.flac").unwrap();
    let mut samples = Vec::new();
    while samples.len() < milliseconds * 48 && crate::audio::Input::read(&mut source, &mut samples).unwrap() {}
    samples.truncate(milliseconds * 48);
    samples
}

fn correlation(a: &[f32], b: &[f32]) -> f64 {
    let sum =
        |pairs: &mut dyn Iterator<Item = (f32, f32)>| pairs.map(|(a, b)| f64::from(a) * f64::from(b)).sum::<f64>();
    let (ab, aa, bb) = (
        sum(&mut a.iter().copied().zip(b.iter().copied())),
        sum(&mut a.iter().copied().zip(a.iter().copied())),
        sum(&mut b.iter().copied().zip(b.iter().copied())),
    );
    ab / (aa * bb).sqrt().max(1e-12)
}

#[test]
fn packets_are_made_when_their_last_sample_was_spoken_and_the_last_ends_with_the_last_word() {
    // A real voice: of pure tones, the encoder loses the phase now and then.
    let spoken = voice(5_130);
    let speech = |at: i64| spoken[(at + 130) as usize * 48..(at + 131) as usize * 48].to_vec();
    let mut live = Live::new(Options { complexity: 10, loudness: None, ..Options::default() }).unwrap();
    assert!(!live.has_begun() && live.poll_timeout().is_none());
    run(&mut live, -130, -20, speech);
    assert!(live.has_begun());
    live.handle_air(ANCHOR);
    assert_eq!(live.poll_timeout(), Some(ANCHOR + EVERY));
    let mut made = run(&mut live, -20, 5_000, speech);
    for (number, (at, packet)) in (0..).zip(&made) {
        assert_eq!((packet.index, *at), (number, (number as i64 + 1) * 240));
        assert_eq!(packet.frames[0].len(), 12);
    }
    live.finish();
    let packets = live.packets().unwrap();
    assert_eq!(packets, 5_130u64.div_ceil(240));
    made.extend(run(&mut live, 5_000, 6_000, |_| Vec::new()));
    assert_eq!((made.len() as u64, live.poll_timeout()), (packets, None));
    let made: Vec<Made> = made.into_iter().map(|(_, made)| made).collect();
    let out = decode(&made, 0);
    // Steering moves the sound by some samples: each half second is sought nearby.
    let mut heard = 0;
    for window in (9_600..=spoken.len() - 24_000).step_by(12_000) {
        if spoken[window..window + 24_000].iter().map(|sample| sample * sample).sum::<f32>() < 24.0 {
            continue;
        }
        heard += 1;
        let near = (window + LOOKAHEAD - 40)..(window + LOOKAHEAD + 40);
        let alike = near.map(|at| correlation(&spoken[window..window + 24_000], &out[at..at + 24_000]));
        let best = alike.fold(f64::MIN, f64::max);
        assert!(best > 0.8, "{window}: {best}");
    }
    assert!(heard > 8, "{heard} windows with sound");
    let status = live.status();
    assert_eq!((status.gaps, status.dropped), (0, 0));
}

#[test]
fn what_is_said_during_the_tone_comes_behind_it() {
    let mut live = live();
    run(&mut live, -2_000, -1_900, speech);
    live.handle_air(ANCHOR);
    let mut made = run(&mut live, -1_900, 4_000, speech);
    live.finish();
    made.extend(run(&mut live, 4_000, 8_000, |_| Vec::new()));
    let made: Vec<Made> = made.into_iter().map(|(_, made)| made).collect();
    // Six seconds, and what the encoder looks ahead.
    assert_eq!(made.len(), 26);
    let out = decode(&made, 0);
    let spoken: Vec<f32> = (-2_000..4_000).flat_map(speech).collect();
    // From its very first words, and the last of them too; the source is slowed for nobody's sake.
    let alike = correlation(&spoken[9_600..57_600], &out[9_600 + LOOKAHEAD..57_600 + LOOKAHEAD]);
    assert!(alike > 0.85, "{alike}");
    assert_eq!(live.status().dropped, 0);
}

#[test]
fn every_rendition_is_made_of_the_same_sound() {
    let options =
        Options { bitrates: vec![16_000, 24_000, 32_000], complexity: 0, loudness: None, ..Options::default() };
    let mut live = Live::new(options).unwrap();
    run(&mut live, -200, 0, speech);
    live.handle_air(ANCHOR);
    let made: Vec<Made> = run(&mut live, 0, 3_000, speech).into_iter().map(|(_, made)| made).collect();
    let spoken: Vec<f32> = (-200..3_000).flat_map(speech).collect();
    for rendition in 0..3 {
        let out = decode(&made, rendition);
        let alike = correlation(&spoken[24_000..96_000], &out[24_000 + LOOKAHEAD..96_000 + LOOKAHEAD]);
        assert!(alike > 0.85, "{rendition}: {alike}");
    }
}

#[test]
fn silence_overload_and_a_gap_are_told_once_with_their_times() {
    let mut live = live();
    run(&mut live, -200, 0, speech);
    live.handle_air(ANCHOR);
    run(&mut live, 0, 2_000, speech);
    run(&mut live, 2_000, 14_000, |_| vec![0.0; 48]);
    run(&mut live, 14_000, 15_000, speech);
    run(&mut live, 15_000, 18_000, |_| Vec::new());
    run(&mut live, 18_000, 20_000, speech);
    run(&mut live, 20_000, 24_000, |at| {
        (at * 48..(at + 1) * 48).map(|at| (sine(at as usize) * 9.0).clamp(-1.0, 1.0)).collect()
    });
    let events: Vec<Event> = std::iter::from_fn(|| live.poll_event()).collect();
    let near = |at: Civil, second: i64| (at - ANCHOR - second * SECOND).abs() < 600_000;
    let silences = events.iter().filter(|event| matches!(event, Event::Silence { since } if near(*since, 2)));
    assert_eq!(silences.count(), 1, "{events:?}");
    assert!(events.iter().any(|event| matches!(event, Event::Sound { from } if near(*from, 14))), "{events:?}");
    let gap = |event: &&Event| matches!(event, Event::Gap { at, lasts } if near(*at, 15) && (2_500_000..3_900_000).contains(lasts));
    assert_eq!(events.iter().filter(gap).count(), 1, "{events:?}");
    assert_eq!(events.iter().filter(|event| matches!(event, Event::Overload { .. })).count(), 1, "{events:?}");
    assert!(live.status().overloaded && !live.status().silent);
}

#[test]
fn a_quiet_microphone_is_raised_slowly_and_nothing_exceeds_the_peak() {
    let quiet = |at| speech(at).into_iter().map(|sample| sample * 0.2).collect();
    let mut live = Live::new(Options { complexity: 0, ..Options::default() }).unwrap();
    run(&mut live, -200, 0, quiet);
    live.handle_air(ANCHOR);
    run(&mut live, 0, 12_000, quiet);
    assert!(live.status().gain > 6.0, "{:?}", live.status());
    let made = run(&mut live, 12_000, 14_000, speech);
    let made: Vec<Made> = made.into_iter().map(|(_, made)| made).collect();
    let loudest = decode(&made, 0).iter().fold(0.0f32, |most, sample| most.max(sample.abs()));
    assert!(loudest < 0.98, "{loudest}");
}

#[test]
fn a_machine_that_slept_makes_no_minutes_of_packets_and_loses_no_word() {
    let mut live = live();
    run(&mut live, -200, 0, speech);
    live.handle_air(ANCHOR);
    let mut made = run(&mut live, 0, 2_000, speech);
    made.extend(run(&mut live, 602_000, 602_100, speech));
    assert!(made.len() < 12, "{}", made.len());
    let last = made.last().unwrap().1.index as i64;
    assert!((last - 602_000 / 240).abs() <= 1, "{last}");
}

#[test]
fn too_little_to_be_a_source_is_none_and_a_short_word_is_one() {
    let mut none = live();
    none.push(&[0.1; 900]);
    none.finish();
    assert!(!none.has_begun());
    let mut word = live();
    word.push(&vec![0.1; 4_000]);
    assert!(!word.has_begun());
    word.finish();
    assert!(word.has_begun());
    assert_eq!(word.packets(), Some(1));
}
