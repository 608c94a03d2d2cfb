//! What a file is, by its first bytes.
use super::aiff::aiff;
use super::bytes::{Bytes, MOST_PEEKED};
use super::caf::caf;
use super::fault::Fault;
use super::flac::Flac;
use super::matroska::Matroska;
use super::mp4::Mp4;
use super::mpeg::{self, Mpeg};
use super::ogg::Ogg;
use super::riff;
use super::stream::Demuxer;

/// Chooses the demuxer. Titles in front of the sound (ID3v2) are gone over.
pub(super) fn demuxer(mut bytes: Bytes) -> Result<Box<dyn Demuxer>, Fault> {
    if bytes.peek(1)?.is_empty() {
        return Err(Fault::new("media.empty", "the file is empty; record or export it again"));
    }
    for _ in 0..MOST_TITLES {
        let Some(length) = mpeg::id3(bytes.peek(10)?) else { break };
        bytes.skip(length)?;
    }
    let magic = bytes.peek(12)?;
    match magic {
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => return riff::wav(bytes),
        [b'R', b'F', b'6', b'4', _, _, _, _, b'W', b'A', b'V', b'E', ..] => return riff::wav(bytes),
        [b'B', b'W', b'6', b'4', _, _, _, _, b'W', b'A', b'V', b'E', ..] => return riff::wav(bytes),
        [b'R', b'I', b'F', b'F', ..] if magic.len() < 12 => return Err(Fault::ends_in_header()),
        [b'f', b'L', b'a', b'C', ..] => return Ok(Box::new(Flac::new(bytes)?)),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] | [_, _, _, _, b'm', b'o' | b'd', b'o' | b'a', b'v' | b't', ..] => {
            return Ok(Box::new(Mp4::new(bytes)?));
        }
        [b'F', b'O', b'R', b'M', _, _, _, _, b'A', b'I', b'F', b'F' | b'C', ..] => return aiff(bytes),
        [0x1a, 0x45, 0xdf, 0xa3, ..] => return Ok(Box::new(Matroska::new(bytes)?)),
        [b'c', b'a', b'f', b'f', ..] => return caf(bytes),
        [b'O', b'g', b'g', b'S', ..] => return Ok(Box::new(Ogg::new(bytes)?)),
        _ => {}
    }
    let looks = look(magic);
    if looks.is_none() {
        let mut wanted = 2_048;
        loop {
            let ahead = bytes.peek(wanted)?;
            let ended = ahead.len() < wanted;
            if mpeg::found(ahead, ended) {
                return Ok(Box::new(Mpeg::new(bytes)));
            }
            if ended || wanted == MOST_PEEKED {
                break;
            }
            wanted = (wanted * 4).min(MOST_PEEKED);
        }
    }
    let ahead = bytes.peek(512)?;
    let looks = looks.unwrap_or_else(|| plain(ahead));
    let other = if ELSEWHERE.contains(&looks) {
        ", or let ffmpeg decode it (--decoder ffmpeg; for a node, decoder = \"ffmpeg\" under [sources])"
    } else {
        ""
    };
    let text = format!(
        "byte 0: this looks like {looks}, which Loa doesn't read; export it as WAV, FLAC, MP3, M4A or Opus{other}"
    );
    Err(Fault::new("media.unknown_format", text))
}

/// What it is instead.
fn look(magic: &[u8]) -> Option<&'static str> {
    Some(match magic {
        [0x89, b'P', b'N', b'G', ..] => "a PNG picture",
        [0xff, 0xd8, 0xff, ..] => "a JPEG picture",
        [b'G', b'I', b'F', b'8', ..] => "a GIF picture",
        [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => "a BMP picture",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "a WebP picture",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'A', b'V', b'I', b' ', ..] => "an AVI video",
        [b'R', b'I', b'F', b'F', ..] | [b'R', b'I', b'F', b'X', ..] => "a RIFF variant other than WAVE",
        [b'%', b'P', b'D', b'F', ..] => "a PDF document",
        [b'P', b'K', 3 | 5, 4 | 6, ..] => "a ZIP archive or office document",
        [0xd0, 0xcf, 0x11, 0xe0, ..] => "an old office document",
        [b'R', b'a', b'r', b'!', ..] | [0x1f, 0x8b, ..] | [b'7', b'z', 0xbc, 0xaf, ..] => "a packed archive",
        [b'#', b'!', b'A', b'M', b'R', ..] => "AMR, a phone's recording",
        [0x30, 0x26, 0xb2, 0x75, 0x8e, 0x66, 0xcf, 0x11, ..] => "WMA or WMV",
        [b'M', b'T', b'h', b'd', ..] => "MIDI, which is notes and no sound",
        [b'.', b'R', b'M', b'F', ..] => "RealAudio",
        [b'M', b'A', b'C', b' ', ..] => "Monkey's Audio",
        [b'w', b'v', b'p', b'k', ..] => "WavPack",
        [b'T', b'T', b'A', b'1', ..] => "TTA",
        [b'F', b'L', b'V', 1, ..] => "a Flash video",
        [0x0b, 0x77, ..] => "AC-3",
        [0x7f, b'E', b'L', b'F', ..] | [b'M', b'Z', ..] => "a program",
        [0, 0, 1, 0xba | 0xb3, ..] => "an MPEG video",
        _ => return None,
    })
}

fn plain(ahead: &[u8]) -> &'static str {
    let word = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e | 0x80..);
    match ahead {
        [b'I', b'D', b'3', ..] | [0xff, 0xe0..=0xff, ..] => "MP3 or AAC without a frame of sound",
        ahead if ahead.iter().all(|byte| *byte == 0) => "zeros: no sound that Loa knows",
        ahead if ahead.iter().all(word) => "text",
        _ => "no sound that Loa knows",
    }
}

/// Of what it looks like, the sound that a decoder beside Loa knows.
const ELSEWHERE: [&str; 10] = [
    "AMR, a phone's recording",
    "WMA or WMV",
    "RealAudio",
    "Monkey's Audio",
    "WavPack",
    "TTA",
    "a Flash video",
    "AC-3",
    "an AVI video",
    "an MPEG video",
];
/// ID3v2 tags in front of one another.
const MOST_TITLES: usize = 16;
