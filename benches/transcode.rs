//! What it costs to bring a file to Opus: beside libopus and the decoder alone (DESIGN §11: at most 1.15 times
//! as much), beside ffmpeg with its loudness filter (at least 2.5 times less), on one core and on two; and what
//! three renditions of one live source cost beside three encoders (at most 1.2 times).
//!
//! All take turns within one run on one ten-minute MP3 of speech. CPU counts, user and system, of the thread or
//! of the child; only the batch is measured by the clock on the wall. `LOA_BENCH_SHORT=1` shows only that it
//! works, on thirty seconds.
mod machine;

use loa::audio::{self, Encoders, FRAME, Input, Leveller, Limiter, Options, Source, Watch, WatchOptions};
use machine::{children_cpu, median, pin, short, thread_cpu, unpin};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::AudioDecoderOptions;
use symphonia::core::formats::{FormatOptions, FormatReader};
use symphonia::core::io::MediaSourceStream;
use symphonia::default::formats::MpaReader;

const BITRATE: u32 = 24_000;
const RENDITIONS: [u32; 3] = [16_000, 24_000, 32_000];
/// Beside libopus and the decoder alone (DESIGN §11).
const BOUND: f64 = 1.15;
/// Times less than ffmpeg with its loudness filter (DESIGN §11).
const LESS: f64 = 2.5;
/// Times as fast on two cores.
const FASTER: f64 = 1.9;
/// Three renditions of a live source beside three encoders.
const LIVE: f64 = 1.2;

fn main() {
    let (seconds, rounds) = if short() { (30, 1) } else { (600, 3) };
    let file = material(seconds);
    println!("transcode: {seconds} s of speech, MP3 128 kb/s stereo 44.1 kHz → Opus {BITRATE} b/s, complexity 10");
    one_core(&file, rounds);
    live(&file, rounds);
    two_cores(&file, rounds);
}

/// The demo bulletins again and again.
fn material(seconds: u32) -> PathBuf {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("speech-{seconds}.mp3"));
    if !target.exists() {
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/demo/bulletin.flac");
        let made = target.with_extension("part.mp3");
        let length = seconds.to_string();
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-y", "-stream_loop", "-1", "-i"]).arg(demo);
        ffmpeg.args(["-t", &length, "-ar", "44100", "-ac", "2", "-b:a", "128k"]).arg(&made);
        quiet(ffmpeg);
        std::fs::rename(made, &target).expect("the folder for made files can be written");
    }
    target
}

fn one_core(file: &Path, rounds: usize) {
    println!("seconds of CPU");
    println!("round   decoder   libopus   in process   loa transcode   ffmpeg loudnorm   ffmpeg");
    let out = |name: &str| PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut rows: Vec<[f64; 6]> = Vec::new();
    for round in 1..=rounds {
        pin(0);
        let (decoder, _) = timed(|| decode_alone(file));
        let samples = normalised(file);
        let (libopus, _) = timed(|| encode_alone(&samples, &[BITRATE]));
        drop(samples);
        let (whole, _) = timed(|| in_process(file));
        let product = child(loa(&[file], &out("bench.opus"), 1));
        let ffmpeg = |filter: &[&str]| {
            let mut command = Command::new("ffmpeg");
            command.args(["-v", "error", "-y", "-i"]).arg(file).args(filter);
            command.args(["-ac", "1", "-c:a", "libopus", "-application", "voip", "-b:a", "24k"]);
            command.arg(out("ffmpeg.opus"));
            child(command)
        };
        let (with, without) = (ffmpeg(&["-af", "loudnorm"]), ffmpeg(&[]));
        let row = [decoder, libopus, whole, product, with, without].map(|time| time.as_secs_f64());
        let [a, b, c, d, e, f] = row;
        println!("{round:>5}   {a:>7.2}   {b:>7.2}   {c:>10.2}   {d:>13.2}   {e:>15.2}   {f:>6.2}");
        rows.push(row);
    }
    let ratio = |of: fn(&[f64; 6]) -> f64| median(&rows.iter().map(of).collect::<Vec<_>>());
    let inside = ratio(|row| row[2] / (row[0] + row[1]));
    let product = ratio(|row| row[3] / (row[0] + row[1]));
    let less = ratio(|row| row[4] / row[3]);
    let plain = ratio(|row| row[5] / row[3]);
    println!(
        "median  in process {inside:.3} × (libopus + decoder); loa transcode {product:.3} ×, bound {BOUND}: {}",
        { verdict(product <= BOUND) }
    );
    println!("        ffmpeg with loudnorm takes {less:.2} × loa transcode, bound {LESS}: {}", verdict(less >= LESS));
    println!("        ffmpeg without loudnorm takes {plain:.2} ×");
}

/// The decoder, without a resampler and without a down-mix.
fn decode_alone(file: &Path) -> u64 {
    let file = File::open(file).expect("the material was made");
    let stream = MediaSourceStream::new(Box::new(file), Default::default());
    let mut format = MpaReader::try_new(stream, FormatOptions::default()).expect("an MP3");
    let parameters = format.tracks().first().and_then(|track| track.codec_params.clone());
    let Some(CodecParameters::Audio(parameters)) = parameters else { panic!("an MP3 has sound") };
    let mut decoder = symphonia::default::get_codecs()
        .make_audio_decoder(&parameters, &AudioDecoderOptions::default())
        .expect("MP3 is decoded");
    let (mut block, mut samples) = (Vec::<f32>::new(), 0);
    while let Ok(Some(packet)) = format.next_packet() {
        let decoded = decoder.decode(&packet).expect("what lame made is whole");
        decoded.copy_to_vec_interleaved(&mut block);
        samples += block.len() as u64;
    }
    samples
}

