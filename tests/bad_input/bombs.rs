//! Files made to burst a reader: giant claims, giant tables, giant nothing.

use crate::bounded::bounded;
use crate::made::{Plain, Step};
use crate::measure::{count, hear, place};
use crate::refused::wav;
use crate::{check_refusal, find, hear_bytes, whole_files, with};
use loa::audio::{Input, Options, Source, frames_of};
use std::fs::File;
use std::io::{Cursor, Seek, SeekFrom, Write};

/// Nothing of a gigabyte of zeros is on the disk.
#[test]
fn a_gigabyte_of_zeros_is_refused_at_its_beginning() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["zeros.bin", "zeros.wav", "zeros.mp3", "zeros.aac", "zeros.ogg", "zeros.m4a"] {
        let path = folder.path().join(name);
        File::create(&path).unwrap().set_len(1 << 30).unwrap();
        let error = bounded(name, || hear(&path, name)).err().expect(name);
        check_refusal(name, &error, name);
        assert_eq!(error.code, "media.unknown_format", "{error}");
    }
}

/// The first tenth of a file, then zeros where the rest should be.
#[test]
fn zeros_without_end_behind_a_good_beginning_end_the_search() {
    let folder = tempfile::tempdir().unwrap();
    for whole in whole_files() {
        let path = folder.path().join(whole.name());
        let mut file = File::create(&path).unwrap();
        file.write_all(&whole.bytes[..whole.bytes.len() / 10]).unwrap();
        file.set_len(64 << 20).unwrap();
        let case = format!("{} and 64 MiB of zeros", whole.kind.name);
        match bounded(&case, || count(File::open(&path).unwrap(), &whole.name())) {
            Err(error) => check_refusal(&case, &error, &whole.name()),
            // A WAV as written into a pipe has no end but the file's, and zeros are silence.
            Ok((samples, found)) => {
                let short = samples as f64 <= 2.0 * whole.plain.length();
                assert!(short || !found.damage.is_empty(), "{case}: {samples} samples, nothing told");
            }
        }
    }
}

#[test]
fn a_wav_that_claims_four_gigabytes_plays_what_it_has_or_says_how_little() {
    let second: Vec<u8> =
        (0..48_000).flat_map(|at| (((f64::from(at) * 0.05).sin() * 9e3) as i16).to_le_bytes()).collect();
    let boast = wav(1, 1, 48_000, 16, 0x4000_0000, &second);
    let error = hear_bytes("1 GB", boast, "boasts.wav").err().expect("far less than half is there");
    check_refusal("1 GB", &error, "boasts.wav");
    assert!(error.code == "media.truncated" && error.text.contains("1.000 s"), "{error}");
    // What a pipe leaves, what sox leaves in one, and a recorder that was switched off: no length at all.
    for claim in [u32::MAX, u32::MAX - 36, 0xffff_ff00, 0x7fff_f000] {
        let heard = hear_bytes("4 GB", wav(1, 1, 48_000, 16, claim, &second), "piped.wav").unwrap();
        assert_eq!(heard.samples.len(), 48_000, "{claim:#x}");
    }
    let long = bounded("hours", || {
        // A sparse file of as much as it claims: too long to be accepted, and told before it is read.
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&wav(1, 1, 48_000, 16, 0xffff_ff00, &[])).unwrap();
        file.set_len(0xffff_ff00 + 44).unwrap();
        frames_of(|| file.try_clone().and_then(rewound), "hours.wav", &Options::default(), |_| {})
    });
    let error = long.unwrap_err();
    check_refusal("hours", &error, "hours.wav");
    assert_eq!(error.code, "media.too_long");
}

