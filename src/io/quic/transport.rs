//! How QUIC is set up for many small links, and what its errors mean.
use super::Driver;
use super::crypto::{Client, Server, VERSION};
use super::handshakes::WAITING;
use super::window;
use crate::io::socket::Socket;
use crate::node::Link;
use quinn_proto::{ClientConfig, ConnectionError, EndpointConfig, ServerConfig, TransportConfig, VarInt};
use std::sync::Arc;
use std::time::Duration;

pub fn endpoint() -> EndpointConfig {
    let mut endpoint = EndpointConfig::default();
    // Greasing would let QUIC's first byte run into SRTP's range (RFC 9443 §3).
    endpoint.grease_quic_bit(false).supported_versions(vec![VERSION]);
    endpoint
}

pub fn server(config: Arc<rustls::ServerConfig>) -> Arc<ServerConfig> {
    let mut server = ServerConfig::with_crypto(Arc::new(Server(config)));
    // Bulk streams go from parent to child alone; what a child might open would be kept room for.
    server.transport_config(Arc::new(transport(0))).migration(true);
    server.max_incoming(WAITING).incoming_buffer_size(INCOMING).incoming_buffer_size_total(INCOMING * 64);
    Arc::new(server)
}

pub fn client(config: Arc<rustls::ClientConfig>) -> ClientConfig {
    let mut client = ClientConfig::new(Arc::new(Client(config)));
    client.transport_config(Arc::new(transport(BULK_STREAMS)));
    client
}

fn transport(bulk_streams: u32) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(bulk_streams))
        .stream_receive_window(VarInt::from_u32(WINDOW))
        .receive_window(VarInt::from_u32(2 * WINDOW))
        .send_window(SENT)
        .datagram_receive_buffer_size(Some(DATAGRAMS))
        .datagram_send_buffer_size(DATAGRAMS)
        .congestion_controller_factory(Arc::new(window::Config::default()))
        .crypto_buffer_size(16 << 10)
        .initial_rtt(Duration::from_millis(100))
        // Everything fits 1,200 bytes, and probes for more would be half the packets of a handshake.
        .mtu_discovery_config(None)
        // Beats keep the link alive; silence is the session's to notice first.
        .keep_alive_interval(None)
        .max_idle_timeout(Some(VarInt::from_u32(60_000).into()))
        .enable_segmentation_offload(false);
    transport
}

impl Driver {
    /// Whether the other side has taken our certificate too (HANDSHAKE_DONE, RFC 9001 §4.1.2).
    pub fn is_confirmed(&self, link: Link) -> bool {
        let line = self.slot(link).and_then(|slot| self.lines.get(slot)?.as_ref());
        line.is_some_and(|line| line.connection.stats().frame_rx.handshake_done > 0)
    }

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
            format!("{REFUSES_US} ({reason}): is this node's certificate from its root?")
        }
        ConnectionError::TransportError(error) if (0x100..0x200).contains(&u64::from(error.code)) => {
            format!("{REFUSED}: {}", error.reason)
        }
        ConnectionError::TimedOut => "timed out: nothing was heard for a minute".to_owned(),
        other => other.to_string(),
    }
}

/// How explanations begin: ours is not taken, and theirs is not.
pub const REFUSES_US: &str = "the other side refused the handshake";
pub const REFUSED: &str = "the other side's certificate or protocol is refused";
/// Bytes in flight per stream: 64 KiB frames at a round trip of 100 ms fill 20 Mb/s.
const WINDOW: u32 = 256 << 10;
/// Bytes that one link may have under way: at 125 kB/s, the most that bulk is given, half a second's.
const SENT: u64 = 64 << 10;
/// Bulk streams that a parent may have open; `session` reads as many at once.
const BULK_STREAMS: u32 = 8;
/// Two full packets with quinn's bookkeeping: what does not fit is stale.
const DATAGRAMS: usize = 2 * 1_280;
/// Bytes kept of a handshake before it is looked at (one flight).
const INCOMING: u64 = 8 << 10;
