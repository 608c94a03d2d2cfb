//! WAV, and its kin for more than 4 GB; and bare samples from anywhere.
//!
//! RIFF chunks (Microsoft Multimedia Programming Interface 1.0), all numbers little-endian:
//! ```text
//! "RIFF" │ length 4 │ "WAVE" │ ( id 4 │ length 4 │ body, padded to even )*
//! "fmt " body: format 2 │ channels 2 │ rate 4 │ bytes per second 4 │ block 2 │ bits 2 │
//!              [ extra 2 │ samples per block or valid bits 2 │ mask 4 │ true format 2 … ]
//! "RF64" (EBU Tech 3306) and "BW64" (ITU-R BS.2088): lengths of 0xffffffff stand in the first chunk,
//! "ds64" body: file 8 │ data 8 │ samples 8 │ …
//! ```
use super::bytes::Bytes;
use super::fault::Fault;
use super::pcm::Number;
use super::stream::{Codec, Demuxer, Packet, Step, Stream};
use crate::audio::Pcm;
use crate::audio::mix::Layout;
use symphonia::core::audio::Channels;
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_ADPCM_IMA_WAV, CODEC_ID_ADPCM_MS};

/// Stands on the first byte of the file.
pub(super) fn wav(mut bytes: Bytes) -> Result<Box<dyn Demuxer>, Fault> {
    let head: [u8; 12] = bytes.array()?;
    let container = match &head[..4] {
        b"RF64" => "RF64",
        b"BW64" => "BW64",
        _ => "WAV",
    };
    let (mut format, mut long, mut fact) = (None, None, None);
    for _ in 0..MOST_CHUNKS {
        let position = bytes.position();
        let chunk: [u8; 8] = bytes.array()?;
        let claimed = number(&chunk, 4);
        let mut left = u64::from(claimed) + u64::from(claimed & 1);
        match &chunk[..4] {
            b"fmt " => {
                let body = bytes.up_to(claimed.min(MOST_FORMAT) as usize)?;
                left -= body.len() as u64;
                format = Some(body);
            }
            b"ds64" if claimed >= 16 => {
                let body: [u8; 16] = bytes.array()?;
                left -= 16;
                long = body.last_chunk().map(|eight| u64::from_le_bytes(*eight));
            }
            b"fact" if claimed >= 4 => {
                fact = Some(u32::from_le_bytes(bytes.array()?));
                left -= 4;
            }
            b"data" => {
                let Some(format) = format else {
                    return Err(Fault::damaged(format!("byte {position}: sound without a \"fmt \" chunk before it")));
                };
                return data(bytes, container, &format, claimed, long, fact);
            }
            _ => {}
        }
        if !bytes.skip(left)? {
            return Err(Fault::ends_in_header());
        }
    }
    Err(Fault::damaged(format!("no sound in the first {MOST_CHUNKS} chunks")))
}

fn data(
    bytes: Bytes,
    container: &str,
    format: &[u8],
    claimed: u32,
    long: Option<u64>,
    fact: Option<u32>,
) -> Result<Box<dyn Demuxer>, Fault> {
    if format.len() < 16 {
        return Err(Fault::damaged("the \"fmt \" chunk is too short"));
    }
    let short = |at: usize| u16::from_le_bytes([format[at], format[at + 1]]);
    let (mut tag, channels, rate, block, bits) = (short(0), short(2), number(format, 4), short(12), short(14));
    let mut mask = 0;
    if tag == EXTENSIBLE && format.len() >= 26 {
        (tag, mask) = (short(24), number(format, 20));
    }
    let there = bytes.length().map(|length| length.saturating_sub(bytes.position()));
    let claimed = match (claimed, long) {
        (u32::MAX, Some(long)) => Some(long),
        // Written into a pipe, where the length is not known yet, or by a recorder that was cut off.
        (u32::MAX, None) => None,
        (0, _) if there.is_none_or(|there| there > MOST_CHUNK_TAIL) => None,
        (UNTRUE.., _) if there.is_none_or(|there| there < u64::from(claimed)) => None,
        _ => Some(u64::from(claimed)),
    };
    // A mask of zero says that no channel has a place.
    let placed = tag_is_plain(format) || channels < 3;
    let layout = if mask == 0 && placed { Layout::usual(channels) } else { Layout::mask(channels, mask) };
    let mut stream = Stream {
        container: container.into(),
        name: String::new(),
        codec: Codec::Pcm(Number::U8),
        rate,
        layout,
        begins: 0,
        ends: None,
        samples: None,
        slack: 0,
        full_scale: 1.0,
    };
    // Refusals of rate and channels, in words of their own, are the run's.
    let known = (1..=8).contains(&channels);
    if let (Some(id), true) = (adpcm(tag), known) {
        let per_block = if format.len() >= 20 { short(18) } else { 0 };
        if block == 0 || per_block == 0 || !sane(tag, channels, block, per_block) {
            return Err(Fault::damaged(format!(
                "WAV format {tag:#06x}: blocks of {block} bytes with {per_block} samples"
            )));
        }
        let mut parameters = AudioCodecParameters::new();
        parameters
            .for_codec(id)
            .with_sample_rate(rate)
            .with_channels(Channels::Discrete(channels))
            .with_max_frames_per_packet(per_block.into())
            .with_frames_per_block(per_block.into());
        stream.name = if tag == MS_ADPCM { "ADPCM, Microsoft".into() } else { "ADPCM, IMA".into() };
        stream.codec = Codec::Library(Box::new(parameters));
        let all = claimed.map(|claimed| claimed / u64::from(block) * u64::from(per_block));
        stream.ends = fact.map(u64::from).filter(|fact| *fact > 0 && all.is_none_or(|all| *fact <= all));
        return Ok(Box::new(Samples::new(bytes, stream, block.into(), per_block.into(), claimed, 1)));
    }
    let number = match (tag, bits) {
        (1, 1..=8) => Number::U8,
        (1, 9..=32) => Number::Little(bits.div_ceil(8) as u8),
        (3, 32) => Number::F32Little,
        (3, 64) => Number::F64Little,
        (6, 8) => Number::ALaw,
        (7, 8) => Number::MuLaw,
        (1 | 3 | 6 | 7, _) => return Err(Fault::damaged(format!("the header gives samples of {bits} bits"))),
        _ => {
            let text = format!("WAV format {tag:#06x} is compressed in a way Loa doesn't read");
            return Err(Fault::unsupported(text));
        }
    };
    Ok(Box::new(Samples::pcm(bytes, stream, number, claimed)))
}

