//! What a signed broadcast says of one of its tracks.
use crate::key::PublicKey;
use crate::proto;
use crate::time::{Civil, RATE, micros};
use uuid::Uuid;

/// One rendition: identity, keys and timeline of a track of sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    pub id: Uuid,
    /// Verifies the seals.
    pub sign: PublicKey,
    pub ssrc: u32,
    /// Samples at 48 kHz per packet: 960 (20 ms) to 23,040 (480 ms), a multiple of 960.
    pub duration: u32,
    /// Packet `n` sounds at `anchor + n × duration + delay`.
    pub anchor: Civil,
    /// SHA-256(master key ‖ master salt).
    pub key_hash: [u8; 32],
    /// Of the Opus stream, b/s.
    pub bitrate: u32,
    /// How many packets there will be; `None` while a live track runs.
    pub packets: Option<u64>,
}

/// Why a rendition in an order is not acceptable; names the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rendition: {0}")]
pub struct Invalid(pub &'static str);

impl Info {
    /// µs per packet.
    pub fn packet_micros(&self) -> i64 {
        micros(self.duration as u64)
    }

    /// The civil time at which packet `index` begins, before the playout delay.
    pub fn instant(&self, index: u64) -> Civil {
        self.anchor
            + index.saturating_mul(self.duration as u64).saturating_mul(1_000_000).checked_div(RATE as u64).unwrap_or(0)
                as i64
    }

    pub fn to_proto(&self) -> proto::Rendition {
        proto::Rendition {
            track: bytes::Bytes::copy_from_slice(self.id.as_bytes()),
            sign: bytes::Bytes::copy_from_slice(&self.sign.0),
            ssrc: self.ssrc,
            duration: self.duration,
            anchor: self.anchor.0,
            key_hash: bytes::Bytes::copy_from_slice(&self.key_hash),
            bitrate: self.bitrate,
            packets: self.packets.unwrap_or(0),
        }
    }

    /// Checks every field; see [`Invalid`].
    pub fn from_proto(rendition: &proto::Rendition) -> Result<Self, Invalid> {
        let id = Uuid::from_slice(&rendition.track).map_err(|_| Invalid("track is not 16 bytes"))?;
        if id.get_version_num() != 7 || id.get_variant() != uuid::Variant::RFC4122 {
            return Err(Invalid("track is not a UUIDv7"));
        }
        let sign = PublicKey::from_slice(&rendition.sign).ok_or(Invalid("sign is not 32 bytes"))?;
        let key_hash = rendition.key_hash.as_ref().try_into().map_err(|_| Invalid("key_hash is not 32 bytes"))?;
        if !(960..=23_040).contains(&rendition.duration) || rendition.duration % 960 != 0 {
            return Err(Invalid("duration"));
        }
        if !(6_000..=128_000).contains(&rendition.bitrate) {
            return Err(Invalid("bitrate"));
        }
        if !(1_577_836_800_000_000..7_258_118_400_000_000).contains(&rendition.anchor) {
            return Err(Invalid("anchor"));
        }
        Ok(Self {
            id,
            sign,
            ssrc: rendition.ssrc,
            duration: rendition.duration,
            anchor: Civil(rendition.anchor),
            key_hash,
            bitrate: rendition.bitrate,
            packets: (rendition.packets != 0).then_some(rendition.packets),
        })
    }
}
