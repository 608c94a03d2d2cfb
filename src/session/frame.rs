//! Length-delimited frames on streams: a varint (QUIC's, RFC 9000 §16) and that many bytes.
use super::Violation;
use bytes::Bytes;

/// The longest frame accepted or sent.
pub const MAX_FRAME: usize = 64 * 1024;

/// Splits the bytes of one stream into frames; holds at most one incomplete frame.
#[derive(Debug, Default)]
pub struct Decoder {}

impl Decoder {
    pub fn new() -> Self {
        todo!()
    }

    /// Takes bytes in. `Err` (`frame.too_long`) if a frame would exceed [`MAX_FRAME`].
    pub fn handle_bytes(&mut self, _bytes: &[u8]) -> Result<(), Violation> {
        todo!()
    }

    pub fn poll_frame(&mut self) -> Option<Bytes> {
        todo!()
    }

    /// Whether a frame is begun and not complete (a stream that ends so was cut).
    pub fn is_partial(&self) -> bool {
        todo!()
    }
}

/// Prefixes a frame with its length. Panics in debug builds beyond [`MAX_FRAME`].
pub fn encode(_frame: &[u8]) -> Bytes {
    todo!()
}
