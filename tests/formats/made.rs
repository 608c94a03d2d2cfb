//! Files as the stations' own programs make them: by ffmpeg, sox, lame, oggenc, opusenc and flac, once, and
//! kept under `target/tmp` by a hash of how they were made.

use std::ffi::OsStr;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

pub const BULLETIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/demo/bulletin.flac");
pub const BULLETIN_2: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/demo/bulletin-2.flac");

/// Sound before any format has it: 16-bit WAV, and the mono at 48 kHz that must come out.
pub struct Plain {
    pub path: PathBuf,
    pub rate: u32,
    pub channels: u16,
    /// Per channel.
    pub samples: u64,
    expected: PathBuf,
}

/// Makes other bytes of a file's own.
type Change = dyn Fn(Vec<u8>, &Plain) -> Vec<u8>;

/// One step on the way from a plain file to a format.
pub enum Step {
    /// A program; `IN` and `OUT` in its arguments become paths, `RATE` the rate.
    Run(&'static str, Vec<String>),
    /// The bytes of `IN` made other ones; the name tells its versions apart.
    Bytes(&'static str, Box<Change>),
}

impl Step {
    pub fn run(program: &'static str, arguments: &str) -> Self {
        Self::Run(program, arguments.split_whitespace().map(str::to_owned).collect())
    }

    pub fn ffmpeg(arguments: &str) -> Self {
        Self::run("ffmpeg", &format!("-v error -y -i IN {arguments} OUT"))
    }

    pub fn bytes(name: &'static str, change: impl Fn(Vec<u8>, &Plain) -> Vec<u8> + 'static) -> Self {
        Self::Bytes(name, Box::new(change))
    }

    fn name(&self) -> String {
        match self {
            Self::Run(program, arguments) => format!("{program} {}", arguments.join(" ")),
            Self::Bytes(name, _) => (*name).to_owned(),
        }
    }
}

impl Plain {
    /// Speech alone; speech with softer speech of another kind beside it in the second channel; or a 5.1
    /// recording with speech in the centre and a softer murmur everywhere else.
    pub fn new(rate: u32, channels: u16) -> Self {
        let samples = (SECONDS * f64::from(rate)) as u64;
        let path = kept(&format!("plain {VERSION} {rate} {channels}"), "wav", |out| {
            let speech = at_rate(BULLETIN_2, rate, samples, 0.0);
            let mut writer = hound::WavWriter::create(out, specification(rate, channels)).unwrap();
            let murmurs: Vec<_> =
                (0..channels).map(|channel| at_rate(BULLETIN, rate, samples, 2.0 + 3.0 * f64::from(channel))).collect();
            for at in 0..samples as usize {
                for channel in 0..channels {
                    let spoken = channel == centre(channels);
                    let beside = if channels == 2 { BESIDE } else { AROUND };
                    let sample = if spoken { speech[at] } else { beside * murmurs[usize::from(channel)][at] };
                    writer.write_sample((sample * 32_767.0).round() as i16).unwrap();
                }
            }
            writer.finalize().unwrap();
        });
        let expected = kept(&format!("expected {VERSION} {rate} {channels}"), "f32", |out| {
            // Independent of Loa's own resampler; sox's has no delay.
            let mix = match channels {
                1 => "1".to_owned(),
                2 => "1v0.5,2v0.5".to_owned(),
                _ => (centre(channels) + 1).to_string(),
            };
            let output = ["-t", "f32", "-L", out.to_str().unwrap(), "remix", &mix, "rate", "-v", "48000"];
            run("sox", &[&["-D", path.to_str().unwrap()], &output[..]].concat());
        });
        Self { path, rate, channels, samples, expected }
    }

    /// Mono at 48 kHz; of six channels the centre.
    pub fn expected(&self) -> Vec<f32> {
        floats(&fs::read(&self.expected).unwrap())
    }

    /// Length in samples at 48 kHz.
    pub fn length(&self) -> f64 {
        self.samples as f64 * 48_000.0 / f64::from(self.rate)
    }

    /// This sound in another format; made now, or found as it was made before.
    pub fn through(&self, steps: &[Step], suffix: &str) -> PathBuf {
        let names: Vec<String> = steps.iter().map(Step::name).collect();
        let recipe = format!("{VERSION} {} {} {names:?}", self.rate, self.channels);
        kept(&recipe, suffix, |out| {
            let folder = tempfile::tempdir().unwrap();
            let mut current = self.path.clone();
            for (number, step) in steps.iter().enumerate() {
                let last = number + 1 == steps.len();
                let next = if last { out.to_owned() } else { folder.path().join(format!("{number}.{suffix}")) };
                match step {
                    Step::Run(program, arguments) => {
                        let named = |argument: &String| {
                            let argument = argument.replace("RATE", &self.rate.to_string());
                            let argument = argument.replace("IN", current.to_str().unwrap());
                            argument.replace("OUT", next.to_str().unwrap())
                        };
                        run(program, &arguments.iter().map(named).collect::<Vec<_>>());
                    }
                    Step::Bytes(_, change) => fs::write(&next, change(fs::read(&current).unwrap(), self)).unwrap(),
                }
                current = next;
            }
        })
    }
}

/// Where a recording of so many channels has its speech: the centre of FL FR FC LFE BL BR.
pub fn centre(channels: u16) -> u16 {
    if channels > 2 { 2 } else { 0 }
}

/// Runs a program that must succeed; its standard output.
pub fn run<A: AsRef<OsStr> + std::fmt::Debug>(program: &str, arguments: &[A]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| {
        panic!("{program}: {error}; apt-get install ffmpeg sox flac lame vorbis-tools opus-tools")
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    output.stdout
}

/// The file of this recipe. Made beside its place and moved there, since other threads may make it too.
pub fn kept(recipe: &str, suffix: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("formats");
    fs::create_dir_all(&folder).unwrap();
    let mut hasher = DefaultHasher::new();
    (recipe, suffix).hash(&mut hasher);
    let path = folder.join(format!("{:016x}.{suffix}", hasher.finish()));
    if !path.exists() {
        let making = tempfile::Builder::new().suffix(&format!(".{suffix}")).tempfile_in(&folder).unwrap();
        make(making.path());
        fs::rename(making.path(), &path).unwrap();
    }
    path
}

/// 32-bit little-endian floats.
pub fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}

/// So many samples of a demo bulletin from `from` seconds on.
pub fn at_rate(bulletin: &str, rate: u32, samples: u64, from: f64) -> Vec<f32> {
    let (rate, from, length) = (rate.to_string(), from.to_string(), format!("{samples}s"));
    let arguments = ["-D", bulletin, "-t", "f32", "-L", "-", "trim", &from, "rate", "-v", &rate, "trim", "0", &length];
    let sound = floats(&run("sox", &arguments));
    assert_eq!(sound.len() as u64, samples, "{bulletin} is long enough");
    sound
}

pub fn specification(sample_rate: u32, channels: u16) -> hound::WavSpec {
    hound::WavSpec { channels, sample_rate, bits_per_sample: 16, sample_format: hound::SampleFormat::Int }
}

/// To be raised when the plain sound changes: it is part of every recipe.
const VERSION: u32 = 2;
/// No format's frame, and no millisecond, ends where this sound ends.
const SECONDS: f64 = 3.456_78;
/// −12 dB: the second channel of a stereo recording.
const BESIDE: f32 = 0.25;
/// −20 dB: each channel around the centre; a plain average of six correlates 0.98 with the centre.
const AROUND: f32 = 0.1;
