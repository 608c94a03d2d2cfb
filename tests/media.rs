//! Files as people have them, made by ffmpeg, sox and flac: what is taken in keeps its length, its
//! place and its loudness; what can't be taken in is refused by name, place and mend.
use ebur128::{EbuR128, Mode};
use loa::audio::{Error, FRAME, Frames, Input, LOOKAHEAD, Options, Source, decode, frames_of, join};
use loa::time::Civil;
use loa::track::Sound;
use proptest::prelude::*;
use std::fs::File;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;

const BULLETIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/demo/bulletin.flac");
const BULLETIN_2: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/demo/bulletin-2.flac");

fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; apt-get install ffmpeg sox flac"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Three seconds of the first bulletin and, in a second channel, of the other.
fn made(folder: &Path, form: &str, rate: u32, channels: u32) -> PathBuf {
    let path = folder.join(format!("{rate}-{channels}.{form}"));
    let (rate, target) = (rate.to_string(), path.to_str().unwrap());
    let join = "[0:a]aresample=48000,aformat=channel_layouts=mono[a];[1:a]aresample=48000,aformat=channel_layouts=mono[b];[a][b]join=inputs=2:channel_layout=stereo";
    let start = ["-v", "error", "-y", "-t", "3.0123", "-i", BULLETIN];
    let rest: &[&str] = match channels {
        1 => &["-ar", &rate, target],
        _ => &["-t", "3.0123", "-i", BULLETIN_2, "-filter_complex", join, "-ar", &rate, target],
    };
    run("ffmpeg", &[&start, rest].concat());
    path
}

fn read(path: &Path) -> Result<Vec<f32>, Error> {
    read_all(File::open(path).unwrap(), path.file_name().unwrap().to_str().unwrap())
}

fn read_all<R: std::io::Read + std::io::Seek + Send + Sync + 'static>(
    reader: R,
    name: &str,
) -> Result<Vec<f32>, Error> {
    let mut source = Source::open(reader, name)?;
    let mut samples = Vec::new();
    while source.read(&mut samples)? {}
    let whole = source.found().damage.is_empty();
    assert!(source.facts().samples.is_none_or(|promised| promised == samples.len() as u64 || !whole));
    Ok(samples)
}

/// What ffmpeg makes of it, with the first two channels averaged.
fn reference(path: &Path, channels: u32) -> Vec<f32> {
    let average = if channels == 1 { "anull" } else { "pan=mono|c0=0.5*c0+0.5*c1" };
    let form = ["-af", average, "-ar", "48000", "-f", "f32le", "-"];
    let bytes = run("ffmpeg", &[&["-v", "error", "-i", path.to_str().unwrap()], &form[..]].concat());
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}

fn encode(path: &Path, options: &Options) -> Result<(Frames, loa::audio::Report), Error> {
    frames_of(|| File::open(path), path.file_name().unwrap().to_str().unwrap(), options, |_| {})
        .map(|(mut frames, report)| (frames.remove(0), report))
}

/// From the file's first sample on.
fn played(frames: &Frames) -> Vec<f32> {
    let packets: Vec<Sound> = (frames.frames.chunks(12).enumerate())
        .map(|(index, frames)| Sound { index: index as u64, time: Civil(0), records: join(frames) })
        .collect();
    let mut samples = decode(packets.iter().map(Some), 12 * FRAME);
    samples.truncate(frames.frames.len() * FRAME);
    samples.split_off(LOOKAHEAD)
}

/// Integrated loudness, LUFS, and true peak, dBTP.
fn measure(samples: &[f32]) -> (f64, f64) {
    let mut meter = EbuR128::new(1, 48_000, Mode::I | Mode::TRUE_PEAK).unwrap();
    meter.add_frames_f32(samples).unwrap();
    (meter.loudness_global().unwrap(), 20.0 * meter.true_peak(0).unwrap().log10())
}

