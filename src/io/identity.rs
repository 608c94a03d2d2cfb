//! Who a node is: its key and certificate, the roots it trusts, its authorities; and how a tree's
//! identities are made.
#[cfg(feature = "full")]
mod person;
mod rights;
#[cfg(feature = "full")]
mod sealed;

#[cfg(feature = "full")]
pub use person::Person;
pub use rights::{GOVERNS, PLACES, RELEASES, Rights, SPEAKS};

use super::certify::{self, Certifier, Dates, Office};
use super::clock;
use super::store::Store;
use super::tls;
use crate::broadcast::{self, Address, Area, Body, Expel, Grant, Kind, Order, Placement, Priority, Release, Revoke};
use crate::key::{Domain, KeyId, PublicKey, SigningKey};
use crate::node::{Peer, Role};
use crate::proto;
use crate::time::{Civil, SECOND};
use bytes::Bytes;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
#[cfg(feature = "full")]
use sealed::{ROOT, Sealed};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use uuid::Uuid;
use zeroize::Zeroizing;

/// `node.key`, `node.crt`, `roots/` of a data folder, ready for TLS.
#[derive(Debug)]
pub struct Identity {
    pub node: Uuid,
    pub role: Role,
    /// Order roots (`roots/*.pub`), beside the certificate authorities (`roots/*.crt`).
    pub roots: Vec<PublicKey>,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) trust: Arc<RootCertStore>,
    /// What it shows in handshakes, once it has been asked for.
    pub(super) shown: OnceLock<Arc<tls::Shown>>,
}

impl Identity {
    /// An error names the file and the mend. Refuses a `node.key` that others may read.
    pub fn load(data: &Path) -> io::Result<Self> {
        let key = private_key(&data.join("node.key"))?;
        let file = data.join("node.crt");
        let chain = certificates(&file)?;
        let leaf = chain.first().ok_or_else(|| invalid(&file, "holds no certificate; provision the node anew"))?;
        let peer = tls::peer(leaf).map_err(|error| invalid(&file, &error))?;
        let (mut roots, mut trust) = (Vec::new(), RootCertStore::empty());
        let folder = data.join("roots");
        for file in files_in(&folder)? {
            match file.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => {
                    for certificate in certificates(&file)? {
                        trust.add(certificate).map_err(|error| invalid(&file, &error.to_string()))?;
                    }
                }
                Some("pub") => {
                    let bytes = unhex(&read(&file)?).ok_or_else(|| invalid(&file, "is not 64 hex digits"))?;
                    roots.push(PublicKey(*bytes));
                }
                _ => {}
            }
        }
        if roots.is_empty() || trust.is_empty() {
            return Err(invalid(&folder, "needs at least one NAME.crt and one NAME.pub; copy them from the root"));
        }
        let shown = OnceLock::new();
        Ok(Self { node: peer.node, role: peer.role, roots, chain, key, trust: Arc::new(trust), shown })
    }

    /// What it shows in every handshake, and may be renewed. `Err` if the key is not the certificate's.
    pub fn shown(&self) -> Result<Arc<tls::Shown>, rustls::Error> {
        if let Some(shown) = self.shown.get() {
            return Ok(shown.clone());
        }
        let made = Arc::new(tls::Shown::new(self.chain.clone(), &self.key)?);
        Ok(self.shown.get_or_init(|| made).clone())
    }

    /// What a question for another certificate takes: the key, and the proof that this node holds it.
    pub fn ask_again(&self) -> Option<(PublicKey, Bytes, Vec<Bytes>)> {
        let key = SigningKey::from_pkcs8(self.key.secret_der())?;
        let chain = self.shown().ok()?.chain().iter().map(|der| Bytes::copy_from_slice(der)).collect();
        Some((key.public(), prove(&key, self.node.as_bytes()), chain))
    }

    /// Takes a new certificate for the same node and key: onto the disk, then into every handshake from now on.
    /// Returns what it holds until.
    pub fn renew(&self, data: &Path, chain: &[Bytes]) -> io::Result<Civil> {
        let file = data.join("node.crt");
        let (chain, peer) = self.judge(chain).map_err(|error| invalid(&file, &error))?;
        if (peer.node, peer.role) != (self.node, self.role) {
            return Err(invalid(&file, "the new certificate is another node's"));
        }
        let shown = self.shown().map_err(io::Error::other)?;
        write_chain(data, &chain)?;
        shown.renew(chain.clone(), &self.key).map_err(io::Error::other)?;
        super::examine::dates(&chain[0]).map(|(_, until)| until).map_err(io::Error::other)
    }

    /// Whether this node can use a chain that came: it leads to a root that it trusts, and is for its key. Whom it names.
    pub(super) fn judge(&self, chain: &[Bytes]) -> Result<(Vec<CertificateDer<'static>>, Peer), String> {
        let chain: Vec<CertificateDer<'static>> = chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
        let peer = tls::verify(&chain, &self.trust)?;
        tls::Shown::new(chain.clone(), &self.key).map_err(|error| error.to_string())?;
        Ok((chain, peer))
    }
}

