//! MP3 (and layers 1 and 2) and AAC in ADTS: frames that follow one another, with no container around them.
//!
//! ```text
//! MPEG audio (ISO 11172-3 §2.4.1.3): sync 11 │ version 2 │ layer 2 │ no CRC 1 │ bitrate 4 │ rate 2 │ pad 1 │ 1 │ mode 2 │ …
//! ADTS (ISO 13818-7 §6.2): sync 12 │ 1 │ layer 2 = 0 │ no CRC 1 │ profile 2 │ rate 4 │ 1 │ channels 3 │ 4 │ length 13 │ 11 │ blocks 2
//! ```
//!
//! No frame has a number, so what is lost between two of them is told by the bytes that had to be skipped.
use super::bytes::{Bytes, MOST_PEEKED};
use super::fault::Fault;
use super::stream::{Codec, Demuxer, Packet, Step, Stream};
use crate::audio::mix::Layout;
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_AAC, CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3};

pub(super) struct Mpeg {
    bytes: Bytes,
    /// As the last frame said.
    now: Option<Frame>,
    /// The last frame ended where the next should begin.
    in_step: bool,
    /// Whether a frame has gone out since the last [`Stream`] began.
    frames: u64,
    frame_bytes: u64,
    waiting: Option<Packet>,
}

impl Mpeg {
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes, now: None, in_step: false, frames: 0, frame_bytes: 0, waiting: None }
    }

    /// Bytes skipped before a frame that others follow; `None` at the end.
    fn sync(&mut self) -> Result<Option<(u64, Frame)>, Fault> {
        let (mut skipped, now) = (0, self.now);
        loop {
            let ahead = self.bytes.peek(TAG)?;
            if let Some(length) = tag(ahead) {
                self.bytes.skip(length)?;
                continue;
            }
            let fits = |frame: &Frame| now.is_none_or(|now| now.codec == frame.codec);
            match Frame::parse(ahead).filter(fits) {
                Some(frame) if self.in_step && skipped == 0 => return Ok(Some((0, frame))),
                _ if ahead.len() < 4 => return Ok(None),
                _ => {}
            }
            // A pipe is not made to wait for more than is needed.
            let mut wanted = LEAST_PEEKED;
            let step = loop {
                let ahead = self.bytes.peek(wanted)?;
                let ended = ahead.len() < wanted;
                if let Some((at, frame)) = search(ahead, ended, fits, now.is_some()) {
                    self.bytes.skip(at as u64)?;
                    return Ok(Some((skipped + at as u64, frame)));
                }
                if ended {
                    break ahead.len();
                }
                if wanted == MOST_PEEKED {
                    // A frame at the very end of what could be seen is found in the next look.
                    break wanted - LONGEST_FRAME;
                }
                wanted = (wanted * 4).min(MOST_PEEKED);
            };
            self.bytes.skip(step as u64)?;
            skipped += step as u64;
        }
    }
}

impl Demuxer for Mpeg {
    fn next(&mut self) -> Result<Step, Fault> {
        if let Some(packet) = self.waiting.take() {
            return Ok(Step::Packet(packet));
        }
        let Some((skipped, frame)) = self.sync()? else { return Ok(Step::End) };
        if skipped > 0 && self.frames > 0 {
            // In step again, but the frame itself stays where it is for the next call.
            self.in_step = true;
            let lost = (skipped * self.frames).div_ceil(self.frame_bytes.max(1)) * u64::from(frame.samples);
            return Ok(Step::Lost { samples: lost, what: "bytes that are no sound" });
        }
        let data = self.bytes.up_to(frame.bytes)?;
        if data.len() < frame.bytes {
            return Ok(Step::End);
        }
        // Later it is more likely a damaged header than another recording.
        if self.now.is_none() && frame.codec == Kind::Aac && frame.channels > 2 {
            return Err(Fault::foreign(format!("AAC with {} channels", frame.channels)));
        }
        self.in_step = true;
        let changed = self.now.is_none_or(|now| !now.alike(&frame));
        self.now = Some(frame);
        let information = frame.information(&data);
        if let Some(information) = information {
            // A file that was joined to the one before begins here.
            self.frames = 0;
            return Ok(Step::Stream(frame.stream(Some(information))));
        }
        (self.frames, self.frame_bytes) = (self.frames + 1, self.frame_bytes + frame.bytes as u64);
        let data = data[frame.header.min(data.len())..].to_vec();
        let packet = Packet { data, at: None, until: None, cut: 0, samples: frame.samples.into() };
        if changed {
            self.waiting = Some(packet);
            return Ok(Step::Stream(frame.stream(None)));
        }
        Ok(Step::Packet(packet))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Frame {
    codec: Kind,
    rate: u32,
    channels: u16,
    /// Whole, and of the header that the decoder is not given.
    bytes: usize,
    header: usize,
    samples: u32,
    /// Where an information tag would stand.
    side: usize,
    /// ADTS: index of the rate, and profile.
    index: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Layer1,
    Layer2,
    Layer3,
    Aac,
}

/// What a Xing, Info or VBRI frame says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Information {
    frames: Option<u32>,
    /// Samples that the encoder put before and behind the sound.
    delay: u32,
    padding: u32,
}

impl Frame {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let [first, second, third, fourth] = *bytes.first_chunk::<4>()?;
        if first != 0xff || second & 0xe0 != 0xe0 {
            return None;
        }
        if second & 0xf6 == 0xf0 { adts(bytes) } else { mpeg(second, third, fourth) }
    }