/// Of `b` later than `a` by `lag` samples.
fn correlation(a: &[f32], b: &[f32], lag: isize) -> f64 {
    let (a, b) = if lag < 0 { (&a[lag.unsigned_abs()..], b) } else { (a, &b[lag as usize..]) };
    let (mut aa, mut bb, mut ab) = (0.0f64, 0.0f64, 0.0f64);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (f64::from(*a), f64::from(*b));
        (aa, bb, ab) = (aa + a * a, bb + b * b, ab + a * b);
    }
    ab / (aa * bb).sqrt()
}

#[test]
fn wav_of_every_rate_keeps_its_length_its_place_and_its_loudness() {
    check_form("wav");
}

#[test]
fn flac_of_every_rate_keeps_its_length_its_place_and_its_loudness() {
    check_form("flac");
}

fn check_form(form: &str) {
    let folder = tempfile::tempdir().unwrap();
    for rate in [8_000, 22_050, 44_100, 48_000, 96_000] {
        for channels in [1, 2] {
            let path = made(folder.path(), form, rate, channels);
            let case = path.file_name().unwrap().to_str().unwrap();
            let input: u64 =
                String::from_utf8(run("soxi", &["-s", path.to_str().unwrap()])).unwrap().trim().parse().unwrap();
            let samples = read(&path).unwrap();
            assert_eq!(samples.len() as f64, (input as f64 * 48_000.0 / f64::from(rate)).round(), "{case}");
            let theirs = reference(&path, channels);
            let alike = correlation(&theirs, &samples, 0);
            assert!(alike > 0.999, "{case}: {alike} with what ffmpeg decodes");
            assert!((measure(&samples).0 - measure(&theirs).0).abs() < 0.2, "{case}");

            let (frames, report) = encode(&path, &Options::default()).unwrap();
            assert_eq!(frames.frames.len(), (samples.len() + LOOKAHEAD).div_ceil(FRAME), "{case}");
            assert!((report.duration - samples.len() as f64 / 48_000.0).abs() < 1e-9, "{case}");
            assert!(frames.frames.iter().all(|frame| frame.len() == 60), "{case}");
            let heard = played(&frames);
            let (file, peak) = measure(&samples);
            assert!((report.before.loudness.unwrap() - file).abs() < 0.01, "{case}: {report:?}");
            assert!((report.before.true_peak.unwrap() - peak).abs() < 0.01, "{case}: {report:?}");
            let (loudness, _) = measure(&heard);
            assert!((loudness + 16.0).abs() < 0.5, "{case}: {loudness} LUFS after {report:?}");
            assert!(report.after.true_peak.unwrap() < -1.5 + 1e-3, "{case}: {report:?}");
            let alike = |lag: &isize| correlation(&samples[60_000..84_000], &heard[60_000..84_000], *lag);
            let best = (-12..=12).max_by(|a, b| alike(a).total_cmp(&alike(b)));
            // The codec's high-pass moves the lowest tones of a voice forward by 0.1 ms.
            assert!(best.unwrap().abs() <= 8, "{case}: played {best:?} samples off its place");
            let alike = correlation(&samples, &heard, best.unwrap());
            assert!(alike > 0.8, "{case}: {alike} with the file");
        }
    }
}

#[test]
fn every_sample_format_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let formats = ["pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le", "pcm_alaw", "pcm_mulaw"];
    let plain = reference(Path::new(BULLETIN_2), 1);
    for format in formats {
        let path = folder.path().join(format!("{format}.wav"));
        run("ffmpeg", &["-v", "error", "-i", BULLETIN_2, "-c:a", format, path.to_str().unwrap()]);
        let samples = read(&path).unwrap_or_else(|error| panic!("{format}: {error}"));
        let alike = correlation(&plain, &samples, 0);
        assert!(alike > 0.99, "{format}: {alike}");
    }
    for bits in ["16", "24"] {
        let path = folder.path().join(format!("{bits}.flac"));
        run("sox", &[BULLETIN_2, "-b", bits, path.to_str().unwrap()]);
        assert!(correlation(&plain, &read(&path).unwrap(), 0) > 0.999);
    }
}