fn rewound(mut file: File) -> std::io::Result<File> {
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

#[test]
fn thirty_mebibytes_of_pictures_before_the_sound_are_passed_over() {
    let plain = Plain::new(44_100, 1);
    let steps = [Step::run("lame", "--quiet --cbr -b 64 --resample RATE IN OUT")];
    let mp3 = std::fs::read(plain.through(&steps, "mp3")).unwrap();
    let picture = 30 << 20;
    // ID3v2.4 §3.1 and §4: sizes of seven bits a byte.
    let seven = |size: usize| [size >> 21, size >> 14, size >> 7, size].map(|byte| byte as u8 & 0x7f);
    let mut tagged = b"ID3\x04\0\0".to_vec();
    tagged.extend(seven(picture + 10));
    tagged.extend(b"APIC");
    tagged.extend(seven(picture));
    tagged.extend([0, 0]);
    tagged.extend(b"\0image/png\0\x03\0");
    tagged.resize(20 + picture, 0x55);
    tagged.extend(&mp3);
    let heard = hear_bytes("30 MiB of ID3", tagged.clone(), "song.mp3").unwrap();
    let (lag, alike) = place(&plain.expected(), &heard.samples, -48..=48);
    assert!(alike > 0.97 && heard.found.damage.is_empty(), "like {alike} at {lag}, {:?}", heard.found);
    // A tag that claims more than there is has no sound behind it.
    let claims = with(tagged[..40_000].to_vec(), 6, &[0x7f; 4]);
    let error = hear_bytes("claims of 256 MiB", claims, "song.mp3").err().expect("refused");
    check_refusal("claims of 256 MiB", &error, "song.mp3");
}

/// Every four bytes of every header, claimed to be as much as they can and as half of it: no table is made
/// before its contents are there.
#[test]
fn no_claim_in_a_header_is_believed() {
    let mut cases = 0;
    for file in whole_files() {
        let mut places: Vec<usize> = (0..file.bytes.len().min(700)).step_by(3).collect();
        if let Some(index) = file.bytes.windows(4).position(|four| four == b"moov") {
            places.extend((index..file.bytes.len().min(index + 1_500)).step_by(3));
        }
        for claim in [[0xff; 4], [0x7f, 0xff, 0xff, 0xff], [0, 0, 0, 0]] {
            for at in places.iter().filter(|at| **at + 4 <= file.bytes.len()) {
                cases += 1;
                let case = format!("{} with {claim:02x?} at {at}", file.kind.name);
                let bytes = with(file.bytes.clone(), *at, &claim);
                if let Some(error) = bounded(&case, || first_tenths(bytes, &file.name())) {
                    check_refusal(&case, &error, &file.name());
                }
            }
        }
    }
    println!("{cases} claims");
}

/// What opening and a few blocks give: most claims are in use by then.
fn first_tenths(bytes: Vec<u8>, name: &str) -> Option<loa::audio::Error> {
    let mut source = match Source::open(Cursor::new(bytes), name) {
        Ok(source) => source,
        Err(error) => return Some(error),
    };
    let mut samples = Vec::new();
    for _ in 0..3 {
        match source.read(&mut samples) {
            Ok(true) => (),
            Ok(false) => return None,
            Err(error) => return Some(error),
        }
    }
    None
}

#[test]
fn known_bombs_go_off_in_nobodys_hands() {
    let plain = Plain::new(44_100, 2);
    let form =
        |suffix: &str, arguments: &str| std::fs::read(plain.through(&[Step::ffmpeg(arguments)], suffix)).unwrap();
    let (flac, m4a) = (form("flac", "-c:a flac -f flac"), form("m4a", "-c:a aac -movflags +faststart -f ipod"));
    let (mkv, ogg) = (form("mkv", "-c:a libvorbis -f matroska"), form("ogg", "-c:a libvorbis -f ogg"));
    let (caf, aiff) = (form("caf", "-c:a alac -f caf"), form("aiff", "-c:a pcm_s16be -f aiff"));
    let most = [0xff; 8];
    let entries = |table: &[u8], count: usize| with(m4a.clone(), find(&m4a, table) + 4 + count, &most[..4]);
    let mut comments = b"fLaC".to_vec();
    comments.extend(&flac[4..42]);
    comments[4] &= 0x7f;
    // A comment block whose vendor and count claim four billion (RFC 9639 §8.6).
    comments.extend([0x84, 0, 0, 12]);
    comments.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    let picture = [&b"fLaC"[..], &flac[4..42], &[0x86, 0xff, 0xff, 0xff], &[0xff; 64]].concat();
    let seek_table = [&b"fLaC"[..], &with(flac[4..42].to_vec(), 0, &[0]), &[0x83, 0xff, 0xff, 0xfe], &[0; 64]].concat();
    let list = {
        let mut bytes = wav(1, 1, 48_000, 16, 96_000, &[1; 96_000]);
        bytes.splice(36..36, b"LIST\xfe\xff\xff\xffINFOIART\xff\xff\xff\x7f".iter().copied());
        bytes
    };
    let nested = {
        // Boxes within boxes within boxes.
        let mut bytes = m4a[..find(&m4a, b"moov") - 4].to_vec();
        for depth in (0..40_000u32).rev() {
            bytes.extend((depth * 8 + 8).to_be_bytes());
            bytes.extend(if depth % 2 == 1 { *b"moov" } else { *b"udta" });
        }
        bytes
    };
    let chain = ogg[..find(&ogg, b"\x05vorbis") - 40].repeat(20_000);
    let comment = find(&ogg, b"\x03vorbis");
    let bombs: Vec<(&str, Vec<u8>)> = vec![
        ("comments.flac", comments),
        ("picture.flac", picture),
        ("seek-table.flac", seek_table),
        ("list.wav", list),
        ("sizes.m4a", entries(b"stsz", 8)),
        ("times.m4a", entries(b"stts", 4)),
        ("chunks.m4a", entries(b"stsc", 4)),
        ("places.m4a", entries(b"stco", 4)),
        ("edits.m4a", entries(b"elst", 4)),
        ("configuration.m4a", with(m4a.clone(), find(&m4a, b"esds") + 9, &[0xff, 0xff, 0xff, 0x7f])),
        ("nested.m4a", nested),
        (
            "segment.mkv",
            with(mkv.clone(), find(&mkv, &[0x18, 0x53, 0x80, 0x67]) + 4, &[1, 0, 255, 255, 255, 255, 255, 254]),
        ),
        ("private.mkv", with(mkv.clone(), find(&mkv, &[0x63, 0xa2]) + 2, &[0x10, 0xff, 0xff, 0xfe])),
        ("lacing.mkv", with(mkv.clone(), find(&mkv, &[0xa3]) + 5, &[0x06, 0xff, 0xff])),
        ("comments.ogg", with(ogg.clone(), comment + 7, &most[..4])),
        ("chain.ogg", chain),
        ("packets.caf", with(caf.clone(), find(&caf, b"pakt") + 12, &[0x7f, 255, 255, 255, 255, 255, 255, 255])),
        ("cookie.caf", with(caf.clone(), find(&caf, b"kuki") + 4, &[0, 0, 0, 0, 0x7f, 255, 255, 255])),
        ("backwards.caf", with(caf.clone(), find(&caf, b"kuki") + 4, &most)),
        ("samples.aiff", with(aiff.clone(), find(&aiff, b"COMM") + 10, &most[..4])),
        ("sound.aiff", with(aiff.clone(), find(&aiff, b"SSND") + 4, &most[..4])),
        ("offset.aiff", with(aiff.clone(), find(&aiff, b"SSND") + 8, &most)),
        ("syncs.mp3", [0xff, 0xfb, 0x90, 0x64].repeat(500_000)),
        ("syncs.aac", [0xff, 0xf1, 0x50, 0x80, 0x00, 0xff, 0xfc].repeat(300_000)),
        ("pages.ogg", b"OggS\0\x02\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0".repeat(100_000)),
        ("id3.mp3", b"ID3\x04\0\0\0\0\0\0".repeat(200_000)),
    ];
    for (name, bytes) in bombs {
        let size = bytes.len();
        let outcome = bounded(name, || count(Cursor::new(bytes), name).map(|(samples, _)| samples));
        println!("{name}: {outcome:?}");
        match outcome {
            Err(error) => check_refusal(name, &error, name),
            // Opus at its least: 6 kb/s.
            Ok(samples) => {
                assert!(samples / 48_000 <= 60 + size as u64 / 750, "{name}: {samples} samples of {size} bytes")
            }
        }
    }
}