    /// Whether one decoder decodes both.
    fn alike(&self, other: &Self) -> bool {
        (self.codec, self.rate, self.channels) == (other.codec, other.rate, other.channels)
    }

    /// Xing and Info stand behind the side information of an otherwise empty frame, VBRI 32 bytes behind the header.
    /// ```text
    /// "Xing" │ flags 4 │ frames 4, if 1 │ bytes 4, if 2 │ table 100, if 4 │ quality 4, if 8 │
    /// "LAME…" 9 │ 12 │ delay 12 bits │ padding 12 bits │ …
    /// "VBRI" │ version 2 │ delay 2 │ quality 2 │ bytes 4 │ frames 4 │ …
    /// ```
    fn information(&self, data: &[u8]) -> Option<Information> {
        if self.codec != Kind::Layer3 {
            return None;
        }
        let number =
            |at: usize| data.get(at..at + 4).and_then(|four| four.first_chunk()).map(|four| u32::from_be_bytes(*four));
        if data.get(36..40) == Some(b"VBRI") {
            return Some(Information { frames: number(50), ..Information::default() });
        }
        let tag = data.get(self.side..self.side + 4)?;
        if tag != b"Xing" && tag != b"Info" {
            return None;
        }
        let flags = number(self.side + 4)?;
        let frames = if flags & 1 != 0 { number(self.side + 8) } else { None };
        let sizes = [(1, 4), (2, 4), (4, 100), (8, 4)];
        let extra =
            self.side + 8 + sizes.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, size)| size).sum::<usize>();
        let encoder = data.get(extra..extra + 4).unwrap_or_default();
        let trims = data
            .get(extra + 21..extra + 24)
            .filter(|_| [b"LAME", b"Lavf", b"Lavc", b"GOGO"].iter().any(|known| encoder == *known));
        let (delay, padding) = trims.map_or((0, 0), |three| {
            let (a, b, c) = (u32::from(three[0]), u32::from(three[1]), u32::from(three[2]));
            // The decoder's own delay comes on top of the encoder's: 528 samples of the filter bank, and one.
            ((a << 4 | b >> 4) + DECODER_DELAY, ((b & 15) << 8 | c).saturating_sub(DECODER_DELAY))
        });
        Some(Information { frames: frames.filter(|frames| *frames > 0), delay, padding })
    }

    fn stream(&self, information: Option<Information>) -> Stream {
        let (id, container, name) = match self.codec {
            Kind::Layer1 => (CODEC_ID_MP1, "MP1", "MPEG layer 1"),
            Kind::Layer2 => (CODEC_ID_MP2, "MP2", "MPEG layer 2"),
            Kind::Layer3 => (CODEC_ID_MP3, "MP3", "MP3"),
            Kind::Aac => (CODEC_ID_AAC, "ADTS", "AAC-LC"),
        };
        let mut parameters = AudioCodecParameters::new();
        parameters.for_codec(id).with_sample_rate(self.rate);
        if self.codec == Kind::Aac {
            // AudioSpecificConfig (ISO 14496-3 §1.6.2.1): object type 5 bits, rate 4, channels 4, 3 of zero.
            let configuration = 2u16 << 11 | u16::from(self.index) << 7 | self.channels << 3;
            parameters.with_extra_data(Box::new(configuration.to_be_bytes()));
        }
        let information = information.unwrap_or_default();
        let all = information.frames.map(|frames| u64::from(frames) * u64::from(self.samples));
        let samples = all.map(|all| all.saturating_sub(u64::from(information.delay + information.padding)));
        let delay = if self.codec == Kind::Aac { AAC_DELAY } else { information.delay };
        Stream {
            container: container.into(),
            name: name.into(),
            codec: Codec::Library(Box::new(parameters)),
            rate: self.rate,
            layout: Layout::usual(self.channels),
            begins: -i64::from(delay),
            ends: samples,
            samples,
            slack: 0,
            full_scale: 1.0,
        }
    }
}

