//! What a track of sound is made of: its sample entry, and what AAC says of itself.
//!
//! ```text
//! entry (ISO 14496-12 §12.2.3): length 4 │ kind 4 │ 6 │ 2 │ version 2 │ 6 │ channels 2 │ bits 2 │ 4 │ rate 16.16 │ boxes
//!   version 1 (QuickTime): 16 bytes more; version 2: 4 │ rate f64 │ channels 4 │ 4 │ bits 4 │ flags 4 │ 8 more
//! esds (ISO 14496-1 §7.2.6): ( tag 1 │ length, 7 bits a byte │ body )*, 3 holds 4 holds 5
//! AudioSpecificConfig (ISO 14496-3 §1.6.2.1): object type 5 │ rate 4, 15: 24 more │ channels 4 │
//!   960 samples 1 │ core 1 [ 14 ] │ extension 1 │ [ 0x2b7, 11 bits │ type 5 │ SBR 1 ]
//! ```
use super::super::fault::Fault;
use super::super::flac;
use super::super::opus::Head;
use super::super::pcm::Number;
use super::super::stream::Codec;
use super::boxes::{inside, u16_at, u32_at, u64_at};
use crate::audio::mix::Layout;
use symphonia::core::audio::Channels;
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_AAC, CODEC_ID_ALAC, CODEC_ID_FLAC, CODEC_ID_MP3};

/// How a track sounds.
pub(in crate::audio::source) struct Entry {
    pub codec: Codec,
    pub name: String,
    pub rate: u32,
    pub layout: Layout,
    pub full_scale: f32,
    /// Samples before the sound, where the codec tells.
    pub delay: u16,
}

impl Entry {
    /// `body`: behind the head of "stsd".
    pub fn parse(body: &[u8]) -> Result<Self, Fault> {
        let short = || Fault::damaged("the description of the sound is cut short");
        let length = u32_at(body, 8).ok_or_else(short)? as usize;
        let entry = body.get(8..8usize.saturating_add(length)).ok_or_else(short)?;
        let kind: [u8; 4] = *entry.get(4..8).and_then(|kind| kind.first_chunk()).ok_or_else(short)?;
        let version = u16_at(entry, 16).ok_or_else(short)?;
        let (mut channels, mut bits) = (u16_at(entry, 24).ok_or_else(short)?, u16_at(entry, 26).ok_or_else(short)?);
        let mut rate = u32_at(entry, 32).ok_or_else(short)? >> 16;
        let mut flags = 0;
        let rest = match version {
            1 => 52,
            2 => {
                rate = f64::from_bits(u64_at(entry, 40).ok_or_else(short)?) as u32;
                channels = u32_at(entry, 48).ok_or_else(short)?.try_into().unwrap_or(u16::MAX);
                bits = u32_at(entry, 56).ok_or_else(short)? as u16;
                flags = u32_at(entry, 60).ok_or_else(short)?;
                72
            }
            _ => 36,
        };
        let boxes = entry.get(rest..).unwrap_or_default();
        // QuickTime wraps them once more.
        let find = |kind: &[u8; 4]| inside(boxes, &[kind]).or_else(|| inside(boxes, &[b"wave", kind]));
        let plain = |number: Number| Self {
            codec: Codec::Pcm(number),
            name: number.name(),
            rate,
            layout: Layout::usual(channels),
            full_scale: number.full_scale(),
            delay: 0,
        };
        let bytes = bits.div_ceil(8).clamp(1, 4) as u8;
        Ok(match &kind {
            b"mp4a" => esds(find(b"esds").ok_or_else(short)?.get(4..).ok_or_else(short)?, rate, channels)?,
            b".mp3" => library(CODEC_ID_MP3, "MP3", rate, channels, None),
            b"alac" => alac(find(b"alac").and_then(|body| body.get(4..)).ok_or_else(short)?)?,
            b"Opus" => {
                let [_, channels, a, b, _, _, _, _, c, d, family, table @ ..] = find(b"dOps").ok_or_else(short)? else {
                    return Err(short());
                };
                let head =
                    Head::of(*channels, u16::from_be_bytes([*a, *b]), i16::from_be_bytes([*c, *d]), *family, table)?;
                let (layout, delay) = (head.layout(), head.pre_skip);
                Self { codec: Codec::Opus(head), name: "Opus".into(), rate: 48_000, layout, full_scale: 1.0, delay }
            }
            b"fLaC" => {
                let block = find(b"dfLa").and_then(|body| body.get(8..42)).ok_or_else(short)?;
                let stream = flac::information(block)?;
                let made = library(CODEC_ID_FLAC, &stream.name, stream.rate, stream.layout.channels(), Some(block));
                Self { full_scale: stream.full_scale, ..made }
            }
            b"sowt" => plain(Number::Little(bytes)),
            b"twos" => plain(Number::Big(bytes)),
            b"raw " if bits <= 8 => plain(Number::U8),
            b"in24" => plain(if little(find(b"enda")) { Number::Little(3) } else { Number::Big(3) }),
            b"in32" => plain(if little(find(b"enda")) { Number::Little(4) } else { Number::Big(4) }),
            b"fl32" => plain(if little(find(b"enda")) { Number::F32Little } else { Number::F32Big }),
            b"fl64" => plain(if little(find(b"enda")) { Number::F64Little } else { Number::F64Big }),
            b"lpcm" => plain(linear(flags, bits)),
            b"ipcm" | b"fpcm" => {
                // ISO 23003-5: 4 │ flags 1, 1: little-endian │ bits 1.
                let body = find(b"pcmC").ok_or_else(short)?;
                let (order, bits) = (body.get(4).ok_or_else(short)? & 1, *body.get(5).ok_or_else(short)?);
                plain(linear(u32::from(kind[0] == b'f') | u32::from(order ^ 1) << 1, bits.into()))
            }
            b"alaw" => plain(Number::ALaw),
            b"ulaw" => plain(Number::MuLaw),
            b"enca" => return Err(Fault::unsupported("the sound is encrypted")),
            b"samr" | b"sawb" => return Err(Fault::unsupported("AMR, a phone's recording, in MP4")),
            b"ac-3" | b"ec-3" => return Err(Fault::unsupported("AC-3 in MP4")),
            other => {
                let name: String =
                    other.iter().map(|byte| if byte.is_ascii_graphic() { *byte as char } else { '?' }).collect();
                return Err(Fault::unsupported(format!("sound of the kind {name:?} in MP4")));
            }
        })
    }
}

