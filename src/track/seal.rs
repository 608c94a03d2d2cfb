//! The seal in every packet of sound, and the reader that checks it.
use super::{Info, Reject, Secret};
use crate::time::Civil;
use bytes::Bytes;

/// A verified packet of sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sound {
    pub index: u64,
    /// When its origin sealed it.
    pub time: Civil,
    /// Opus packets of at most 120 ms, in order; together `Info::duration` samples.
    pub records: Vec<Bytes>,
}

/// Unprotects and verifies the packets of one track. Stateless between packets.
pub struct Reader {}

impl Reader {
    /// `None` if the secret's hash is not the one that the signed broadcast names.
    pub fn new(_info: &Info, _secret: &Secret) -> Option<Self> {
        todo!()
    }

    pub fn info(&self) -> &Info {
        todo!()
    }

    /// Tag, then seal, then the records' framing. About 0.1 ms on a server.
    pub fn read(&self, _index: u64, _bytes: &[u8]) -> Result<Sound, Reject> {
        todo!()
    }
}
