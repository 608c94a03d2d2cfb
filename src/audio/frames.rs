//! One encoded rendition, and the file form that `media/` keeps.
use super::{Error, FRAME};
use crate::time::RATE;
use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN, digest};
use bytes::Bytes;
use std::io::{self, Read, Seek, SeekFrom, Write};

/// One encoded rendition: 20 ms Opus frames, all of one size. What `media/` keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frames {
    pub bitrate: u32,
    pub frames: Vec<Bytes>,
}

/// ```text
/// 0        4        8         12     14      16       20
/// │ "LOAF" │ 1 0 0 0│ bitrate │ size │ 0 0   │ count  │ count × size bytes │ SHA-256 of all before │
/// ```
/// Numbers are big-endian; 1 is the version; `size` is that of every frame.
const MAGIC: [u8; 8] = *b"LOAF\x01\0\0\0";
const HEADER: usize = 20;
/// No Opus frame is longer (RFC 6716 §3.2.1), and a packet of one frame is one byte more.
const LONGEST: usize = 1_276;

impl Frames {
    /// Versioned, checksummed file form. Frames must be of one size, as [`super::transcode()`] makes
    /// them.
    pub fn to_bytes(&self) -> Vec<u8> {
        let size = self.frames.first().map_or(0, Bytes::len);
        assert!(self.frames.iter().all(|frame| frame.len() == size), "frames of one rendition are of one size");
        assert!(size <= LONGEST && u32::try_from(self.frames.len()).is_ok(), "frames are Opus and countable");
        let mut bytes = Vec::with_capacity(HEADER + size * self.frames.len() + SHA256_OUTPUT_LEN);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.bitrate.to_be_bytes());
        bytes.extend_from_slice(&(size as u16).to_be_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&(self.frames.len() as u32).to_be_bytes());
        for frame in &self.frames {
            bytes.extend_from_slice(frame);
        }
        let checksum = digest(&SHA256, &bytes);
        bytes.extend_from_slice(checksum.as_ref());
        bytes
    }

    /// Accepts what [`Frames::to_bytes`] wrote, and nothing else: the checksum holds, and every frame
    /// is 20 ms of Opus.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() < HEADER + SHA256_OUTPUT_LEN {
            let text = format!("encoded sound: {} bytes are too few for a header; encode it again", bytes.len());
            return Err(Error::new("media.truncated", text));
        }
        let (body, checksum) = bytes.split_at(bytes.len() - SHA256_OUTPUT_LEN);
        let (header, frames) = body.split_at(HEADER);
        if header[..4] != MAGIC[..4] {
            return Err(Error::new(
                "media.unknown_format",
                "encoded sound: byte 0: not \"LOAF\"; encode it again".into(),
            ));
        }
        if header[4..8] != MAGIC[4..] {
            let text = format!("encoded sound: byte 4: version {}, this is 1; encode it again", header[4]);
            return Err(Error::new("media.unsupported", text));
        }
        let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (bitrate, count) = (number(8), number(16) as usize);
        let size = usize::from(u16::from_be_bytes([header[12], header[13]]));
        let expected = count.checked_mul(size);
        if expected.is_some_and(|expected| frames.len() < expected) {
            let seconds = (frames.len() / size.max(1) * FRAME) as f64 / f64::from(RATE);
            let text = format!("encoded sound: ends at {seconds:.3} s of {count} frames; encode it again");
            return Err(Error::new("media.truncated", text));
        }
        let shape = expected == Some(frames.len()) && size <= LONGEST && (size > 0 || count == 0);
        if !shape || header[14..16] != [0, 0] {
            let text = format!("encoded sound: byte 12: {count} frames of {size} bytes don't fit; encode it again");
            return Err(Error::new("media.damaged", text));
        }
        if digest(&SHA256, body).as_ref() != checksum {
            return Err(Error::new("media.damaged", "encoded sound: the checksum fails; encode it again".into()));
        }
        let all = Bytes::copy_from_slice(frames);
        let frames: Vec<Bytes> = (0..count).map(|index| all.slice(index * size..(index + 1) * size)).collect();
        if let Some(index) = frames.iter().position(|frame| !is_frame(frame)) {
            let text = format!("encoded sound: frame {index} isn't 20 ms of Opus; encode it again");
            return Err(Error::new("media.damaged", text));
        }
        Ok(Self { bitrate, frames })
    }
}

/// Writes the same form frame by frame, for sound that nobody holds in memory. What is left unfinished can't be
/// read: its checksum is missing. May block on the file.
pub struct FramesWriter<F> {
    file: F,
    /// Frames on their way to the file.
    waiting: Vec<u8>,
    size: usize,
    count: u32,
}

impl<F: Read + Write + Seek> FramesWriter<F> {
    /// `file` is empty, and can be read too.
    pub fn new(file: F, bitrate: u32) -> io::Result<Self> {
        let mut waiting = Vec::with_capacity(WAITING + LONGEST);
        waiting.extend_from_slice(&MAGIC);
        waiting.extend_from_slice(&bitrate.to_be_bytes());
        waiting.extend_from_slice(&[0; 8]);
        Ok(Self { file, waiting, size: 0, count: 0 })
    }