/// What proves to an issuer that whoever asks for a certificate holds the key; `about`: the token's payload, or the node.
pub(super) fn prove(key: &SigningKey, about: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&key.sign(Domain::Enrol, &[&key.public().0[..], about].concat()))
}

/// `node.key` of a board that has none yet, in PEM; the folder with it.
pub(super) fn make_key(data: &Path) -> io::Result<Zeroizing<String>> {
    make_folder(data)?;
    let file = data.join("node.key");
    if !file.exists() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).map_err(io::Error::other)?;
        // By way of another file: half a key would be none for ever.
        replace(&file, &Zeroizing::new(key.serialize_pem()), 0o600)?;
    }
    refuse_shared(&file)?;
    read(&file).map(Zeroizing::new)
}

/// `roots/` of a board that has none yet.
pub(super) fn trust_roots(data: &Path, roots: &[Bytes]) -> io::Result<()> {
    let folder = data.join("roots");
    make_folder(&folder)?;
    for (index, der) in roots.iter().enumerate() {
        let key = certify::key_of(der).map_err(io::Error::other)?;
        replace(&folder.join(format!("root-{}.crt", index + 1)), &pem(der), 0o644)?;
        replace(&folder.join(format!("root-{}.pub", index + 1)), &hex(&key.0), 0o644)?;
    }
    Ok(())
}

/// `node.crt` of a data folder, in place of what is there.
pub(super) fn write_chain(data: &Path, chain: &[CertificateDer<'static>]) -> io::Result<()> {
    let pems: String = chain.iter().map(|der| pem(der)).collect();
    replace(&data.join("node.crt"), &pems, 0o644)
}

/// What people compare of a root: SHA-256 of its certificate, in hex.
pub fn fingerprint(certificate: &[u8]) -> String {
    use aws_lc_rs::digest::{SHA256, digest};
    digest(&SHA256, certificate).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The roots' certificates of a data folder, for those who are to trust them too. DER.
pub fn roots(data: &Path) -> io::Result<Vec<Bytes>> {
    let folder = data.join("roots");
    let mut roots = Vec::new();
    for file in files_in(&folder)?.iter().filter(|file| file.extension().is_some_and(|extension| extension == "crt")) {
        roots.extend(certificates(file)?.iter().map(|der| Bytes::copy_from_slice(der)));
    }
    roots.dedup();
    Ok(roots)
}

pub(super) fn files_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|error| at(folder, &error))?;
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
    files.sort();
    Ok(files)
}

/// The key with which this node certifies others, if it has one: `issuer.key` and `issuer.crt`.
pub fn load_office(data: &Path, identity: &Identity) -> io::Result<Option<Office>> {
    let (key, file) = (data.join("issuer.key"), data.join("issuer.crt"));
    if !key.exists() {
        return Ok(None);
    }
    let seed = seed(&key)?;
    let certificate = certificates(&file)?.into_iter().next().ok_or_else(|| invalid(&file, "holds no certificate"))?;
    Office::new(&seed, certificate, identity.trust.clone()).map(Some).map_err(|error| invalid(&file, &error))
}

