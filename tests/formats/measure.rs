//! What a decoder made of a file: its length, its place, how like the original, how loud.

use ebur128::{EbuR128, Mode};
use loa::audio::{Error, FRAME, Facts, Found, Frames, Input, LOOKAHEAD, Source, decode, join};
use loa::time::Civil;
use loa::track::Sound;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

pub struct Heard {
    pub samples: Vec<f32>,
    pub facts: Facts,
    pub found: Found,
}

/// All of a file.
pub fn hear(path: &Path, name: &str) -> Result<Heard, Error> {
    hear_reader(File::open(path).unwrap(), name)
}

pub fn hear_reader<R: Read + Seek + Send + Sync + 'static>(reader: R, name: &str) -> Result<Heard, Error> {
    hear_input(Source::open(reader, name)?)
}

pub fn hear_input(mut source: impl Input) -> Result<Heard, Error> {
    let mut samples = Vec::new();
    while source.read(&mut samples)? {}
    Ok(Heard { samples, facts: source.facts().clone(), found: source.found().clone() })
}

/// How much sound comes, none of it kept.
pub fn count<R: Read + Seek + Send + Sync + 'static>(reader: R, name: &str) -> Result<(u64, Found), Error> {
    let mut source = Source::open(reader, name)?;
    let (mut block, mut samples) = (Vec::new(), 0);
    let mut more = true;
    while more {
        block.clear();
        more = source.read(&mut block)?;
        samples += block.len() as u64;
    }
    Ok((samples, source.found().clone()))
}

/// What a speaker makes of the frames, 240 ms a packet, from the file's first sample on.
pub fn played(frames: &Frames) -> Vec<f32> {
    let packets: Vec<Sound> = (frames.frames.chunks(12).enumerate())
        .map(|(index, frames)| Sound { index: index as u64, time: Civil(0), records: join(frames) })
        .collect();
    let mut samples = decode(packets.iter().map(Some), 12 * FRAME);
    samples.truncate(frames.frames.len() * FRAME);
    samples.split_off(LOOKAHEAD)
}

/// Integrated loudness, LUFS, and true peak, dBTP.
pub fn level(samples: &[f32]) -> (f64, f64) {
    let mut meter = EbuR128::new(1, 48_000, Mode::I | Mode::TRUE_PEAK).unwrap();
    meter.add_frames_f32(samples).unwrap();
    (meter.loudness_global().unwrap(), 20.0 * meter.true_peak(0).unwrap().log10())
}

/// How alike two sounds are, `b` shifted forward by `lag` samples: 1 for the same at any gain.
pub fn correlation(a: &[f32], b: &[f32], lag: isize) -> f64 {
    let (a, b) = match lag {
        ..0 => (a.get(lag.unsigned_abs()..).unwrap_or(&[]), b),
        _ => (a, b.get(lag.unsigned_abs()..).unwrap_or(&[])),
    };
    let (mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0);
    // In pieces, so that single precision suffices within one.
    for (a, b) in a.chunks(256).zip(b.chunks(256)) {
        let (mut of_a, mut of_b, mut of_both) = (0.0f32, 0.0f32, 0.0f32);
        for (a, b) in a.iter().zip(b) {
            (of_a, of_b, of_both) = (of_a + a * a, of_b + b * b, of_both + a * b);
        }
        (aa, bb, ab) = (aa + f64::from(of_a), bb + f64::from(of_b), ab + f64::from(of_both));
    }
    ab / (aa * bb).sqrt().max(f64::MIN_POSITIVE)
}

/// By how many samples `b` is later than `a`, of all in `lags`, and how alike they are there.
pub fn place(a: &[f32], b: &[f32], lags: std::ops::RangeInclusive<isize>) -> (isize, f64) {
    // Where the best lies among many shows at every fourth sample; a voice changes little in between.
    let rough = (*lags.start()..=*lags.end()).step_by(4).max_by(|x, y| {
        let (x, y) = (excerpt(a, b, *x), excerpt(a, b, *y));
        x.total_cmp(&y)
    });
    let rough = rough.unwrap_or(0);
    let best = (rough - 4..=rough + 4).max_by(|x, y| excerpt(a, b, *x).total_cmp(&excerpt(a, b, *y))).unwrap_or(0);
    (best, correlation(a, b, best))
}

/// Correlation over a second in the middle.
fn excerpt(a: &[f32], b: &[f32], lag: isize) -> f64 {
    let from = (a.len() / 2).saturating_sub(24_000);
    let piece = &a[from..(from + 48_000).min(a.len())];
    let to = from as isize + lag;
    match b.get(to.max(0) as usize..) {
        Some(rest) if to >= 0 => correlation(piece, &rest[..piece.len().min(rest.len())], 0),
        _ => -1.0,
    }
}
