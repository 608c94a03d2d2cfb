//! The packetizer: records → RTP payload ▸ seal ▸ SRTP, once, where sound enters.
use super::{Info, Packet, Secret};
use crate::key::SigningKey;
use crate::time::Civil;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    #[error("the records of packet {index} take {needed} bytes, the track has room for {room}")]
    TooLong { index: u64, needed: usize, room: usize },
    #[error("the track has no index left")]
    Exhausted,
}

/// Makes the packets of one track of sound, index 0 first, all of one length.
pub struct Writer {}

impl Writer {
    /// `room`: bytes for records with their 2-byte lengths; the rest of a packet adds 100.
    /// The caller must use each (secret, ssrc) for one writer only.
    pub fn new(_info: Info, _secret: &Secret, _key: SigningKey, _room: usize) -> Self {
        todo!()
    }

    /// The room that hard-CBR records of `bitrate` need for packets of `duration` samples, with
    /// slack for repacketizer framing; total ≤ [`super::MAX_PACKET`] or an error from `write`.
    pub fn room(_bitrate: u32, _duration: u32) -> usize {
        todo!()
    }

    pub fn write<R: AsRef<[u8]>>(&mut self, _records: &[R], _time: Civil) -> Result<Packet, WriteError> {
        todo!()
    }
}
