//! How speech sounds at the end: STOI and PESQ (wide band) of what a loudspeaker plays, at 16, 24 and 32 kb/s with 0,
//! 5 and 10 % of packets lost, before and after repair; beside plain Opus of the same bitrate as ffmpeg makes it,
//! 20 ms packets with in-band FEC, decoded with it.
//!
//! Ours are packets of 240 ms: one that is lost takes twelve times as much with it, and in-band FEC is off. What
//! stands against that is repair: a lost packet is asked for again while it waits for its instant. Both sides lose
//! packets at the same rate, from the same seed; the reference is what went into the encoders.
//!
//! The scores come from PyPI's pystoi and pesq: `tools/bench` installs them and names the Python in `LOA_PYTHON`;
//! without it only the WAV files are made. Speech: the demo bulletins, and the recorded voice of alsa-utils if it is
//! installed. `LOA_BENCH_SHORT=1` takes one bitrate and some seconds; `LOA_SEED=2` another seed.
mod machine;

use loa::audio::{Frames, Options, decode, frames_of, join};
use loa::time::Civil;
use loa::track::Sound;
use machine::{number, short};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const RATE: usize = 48_000;
/// Frames of 20 ms in one packet of ours.
const PACKET: usize = 12;
const FRAME: usize = 960;

fn main() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("listening");
    std::fs::create_dir_all(&folder).expect("the folder for made files can be written");
    let (bitrates, losses): (&[u32], &[u32]) =
        if short() { (&[24_000], &[10]) } else { (&[16_000, 24_000, 32_000], &[0, 5, 10]) };
    let seed = number("LOA_SEED").unwrap_or(1) as u64;
    let speech = speech(if short() { 6.0 } else { 60.0 });
    let reference = write(&folder, "reference", &speech);
    println!("listening: {:.0} s of speech, seed {seed}", speech.len() as f64 / RATE as f64);
    let mut heard = Vec::new();
    for &bitrate in bitrates {
        let ours = encode(&speech, bitrate);
        for &loss in losses {
            let share = f64::from(loss) / 100.0;
            let mut dice = Dice(ChaCha8Rng::seed_from_u64(seed));
            let packets = ours.frames.len().div_ceil(PACKET);
            let arrived: Vec<bool> = (0..packets).map(|_| !dice.falls(share)).collect();
            let repaired: Vec<bool> = arrived.iter().map(|arrived| *arrived || dice.repaired(share)).collect();
            let mut take = |what: &str, samples: Vec<f32>, missing: f64| {
                let name = format!("{what}-{}k-{loss}", bitrate / 1_000);
                heard.push((what.to_owned(), bitrate, loss, missing, write(&folder, &name, &samples)));
            };
            let missing =
                |arrived: &[bool]| arrived.iter().filter(|arrived| !**arrived).count() as f64 / arrived.len() as f64;
            if loss > 0 {
                take("loa, not repaired", play(&ours, &arrived, speech.len()), missing(&arrived));
            }
            take("loa, repaired", play(&ours, &repaired, speech.len()), missing(&repaired));
            let theirs = foreign(&folder, &reference, bitrate, loss);
            let arrived: Vec<bool> = (0..theirs.packets.len()).map(|_| !dice.falls(share)).collect();
            take("ffmpeg, in-band FEC", theirs.play(&arrived, speech.len()), missing(&arrived));
        }
    }
    score(&reference, &heard);
}

/// Seeded, so that a run can be told again.
struct Dice(ChaCha8Rng);

impl Dice {
    fn falls(&mut self, share: f64) -> bool {
        (self.0.next_u32() as f64) < share * 2f64.powi(32)
    }

    /// What the session does within a delay of 1 s and a round trip of 100 ms: two rounds, in each two NACKs 20 ms
    /// apart, each answered twice; every datagram can be lost. (`cargo test --test simulation ten_minutes` runs the
    /// real one, with jitter and bursts: 99.996 % on time at 10 % both ways.)
    fn repaired(&mut self, share: f64) -> bool {
        (0..2).any(|_| (0..2).any(|_| !self.falls(share) && (0..2).any(|_| !self.falls(share))))
    }
}

/// Mono at 48 kHz, at the loudness that is broadcast.
fn speech(seconds: f64) -> Vec<f32> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/demo");
    let voice = Path::new("/usr/share/sounds/alsa");
    let recorded = ["Front_Center", "Front_Left", "Front_Right", "Rear_Center", "Rear_Left", "Side_Right"];
    let recorded = recorded.map(|name| voice.join(name).with_extension("wav"));
    let demo = ["bulletin-2.flac", "bulletin.flac"].map(|name| root.join(name));
    let mut samples = Vec::new();
    for file in recorded.iter().filter(|file| file.exists()).chain(&demo) {
        samples.extend(ffmpeg_samples(file));
    }
    samples.truncate((seconds * RATE as f64) as usize / FRAME * FRAME);
    samples
}

fn ffmpeg_samples(file: &Path) -> Vec<f32> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-i"]).arg(file);
    ffmpeg.args(["-af", "loudnorm=I=-16:TP=-1.5,aresample=48000", "-ac", "1", "-f", "f32le", "-"]);
    let bytes = run(ffmpeg);
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect()
}

