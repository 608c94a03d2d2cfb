//! SRTP with AEAD_AES_128_GCM (RFC 7714) and an explicit index.
use super::Header;
use super::packet::LAST_INDEX;
use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, EncryptingKey, UnboundCipherKey};
use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use zeroize::{ZeroizeOnDrop, Zeroizing};

/// SRTP master key and salt of one track. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq, ZeroizeOnDrop)]
pub struct Secret {
    pub key: [u8; 16],
    pub salt: [u8; 12],
}

impl Secret {
    /// SHA-256(key ‖ salt), as the signed broadcast names it.
    pub fn hash(&self) -> [u8; 32] {
        let mut context = Context::new(&SHA256);
        context.update(&self.key);
        context.update(&self.salt);
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        hash
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

    /// A track's, as it rides with an order.
    pub fn of_track(key: &crate::proto::Key) -> Option<(uuid::Uuid, Self)> {
        Some((uuid::Uuid::from_slice(&key.track).ok()?, Self::from_proto(key.secret.as_ref()?)?))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// As it travels and rests: whoever prints a message must not print a key.
impl std::fmt::Debug for crate::proto::Secret {
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
    /// The sequence number, or the timestamp of sound, is not that of the index.
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

impl Reject {
    pub const ALL: [Self; 7] = [
        Self::Malformed,
        Self::UnknownSsrc,
        Self::WrongIndex,
        Self::Tag,
        Self::Seal,
        Self::Duplicate,
        Self::OutOfWindow,
    ];
}

/// The session keys of one track. Holds no index: what was encrypted before is the caller's to
/// know, and the same (index, payload) gives the same bytes.
pub struct Cipher {
    key: LessSafeKey,
    salt: [u8; 12],
    ssrc: u32,
}

impl Cipher {
    /// What a packet adds to its payload: header and tag.
    pub const OVERHEAD: usize = Header::LEN + TAG;

    pub fn new(secret: &Secret, ssrc: u32) -> Self {
        // RFC 7714 §11 with erratum 4938: the 96-bit salt times 2^16 is the KDF's 112-bit salt.
        let mut salt = Zeroizing::new([0; 14]);
        salt[..12].copy_from_slice(&secret.salt);
        let session_key = derive::<16>(&secret.key, &salt, LABEL_ENCRYPTION);
        let session_salt = derive::<12>(&secret.key, &salt, LABEL_SALT);
        Self::from_session(&session_key, &session_salt, ssrc)
    }

    fn from_session(key: &[u8; 16], salt: &[u8; 12], ssrc: u32) -> Self {
        let key = UnboundKey::new(&AES_128_GCM, key).expect("16 bytes are a key of AES-128");
        Self { key: LessSafeKey::new(key), salt: *salt, ssrc }
    }

    /// Header (payload type [`Header::SOUND`] or [`Header::LOG`]) + encrypted payload + tag.
    ///
    /// A second payload under the same index would give both away: each index once.
    ///
    /// # Panics
    /// If `index` is above [`LAST_INDEX`]: its nonce has been used.
    pub fn protect(&self, index: u64, timestamp: u32, payload_type: u8, payload: &[u8]) -> Bytes {
        assert!(index <= LAST_INDEX, "packet {index}: a key serves 2^48 packets");
        let header = Header { payload_type, sequence: index as u16, timestamp, ssrc: self.ssrc }.to_bytes();
        // Exactly full in the end, so that `Bytes` takes it over as it is.
        let mut bytes = Vec::with_capacity(payload.len() + Self::OVERHEAD);
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(payload);
        let tag = self
            .key
            .seal_in_place_separate_tag(self.nonce(index), Aad::from(header), &mut bytes[Header::LEN..])
            .expect("GCM fails only beyond 64 GiB");
        bytes.extend_from_slice(tag.as_ref());
        bytes.into()
    }

    /// The payload, once the tag holds for exactly this index.
    pub fn unprotect(&self, index: u64, bytes: &[u8]) -> Result<Bytes, Reject> {
        self.check(index, bytes)?;
        let mut payload = Vec::with_capacity(bytes.len().saturating_sub(Self::OVERHEAD));
        self.open(index, bytes, &mut payload)?;
        Ok(payload.into())
    }

    /// What can be refused before any cryptography.
    pub(super) fn check(&self, index: u64, bytes: &[u8]) -> Result<Header, Reject> {
        let header = Header::parse(bytes).ok_or(Reject::Malformed)?;
        if header.ssrc != self.ssrc {
            return Err(Reject::UnknownSsrc);
        }
        if index > LAST_INDEX || header.sequence != index as u16 {
            return Err(Reject::WrongIndex);
        }
        Ok(header)
    }

    /// Appends the payload of a checked packet to `out`; after an error, what was appended is
    /// worthless.
    pub(super) fn open(&self, index: u64, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Reject> {
        let (header, body) = bytes.split_at_checked(Header::LEN).ok_or(Reject::Malformed)?;
        let (encrypted, tag) = body.split_last_chunk::<TAG>().ok_or(Reject::Malformed)?;
        let start = out.len();
        out.resize(start + encrypted.len(), 0);
        self.key
            .open_separate_gather(self.nonce(index), Aad::from(header), encrypted, tag, &mut out[start..])
            .map_err(|_| Reject::Tag)
    }

    /// RFC 7714 §8.1; the index is ROC ‖ SEQ.
    /// ```text
    ///    0  0  s  s  r  c  r  o  c  .  s  q
    ///   +--+--+--+--+--+--+--+--+--+--+--+--+
    ///   |00|00|   SSRC    |  index, 48 bits |
    ///   +--+--+--+--+--+--+--+--+--+--+--+--+
    ///   |           session salt            | XOR
    ///   +--+--+--+--+--+--+--+--+--+--+--+--+
    /// ```
    fn nonce(&self, index: u64) -> Nonce {
        let mut nonce = [0; 12];
        nonce[2..6].copy_from_slice(&self.ssrc.to_be_bytes());
        nonce[6..].copy_from_slice(&index.to_be_bytes()[2..]);
        for (byte, salt) in nonce.iter_mut().zip(self.salt) {
            *byte ^= salt;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

/// The AES_CM pseudo-random function of RFC 3711 §4.3.3 at key derivation rate 0: the key stream
/// AES(master key, x ‖ block number), where x is the salt with the label added in byte 7 (§4.3.1:
/// label ‖ 48-bit r, aligned right in 112 bits).
fn derive<const N: usize>(key: &[u8; 16], salt: &[u8; 14], label: u8) -> Zeroizing<[u8; N]> {
    let aes = UnboundCipherKey::new(&AES_128, key).and_then(EncryptingKey::ecb).expect("16 bytes are a key of AES-128");
    let mut derived = Zeroizing::new([0; N]);
    for (number, part) in derived.chunks_mut(16).enumerate() {
        let mut block = Zeroizing::new([0; 16]);
        block[..14].copy_from_slice(salt);
        block[7] ^= label;
        block[14..].copy_from_slice(&(number as u16).to_be_bytes());
        aes.encrypt(&mut *block).expect("ECB takes whole blocks");
        part.copy_from_slice(&block[..part.len()]);
    }
    derived
}

/// Bytes of the GCM tag (RFC 7714 §12).
pub(super) const TAG: usize = 16;
/// RFC 3711 §4.3.1, table 1.
const LABEL_ENCRYPTION: u8 = 0;
const LABEL_SALT: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::track::MAX_PACKET;
    use proptest::prelude::*;
    use webrtc_srtp::context::Context as Oracle;
    use webrtc_srtp::protection_profile::ProtectionProfile;

    const SSRC: u32 = 0x1234_5678;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        assert_eq!(text.len(), 2 * N);
        std::array::from_fn(|at| u8::from_str_radix(&text[2 * at..][..2], 16).unwrap())
    }

    fn secret() -> Secret {
        Secret { key: std::array::from_fn(|at| at as u8), salt: std::array::from_fn(|at| 0xa0 + at as u8) }
    }

    fn oracle() -> Oracle {
        let Secret { key, salt } = &secret();
        Oracle::new(key, salt, ProtectionProfile::AeadAes128Gcm, None, None).unwrap()
    }

    #[test]
    fn session_keys_are_those_of_rfc_3711_appendix_b_3() {
        let key = hex("e1f97a0d3e018be0d64fa32c06de4139");
        let salt = hex("0ec675ad498afeebb6960b3aabe6");
        assert_eq!(*derive::<16>(&key, &salt, 0), hex("c61e7a93744f39ee10734afe3ff7a087"));
        assert_eq!(*derive::<14>(&key, &salt, 2), hex("30cbbc08863d8c85d49db34a9ae1"));
        assert_eq!(
            derive::<94>(&key, &salt, 1)[..32],
            hex::<32>("cebe321f6ff7716b6fd4ab49af256a156d38baa48f0a0acf3c34e2359e6cdbce")
        );
    }

    #[test]
    fn a_packet_is_that_of_rfc_7714_section_16_1() {
        let cipher = Cipher::from_session(
            &hex("000102030405060708090a0b0c0d0e0f"),
            &hex("517569642070726f2071756f"),
            0x5501_a0b2,
        );
        assert_eq!(*cipher.nonce(0xf17b).as_ref(), hex("51753c6580c2726f20718414"));
        let payload = b"Gallia est omnis divisa in partes tres";
        let packet = cipher.protect(0xf17b, 0x8041_f8d3, 0x40, payload);
        assert_eq!(
            packet[..],
            hex::<66>(concat!(
                "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f",
                "42a5f47a51c7d19b36de3adf8833899d7f27beb16a9152cf765ee4390cce"
            ))
        );
        assert_eq!(cipher.unprotect(0xf17b, &packet).unwrap(), payload[..]);
    }

    /// The reference packet of libsrtp's own test driver, from the master key on.
    #[test]
    fn a_packet_is_that_of_libsrtp() {
        let packet = Cipher::new(&secret(), 0xcafe_babe).protect(0x1234, 0xdeca_fbad, 15, &[0xab; 16]);
        assert_eq!(
            packet[..],
            hex::<44>("800f1234decafbadcafebabec5002ede04cfdd2eb91159e0880aa06ed2976826f796b201df3131a127e8a392")
        );
    }

    #[test]
    fn a_second_implementation_makes_and_reads_the_same_packets_across_roll_overs() {
        let (cipher, mut protecting, mut reading) = (Cipher::new(&secret(), SSRC), oracle(), oracle());
        // Steps below 2^15, as an implementation that guesses the roll-over counter needs.
        let coarse = (0..300_000).step_by(29_989);
        let mut indices: Vec<u64> = coarse.chain(65_530..65_545).chain(131_065..131_080).collect();
        indices.sort();
        for index in indices {
            let payload: Vec<u8> = (0..index % 251).map(|byte| byte as u8).collect();
            let timestamp = (index as u32).wrapping_mul(11_520);
            let header = Header { payload_type: 96, sequence: index as u16, timestamp, ssrc: SSRC }.to_bytes();
            let ours = cipher.protect(index, timestamp, 96, &payload);
            let clear = [&header[..], &payload].concat();
            assert_eq!(ours, protecting.encrypt_rtp(&clear).unwrap(), "packet {index}");
            assert_eq!(reading.decrypt_rtp(&ours).unwrap(), clear, "packet {index}");
            assert_eq!(cipher.unprotect(index, &ours).unwrap(), payload, "packet {index}");
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let cipher = Cipher::new(&secret(), SSRC);
        let packet = cipher.protect(7, 7, Header::LOG, b"an order");
        for bit in 0..packet.len() * 8 {
            let mut bytes = packet.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let reason = cipher.unprotect(7, &bytes).unwrap_err();
            let expected: &[Reject] = match bit / 8 {
                0 => &[Reject::Malformed],
                1 => &[Reject::Malformed, Reject::Tag],
                2..4 => &[Reject::WrongIndex],
                8..12 => &[Reject::UnknownSsrc],
                _ => &[Reject::Tag],
            };
            assert!(expected.contains(&reason), "bit {bit}: {reason}");
        }
        for len in 0..packet.len() {
            assert!(cipher.unprotect(7, &packet[..len]).is_err(), "{len} bytes");
        }
        assert!(cipher.unprotect(7, &[&packet[..], &[0]].concat()).is_err());
    }

    #[test]
    fn a_packet_belongs_to_its_whole_index_not_to_its_sequence() {
        let cipher = Cipher::new(&secret(), SSRC);
        let packet = cipher.protect(7, 7, Header::LOG, b"an order");
        assert_eq!(cipher.unprotect(7 + 65_536, &packet), Err(Reject::Tag));
        assert_eq!(cipher.unprotect(7 + (1 << 48), &packet), Err(Reject::WrongIndex));
        assert_eq!(cipher.unprotect(8, &packet), Err(Reject::WrongIndex));
        assert_eq!(Cipher::new(&secret(), SSRC + 1).unprotect(7, &packet), Err(Reject::UnknownSsrc));
        let other = Secret { key: [9; 16], ..secret() };
        assert_eq!(Cipher::new(&other, SSRC).unprotect(7, &packet), Err(Reject::Tag));
    }

    #[test]
    #[should_panic(expected = "2^48")]
    fn no_index_is_protected_after_the_last() {
        Cipher::new(&secret(), SSRC).protect(1 << 48, 0, Header::LOG, b"");
    }

    #[test]
    fn a_secret_is_named_by_its_hash_and_shows_nothing() {
        let expected = aws_lc_rs::digest::digest(&SHA256, &[&secret().key[..], &secret().salt].concat());
        assert_eq!(secret().hash(), expected.as_ref());
        assert_eq!(format!("{:?}", secret()), "Secret(…)");
    }

    proptest! {
        #[test]
        fn what_is_protected_reads_back(
            index in 0..=LAST_INDEX,
            timestamp: u32,
            ssrc: u32,
            payload in prop::collection::vec(any::<u8>(), 0..=MAX_PACKET - Cipher::OVERHEAD),
        ) {
            let cipher = Cipher::new(&secret(), ssrc);
            let packet = cipher.protect(index, timestamp, Header::LOG, &payload);
            prop_assert_eq!(packet.len(), payload.len() + Cipher::OVERHEAD);
            let header = Header::parse(&packet).unwrap();
            prop_assert_eq!((header.timestamp, header.payload_type), (timestamp, Header::LOG));
            prop_assert_eq!(cipher.unprotect(index, &packet).unwrap(), payload);
        }

        #[test]
        fn random_bytes_are_refused(index: u64, bytes in prop::collection::vec(any::<u8>(), 0..100), right: bool) {
            let mut bytes = bytes;
            if right && bytes.len() >= Header::LEN {
                let header = Header { payload_type: 97, sequence: index as u16, timestamp: 0, ssrc: SSRC };
                bytes[..Header::LEN].copy_from_slice(&header.to_bytes());
            }
            prop_assert!(Cipher::new(&secret(), SSRC).unprotect(index, &bytes).is_err());
        }
    }
}
