//! Opus in any container: its header, and a decoder for up to eight channels.
use super::fault::Fault;
use crate::audio::mix::Layout;
use opus::{Channels, Decoder};

/// The header of RFC 7845 §5.1, little-endian; the same bytes stand in Ogg and in Matroska's CodecPrivate:
/// ```text
/// "OpusHead" │ version 1 │ channels 1 │ pre-skip 2 │ rate 4 │ gain 2 │ family 1 │ [ streams 1 │ coupled 1 │ mapping, channels ]
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub pre_skip: u16,
    /// Q7.8 dB.
    pub gain: i16,
    family: u8,
    streams: u8,
    coupled: u8,
    /// For each channel, which decoded one it is; 255 is silence.
    mapping: Vec<u8>,
}

impl Head {
    pub fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let Some((b"OpusHead", [version, channels, a, b, _, _, _, _, c, d, family, table @ ..])) =
            bytes.split_first_chunk::<8>()
        else {
            return Err(Fault::damaged("the header of Opus is cut short"));
        };
        if version >> 4 != 0 {
            return Err(Fault::unsupported(format!("Opus of version {version}")));
        }
        Self::of(*channels, u16::from_le_bytes([*a, *b]), i16::from_le_bytes([*c, *d]), *family, table)
    }

    /// As in MP4, where the same fields stand big-endian.
    pub fn of(channels: u8, pre_skip: u16, gain: i16, family: u8, table: &[u8]) -> Result<Self, Fault> {
        let wrong = || Fault::damaged("the header of Opus contradicts itself");
        let (streams, coupled, mapping) = match (family, channels) {
            (0, 1) => (1, 0, vec![0]),
            (0, 2) => (1, 1, vec![0, 1]),
            (1 | 255, 1..=8) => {
                let [streams, coupled, mapping @ ..] = table else { return Err(wrong()) };
                (*streams, *coupled, mapping.get(..channels.into()).ok_or_else(wrong)?.to_vec())
            }
            (_, 0) => return Err(wrong()),
            _ => return Err(Fault::unsupported(format!("Opus with {channels} channels of family {family}"))),
        };
        let decoded = u16::from(streams) + u16::from(coupled);
        if streams == 0
            || coupled > streams
            || mapping.iter().any(|index| *index != 255 && u16::from(*index) >= decoded)
            || streams > 8
        {
            return Err(wrong());
        }
        Ok(Self { pre_skip, gain, family, streams, coupled, mapping })
    }

    pub fn layout(&self) -> Layout {
        let channels = self.mapping.len() as u16;
        if self.family == 255 { Layout::equal(channels) } else { Layout::xiph(channels) }
    }
}

/// One libopus decoder for each stream of RFC 7845 §5.1.1.
pub(super) struct Opus {
    head: Head,
    decoders: Vec<Decoder>,
    /// What one of them made, interleaved.
    pcm: Vec<f32>,
    /// One plane for each decoded channel.
    decoded: Vec<Vec<f32>>,
}

impl Opus {
    pub fn new(head: &Head) -> Result<Self, Fault> {
        let mut decoders = Vec::new();
        for stream in 0..head.streams {
            let channels = if stream < head.coupled { Channels::Stereo } else { Channels::Mono };
            let mut decoder = Decoder::new(RATE, channels).map_err(|error| Fault::damaged(error.to_string()))?;
            decoder.set_gain(head.gain.into()).map_err(|error| Fault::damaged(error.to_string()))?;
            decoders.push(decoder);
        }
        let decoded = vec![Vec::new(); usize::from(head.streams) + usize::from(head.coupled)];
        Ok(Self { head: head.clone(), decoders, pcm: vec![0.0; 2 * LONGEST], decoded })
    }

    /// Replaces `planes`. All streams of a packet hold the same time.
    pub fn decode(&mut self, packet: &[u8], planes: &mut Vec<Vec<f32>>) -> Result<(), Fault> {
        let mut rest = packet;
        let mut plane = 0;
        let count = self.decoders.len();
        for (number, decoder) in self.decoders.iter_mut().enumerate() {
            let own;
            let bytes = if number + 1 < count {
                (own, rest) = undelimited(rest).ok_or_else(|| Fault::damaged("a packet of Opus is cut short"))?;
                &own[..]
            } else {
                rest
            };
            if bytes.is_empty() {
                return Err(Fault::damaged("an empty packet of Opus"));
            }
            let samples =
                decoder.decode_float(bytes, &mut self.pcm, false).map_err(|error| Fault::damaged(error.to_string()))?;
            let channels = if number < usize::from(self.head.coupled) { 2 } else { 1 };
            for channel in 0..channels {
                let decoded = &mut self.decoded[plane];
                decoded.clear();
                decoded.extend(self.pcm[..samples * channels].iter().skip(channel).step_by(channels));
                plane += 1;
            }
        }
        let length = self.decoded.iter().map(Vec::len).min().unwrap_or(0);
        planes.resize_with(self.head.mapping.len(), Vec::new);
        for (plane, index) in planes.iter_mut().zip(&self.head.mapping) {
            plane.clear();
            match self.decoded.get(usize::from(*index)) {
                Some(decoded) => plane.extend_from_slice(&decoded[..length]),
                None => plane.resize(length, 0.0),
            }
        }
        Ok(())
    }
}

