//! What a loudspeaker says of itself. Its short code while it has no place yet, so that the technician below its pole
//! can read it to whoever places it: "Loa chưa có chỗ. Mã số:", then six digits, twice. And that an exercise or a test is
//! what follows: "Đây là diễn tập.", "Đây là phát thử.", each twice.
//!
//! The words were made by `tools/recordings` with the northern
//! Vietnamese voice of eSpeak NG 1.51 (`-v vi -p 58`, digits `-s 95`, sentences `-s 120`), all equally loud
//! (−18 LUFS), peaks limited, silence trimmed; Opus by FFmpeg 5.1 with libopus 1.3.1: 48 kHz mono, hard CBR at
//! 24 kb/s. They stand in `spoken.bin`, 0 to 9, the lead-in, exercise, test; integers are big-endian:
//!
//! ```text
//! +-------+-------+--------+- … -+--------+===========+===========+- …
//! | words | bytes | length |     | length |   packet  |   packet  |     packets of the first word, of the
//! |  u8   |  u8   |  u16   |     |  u16   |  `bytes`  |  `bytes`  |     second …, 20 ms each
//! +-------+-------+--------+- … -+--------+===========+===========+- …
//! |<-- 2 ------->|<---- `words` × 2 ----->|
//! ```
//!
//! A length is in steps of 10 ms. The decoder is late by [`LATE`] samples, which are left out, so a word has as many
//! packets as hold them and its length.
use super::decode::Voice;
use super::tone::Tone;
use crate::time::{RATE, micros};
use bytes::Bytes;
use uuid::Uuid;

/// The number of code 000000 among the stored sounds; the others follow. No order can name one of them
/// (`broadcast::Tone::LOCAL`).
pub const CODE: u32 = 0x0100_0000;

/// The number by which a plan names a code, 0 to 999,999. Another's is silence.
pub const fn code_number(code: u32) -> u32 {
    CODE.saturating_add(code)
}

/// The words that say that an exercise, or a test, is what follows (`broadcast::Tone::EXERCISE`, `TEST`).
pub const EXERCISE: u32 = 2;
pub const TEST: u32 = 3;

/// µs that a code lasts, whole steps of 10 ms; 0 for what is none.
pub fn code_micros(code: u32) -> i64 {
    words_micros(code_number(code))
}

/// The spoken code by its number; `None` if that is none. Decodes all of it, which a sound thread should not wait
/// for: [`super::Renderer`] decodes as it plays.
pub fn code(which: u32) -> Option<Tone> {
    code_of(which)?;
    let length: u64 = runs(which).map(|run| run.samples).sum();
    let mut samples = vec![0.0; length as usize];
    speak(which, 0, &mut Voice::new(), &mut samples);
    Some(Tone { samples })
}

/// µs that stored words or a code last, by their number; 0 for what is neither.
pub fn words_micros(which: u32) -> i64 {
    micros(runs(which).map(|run| run.samples).sum())
}

/// Fills `out` with the samples of a code, or of stored words, from `from` on; with silence behind its end, and for what
/// is neither. Decodes a packet of 20 ms at a time: in order, that costs what any speech does.
pub(super) fn speak(which: u32, from: u64, voice: &mut Voice, out: &mut [f32]) {
    let (mut begin, mut filled) = (0, 0);
    for run in runs(which) {
        if filled == out.len() {
            return;
        }
        let at = from.saturating_add(filled as u64);
        let end = begin + run.samples;
        if at < end {
            let count = (end - at).min((out.len() - filled) as u64) as usize;
            let piece = &mut out[filled..filled + count];
            match run.word {
                Some(word) => say(word, (at - begin) as usize, voice, piece),
                None => piece.fill(0.0),
            }
            filled += count;
        }
        begin = end;
    }
    out[filled..].fill(0.0);
}

/// A word or, without one, a pause.
struct Run {
    word: Option<usize>,
    samples: u64,
}

