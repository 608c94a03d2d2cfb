//! TLS 1.3 for many idle links: keys as bytes, and no TLS state after the handshake.
//!
//! quinn's own session keeps a whole rustls connection for the life of a link (buffers, transcript,
//! certificate chain, the record layer's ciphers, which QUIC never uses), and rustls keeps an expanded
//! AES-GCM context for each of four keys and two header keys: 8 KiB of 27 for a link that says one packet
//! each ten seconds. Here a key is its 16 bytes, expanded for each packet (half a microsecond), and of the
//! TLS connection there remain the peer's name and the secrets of later key updates.
use crate::io::tls;
use crate::node::Peer;
use aws_lc_rs::aead;
use quinn_proto as quic;
use quinn_proto::crypto::{ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, UnsupportedVersion};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{ConnectError, ConnectionId, Side, TransportError, TransportErrorCode};
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::crypto::cipher::{AeadKey, Iv, Nonce};
use rustls::quic::{Connection, KeyChange, Secrets, Suite, Tag, Version};
use rustls::{Error, SupportedCipherSuite, Tls13CipherSuite};
use std::any::Any;
use std::sync::{Arc, LazyLock};

/// The one cipher suite of links, both ways: what QUIC's first packets use anyway (RFC 9001 §5.2), and
/// SRTP as well.
pub fn suite() -> SupportedCipherSuite {
    SupportedCipherSuite::Tls13(&SUITE)
}

/// How a socket answers.
pub struct Server(pub Arc<rustls::ServerConfig>);

/// How a socket dials.
pub struct Client(pub Arc<rustls::ClientConfig>);

/// Who is on the other side of a link that is up.
pub fn peer(connection: &quic::Connection) -> Result<Peer, String> {
    let identity = connection.crypto_session().peer_identity();
    let named = identity.and_then(|any| any.downcast::<Result<Peer, String>>().ok());
    named.map_or_else(|| Err("the other side showed no certificate".into()), |named| *named)
}

impl quic::crypto::ServerConfig for Server {
    fn initial_keys(&self, version: u32, dst_cid: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        match version {
            VERSION => Ok(initial_keys(dst_cid, Side::Server)),
            _ => Err(UnsupportedVersion),
        }
    }

    fn retry_tag(&self, _version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        retry_tag(orig_dst_cid, &[packet])
    }

    fn start_session(self: Arc<Self>, _version: u32, params: &TransportParameters) -> Box<dyn quic::crypto::Session> {
        let mut bytes = Vec::new();
        params.write(&mut bytes);
        let connection = rustls::quic::ServerConnection::new(self.0.clone(), Version::V1, bytes);
        Box::new(Session::new(Side::Server, connection.map(Connection::Server)))
    }
}

impl quic::crypto::ClientConfig for Client {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        server_name: &str,
        params: &TransportParameters,
    ) -> Result<Box<dyn quic::crypto::Session>, ConnectError> {
        if version != VERSION {
            return Err(ConnectError::UnsupportedVersion);
        }
        let name = rustls::pki_types::ServerName::try_from(server_name.to_owned())
            .map_err(|_| ConnectError::InvalidServerName(server_name.into()))?;
        let mut bytes = Vec::new();
        params.write(&mut bytes);
        let connection = rustls::quic::ClientConnection::new(self.0.clone(), Version::V1, name, bytes);
        Ok(Box::new(Session::new(Side::Client, connection.map(Connection::Client))))
    }
}

struct Session {
    side: Side,
    state: State,
    /// What later key updates come from; there once the first keys are.
    next: Option<Box<Secrets>>,
}

enum State {
    Shaking(Box<Connection>),
    /// rustls refused to begin: the first bytes of the other side end it.
    Failed(String),
    Done {
        peer: Result<Peer, String>,
        /// The parent's transport parameters, which quinn reads after its last flight.
        parameters: Box<[u8]>,
    },
}

impl Session {
    fn new(side: Side, connection: Result<Connection, Error>) -> Self {
        let state = match connection {
            Ok(connection) => State::Shaking(Box::new(connection)),
            Err(error) => State::Failed(error.to_string()),
        };
        Self { side, state, next: None }
    }

