//! What a signed broadcast says of one of its tracks.
use super::{MAX_PACKET, OVERHEAD};
use crate::key::PublicKey;
use crate::proto;
use crate::time::{Civil, RATE, SECOND, micros};
use bytes::Bytes;
use std::ops::{Range, RangeInclusive};
use uuid::{Uuid, Variant};

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
    /// How many packets there will be, at least one; `None` while a live track runs.
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
        let after = u128::from(index) * u128::from(self.duration) * SECOND as u128 / u128::from(RATE);
        self.anchor + i64::try_from(after).unwrap_or(i64::MAX)
    }

    /// RTP timestamp of packet `index`: its first sample, modulo 2^32.
    pub fn timestamp(&self, index: u64) -> u32 {
        (index as u32).wrapping_mul(self.duration)
    }

    pub fn to_proto(&self) -> proto::Rendition {
        proto::Rendition {
            track: Bytes::copy_from_slice(self.id.as_bytes()),
            sign: Bytes::copy_from_slice(&self.sign.0),
            ssrc: self.ssrc,
            duration: self.duration,
            anchor: self.anchor.0,
            key_hash: Bytes::copy_from_slice(&self.key_hash),
            bitrate: self.bitrate,
            packets: self.packets.unwrap_or(0),
        }
    }

    /// Checks every field; see [`Invalid`].
    pub fn from_proto(rendition: &proto::Rendition) -> Result<Self, Invalid> {
        let proto::Rendition { track, sign, ssrc, duration, anchor, key_hash, bitrate, packets } = rendition;
        let id = Uuid::from_slice(track).map_err(|_| Invalid("track: 16 bytes are needed"))?;
        check(id.get_version_num() == 7 && id.get_variant() == Variant::RFC4122, "track: a UUIDv7 is needed")?;
        let sign = PublicKey::from_slice(sign).ok_or(Invalid("sign: 32 bytes are needed"))?;
        let key_hash = key_hash[..].try_into().map_err(|_| Invalid("key_hash: 32 bytes are needed"))?;
        check(
            DURATIONS.contains(duration) && duration % DURATIONS.start() == 0,
            "duration: a multiple of 960 from 960 to 23040 samples is needed",
        )?;
        check(ANCHORS.contains(anchor), "anchor: a time from 2020 to 2199 in µs is needed")?;
        check(BITRATES.contains(bitrate), "bitrate: 6000 to 128000 b/s are needed")?;
        let bytes = u64::from(*bitrate) * u64::from(*duration) / (8 * u64::from(RATE));
        check(
            bytes <= (MAX_PACKET - OVERHEAD) as u64,
            "bitrate: so much sound of this duration does not fit one packet; shorten the duration",
        )?;
        check(*packets <= MAX_PACKETS, "packets: at most 2^47")?;
        Ok(Self {
            id,
            sign,
            ssrc: *ssrc,
            duration: *duration,
            anchor: Civil(*anchor),
            key_hash,
            bitrate: *bitrate,
            packets: Some(*packets).filter(|&packets| packets > 0),
        })
    }
}

fn check(holds: bool, otherwise: &'static str) -> Result<(), Invalid> {
    if holds { Ok(()) } else { Err(Invalid(otherwise)) }
}

/// From one Opus frame of 20 ms to the longest that 16 kb/s leave below [`MAX_PACKET`].
const DURATIONS: RangeInclusive<u32> = 960..=23_040;
/// From the least that Opus speech takes to what 60 ms packets carry.
const BITRATES: RangeInclusive<u32> = 6_000..=128_000;
/// Half of what one key may protect (RFC 3711 §9.2), so that no sum of indices comes near the end.
const MAX_PACKETS: u64 = 1 << 47;
/// 2020-01-01 to 2200-01-01: outside, a clock or a unit is wrong.
const ANCHORS: Range<i64> = 1_577_836_800 * SECOND..7_258_118_400 * SECOND;

#[cfg(test)]
mod tests {
    use super::super::seal::tests::info;
    use super::*;
    use proptest::prelude::*;

    fn refusal(change: impl FnOnce(&mut proto::Rendition)) -> Result<Info, Invalid> {
        let mut rendition = info().to_proto();
        change(&mut rendition);
        Info::from_proto(&rendition)
    }

    #[test]
    fn a_rendition_reads_back() {
        assert_eq!(Info::from_proto(&info().to_proto()), Ok(info()));
        let stored = Info { packets: Some(1 << 47), ..info() };
        assert_eq!(Info::from_proto(&stored.to_proto()), Ok(stored));
    }

