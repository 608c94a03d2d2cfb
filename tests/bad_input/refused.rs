//! What can't be played at all.

use crate::made::{Plain, Step, run};
use crate::{check_refusal, find, hear_bytes, with};
use loa::audio::{Options, frames_of};
use std::io::Cursor;

/// A WAV whose header says what it is told to.
pub fn wav(tag: u16, channels: u16, rate: u32, bits: u16, claimed: u32, data: &[u8]) -> Vec<u8> {
    let block = channels.wrapping_mul(bits / 8);
    let mut bytes = b"RIFF".to_vec();
    bytes.extend(claimed.saturating_add(36).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0");
    bytes.extend(tag.to_le_bytes());
    bytes.extend(channels.to_le_bytes());
    bytes.extend(rate.to_le_bytes());
    bytes.extend(rate.wrapping_mul(block.into()).to_le_bytes());
    bytes.extend(block.to_le_bytes());
    bytes.extend(bits.to_le_bytes());
    bytes.extend(b"data");
    bytes.extend(claimed.to_le_bytes());
    bytes.extend(data);
    bytes
}

/// What ffmpeg writes with these arguments.
fn ffmpeg(arguments: &str) -> Vec<u8> {
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    run("ffmpeg", &[&["-v", "error"], &arguments[..], &["-"]].concat())
}

fn form(plain: &Plain, suffix: &str, arguments: &str) -> Vec<u8> {
    std::fs::read(plain.through(&[Step::ffmpeg(arguments)], suffix)).unwrap()
}

#[test]
fn what_holds_no_sound_is_refused_by_name_place_and_mend() {
    let plain = Plain::new(44_100, 1);
    let second = vec![1; 96_000];
    let flac = form(&plain, "flac", "-c:a flac -f flac");
    let aiff = form(&plain, "aiff", "-c:a pcm_s16be -f aiff");
    let caf = form(&plain, "caf", "-c:a pcm_s16be -f caf");
    let m4a = form(&plain, "m4a", "-c:a alac -f ipod");
    let mkv = form(&plain, "mkv", "-c:a pcm_s16le -f matroska");
    let mut flac_zero_hertz = flac.clone();
    // Twenty bits of rate at byte 18 (RFC 9639 §8.2).
    (flac_zero_hertz[18], flac_zero_hertz[19]) = (0, 0);
    flac_zero_hertz[20] &= 0x0f;
    let picture = |suffix| ffmpeg(&format!("-f lavfi -i testsrc=s=64x64:d=1 -frames:v 1 -f image2pipe -c:v {suffix}"));
    let video = ffmpeg("-f lavfi -i testsrc=s=64x64:d=1 -c:v mpeg4 -movflags frag_keyframe+empty_moov -f mp4");
    let film = ffmpeg("-f lavfi -i testsrc=s=64x64:d=1 -c:v mpeg4 -f matroska");
    // 300 and 0 at COMM's channels, and a rate of ten bytes of zeros (AIFF 1.3, "Common Chunk").
    let common = find(&aiff, b"COMM") + 8;
    let hertz = find(&caf, b"desc") + 12;
    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("nothing.wav", vec![], &["media.empty"]),
        ("nothing", vec![], &["media.empty"]),
        ("one-byte.mp3", vec![0xff], &["media.unknown_format", "media.truncated"]),
        ("header-only.wav", wav(1, 1, 48_000, 16, 0, &[]), &["media.empty"]),
        ("header-only.flac", flac[..find(&flac, &[0xff, 0xf8])].to_vec(), &["media.empty", "media.truncated"]),
        ("letter.txt", "Kính gửi ông chủ tịch xã".into(), &["media.unknown_format"]),
        ("letter.mp3", "Kính gửi ông chủ tịch xã, loa to quá. ".repeat(4_000).into(), &["media.unknown_format"]),
        ("picture.png", picture("png"), &["media.unknown_format"]),
        ("picture.jpg", picture("mjpeg"), &["media.unknown_format"]),
        ("page.html", b"<!DOCTYPE html><html><body>404 Not Found</body></html>".to_vec(), &["media.unknown_format"]),
        ("list.m3u8", b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1/a.ts\n".to_vec(), &["media.unknown_format"]),
        ("archive.zip", [&b"PK\x03\x04"[..], &[7; 4_000]].concat(), &["media.unknown_format"]),
        ("silent.mp4", video, &["media.no_sound"]),
        ("silent.mkv", film, &["media.no_sound"]),
        ("noise.bin", crate::kinds::junk(300_000), &["media.unknown_format", "media.damaged"]),
        ("zeros.bin", vec![0; 4_000_000], &["media.unknown_format"]),
        ("zeros.mp3", vec![0; 4_000_000], &["media.unknown_format"]),
        ("ones.mp3", vec![0xff; 1_000_000], &["media.unknown_format", "media.damaged", "media.truncated"]),
        ("zero-hertz.wav", wav(1, 1, 0, 16, 96_000, &second), &["media.unsupported"]),
        ("zero-hertz.flac", flac_zero_hertz, &["media.unsupported"]),
        ("zero-hertz.aiff", with(aiff.clone(), common + 8, &[0; 10]), &["media.unsupported"]),
        ("zero-hertz.caf", with(caf.clone(), hertz, &[0; 8]), &["media.unsupported"]),
        ("no-number-hertz.caf", with(caf.clone(), hertz, &f64::NAN.to_be_bytes()), &["media.unsupported"]),
        ("endless-hertz.caf", with(caf.clone(), hertz, &f64::INFINITY.to_be_bytes()), &["media.unsupported"]),
        (
            "zero-hertz.m4a",
            with(m4a.clone(), find(&m4a, b"mdhd") + 16, &[0; 4]),
            &["media.unsupported", "media.damaged"],
        ),
        (
            "zero-hertz.mkv",
            with(mkv.clone(), find(&mkv, &[0xb5, 0x88]) + 2, &[0; 8]),
            &["media.unsupported", "media.damaged"],
        ),
        ("slow.wav", wav(1, 1, 4_000, 16, 96_000, &second), &["media.unsupported"]),
        ("fast.wav", wav(1, 1, 384_000, 16, 96_000, &second), &["media.unsupported"]),
        ("no-channels.wav", wav(1, 0, 48_000, 16, 96_000, &second), &["media.unsupported"]),
        ("nine-channels.wav", wav(1, 9, 48_000, 16, 96_000 / 18 * 18, &second), &["media.unsupported"]),
        ("300-channels.wav", wav(1, 300, 48_000, 16, 96_000, &second), &["media.unsupported"]),
        ("65535-channels.wav", wav(1, 65_535, 48_000, 16, 96_000, &second), &["media.unsupported"]),
        ("300-channels.aiff", with(aiff.clone(), common, &300u16.to_be_bytes()), &["media.unsupported"]),
        ("no-channels.aiff", with(aiff, common, &[0; 2]), &["media.unsupported", "media.damaged"]),
        ("300-channels.caf", with(caf, hertz + 24, &300u32.to_be_bytes()), &["media.unsupported"]),
        (
            "no-bits.wav",
            with(wav(1, 1, 48_000, 16, 96_000, &second), 34, &[0, 0]),
            &["media.damaged", "media.unsupported"],
        ),
        ("mp3-in.wav", wav(0x55, 1, 48_000, 16, 96_000, &second), &["media.unsupported", "media.damaged"]),
    ];
    for (name, bytes, codes) in cases {
        let error = match hear_bytes(name, bytes.clone(), name) {
            Err(error) => error,
            Ok(heard) => panic!("{name}: played, {} samples, {:?}", heard.samples.len(), heard.found),
        };
        check_refusal(name, &error, name);
        assert!(codes.contains(&error.code), "{name}: {error}");
        let again = frames_of(|| Ok(Cursor::new(bytes.clone())), name, &Options::default(), |_| {}).expect_err(name);
        assert_eq!(again, error);
    }
}

/// HE-AAC stands in the file as AAC-LC at half the rate, with an object type of 5 in front (ISO/IEC 14496-3
/// §1.6.2.1): decoded as AAC-LC, the poles would sound dull.
#[test]
fn he_aac_is_refused_with_the_two_ways_out() {
    let plain = Plain::new(22_050, 1);
    let m4a = form(&plain, "m4a", "-c:a aac -f ipod");
    let at = find(&m4a, &[0x05, 0x80, 0x80, 0x80]);
    let length = usize::from(m4a[at + 4]);
    assert!(length >= 5, "ffmpeg's configuration leaves room: {length}");
    // Object type 5, 22,050 Hz, 1 channel, extended to 44,100 Hz, object type 2.
    let bits: u64 = 5 << 35 | 7 << 31 | 1 << 27 | 4 << 23 | 2 << 18;
    let configuration = &bits.to_be_bytes()[3..];
    let high = with(m4a, at + 5, configuration);
    let error = hear_bytes("HE-AAC", high, "phone.m4a").err().expect("HE-AAC is refused");
    check_refusal("HE-AAC", &error, "phone.m4a");
    assert_eq!(error.code, "media.he_aac");
    assert!(error.text.contains("HE-AAC") && error.text.contains("decoder"), "{error}");
}

#[test]
fn a_folder_is_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let open = || std::fs::File::open(folder.path());
    let error = frames_of(open, "bulletins", &Options::default(), |_| {}).unwrap_err();
    check_refusal("a folder", &error, "bulletins");
    assert!(["media.read", "media.folder"].contains(&error.code), "{error}");
}