/// Flags of Core Audio: 1 float, 2 big-endian.
pub(in crate::audio::source) fn linear(flags: u32, bits: u16) -> Number {
    let bytes = bits.div_ceil(8).clamp(1, 4) as u8;
    match (flags & 1 != 0, flags & 2 != 0, bits) {
        (true, true, 64) => Number::F64Big,
        (true, false, 64) => Number::F64Little,
        (true, true, _) => Number::F32Big,
        (true, false, _) => Number::F32Little,
        (false, true, _) => Number::Big(bytes),
        (false, false, _) => Number::Little(bytes),
    }
}

fn little(enda: Option<&[u8]>) -> bool {
    enda.and_then(|body| u16_at(body, 0)) == Some(1)
}

fn library(
    id: symphonia::core::codecs::audio::AudioCodecId,
    name: &str,
    rate: u32,
    channels: u16,
    extra: Option<&[u8]>,
) -> Entry {
    let mut parameters = AudioCodecParameters::new();
    parameters.for_codec(id).with_sample_rate(rate).with_channels(Channels::Discrete(channels));
    if let Some(extra) = extra {
        parameters.with_extra_data(extra.into());
    }
    let codec = Codec::Library(Box::new(parameters));
    Entry { codec, name: name.into(), rate, layout: Layout::usual(channels), full_scale: 1.0, delay: 0 }
}

/// The magic cookie: longest block 4 │ 1 │ bits 1 │ 3 │ channels 1 │ 10 │ rate 4.
pub(in crate::audio::source) fn alac(cookie: &[u8]) -> Result<Entry, Fault> {
    // QuickTime's has two boxes before it.
    let cookie = if cookie.get(4..8) == Some(b"frma") { cookie.get(24..).unwrap_or_default() } else { cookie };
    let (Some(rate), Some([bits, _, _, _, channels])) =
        (u32_at(cookie, 20), cookie.get(5..10).and_then(|five| five.first_chunk()))
    else {
        return Err(Fault::damaged("the description of ALAC is cut short"));
    };
    let full_scale = 1.0 - 1.0 / (1u64 << bits.saturating_sub(1).min(31)) as f32;
    let made = library(
        CODEC_ID_ALAC,
        &format!("ALAC, {bits} bit"),
        rate,
        (*channels).into(),
        Some(cookie.get(..24).unwrap_or_default()),
    );
    Ok(Entry { full_scale, ..made })
}

