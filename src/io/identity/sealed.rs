//! A root's or a person's key at rest: sealed with a passphrase, to be carried away from every server (DESIGN §6).
//!
//! ```text
//!  passphrase ── Argon2id (RFC 9106; salt, memory and passes stand in the file) ──▶ 32 bytes
//!             ── AES-256-GCM (NIST SP 800-38D) over the seed; all other lines are authenticated ──▶ sealed
//! ```
//! A file of a few lines in TOML, so that it can be printed and typed in again.

use super::{hex, random};
use crate::key::SigningKey;
use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The file's lines.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sealed {
    format: String,
    pub name: String,
    pub public: String,
    memory_kib: u32,
    passes: u32,
    salt: String,
    nonce: String,
    sealed: String,
}

/// Why a sealed file is not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    #[error("is no such sealed key: {0}; use a file that \"loa init\" (a root) or \"loa signer\" (a person's) made")]
    Malformed(String),
    #[error("does not open: the passphrase is wrong, or the file was altered")]
    Passphrase,
}

impl Sealed {
    /// About a tenth of a second and 64 MiB.
    pub fn seal(format: &str, seed: &[u8; 32], name: &str, passphrase: &str) -> Result<Self, Unopened> {
        let mut sealed = Self {
            format: format.into(),
            name: name.into(),
            public: hex(&SigningKey::from_seed(seed).public().0),
            memory_kib: MEMORY,
            passes: PASSES,
            salt: bytes_to_hex(&random::<16>()),
            nonce: bytes_to_hex(&random::<12>()),
            sealed: String::new(),
        };
        let mut text = seed.to_vec();
        let (key, nonce) = sealed.key(passphrase)?;
        let done = key.seal_in_place_append_tag(nonce, Aad::from(sealed.head()), &mut text);
        done.map_err(|_| Unopened::Malformed("it cannot be sealed".into()))?;
        sealed.sealed = bytes_to_hex(&text);
        Ok(sealed)
    }

    /// `format`: what it must be.
    pub fn read(format: &str, text: &str) -> Result<Self, Unopened> {
        let sealed: Self = toml::from_str(text).map_err(|error| Unopened::Malformed(error.message().to_owned()))?;
        match sealed.format == format {
            true => Ok(sealed),
            false => Err(Unopened::Malformed(format!("its format is {:?}, not {format:?}", sealed.format))),
        }
    }

    pub fn open(&self, passphrase: &str) -> Result<Zeroizing<[u8; 32]>, Unopened> {
        let (key, nonce) = self.key(passphrase)?;
        let mut text = Zeroizing::new(hex_to_bytes(&self.sealed, "sealed")?);
        let opened = key.open_in_place(nonce, Aad::from(self.head()), &mut text);
        let seed = opened.map_err(|_| Unopened::Passphrase)?;
        let seed: [u8; 32] = (&*seed).try_into().map_err(|_| Unopened::Passphrase)?;
        Ok(Zeroizing::new(seed))
    }

    pub fn write(&self) -> Result<String, Unopened> {
        let lines = toml::to_string(self).map_err(|error| Unopened::Malformed(error.to_string()))?;
        let heading = if self.format == PERSON { OF_A_PERSON } else { HEADING };
        Ok(format!("{heading}{lines}"))
    }

    /// What is authenticated beside the seed.
    fn head(&self) -> Vec<u8> {
        let Self { format, name, public, memory_kib, passes, salt, nonce, .. } = self;
        format!("{format}\n{name}\n{public}\n{memory_kib}\n{passes}\n{salt}\n{nonce}\n").into_bytes()
    }

