//! AIFF and AIFF-C (Apple, 1989 and 1991), all numbers big-endian:
//! ```text
//! "FORM" │ length 4 │ "AIFF" or "AIFC" │ ( id 4 │ length 4 │ body, padded to even )*
//! "COMM" body: channels 2 │ samples 4 │ bits 2 │ rate 10, as an 80-bit float │ [ compression 4 … ]
//! "SSND" body: offset 4 │ block 4 │ sound
//! ```
use super::bytes::Bytes;
use super::fault::Fault;
use super::pcm::Number;
use super::riff::Samples;
use super::stream::{Codec, Demuxer, Stream};
use crate::audio::mix::Layout;

/// Stands on the first byte of the file.
pub(super) fn aiff(mut bytes: Bytes) -> Result<Box<dyn Demuxer>, Fault> {
    let head: [u8; 12] = bytes.array()?;
    let compressed = &head[8..] == b"AIFC";
    let (mut common, mut sound) = (None, None);
    for _ in 0..MOST_CHUNKS {
        let position = bytes.position();
        let [a, b, c, d, lengths @ ..] = match bytes.array::<8>() {
            // Of the chunks behind the sound none is needed.
            Err(_) if sound.is_some() => break,
            chunk => chunk?,
        };
        let length = u32::from_be_bytes(lengths);
        let mut left = u64::from(length) + u64::from(length & 1);
        match &[a, b, c, d] {
            b"COMM" => {
                let body = bytes.up_to(length.min(MOST_COMMON) as usize)?;
                left -= body.len() as u64;
                common = Some(body);
            }
            b"SSND" => {
                let offset = u32::from_be_bytes(bytes.array()?);
                bytes.array::<4>()?;
                let begins = position + 16 + u64::from(offset);
                // A recorder that was cut off has not written the length.
                let claimed = (length > 8).then(|| u64::from(length).saturating_sub(8 + u64::from(offset)));
                sound = Some((begins, claimed));
                left = left.saturating_sub(8);
            }
            _ => {}
        }
        if let (Some(common), Some((begins, claimed))) = (&common, sound) {
            bytes.seek_to(begins)?;
            return samples(bytes, common, compressed, claimed);
        }
        if sound.is_some() && !bytes.is_seekable() {
            return Err(Fault::unsupported("AIFF whose description comes behind its sound can't be read from a pipe"));
        }
        if !bytes.skip(left)? {
            return Err(Fault::ends_in_header());
        }
    }
    Err(Fault::damaged("AIFF without a description or without sound"))
}

fn samples(bytes: Bytes, common: &[u8], compressed: bool, claimed: Option<u64>) -> Result<Box<dyn Demuxer>, Fault> {
    let Some(fields) = common.first_chunk::<18>() else {
        return Err(Fault::damaged("the \"COMM\" chunk is too short"));
    };
    let channels = u16::from_be_bytes([fields[0], fields[1]]);
    let bits = u16::from_be_bytes([fields[6], fields[7]]);
    let exponent = u32::from(u16::from_be_bytes([fields[8], fields[9]]) & 0x7fff);
    let mantissa = fields[10..].first_chunk().map_or(0, |eight| u64::from_be_bytes(*eight));
    // 1.0 has exponent 16,383 and the highest bit of the mantissa.
    let rate = (16_383 + 63u32).checked_sub(exponent).and_then(|shift| mantissa.checked_shr(shift)).unwrap_or(0);
    let compression = if compressed { common.get(18..22).unwrap_or(b"NONE") } else { b"NONE" };
    let width = bits.div_ceil(8) as u8;
    let number = match compression {
        b"NONE" | b"twos" | b"in24" | b"in32" if (1..=32).contains(&bits) => Number::Big(width),
        b"sowt" if (1..=32).contains(&bits) => Number::Little(width),
        b"raw " if bits <= 8 => Number::U8,
        b"fl32" | b"FL32" => Number::F32Big,
        b"fl64" | b"FL64" => Number::F64Big,
        b"alaw" | b"ALAW" => Number::ALaw,
        b"ulaw" | b"ULAW" => Number::MuLaw,
        b"NONE" | b"twos" | b"sowt" | b"raw " | b"in24" | b"in32" => {
            return Err(Fault::damaged(format!("the header gives samples of {bits} bits")));
        }
        other => {
            let name: String =
                other.iter().map(|byte| if byte.is_ascii_graphic() { *byte as char } else { '?' }).collect();
            return Err(Fault::unsupported(format!("AIFF with compression {name:?}")));
        }
    };
    let stream = Stream {
        container: "AIFF".into(),
        name: String::new(),
        codec: Codec::Pcm(number),
        rate: u32::try_from(rate).unwrap_or(u32::MAX),
        layout: Layout::usual(channels),
        begins: 0,
        ends: None,
        samples: None,
        slack: 0,
        full_scale: 1.0,
    };
    Ok(Box::new(Samples::pcm(bytes, stream, number, claimed)))
}

/// Real files have fewer than twenty; the bound ends the walk through a hostile one.
const MOST_CHUNKS: usize = 1_024;
/// With the longest name of a compression.
const MOST_COMMON: u32 = 512;
