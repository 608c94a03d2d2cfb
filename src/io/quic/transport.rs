//! How QUIC is set up for many small links, and what its errors mean.
use super::Driver;
use super::handshakes::HALF_OPEN;
use crate::io::socket::Socket;
use quinn_proto::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use quinn_proto::{ClientConfig, ConnectionError, EndpointConfig, ServerConfig, TransportConfig, VarInt};
use std::sync::Arc;
use std::time::Duration;

pub fn endpoint() -> EndpointConfig {
    let mut endpoint = EndpointConfig::default();
    // Greasing would let QUIC's first byte run into SRTP's range (RFC 9443 §3).
    endpoint.grease_quic_bit(false);
    endpoint
}

pub fn server(
    config: Arc<rustls::ServerConfig>,
    transport: Arc<TransportConfig>,
) -> Result<Arc<ServerConfig>, NoInitialCipherSuite> {
    let mut server = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(config)?));
    server.transport_config(transport).migration(true);
    server.max_incoming(HALF_OPEN).incoming_buffer_size(INCOMING).incoming_buffer_size_total(INCOMING * 64);
    Ok(Arc::new(server))
}

pub fn client(
    config: Arc<rustls::ClientConfig>,
    transport: Arc<TransportConfig>,
) -> Result<ClientConfig, NoInitialCipherSuite> {
    let mut client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(config)?));
    client.transport_config(transport);
    Ok(client)
}

pub fn config() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(8))
        .stream_receive_window(VarInt::from_u32(WINDOW))
        .receive_window(VarInt::from_u32(2 * WINDOW))
        .send_window(u64::from(WINDOW))
        .datagram_receive_buffer_size(Some(DATAGRAMS))
        .datagram_send_buffer_size(DATAGRAMS)
        .crypto_buffer_size(16 << 10)
        .initial_rtt(Duration::from_millis(100))
        // Beats keep the link alive; silence is the session's to notice first.
        .keep_alive_interval(None)
        .max_idle_timeout(Some(VarInt::from_u32(60_000).into()))
        .enable_segmentation_offload(false);
    transport
}

impl Driver {
    /// Goes on from another socket: what a node does whose address has changed. What the old one still holds is lost.
    pub fn rebind(&mut self, socket: Arc<Socket>) {
        self.socket = socket;
    }
}

/// Why a connection ended, for the one who has to mend it.
pub fn explain(reason: &ConnectionError) -> String {
    match reason {
        // TLS alerts come as 0x100 + alert (RFC 9001 §4.8).
        ConnectionError::ConnectionClosed(close) if (0x100..0x200).contains(&u64::from(close.error_code)) => {
            format!("the other side refused the handshake ({reason}): is this node's certificate from its root?")
        }
        ConnectionError::TransportError(error) if (0x100..0x200).contains(&u64::from(error.code)) => {
            format!("the other side's certificate or protocol is refused: {}", error.reason)
        }
        ConnectionError::TimedOut => "timed out: nothing was heard for a minute".to_owned(),
        other => other.to_string(),
    }
}

/// Bytes in flight per stream: 64 KiB frames at a round trip of 100 ms fill 20 Mb/s.
const WINDOW: u32 = 256 << 10;
/// Two full packets with quinn's bookkeeping: what does not fit is stale.
const DATAGRAMS: usize = 2 * 1_280;
/// Bytes kept of a handshake before it is looked at (one flight).
const INCOMING: u64 = 8 << 10;
