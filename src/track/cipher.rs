//! SRTP with AEAD_AES_128_GCM (RFC 7714) and an explicit index.
use bytes::Bytes;
use zeroize::ZeroizeOnDrop;

/// SRTP master key and salt of one track. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq, ZeroizeOnDrop)]
pub struct Secret {
    pub key: [u8; 16],
    pub salt: [u8; 12],
}

impl Secret {
    /// SHA-256(key ‖ salt), as the signed broadcast names it.
    pub fn hash(&self) -> [u8; 32] {
        todo!()
    }
}

impl Secret {
    pub fn to_proto(&self) -> crate::proto::Secret {
        crate::proto::Secret { key: self.key.to_vec().into(), salt: self.salt.to_vec().into() }
    }

    /// `None` unless key and salt have their lengths.
    pub fn from_proto(secret: &crate::proto::Secret) -> Option<Self> {
        Some(Self { key: secret.key.as_ref().try_into().ok()?, salt: secret.salt.as_ref().try_into().ok()? })
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why a packet was refused: the `reason` label of `loa_packets_rejected_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Reject {
    #[error("malformed")]
    Malformed,
    #[error("unknown_ssrc")]
    UnknownSsrc,
    /// The sequence number is not that of the index.
    #[error("wrong_index")]
    WrongIndex,
    /// The GCM tag fails.
    #[error("tag")]
    Tag,
    /// The Ed25519 seal fails.
    #[error("seal")]
    Seal,
    /// Already held.
    #[error("duplicate")]
    Duplicate,
    /// Outside the window of the ring or of the track.
    #[error("out_of_window")]
    OutOfWindow,
}

/// The session keys of one track.
pub struct Cipher {}

impl Cipher {
    pub fn new(_secret: &Secret, _ssrc: u32) -> Self {
        todo!()
    }

    /// Header (payload type 96 for sound, 97 for logs) + encrypted payload + tag.
    pub fn protect(&self, _index: u64, _timestamp: u32, _payload_type: u8, _payload: &[u8]) -> Bytes {
        todo!()
    }

    /// The payload, once the tag holds for exactly this index.
    pub fn unprotect(&self, _index: u64, _bytes: &[u8]) -> Result<Bytes, Reject> {
        todo!()
    }
}