#[test]
fn eight_channels_become_their_average_and_a_pipe_may_not_know_its_length() {
    let folder = tempfile::tempdir().unwrap();
    let eight = folder.path().join("eight.wav");
    let pan = "aresample=48000,pan=8c|c0=c0|c1=0*c0|c2=0*c0|c3=0*c0|c4=0*c0|c5=0*c0|c6=0*c0|c7=c0";
    run("ffmpeg", &["-v", "error", "-i", BULLETIN_2, "-af", pan, "-c:a", "pcm_f32le", eight.to_str().unwrap()]);
    let (samples, plain) = (read(&eight).unwrap(), reference(Path::new(BULLETIN_2), 1));
    let quarter: f64 = samples.iter().zip(&plain).map(|(a, b)| f64::from(a - b / 4.0).abs()).fold(0.0, f64::max);
    assert!(quarter < 1e-4, "{quarter}");

    let piped = run("ffmpeg", &["-v", "error", "-i", BULLETIN_2, "-f", "wav", "-"]);
    let samples = read_all(Cursor::new(piped), "piped.wav").unwrap();
    assert_eq!(samples.len(), (636_016.0f64 * 48_000.0 / 44_100.0).round() as usize);
}

#[test]
fn a_soft_file_is_raised_a_loud_one_lowered_and_silence_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    for (name, gain) in [("soft.wav", "-25"), ("loud.wav", "-1")] {
        let path = folder.path().join(name);
        let filter = format!("volume=6dB,alimiter=limit=0.2:level=disabled,volume=13dB,volume={gain}dB");
        run("ffmpeg", &["-v", "error", "-i", BULLETIN_2, "-af", &filter, path.to_str().unwrap()]);
        let (frames, report) = encode(&path, &Options::default()).unwrap();
        let (loudness, peak) = measure(&played(&frames));
        assert!((loudness + 16.0).abs() < 0.5, "{name}: {loudness} LUFS after {report:?}");
        assert!(report.after.true_peak.unwrap() < -1.5 + 1e-3, "{name}: {report:?}");
        // The codec overshoots a limiter's flat peaks; speakers clip what is left beyond full scale.
        assert!(peak < 1.0, "{name}: {peak} dBTP after coding");
    }
    let silent = folder.path().join("silent.wav");
    run("sox", &["-n", "-r", "48000", silent.to_str().unwrap(), "trim", "0", "2"]);
    let (frames, report) = encode(&silent, &Options::default()).unwrap();
    assert_eq!((report.before.loudness, report.gain), (None, 0.0));
    assert_eq!(frames.frames.len(), 101);
    assert!(frames.frames.iter().all(|frame| frame.len() == 60));
    assert!(played(&frames).iter().all(|sample| sample.abs() < 1e-3));
}

#[test]
fn frames_have_one_size_at_every_bitrate() {
    for bitrate in [6_000, 16_000, 24_000, 64_000] {
        let options = Options { bitrates: vec![bitrate], complexity: 0, ..Options::default() };
        let (frames, _) = encode(Path::new(BULLETIN_2), &options).unwrap();
        let size = bitrate as usize / 400;
        assert!(frames.frames.iter().all(|frame| frame.len() == size), "{bitrate} b/s");
        assert_eq!(Frames::from_bytes(&frames.to_bytes()).unwrap(), frames);
        assert!(played(&frames).iter().any(|sample| sample.abs() > 0.1));
    }
}