fn mpeg(second: u8, third: u8, fourth: u8) -> Option<Frame> {
    let (version, layer) = (second >> 3 & 3, second >> 1 & 3);
    let (bits, rate, pad) = (usize::from(third >> 4), usize::from(third >> 2 & 3), usize::from(third >> 1 & 1));
    if version == 1 || layer == 0 || bits == 0 || bits == 15 || rate == 3 || fourth & 3 == 2 {
        return None;
    }
    let first = version == 3;
    let rate = RATES[rate] >> [2, 0, 1, 0][usize::from(version)];
    let (codec, table) = match (layer, first) {
        (3, true) => (Kind::Layer1, &BITRATES[0]),
        (2, true) => (Kind::Layer2, &BITRATES[1]),
        (_, true) => (Kind::Layer3, &BITRATES[2]),
        (3, false) => (Kind::Layer1, &BITRATES[3]),
        (2, false) => (Kind::Layer2, &BITRATES[4]),
        (_, false) => (Kind::Layer3, &BITRATES[4]),
    };
    let bitrate = usize::from(table[bits]) * 1_000;
    let (bytes, samples) = match (codec, first) {
        (Kind::Layer1, _) => ((12 * bitrate / rate as usize + pad) * 4, 384),
        (Kind::Layer3, false) => (72 * bitrate / rate as usize + pad, 576),
        _ => (144 * bitrate / rate as usize + pad, 1_152),
    };
    let mono = fourth >> 6 == 3;
    let side = 4 + match (first, mono) {
        (true, false) => 32,
        (true, true) | (false, false) => 17,
        (false, true) => 9,
    };
    Some(Frame { codec, rate, channels: if mono { 1 } else { 2 }, bytes, header: 0, samples, side, index: 0 })
}

fn adts(bytes: &[u8]) -> Option<Frame> {
    let [_, second, third, fourth, fifth, sixth, seventh] = *bytes.first_chunk::<7>()?;
    let (profile, index) = (third >> 6, third >> 2 & 15);
    let channels = (third & 1) << 2 | fourth >> 6;
    let length = usize::from(fourth & 3) << 11 | usize::from(fifth) << 3 | usize::from(sixth >> 5);
    let header = if second & 1 == 0 { 9 } else { 7 };
    // Profile 1 is AAC-LC; several blocks in one frame, and channels told by the sound itself, nobody sends.
    // The shortest block holds one element and its end: two bytes.
    if profile != 1 || channels == 0 || length < header + 2 || seventh & 3 != 0 {
        return None;
    }
    let rate = *AAC_RATES.get(usize::from(index))?;
    let channels = if channels == 7 { 8 } else { channels.into() };
    Some(Frame { codec: Kind::Aac, rate, channels, bytes: length, header, samples: 1_024, side: 0, index })
}

/// The first frame that others follow.
fn search(ahead: &[u8], ended: bool, fits: impl Fn(&Frame) -> bool, known: bool) -> Option<(usize, Frame)> {
    let places = (0..ahead.len().saturating_sub(3)).filter(|at| ahead[*at] == 0xff);
    let frame = |at: usize| {
        Frame::parse(&ahead[at..]).filter(|frame| fits(frame) && followed(&ahead[at..], ended, frame, known))
    };
    places.filter_map(|at| frame(at).map(|frame| (at, frame))).next()
}

/// Whether other frames follow, or the file ends: three in a row where nothing is known yet, for random bytes
/// look like one header in some thousands of places; two where the codec is known.
fn followed(ahead: &[u8], ended: bool, frame: &Frame, known: bool) -> bool {
    let (mut at, mut seen) = (frame.bytes, 1);
    let wanted = if known { 2 } else { 3 };
    while seen < wanted {
        let rest = ahead.get(at..).unwrap_or_default();
        if tag(rest).is_some() || ended && at == ahead.len() {
            return true;
        }
        match Frame::parse(rest) {
            Some(next) if next.codec == frame.codec && next.rate == frame.rate => {
                (at, seen) = (at + next.bytes, seen + 1)
            }
            // The last frame is often cut short.
            _ => return ended && rest.len() < 7 && seen > 1,
        }
    }
    true
}

