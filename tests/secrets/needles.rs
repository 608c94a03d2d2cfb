//! Secrets, and the forms in which a line of text could give them away.

use loa::io::identity::Root;
use loa::io::store::Store;
use loa::proto::record::Body;
use std::fs;
use std::path::Path;

#[derive(Default)]
pub struct Needles {
    /// What it is, and the bytes that would tell it.
    forms: Vec<(String, Vec<u8>)>,
    /// The bytes themselves, as files hold them.
    raw: Vec<(String, Vec<u8>)>,
}

impl Needles {
    /// Something that people type.
    pub fn text(&mut self, name: &str, text: &str) {
        self.forms.push((name.to_owned(), text.as_bytes().to_vec()));
        self.forms.push((format!("{name}, escaped"), text.escape_default().to_string().into_bytes()));
        self.bytes(name, text.as_bytes());
    }

    /// Bytes of a key: in hex, in base64, as a list of numbers and as an escaped string.
    pub fn bytes(&mut self, name: &str, bytes: &[u8]) {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let list: Vec<String> = bytes.iter().take(8).map(u8::to_string).collect();
        let escaped = format!("{:?}", bytes::Bytes::copy_from_slice(bytes));
        let escaped = escaped.trim_start_matches("b\"").trim_end_matches('"').to_owned();
        let hexes: Vec<String> = bytes.iter().take(8).map(|byte| format!("0x{byte:02x}")).collect();
        for form in [hex.to_uppercase(), hex, base64(bytes), list.join(", "), list.join(","), escaped, hexes.join(", ")]
        {
            self.forms.push((name.to_owned(), form.into_bytes()));
        }
        self.raw.push((name.to_owned(), bytes.to_vec()));
    }

    /// Every secret of a node's folder.
    pub fn data_folder(&mut self, data: &Path) {
        let key = fs::read_to_string(data.join("node.key")).unwrap();
        let body: Vec<&str> = key.lines().filter(|line| !line.starts_with("---")).collect();
        for line in &body {
            self.forms.push(("the node's key".into(), line.as_bytes().to_vec()));
        }
        let der = unbase64(&body.concat());
        // PKCS#8 of Ed25519 (RFC 8410 §7): the seed stands behind this head.
        let at = der.windows(4).position(|window| window == [4, 0x22, 4, 0x20]).expect("an Ed25519 key") + 4;
        self.bytes("the node's seed", &der[at..at + 32]);
        for entry in fs::read_dir(data.join("authorities")).into_iter().flatten().flatten() {
            let text = fs::read_to_string(entry.path()).unwrap();
            self.bytes("an authority's seed", &unhex(text.trim()));
        }
        for record in Store::peek(data).unwrap() {
            if let Some(Body::Key(key)) = record.body
                && let Some(secret) = key.secret
            {
                self.bytes("a track's key", &secret.key);
                self.bytes("a track's salt", &secret.salt);
            }
        }
    }

    /// A sealed root's seed.
    pub fn root(&mut self, file: &Path, passphrase: &str, scratch: &str) {
        Root::open(file, passphrase).unwrap().save(Path::new(scratch)).unwrap();
        self.bytes("a root's seed", &unhex(fs::read_to_string(scratch).unwrap().trim()));
        fs::remove_file(scratch).unwrap();
    }

    pub fn count(&self) -> usize {
        self.forms.len()
    }

    pub fn find(&self, text: &[u8]) -> Option<String> {
        found(&self.forms, text)
    }

    pub fn find_raw(&self, bytes: &[u8]) -> Option<String> {
        found(&self.raw, bytes)
    }
}

fn found(needles: &[(String, Vec<u8>)], hay: &[u8]) -> Option<String> {
    let within = |needle: &[u8]| hay.windows(needle.len()).any(|window| window == needle);
    needles.iter().find(|(_, needle)| needle.len() >= 12 && within(needle)).map(|(name, _)| name.clone())
}

/// RFC 4648 §4, without the last characters, which depend on what follows.
fn base64(bytes: &[u8]) -> String {
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    bits.chunks_exact(6)
        .map(|six| ALPHABET[six.iter().fold(0, |value, bit| value << 1 | usize::from(*bit))] as char)
        .collect()
}

fn unbase64(text: &str) -> Vec<u8> {
    let value = |letter: u8| ALPHABET.iter().position(|known| *known == letter);
    let bits: Vec<u8> = text
        .bytes()
        .filter_map(value)
        .flat_map(|value| (0..6).rev().map(move |bit| (value >> bit & 1) as u8))
        .collect();
    bits.chunks_exact(8).map(|eight| eight.iter().fold(0, |value, bit| value << 1 | bit)).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
