//! Somebody at the port who is not a node of ours, or does not behave like one: QUIC by hand, with
//! whatever certificate it is given.

use super::tap::loopback;
use bytes::BytesMut;
use quinn_proto as quic;
use quinn_proto::{Connection, ConnectionHandle, DatagramEvent, Dir, StreamEvent, VarInt};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme};
use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub struct Stranger {
    socket: UdpSocket,
    endpoint: quic::Endpoint,
    client: quic::ClientConfig,
    connections: BTreeMap<usize, Connection>,
    /// Why connections ended, and how many handshakes were completed.
    pub ended: Vec<String>,
    pub completed: usize,
}

impl Stranger {
    /// `data`: the folder of a provisioned node, whose key and certificate it shows.
    pub fn new(address: SocketAddr, data: &Path) -> Self {
        let socket = UdpSocket::bind(address).expect("a port for a stranger");
        socket.set_read_timeout(Some(Duration::from_millis(5))).expect("a timeout");
        let crypto = quic::crypto::rustls::QuicClientConfig::try_from(client(data)).expect("TLS 1.3");
        let answers = quic::crypto::rustls::QuicServerConfig::try_from(server(data)).expect("TLS 1.3");
        let answers = Arc::new(quic::ServerConfig::with_crypto(Arc::new(answers)));
        Self {
            socket,
            endpoint: quic::Endpoint::new(Arc::default(), Some(answers), true, None),
            client: quic::ClientConfig::new(Arc::new(crypto)),
            connections: BTreeMap::new(),
            ended: Vec::new(),
            completed: 0,
        }
    }

    /// Answers whoever dials, until `stop` is set; says how many completed a handshake.
    pub fn serve(data: &Path, stop: Arc<AtomicBool>) -> (SocketAddr, std::thread::JoinHandle<usize>) {
        let mut stranger = Self::new(loopback(super::ports::free(1)), data);
        let address = stranger.socket.local_addr().expect("its address");
        let serving = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                stranger.run(Duration::from_millis(20));
            }
            stranger.completed
        });
        (address, serving)
    }

    /// Sends the first flight of a handshake, and no more until [`Stranger::run`].
    pub fn dial(&mut self, to: SocketAddr) {
        let now = Instant::now();
        let (handle, connection) = self.endpoint.connect(now, self.client.clone(), to, "loa").expect("an address");
        self.connections.insert(handle.0, connection);
        self.pump(handle.0);
    }

    /// Writes on a control stream of every connection.
    pub fn say(&mut self, bytes: &[u8]) {
        for slot in self.connections.keys().copied().collect::<Vec<_>>() {
            let Some(connection) = self.connections.get_mut(&slot) else { continue };
            if let Some(stream) = connection.streams().open(Dir::Bi) {
                // One that was closed meanwhile takes nothing.
                let _ = connection.send_stream(stream).write(bytes);
            }
            let _ = connection.datagrams().send(bytes::Bytes::copy_from_slice(&bytes[..bytes.len().min(1_000)]), true);
            self.pump(slot);
        }
    }

    /// Hangs up, with a word or without.
    pub fn drop_all(&mut self, politely: bool) {
        for (slot, mut connection) in std::mem::take(&mut self.connections) {
            if politely {
                connection.close(Instant::now(), VarInt::from_u32(7), "enough".into());
                self.connections.insert(slot, connection);
                self.pump(slot);
                self.connections.remove(&slot);
            }
        }
    }

    /// Behaves as QUIC wants it for so long.
    pub fn run(&mut self, duration: Duration) {
        let end = Instant::now() + duration;
        let mut buffer = vec![0; 2_048];
        while Instant::now() < end {
            if let Ok((length, from)) = self.socket.recv_from(&mut buffer) {
                self.take(from, &buffer[..length]);
            }
            let now = Instant::now();
            for slot in self.connections.keys().copied().collect::<Vec<_>>() {
                if let Some(connection) = self.connections.get_mut(&slot)
                    && connection.poll_timeout().is_some_and(|at| at <= now)
                {
                    connection.handle_timeout(now);
                    self.pump(slot);
                }
            }
        }
    }

    fn take(&mut self, from: SocketAddr, bytes: &[u8]) {
        let (now, mut answer) = (Instant::now(), Vec::new());
        match self.endpoint.handle(now, from, None, None, BytesMut::from(bytes), &mut answer) {
            Some(DatagramEvent::ConnectionEvent(ConnectionHandle(slot), event)) => {
                if let Some(connection) = self.connections.get_mut(&slot) {
                    connection.handle_event(event);
                    self.pump(slot);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => {
                if let Ok((handle, connection)) = self.endpoint.accept(incoming, now, &mut answer, None) {
                    self.connections.insert(handle.0, connection);
                    self.pump(handle.0);
                }
            }
            Some(DatagramEvent::Response(transmit)) => {
                let _ = self.socket.send_to(&answer[..transmit.size], transmit.destination);
            }
            None => {}
        }
    }

    fn pump(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(&slot) else { return };
        while let Some(event) = connection.poll() {
            match event {
                quic::Event::Connected => self.completed += 1,
                quic::Event::ConnectionLost { reason } => self.ended.push(reason.to_string()),
                quic::Event::Stream(StreamEvent::Opened { dir }) => {
                    connection.streams().accept(dir);
                }
                _ => {}
            }
        }
        let mut buffer = Vec::new();
        while let Some(transmit) = connection.poll_transmit(Instant::now(), 1, &mut buffer) {
            let _ = self.socket.send_to(&buffer[..transmit.size], transmit.destination);
            buffer.clear();
        }
        while let Some(event) = connection.poll_endpoint_events() {
            if let Some(answer) = self.endpoint.handle_event(ConnectionHandle(slot), event) {
                connection.handle_event(answer);
            }
        }
    }
}

fn client(data: &Path) -> Arc<ClientConfig> {
    let (chain, key) = identity(data);
    let config = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13]);
    let config = config.expect("TLS 1.3").dangerous().with_custom_certificate_verifier(Arc::new(Anyone));
    let mut config = config.with_client_auth_cert(chain, key).expect("a certificate with its key");
    config.alpn_protocols = vec![loa::session::ALPN.to_vec()];
    Arc::new(config)
}

fn server(data: &Path) -> Arc<ServerConfig> {
    let (chain, key) = identity(data);
    let config = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13]);
    let config = config.expect("TLS 1.3").with_no_client_auth().with_single_cert(chain, key);
    let mut config = config.expect("a certificate with its key");
    config.alpn_protocols = vec![loa::session::ALPN.to_vec()];
    Arc::new(config)
}

fn identity(data: &Path) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_file_iter(data.join("node.crt")).expect("a certificate");
    let chain = chain.collect::<Result<_, _>>().expect("PEM");
    (chain, PrivateKeyDer::from_pem_file(data.join("node.key")).expect("a key"))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Takes every server for what it says it is.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _stapled: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
