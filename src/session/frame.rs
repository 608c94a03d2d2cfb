//! Length-delimited frames on streams: a varint (QUIC's, RFC 9000 §16) and that many bytes.
//!
//! ```text
//!  00vvvvvv                                   0 to 63          ┐
//!  01vvvvvv vvvvvvvv                          0 to 16,383      │ length of the frame
//!  10vvvvvv … 4 bytes                         0 to 2^30 − 1    │ in the two bits' form,
//!  11vvvvvv … 8 bytes                         0 to 2^62 − 1    ┘ then the frame itself
//! ```
use super::Violation;
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;

/// The longest frame accepted or sent.
pub const MAX_FRAME: usize = 64 * 1024;

/// Splits the bytes of one stream into frames; holds at most one incomplete frame.
#[derive(Debug, Default)]
pub struct Decoder {
    partial: BytesMut,
    /// Bounded by what the caller hands in between two drains.
    frames: VecDeque<Bytes>,
    failed: bool,
}

impl Decoder {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes in. `Err` (`frame.too_long`) if a frame would exceed [`MAX_FRAME`]; the stream
    /// has lost its framing then, and every further call fails too.
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        if self.failed {
            return Err(too_long());
        }
        self.partial.extend_from_slice(bytes);
        while let Some((prefix, length)) = length(&self.partial) {
            if length > MAX_FRAME as u64 {
                self.failed = true;
                self.partial = BytesMut::new();
                return Err(too_long());
            }
            let length = length as usize;
            if self.partial.len() < prefix + length {
                break;
            }
            self.partial.advance(prefix);
            self.frames.push_back(self.partial.split_to(length).freeze());
        }
        if self.partial.is_empty() {
            // An idle stream holds no buffer: a branch has thousands of them.
            self.partial = BytesMut::new();
        }
        Ok(())
    }

    pub fn poll_frame(&mut self) -> Option<Bytes> {
        let frame = self.frames.pop_front();
        if self.frames.is_empty() && self.frames.capacity() > 0 {
            self.frames = VecDeque::new();
        }
        frame
    }

    /// Whether a frame is begun and not complete (a stream that ends so was cut).
    pub fn is_partial(&self) -> bool {
        !self.partial.is_empty()
    }
}

/// Prefixes a frame with its length. Panics in debug builds beyond [`MAX_FRAME`].
pub fn encode(frame: &[u8]) -> Bytes {
    debug_assert!(frame.len() <= MAX_FRAME, "a frame of {} bytes exceeds {MAX_FRAME}", frame.len());
    let mut out = Vec::with_capacity(4 + frame.len());
    match frame.len() {
        short @ 0..=0x3f => out.push(short as u8),
        middle @ 0x40..=0x3fff => out.extend_from_slice(&(middle as u16 | 0x4000).to_be_bytes()),
        long => out.extend_from_slice(&(long as u32 | 0x8000_0000).to_be_bytes()),
    }
    out.extend_from_slice(frame);
    out.into()
}

/// Bytes that the prefix takes and the length that it names; `None` while the prefix is incomplete.
fn length(bytes: &[u8]) -> Option<(usize, u64)> {
    let first = *bytes.first()?;
    let prefix = 1 << (first >> 6);
    let rest = bytes.get(1..prefix)?;
    Some((prefix, rest.iter().fold((first & 0x3f) as u64, |value, &byte| value << 8 | byte as u64)))
}

fn too_long() -> Violation {
    Violation::new("frame.too_long", format!("a frame may have at most {MAX_FRAME} bytes; split the message"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frames(decoder: &mut Decoder) -> Vec<Bytes> {
        std::iter::from_fn(|| decoder.poll_frame()).collect()
    }

    #[test]
    fn the_varints_of_rfc_9000_read_as_its_appendix_says() {
        // RFC 9000 §A.1.
        let eight = [0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c];
        assert_eq!(length(&eight), Some((8, 151_288_809_941_952_652)));
        assert_eq!(length(&[0x9d, 0x7f, 0x3e, 0x7d]), Some((4, 494_878_333)));
        assert_eq!(length(&[0x7b, 0xbd]), Some((2, 15_293)));
        assert_eq!(length(&[0x25]), Some((1, 37)));
        assert_eq!(length(&[0x40, 0x25]), Some((2, 37)));
        assert_eq!(length(&eight[..7]), None);
    }

    #[test]
    fn a_frame_beyond_the_limit_is_refused_as_soon_as_its_length_is_known() {
        let mut decoder = Decoder::new();
        let length = (MAX_FRAME as u32 + 1) | 0x8000_0000;
        assert_eq!(decoder.handle_bytes(&length.to_be_bytes()).unwrap_err().code, "frame.too_long");
        assert_eq!(decoder.handle_bytes(b"\0").unwrap_err().code, "frame.too_long");
        assert_eq!(decoder.poll_frame(), None);
    }

    #[test]
    fn the_longest_frame_passes() {
        let mut decoder = Decoder::new();
        let frame = vec![7; MAX_FRAME];
        decoder.handle_bytes(&encode(&frame)).unwrap();
        assert_eq!(frames(&mut decoder), [Bytes::from(frame)]);
        assert!(!decoder.is_partial());
    }

    #[test]
    fn a_stream_cut_inside_a_frame_is_partial() {
        let mut decoder = Decoder::new();
        decoder.handle_bytes(&encode(b"order")[..3]).unwrap();
        assert!(decoder.is_partial());
        assert_eq!(decoder.poll_frame(), None);
    }

    proptest! {
        #[test]
        fn frames_survive_any_cutting_of_their_stream(
            sent in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..12),
            cuts in prop::collection::vec(1usize..97, 1..64),
        ) {
            let stream: Vec<u8> = sent.iter().flat_map(|frame| encode(frame)).collect();
            let mut decoder = Decoder::new();
            let (mut rest, mut received) = (&stream[..], Vec::new());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (chunk, later) = rest.split_at((*cut).min(rest.len()));
                decoder.handle_bytes(chunk).unwrap();
                received.extend(frames(&mut decoder));
                rest = later;
            }
            prop_assert!(!decoder.is_partial());
            prop_assert_eq!(received, sent);
        }

        #[test]
        fn any_bytes_are_frames_or_an_error(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20)) {
            let mut decoder = Decoder::new();
            for chunk in chunks {
                if decoder.handle_bytes(&chunk).is_err() {
                    break;
                }
                prop_assert!(decoder.partial.len() <= MAX_FRAME + 8 );
                frames(&mut decoder);
            }
        }
    }
}