    /// Lets go of TLS once it has nothing more to say.
    fn settle(&mut self) {
        let State::Shaking(connection) = &self.state else { return };
        if connection.is_handshaking() || self.next.is_none() {
            return;
        }
        let leaf = connection.peer_certificates().and_then(|chain| chain.first());
        let peer = leaf.map_or_else(|| Err("the other side showed no certificate".into()), tls::peer);
        // A server's side has read them long before.
        let parameters = connection.quic_transport_parameters().filter(|_| self.side.is_client());
        let parameters = parameters.unwrap_or_default().into();
        self.state = State::Done { peer, parameters };
    }
}

impl quic::crypto::Session for Session {
    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        initial_keys(dst_cid, side)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        None
    }

    /// `Result<Peer, String>`, once the handshake is complete.
    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        match &self.state {
            State::Done { peer, .. } => Some(Box::new(peer.clone())),
            _ => None,
        }
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        None
    }

    fn early_data_accepted(&self) -> Option<bool> {
        Some(false)
    }

    fn is_handshaking(&self) -> bool {
        match &self.state {
            State::Shaking(connection) => connection.is_handshaking(),
            State::Failed(_) => true,
            State::Done { .. } => false,
        }
    }

    fn read_handshake(&mut self, bytes: &[u8]) -> Result<bool, TransportError> {
        match &mut self.state {
            State::Shaking(connection) => connection.read_hs(bytes).map(|()| false).map_err(|error| {
                let code = connection.alert().map_or(INTERNAL_ERROR, u8::from);
                refused(code, error.to_string())
            }),
            State::Failed(text) => Err(refused(INTERNAL_ERROR, text.clone())),
            // Tickets are never given nor used, and QUIC has its own key updates (RFC 9001 §6).
            State::Done { .. } => Err(refused(UNEXPECTED_MESSAGE, "TLS after the handshake".into())),
        }
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        let bytes = match &self.state {
            State::Shaking(connection) => connection.quic_transport_parameters(),
            State::Failed(_) => None,
            State::Done { parameters, .. } => Some(&parameters[..]),
        };
        let Some(mut bytes) = bytes else { return Ok(None) };
        Ok(Some(TransportParameters::read(self.side, &mut bytes)?))
    }

    fn write_handshake(&mut self, buffer: &mut Vec<u8>) -> Option<Keys> {
        let State::Shaking(connection) = &mut self.state else { return None };
        let before = buffer.len();
        let keys = match connection.write_hs(buffer) {
            Some(KeyChange::Handshake { keys }) => keys,
            Some(KeyChange::OneRtt { keys, next }) => {
                self.next = Some(Box::new(next));
                keys
            }
            None => {
                if buffer.len() == before {
                    self.settle();
                }
                return None;
            }
        };
        Some(pairs(keys))
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        let keys = self.next.as_mut()?.next_packet_keys();
        Some(KeyPair { local: Box::new(keys.local), remote: Box::new(keys.remote) })
    }

    fn is_valid_retry(&self, orig_dst_cid: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        // Not a secret: the key is in the standard, and the tag guards against accidents.
        let Some((text, tag)) = payload.split_last_chunk::<16>() else { return false };
        retry_tag(orig_dst_cid, &[header, text]) == *tag
    }

    fn export_keying_material(&self, _: &mut [u8], _: &[u8], _: &[u8]) -> Result<(), ExportKeyingMaterialError> {
        Err(ExportKeyingMaterialError)
    }
}

/// A key as its bytes.
struct Compact;

struct Packets {
    key: AeadKey,
    iv: Iv,
}

struct Headers(AeadKey);

impl rustls::quic::Algorithm for Compact {
    fn packet_key(&self, key: AeadKey, iv: Iv) -> Box<dyn rustls::quic::PacketKey> {
        Box::new(Packets { key, iv })
    }

    fn header_protection_key(&self, key: AeadKey) -> Box<dyn rustls::quic::HeaderProtectionKey> {
        Box::new(Headers(key))
    }

    fn aead_key_len(&self) -> usize {
        aead::AES_128_GCM.key_len()
    }
}

