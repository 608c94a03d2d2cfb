//! Reads what a WAV or FLAC file says of itself, before any decoder sees it: so that a refusal can
//! name the fault, and so that no header makes a decoder take memory that the sound does not need.
use super::Error;
use std::io::{self, Read, Seek, SeekFrom};

/// 8 kHz is telephone speech, 192 kHz the highest rate that studios use.
pub(super) const RATES: std::ops::RangeInclusive<u32> = 8_000..=192_000;
/// What FLAC can hold, and more than any recording of speech has.
pub(super) const MOST_CHANNELS: u16 = 8;
/// Real files have fewer than twenty; the bound ends the walk through a hostile one.
const MOST_CHUNKS: usize = 1_024;
/// Titles and pictures that a decoder would keep in memory.
const MOST_METADATA: u64 = 32 << 20;
/// A WAV written into a pipe says this, because its length is not known yet: all that follows is sound.
const UNKNOWN_LENGTH: u32 = u32::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Wav,
    Flac,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub kind: Kind,
    pub rate: u32,
    pub channels: u16,
    /// Samples per channel; `None` if the header doesn't say.
    pub samples: Option<u64>,
}

impl Header {
    /// Reads from the start and leaves the reader there.
    pub fn read<R: Read + Seek>(reader: &mut R, name: &str) -> Result<Self, Error> {
        let length = reader.seek(SeekFrom::End(0)).map_err(|error| unreadable(name, &error))?;
        if length == 0 {
            return Err(Error::new("media.empty", format!("{name}: the file is empty; record or export it again")));
        }
        reader.rewind().map_err(|error| unreadable(name, &error))?;
        let mut magic = [0; 12];
        let got = read_up_to(reader, &mut magic).map_err(|error| unreadable(name, &error))?;
        let header = match &magic {
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E'] => wav(reader, length, name)?,
            [b'R', b'I', b'F', b'F', ..] if got < magic.len() => return Err(ends_in_header(name)),
            [b'f', b'L', b'a', b'C', ..] => flac(reader, length, name)?,
            _ => return Err(unknown(name, &magic[..got])),
        };
        if !RATES.contains(&header.rate) {
            let text = format!(
                "{name}: the header gives a sample rate of {} Hz, Loa takes {} to {}; export it at 48000",
                header.rate,
                RATES.start(),
                RATES.end()
            );
            return Err(Error::new("media.unsupported", text));
        }
        if header.channels == 0 || header.channels > MOST_CHANNELS {
            let text = format!(
                "{name}: the header gives {} channels, Loa takes 1 to {MOST_CHANNELS}; export it as mono or stereo",
                header.channels
            );
            return Err(Error::new("media.unsupported", text));
        }
        reader.rewind().map_err(|error| unreadable(name, &error))?;
        Ok(header)
    }
}

/// RIFF chunks (Microsoft Multimedia Programming Interface 1.0), all numbers little-endian:
/// ```text
/// "RIFF" │ length 4 │ "WAVE" │ ( id 4 │ length 4 │ body, padded to even )*
/// "fmt " body: format 2 │ channels 2 │ rate 4 │ bytes per second 4 │ block 2 │ bits 2 │ …
/// ```
fn wav<R: Read + Seek>(reader: &mut R, length: u64, name: &str) -> Result<Header, Error> {
    let mut position = 12;
    let mut format = None;
    for _ in 0..MOST_CHUNKS {
        reader.seek(SeekFrom::Start(position)).map_err(|error| unreadable(name, &error))?;
        let mut chunk = [0; 8];
        take(reader, &mut chunk, name)?;
        let claimed = u32::from_le_bytes([chunk[4], chunk[5], chunk[6], chunk[7]]);
        let body = position + 8;
        match &chunk[..4] {
            b"fmt " => {
                let mut fields = [0; 16];
                take(reader, &mut fields, name)?;
                format = Some(fields);
            }
            b"data" => {
                let Some(fields) = format else {
                    let text =
                        format!("{name}: byte {position}: sound without a \"fmt \" chunk before it; export it again");
                    return Err(Error::new("media.damaged", text));
                };
                return wav_samples(&fields, claimed, length.saturating_sub(body), name);
            }
            _ if u64::from(claimed) > MOST_METADATA => {
                let text = format!(
                    "{name}: byte {position}: a chunk of {claimed} bytes that is not sound; export it without extra data"
                );
                return Err(Error::new("media.unsupported", text));
            }
            _ => {}
        }
        position = body + u64::from(claimed) + u64::from(claimed & 1);
    }
    Err(Error::new("media.damaged", format!("{name}: no sound in the first {MOST_CHUNKS} chunks; export it again")))
}

