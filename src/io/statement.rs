//! What a node states over its name: signed by the key of its certificate, checked offline against a folder of roots.
use super::identity::{Identity, certificates, files_in, invalid, read, unhex};
use super::{certify, tls};
use crate::key::{Domain, PublicKey, SigningKey};
use crate::node::Peer;
use crate::time::{Civil, SECOND};
use bytes::Bytes;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, UnixTime};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Certificates, DER, leaf first, and the signature.
pub struct Statement {
    pub chain: Vec<Bytes>,
    pub value: [u8; 64],
}

/// The roots that somebody trusts: of orders (`*.pub`), and of certificates (`*.crt`).
pub struct Roots {
    pub orders: Vec<PublicKey>,
    trust: Arc<RootCertStore>,
}

impl Statement {
    /// `None` if the key is of another kind than this program makes.
    pub fn sign(identity: &Identity, digest: &[u8]) -> Option<Self> {
        let key = SigningKey::from_pkcs8(identity.key.secret_der())?;
        let chain = identity.shown().ok()?.chain().iter().map(|der| Bytes::copy_from_slice(der)).collect();
        Some(Self { chain, value: key.sign(Domain::Report, digest) })
    }
}

impl Roots {
    /// A folder as `roots/` of any node of the tree.
    pub fn load(folder: &Path) -> io::Result<Self> {
        let (mut orders, mut trust) = (Vec::new(), RootCertStore::empty());
        for file in files_in(folder)? {
            match file.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => {
                    for certificate in certificates(&file)? {
                        trust.add(certificate).map_err(|error| invalid(&file, &error.to_string()))?;
                    }
                }
                Some("pub") => {
                    orders
                        .push(PublicKey(*unhex(&read(&file)?).ok_or_else(|| invalid(&file, "is not 64 hex digits"))?));
                }
                _ => {}
            }
        }
        match orders.is_empty() || trust.is_empty() {
            true => Err(invalid(folder, "needs at least one NAME.crt and one NAME.pub; copy them from the root")),
            false => Ok(Self { orders, trust: Arc::new(trust) }),
        }
    }

    /// Whose statement it is, if the chain held when it was made.
    pub fn check(&self, chain: &[Bytes], value: &[u8], digest: &[u8], made: Civil) -> Result<Peer, String> {
        let chain: Vec<CertificateDer<'static>> = chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
        let seconds = u64::try_from(made.0 / SECOND).unwrap_or(0);
        let peer = tls::verify_at(&chain, &self.trust, UnixTime::since_unix_epoch(Duration::from_secs(seconds)))?;
        let key = certify::key_of(chain.first().ok_or("there is no certificate")?)?;
        match key.verify(Domain::Report, digest, value) {
            true => Ok(peer),
            false => Err("the signature is not by the key of its certificate".to_owned()),
        }
    }
}