/// Samples at 48 kHz in a packet, by its first bytes (RFC 6716 §3.1); 0 if it is none.
pub(super) fn samples(packet: &[u8]) -> u64 {
    opus::packet::get_nb_samples(packet, RATE).unwrap_or(0) as u64
}

/// A packet that says its own length (RFC 6716 appendix B), as the plain packet, and what follows it.
fn undelimited(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (toc, rest) = bytes.split_first()?;
    let mut out = vec![*toc];
    match toc & 3 {
        0 => {
            let (length, rest) = length(rest)?;
            out.extend(rest.get(..length)?);
            Some((out, &rest[length..]))
        }
        1 => {
            let (length, rest) = length(rest)?;
            out.extend(rest.get(..2 * length)?);
            Some((out, &rest[2 * length..]))
        }
        2 => {
            let (first, after) = length(rest)?;
            let field = &rest[..rest.len() - after.len()];
            let (second, after) = length(after)?;
            out.extend(field);
            out.extend(after.get(..first + second)?);
            Some((out, &after[first + second..]))
        }
        _ => {
            let (flags, mut rest) = rest.split_first()?;
            out.push(*flags);
            let mut padding = 0usize;
            if flags & 0x40 != 0 {
                loop {
                    let (more, after) = rest.split_first()?;
                    out.push(*more);
                    rest = after;
                    padding += if *more == 255 { 254 } else { usize::from(*more) };
                    if *more != 255 {
                        break;
                    }
                }
            }
            let count = usize::from(flags & 0x3f);
            let mut all = 0;
            if flags & 0x80 != 0 {
                for _ in 1..count {
                    let (size, after) = length(rest)?;
                    out.extend(&rest[..rest.len() - after.len()]);
                    (all, rest) = (all + size, after);
                }
                let (last, after) = length(rest)?;
                (all, rest) = (all + last, after);
            } else {
                let (each, after) = length(rest)?;
                (all, rest) = (each * count, after);
            }
            out.extend(rest.get(..all + padding)?);
            Some((out, &rest[all + padding..]))
        }
    }
}

/// RFC 6716 §3.2.1: one byte up to 251, else two.
fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match *bytes {
        [first @ 0..=251, ..] => Some((first.into(), &bytes[1..])),
        [first, second, ..] => Some((usize::from(first) + 4 * usize::from(second), &bytes[2..])),
        _ => None,
    }
}

const RATE: u32 = 48_000;
/// Samples of the longest packet, 120 ms.
const LONGEST: usize = 5_760;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_contradict_themselves_are_refused() {
        let stereo = b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0";
        assert_eq!(Head::parse(stereo).unwrap().pre_skip, 312);
        assert!(Head::parse(&stereo[..12]).is_err());
        let six = b"OpusHead\x01\x06\x38\x01\x80\xbb\0\0\0\0\x01\x04\x02\0\x04\x01\x02\x03\x05";
        assert_eq!(Head::parse(six).unwrap().mapping.len(), 6);
        assert!(Head::parse(&six[..24]).is_err());
        let mut beyond = *six;
        beyond[26] = 6;
        assert!(Head::parse(&beyond).is_err());
    }

    #[test]
    fn packets_that_say_their_length_lose_it() {
        assert_eq!(undelimited(&[0x08, 2, 7, 8, 9]), Some((vec![0x08, 7, 8], &[9][..])));
        assert_eq!(undelimited(&[0x09, 1, 7, 8, 9]), Some((vec![0x09, 7, 8], &[9][..])));
        assert_eq!(undelimited(&[0x0a, 1, 2, 7, 8, 9, 5]), Some((vec![0x0a, 1, 7, 8, 9], &[5][..])));
        assert_eq!(undelimited(&[0x0b, 0x82, 1, 2, 7, 8, 9, 5]), Some((vec![0x0b, 0x82, 1, 7, 8, 9], &[5][..])));
        assert_eq!(undelimited(&[0x08, 200, 7]), None);
    }
}