    /// Frames are of one size, as [`super::transcode()`] makes them; another is refused.
    pub fn frame(&mut self, frame: &[u8]) -> io::Result<()> {
        if self.count == 0 {
            self.size = frame.len();
        }
        if frame.len() != self.size || frame.is_empty() || frame.len() > LONGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "frames of one rendition are of one size"));
        }
        self.count = self.count.checked_add(1).ok_or(io::ErrorKind::FileTooLarge)?;
        self.waiting.extend_from_slice(frame);
        match self.waiting.len() >= WAITING {
            true => self.flush(),
            false => Ok(()),
        }
    }

    /// Frames so far.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Fills in what only the end tells, and reads the whole again for its checksum: 43 MB after four hours.
    pub fn finish(mut self) -> io::Result<F> {
        self.flush()?;
        self.file.seek(SeekFrom::Start(12))?;
        self.file.write_all(&(self.size as u16).to_be_bytes())?;
        self.file.write_all(&[0, 0])?;
        self.file.write_all(&self.count.to_be_bytes())?;
        self.file.rewind()?;
        let mut checksum = Context::new(&SHA256);
        self.waiting.resize(WAITING, 0);
        loop {
            match self.file.read(&mut self.waiting) {
                Ok(0) => break,
                Ok(count) => checksum.update(&self.waiting[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.file.write_all(checksum.finish().as_ref())?;
        self.file.flush()?;
        Ok(self.file)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.waiting)?;
        self.waiting.clear();
        Ok(())
    }
}

/// Bytes gathered before a write: some twenty seconds.
const WAITING: usize = 64 * 1_024;

/// Whether this is an Opus packet of 20 ms.
pub(super) fn is_frame(packet: &[u8]) -> bool {
    !packet.is_empty() && matches!(opus::packet::get_nb_samples(packet, RATE), Ok(FRAME))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 20 ms of SILK wideband in one frame (RFC 6716 §3.1, table 2: configuration 9).
    const TOC: u8 = 9 << 3;

    fn frames(bitrate: u32, size: usize, count: usize) -> Frames {
        let frame = |index: usize| [&[TOC][..], &vec![index as u8; size - 1]].concat();
        Frames { bitrate, frames: (0..count).map(|index| Bytes::from(frame(index))).collect() }
    }

    #[test]
    fn the_file_form_is_as_drawn() {
        let bytes = frames(24_000, 3, 2).to_bytes();
        let drawn =
            [b"LOAF\x01\0\0\0".as_slice(), &[0, 0, 0x5d, 0xc0, 0, 3, 0, 0, 0, 0, 0, 2], &[TOC, 0, 0, TOC, 1, 1]];
        assert_eq!(bytes[..26], drawn.concat());
        assert_eq!(bytes.len(), 26 + 32);
    }

    #[test]
    fn frames_written_one_by_one_make_the_same_file() {
        for (size, count) in [(60, 3_000), (1, 1), (1_276, 100)] {
            let frames = frames(24_000, size, count);
            let mut writer = FramesWriter::new(io::Cursor::new(Vec::new()), 24_000).unwrap();
            for frame in &frames.frames {
                writer.frame(frame).unwrap();
            }
            assert_eq!(writer.count() as usize, count);
            assert!(writer.frame(&vec![TOC; size + 1]).is_err());
            assert!(writer.finish().unwrap().into_inner() == frames.to_bytes(), "{size} {count}");
        }
        let empty = FramesWriter::new(io::Cursor::new(Vec::new()), 6_000).unwrap().finish().unwrap().into_inner();
        assert_eq!(Frames::from_bytes(&empty), Ok(Frames { bitrate: 6_000, frames: Vec::new() }));
    }

    #[test]
    fn a_damaged_file_is_refused_by_what_is_wrong_with_it() {
        let whole = frames(24_000, 60, 100).to_bytes();
        let code = |bytes: &[u8]| Frames::from_bytes(bytes).unwrap_err().code;
        assert_eq!(code(&[]), "media.truncated");
        assert_eq!(code(&whole[..3_000]), "media.truncated");
        assert_eq!(code(b"RIFF, which is quite another form of file than the one wanted here"), "media.unknown_format");
        let with = |at: usize, value: u8| {
            let mut bytes = whole.clone();
            bytes[at] = value;
            bytes
        };
        assert_eq!(code(&with(4, 2)), "media.unsupported");
        assert_eq!(code(&with(13, 0)), "media.damaged");
        assert_eq!(code(&with(500, 77)), "media.damaged");
        let mut other = frames(24_000, 60, 3);
        other.frames[1] = Bytes::from(vec![TOC | 1; 60]);
        assert!(Frames::from_bytes(&other.to_bytes()).unwrap_err().text.contains("frame 1"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(bitrate: u32, size in 1usize..=300, count in 0usize..40) {
            let frames = frames(bitrate, size, count);
            prop_assert_eq!(Frames::from_bytes(&frames.to_bytes()), Ok(frames));
        }

        #[test]
        fn a_changed_bit_is_never_accepted(size in 1usize..=60, count in 1usize..8, place: usize, bit in 0u8..8) {
            let mut bytes = frames(24_000, size, count).to_bytes();
            let place = place % bytes.len();
            bytes[place] ^= 1 << bit;
            prop_assert!(Frames::from_bytes(&bytes).is_err());
        }

        #[test]
        fn random_bytes_are_refused_without_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..400), magic: bool) {
            if magic && bytes.len() >= MAGIC.len() {
                bytes[..MAGIC.len()].copy_from_slice(&MAGIC);
            }
            prop_assert!(Frames::from_bytes(&bytes).is_err());
        }
    }
}