/// Until when this node may certify others; `None` if it does not.
pub fn office_until(data: &Path) -> io::Result<Option<Civil>> {
    let file = data.join("issuer.crt");
    if !file.exists() {
        return Ok(None);
    }
    let certificate = certificates(&file)?.into_iter().next().ok_or_else(|| invalid(&file, "holds no certificate"))?;
    super::examine::dates(&certificate).map(|(_, until)| Some(until)).map_err(|error| invalid(&file, &error))
}

/// `authorities/<name>.key`: 64 hex digits, mode 0600.
pub fn load_authority(data: &Path, name: &str) -> io::Result<SigningKey> {
    load_seed(&data.join("authorities").join(format!("{name}.key")))
}

/// A new tree's root: one Ed25519 key that signs grants and node certificates.
pub struct Root {
    seed: Zeroizing<[u8; 32]>,
    key: SigningKey,
}

impl Root {
    /// Fresh, in memory; or from `root.key` as `save` wrote it.
    pub fn generate() -> Self {
        Self::from_seed(Zeroizing::new(random()))
    }

    pub fn load(file: &Path) -> io::Result<Self> {
        Ok(Self::from_seed(seed(file)?))
    }

    /// Written sealed, mode 0600; never overwrites. Takes a moment: the passphrase is stretched.
    #[cfg(feature = "full")]
    pub fn seal(&self, file: &Path, name: &str, passphrase: &str) -> io::Result<()> {
        let sealed = Sealed::seal(ROOT, &self.seed, name, passphrase).and_then(|sealed| sealed.write());
        write_new(file, &sealed.map_err(|error| invalid(file, &error.to_string()))?, 0o600)
    }

    /// From a file as `seal` wrote it.
    #[cfg(feature = "full")]
    pub fn open(file: &Path, passphrase: &str) -> io::Result<Self> {
        refuse_shared(file)?;
        let seed = Sealed::read(ROOT, &read(file)?).and_then(|sealed| sealed.open(passphrase));
        Ok(Self::from_seed(seed.map_err(|error| invalid(file, &error.to_string()))?))
    }

    /// The name in a sealed root, if the text is one: read, not opened.
    #[cfg(feature = "full")]
    pub fn name_of_sealed(text: &str) -> io::Result<String> {
        Sealed::read(ROOT, text).map(|sealed| sealed.name).map_err(io::Error::other)
    }

    /// What every node that trusts this root has of it, and nobody has to hide: `NAME.crt` and `NAME.pub`.
    pub fn publish(&self, folder: &Path, name: &str) -> io::Result<()> {
        let certifier = Certifier::new(&self.seed).map_err(io::Error::other)?;
        make_folder(folder)?;
        write_new(&folder.join(format!("{name}.crt")), &certifier.root.pem(), 0o644)?;
        write_new(&folder.join(format!("{name}.pub")), &hex(&self.key.public().0), 0o644)
    }

    /// 64 hex digits, mode 0600. Never overwrites: a lost root cannot be made again.
    pub fn save(&self, file: &Path) -> io::Result<()> {
        write_new(file, &hex(&self.seed), 0o600)
    }

    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Writes key, certificate (URI SAN `urn:loa:node:<uuid>:<role>`) and roots of a new node into its
    /// data folder, and its placement and the given grants into its journal.
    pub fn provision(&self, data: &Path, node: &NewNode) -> io::Result<Uuid> {
        self.provision_with(data, node, &Rights::of(&SPEAKS), Vec::new())
    }

