//! Files in: WAV and FLAC to mono 48 kHz.
use std::io::{Read, Seek};

/// `code` is stable: `media.empty`, `media.unknown_format`, `media.truncated`, `media.damaged`,
/// `media.too_long`, `media.unsupported` …; `text` says name, place (time or byte) and mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {text}")]
pub struct Error {
    pub code: &'static str,
    pub text: String,
}

/// A decoder over one file. Memory is bounded whatever the length.
pub struct Source {}

impl Source {
    /// `name` is only for messages.
    pub fn open<R: Read + Seek + Send + Sync + 'static>(_reader: R, _name: &str) -> Result<Self, Error> {
        todo!()
    }

    /// Appends up to some thousand mono samples at 48 kHz to `out`; false at the end.
    pub fn read(&mut self, _out: &mut Vec<f32>) -> Result<bool, Error> {
        todo!()
    }
}
