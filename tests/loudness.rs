//! Everything that a station sends comes out of the loudspeaker equally loud, after limiting, coding and decoding.
use ebur128::{EbuR128, Mode};
use loa::audio::{
    Error, FRAME, Input, LOOKAHEAD, Leveling, Options, Part, Report, Source, frames_of, sequence, transcode,
};
use std::fs::File;
use std::io::Cursor;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};

const BULLETIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/demo/bulletin.flac");
const BULLETIN_2: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/demo/bulletin-2.flac");

/// Chords with a bass, a beat and harmonics that ring on.
const BAND: &str = "0.3*sin(2*PI*110*t)*exp(-3*mod(t,0.5))+0.2*sin(2*PI*440*t)*exp(-2*mod(t,1))\
    +0.15*sin(2*PI*659.25*t)+0.1*sin(2*PI*1318.5*t)*exp(-4*mod(t,0.25))+0.3*sin(2*PI*55*t)*exp(-6*mod(t,0.5))\
    +0.15*(random(0)-0.5)*exp(-40*mod(t,0.25))";

fn ffmpeg(arguments: &[&str]) -> Vec<u8> {
    let form = ["-ac", "1", "-c:a", "pcm_s16le", "-f", "wav", "-"];
    let output = Command::new("ffmpeg").args(["-v", "error"]).args(arguments).args(form).output();
    let output = output.unwrap_or_else(|error| panic!("ffmpeg: {error}; apt-get install ffmpeg"));
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Speech, soft and peaky speech, music.
static SOUNDS: LazyLock<Vec<(&str, Vec<u8>)>> = LazyLock::new(|| {
    let peaky = "volume=-14dB,agate=threshold=0.02:ratio=2,compand=points=-80/-80|-30/-34|-10/-6|0/0:attacks=0.001";
    let band = format!("aevalsrc='{BAND}':s=48000:d=12");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("plucks.wav");
    let notes = "synth 4 pluck C3 synth 4 pluck mix G3 synth 4 pluck mix E4 fade 0 4 0.5 repeat 2";
    let form = ["-n", "-r", "48000", "-c", "1", path.to_str().expect("UTF-8")];
    let made = Command::new("sox").args(form).args(notes.split(' ')).status();
    assert!(made.is_ok_and(|made| made.success()), "apt-get install sox");
    vec![
        ("bulletin", ffmpeg(&["-t", "15", "-i", BULLETIN])),
        ("soft bulletin", ffmpeg(&["-i", BULLETIN_2, "-af", "volume=-25dB"])),
        ("peaky bulletin", ffmpeg(&["-i", BULLETIN_2, "-af", peaky])),
        ("band", ffmpeg(&["-f", "lavfi", "-i", &band])),
        ("plucked strings", std::fs::read(&path).expect("made")),
    ]
});

/// Integrated loudness, LUFS, and true peak, dBTP.
fn measure(samples: &[f32]) -> (f64, f64) {
    let mut meter = EbuR128::new(1, 48_000, Mode::I | Mode::TRUE_PEAK).unwrap();
    meter.add_frames_f32(samples).unwrap();
    (meter.loudness_global().unwrap(), 20.0 * meter.true_peak(0).unwrap().log10())
}

fn heard(frames: &[bytes::Bytes]) -> Vec<f32> {
    let mut decoder = opus::Decoder::new(48_000, opus::Channels::Mono).unwrap();
    let mut samples = vec![0.0; frames.len() * FRAME];
    for (frame, out) in frames.iter().zip(samples.chunks_exact_mut(FRAME)) {
        assert_eq!(decoder.decode_float(frame, out, false).unwrap(), FRAME);
    }
    samples.split_off(LOOKAHEAD)
}

fn coded(wav: &[u8], name: &str, options: &Options) -> (Vec<Vec<f32>>, Report) {
    let open = || Ok(Cursor::new(wav.to_vec()));
    let (renditions, report) = frames_of(open, name, options, |_| {}).unwrap();
    (renditions.iter().map(|frames| heard(&frames.frames)).collect(), report)
}

type Open = dyn FnMut() -> Result<Box<dyn Input>, Error>;

#[test]
fn after_decoding_speech_and_music_are_within_half_a_unit_of_the_loudness_wanted() {
    for (name, wav) in SOUNDS.iter() {
        for bitrates in [vec![16_000, 24_000, 32_000], vec![16_000], vec![24_000], vec![64_000]] {
            let options = Options { bitrates, ..Options::default() };
            let (renditions, report) = coded(wav, name, &options);
            for (bitrate, heard) in options.bitrates.iter().zip(&renditions) {
                let (loudness, _) = measure(heard);
                assert!((loudness + 16.0).abs() < 0.5, "{name} at {bitrate}: {loudness} LUFS, {report:?}");
            }
            let peak = report.after.true_peak.unwrap();
            assert!(peak <= -1.5 + 1e-3, "{name}: {peak} dBTP, {report:?}");
        }
    }
}

#[test]
fn the_report_says_what_went_into_the_encoder() {
    let (name, wav) = &SOUNDS[2];
    let (_, report) = coded(wav, name, &Options::default());
    assert!(report.limited > 0.5, "{report:?}");
    let (before, after) = (report.before.loudness.unwrap(), report.after.loudness.unwrap());
    assert!(after < before + report.gain && after > -16.0, "{report:?}");
    assert!(report.silence.longest > 0.1 && report.silence.trimmed == 0.0, "{report:?}");
}

#[test]
fn leveling_may_be_off_or_slow_and_then_the_first_frame_leaves_before_the_file_is_read() {
    struct Counting(Source, Arc<AtomicU64>);
    impl Input for Counting {
        fn facts(&self) -> &loa::audio::Facts {
            self.0.facts()
        }
        fn read(&mut self, out: &mut Vec<f32>) -> Result<bool, Error> {
            let more = self.0.read(out)?;
            self.1.fetch_add(out.len() as u64, Relaxed);
            Ok(more)
        }
        fn found(&self) -> &loa::audio::Found {
            self.0.found()
        }
    }
    for leveling in [Leveling::Slow, Leveling::Off, Leveling::Measured] {
        let read = Arc::new(AtomicU64::new(0));
        let open = || Ok(Counting(Source::open(File::open(BULLETIN).unwrap(), "b.flac")?, read.clone()));
        let mut first = None;
        let mut emit = |_, _| {
            first.get_or_insert(read.load(Relaxed));
            Ok(())
        };
        let options = Options { leveling, complexity: 0, ..Options::default() };
        let report = transcode(open, "b.flac", &options, &mut emit, |_| {}).unwrap();
        let (first, all) = (first.unwrap(), read.load(Relaxed));
        match leveling {
            Leveling::Measured => assert_eq!(first, all),
            _ => assert!(first < 48_000, "{leveling:?}: {first} of {all} samples before the first frame"),
        }
        if leveling == Leveling::Off {
            assert_eq!((report.gain, report.before), (0.0, report.after));
        }
    }
}

#[test]
fn a_slow_gain_brings_a_soft_file_to_the_loudness_wanted() {
    let soft = ffmpeg(&["-stream_loop", "1", "-i", BULLETIN, "-af", "volume=-14dB"]);
    let options = Options { leveling: Leveling::Slow, ..Options::default() };
    let (renditions, report) = coded(&soft, "soft.wav", &options);
    let (loudness, peak) = measure(&renditions[0][12 * 48_000..]);
    assert!((loudness + 16.0).abs() < 1.5, "{loudness} LUFS, {report:?}");
    assert!(report.after.true_peak.unwrap() <= -1.5 + 1e-3 && peak < 1.0, "{report:?}");
}

#[test]
fn silence_at_both_ends_is_trimmed_to_the_length_set_and_told_of() {
    let padded = ffmpeg(&["-i", BULLETIN_2, "-af", "adelay=2500,apad=pad_dur=4"]);
    for leveling in [Leveling::Measured, Leveling::Slow] {
        let options = Options { leveling, silence: Some(0.25), complexity: 3, ..Options::default() };
        let (renditions, report) = coded(&padded, "padded.wav", &options);
        let told = report.silence;
        assert!((2.5..3.0).contains(&told.leading) && (4.0..5.0).contains(&told.trailing), "{report:?}");
        assert!((told.trimmed - (told.leading + told.trailing - 0.5)).abs() < 0.1, "{report:?}");
        assert!((renditions[0].len() as f64 / 48_000.0 - report.duration) < 0.021, "{report:?}");
        let begin = renditions[0].iter().position(|sample| sample.abs() > 0.02).unwrap();
        assert!((4_800..24_000).contains(&begin), "{leveling:?}: sound begins at sample {begin}");
    }
}

#[test]
fn a_tone_and_jingles_are_as_loud_as_the_bulletin_between_them() {
    let jingle = ffmpeg(&["-f", "lavfi", "-i", &format!("aevalsrc='{BAND}':s=48000:d=4"), "-af", "volume=-20dB"]);
    let mut opens: Vec<Box<Open>> = Vec::new();
    for wav in [jingle.clone(), SOUNDS[1].1.clone(), jingle] {
        opens.push(Box::new(move || Ok(Box::new(Source::open(Cursor::new(wav.clone()), "part")?))));
    }
    let mut parts: Vec<Part> =
        opens.iter_mut().map(|open| Part { name: "part", open: &mut **open, speech: false }).collect();
    let mut frames = Vec::new();
    let mut emit = |_, frame| {
        frames.push(frame);
        Ok(())
    };
    let mut told = Vec::new();
    let options = Options { tone: true, ..Options::default() };
    let done = sequence(&mut parts, &options, &mut emit, |part| told.push(part)).unwrap();
    assert_eq!(done.reports.len(), 3);
    let lengths: Vec<usize> = done.reports.iter().map(|report| (report.duration * 48_000.0).round() as usize).collect();
    assert_eq!(done.samples as usize, 96_000 + lengths.iter().sum::<usize>() + 3 * 14_400);
    assert_eq!(frames.len(), (done.samples as usize + LOOKAHEAD).div_ceil(FRAME));
    assert!(told.is_sorted() && told.last() == Some(&1.0));
    let heard = heard(&frames);
    let mut begin = 0;
    for length in [&[96_000], &lengths[..]].concat() {
        let (loudness, _) = measure(&heard[begin..begin + length]);
        assert!((loudness + 16.0).abs() < 0.7, "the part at {begin}: {loudness} LUFS");
        begin += length + 14_400;
    }
}

#[test]
fn the_speech_option_takes_hum_and_leaves_the_voice() {
    let hum = "aevalsrc='0.1*sin(2*PI*50*t)':s=48000";
    let mix = "[0:a]aresample=48000,volume=-6dB[a];[a][1:a]amix=inputs=2:duration=first:normalize=0";
    let hummed = ffmpeg(&["-i", BULLETIN_2, "-f", "lavfi", "-i", hum, "-filter_complex", mix]);
    let at_fifty = |samples: &[f32]| {
        let pace = std::f64::consts::TAU * 50.0 / 48_000.0;
        let (mut re, mut im) = (0.0, 0.0);
        for (at, sample) in samples.iter().enumerate() {
            let (sine, cosine) = (pace * at as f64).sin_cos();
            (re, im) = (re + f64::from(*sample) * cosine, im + f64::from(*sample) * sine);
        }
        10.0 * (re * re + im * im).log10()
    };
    let plain = coded(&hummed, "hum.wav", &Options { bitrates: vec![64_000], ..Options::default() });
    let speech = coded(&hummed, "hum.wav", &Options { bitrates: vec![64_000], speech: true, ..Options::default() });
    assert_eq!(plain.0[0].len(), speech.0[0].len());
    let down = at_fifty(&plain.0[0]) - at_fifty(&speech.0[0]);
    assert!(down > 12.0, "{down} dB");
    assert!((measure(&speech.0[0]).0 + 16.0).abs() < 0.5);
}