#[test]
fn joining_changes_no_sound_and_a_changed_toc_begins_a_new_record() {
    let (frames, _) = encode(Path::new(BULLETIN_2), &Options { bitrates: vec![16_000], ..Options::default() }).unwrap();
    let mut decoder = opus::Decoder::new(48_000, opus::Channels::Mono).unwrap();
    let mut one_by_one = vec![0.0; frames.frames.len() * FRAME];
    for (frame, out) in frames.frames.iter().zip(one_by_one.chunks_exact_mut(FRAME)) {
        assert_eq!(decoder.decode_float(frame, out, false).unwrap(), FRAME);
    }
    assert!(played(&frames) == one_by_one[LOOKAHEAD..]);

    let records = join(&frames.frames[100..112]);
    let lasts = |record: &bytes::Bytes| opus::packet::get_nb_samples(record, 48_000).unwrap();
    assert_eq!(records.iter().map(lasts).sum::<usize>(), 12 * FRAME);
    assert!(records.iter().all(|record| lasts(record) <= 5_760));

    // 20 ms of SILK wideband, then of CELT fullband, then something that is no frame.
    let frame = |toc: u8| bytes::Bytes::from(vec![toc; 40]);
    let mixed = [frame(9 << 3), frame(9 << 3), frame(31 << 3), frame(9 << 3), bytes::Bytes::new(), frame(9 << 3)];
    let records = join(&mixed);
    let configurations: Vec<_> = records.iter().map(|record| record.first().map(|toc| toc >> 3)).collect();
    assert_eq!(configurations, [Some(9), Some(31), Some(9), None, Some(9)]);
    assert_eq!(opus::packet::get_nb_frames(&records[0]).unwrap(), 2);
    assert!(join(&[]).is_empty());
}