fn encode(speech: &[f32], bitrate: u32) -> Frames {
    let wav = wav(speech);
    let options = Options { bitrates: vec![bitrate], leveling: loa::audio::Leveling::Off, ..Options::default() };
    let (mut frames, _) = frames_of(|| Ok(Cursor::new(wav.clone())), "speech", &options, |_| ()).expect("a WAV file");
    frames.remove(0)
}

/// What a loudspeaker plays of the packets that arrived.
fn play(frames: &Frames, arrived: &[bool], length: usize) -> Vec<f32> {
    let packets: Vec<Sound> = (frames.frames.chunks(PACKET).enumerate())
        .map(|(index, frames)| Sound { index: index as u64, time: Civil(0), records: join(frames) })
        .collect();
    let there = packets.iter().zip(arrived).map(|(packet, arrived)| arrived.then_some(packet));
    let mut samples = decode(there, PACKET * FRAME);
    samples.drain(..LAG.min(samples.len()));
    samples.resize(length, 0.0);
    samples
}

/// Samples by which decoded sound lags what was encoded.
const LAG: usize = loa::audio::LOOKAHEAD;

/// Opus as ffmpeg makes it.
struct Foreign {
    packets: Vec<Vec<u8>>,
    skip: usize,
}

fn foreign(folder: &Path, reference: &Path, bitrate: u32, loss: u32) -> Foreign {
    let file = folder.join("ffmpeg.opus");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-y", "-i"]).arg(reference);
    ffmpeg.args([
        "-ac",
        "1",
        "-c:a",
        "libopus",
        "-application",
        "voip",
        "-vbr",
        "off",
        "-frame_duration",
        "20",
        "-fec",
        "1",
    ]);
    ffmpeg.args(["-packet_loss", &loss.to_string(), "-b:a", &bitrate.to_string()]).arg(&file);
    run(ffmpeg);
    let bytes = std::fs::read(&file).expect("ffmpeg wrote it");
    let mut reader = ogg::PacketReader::new(Cursor::new(bytes));
    let mut packets = Vec::new();
    while let Some(packet) = reader.read_packet().expect("ffmpeg writes whole Ogg pages") {
        packets.push(packet.data);
    }
    // RFC 7845 §5.1: the pre-skip stands in bytes 10 and 11 of the first header; the second holds tags.
    let skip = usize::from(u16::from_le_bytes([packets[0][10], packets[0][11]]));
    Foreign { packets: packets.split_off(2), skip }
}

impl Foreign {
    /// A lost packet is restored from what the next one carries of it, or concealed.
    fn play(&self, arrived: &[bool], length: usize) -> Vec<f32> {
        let mut decoder = opus::Decoder::new(RATE as u32, opus::Channels::Mono).expect("48 kHz mono");
        let mut samples = Vec::new();
        let mut frame = [0.0; FRAME];
        for (index, packet) in self.packets.iter().enumerate() {
            let next = self.packets.get(index + 1).filter(|_| arrived.get(index + 1) == Some(&true));
            let decoded = match (arrived[index], next) {
                (true, _) => decoder.decode_float(packet, &mut frame, false),
                (false, Some(next)) => decoder.decode_float(next, &mut frame, true),
                (false, None) => decoder.decode_float(&[], &mut frame, false),
            };
            samples.extend_from_slice(&frame[..decoded.expect("20 ms of Opus")]);
        }
        samples.drain(..self.skip.min(samples.len()));
        samples.resize(length, 0.0);
        samples
    }
}

/// One line for each condition, worst and mean over stretches of eight seconds.
fn score(reference: &Path, heard: &[(String, u32, u32, f64, PathBuf)]) {
    let Some(python) = std::env::var_os("LOA_PYTHON") else {
        println!(
            "{} files beside {}; no scores without LOA_PYTHON (tools/bench sets it)",
            heard.len(),
            reference.display()
        );
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/listening.py");
    let mut command = Command::new(python);
    command.arg(script).arg(reference).args(heard.iter().map(|(.., file)| file));
    let answer = String::from_utf8(run(command)).expect("scores are numbers");
    println!("kb/s   lost %   what plays             missing %   STOI    PESQ");
    for ((what, bitrate, loss, missing, _), scores) in heard.iter().zip(answer.lines()) {
        println!("{:>4}   {loss:>6}   {what:<20}   {:>9.2}   {scores}", bitrate / 1_000, missing * 100.0);
    }
}

fn write(folder: &Path, name: &str, samples: &[f32]) -> PathBuf {
    let file = folder.join(name.replace([',', ' '], "-")).with_extension("wav");
    std::fs::write(&file, wav(samples)).expect("the folder for made files can be written");
    file
}

fn wav(samples: &[f32]) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: RATE as u32,
        bits_per_sample: 32,
        sample_format: hound::SampleFormat::Float,
    };
    let mut writer = hound::WavWriter::new(&mut bytes, spec).expect("memory takes it");
    samples.iter().for_each(|sample| writer.write_sample(*sample).expect("memory takes it"));
    writer.finalize().expect("memory takes it");
    bytes.into_inner()
}

fn run(mut command: Command) -> Vec<u8> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}; apt-get install ffmpeg"));
    assert!(output.status.success(), "{command:?}: {}", output.status);
    output.stdout
}