fn tag_is_plain(format: &[u8]) -> bool {
    format[..2] != EXTENSIBLE.to_le_bytes()
}

fn adpcm(tag: u16) -> Option<symphonia::core::codecs::audio::AudioCodecId> {
    match tag {
        MS_ADPCM => Some(CODEC_ID_ADPCM_MS),
        0x11 => Some(CODEC_ID_ADPCM_IMA_WAV),
        _ => None,
    }
}

/// Whether a block of so many bytes can hold so many samples: four bits each, but those in the block's header.
fn sane(tag: u16, channels: u16, block: u16, per_block: u16) -> bool {
    let (channels, block, per_block) = (u32::from(channels), u32::from(block), u32::from(per_block));
    let (header, first) = if tag == MS_ADPCM { (7 * channels, 2) } else { (4 * channels, 1) };
    channels <= 2 && block > header && per_block <= (block - header) * 2 / channels + first
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|four| four.first_chunk()).map_or(0, |four| u32::from_le_bytes(*four))
}

/// Blocks of one length, each with as many samples, up to a given number of bytes.
pub(super) struct Samples {
    bytes: Bytes,
    first: Option<Stream>,
    /// Bytes in a block, samples in it, and blocks to a packet.
    block: u64,
    per_block: u64,
    together: u64,
    /// Bytes still to come; `None`: all there are.
    left: Option<u64>,
    lengths: Option<Vec<(u32, u64)>>,
}

impl Samples {
    pub fn bare(bytes: Bytes, pcm: Pcm) -> Self {
        let stream = Stream {
            container: "bare samples".into(),
            name: String::new(),
            codec: Codec::Pcm(Number::U8),
            rate: pcm.rate,
            layout: Layout::usual(pcm.channels),
            begins: 0,
            ends: None,
            samples: None,
            slack: 0,
            full_scale: 1.0,
        };
        Self::pcm(bytes, stream, pcm.into(), None)
    }

    /// `claimed`: bytes.
    pub fn pcm(bytes: Bytes, mut stream: Stream, number: Number, claimed: Option<u64>) -> Self {
        let block = number.bytes() as u64 * u64::from(stream.layout.channels().max(1));
        (stream.name, stream.codec, stream.full_scale) = (number.name(), Codec::Pcm(number), number.full_scale());
        // 20 ms of a pipe, so that live sound isn't kept waiting.
        let together = if bytes.is_seekable() { FILE_BLOCK } else { u64::from(stream.rate / 50).max(1) };
        Self::new(bytes, stream, block, 1, claimed, together)
    }

    fn new(bytes: Bytes, mut stream: Stream, block: u64, per_block: u64, claimed: Option<u64>, together: u64) -> Self {
        let there = bytes.length().map(|length| length.saturating_sub(bytes.position()));
        let samples = |bytes: u64| (bytes / block).saturating_mul(per_block).min(stream.ends.unwrap_or(u64::MAX));
        let promised = claimed.or(there).map(samples);
        let lengths = there.map(|there| vec![(stream.rate, samples(there.min(claimed.unwrap_or(there))))]);
        stream.samples = promised;
        Self { bytes, first: Some(stream), block, per_block, together, left: claimed, lengths }
    }
}

impl Demuxer for Samples {
    fn next(&mut self) -> Result<Step, Fault> {
        if let Some(stream) = self.first.take() {
            return Ok(Step::Stream(stream));
        }
        let wanted = (self.block * self.together).min(self.left.unwrap_or(u64::MAX));
        let mut data = self.bytes.up_to(wanted as usize)?;
        // What is left of a file that was cut within a sample.
        data.truncate(data.len() / self.block as usize * self.block as usize);
        if data.is_empty() {
            return Ok(Step::End);
        }
        self.left = self.left.map(|left| left - data.len() as u64);
        let samples = data.len() as u64 / self.block * self.per_block;
        Ok(Step::Packet(Packet { data, at: None, until: None, cut: 0, samples }))
    }

    fn lengths(&self) -> Option<Vec<(u32, u64)>> {
        self.lengths.clone()
    }
}

const EXTENSIBLE: u16 = 0xfffe;
const MS_ADPCM: u16 = 2;
/// Real files have fewer than twenty; the bound ends the walk through a hostile one.
const MOST_CHUNKS: usize = 1_024;
/// The longest "fmt " known, of Microsoft's ADPCM with its table, has 50.
const MOST_FORMAT: u32 = 1_024;
/// Recorders that can't go back write this, or more, for a length that they don't know; sox writes 0x7ffff000.
const UNTRUE: u32 = 0x7fff_0000;
/// Titles behind an empty "data" chunk; more than that is sound whose length was never written.
const MOST_CHUNK_TAIL: u64 = 4_096;
/// Samples of a file that are decoded at once.
const FILE_BLOCK: u64 = 4_096;