impl Packets {
    fn nonce(&self, number: u64) -> aead::Nonce {
        aead::Nonce::assume_unique_for_key(Nonce::new(&self.iv, number).0)
    }
}

impl rustls::quic::PacketKey for Packets {
    fn encrypt_in_place(&self, number: u64, header: &[u8], payload: &mut [u8]) -> Result<Tag, Error> {
        let key = expand(self.key.as_ref()).ok_or(Error::EncryptError)?;
        let sealed = key.seal_in_place_separate_tag(self.nonce(number), aead::Aad::from(header), payload);
        sealed.map(|tag| Tag::from(tag.as_ref())).map_err(|_| Error::EncryptError)
    }

    fn decrypt_in_place<'a>(&self, number: u64, header: &[u8], payload: &'a mut [u8]) -> Result<&'a [u8], Error> {
        let key = expand(self.key.as_ref()).ok_or(Error::DecryptError)?;
        let opened = key.open_in_place(self.nonce(number), aead::Aad::from(header), payload);
        opened.map(|plain| &*plain).map_err(|_| Error::DecryptError)
    }

    fn tag_len(&self) -> usize {
        aead::AES_128_GCM.tag_len()
    }

    fn confidentiality_limit(&self) -> u64 {
        CONFIDENTIALITY
    }

    fn integrity_limit(&self) -> u64 {
        INTEGRITY
    }
}

impl Headers {
    /// RFC 9001 §5.4.1. `masked`: whether the first byte is, as it is on arrival.
    fn mask(&self, sample: &[u8], first: &mut u8, number: &mut [u8], masked: bool) -> Result<(), Error> {
        let wrong = |_| Error::General("a sample of another length".into());
        let key = aead::quic::HeaderProtectionKey::new(&aead::quic::AES_128, self.0.as_ref()).map_err(wrong)?;
        let [first_mask, number_mask @ ..] = key.new_mask(sample).map_err(wrong)?;
        // A long header shows its upper four bits, a short one three.
        let bits = first_mask & if *first & 0x80 == 0x80 { 0x0f } else { 0x1f };
        let plain = if masked { *first ^ bits } else { *first };
        let length = usize::from(plain & 3) + 1;
        *first ^= bits;
        for (byte, mask) in number.iter_mut().zip(number_mask).take(length) {
            *byte ^= mask;
        }
        Ok(())
    }
}

impl rustls::quic::HeaderProtectionKey for Headers {
    fn encrypt_in_place(&self, sample: &[u8], first: &mut u8, number: &mut [u8]) -> Result<(), Error> {
        self.mask(sample, first, number, false)
    }

    fn decrypt_in_place(&self, sample: &[u8], first: &mut u8, number: &mut [u8]) -> Result<(), Error> {
        self.mask(sample, first, number, true)
    }

    fn sample_len(&self) -> usize {
        aead::quic::AES_128.sample_len()
    }
}

fn expand(key: &[u8]) -> Option<aead::LessSafeKey> {
    aead::UnboundKey::new(&aead::AES_128_GCM, key).ok().map(aead::LessSafeKey::new)
}

fn initial_keys(dst_cid: &ConnectionId, side: Side) -> Keys {
    let suite = Suite { suite: &SUITE, quic: &Compact };
    let side = if side.is_client() { rustls::Side::Client } else { rustls::Side::Server };
    pairs(suite.keys(dst_cid, side, Version::V1))
}

fn pairs(keys: rustls::quic::Keys) -> Keys {
    Keys {
        header: KeyPair { local: Box::new(keys.local.header), remote: Box::new(keys.remote.header) },
        packet: KeyPair { local: Box::new(keys.local.packet), remote: Box::new(keys.remote.packet) },
    }
}

