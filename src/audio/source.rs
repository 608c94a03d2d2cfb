//! Files and pipes in: any container that stations send, to mono at 48 kHz.
//!
//! ```text
//! bytes ▸ probe ▸ a demuxer of ours: packets with their places ▸ a decoder ▸ run: trim, fill, screen ▸ mix ▸ 48 kHz
//! ```
//!
//! Demuxers are ours (but FLAC's), because each trims what an encoder put around the sound, tells what is
//! missing, and takes no memory that a header asks for and the file doesn't fill; codecs are the library's.
//!
//! What is damaged plays on both sides of the damage. A gap whose length timestamps tell is filled with
//! silence, up to [`run::LONGEST_GAP`] seconds, and stands in [`Found::damage`]. Refused is what has less than
//! half of the sound that it promises.
use super::input::{Facts, Found, Input, Pcm};
use bytes::Bytes;
use fault::{Fault, guarded};
use run::Run;
use std::io::{Read, Seek};
use stream::{Demuxer, Step};

mod aiff;
mod bytes;
mod caf;
mod decoder;
mod fault;
mod flac;
mod matroska;
mod mp4;
mod mpeg;
mod ogg;
mod opus;
mod pcm;
mod probe;
mod riff;
mod run;
mod stream;
mod vorbis;

/// `code` is stable: `media.empty`, `media.unknown_format`, `media.unsupported`, `media.he_aac`,
/// `media.no_sound`, `media.truncated`, `media.damaged`, `media.too_long`, `media.changed`, `media.read`,
/// `media.pcm`, `media.options`, `media.encoder`; `text` says name, place (time or byte) and mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {text}")]
pub struct Error {
    pub code: &'static str,
    pub text: String,
}

impl Error {
    /// For another room's words on a file.
    pub fn new(code: &'static str, text: String) -> Self {
        Self { code, text }
    }

    /// The file of this name can't be opened or read.
    pub fn read(name: &str, error: &std::io::Error) -> Self {
        Fault::new("media.read", format!("can't be read: {error}; send a file that opens, from a disk that is sound"))
            .named(name)
    }
}

/// A decoder over one file or pipe. Memory is bounded whatever the length: one packet (at most 1 MiB), one
/// decoded block (65,536 samples of 8 channels), 200 ms of stereo, one block of the resampler, and the tables of
/// an MP4 file (64 MiB).
pub struct Source {
    name: String,
    facts: Facts,
    found: Found,
    demuxer: Box<dyn Demuxer>,
    run: Run,
    end: Option<Result<(), Error>>,
}

impl Source {
    /// A whole file; `name` is only for messages.
    pub fn open<R: Read + Seek + Send + Sync + 'static>(reader: R, name: &str) -> Result<Self, Error> {
        Self::begin(name, || probe::demuxer(Bytes::file(reader)?))
    }

    /// What comes down a pipe, told by its first bytes; blocks until they are there. No length is known before the
    /// end, but where the first bytes tell it.
    pub fn stream<R: Read + Send + Sync + 'static>(reader: R, name: &str) -> Result<Self, Error> {
        Self::begin(name, || probe::demuxer(Bytes::pipe(reader)))
    }

    /// Bare samples; no length is known before the end.
    pub fn pcm<R: Read + Send + Sync + 'static>(reader: R, name: &str, pcm: Pcm) -> Result<Self, Error> {
        Self::begin(name, || Ok(Box::new(riff::Samples::bare(Bytes::pipe(reader), pcm))))
    }

    fn begin(name: &str, open: impl FnOnce() -> Result<Box<dyn Demuxer>, Fault>) -> Result<Self, Error> {
        let begun = || {
            let mut demuxer = open()?;
            let Step::Stream(stream) = demuxer.next()? else { return Err(Fault::without_sound()) };
            let lengths = demuxer.lengths().or(stream.samples.map(|samples| vec![(stream.rate, samples)]));
            let there = lengths.iter().flatten().fold(0u64, |sum, (_, samples)| sum.saturating_add(*samples));
            if let Some(promised) = stream.samples.filter(|promised| lengths.is_some() && there < promised / 2) {
                return Err(Fault::truncated(there, promised, stream.rate));
            }
            let mut facts = Facts {
                container: stream.container.clone(),
                codec: stream.name.clone(),
                rate: stream.rate,
                channels: stream.layout.channels(),
                samples: None,
            };
            let run = Run::new(stream)?;
            facts.samples = lengths.map(|lengths| run.output_for(&lengths));
            Ok(Self { name: name.to_owned(), facts, found: Found::default(), demuxer, run, end: None })
        };
        guarded(begun).map_err(|fault| fault.named(name))
    }

    /// Some thousand samples further; false at the end.
    fn advance(&mut self, out: &mut Vec<f32>) -> Result<bool, Fault> {
        let before = out.len();
        while out.len() == before {
            if self.run.fill(out, &mut self.found) {
                continue;
            }
            let demuxer = &mut self.demuxer;
            match guarded(|| demuxer.next()) {
                Ok(Step::Packet(packet)) => self.run.play(&packet, out, &mut self.found),
                Ok(Step::Lost { samples, what }) => self.run.lost(samples, what, &mut self.found),
                Ok(Step::Stream(stream)) => {
                    let run = &mut self.run;
                    let next = guarded(|| Run::new(stream));
                    run.close(&mut self.found)?;
                    match next {
                        Ok(next) => run.go_on(next, out, &mut self.found),
                        Err(fault) => run.early(&fault.text, &mut self.found),
                    }
                }
                Ok(Step::Early { what }) => {
                    self.run.early(what, &mut self.found);
                    return self.finish(out);
                }
                Ok(Step::End) => return self.finish(out),
                Err(fault) if fault.code == "media.read" => return Err(fault),
                Err(fault) => {
                    self.run.early(&fault.text, &mut self.found);
                    return self.finish(out);
                }
            }
        }
        Ok(true)
    }

    fn finish(&mut self, out: &mut Vec<f32>) -> Result<bool, Fault> {
        self.run.close(&mut self.found)?;
        self.run.finish(out, &mut self.found)?;
        Ok(false)
    }
}

impl Input for Source {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Appends up to some thousand mono samples at 48 kHz to `out`; false at the end. Over the whole
    /// file these are its samples × 48,000 / its rate, rounded to the nearest, without the
    /// resampler's delay. After an error, every further call returns the same one.
    fn read(&mut self, out: &mut Vec<f32>) -> Result<bool, Error> {
        if let Some(end) = &self.end {
            return end.clone().map(|()| false);
        }
        match self.advance(out) {
            Ok(true) => Ok(true),
            Ok(false) => {
                self.end = Some(Ok(()));
                Ok(false)
            }
            Err(fault) => {
                let error = fault.named(&self.name);
                self.end = Some(Err(error.clone()));
                Err(error)
            }
        }
    }

    fn found(&self) -> &Found {
        &self.found
    }
}
