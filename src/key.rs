//! Ed25519 keys: the signatures under orders and the seals inside packets.
//!
//! Every signature covers a domain string first, so that bytes signed for one purpose can never
//! pass for another.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use std::fmt;
use std::str::FromStr;

/// What a signature is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// The payload of `proto::Signed`.
    Order,
    /// Track id, index, records, fill and time of one packet of sound.
    Seal,
    /// That whoever asks for a certificate holds the key.
    Enrol,
    /// The last line of a report: what its node states of what sounded.
    Report,
}

impl Domain {
    /// The bytes that precede what is signed.
    pub const fn prefix(self) -> &'static [u8] {
        match self {
            Self::Order => b"loa/1 order\0",
            Self::Seal => b"loa/1 seal\0",
            Self::Enrol => b"loa/1 enrol\0",
            Self::Report => b"loa/1 report\0",
        }
    }
}

/// A private key. Its `Debug` form shows only the key id.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl SigningKey {
    /// The key that these 32 secret bytes name (RFC 8032 §5.1.5).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        // Fails only for a length other than 32.
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("a seed of 32 bytes");
        let mut public = [0; 32];
        public.copy_from_slice(pair.public_key().as_ref());
        Self { pair, public: PublicKey(public) }
    }

    /// From a PKCS#8 structure in DER (RFC 8410 §7); `None` for another kind of key.
    pub fn from_pkcs8(der: &[u8]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok()?;
        let mut public = [0; 32];
        public.copy_from_slice(pair.public_key().as_ref());
        Some(Self { pair, public: PublicKey(public) })
    }

    pub fn public(&self) -> PublicKey {
        self.public
    }

    pub fn id(&self) -> KeyId {
        self.public.id()
    }

    /// Signs `message` for `domain`.
    pub fn sign(&self, domain: Domain, message: &[u8]) -> [u8; 64] {
        let mut value = [0; 64];
        value.copy_from_slice(self.pair.sign(&with_prefix(domain, message)).as_ref());
        value
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.id())
    }
}

/// A public key, 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// From untrusted bytes; `None` unless there are 32. A point that is not on the curve fails at
    /// the first verification.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub fn id(&self) -> KeyId {
        let mut id = [0; 16];
        id.copy_from_slice(&digest::digest(&digest::SHA256, &self.0).as_ref()[..16]);
        KeyId(id)
    }

    /// Whether `signature` is this key's over `message` in `domain`.
    pub fn verify(&self, domain: Domain, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(&with_prefix(domain, message), signature).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id())
    }
}

/// Names a key: the first 16 bytes of SHA-256(public key), shown in hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 16]);

impl KeyId {
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeyId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "a key id is 32 hex digits";
        if text.len() != 32 || !text.is_ascii() {
            return Err(WRONG);
        }
        let mut id = [0; 16];
        for (byte, pair) in id.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| WRONG)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| WRONG)?;
        }
        Ok(Self(id))
    }
}

fn with_prefix(domain: Domain, message: &[u8]) -> Vec<u8> {
    [domain.prefix(), message].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_message_and_domain_alone() {
        let key = SigningKey::from_seed(&[7; 32]);
        let signature = key.sign(Domain::Order, b"air");
        assert!(key.public().verify(Domain::Order, b"air", &signature));
        assert!(!key.public().verify(Domain::Seal, b"air", &signature));
        assert!(!key.public().verify(Domain::Order, b"ai", &signature));
        assert!(!key.public().verify(Domain::Order, b"air", &signature[..63]));
    }

    #[test]
    fn a_key_id_reads_back_from_its_text() {
        let id = SigningKey::from_seed(&[7; 32]).id();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("é".repeat(16).parse::<KeyId>().is_err());
    }
}
