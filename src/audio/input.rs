//! Sound on its way in, wherever it is decoded: what a file says of itself, its samples, what is wrong with it.
use super::Error;
use serde::{Deserialize, Serialize};

/// Mono sound at 48 kHz, read once from its beginning to its end.
pub trait Input: Send {
    fn facts(&self) -> &Facts;

    /// Appends up to some ten thousand mono samples at 48 kHz to `out`; false at the end. After an error,
    /// every further call returns the same one. May block on the reader beneath.
    fn read(&mut self, out: &mut Vec<f32>) -> Result<bool, Error>;

    /// What was noticed so far; complete at the end.
    fn found(&self) -> &Found;
}

impl<I: Input + ?Sized> Input for Box<I> {
    fn facts(&self) -> &Facts {
        (**self).facts()
    }

    fn read(&mut self, out: &mut Vec<f32>) -> Result<bool, Error> {
        (**self).read(out)
    }

    fn found(&self) -> &Found {
        (**self).found()
    }
}

/// What a file or stream says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// "WAV", "MP4", "Ogg" …
    pub container: String,
    /// "PCM, 16 bit", "MP3", "AAC-LC" …
    pub codec: String,
    /// Hz, before resampling.
    pub rate: u32,
    pub channels: u16,
    /// Samples at 48 kHz that will come, encoder delay and padding left out; `None` if it doesn't say.
    pub samples: Option<u64>,
}

/// What was noticed while reading.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// The first hundred; each also fills its time with silence, where its length is known.
    pub damage: Vec<Damage>,
    /// Of all damage, seconds.
    pub lost: f64,
    /// Seconds in which a stereo file's channels were against each other.
    pub out_of_phase: f64,
    /// Samples, and runs of them, that stand at full scale of their format.
    pub clipped: u64,
    pub clipped_runs: u64,
}

/// A stretch that is missing or could not be decoded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Damage {
    /// Seconds from the beginning of the sound.
    pub at: f64,
    /// Seconds without sound; 0 where nobody can tell.
    pub lasts: f64,
    pub what: String,
}

/// Samples without a container: what `arecord -t raw` and `ffmpeg -f s16le` write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pcm {
    pub sample: PcmSample,
    /// Hz.
    pub rate: u32,
    pub channels: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PcmSample {
    U8,
    S16Le,
    S16Be,
    S24Le,
    S32Le,
    F32Le,
}

impl std::str::FromStr for Pcm {
    type Err = Error;

    /// `s16le:48000:1`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |what: &str| {
            let text = format!(
                "PCM {text:?}: {what}; write SAMPLE:RATE:CHANNELS, such as s16le:48000:1, with SAMPLE one of u8, \
                 s16le, s16be, s24le, s32le, f32le"
            );
            Error::new("media.pcm", text)
        };
        let mut parts = text.split(':');
        let (Some(sample), Some(rate), Some(channels), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong("not three parts"));
        };
        let sample = match sample.to_ascii_lowercase().as_str() {
            "u8" => PcmSample::U8,
            "s16le" => PcmSample::S16Le,
            "s16be" => PcmSample::S16Be,
            "s24le" => PcmSample::S24Le,
            "s32le" => PcmSample::S32Le,
            "f32le" => PcmSample::F32Le,
            _ => return Err(wrong("unknown kind of sample")),
        };
        let rate = rate.parse().map_err(|_| wrong("the rate is no number"))?;
        let channels = channels.parse().map_err(|_| wrong("the channels are no number"))?;
        if !super::header::RATES.contains(&rate) || !(1..=super::header::MOST_CHANNELS).contains(&channels) {
            return Err(wrong("8000 to 192000 Hz and 1 to 8 channels are taken"));
        }
        Ok(Self { sample, rate, channels })
    }
}

impl std::fmt::Display for Pcm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sample = match self.sample {
            PcmSample::U8 => "u8",
            PcmSample::S16Le => "s16le",
            PcmSample::S16Be => "s16be",
            PcmSample::S24Le => "s24le",
            PcmSample::S32Le => "s32le",
            PcmSample::F32Le => "f32le",
        };
        write!(f, "{sample}:{}:{}", self.rate, self.channels)
    }
}
