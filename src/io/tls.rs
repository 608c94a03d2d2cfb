//! Mutual TLS 1.3 between nodes: who issues certificates, and what each side checks of the other.
//!
//! Names are not DNS: a certificate says `urn:loa:node:<uuid>:<role>` in a URI SAN, and a connection is
//! trusted for the chain to our roots and for the role, whatever host was dialled.
use super::clock;
use super::identity::Identity;
use super::quic;
use crate::key::PublicKey;
use crate::node::{Peer, Role, id_of};
use crate::session::ALPN;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error};
use rustls::{OtherError, RootCertStore, ServerConfig, SignatureScheme};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use uuid::Uuid;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// How a relay answers its children.
pub fn server(identity: &Identity) -> Result<Arc<ServerConfig>, Error> {
    let verifier = Arc::new(ChildVerifier {
        inner: WebPkiClientVerifier::builder_with_provider(identity.trust.clone(), provider())
            .build()
            .map_err(|error| Error::General(error.to_string()))?,
    });
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(identity.shown()?);
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Tickets would cost memory per child and let a certificate live on after it is revoked.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

/// How a node dials its parents.
pub fn client(identity: &Identity) -> Result<Arc<ClientConfig>, Error> {
    let verifier =
        ParentVerifier { roots: identity.trust.clone(), algorithms: provider().signature_verification_algorithms };
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(identity.shown()?);
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The same configuration for another node of the same roots: what does not differ is shared, since a process
/// may dial as thousands of nodes.
pub fn client_as(config: &ClientConfig, identity: &Identity) -> Result<Arc<ClientConfig>, Error> {
    let key = CertifiedKey::from_der(identity.chain.clone(), identity.key.clone_key(), config.crypto_provider())?;
    let mut config = config.clone();
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(key));
    Ok(Arc::new(config))
}

/// Reads node and role out of a certificate.
pub fn peer(certificate: &CertificateDer<'_>) -> Result<Peer, String> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|error| format!("unreadable certificate: {error}"))?;
    let names = parsed
        .subject_alternative_name()
        .map_err(|error| format!("unreadable subject alternative name: {error}"))?
        .ok_or("the certificate has no subject alternative name; issue it anew")?;
    names
        .value
        .general_names
        .iter()
        .find_map(|name| match name {
            // Its key is all that is known of it, and the name that it has until it has another.
            GeneralName::URI(uri) if *uri == NEWCOMER => {
                let key = PublicKey::from_slice(&parsed.public_key().subject_public_key.data)?;
                Some(Peer { node: Uuid::from_bytes(key.id().0), role: Role::New })
            }
            GeneralName::URI(uri) => read_name(uri),
            _ => None,
        })
        .ok_or_else(|| format!("the certificate has no name {PREFIX}<uuid>:<role>; issue it anew"))
}

/// What a node shows of itself. It may be renewed while the node runs: the next handshake shows the new one.
#[derive(Debug)]
pub struct Shown(RwLock<Arc<CertifiedKey>>);

impl Shown {
    pub fn new(chain: Vec<CertificateDer<'static>>, key: &PrivateKeyDer<'static>) -> Result<Self, Error> {
        let key = CertifiedKey::from_der(chain, key.clone_key(), &provider())?;
        Ok(Self(RwLock::new(Arc::new(key))))
    }

    pub fn renew(&self, chain: Vec<CertificateDer<'static>>, key: &PrivateKeyDer<'static>) -> Result<(), Error> {
        let key = CertifiedKey::from_der(chain, key.clone_key(), &provider())?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
        Ok(())
    }

    fn now(&self) -> Arc<CertifiedKey> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// DER, leaf first.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.now().cert.clone()
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.now())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.now())
    }
}