/// Word and pause by turns, a word first.
fn runs(which: u32) -> impl Iterator<Item = Run> {
    (0usize..).map_while(move |place| {
        let run = if place.is_multiple_of(2) {
            word_at(which, place / 2).map(Ok)
        } else {
            pause_at(which, place / 2).map(Err)
        };
        run.map(|run| match run {
            Ok(word) => Run { word: Some(word), samples: samples(word) as u64 },
            Err(samples) => Run { word: None, samples },
        })
    })
}

fn word_at(which: u32, place: usize) -> Option<usize> {
    match (which, place) {
        (EXERCISE, place) if place < TIMES => Some(SAYS_EXERCISE),
        (TEST, place) if place < TIMES => Some(SAYS_TEST),
        (EXERCISE | TEST, _) => None,
        (_, 0) => code_of(which).map(|_| LEAD_IN),
        (_, 1..=ALL_DIGITS) => {
            let left = (DIGITS - 1 - (place - 1) % DIGITS) as u32;
            code_of(which).map(|code| (code / 10u32.pow(left) % 10) as usize)
        }
        _ => None,
    }
}

/// Samples of silence behind the word of that place; `None` behind the last.
fn pause_at(which: u32, place: usize) -> Option<u64> {
    word_at(which, place + 1)?;
    Some(match place {
        _ if code_of(which).is_none() => ONCE_MORE,
        0 => AHEAD,
        DIGITS => AGAIN,
        _ if place.is_multiple_of(GROUP) => BETWEEN_GROUPS,
        _ => BETWEEN_DIGITS,
    })
}

fn code_of(which: u32) -> Option<u32> {
    which.checked_sub(CODE).filter(|code| *code < CODES)
}

/// Fills `out` with a word's samples from `from` on.
fn say(word: usize, from: usize, voice: &mut Voice, out: &mut [f32]) {
    // To the decoder each word is a track: it starts afresh with each.
    let track = Uuid::from_u128(word as u128);
    let mut filled = 0;
    while filled < out.len() {
        let at = from + LATE + filled;
        let count = (PACKET - at % PACKET).min(out.len() - filled);
        let piece = &mut out[filled..filled + count];
        match packet(word, at / PACKET) {
            Some(packet) => voice.sound(track, (at / PACKET) as u64, &[packet], (at % PACKET) as u32, piece),
            None => piece.fill(0.0),
        }
        filled += count;
    }
}

/// Samples of a word.
fn samples(word: usize) -> usize {
    let length = SPOKEN.get(HEADER + 2 * word..).and_then(<[u8]>::first_chunk);
    length.map_or(0, |length| usize::from(u16::from_be_bytes(*length)) * STEP)
}

fn packets(word: usize) -> usize {
    (samples(word) + LATE).div_ceil(PACKET)
}

fn packet(word: usize, index: usize) -> Option<Bytes> {
    let before: usize = (0..word).map(packets).sum();
    let begin = HEADER + 2 * WORDS + (before + index) * PACKET_BYTES;
    SPOKEN.get(begin..begin + PACKET_BYTES).map(Bytes::from_static)
}

static SPOKEN: &[u8] = include_bytes!("spoken.bin");
const HEADER: usize = 2;
const WORDS: usize = 13;
const LEAD_IN: usize = 10;
const SAYS_EXERCISE: usize = 11;
const SAYS_TEST: usize = 12;
/// 24 kb/s over 20 ms.
const PACKET_BYTES: usize = 60;
const PACKET: usize = RATE as usize / 50;
const STEP: usize = RATE as usize / 100;
/// What libopus looks ahead when it codes speech: 6.5 ms.
const LATE: usize = 312;

