//! Who issues certificates: a root, and the issuers below it that stay online.
//!
//! ```text
//!   root (carried away) ──▶ issuer (issuer.key, issuer.crt of a node that gives tokens) ──▶ node.crt
//!           └───────────────────────────────────────────────────────────────────────────▶ node.crt, by hand
//! ```
//! Certificates are X.509 v3 (RFC 5280) with Ed25519 keys (RFC 8410). A node's name stands in its URI SAN; an issuer can
//! make no further issuers (path length 0), and none of them places anybody: that takes a signed placement.
use super::clock;
use super::tls;
use crate::key::PublicKey;
use crate::node::{Certify, Peer, Role, id_of};
use crate::time::{Civil, SECOND};
use bytes::Bytes;
use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rcgen::{KeyUsagePurpose, PKCS_ED25519, PublicKeyData, SanType, SignatureAlgorithm, date_time_ymd};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;
use x509_parser::prelude::{FromDer, X509Certificate};

/// From when until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dates {
    pub from: Civil,
    pub until: Civil,
}

impl Dates {
    /// From a day ago, for clocks that err, for `days` from now.
    pub fn days(days: i64) -> Self {
        let now = clock::wall();
        Self { from: now - DAY, until: now + days * DAY }
    }

    /// For what never goes to a real tree, and for roots.
    pub const ALWAYS: Self = Self { from: Civil(1_735_689_600 * SECOND), until: Civil(2_524_521_600 * SECOND) };

    /// When a node asks for a new certificate: at half of the time, and an eighth of each node's own later, so that forty
    /// boards of one delivery don't ask at once.
    pub fn renewed_at(&self, node: Uuid) -> Civil {
        let life = self.until - self.from;
        self.from + life / 2 + crate::node::instants::spread(node, (life / 8).max(1))
    }
}

/// A new node's files.
pub struct Issued {
    /// Its key's.
    pub node: Uuid,
    /// PKCS#8, PEM.
    pub key: String,
    pub certificate: String,
    /// The root's own certificate.
    pub root: String,
}

/// Makes a node's key and has the root with this seed certify it.
pub fn issue(seed: &[u8; 32], role: Role, dates: Dates) -> Result<Issued, rcgen::Error> {
    let certifier = Certifier::new(seed)?;
    let key = KeyPair::generate_for(&PKCS_ED25519)?;
    let public = PublicKey::from_slice(key.public_key_raw()).ok_or(rcgen::Error::KeyGenerationUnavailable)?;
    let node = id_of(&public);
    let certificate = certifier.certify_key(&public, node, role, dates)?;
    Ok(Issued { node, key: key.serialize_pem(), certificate: certificate.pem(), root: certifier.root.pem() })
}

/// A root's key, ready to certify any number of nodes.
pub struct Certifier {
    issuer: Issuer<'static, KeyPair>,
    pub root: Certificate,
}

impl Certifier {
    pub fn new(seed: &[u8; 32]) -> Result<Self, rcgen::Error> {
        let key = pair(seed)?;
        let root = authority("Loa root", 1, Dates::ALWAYS)?;
        let certificate = root.self_signed(&key)?;
        Ok(Self { issuer: Issuer::new(root, key), root: certificate })
    }

    /// A new key, and its certificate.
    pub fn certify(&self, node: Uuid, role: Role, dates: Dates) -> Result<(KeyPair, Certificate), rcgen::Error> {
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let certificate = leaf(node, role, dates)?.signed_by(&key, &self.issuer)?;
        Ok((key, certificate))
    }

    /// A further certificate for a key that is there.
    pub fn certify_key(
        &self,
        key: &PublicKey,
        node: Uuid,
        role: Role,
        dates: Dates,
    ) -> Result<Certificate, rcgen::Error> {
        leaf(node, role, dates)?.signed_by(&Ed25519(key), &self.issuer)
    }

    /// Lets the key with this seed certify nodes.
    pub fn certify_issuer(&self, seed: &[u8; 32], dates: Dates) -> Result<Certificate, rcgen::Error> {
        authority(ISSUER, 0, dates)?.signed_by(&pair(seed)?, &self.issuer)
    }
}

/// A node that certifies others while it runs.
pub struct Office {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    from: Civil,
    until: Civil,
    trust: Arc<RootCertStore>,
}