/// Whose this chain is, if it leads to one of the roots now.
pub fn verify(chain: &[CertificateDer<'_>], trust: &Arc<RootCertStore>) -> Result<Peer, String> {
    let leaf = chain.first().ok_or("there is no certificate")?;
    verify_at(chain, trust, trusted(UnixTime::now(), leaf))
}

/// The same as it was at some time.
pub fn verify_at(chain: &[CertificateDer<'_>], trust: &Arc<RootCertStore>, now: UnixTime) -> Result<Peer, String> {
    let (leaf, intermediates) = chain.split_first().ok_or("there is no certificate")?;
    let algorithms = provider().signature_verification_algorithms.all;
    let parsed = ParsedCertificate::try_from(leaf).map_err(|error| error.to_string())?;
    verify_server_cert_signed_by_trust_anchor(&parsed, trust, intermediates, now, algorithms)
        .map_err(|error| error.to_string())?;
    named(leaf, intermediates)
}

/// Node and role of a certificate whose chain holds. An issuer may name a node by its key alone: a stolen one then makes
/// strangers, and nobody who is known already. A root may give any name.
fn named(leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> Result<Peer, String> {
    let peer = peer(leaf)?;
    if !intermediates.is_empty() && id_of(&super::certify::key_of(leaf)?) != peer.node {
        return Err(format!("an issuer has given the name {} to another key; only a root may", peer.node));
    }
    Ok(peer)
}

/// Checks a parent: chain and role.
#[derive(Debug)]
struct ParentVerifier {
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for ParentVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        let now = trusted(now, certificate);
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, self.algorithms.all)?;
        match named(certificate, intermediates) {
            Ok(Peer { role: Role::Relay, .. }) => Ok(ServerCertVerified::assertion()),
            Ok(Peer { node, role }) => Err(refuse(format!(
                "node {node} is a {}, and only a relay may be a parent; check parent.addresses",
                role.as_str()
            ))),
            Err(text) => Err(refuse(text)),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Checks a child: chain, and that the name can be read; newcomers have none.
#[derive(Debug)]
struct ChildVerifier {
    inner: Arc<dyn ClientCertVerifier>,
}

impl ClientCertVerifier for ChildVerifier {
    // Children hold one certificate; the roots' names in every handshake would help nobody.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // Whoever has no certificate of a root may ask for one: its session can do nothing else. That it holds the key
        // that it shows is proven by the handshake.
        if peer(certificate).is_ok_and(|peer| peer.role == Role::New) {
            return Ok(ClientCertVerified::assertion());
        }
        let verified = self.inner.verify_client_cert(certificate, intermediates, trusted(now, certificate))?;
        named(certificate, intermediates).map(|_| verified).map_err(refuse)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// A board without a clock battery starts in 1970 or at its build date: then certificates are checked
/// for chain and role, at the moment from which they hold, not for dates (DESIGN §5).
fn trusted(now: UnixTime, certificate: &CertificateDer<'_>) -> UnixTime {
    if clock::wall() >= clock::EARLIEST {
        return now;
    }
    let begin = X509Certificate::from_der(certificate).map_or(0, |(_, parsed)| parsed.validity.not_before.timestamp());
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(begin).unwrap_or(0)))
}

fn refuse(text: String) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Refused(text)))))
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);

fn read_name(uri: &str) -> Option<Peer> {
    let (node, role) = uri.strip_prefix(PREFIX)?.split_once(':')?;
    let role = [Role::Relay, Role::Speaker].into_iter().find(|known| known.as_str() == role)?;
    Some(Peer { node: node.parse().ok()?, role })
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { cipher_suites: vec![quic::suite()], ..aws_lc_rs::default_provider() })
}

/// A node's name in its certificate.
pub(super) fn name(node: Uuid, role: Role) -> String {
    format!("{PREFIX}{node}:{}", role.as_str())
}

const PREFIX: &str = "urn:loa:node:";
/// In the certificate of whoever has none of a root.
pub(super) const NEWCOMER: &str = "urn:loa:new";

#[cfg(test)]
pub(super) mod tests {
    use super::super::certify;
    use super::*;
    use rustls::pki_types::pem::PemObject;

    /// An identity in memory, certified by the root with this seed.
    pub fn identity(seed: &[u8; 32], role: Role) -> Identity {
        let issued = certify::issue(seed, role, certify::Dates::ALWAYS).unwrap();
        let node = issued.node;
        let mut trust = RootCertStore::empty();
        trust.add(CertificateDer::from_pem_slice(issued.root.as_bytes()).unwrap()).unwrap();
        Identity {
            node,
            role,
            roots: Vec::new(),
            chain: vec![CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap()],
            key: PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap(),
            trust: Arc::new(trust),
            shown: Default::default(),
        }
    }