/// A WAV file of 16-bit samples whose header says what it is told to.
fn wav(tag: u16, channels: u16, rate: u32, bits: u16, claimed: u32, data: &[u8]) -> Vec<u8> {
    let block = channels * (bits / 8);
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

#[test]
fn what_cannot_be_taken_in_is_refused_by_name_place_and_mend() {
    let flac = std::fs::read(BULLETIN_2).unwrap();
    let png = run("ffmpeg", &["-v", "error", "-f", "lavfi", "-i", "testsrc=d=1", "-frames:v", "1", "-f", "apng", "-"]);
    let mp3 = [b"ID3\x04\0\0\0\0\0\0".as_slice(), &[0xff, 0xfb, 0x90, 0], &[0; 400]].concat();
    let second = vec![1; 96_000];
    let mut fields = flac.clone();
    (fields[18], fields[19], fields[20]) = (0, 0, fields[20] & 0x0f);
    let mut no_bits = wav(1, 1, 48_000, 16, 96_000, &second);
    no_bits[34] = 0;
    let cases: Vec<(&str, Vec<u8>, &str, &str)> = vec![
        ("nothing.wav", vec![], "media.empty", "empty"),
        ("header-only.wav", wav(1, 1, 48_000, 16, 0, &[]), "media.empty", "no sound"),
        ("letter.txt", "Kính gửi ông chủ tịch".into(), "media.unknown_format", "text"),
        ("letter.wav", b"Dear chairman, the loudspeaker is too loud.".to_vec(), "media.unknown_format", "text"),
        ("picture.png", png, "media.unknown_format", "PNG"),
        ("song.mp3", mp3, "media.unknown_format", "MP3"),
        ("noise.bin", vec![0; 4_000], "media.unknown_format", "no sound"),
        ("cut.wav", wav(1, 1, 48_000, 16, 96_000, &second[..24_000]), "media.truncated", "0.250 s of the 1.000 s"),
        ("cut-in-header.wav", wav(1, 1, 48_000, 16, 96_000, &[])[..30].to_vec(), "media.truncated", "header"),
        ("cut-magic.wav", b"RIFF\0\0".to_vec(), "media.truncated", "header"),
        ("cut.flac", flac[..flac.len() / 3].to_vec(), "media.truncated", " s of the 14.422 s"),
        ("cut-in-header.flac", flac[..30].to_vec(), "media.truncated", "header"),
        ("magic.flac", b"fLaC".to_vec(), "media.truncated", "header"),
        ("zero-hertz.wav", wav(1, 1, 0, 16, 96_000, &second), "media.unsupported", "0 Hz"),
        ("zero-hertz.flac", fields, "media.unsupported", "0 Hz"),
        ("slow.wav", wav(1, 1, 4_000, 16, 96_000, &second), "media.unsupported", "4000 Hz"),
        ("fast.wav", wav(1, 1, 384_000, 16, 96_000, &second), "media.unsupported", "384000 Hz"),
        ("no-channels.wav", wav(1, 0, 48_000, 16, 96_000, &second), "media.unsupported", "0 channels"),
        ("nine-channels.wav", wav(1, 9, 48_000, 16, 96_000 / 18 * 18, &second), "media.unsupported", "9 channels"),
        ("no-bits.wav", no_bits, "media.damaged", "no-bits.wav"),
        ("adpcm.wav", wav(2, 1, 48_000, 4, 96_000, &second), "media.damaged", "0x0002"),
        ("packed.wav", wav(0x55, 1, 48_000, 16, 96_000, &second), "media.unsupported", "0x0055"),
        ("nothing-else.wav", wav(3, 1, 48_000, 32, 192_000, &[0xff; 192_000]), "media.damaged", "not a number"),
    ];
    for (name, bytes, code, says) in cases {
        let error = read_all(Cursor::new(bytes.clone()), name).expect_err(name);
        assert_eq!(error.code, code, "{error}");
        assert!(error.text.starts_with(name) && error.text.contains(says), "{error}");
        let again = frames_of(|| Ok(Cursor::new(bytes.clone())), name, &Options::default(), |_| {}).expect_err(name);
        assert_eq!(again, error);
    }
}

#[test]
fn what_is_damaged_plays_on_both_sides_and_what_is_cut_as_far_as_it_goes() {
    let flac = std::fs::read(BULLETIN_2).unwrap();
    let whole = read_all(Cursor::new(flac.clone()), "whole.flac").unwrap();
    let play = |bytes: Vec<u8>, name: &str| {
        let mut source = Source::open(Cursor::new(bytes), name).unwrap_or_else(|error| panic!("{error}"));
        let mut samples = Vec::new();
        while source.read(&mut samples).unwrap_or_else(|error| panic!("{error}")) {}
        (samples, source.found().clone())
    };

    let mut hole = flac.clone();
    let middle = hole.len() / 2;
    hole[middle..middle + 64].fill(0x55);
    let (samples, found) = play(hole, "hole.flac");
    assert_eq!((samples.len(), found.damage.len()), (whole.len(), 1));
    let (at, lasts) = (found.damage[0].at, found.damage[0].lasts);
    assert!((5.0..9.0).contains(&at) && (0.01..0.5).contains(&lasts) && found.lost == lasts, "{found:?}");
    for side in [0..(at * 48_000.0) as usize - 2_000, ((at + lasts) * 48_000.0) as usize + 2_000..whole.len()] {
        assert!(correlation(&whole[side.clone()], &samples[side], 0) > 0.999);
    }

    let (samples, found) = play(flac[..flac.len() * 3 / 4].to_vec(), "cut.flac");
    assert!((9.0..13.0).contains(&found.damage[0].at), "{found:?}");
    assert!((found.damage[0].at - samples.len() as f64 / 48_000.0).abs() < 0.001, "{found:?}");
    assert!((found.damage[0].at + found.lost - whole.len() as f64 / 48_000.0).abs() < 0.001, "{found:?}");

    let second = vec![1; 96_000];
    let (samples, found) = play(wav(1, 1, 48_000, 16, 120_000, &second), "cut.wav");
    assert_eq!((samples.len(), found.damage[0].at, found.lost), (48_000, 1.0, 0.25));
    // Not a promise but a length that was never known.
    let (samples, found) = play(wav(1, 1, 48_000, 16, 0x7fff_0000, &second), "boasts.wav");
    assert_eq!((samples.len(), found), (48_000, Default::default()));

    let nan: Vec<u8> = (0..48_000).flat_map(|at| if at == 36_000 { f32::NAN } else { 0.1f32 }.to_le_bytes()).collect();
    let (samples, found) = play(wav(3, 1, 48_000, 32, 192_000, &nan), "nan.wav");
    assert_eq!((samples.len(), samples[36_000], samples[36_001]), (48_000, 0.0, 0.1));
    assert_eq!((found.damage.len(), found.damage[0].at), (1, 0.75));
}

#[test]
fn too_long_files_and_files_that_are_gone_and_mistaken_options_are_refused() {
    let second = wav(1, 1, 8_000, 16, 16_000 * 3, &vec![1; 16_000 * 3]);
    let unknown = wav(1, 1, 8_000, 16, u32::MAX, &vec![1; 16_000 * 3]);
    for bytes in [&second, &unknown] {
        let open = || Ok(Cursor::new(bytes.clone()));
        assert!(frames_of(open, "three.wav", &Options { longest: 3, ..Options::default() }, |_| {}).is_ok());
        let error = frames_of(open, "three.wav", &Options { longest: 2, ..Options::default() }, |_| {}).unwrap_err();
        assert_eq!(error.code, "media.too_long");
        assert!(error.text.contains("2 s"), "{error}");
    }
    // What fits into memory is read once: nothing can change between two readings.
    let mut opened = 0;
    let once = || {
        opened += 1;
        Ok(Cursor::new(second.clone()))
    };
    assert!(frames_of(once, "a.wav", &Options::default(), |_| {}).is_ok());
    assert_eq!(opened, 1);
    let gone = || Err::<Cursor<Vec<u8>>, _>(std::io::Error::from(std::io::ErrorKind::NotFound));
    assert_eq!(frames_of(gone, "a.wav", &Options::default(), |_| {}).unwrap_err().code, "media.read");
    for options in [
        Options { bitrates: vec![5_000], ..Options::default() },
        Options { bitrates: vec![96_000], ..Options::default() },
        Options { complexity: 11, ..Options::default() },
        Options { loudness: f64::NAN, ..Options::default() },
        Options { peak: 3.0, ..Options::default() },
    ] {
        let open = || Ok(Cursor::new(second.clone()));
        assert_eq!(frames_of(open, "a.wav", &options, |_| {}).unwrap_err().code, "media.options");
    }
}

#[test]
fn progress_rises_to_the_whole() {
    let mut heard = Vec::new();
    frames_of(
        || File::open(BULLETIN_2),
        "b",
        &Options { complexity: 0, ..Options::default() },
        |part| heard.push(part),
    )
    .unwrap();
    assert!(heard.is_sorted() && heard.len() > 20);
    assert_eq!(heard.last(), Some(&1.0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_bytes_make_a_source_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), magic in 0usize..4) {
        let magic: &[u8] = [b"".as_slice(), b"RIFF\xff\xff\xff\xffWAVEfmt ", b"fLaC\0\0\0\x22", b"fLaC\x80\0\0\x22"][magic];
        let _ = read_all(Cursor::new([magic, &bytes].concat()), "random");
    }

    #[test]
    fn no_damage_to_a_good_file_makes_a_source_panic(
        flac: bool,
        changes in prop::collection::vec((prop_oneof![0usize..80, 0usize..60_000], any::<u8>()), 1..8),
        keep in 40usize..60_000,
    ) {
        let samples: Vec<u8> = (0..20_000u32).flat_map(|at| ((at * at / 50) as i16).to_le_bytes()).collect();
        let mut bytes = if flac { std::fs::read(BULLETIN_2).unwrap() } else { wav(1, 2, 16_000, 16, 40_000, &samples) };
        bytes.truncate(keep);
        for (place, value) in changes {
            let place = place % bytes.len();
            bytes[place] = value;
        }
        let _ = read_all(Cursor::new(bytes), "damaged");
    }
}