impl Office {
    /// `Err` if the certificate is not that of the key, or no root's.
    pub fn new(
        seed: &[u8; 32],
        certificate: CertificateDer<'static>,
        trust: Arc<RootCertStore>,
    ) -> Result<Self, String> {
        let key = pair(seed).map_err(|error| error.to_string())?;
        let (from, until) = {
            let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|error| error.to_string())?;
            if parsed.public_key().subject_public_key.data != key.public_key_raw() {
                return Err("issuer.key is not the key of issuer.crt; renew both with a root".into());
            }
            let at = |time: i64| Civil(time.saturating_mul(SECOND));
            (at(parsed.validity.not_before.timestamp()), at(parsed.validity.not_after.timestamp()))
        };
        let params = authority(ISSUER, 0, Dates::ALWAYS).map_err(|error| error.to_string())?;
        Ok(Self { issuer: Issuer::new(params, key), certificate, from, until, trust })
    }

    pub fn until(&self) -> Civil {
        self.until
    }

    /// DER, leaf first.
    pub fn certify(&self, whom: &Certify) -> Result<Vec<Bytes>, String> {
        if clock::wall() < clock::EARLIEST {
            return Err("this node's clock is not set, so it certifies nobody; let NTP set it".into());
        }
        let mut dates = Dates::days(LIFE);
        // Where a board has no clock, all of a chain is judged at the moment from which its leaf holds.
        (dates.from, dates.until) = (dates.from.max(self.from), dates.until.min(self.until));
        if dates.until <= clock::wall() {
            return Err("the issuer's own certificate has ended; renew it with a root: loa enrol --renew".into());
        }
        let (key, peer) = match whom {
            Certify::New { node, relay, key } => {
                (key, Peer { node: *node, role: if *relay { Role::Relay } else { Role::Speaker } })
            }
            Certify::Again { node, key, chain } => (key, self.holder(chain, *node, key)?),
        };
        let made = leaf(peer.node, peer.role, dates).and_then(|leaf| leaf.signed_by(&Ed25519(key), &self.issuer));
        let made = made.map_err(|error| error.to_string())?;
        Ok(vec![Bytes::copy_from_slice(made.der()), Bytes::copy_from_slice(&self.certificate)])
    }

    /// Who shows this chain, if it holds.
    fn holder(&self, chain: &[Bytes], node: Uuid, key: &PublicKey) -> Result<Peer, String> {
        let chain: Vec<CertificateDer<'_>> = chain.iter().map(|der| CertificateDer::from(&der[..])).collect();
        let peer = tls::verify(&chain, &self.trust)?;
        if id_of(key) != node {
            return Err("this node's name is not its key's, as those of older releases: a root renews it".into());
        }
        if peer.node != node || key_of(&chain[0])? != *key {
            return Err("the certificate shown is another node's or another key's".into());
        }
        Ok(peer)
    }
}

/// The Ed25519 key of a certificate.
pub fn key_of(certificate: &[u8]) -> Result<PublicKey, String> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| error.to_string())?;
    PublicKey::from_slice(&parsed.public_key().subject_public_key.data).ok_or_else(|| "not an Ed25519 key".to_owned())
}

/// What a node without a certificate shows: its key, signed by itself.
pub fn newcomer(key: &KeyPair) -> Result<Certificate, rcgen::Error> {
    let mut params = params("Loa newcomer", Dates::ALWAYS)?;
    params.subject_alt_names = vec![SanType::URI(tls::NEWCOMER.try_into()?)];
    params.self_signed(key)
}

struct Ed25519<'a>(&'a PublicKey);

impl PublicKeyData for Ed25519<'_> {
    fn der_bytes(&self) -> &[u8] {
        &self.0.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

fn leaf(node: Uuid, role: Role, dates: Dates) -> Result<CertificateParams, rcgen::Error> {
    let mut leaf = params(&format!("Loa node {node}"), dates)?;
    leaf.subject_alt_names = vec![SanType::URI(tls::name(node, role).try_into()?)];
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // A relay is dialled and dials; which of both a node may do is its role's matter.
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    Ok(leaf)
}

fn authority(name: &str, below: u8, dates: Dates) -> Result<CertificateParams, rcgen::Error> {
    let mut authority = params(name, dates)?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    authority.use_authority_key_identifier_extension = below == 0;
    Ok(authority)
}

fn params(name: &str, dates: Dates) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    let seconds = |at: Civil| Duration::from_secs(u64::try_from(at.0 / SECOND).unwrap_or(0));
    let epoch = date_time_ymd(1970, 1, 1);
    (params.not_before, params.not_after) = (epoch + seconds(dates.from), epoch + seconds(dates.until));
    Ok(params)
}

fn pair(seed: &[u8; 32]) -> Result<KeyPair, rcgen::Error> {
    KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8(seed), &PKCS_ED25519)
}

