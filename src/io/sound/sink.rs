//! What takes the frames of a modelled card: a WAV file, or nobody.
use super::super::clock;
use super::Said;
use crate::time::{Local, RATE};
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

/// Takes frames and never holds the thread up for longer than a file does.
pub trait Sink: Send {
    /// False when the frames are lost: nothing of them will leave. Says what is wrong when that begins,
    /// and when it ends.
    fn write(&mut self, frames: &[f32], now: Local, said: &mut Vec<Said>) -> bool;

    /// The last frames have been written.
    fn stop(&mut self);
}

/// A frame as a device takes it: 16 bits.
pub fn sample(frame: f32) -> i16 {
    (frame.clamp(-1.0, 1.0) * f32::from(i16::MAX)).round() as i16
}

/// Only time passes.
pub struct Null;

impl Sink for Null {
    fn write(&mut self, _: &[f32], _: Local, _: &mut Vec<Said>) -> bool {
        true
    }

    fn stop(&mut self) {}
}

/// A WAV file, 16 bits mono 48 kHz, readable whenever the process ends.
pub struct Wav {
    /// `None` once the file takes no more.
    writer: Option<hound::WavWriter<BufWriter<File>>>,
    path: PathBuf,
    pub flushed: Local,
}

impl Wav {
    pub fn create(path: &Path) -> io::Result<Self> {
        let create = || -> io::Result<_> {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            let file = BufWriter::new(File::create(path)?);
            let spec = hound::WavSpec {
                channels: 1,
                sample_rate: RATE,
                bits_per_sample: 16,
                sample_format: hound::SampleFormat::Int,
            };
            let mut writer = hound::WavWriter::new(file, spec).map_err(io::Error::other)?;
            writer.flush().map_err(io::Error::other)?;
            Ok(writer)
        };
        let writer = create().map_err(|error| {
            let text = format!("{}: {error}; choose a file that can be written as playout.device", path.display());
            io::Error::new(error.kind(), text)
        })?;
        Ok(Self { writer: Some(writer), path: path.to_owned(), flushed: clock::local() })
    }

    fn add(&mut self, frames: &[f32], now: Local) -> Result<(), String> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        if writer.len() > LONGEST_FILE {
            return Err("a WAV file holds no more than 12 hours; restart the node with another file".into());
        }
        let explain = |error: hound::Error| format!("{error}; make room on the disk and restart the node");
        for frame in frames {
            writer.write_sample(sample(*frame)).map_err(explain)?;
        }
        if now - self.flushed >= FLUSH {
            self.flushed = now;
            writer.flush().map_err(explain)?;
        }
        Ok(())
    }
}

impl Sink for Wav {
    fn write(&mut self, frames: &[f32], now: Local, said: &mut Vec<Said>) -> bool {
        if let Err(error) = self.add(frames, now) {
            self.writer = None;
            let text = format!("{}: the file takes no more sound: {error}", self.path.display());
            said.push(Said::Trouble { code: "sound.file", text });
        }
        self.writer.is_some()
    }

    fn stop(&mut self) {
        if let Some(writer) = self.writer.take()
            && let Err(error) = writer.finalize()
        {
            tracing::error!(code = "sound.file", file = %self.path.display(), %error, "the speaker's file is not complete");
        }
    }
}

/// µs between headers brought up to date: a killed process leaves a file that lacks a second at most.
pub const FLUSH: i64 = 500_000;
/// Frames in one file: WAV counts bytes in 32 bits, so 12 hours.
const LONGEST_FILE: u32 = RATE * 3600 * 12;