/// What the encoder is given: 48 kHz mono.
fn normalised(file: &Path) -> Vec<f32> {
    let file = BufReader::new(File::open(file).expect("the material was made"));
    let mut source = Source::open(file, "speech.mp3").expect("an MP3");
    let mut samples = Vec::new();
    while source.read(&mut samples).expect("whole") {}
    samples
}

fn encode_alone(samples: &[f32], bitrates: &[u32]) -> u64 {
    let mut encoders: Vec<opus::Encoder> = bitrates.iter().map(|bitrate| encoder(*bitrate)).collect();
    let (mut packet, mut bytes) = ([0; 1_276], 0);
    for frame in samples.chunks_exact(FRAME) {
        for encoder in &mut encoders {
            bytes += encoder.encode_float(frame, &mut packet).expect("a frame of 20 ms") as u64;
        }
    }
    bytes
}

/// Set as `audio::Encoders` sets its own.
fn encoder(bitrate: u32) -> opus::Encoder {
    let encoder = opus::Encoder::new(48_000, opus::Channels::Mono, opus::Application::Audio);
    let mut encoder = encoder.expect("48 kHz mono is a format of Opus");
    encoder.set_bitrate(opus::Bitrate::Bits(bitrate as i32)).expect("a bitrate of Opus");
    encoder.set_vbr(false).expect("CBR");
    encoder.set_signal(opus::Signal::Voice).expect("a hint");
    encoder.set_complexity(10).expect("10 is the highest");
    encoder
}

fn in_process(file: &Path) -> u64 {
    let mut bytes = 0;
    let open = || {
        let opened = File::open(file).map_err(|error| audio::Error::read("speech.mp3", &error))?;
        Source::open(BufReader::new(opened), "speech.mp3")
    };
    let mut keep = |_: usize, frame: bytes::Bytes| {
        bytes += frame.len() as u64;
        Ok(())
    };
    audio::transcode(open, "speech.mp3", &Options::default(), &mut keep, |_| ()).expect("an MP3");
    bytes
}

/// The chain of a live source in blocks of 20 ms, as `loa live` runs it, beside encoders alone.
fn live(file: &Path, rounds: usize) {
    let samples = normalised(file);
    println!("live, {} renditions: seconds of CPU\nround   three encoders   the whole chain   ratio", RENDITIONS.len());
    let mut ratios = Vec::new();
    for round in 1..=rounds {
        pin(0);
        let (alone, _) = timed(|| encode_alone(&samples, &RENDITIONS));
        let (chain, _) = timed(|| live_chain(&samples));
        let ratio = chain.as_secs_f64() / alone.as_secs_f64();
        println!("{round:>5}   {:>14.2}   {:>15.2}   {ratio:>5.3}", alone.as_secs_f64(), chain.as_secs_f64());
        ratios.push(ratio);
    }
    let ratio = median(&ratios);
    println!("median  {ratio:.3}, bound {LIVE}: {}", verdict(ratio <= LIVE));
}

fn live_chain(samples: &[f32]) -> u64 {
    let mut leveller = Leveller::new(-16.0);
    let mut limiter = Limiter::new(-1.5);
    let mut watch = Watch::new(WatchOptions::default());
    let mut encoders = Encoders::new(&RENDITIONS, 10).expect("bitrates of Opus");
    let (mut block, mut level, mut events, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for samples in samples.chunks(FRAME) {
        block.clear();
        block.extend_from_slice(samples);
        leveller.push(&mut block);
        level.clear();
        limiter.push(&block, &mut level);
        watch.push(&level, limiter.reduction(), &mut events);
        let mut keep = |_: usize, frame: bytes::Bytes| {
            bytes += frame.len() as u64;
            Ok(())
        };
        encoders.push(&level, &mut keep).expect("20 ms are encoded");
    }
    bytes
}

/// The wall clock of four files: one after the other on one core, and two at a time on two. A decoder is a process of
/// its own, so that even a single job would use two cores if it were let.
fn two_cores(file: &Path, rounds: usize) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("batch");
    std::fs::create_dir_all(&folder).expect("the folder for made files can be written");
    let files: Vec<PathBuf> = (0..4)
        .map(|number| {
            let copy = folder.join(format!("{number}.mp3"));
            std::fs::copy(file, &copy).expect("there is room for four copies");
            copy
        })
        .collect();
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    println!("batch of {} files: seconds on the wall\nround   one core   two cores   times as fast", files.len());
    let mut ratios = Vec::new();
    for round in 1..=rounds {
        let [one, two] = [1, 2].map(|jobs| {
            if jobs == 1 {
                pin(0)
            } else {
                unpin()
            }
            let begin = Instant::now();
            quiet(loa(&files, &folder, jobs));
            begin.elapsed().as_secs_f64()
        });
        println!("{round:>5}   {one:>8.2}   {two:>9.2}   {:>13.2}", one / two);
        ratios.push(one / two);
    }
    let ratio = median(&ratios);
    println!("median  {ratio:.2}, bound {FASTER}: {}", verdict(ratio >= FASTER));
}

fn loa(files: &[&Path], out: &Path, jobs: usize) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loa"));
    command.arg("transcode").args(files).arg("-o").arg(out);
    command.args(["--force", "--jobs", &jobs.to_string()]);
    command
}

fn child(command: Command) -> Duration {
    let before = children_cpu();
    quiet(command);
    children_cpu() - before
}

fn quiet(mut command: Command) {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    let status = status.unwrap_or_else(|error| panic!("{command:?}: {error}; apt-get install ffmpeg"));
    assert!(status.success(), "{command:?}: {status}");
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let before = thread_cpu();
    let result = work();
    (thread_cpu() - before, result)
}

fn verdict(holds: bool) -> &'static str {
    if holds { "holds" } else { "MISSED" }
}