/// The length of a tag that stands between or behind frames.
fn tag(ahead: &[u8]) -> Option<u64> {
    if let Some(length) = id3(ahead) {
        return Some(length);
    }
    match ahead {
        // ID3v1, always 128 bytes.
        [b'T', b'A', b'G', ..] => Some(128),
        // APEv2: version 4 │ length without this header 4 │ items 4 │ flags 4, bit 29: this is the header.
        [b'A', b'P', b'E', b'T', b'A', b'G', b'E', b'X', _, _, _, _, a, b, c, d, _, _, _, _, _, _, _, flags, ..] => {
            let rest = if flags & 0x20 != 0 { u64::from(u32::from_le_bytes([*a, *b, *c, *d])) } else { 0 };
            Some(32 + rest)
        }
        _ => None,
    }
}

/// ID3v2 §3.1: "ID3" │ version 2 │ flags 1 │ length 4 × 7 bits; a footer if flag 0x10.
pub(super) fn id3(ahead: &[u8]) -> Option<u64> {
    let [b'I', b'D', b'3', version, _, flags, a, b, c, d] = *ahead.first_chunk::<10>()? else { return None };
    if version == 0xff || [a, b, c, d].iter().any(|byte| byte & 0x80 != 0) {
        return None;
    }
    let length = [a, b, c, d].iter().fold(0, |length, byte| length << 7 | u64::from(*byte));
    Some(10 + length + if flags & 0x10 != 0 { 10 } else { 0 })
}

/// Whether several frames follow one another somewhere in what can be seen of a file.
pub(super) fn found(ahead: &[u8], ended: bool) -> bool {
    search(ahead, ended, |_| true, false).is_some()
}

const RATES: [u32; 3] = [44_100, 48_000, 32_000];
const AAC_RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
/// kb/s of ISO 11172-3 §2.4.2.3 and ISO 13818-3 §2.4.2.3: MPEG 1 layers 1, 2, 3; MPEG 2 layer 1, layers 2 and 3.
const BITRATES: [[u16; 15]; 5] = [
    [0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
    [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
    [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    [0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
    [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];
/// Samples by which any MP3 decoder is late: 528 of the filter bank, and one.
const DECODER_DELAY: u32 = 529;
/// Samples before the sound that every AAC-LC encoder must make: the first block has none before it to overlap
/// with. ADTS can't say how many there really are.
const AAC_DELAY: u32 = 1_024;
/// ADTS: 13 bits.
const LONGEST_FRAME: usize = 8_191 + 7;
/// Enough to tell any tag.
const TAG: usize = 32;
/// Three frames of 128 kb/s.
const LEAST_PEEKED: usize = 2_048;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn frames(count: usize) -> Vec<u8> {
        // 128 kb/s, 44.1 kHz, stereo: 417 bytes.
        let mut one = vec![0xff, 0xfb, 0x90, 0x00];
        one.resize(417, 0x55);
        one.repeat(count)
    }

    fn steps(bytes: Vec<u8>) -> Vec<String> {
        let mut mpeg = Mpeg::new(Bytes::pipe(Cursor::new(bytes)));
        let mut all = Vec::new();
        loop {
            match mpeg.next().unwrap() {
                Step::Stream(stream) => all.push(format!("{} {:?}", stream.name, stream.samples)),
                Step::Packet(packet) => all.push(packet.data.len().to_string()),
                Step::Lost { samples, .. } => all.push(format!("lost {samples}")),
                Step::Early { .. } | Step::End => return all,
            }
        }
    }

    #[test]
    fn frames_are_found_behind_junk_and_around_holes_and_before_tags() {
        let mut bytes = vec![0xff, 0xfb, 0x90, 0x12, 9, 9];
        bytes.extend(frames(3));
        bytes.extend([7; 840]);
        bytes.extend(frames(3));
        bytes.extend(b"TAG");
        bytes.extend([0; 125]);
        assert_eq!(steps(bytes), ["MP3 None", "417", "417", "417", "lost 3456", "417", "417", "417"]);
    }

    #[test]
    fn an_information_frame_gives_length_delay_and_padding() {
        let mut first = frames(1);
        first[36..44].copy_from_slice(b"Info\0\0\0\x01");
        first[44..48].copy_from_slice(&3u32.to_be_bytes());
        first[48..52].copy_from_slice(b"LAME");
        first[69..72].copy_from_slice(&[0x24, 0x04, 0xb0]);
        // 3 × 1,152 − 576 − 1,200.
        assert_eq!(steps([first, frames(3)].concat())[..3], ["MP3 Some(1680)", "417", "417"]);
    }
}