    /// Runs a handshake in memory.
    fn shake(child: &Identity, parent: &Identity) -> Result<(), Error> {
        let name = ServerName::try_from("loa").unwrap();
        let mut client = rustls::ClientConnection::new(client(child)?, name)?;
        let mut server = rustls::ServerConnection::new(server(parent)?)?;
        for _ in 0..10 {
            let mut bytes = Vec::new();
            client.write_tls(&mut bytes).unwrap();
            server.read_tls(&mut &bytes[..]).unwrap();
            server.process_new_packets()?;
            bytes.clear();
            server.write_tls(&mut bytes).unwrap();
            client.read_tls(&mut &bytes[..]).unwrap();
            client.process_new_packets()?;
        }
        assert!(!client.is_handshaking() && !server.is_handshaking());
        assert_eq!(client.alpn_protocol(), Some(ALPN));
        let seen = server.peer_certificates().unwrap();
        assert_eq!(peer(&seen[0]).unwrap(), Peer { node: child.node, role: child.role });
        Ok(())
    }

    #[test]
    fn nodes_of_one_root_trust_each_other_by_role() {
        let relay = identity(&[1; 32], Role::Relay);
        let speaker = identity(&[1; 32], Role::Speaker);
        shake(&speaker, &relay).unwrap();
        shake(&relay, &identity(&[1; 32], Role::Relay)).unwrap();
        let error = shake(&relay, &speaker).unwrap_err().to_string();
        assert!(error.contains("only a relay may be a parent"), "{error}");
    }

    #[test]
    fn a_node_of_another_root_is_refused_by_both_sides() {
        let parent = identity(&[1; 32], Role::Relay);
        assert!(shake(&identity(&[2; 32], Role::Speaker), &parent).is_err());
        let mut stranger = identity(&[2; 32], Role::Speaker);
        stranger.trust = parent.trust.clone();
        assert!(shake(&stranger, &parent).is_err(), "the parent refuses what its roots did not sign");
    }

    #[test]
    fn a_newcomer_is_let_in_as_such_and_can_be_no_parent() {
        let parent = identity(&[1; 32], Role::Relay);
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let certificate = certify::newcomer(&key).unwrap().der().clone();
        let node = peer(&certificate).unwrap().node;
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let (trust, roots) = (parent.trust.clone(), Vec::new());
        let shown = Default::default();
        let newcomer = Identity { node, role: Role::New, roots, chain: vec![certificate], key, trust, shown };
        shake(&newcomer, &parent).unwrap();
        assert!(shake(&identity(&[1; 32], Role::Speaker), &newcomer).is_err(), "it can be no parent");
    }

    #[test]
    fn a_certificate_that_is_renewed_is_shown_in_the_next_handshake() {
        let (parent, child) = (identity(&[1; 32], Role::Relay), identity(&[1; 32], Role::Speaker));
        shake(&child, &parent).unwrap();
        let shown = child.shown().unwrap();
        let key = certify::key_of(&child.chain[0]).unwrap();
        let certifier = certify::Certifier::new(&[1; 32]).unwrap();
        let new = certifier.certify_key(&key, child.node, Role::Speaker, certify::Dates::days(5)).unwrap();
        shown.renew(vec![new.der().clone()], &child.key).unwrap();
        assert_eq!(child.shown().unwrap().chain(), [new.der().clone()]);
        shake(&child, &parent).unwrap();
        assert!(shown.renew(parent.chain.clone(), &child.key).is_err(), "another key's");
    }

    #[test]
    fn a_name_of_another_form_is_no_name() {
        let node = Uuid::from_u128(5);
        assert_eq!(read_name(&format!("urn:loa:node:{node}:relay")), Some(Peer { node, role: Role::Relay }));
        for text in ["urn:loa:node:x:relay", "urn:loa:node:relay", &format!("urn:loa:node:{node}:root"), ""] {
            assert_eq!(read_name(text), None);
        }
    }
}
