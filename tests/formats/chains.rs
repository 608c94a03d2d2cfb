//! Ogg streams one behind the other (RFC 3533 §4), as net radios record them, each with its own rate, channels and
//! even codec.

use crate::made::{Plain, Step};
use crate::measure::{hear_reader, place};
use std::fs;
use std::io::Cursor;

fn vorbis(rate: u32, channels: u16) -> (Plain, Vec<u8>) {
    let plain = Plain::new(rate, channels);
    let path = plain.through(&[Step::run("oggenc", "-Q -q 5 -s 21 -o OUT IN")], "ogg");
    (plain, fs::read(path).unwrap())
}

fn opus(rate: u32, channels: u16) -> (Plain, Vec<u8>) {
    let plain = Plain::new(rate, channels);
    let path = plain.through(&[Step::run("opusenc", "--quiet --serial 22 IN OUT")], "opus");
    (plain, fs::read(path).unwrap())
}

#[test]
fn a_chain_may_change_rate_channels_and_codec_at_each_link() {
    let chains = [
        ("vorbis 44.1 stereo, 22.05 mono", [vorbis(44_100, 2), vorbis(22_050, 1)]),
        ("vorbis 8 mono, 48 of six", [vorbis(8_000, 1), vorbis(48_000, 6)]),
        ("opus stereo, mono", [opus(48_000, 2), opus(48_000, 1)]),
        ("vorbis, opus", [vorbis(44_100, 1), opus(44_100, 2)]),
        ("the same twice, with the same serial number", [opus(48_000, 1), opus(48_000, 1)]),
    ];
    let mut faults = Vec::new();
    for (name, [(first, one), (second, two)]) in chains {
        let heard = match hear_reader(Cursor::new([one, two].concat()), "chain.ogg") {
            Ok(heard) => heard,
            Err(error) => {
                faults.push(format!("{name}: {error}"));
                continue;
            }
        };
        let longer = heard.samples.len() as f64 - first.length() - second.length();
        let (begin, end) = heard.samples.split_at(heard.samples.len().min(first.length() as usize));
        let parts = [place(&first.expected(), begin, -96..=96), place(&second.expected(), end, -96..=96)];
        let well = parts.iter().all(|(lag, alike)| lag.abs() <= 48 && *alike >= 0.97);
        if longer.abs() > 96.0 || !well || !heard.found.damage.is_empty() {
            faults.push(format!("{name}: {longer:+} samples, {parts:?}, {:?}", heard.found.damage));
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
