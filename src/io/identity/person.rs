//! A person's own key: it signs beside a node's, for what takes two. Sealed with a passphrase, and on no server.

use super::sealed::{PERSON, Sealed};
use super::{invalid, random, read, refuse_shared, write_new};
use crate::key::{PublicKey, SigningKey};
use std::io;
use std::path::Path;
use zeroize::Zeroizing;

pub struct Person {
    seed: Zeroizing<[u8; 32]>,
}

impl Person {
    pub fn generate() -> Self {
        Self { seed: Zeroizing::new(random::<32>()) }
    }

    /// Mode 0600; never overwrites. Takes a moment: the passphrase is stretched.
    pub fn seal(&self, file: &Path, name: &str, passphrase: &str) -> io::Result<()> {
        let sealed = Sealed::seal(PERSON, &self.seed, name, passphrase).and_then(|sealed| sealed.write());
        write_new(file, &sealed.map_err(|error| invalid(file, &error.to_string()))?, 0o600)
    }

    /// From a file as `seal` wrote it.
    pub fn open(file: &Path, passphrase: &str) -> io::Result<Self> {
        refuse_shared(file)?;
        let seed = Sealed::read(PERSON, &read(file)?).and_then(|sealed| sealed.open(passphrase));
        Ok(Self { seed: seed.map_err(|error| invalid(file, &error.to_string()))? })
    }

    pub fn public(&self) -> PublicKey {
        SigningKey::from_seed(&self.seed).public()
    }

    pub fn into_key(self) -> SigningKey {
        SigningKey::from_seed(&self.seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_persons_key_opens_with_its_passphrase_and_is_no_root() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("an.key");
        let person = Person::generate();
        person.seal(&file, "Nguyễn Văn An", "một mật khẩu dài").unwrap();
        assert_eq!(Person::open(&file, "một mật khẩu dài").unwrap().public(), person.public());
        assert!(Person::open(&file, "một mật khẩu khác").is_err());
        let root = super::super::Root::open(&file, "một mật khẩu dài").err().unwrap();
        assert!(root.to_string().contains("format"), "{root}");
        assert!(person.seal(&file, "again", "một mật khẩu dài").is_err());
    }
}