    /// The same, with what its authority may do, and whom its placement lets it dial, best first.
    pub fn provision_with(
        &self,
        data: &Path,
        node: &NewNode,
        rights: &Rights,
        parents: Vec<Address>,
    ) -> io::Result<Uuid> {
        let now = clock::wall();
        make_folder(data)?;
        make_folder(&data.join("roots"))?;
        make_folder(&data.join("authorities"))?;
        let dates = Dates::days(certify::LIFE);
        let issued = certify::issue(&self.seed, node.role, dates).map_err(io::Error::other)?;
        let id = issued.node;
        write_new(&data.join("node.key"), &issued.key, 0o600)?;
        write_new(&data.join("node.crt"), &issued.certificate, 0o644)?;
        write_new(&data.join("roots/main.crt"), &issued.root, 0o644)?;
        write_new(&data.join("roots/main.pub"), &hex(&self.key.public().0), 0o644)?;
        let placement = Placement { node: id, area: node.area.clone(), name: node.name.clone(), parents };
        let mut orders = vec![self.placement(placement, now)];
        if let Some(name) = &node.authority {
            let seed = Zeroizing::new(random::<32>());
            write_new(&data.join("authorities").join(format!("{name}.key")), &hex(&seed), 0o600)?;
            let key = SigningKey::from_seed(&seed).public();
            orders.push(self.grant(&key, node.area.clone(), name, rights, now));
            if rights.kinds.contains(&Kind::Grant) {
                // Others only where somebody wants it: a stolen issuer makes strangers until it ends.
                self.appoint(data)?;
            }
        }
        let records: Vec<_> =
            orders.into_iter().map(|order| proto::Record { body: Some(proto::record::Body::Order(order)) }).collect();
        Store::open(data)?.append(&records)?;
        Ok(id)
    }

    /// Lets the node of this data folder certify others, or renews that it may.
    pub fn appoint(&self, data: &Path) -> io::Result<()> {
        let key = data.join("issuer.key");
        let own = match key.exists() {
            true => seed(&key)?,
            false => {
                let new = Zeroizing::new(random::<32>());
                write_new(&key, &hex(&new), 0o600)?;
                new
            }
        };
        let certifier = Certifier::new(&self.seed).map_err(io::Error::other)?;
        let dates = Dates::days(certify::ISSUER_LIFE);
        let certificate = certifier.certify_issuer(&own, dates).map_err(io::Error::other)?;
        replace(&data.join("issuer.crt"), &certificate.pem(), 0o644)
    }

    /// Gives the node of this data folder a new certificate for the same key.
    pub fn certify_again(&self, data: &Path, dates: Dates) -> io::Result<()> {
        let identity = Identity::load(data)?;
        let file = data.join("node.crt");
        let leaf = identity.chain.first().ok_or_else(|| invalid(&file, "holds no certificate"))?;
        let key = certify::key_of(leaf).map_err(|error| invalid(&file, &error))?;
        let certifier = Certifier::new(&self.seed).map_err(io::Error::other)?;
        let made = certifier.certify_key(&key, identity.node, identity.role, dates).map_err(io::Error::other)?;
        replace(&file, &made.pem(), 0o644)
    }

    /// Expels a node from everywhere.
    pub fn expel(&self, node: Uuid, area: Area, now: Civil) -> proto::Signed {
        self.order(now, PLACEMENT, vec![area], Body::Expel(Expel { node }))
    }

    /// Makes speakers that exist in memory alone, any number of them.
    pub fn mint(&self) -> Result<Mint, String> {
        let certifier = Certifier::new(&self.seed).map_err(|error| error.to_string())?;
        let mut trust = RootCertStore::empty();
        trust.add(certifier.root.der().clone()).map_err(|error| error.to_string())?;
        Ok(Mint { certifier, trust: Arc::new(trust), roots: vec![self.key.public()] })
    }

