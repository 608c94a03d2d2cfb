//! Files in: WAV and FLAC to mono 48 kHz.
use super::header::{Header, Kind, truncated, unreadable};
use super::input::{Facts, Found, Input};
use super::resample::ToPlayoutRate;
use std::io::{ErrorKind, Read, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as Fault;
use symphonia::core::formats::{FormatOptions, FormatReader};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::default::formats::{FlacReader, WavReader};

/// Float samples beyond this (+120 dBFS) are no sound but a damaged or mislabelled file.
const LOUDEST: f32 = 1e6;

/// `code` is stable: `media.empty`, `media.unknown_format`, `media.unsupported`, `media.truncated`,
/// `media.damaged`, `media.too_long`, `media.changed`, `media.read`, `media.options`,
/// `media.encoder`; `text` says name, place (time or byte) and mend.
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
        unreadable(name, error)
    }
}

/// A decoder over one file. Memory is bounded whatever the length: the decoder's block (at most
/// 65,535 samples of 8 channels, RFC 9639 §9.1), one block of the resampler, and the file's titles
/// and pictures (32 MiB at most, refused beyond).
pub struct Source {
    name: String,
    header: Header,
    facts: Facts,
    found: Found,
    format: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    /// Samples per channel decoded so far.
    decoded: u64,
    interleaved: Vec<f32>,
    mono: Vec<f32>,
    resampler: ToPlayoutRate,
    end: Option<Result<(), Error>>,
}

impl Source {
    /// `name` is only for messages.
    pub fn open<R: Read + Seek + Send + Sync + 'static>(mut reader: R, name: &str) -> Result<Self, Error> {
        let header = Header::read(&mut reader, name)?;
        if header.samples == Some(0) {
            return Err(without_sound(name));
        }
        let stream = MediaSourceStream::new(Box::new(Seekable(reader)), Default::default());
        let (format, decoder) = guarded(|| {
            let format: Box<dyn FormatReader> = match header.kind {
                Kind::Wav => Box::new(WavReader::try_new(stream, FormatOptions::default())?),
                Kind::Flac => Box::new(FlacReader::try_new(stream, FormatOptions::default())?),
            };
            let parameters = match format.tracks().first().and_then(|track| track.codec_params.as_ref()) {
                Some(CodecParameters::Audio(parameters)) => parameters.clone(),
                _ => return Err(Fault::Unsupported("no track of sound")),
            };
            // FLAC carries an MD5 of its sound: a file that decodes to something else is damaged.
            let options = AudioDecoderOptions::default().verify(true);
            let decoder = symphonia::default::get_codecs().make_audio_decoder(&parameters, &options)?;
            Ok((format, decoder))
        })
        .map_err(|fault| fault.into_error(name, &header, 0))?;
        let resampler = ToPlayoutRate::new(header.rate);
        let (container, codec) = match header.kind {
            Kind::Wav => ("WAV", "PCM"),
            Kind::Flac => ("FLAC", "FLAC"),
        };
        let facts = Facts {
            container: container.into(),
            codec: codec.into(),
            rate: header.rate,
            channels: header.channels,
            samples: header.samples.map(|samples| resampler.output_for(samples)),
        };
        Ok(Self {
            name: name.to_owned(),
            resampler,
            facts,
            found: Found::default(),
            header,
            format,
            decoder,
            decoded: 0,
            interleaved: Vec::new(),
            mono: Vec::new(),
            end: None,
        })
    }

    fn advance(&mut self, out: &mut Vec<f32>) -> Result<bool, Error> {
        let (format, decoder, interleaved) = (&mut self.format, &mut self.decoder, &mut self.interleaved);
        let whole = self.header.samples.is_some_and(|promised| self.decoded >= promised);
        let block = guarded(|| {
            let packet = match format.next_packet() {
                // How the reader of a WAV written into a pipe meets its end.
                Err(Fault::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof && whole => return Ok(None),
                packet => packet?,
            };
            let Some(packet) = packet else { return Ok(None) };
            let decoded = decoder.decode(&packet)?;
            decoded.copy_to_vec_interleaved::<f32>(interleaved);
            Ok(Some((packet.pts.get(), decoded.spec().rate(), decoded.num_planes())))
        })
        .map_err(|fault| fault.into_error(&self.name, &self.header, self.decoded))?;
        let Some((begins, rate, channels)) = block else {
            return self.finish(out).map(|()| false);
        };
        if begins != self.decoded as i64 {
            // The FLAC reader leaves out a frame whose checksum fails; the next one's number tells.
            return Err(self.damaged("a stretch is missing or its checksum fails"));
        }
        if rate != self.header.rate || channels != usize::from(self.header.channels) {
            return Err(self.damaged("the sample rate or the number of channels changes"));
        }
        self.mono.clear();
        let share = 1.0 / channels as f32;
        for (offset, sample) in self.interleaved.chunks_exact(channels).enumerate() {
            let mono = sample.iter().sum::<f32>() * share;
            // False for NaN too, and for an infinity in any channel.
            if mono.abs() <= LOUDEST {
                self.mono.push(mono);
            } else {
                self.decoded += offset as u64;
                return Err(self.damaged("a sample is not a number or beyond any loudness"));
            }
        }
        self.decoded += self.mono.len() as u64;
        self.resampler.push(&self.mono, out);
        Ok(true)
    }

    fn finish(&mut self, out: &mut Vec<f32>) -> Result<(), Error> {
        if let Some(promised) = self.header.samples
            && self.decoded < promised
        {
            return Err(truncated(&self.name, self.decoded, Some(promised), self.header.rate));
        }
        if self.decoded == 0 {
            return Err(without_sound(&self.name));
        }
        let decoder = &mut self.decoder;
        if guarded(|| Ok(decoder.finalize().verify_ok)).is_ok_and(|verified| verified == Some(false)) {
            let text = format!("{}: the sound is not what its checksum says; copy or export it again", self.name);
            return Err(Error::new("media.damaged", text));
        }
        self.resampler.finish(out);
        Ok(())
    }

    fn damaged(&self, what: &str) -> Error {
        damaged(&self.name, &self.header, self.decoded, what)
    }
}