#[test]
fn what_is_no_number_is_told_by_its_time() {
    for (what, wrong) in [("NaN", f32::NAN), ("infinity", f32::INFINITY), ("giant", 1e30)] {
        let sample = |at: u32| if (36_000..36_010).contains(&at) { wrong } else { (at as f32 * 0.05).sin() * 0.2 };
        let data: Vec<u8> = (0..96_000).flat_map(|at| sample(at).to_le_bytes()).collect();
        match hear_bytes(what, wav(3, 1, 48_000, 32, 384_000, &data), "float.wav") {
            Err(error) => {
                check_refusal(what, &error, "float.wav");
                assert!(error.code == "media.damaged" && error.text.contains("0.750 s"), "{error}");
            }
            Ok(heard) => {
                assert!(heard.samples.iter().all(|sample| sample.abs() <= 1.0), "{what} is never given out");
                let [damage] = &heard.found.damage[..] else { panic!("{what}: {:?}", heard.found) };
                assert!((damage.at - 0.75).abs() < 0.03 && damage.lasts < 0.1, "{what}: {damage:?}");
                assert_eq!(heard.samples.len(), 96_000);
            }
        }
    }
    let all: Vec<u8> = (0..48_000).flat_map(|_| f32::NAN.to_le_bytes()).collect();
    let error = hear_bytes("all NaN", wav(3, 1, 48_000, 32, 192_000, &all), "nan.wav").err().expect("refused");
    check_refusal("all NaN", &error, "nan.wav");
}