/// RFC 9001 §5.8.
fn retry_tag(orig_dst_cid: &ConnectionId, parts: &[&[u8]]) -> [u8; 16] {
    let mut pseudo = vec![orig_dst_cid.len() as u8];
    pseudo.extend_from_slice(orig_dst_cid);
    parts.iter().for_each(|part| pseudo.extend_from_slice(part));
    let nonce = aead::Nonce::assume_unique_for_key(RETRY_NONCE);
    let sealed = expand(&RETRY_KEY)
        .and_then(|key| key.seal_in_place_separate_tag(nonce, aead::Aad::from(pseudo), &mut []).ok())
        .and_then(|tag| tag.as_ref().try_into().ok());
    sealed.unwrap_or_default()
}

fn refused(alert: u8, reason: String) -> TransportError {
    TransportError { code: TransportErrorCode::crypto(alert), frame: None, reason }
}

static SUITE: LazyLock<Tls13CipherSuite> = LazyLock::new(|| match TLS13_AES_128_GCM_SHA256 {
    SupportedCipherSuite::Tls13(known) => Tls13CipherSuite {
        common: rustls::crypto::CipherSuiteCommon { ..known.common },
        hkdf_provider: known.hkdf_provider,
        aead_alg: known.aead_alg,
        quic: Some(&Compact),
    },
    _ => unreachable!("a TLS 1.3 suite by its name"),
});
/// QUIC v1 (RFC 9000 §15).
pub const VERSION: u32 = 1;
/// Packets under one AES-128-GCM key, sent (RFC 9001 §6.6) and forged.
const CONFIDENTIALITY: u64 = 1 << 23;
const INTEGRITY: u64 = 1 << 52;
/// RFC 9001 §5.8.
const RETRY_KEY: [u8; 16] =
    [0xbe, 0x0c, 0x69, 0x0b, 0x9f, 0x66, 0x57, 0x5a, 0x1d, 0x76, 0x6b, 0x54, 0xe3, 0x68, 0xc8, 0x4e];
const RETRY_NONCE: [u8; 12] = [0x46, 0x15, 0x99, 0xd3, 0x5d, 0x63, 0x2b, 0xf2, 0x23, 0x98, 0x25, 0xbb];
/// TLS alerts (RFC 8446 §6).
const UNEXPECTED_MESSAGE: u8 = 10;
const INTERNAL_ERROR: u8 = 80;

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn the_first_packet_of_rfc_9001_comes_out_byte_by_byte() {
        // §A.3: the server's Initial, with its keys of §A.1.
        let keys = initial_keys(&ConnectionId::new(&hex("8394c8f03e515708")), Side::Server);
        let header = hex("c1000000010008f067a5502a4262b50040750001");
        let text = hex(concat!(
            "02000000000600405a020000560303eefce7f7b37ba1d1632e96677825ddf73988cfc79825df566dc5430b9a045a1200",
            "130100002e00330024001d00209d3c940d89690b84d08a60993c144eca684d1081287c834d5311bcf32bb9da1a002b00",
            "020304"
        ));
        let mut packet = [&header[..], &text, &[0; 16]].concat();
        keys.packet.local.encrypt(1, &mut packet, header.len());
        keys.header.local.encrypt(header.len() - 2, &mut packet);
        let expected = hex(concat!(
            "cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a5816b6394100f37a1c69797554780bb3",
            "8cc5a99f5ede4cf73c3ec2493a1839b3dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84",
            "022f8ef4cdd93795d77d06edbb7aaf2f58891850abbdca3d20398c276456cbc42158407dd074ee"
        ));
        assert_eq!(packet, expected);
        let keys = initial_keys(&ConnectionId::new(&hex("8394c8f03e515708")), Side::Client);
        keys.header.remote.decrypt(header.len() - 2, &mut packet);
        assert_eq!(packet[..header.len()], header);
        let mut payload = bytes::BytesMut::from(&packet[header.len()..]);
        keys.packet.remote.decrypt(1, &header, &mut payload).unwrap();
        assert_eq!(payload[..], text[..]);
    }

    #[test]
    fn a_retry_carries_the_tag_of_rfc_9001() {
        // §A.4.
        let packet = hex("ff000000010008f067a5502a4262b5746f6b656e");
        let tag = retry_tag(&ConnectionId::new(&hex("8394c8f03e515708")), &[&packet]);
        assert_eq!(tag[..], hex("04a265ba2eff4d829058fb3f0f2496ba")[..]);
    }
}