impl Source {
    /// What comes down a pipe, told by its first bytes; no length is known before the end.
    pub fn stream<R: Read + Send + Sync + 'static>(_reader: R, name: &str) -> Result<Self, Error> {
        Err(Error::new("media.unsupported", format!("{name}: no stream is read yet")))
    }

    /// Bare samples; no length is known before the end.
    pub fn pcm<R: Read + Send + Sync + 'static>(_reader: R, name: &str, _pcm: super::Pcm) -> Result<Self, Error> {
        Err(Error::new("media.unsupported", format!("{name}: no stream is read yet")))
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
            Err(error) => {
                self.end = Some(Err(error.clone()));
                Err(error)
            }
        }
    }

    fn found(&self) -> &Found {
        &self.found
    }
}

/// What went wrong inside the decoder.
enum Trouble {
    Fault(Fault),
    Panic,
}

impl Trouble {
    fn into_error(self, name: &str, header: &Header, decoded: u64) -> Error {
        match self {
            Self::Fault(Fault::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                truncated(name, decoded, header.samples, header.rate)
            }
            Self::Fault(Fault::IoError(error)) => unreadable(name, &error),
            Self::Fault(Fault::Unsupported(what) | Fault::LimitError(what)) => {
                let text = format!("{name}: {what}: Loa doesn't read this; export it as 16-bit PCM WAV or FLAC");
                Error::new("media.unsupported", text)
            }
            Self::Fault(fault) => damaged(name, header, decoded, &fault.to_string()),
            Self::Panic => damaged(name, header, decoded, "the decoder gave up"),
        }
    }
}

/// Runs a piece of the decoder; a panic in it is a fault of the file, not of this program.
fn guarded<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Trouble> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(Trouble::Fault),
        Err(_) => Err(Trouble::Panic),
    }
}

fn damaged(name: &str, header: &Header, decoded: u64, what: &str) -> Error {
    let seconds = decoded as f64 / f64::from(header.rate);
    Error::new("media.damaged", format!("{name}: at {seconds:.3} s: {what}; copy or export it again"))
}

fn without_sound(name: &str) -> Error {
    Error::new("media.empty", format!("{name}: the header is there, but no sound follows; record or export it again"))
}

struct Seekable<R>(R);

impl<R: Read> Read for Seekable<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Seek> Seek for Seekable<R> {
    fn seek(&mut self, position: std::io::SeekFrom) -> std::io::Result<u64> {
        self.0.seek(position)
    }
}

impl<R: Read + Seek + Send + Sync> MediaSource for Seekable<R> {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        // Only of use to seek in a stream, which nothing here does.
        None
    }
}
