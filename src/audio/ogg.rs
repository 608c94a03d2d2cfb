//! Ogg Opus out (RFC 7845): frames of 20 ms to a file that every player takes.
use super::encode::FRAME;
use super::frames::{Frames, is_frame};
use crate::time::RATE;
use bytes::Bytes;
use ogg::{PacketReader, PacketWriteEndInfo, PacketWriter};
use std::io::{Cursor, Error, ErrorKind, Result, Write};

/// Writes one rendition as a logical stream.
///
/// ```text
/// page 0        OpusHead: "OpusHead" │ 1 │ channels 1 │ pre-skip 2 │ rate 4 │ gain 2 │ mapping 0     §5.1
/// page 1 …      OpusTags: "OpusTags" │ length 4, vendor │ count 4 │ (length 4, NAME=value) …          §5.2
/// further ones  a second of frames each; granule = samples so far, pre-skip included                  §4
/// last          granule = pre-skip + the sound's length: a decoder drops what lies behind             §4.4
/// ```
/// Memory: one page. May block on the writer, whose errors are passed on as they are.
pub struct OggOpus<W: Write> {
    pages: PacketWriter<'static, W>,
    serial: u32,
    pre_skip: u16,
    /// The newest frame: only `finish` tells whether it is the last one.
    held: Option<Bytes>,
    /// Frames written.
    count: u64,
}

impl<W: Write> OggOpus<W> {
    /// `tags` are pairs such as `("TITLE", "Morning bulletin")`; the encoder's own is added. `serial` tells
    /// logical streams of one file apart: any number. `pre_skip` are samples to drop at the beginning:
    /// [`super::LOOKAHEAD`] for frames from [`super::Encoders`].
    pub fn new(writer: W, tags: &[(&str, &str)], serial: u32, pre_skip: u16) -> Result<Self> {
        let mut pages = PacketWriter::new(writer);
        pages.write_packet(head(pre_skip), serial, PacketWriteEndInfo::EndPage, 0)?;
        pages.write_packet(comments(tags)?, serial, PacketWriteEndInfo::EndPage, 0)?;
        Ok(Self { pages, serial, pre_skip, held: None, count: 0 })
    }

    /// Takes the next frame of 20 ms.
    pub fn frame(&mut self, frame: Bytes) -> Result<()> {
        let Some(before) = self.held.replace(frame) else { return Ok(()) };
        self.count += 1;
        let whole_page = self.count.is_multiple_of(FRAMES_IN_PAGE);
        let end = if whole_page { PacketWriteEndInfo::EndPage } else { PacketWriteEndInfo::NormalPacket };
        self.pages.write_packet(before.to_vec(), self.serial, end, self.count * FRAME as u64)
    }

    /// Ends the stream after `samples` of sound at 48 kHz, of which the frames must hold all, and gives the
    /// writer back, flushed.
    pub fn finish(mut self, samples: u64) -> Result<W> {
        if let Some(last) = self.held.take() {
            self.count += 1;
            let end = (u64::from(self.pre_skip) + samples).min(self.count * FRAME as u64);
            self.pages.write_packet(last.to_vec(), self.serial, PacketWriteEndInfo::EndStream, end)?;
        }
        let mut writer = self.pages.into_inner();
        writer.flush()?;
        Ok(writer)
    }
}

impl Frames {
    /// Of an Ogg file that [`OggOpus`] wrote: one stream, mono, every packet 20 ms and of one size.
    pub fn from_ogg(bytes: &[u8]) -> std::result::Result<Self, super::Error> {
        let wrong = |text: String| super::Error::new("media.damaged", format!("Ogg Opus: {text}"));
        let mut packets = PacketReader::new(Cursor::new(bytes));
        let mut frames: Vec<Bytes> = Vec::new();
        for number in 0_u64.. {
            let packet = packets.read_packet().map_err(|error| wrong(error.to_string()))?;
            let Some(packet) = packet else { break };
            match number {
                0 if packet.data.starts_with(b"OpusHead") && packet.data.get(9) == Some(&1) => {}
                0 => return Err(wrong("it does not begin as mono Opus".into())),
                1 => {}
                _ if is_frame(&packet.data) && frames.first().is_none_or(|first| first.len() == packet.data.len()) => {
                    frames.push(packet.data.into());
                }
                _ => {
                    return Err(wrong(format!(
                        "packet {number} is not 20 ms of the size of the others, as loa makes them"
                    )));
                }
            }
        }
        let size = frames.first().ok_or_else(|| wrong("there is no sound in it".into()))?.len();
        // Hard CBR: 50 frames a second.
        Ok(Self { bitrate: size as u32 * 8 * 50, frames })
    }
}

fn head(pre_skip: u16) -> Vec<u8> {
    let mut head = b"OpusHead\x01\x01".to_vec();
    head.extend_from_slice(&pre_skip.to_le_bytes());
    head.extend_from_slice(&RATE.to_le_bytes());
    head.extend_from_slice(&[0, 0, 0]);
    head
}

fn comments(tags: &[(&str, &str)]) -> Result<Vec<u8>> {
    let refused = |text: String| Err(Error::new(ErrorKind::InvalidInput, text));
    let mut all = vec![format!("ENCODER=loa {}", env!("CARGO_PKG_VERSION"))];
    for (name, value) in tags {
        // As in Vorbis comments: printable ASCII but "=".
        if name.is_empty() || !name.bytes().all(|byte| (0x20..=0x7d).contains(&byte) && byte != b'=') {
            return refused(format!("tag {name:?}: a name is of printable ASCII without \"=\""));
        }
        all.push(format!("{name}={value}"));
    }
    let length: usize = all.iter().map(|comment| comment.len() + 4).sum();
    if length > LONGEST_COMMENTS {
        return refused(format!("tags of {length} bytes: {LONGEST_COMMENTS} are allowed; shorten them"));
    }
    let mut packet = b"OpusTags".to_vec();
    let text = |text: &str, packet: &mut Vec<u8>| {
        packet.extend_from_slice(&(text.len() as u32).to_le_bytes());
        packet.extend_from_slice(text.as_bytes());
    };
    text(opus::version(), &mut packet);
    packet.extend_from_slice(&(all.len() as u32).to_le_bytes());
    for comment in &all {
        text(comment, &mut packet);
    }
    Ok(packet)
}

/// One second: a page costs 28 bytes and one for each frame, and a reader waits for the whole of it.
const FRAMES_IN_PAGE: u64 = 50;
/// Bytes; what a reader may refuse begins at 61,440 (RFC 7845 §5.2).
const LONGEST_COMMENTS: usize = 60_000;