    #[test]
    fn each_field_out_of_its_range_is_refused_by_name() {
        type Change = fn(&mut proto::Rendition);
        let wrong: [(&str, Change); 17] = [
            ("track", |r| r.track = Bytes::new()),
            ("track", |r| r.track = Bytes::from_static(&[7; 17])),
            ("track", |r| r.track = Bytes::copy_from_slice(&[0xff; 16])),
            ("track", |r| r.track = Bytes::copy_from_slice(Uuid::from_u128(0x4000 << 64 | 0x8 << 60).as_bytes())),
            ("sign", |r| r.sign.truncate(31)),
            ("key_hash", |r| r.key_hash.clear()),
            ("duration", |r| r.duration = 0),
            ("duration", |r| r.duration = 961),
            ("duration", |r| r.duration = 24_000),
            ("anchor", |r| r.anchor = 0),
            ("anchor", |r| r.anchor = 1_795_000_000),
            ("anchor", |r| r.anchor = i64::MAX),
            ("bitrate", |r| r.bitrate = 5_999),
            ("bitrate", |r| r.bitrate = 128_001),
            ("bitrate", |r| r.bitrate = 48_000),
            ("packets", |r| r.packets = (1 << 47) + 1),
            ("packets", |r| r.packets = u64::MAX),
        ];
        for (field, change) in wrong {
            let Invalid(text) = refusal(change).expect_err(field);
            assert!(text.starts_with(&format!("{field}:")), "{text}");
        }
    }

    #[test]
    fn a_version_7_with_the_wrong_variant_is_no_uuid_of_ours() {
        let wrong = Uuid::from_u128(info().id.as_u128() & !(0xc << 60));
        assert_eq!(wrong.get_version_num(), 7);
        assert!(refusal(|r| r.track = Bytes::copy_from_slice(wrong.as_bytes())).is_err());
    }

    #[test]
    fn packets_follow_each_other_on_the_timeline_without_rounding_drift() {
        let info = Info { duration: 960, ..info() };
        assert_eq!(info.packet_micros(), 20_000);
        assert_eq!(info.instant(0), info.anchor);
        assert_eq!(info.instant(3) - info.anchor, 60_000);
        // Ten years of 480 ms packets and the last index there is.
        let long = Info { duration: 23_040, ..info };
        assert_eq!(long.instant(1 << 31) - long.anchor, (1 << 31) * 480_000);
        assert_eq!(long.instant(1 << 40) - long.anchor, (1 << 40) * 480_000);
        assert_eq!(long.instant(u64::MAX), Civil(i64::MAX));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]


        /// Each field is drawn from its range and a little beyond.
        #[test]
        fn a_rendition_is_accepted_whole_exactly_when_each_field_is_in_range(
            version in 6u128..=8, variant in 7u128..=12, low in 0..1u128 << 60,
            key in 31usize..=33, ssrc: u32, frames in 0u32..=25,
            anchor in ANCHORS.start - SECOND * 1_000_000_000..ANCHORS.end + SECOND * 1_000_000_000,
            bitrate in 4_000u32..140_000, packets in 0..=MAX_PACKETS + (1 << 40),
        ) {
            let rendition = proto::Rendition {
                track: Bytes::copy_from_slice(&(version << 76 | variant << 60 | low).to_be_bytes()),
                sign: vec![1; key].into(),
                key_hash: vec![2; 32].into(),
                ssrc, duration: frames * 960, anchor, bitrate, packets,
            };
            let fits = bitrate * frames / 400 <= 1_100;
            let right = version == 7 && (8..12).contains(&variant) && key == 32 && (1..=24).contains(&frames)
                && ANCHORS.contains(&anchor) && (6_000..=128_000).contains(&bitrate) && fits && packets <= MAX_PACKETS;
            match Info::from_proto(&rendition) {
                Ok(info) => {
                    prop_assert!(right);
                    prop_assert_eq!(info.to_proto(), rendition);
                }
                Err(invalid) => prop_assert!(!right, "{}", invalid),
            }
        }

        #[test]
        fn the_timestamp_is_the_first_sample(index in 0u64..1 << 48, frames in 1u32..=24) {
            let info = Info { duration: frames * 960, ..info() };
            let sample = u128::from(index) * u128::from(info.duration);
            prop_assert_eq!(u128::from(info.timestamp(index)), sample % (1 << 32));
        }
    }
}
