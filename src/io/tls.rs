//! Mutual TLS 1.3 between nodes: who issues certificates, and what each side checks of the other.
//!
//! Names are not DNS: a certificate says `urn:loa:node:<uuid>:<role>` in a URI SAN, and a connection is
//! trusted for the chain to our roots and for the role, whatever host was dialled.
use super::clock;
use super::identity::Identity;
use crate::node::{Peer, Role};
use crate::session::ALPN;
use crate::time::{Civil, SECOND};
use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rcgen::{KeyUsagePurpose, PKCS_ED25519, SanType, date_time_ymd};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error};
use rustls::{OtherError, RootCertStore, ServerConfig, SignatureScheme};
use std::sync::Arc;
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
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())?;
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
        .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())?;
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
            GeneralName::URI(uri) => read_name(uri),
            _ => None,
        })
        .ok_or_else(|| format!("the certificate has no name {PREFIX}<uuid>:<role>; issue it anew"))
}

/// A new node's files.
pub struct Issued {
    /// PKCS#8, PEM.
    pub key: String,
    pub certificate: String,
    /// The root's own certificate.
    pub root: String,
}

/// Makes a node's key and has the root with this seed certify it.
pub fn issue(seed: &[u8; 32], node: Uuid, role: Role) -> Result<Issued, rcgen::Error> {
    let certifier = Certifier::new(seed)?;
    let (key, certificate) = certifier.certify(node, role)?;
    Ok(Issued { key: key.serialize_pem(), certificate: certificate.pem(), root: certifier.root.pem() })
}

/// A root's key, ready to certify any number of nodes.
pub struct Certifier {
    issuer: Issuer<'static, KeyPair>,
    pub root: Certificate,
}

impl Certifier {
    pub fn new(seed: &[u8; 32]) -> Result<Self, rcgen::Error> {
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8(seed), &PKCS_ED25519)?;
        let mut root = params("Loa root")?;
        root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let certificate = root.self_signed(&key)?;
        Ok(Self { issuer: Issuer::new(root, key), root: certificate })
    }

    /// A new key, and its certificate.
    pub fn certify(&self, node: Uuid, role: Role) -> Result<(KeyPair, Certificate), rcgen::Error> {
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let mut leaf = params(&format!("Loa node {node}"))?;
        leaf.subject_alt_names = vec![SanType::URI(format!("{PREFIX}{node}:{}", role.as_str()).try_into()?)];
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // A relay is dialled and dials; which of both a node may do is its role's matter.
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        let certificate = leaf.signed_by(&key, &self.issuer)?;
        Ok((key, certificate))
    }
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
        match peer(certificate) {
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

/// Checks a child: chain, and that the name can be read.
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
        let verified = self.inner.verify_client_cert(certificate, intermediates, trusted(now, certificate))?;
        peer(certificate).map(|_| verified).map_err(refuse)
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
    if clock::wall() >= EARLIEST {
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
    Arc::new(aws_lc_rs::default_provider())
}

fn params(name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    // Renewal of node certificates comes with enrolment; until it can be had from afar, a date would
    // only silence speakers.
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2049, 12, 31);
    Ok(params)
}

/// An Ed25519 seed as PKCS#8 (RFC 8410 §7).
fn pkcs8(seed: &[u8; 32]) -> PrivatePkcs8KeyDer<'static> {
    const HEAD: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    PrivatePkcs8KeyDer::from([&HEAD[..], seed].concat())
}

const PREFIX: &str = "urn:loa:node:";
/// No node was made before 2025: a clock that says so is not set.
const EARLIEST: Civil = Civil(1_735_689_600 * SECOND);

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rustls::pki_types::PrivateKeyDer;
    use rustls::pki_types::pem::PemObject;

    /// An identity in memory, certified by the root with this seed.
    pub fn identity(seed: &[u8; 32], role: Role) -> Identity {
        let node = super::super::identity::new_id(Civil(1));
        let issued = issue(seed, node, role).unwrap();
        let mut trust = RootCertStore::empty();
        trust.add(CertificateDer::from_pem_slice(issued.root.as_bytes()).unwrap()).unwrap();
        Identity {
            node,
            role,
            roots: Vec::new(),
            chain: vec![CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap()],
            key: PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap(),
            trust: Arc::new(trust),
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
    fn a_name_of_another_form_is_no_name() {
        let node = Uuid::from_u128(5);
        assert_eq!(read_name(&format!("urn:loa:node:{node}:relay")), Some(Peer { node, role: Role::Relay }));
        for text in ["urn:loa:node:x:relay", "urn:loa:node:relay", &format!("urn:loa:node:{node}:root"), ""] {
            assert_eq!(read_name(text), None);
        }
    }
}