fn wav_samples(fields: &[u8; 16], claimed: u32, available: u64, name: &str) -> Result<Header, Error> {
    let tag = u16::from_le_bytes([fields[0], fields[1]]);
    let channels = u16::from_le_bytes([fields[2], fields[3]]);
    let rate = u32::from_le_bytes([fields[4], fields[5], fields[6], fields[7]]);
    let bits = u16::from_le_bytes([fields[14], fields[15]]);
    // PCM, float, A-law, µ-law, and "extensible", which names one of those further on.
    if ![0x0001, 0x0003, 0x0006, 0x0007, 0xfffe].contains(&tag) {
        let text = format!("{name}: WAV format {tag:#06x} is compressed in a way Loa doesn't read; export it as PCM");
        return Err(Error::new("media.unsupported", text));
    }
    let block = u64::from(channels) * u64::from(bits / 8);
    if block == 0 {
        // Left to the checks of the caller (no channels) and of the decoder (no bits).
        return Ok(Header { kind: Kind::Wav, rate, channels, samples: None });
    }
    let claimed = if claimed == UNKNOWN_LENGTH { available } else { u64::from(claimed) };
    if claimed > available && RATES.contains(&rate) {
        return Err(truncated(name, available / block, Some(claimed / block), rate));
    }
    Ok(Header { kind: Kind::Wav, rate, channels, samples: Some(claimed / block) })
}

/// FLAC metadata (RFC 9639 §8), all numbers big-endian:
/// ```text
/// "fLaC" │ ( last 1 bit │ type 7 bits │ length 24 bits │ body )*
/// STREAMINFO, type 0, first: 10 bytes │ rate 20 bits │ channels − 1, 3 bits │ bits − 1, 5 bits │
///                            samples 36 bits, 0 = unknown │ MD5 16 bytes
/// ```
fn flac<R: Read + Seek>(reader: &mut R, length: u64, name: &str) -> Result<Header, Error> {
    let mut position = 4;
    let mut header = None;
    for _ in 0..MOST_CHUNKS {
        reader.seek(SeekFrom::Start(position)).map_err(|error| unreadable(name, &error))?;
        let mut block = [0; 4];
        take(reader, &mut block, name)?;
        let body = u32::from_be_bytes([0, block[1], block[2], block[3]]);
        if header.is_none() {
            let mut info = [0; 18];
            if block[0] & 0x7f != 0 || body != 34 {
                let text = format!("{name}: byte {position}: FLAC without its STREAMINFO block; export it again");
                return Err(Error::new("media.damaged", text));
            }
            take(reader, &mut info, name)?;
            let samples = u64::from_be_bytes([0, 0, 0, info[13] & 0x0f, info[14], info[15], info[16], info[17]]);
            header = Some(Header {
                kind: Kind::Flac,
                rate: u32::from_be_bytes([0, info[10], info[11], info[12]]) >> 4,
                channels: u16::from(info[12] >> 1 & 0x07) + 1,
                samples: (samples > 0).then_some(samples),
            });
        }
        position += 4 + u64::from(body);
        if position > length {
            return Err(ends_in_header(name));
        }
        if position > MOST_METADATA {
            let text = format!("{name}: over {MOST_METADATA} bytes of titles and pictures; export it without them");
            return Err(Error::new("media.unsupported", text));
        }
        if let (true, Some(header)) = (block[0] & 0x80 != 0, header) {
            return Ok(header);
        }
    }
    Err(Error::new("media.damaged", format!("{name}: no sound after {MOST_CHUNKS} blocks; export it again")))
}

/// A message that says what the file is instead, where its first bytes tell.
fn unknown(name: &str, magic: &[u8]) -> Error {
    let looks = match magic {
        [0x89, b'P', b'N', b'G', ..] => "a PNG picture",
        [0xff, 0xd8, 0xff, ..] => "a JPEG picture",
        [b'%', b'P', b'D', b'F', ..] => "a PDF document",
        [b'P', b'K', 3, 4, ..] => "a ZIP archive or office document",
        [b'O', b'g', b'g', b'S', ..] => "Ogg",
        [b'I', b'D', b'3', ..] | [0xff, 0xe0..=0xff, ..] => "MP3 or AAC",
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => "MP4 or M4A",
        [b'R', b'F', b'6', b'4', ..] | [b'R', b'I', b'F', b'F', ..] => "a RIFF variant other than WAVE",
        text if text.iter().all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e | 0x80..)) => "text",
        _ => "no sound that Loa knows",
    };
    let text = format!("{name}: byte 0: this looks like {looks}; Loa reads WAV and FLAC, export it as one of them");
    Error::new("media.unknown_format", text)
}

pub(super) fn truncated(name: &str, got: u64, promised: Option<u64>, rate: u32) -> Error {
    let seconds = |samples: u64| samples as f64 / f64::from(rate.max(1));
    let promised = promised.map_or(String::new(), |all| format!(" of the {:.3} s that its header gives", seconds(all)));
    let text = format!("{name}: the sound ends at {:.3} s{promised}; copy or export it again", seconds(got));
    Error::new("media.truncated", text)
}

pub(super) fn unreadable(name: &str, error: &io::Error) -> Error {
    Error::new("media.read", format!("{name}: can't be read: {error}"))
}

fn ends_in_header(name: &str) -> Error {
    let text = format!("{name}: the file ends within its header, at 0.000 s of sound; copy or export it again");
    Error::new("media.truncated", text)
}

fn take<R: Read>(reader: &mut R, buffer: &mut [u8], name: &str) -> Result<(), Error> {
    match read_up_to(reader, buffer) {
        Ok(got) if got == buffer.len() => Ok(()),
        Ok(_) => Err(ends_in_header(name)),
        Err(error) => Err(unreadable(name, &error)),
    }
}

fn read_up_to<R: Read>(reader: &mut R, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match reader.read(&mut buffer[got..]) {
            Ok(0) => break,
            Ok(count) => got += count.min(buffer.len() - got),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}