    /// Lets `key` give orders of these kinds in `area`, at any priority, for 14 days: a stolen key works offline until
    /// then (DESIGN §6).
    pub fn grant(&self, key: &PublicKey, area: Area, name: &str, rights: &Rights, now: Civil) -> proto::Signed {
        let grant = Grant {
            key: *key,
            areas: vec![area.clone()],
            kinds: rights.kinds.to_vec(),
            up_to: Priority::Emergency,
            // A node whose clock is a little behind must not find the grant in its future.
            from: now - SLACK,
            until: now + GRANT,
            name: name.to_owned(),
            alone_from: rights.alone_from,
        };
        self.order(now, GRANT, vec![area], Body::Grant(grant))
    }

    /// Lifts a lock, wherever it is.
    pub fn release(&self, lock: Uuid, area: Area, now: Civil) -> proto::Signed {
        self.order(now, RELEASE, vec![area], Body::Release(Release { lock }))
    }

    /// Takes from `key` all that it was granted, and all that it granted.
    pub fn revoke(&self, key: KeyId, area: Area, now: Civil) -> proto::Signed {
        let revoke = Revoke { key, epoch: u64::try_from(now.0).unwrap_or(0) };
        self.order(now, PLACEMENT, vec![area], Body::Revoke(revoke))
    }

    /// Says where a node stands.
    pub fn placement(&self, placement: Placement, now: Civil) -> proto::Signed {
        self.order(now, PLACEMENT, vec![placement.area.clone()], Body::Placement(placement))
    }

    fn order(&self, now: Civil, lasting: i64, areas: Vec<Area>, body: Body) -> proto::Signed {
        let order = Order {
            id: new_id(now),
            authority: self.key.id(),
            // A root keeps no count; µs since 1970 rise across its rare uses.
            number: u64::try_from(now.0).unwrap_or(0),
            issued: now,
            expires: now + lasting,
            areas,
            body,
        };
        broadcast::sign(&order, &self.key)
    }

    fn from_seed(seed: Zeroizing<[u8; 32]>) -> Self {
        let key = SigningKey::from_seed(&seed);
        Self { seed, key }
    }
}

/// A root that makes identities without files, for a process that is thousands of speakers.
pub struct Mint {
    certifier: Certifier,
    trust: Arc<RootCertStore>,
    roots: Vec<PublicKey>,
}

impl Mint {
    pub fn speaker(&self) -> Result<Identity, String> {
        let (node, role) = (new_id(clock::wall()), Role::Speaker);
        let made = self.certifier.certify(node, role, Dates::ALWAYS);
        let (key, certificate) = made.map_err(|error| error.to_string())?;
        let key = PrivateKeyDer::try_from(key.serialize_der())?;
        let (roots, trust) = (self.roots.clone(), self.trust.clone());
        let shown = OnceLock::new();
        Ok(Identity { node, role, roots, chain: vec![certificate.der().clone()], key, trust, shown })
    }
}

pub struct NewNode {
    pub role: Role,
    pub area: Area,
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

/// A UUIDv7 (RFC 9562 §5.7).
pub fn new_id(now: Civil) -> Uuid {
    let millis = u64::try_from(now.0 / 1_000).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &random()).into_uuid()
}

fn private_key(file: &Path) -> io::Result<PrivateKeyDer<'static>> {
    refuse_shared(file)?;
    let text = Zeroizing::new(read(file)?);
    PrivateKeyDer::from_pem_slice(text.as_bytes())
        .map_err(|error| invalid(file, &format!("is no private key in PEM ({error}); provision the node anew")))
}

pub(super) fn certificates(file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(read(file)?.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| invalid(file, &format!("is no certificate in PEM: {error}")))
}

fn load_seed(file: &Path) -> io::Result<SigningKey> {
    Ok(SigningKey::from_seed(&*seed(file)?))
}

fn seed(file: &Path) -> io::Result<Zeroizing<[u8; 32]>> {
    refuse_shared(file)?;
    unhex(&Zeroizing::new(read(file)?)).ok_or_else(|| invalid(file, "is not a key of 64 hex digits"))
}

