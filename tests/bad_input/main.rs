//! What bad input gets: refused, or played as far as it goes, by name, place and mend; never a panic, and never
//! more memory or time than [`bounded`] says.

mod bombs;
mod bounded;
mod cut;
mod damaged;
mod refused;
mod streams;

// Shared with the table of formats, which uses more of them.
#[allow(dead_code)]
#[path = "../formats/kinds.rs"]
mod kinds;
#[allow(dead_code)]
#[path = "../formats/made.rs"]
mod made;
#[allow(dead_code)]
#[path = "../formats/measure.rs"]
mod measure;

use kinds::Kind;
use loa::audio::Error;
use made::Plain;
use measure::{Heard, hear_reader};
use std::io::Cursor;

/// A whole file of each kind in the table, in stereo at 44.1 kHz.
pub struct Whole {
    pub kind: &'static Kind,
    pub plain: Plain,
    pub bytes: Vec<u8>,
}

pub fn whole_files() -> Vec<Whole> {
    let mut files = Vec::new();
    for kind in kinds::ALL.iter().copied().flatten() {
        if kind.rates.contains(&44_100) && kind.channels.contains(&2) {
            let plain = Plain::new(44_100, 2);
            let bytes = std::fs::read((kind.make)(&plain)).unwrap();
            files.push(Whole { kind, plain, bytes });
        }
    }
    files
}

impl Whole {
    pub fn name(&self) -> String {
        format!("bulletin.{}", self.kind.suffix)
    }

    /// Bytes of tags and junk before an MP3.
    pub fn before_sound(&self) -> usize {
        match self.bytes.first_chunk::<10>() {
            // ID3v2.4 §3.1: seven bits a byte, without the header's ten.
            Some([b'I', b'D', b'3', _, _, _, size @ ..]) => {
                10 + size.iter().fold(0, |sum, byte| sum << 7 | usize::from(*byte))
            }
            _ if self.kind.name == "mp3 behind junk" => 5_000,
            _ => 0,
        }
    }
}

/// Reads bytes as a file, within bounds.
pub fn hear_bytes(case: &str, bytes: Vec<u8>, name: &str) -> Result<Heard, Error> {
    bounded::bounded(case, || hear_reader(Cursor::new(bytes), name))
}

/// Name first, then what is wrong, then what to do about it.
pub fn check_refusal(case: &str, error: &Error, name: &str) {
    assert!(error.text.starts_with(&format!("{name}: ")), "{case}: no name in {error}");
    assert!(MENDS.iter().any(|mend| error.text.contains(mend)), "{case}: no mend in {error}");
    assert!(error.code.starts_with("media."), "{case}: {error}");
    assert!(!error.text.contains("panicked") && error.text.len() < 600, "{case}: {error}");
}

const MENDS: &[&str] = &["again", "export", "send ", "set ", "cut it", "write "];

/// Bytes whose first few are told to be others.
pub fn with(mut bytes: Vec<u8>, at: usize, new: &[u8]) -> Vec<u8> {
    bytes[at..at + new.len()].copy_from_slice(new);
    bytes
}

/// Where a word stands in a file, the first time.
pub fn find(bytes: &[u8], word: &[u8]) -> usize {
    bytes.windows(word.len()).position(|window| window == word).expect("the word is in the file")
}
