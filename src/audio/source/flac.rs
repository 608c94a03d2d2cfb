//! FLAC: the library's demuxer, behind a header of ours.
//!
//! The library keeps titles and pictures, and takes memory for what they claim. So it is shown the one block
//! that tells of the sound; all others are gone over (RFC 9639 §8), numbers big-endian:
//! ```text
//! "fLaC" │ ( last 1 bit │ type 7 bits │ length 24 bits │ body )*
//! STREAMINFO, type 0, first: 10 bytes │ rate 20 bits │ channels − 1, 3 bits │ bits − 1, 5 bits │
//!                            samples 36 bits, 0 = unknown │ MD5 16 bytes
//! ```
use super::bytes::Bytes;
use super::fault::Fault;
use super::stream::{Codec, Demuxer, Packet, Step, Stream};
use crate::audio::mix::Layout;
use std::io::{self, Cursor, ErrorKind, Read, Seek, SeekFrom};
use symphonia::core::codecs::CodecParameters;
use symphonia::core::errors::Error as Foreign;
use symphonia::core::formats::{FormatOptions, FormatReader};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::default::formats::FlacReader;

pub(super) struct Flac {
    format: FlacReader<'static>,
    first: Option<Stream>,
    /// Blocks that failed since the last good one.
    failed: u32,
}

impl Flac {
    pub fn new(mut bytes: Bytes) -> Result<Self, Fault> {
        let mut head = b"fLaC\x80\0\0\x22".to_vec();
        bytes.skip(4)?;
        let mut last = false;
        for block in 0.. {
            if last {
                break;
            }
            let position = bytes.position();
            let [kind, a, b, c] = bytes.array()?;
            let length = u32::from_be_bytes([0, a, b, c]);
            last = kind & 0x80 != 0;
            if block == 0 {
                if kind & 0x7f != 0 || length != 34 {
                    return Err(Fault::damaged(format!("byte {position}: FLAC without its STREAMINFO block")));
                }
                head.extend(bytes.array::<34>()?);
            } else if block > MOST_BLOCKS {
                return Err(Fault::damaged(format!("no sound after {MOST_BLOCKS} blocks")));
            } else if !bytes.skip(length.into())? {
                return Err(Fault::ends_in_header());
            }
        }
        let stream = information(&head[8..])?;
        super::run::check(stream.rate, stream.layout.channels())?;
        let rest = Joined { head: Cursor::new(head), rest: bytes };
        let rest = MediaSourceStream::new(Box::new(rest), Default::default());
        let format = FlacReader::try_new(rest, FormatOptions::default()).map_err(|fault| match fault {
            Foreign::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => Fault::without_sound(),
            fault => fault.into(),
        })?;
        let parameters = match format.tracks().first().and_then(|track| track.codec_params.as_ref()) {
            Some(CodecParameters::Audio(parameters)) => parameters.clone(),
            _ => return Err(Fault::damaged("FLAC without sound")),
        };
        let first = Some(Stream { codec: Codec::Library(Box::new(parameters)), ..stream });
        Ok(Self { format, first, failed: 0 })
    }
}

impl Demuxer for Flac {
    fn next(&mut self) -> Result<Step, Fault> {
        if let Some(stream) = self.first.take() {
            return Ok(Step::Stream(stream));
        }
        loop {
            match self.format.next_packet() {
                Ok(Some(packet)) => {
                    self.failed = 0;
                    let (at, samples) = (Some(packet.pts.get()), packet.dur.get());
                    return Ok(Step::Packet(Packet { data: packet.data.into_vec(), at, until: None, cut: 0, samples }));
                }
                Ok(None) => return Ok(Step::End),
                Err(Foreign::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => return Ok(Step::End),
                // The library's own word for a frame that is cut short.
                Err(Foreign::IoError(error)) if !error.to_string().contains("bitstream") => return Err(error.into()),
                // The next good frame's number tells what was lost.
                Err(_) if self.failed < MOST_FAILED => self.failed += 1,
                Err(fault) => return Err(fault.into()),
            }
        }
    }
}

/// The stream that a STREAMINFO block tells of, still without its decoder.
pub(super) fn information(block: &[u8]) -> Result<Stream, Fault> {
    let Some(info) = block.first_chunk::<34>() else { return Err(Fault::damaged("FLAC without its STREAMINFO block")) };
    let samples = u64::from_be_bytes([0, 0, 0, info[13] & 0x0f, info[14], info[15], info[16], info[17]]);
    let channels = u16::from(info[12] >> 1 & 7) + 1;
    let bits = (u32::from(info[12] & 1) << 4 | u32::from(info[13] >> 4)) + 1;
    Ok(Stream {
        container: "FLAC".into(),
        name: format!("FLAC, {bits} bit"),
        codec: Codec::Pcm(super::pcm::Number::U8),
        rate: u32::from_be_bytes([0, info[10], info[11], info[12]]) >> 4,
        layout: Layout::usual(channels),
        begins: 0,
        ends: None,
        samples: (samples > 0).then_some(samples),
        slack: 0,
        full_scale: 1.0 - 1.0 / (1u64 << (bits - 1).min(31)) as f32,
    })
}

/// A header of ours and what follows it, read forward.
struct Joined {
    head: Cursor<Vec<u8>>,
    rest: Bytes,
}

impl Read for Joined {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.head.read(out)? {
            0 => self.rest.read(out),
            count => Ok(count),
        }
    }
}

impl Seek for Joined {
    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        Err(io::Error::other("read forward alone"))
    }
}

impl MediaSource for Joined {
    fn is_seekable(&self) -> bool {
        false
    }

    fn byte_len(&self) -> Option<u64> {
        None
    }
}

/// Real files have fewer than twenty; the bound ends the walk through a hostile one.
const MOST_BLOCKS: u32 = 1_024;
/// Each goes over some bytes at least.
const MOST_FAILED: u32 = 100_000;