/// A private key that others can read is not private any more.
fn refuse_shared(file: &Path) -> io::Result<()> {
    let mode = fs::metadata(file).map_err(|error| at(file, &error))?.permissions().mode();
    if mode & 0o077 != 0 {
        let text = format!("may be read by others (mode {:03o}): chmod 600 {}", mode & 0o777, file.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("{} {text}", file.display())));
    }
    Ok(())
}

pub(super) fn read(file: &Path) -> io::Result<String> {
    fs::read_to_string(file).map_err(|error| at(file, &error))
}

fn write_new(file: &Path, text: &str, mode: u32) -> io::Result<()> {
    let write = || -> io::Result<()> {
        let mut opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(file)?;
        opened.write_all(text.as_bytes())?;
        opened.sync_all()
    };
    write().map_err(|error| at(file, &error))
}

/// A new file for its owner alone. Never overwrites.
pub fn write_private(file: &Path, text: &str) -> io::Result<()> {
    write_new(file, text, 0o600)
}

/// Whole or not at all, over what is there.
fn replace(file: &Path, text: &str, mode: u32) -> io::Result<()> {
    let beside = file.with_extension("new");
    let _ = fs::remove_file(&beside);
    write_new(&beside, text, mode)?;
    fs::rename(&beside, file).map_err(|error| at(file, &error))?;
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| at(folder, &error))
}

/// RFC 7468.
fn pem(der: &[u8]) -> String {
    pem::encode_config(
        &pem::Pem::new("CERTIFICATE", der),
        pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
    )
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| at(path, &error))
}

fn at(file: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", file.display()))
}

pub(super) fn invalid(file: &Path, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", file.display()))
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn unhex(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let text = text.trim();
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut bytes = Zeroizing::new([0; 32]);
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// µs that a grant lasts.
const GRANT: i64 = 14 * 24 * 3600 * SECOND;
/// µs that a placement lasts: the longest that is accepted is 400 days; setting a tree up again renews it.
const PLACEMENT: i64 = 400 * 24 * 3600 * SECOND;
/// As long as the longest lock.
const RELEASE: i64 = 31 * 24 * 3600 * SECOND;
/// µs by which clocks may differ when a tree is set up.
const SLACK: i64 = 60 * SECOND;

#[cfg(test)]
mod tests {
    use super::*;

    fn node(role: Role) -> NewNode {
        let area = "vn/01".parse().unwrap();
        NewNode { role, area, name: "Test".into(), authority: Some("main".into()) }
    }

    #[test]
    fn a_provisioned_node_loads_and_its_orders_hold() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let root = Root::generate();
        let id = root.provision(&data, &node(Role::Relay)).unwrap();
        let identity = Identity::load(&data).unwrap();
        assert_eq!((identity.node, identity.role), (id, Role::Relay));
        assert_eq!(identity.roots, [root.key().public()]);
        load_authority(&data, "main").unwrap();
        let records = Store::open(&data).unwrap().journal().unwrap();
        let authorities = crate::broadcast::Authorities::new(identity.roots);
        assert_eq!(records.len(), 2);
        for record in records {
            let Some(proto::record::Body::Order(signed)) = record.body else { panic!("an order") };
            authorities.check(&signed, Some(clock::wall())).unwrap();
        }
    }

    #[test]
    fn a_key_that_others_may_read_is_refused_with_the_mend() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("root.key");
        let root = Root::generate();
        root.save(&file).unwrap();
        assert_eq!(Root::load(&file).unwrap().key().id(), root.key().id());
        assert!(root.save(&file).is_err(), "a root is never overwritten");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let error = Root::load(&file).err().unwrap().to_string();
        assert!(error.contains("chmod 600") && error.contains("root.key"), "{error}");
    }

    #[test]
    fn a_file_that_is_missing_or_wrong_is_named() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Identity::load(folder.path()).unwrap_err().to_string().contains("node.key"));
        write_new(&folder.path().join("x.key"), "zz", 0o600).unwrap();
        assert!(load_seed(&folder.path().join("x.key")).unwrap_err().to_string().contains("64 hex digits"));
    }
}
