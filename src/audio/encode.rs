//! 48 kHz mono → loudness → Opus frames of 20 ms, hard CBR.
use super::Error;
use bytes::Bytes;
use std::io::{Read, Seek};

/// Samples per Opus frame (20 ms).
pub const FRAME: usize = 960;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// b/s, 6,000–64,000.
    pub bitrate: u32,
    /// Integrated loudness wanted, LUFS.
    pub loudness: f64,
    /// True peak allowed, dBTP.
    pub peak: f64,
    /// Opus complexity, 0–10.
    pub complexity: i32,
    /// Longest file accepted, seconds.
    pub longest: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { bitrate: 24_000, loudness: -16.0, peak: -1.5, complexity: 10, longest: 4 * 3600 }
    }
}

/// One encoded rendition: 20 ms Opus frames, all of one size. What `media/` keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frames {
    pub bitrate: u32,
    pub frames: Vec<Bytes>,
}

impl Frames {
    /// Versioned, checksummed file form.
    pub fn to_bytes(&self) -> Vec<u8> {
        todo!()
    }

    pub fn from_bytes(_bytes: &[u8]) -> Result<Self, Error> {
        todo!()
    }
}

/// What the transcoder found.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Report {
    /// Seconds of sound.
    pub duration: f64,
    /// Integrated loudness before, LUFS; `None` for silence.
    pub loudness: Option<f64>,
    pub true_peak: Option<f64>,
    /// Gain applied, dB.
    pub gain: f64,
}

/// Decodes, normalises (two passes) and encodes once.
pub fn transcode<R: Read + Seek + Send + Sync + 'static>(
    _open: impl FnMut() -> std::io::Result<R>,
    _name: &str,
    _options: &Options,
    _progress: impl FnMut(f64),
) -> Result<(Frames, Report), Error> {
    todo!()
}

/// Joins 20 ms frames into Opus packets of at most 120 ms (RFC 6716 §3.2); a changed TOC begins a new
/// one. `frames` are one track packet's worth.
pub fn join(_frames: &[Bytes]) -> Vec<Bytes> {
    todo!()
}