/// An Ed25519 seed as PKCS#8 (RFC 8410 §7).
fn pkcs8(seed: &[u8; 32]) -> PrivatePkcs8KeyDer<'static> {
    const HEAD: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    PrivatePkcs8KeyDer::from([&HEAD[..], seed].concat())
}

const ISSUER: &str = "Loa issuer";
const DAY: i64 = 86_400 * SECOND;
/// Days that a node's certificate lasts; it is renewed after half of them. A board that lay in a store for longer is
/// enrolled anew.
pub const LIFE: i64 = 400;
/// Days that an issuer's lasts; a root renews it by hand.
pub const ISSUER_LIFE: i64 = 5 * 365;

#[cfg(test)]
mod tests {
    use super::*;

    fn office(root: &Certifier, days: i64) -> Office {
        let certificate = root.certify_issuer(&[5; 32], Dates::days(days)).unwrap();
        let mut trust = RootCertStore::empty();
        trust.add(root.root.der().clone()).unwrap();
        Office::new(&[5; 32], certificate.der().clone(), Arc::new(trust)).unwrap()
    }

    fn ders(chain: &[Bytes]) -> Vec<CertificateDer<'_>> {
        chain.iter().map(|der| CertificateDer::from(&der[..])).collect()
    }

    #[test]
    fn an_issuer_below_the_root_certifies_nodes_and_renews_them() {
        let root = Certifier::new(&[1; 32]).unwrap();
        let office = office(&root, ISSUER_LIFE);
        let key = crate::key::SigningKey::from_seed(&[9; 32]).public();
        let node = id_of(&key);
        let first = office.certify(&Certify::New { node, relay: false, key }).unwrap();
        assert_eq!(tls::verify(&ders(&first), &office.trust), Ok(Peer { node, role: Role::Speaker }));
        let again = office.certify(&Certify::Again { node, key, chain: first.clone() }).unwrap();
        assert_eq!(tls::verify(&ders(&again), &office.trust), Ok(Peer { node, role: Role::Speaker }));

        let other = crate::key::SigningKey::from_seed(&[8; 32]).public();
        assert!(office.certify(&Certify::Again { node, key: other, chain: first.clone() }).is_err(), "another key");
        let (stranger, chain) = (Uuid::from_u128(8), first.clone());
        assert!(office.certify(&Certify::Again { node: stranger, key, chain }).is_err(), "another node");
        let taken = office.certify(&Certify::New { node: stranger, relay: true, key }).unwrap();
        let error = tls::verify(&ders(&taken), &office.trust).unwrap_err();
        assert!(error.contains("only a root may"), "an issuer that gives another's name: {error}");
        assert!(office.certify(&Certify::Again { node, key, chain: Vec::new() }).is_err(), "no certificate");
        let foreign = Certifier::new(&[2; 32]).unwrap().certify_key(&key, node, Role::Relay, Dates::days(9)).unwrap();
        let chain = vec![Bytes::copy_from_slice(foreign.der())];
        assert!(office.certify(&Certify::Again { node, key, chain }).is_err(), "another root's");
    }

    #[test]
    fn an_issuer_whose_own_certificate_ends_gives_none_that_lasts_longer() {
        let root = Certifier::new(&[1; 32]).unwrap();
        let key = crate::key::SigningKey::from_seed(&[9; 32]).public();
        let whom = Certify::New { node: Uuid::from_u128(7), relay: true, key };
        let short = office(&root, 3);
        let made = short.certify(&whom).unwrap();
        let (_, parsed) = X509Certificate::from_der(&made[0]).unwrap();
        assert!(Civil(parsed.validity.not_after.timestamp() * SECOND) <= short.until());
        let over = Dates { from: clock::wall() - 9 * DAY, until: clock::wall() - DAY };
        let certificate = root.certify_issuer(&[5; 32], over).unwrap();
        let over = Office::new(&[5; 32], certificate.der().clone(), short.trust.clone()).unwrap();
        assert!(over.certify(&whom).unwrap_err().contains("has ended"));
        assert!(Office::new(&[6; 32], certificate.der().clone(), short.trust.clone()).is_err(), "another key's");
    }

    #[test]
    fn certificates_of_one_day_are_renewed_at_different_times_all_in_their_third_quarter() {
        let dates = Dates { from: Civil(0), until: Civil(800 * DAY) };
        let times: Vec<i64> = (1..41)
            .map(|node: u128| {
                dates.renewed_at(Uuid::from_u128(node.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))).0 / DAY
            })
            .collect();
        assert!(times.iter().all(|day| (400..=500).contains(day)), "{times:?}");
        assert!(times.iter().max().unwrap() - times.iter().min().unwrap() > 50, "{times:?}");
    }
}