/// `body`: behind version and flags of "esds".
pub(in crate::audio::source) fn esds(body: &[u8], rate: u32, channels: u16) -> Result<Entry, Fault> {
    let short = || Fault::damaged("the description of the sound is cut short");
    let (tag, mut stream) = descriptor(body).ok_or_else(short)?;
    if tag == 3 {
        let flags = *stream.get(2).ok_or_else(short)?;
        let url = if flags & 0x40 != 0 { usize::from(*stream.get(3).ok_or_else(short)?) + 1 } else { 0 };
        let skip = 3 + if flags & 0x80 != 0 { 2 } else { 0 } + url + if flags & 0x20 != 0 { 2 } else { 0 };
        stream = descriptor(stream.get(skip..).ok_or_else(short)?).filter(|(tag, _)| *tag == 4).ok_or_else(short)?.1;
    }
    match stream.first().ok_or_else(short)? {
        0x40 | 0x66..=0x68 => {
            let specific =
                descriptor(stream.get(13..).ok_or_else(short)?).filter(|(tag, _)| *tag == 5).ok_or_else(short)?;
            aac(specific.1)
        }
        0x69 | 0x6b => Ok(library(CODEC_ID_MP3, "MP3", rate, channels, None)),
        other => Err(Fault::unsupported(format!("sound of the kind {other:#04x} in MP4"))),
    }
}

fn descriptor(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (tag, mut rest) = bytes.split_first()?;
    let mut length = 0;
    for _ in 0..4 {
        let (byte, after) = rest.split_first()?;
        (length, rest) = (length << 7 | usize::from(byte & 0x7f), after);
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some((*tag, &rest[..length.min(rest.len())]))
}

/// An AudioSpecificConfig; refuses what isn't AAC-LC with one or two channels.
pub(in crate::audio::source) fn aac(specific: &[u8]) -> Result<Entry, Fault> {
    let mut at = 0;
    let mut take = |count: usize| {
        let value = (at..at + count)
            .try_fold(0u32, |value, bit| Some(value << 1 | u32::from(specific.get(bit / 8)? >> (7 - bit % 8) & 1)));
        at += count;
        value
    };
    let short = || Fault::damaged("the description of AAC is cut short");
    let kind = match take(5).ok_or_else(short)? {
        31 => 32 + take(6).ok_or_else(short)?,
        kind => kind,
    };
    let rate = match take(4).ok_or_else(short)? {
        15 => take(24).ok_or_else(short)?,
        index => *RATES.get(index as usize).ok_or_else(short)?,
    };
    let channels = take(4).ok_or_else(short)?;
    match kind {
        2 => {}
        // SBR and PS, each of which doubles what AAC-LC beneath holds.
        5 | 29 => return Err(Fault::he_aac()),
        _ => return Err(Fault::foreign(format!("AAC of object type {kind}"))),
    }
    if take(1) == Some(1) {
        return Err(Fault::foreign("AAC with blocks of 960 samples"));
    }
    if take(1) == Some(1) {
        take(14);
    }
    take(1);
    if (take(11), take(5), take(1)) == (Some(0x2b7), Some(5), Some(1)) {
        return Err(Fault::he_aac());
    }
    if !(1..=2).contains(&channels) {
        return Err(Fault::foreign(format!("AAC with channel configuration {channels}")));
    }
    Ok(library(CODEC_ID_AAC, "AAC-LC", rate, channels as u16, Some(specific)))
}

const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn he_aac_is_told_by_its_object_type_and_by_its_extension() {
        // 44.1 kHz stereo AAC-LC; the same as ffmpeg writes it, with an extension that says "no SBR".
        assert_eq!(aac(&[0x12, 0x10]).unwrap().rate, 44_100);
        assert!(aac(&[0x12, 0x10, 0x56, 0xe5, 0x00]).is_ok());
        // 24 kHz with SBR: backward compatible; object types 5 and 29.
        for specific in [&[0x13, 0x10, 0x56, 0xe5, 0x98][..], &[0x2b, 0x11, 0x88, 0], &[0xeb, 0x11, 0x88, 0]] {
            let fault = aac(specific).err().unwrap();
            assert_eq!(fault.code, "media.he_aac");
            assert!(fault.text.contains("--decoder ffmpeg") && fault.text.contains("AAC-LC"), "{}", fault.text);
        }
        // 5.1, and no bytes at all.
        assert_eq!(aac(&[0x11, 0xb0]).err().unwrap().code, "media.unsupported");
        assert_eq!(aac(&[0x11]).err().unwrap().code, "media.damaged");
    }
}