const CODES: u32 = 1_000_000;
const DIGITS: usize = 6;
/// A code is said twice.
const ALL_DIGITS: usize = 2 * DIGITS;
/// So often it is said that this is an exercise: who was woken by it has missed the first time.
const TIMES: usize = 2;
/// Digits said together, as telephone numbers are: three stay in mind until they are written down.
const GROUP: usize = 3;
/// Samples of silence: 150 ms part two digits whose sound comes back from the houses across the street.
const BETWEEN_DIGITS: u64 = RATE as u64 * 15 / 100;
const BETWEEN_GROUPS: u64 = RATE as u64 * 45 / 100;
/// Behind the lead-in.
const AHEAD: u64 = RATE as u64 / 2;
/// Before it is said again that this is an exercise.
const ONCE_MORE: u64 = RATE as u64 * 6 / 10;
/// Before the code is said again.
const AGAIN: u64 = RATE as u64 * 12 / 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn word(word: usize) -> Vec<f32> {
        let mut out = vec![0.0; samples(word)];
        say(word, 0, &mut Voice::new(), &mut out);
        out
    }

    fn power(samples: &[f32]) -> f64 {
        samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / samples.len() as f64
    }

    #[test]
    fn the_file_is_as_drawn_and_small() {
        assert_eq!((usize::from(SPOKEN[0]), usize::from(SPOKEN[1])), (WORDS, PACKET_BYTES));
        let all: usize = (0..WORDS).map(packets).sum();
        assert_eq!(SPOKEN.len(), HEADER + 2 * WORDS + all * PACKET_BYTES);
        assert!(SPOKEN.len() <= 60_000);
        for word in 0..WORDS {
            for index in 0..packets(word) {
                let packet = packet(word, index).unwrap();
                assert_eq!(
                    opus::packet::get_nb_samples(&packet, RATE).unwrap(),
                    PACKET,
                    "packet {index} of word {word}"
                );
            }
        }
        assert_eq!(packet(SAYS_TEST, packets(SAYS_TEST)), None);
    }

    #[test]
    fn every_word_is_whole_loud_enough_and_begins_and_ends_without_a_click() {
        for at in 0..WORDS {
            let word = word(at);
            let seconds = word.len() as f64 / f64::from(RATE);
            assert!((0.15..if at >= LEAD_IN { 5.0 } else { 1.0 }).contains(&seconds), "word {at} lasts {seconds} s");
            let level = 10.0 * power(&word).log10();
            assert!((-24.0..-15.0).contains(&level), "word {at} is at {level} dBFS");
            let peak = word.iter().fold(0.0f32, |peak, sample| peak.max(sample.abs()));
            assert!((0.5..1.0).contains(&peak), "word {at} peaks at {peak}");
            let edges = word[..48].iter().chain(&word[word.len() - 48..]);
            assert!(edges.clone().all(|sample| sample.abs() < 0.02), "word {at}");
            // Nothing is cut off, and little is silence: it sounds to within 50 ms of either end; 100 ms where a final
            // stop, as in "tập", keeps the lips closed before it is let go.
            let closed = if at == SAYS_EXERCISE { 10 } else { 5 };
            let (first, last) = (&word[..5 * STEP], &word[word.len() - closed * STEP..]);
            assert!(power(first).min(power(last)) > 1e-6, "word {at}");
        }
    }

    #[test]
    fn no_digit_sounds_as_another() {
        let words: Vec<_> = (0..LEAD_IN).map(word).collect();
        for (one, other) in (0..LEAD_IN).flat_map(|one| (0..one).map(move |other| (one, other))) {
            let pairs = || words[one].iter().zip(&words[other]).map(|(a, b)| (f64::from(*a), f64::from(*b)));
            let product: f64 = pairs().map(|(a, b)| a * b).sum();
            let both: f64 = pairs().map(|(a, _)| a * a).sum::<f64>() * pairs().map(|(_, b)| b * b).sum::<f64>();
            let alike = product / both.sqrt();
            assert!(alike.abs() < 0.7, "{one} and {other}: {alike}");
        }
    }

    #[test]
    fn a_code_is_the_lead_in_and_its_six_digits_twice() {
        let heard = code(code_number(42_719)).unwrap().samples;
        let digits: usize = [0, 4, 2, 7, 1, 9].into_iter().map(samples).sum();
        let pauses = AHEAD + AGAIN + 2 * BETWEEN_GROUPS + 8 * BETWEEN_DIGITS;
        assert_eq!(heard.len(), samples(LEAD_IN) + 2 * digits + pauses as usize);
        assert_eq!(code_micros(42_719), heard.len() as i64 * 1_000 / 48);
        assert_eq!(code_micros(42_719) % 10_000, 0);
        assert!((8_000_000..15_000_000).contains(&code_micros(42_719)), "{}", code_micros(42_719));
        let mut at = 0;
        let mut expect = |next: usize, pause: u64| {
            let expected = word(next);
            assert!(heard[at..at + expected.len()] == expected, "word {next} at {at}");
            at += expected.len();
            assert!(heard[at..at + pause as usize].iter().all(|sample| *sample == 0.0), "behind word {next}");
            at += pause as usize;
        };
        expect(LEAD_IN, AHEAD);
        for behind in [AGAIN, 0] {
            let pauses = [BETWEEN_DIGITS, BETWEEN_DIGITS, BETWEEN_GROUPS, BETWEEN_DIGITS, BETWEEN_DIGITS, behind];
            [0, 4, 2, 7, 1, 9].into_iter().zip(pauses).for_each(|(digit, pause)| expect(digit, pause));
        }
        assert_eq!(at, heard.len());
    }

    #[test]
    fn that_it_is_an_exercise_or_a_test_is_said_twice_and_differently() {
        let heard = |which| {
            let mut out = vec![1.0; (words_micros(which) * 48 / 1_000) as usize + STEP];
            speak(which, 0, &mut Voice::new(), &mut out);
            out
        };
        for (which, says) in [(EXERCISE, SAYS_EXERCISE), (TEST, SAYS_TEST)] {
            let (out, said, pause) = (heard(which), word(says), ONCE_MORE as usize);
            assert!((2_500_000..8_000_000).contains(&words_micros(which)), "{}", words_micros(which));
            assert!(out[..said.len()] == said && out[said.len() + pause..2 * said.len() + pause] == said);
            assert!(
                out[said.len()..said.len() + pause].iter().chain(&out[2 * said.len() + pause..]).all(|it| *it == 0.0)
            );
        }
        assert_ne!(word(SAYS_EXERCISE), word(SAYS_TEST));
        assert!(code(EXERCISE).is_none(), "no code");
    }

    #[test]
    fn leading_zeros_are_said_and_what_is_no_code_is_silent() {
        let zeros = code_micros(0) - code_micros(1);
        assert_eq!(zeros, 2 * (micros(samples(0) as u64) - micros(samples(1) as u64)));
        assert_eq!(code_micros(999_999) - code_micros(99_999), code_micros(900_000) - code_micros(0));
        assert!(code(code_number(999_999)).is_some());
        for none in [0, 1, 4, CODE - 1, code_number(1_000_000), code_number(u32::MAX)] {
            assert!(code(none).is_none());
            let mut out = [1.0; STEP];
            speak(none, 0, &mut Voice::new(), &mut out);
            assert_eq!(out, [0.0; STEP]);
        }
        assert_eq!((code_micros(1_000_000), code_micros(u32::MAX)), (0, 0));
    }

    #[test]
    fn in_pieces_a_code_sounds_as_it_does_whole() {
        let which = code_number(900_113);
        let whole = code(which).unwrap().samples;
        for piece in [1, STEP, 1_013] {
            let (mut voice, mut out) = (Voice::new(), vec![0.0; whole.len() + STEP]);
            for (index, out) in out.chunks_mut(piece).enumerate() {
                speak(which, (index * piece) as u64, &mut voice, out);
            }
            assert!(out[..whole.len()] == whole, "in pieces of {piece}");
            assert!(out[whole.len()..].iter().all(|sample| *sample == 0.0));
        }
        let mut out = [1.0; STEP];
        speak(which, u64::MAX, &mut Voice::new(), &mut out);
        assert_eq!(out, [0.0; STEP]);
    }
}