    fn key(&self, passphrase: &str) -> Result<(LessSafeKey, Nonce), Unopened> {
        let malformed = |field: &str| Unopened::Malformed(format!("{field} is out of range"));
        if !(8 * 1024..=MEMORY_MOST).contains(&self.memory_kib) || !(1..=PASSES_MOST).contains(&self.passes) {
            return Err(malformed("memory_kib or passes"));
        }
        let (salt, nonce) = (hex_to_bytes(&self.salt, "salt")?, hex_to_bytes(&self.nonce, "nonce")?);
        let params = Params::new(self.memory_kib, self.passes, 1, Some(32)).map_err(|_| malformed("memory_kib"))?;
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.as_bytes(), &salt, &mut *key)
            .map_err(|_| malformed("salt"))?;
        let key = UnboundKey::new(&AES_256_GCM, &*key).map_err(|_| malformed("key"))?;
        let nonce = Nonce::try_assume_unique_for_key(&nonce).map_err(|_| malformed("nonce"))?;
        Ok((LessSafeKey::new(key), nonce))
    }
}

fn bytes_to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hex_to_bytes(text: &str, field: &str) -> Result<Vec<u8>, Unopened> {
    let malformed = || Unopened::Malformed(format!("{field} is not pairs of hex digits"));
    if !text.len().is_multiple_of(2) || text.len() > LONGEST || !text.is_ascii() {
        return Err(malformed());
    }
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap_or_default());
    pairs.map(|pair| u8::from_str_radix(pair, 16).map_err(|_| malformed())).collect()
}

pub(super) const ROOT: &str = "loa root 1";
pub(super) const PERSON: &str = "loa signer 1";
const HEADING: &str = "\
# A root of Loa, sealed with a passphrase. Whoever has both can speak through every loudspeaker below it.
# Carry it away from every server: a main and a spare, in two places.
";
const OF_A_PERSON: &str = "\
# A person's key of Loa, sealed with a passphrase: it signs beside a node's what takes two. Keep it with its holder.
";
/// Argon2id with 64 MiB and three passes: RFC 9106 §4's second choice, on one lane so that it can be typed in anywhere.
const MEMORY: u32 = 64 * 1024;
const PASSES: u32 = 3;
/// A file that asks for more than 1 GiB or 64 passes is none of ours.
const MEMORY_MOST: u32 = 1024 * 1024;
const PASSES_MOST: u32 = 64;
/// Hex digits in a field.
const LONGEST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_its_passphrase_alone() {
        let sealed = Sealed::seal(ROOT, &[7; 32], "main", "correct horse battery").unwrap();
        let text = sealed.write().unwrap();
        assert!(!text.contains(&"07".repeat(8)), "{text}");
        let read = Sealed::read(ROOT, &text).unwrap();
        assert_eq!(*read.open("correct horse battery").unwrap(), [7; 32]);
        assert!(text.contains(&hex(&SigningKey::from_seed(&[7; 32]).public().0)), "{text}");
        assert_eq!(read.open("correct horse batterx"), Err(Unopened::Passphrase));
    }

    #[test]
    fn a_line_that_was_altered_is_noticed() {
        let text = Sealed::seal(ROOT, &[7; 32], "main", "correct horse battery").unwrap().write().unwrap();
        for (old, new) in [("name = \"main\"", "name = \"mine\""), ("passes = 3", "passes = 2")] {
            assert!(text.contains(old), "{text}");
            let altered = Sealed::read(ROOT, &text.replace(old, new)).unwrap();
            assert_eq!(altered.open("correct horse battery"), Err(Unopened::Passphrase), "{new}");
        }
        for (old, new) in [("passes = 3", "passes = 9999"), ("memory_kib = 65536", "memory_kib = 4000000000")] {
            let altered = Sealed::read(ROOT, &text.replace(old, new)).unwrap();
            assert!(matches!(altered.open("x"), Err(Unopened::Malformed(_))), "{new}");
        }
        assert!(
            Sealed::read(ROOT, &text.replace("loa root 1", "loa root 2")).unwrap_err().to_string().contains("format")
        );
        assert!(Sealed::read(ROOT, "rubbish").is_err());
        assert!(Sealed::read(ROOT, &text.replace("salt = \"", "salt = \"zz")).unwrap().open("x").is_err());
    }
}
