//! A report that can be checked offline, as lines of JSON.
//!
//! ```text
//!  1      {"report":1,"node":…,"made":…}
//!  2 … n  {"before":SHA-256 of the line before,"order":signed,"grants":[signed],"receipts":{…},"as_run":[…]}
//!  n + 1  {"before":…,"certificates":[DER],"signature":Ed25519}
//! ```
//! Each line holds the hash of the one before, without its end; the last signs, with the key of the node's certificate,
//! `"loa/1 report\0"` and the hash of the line before it. So no line can be changed, left out or added.
use super::forms::{AsRun, Receipt};
use super::store::hex;
use crate::control::text::Failure;
use crate::control::when;
use crate::io::Handle;
use crate::time::Civil;
use aws_lc_rs::digest;
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    pub report: u32,
    pub node: Uuid,
    pub made: String,
    pub made_us: i64,
}

/// One order: what was signed, and what is said of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    pub before: String,
    /// Hex of a `Signed`.
    pub order: String,
    pub grants: Vec<String>,
    pub receipts: Receipt,
    pub as_run: Vec<AsRun>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    pub before: String,
    pub certificates: Vec<String>,
    pub signature: String,
}

pub fn write(proofs: &[Proof], handle: &Handle, made: Civil, zone: Tz) -> Result<String, Failure> {
    let sign = |digest: &[u8]| handle.state(digest).map(|stated| (stated.chain, stated.value));
    compose(proofs, handle.id(), made, zone, sign)
}

/// `sign`: what the node's certificate is, and its signature of these 32 bytes.
pub fn compose(
    proofs: &[Proof],
    node: Uuid,
    made: Civil,
    zone: Tz,
    sign: impl FnOnce(&[u8]) -> Option<(Vec<bytes::Bytes>, [u8; 64])>,
) -> Result<String, Failure> {
    let mut text = line(&Head { report: VERSION, node, made: when::show(made, zone), made_us: made.0 });
    let mut before = hash(&text);
    for proof in proofs {
        let next = line(&Proof { before: hex(&before), ..proof.clone() });
        before = hash(&next);
        text += "\n";
        text += &next;
    }
    let (chain, value) = sign(&before).ok_or_else(|| Failure::new("report.unsigned", []))?;
    let certificates = chain.iter().map(|der| hex(der)).collect();
    let seal = line(&Seal { before: hex(&before), certificates, signature: hex(&value) });
    Ok(format!("{text}\n{seal}\n"))
}

pub fn hash(line: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, line.as_bytes()).as_ref().to_vec()
}

fn line(value: &impl Serialize) -> String {
    // The forms have string keys and finite numbers: they can be written.
    serde_json::to_string(value).unwrap_or_default()
}

/// Of these lines.
pub const VERSION: u32 = 1;
