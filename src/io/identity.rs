//! Who a node is: its key and certificate, the roots it trusts, its authorities; and how a tree's
//! identities are made.
use crate::key::{KeyId, PublicKey, SigningKey};
use crate::node::Role;
use std::io;
use std::path::Path;
use uuid::Uuid;

/// `node.key`, `node.crt`, `roots/` of a data folder, ready for TLS.
pub struct Identity {
    pub node: Uuid,
    pub role: Role,
    /// Order roots (`roots/*.pub`), beside the certificate authorities (`roots/*.crt`).
    pub roots: Vec<PublicKey>,
}

impl Identity {
    /// An error names the file and the mend. Refuses a `node.key` that others may read.
    pub fn load(_data: &Path) -> io::Result<Self> {
        todo!()
    }
}

/// `authorities/<name>.key`: 64 hex digits, mode 0600.
pub fn load_authority(_data: &Path, _name: &str) -> io::Result<SigningKey> {
    todo!()
}

/// A new tree's root: one Ed25519 key that signs grants and node certificates.
pub struct Root {}

impl Root {
    /// Fresh, in memory; or from `root.key` as `save` wrote it.
    pub fn generate() -> Self {
        todo!()
    }

    pub fn load(_file: &Path) -> io::Result<Self> {
        todo!()
    }

    pub fn save(&self, _file: &Path) -> io::Result<()> {
        todo!()
    }

    pub fn key(&self) -> &SigningKey {
        todo!()
    }

    /// Writes key, certificate (URI SAN `urn:loa:node:<uuid>:<role>`) and roots of a new node into its
    /// data folder, and its placement and the given grants into its journal.
    pub fn provision(&self, _data: &Path, _node: &NewNode) -> io::Result<Uuid> {
        todo!()
    }
}

pub struct NewNode {
    pub role: Role,
    pub area: crate::broadcast::Area,
    pub name: String,
    /// A new authority over `area` for this node: its name, written to `authorities/`.
    pub authority: Option<String>,
}

/// Random bytes from the operating system.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // The system's generator does not fail once the program has started.
    aws_lc_rs::rand::fill(&mut bytes).expect("the system's random generator");
    bytes
}

#[allow(dead_code)]
fn _uses(_: KeyId) {}
