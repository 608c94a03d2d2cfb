/// What came and was not taken, or was not sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub datagrams_received: u64,
    /// SRTP from an address with no link.
    pub unknown_source: u64,
    pub handshakes_refused: u64,
    /// Of addresses that had been told to wait.
    pub handshakes_shunned: u64,
    pub handshakes_failed: u64,
    /// Strangers that waited so long that they have given up.
    pub handshakes_stale: u64,
    pub retries: u64,
    /// Now: half-open, and strangers that wait for their turn.
    pub handshakes_open: u64,
    pub handshakes_queued: u64,
    pub violations: u64,
    /// Of these, links cut because what was said to them was not taken, and for all else.
    pub cut_slow: u64,
    pub cut_protocol: u64,
    /// Now: bytes of control and bulk that peers have not acknowledged.
    pub held: u64,
    /// Bounds hit: QUIC packets and media that the kernel had no room for; bulk and datagrams that a
    /// link had no room for; packets of handshakes beyond what may wait.
    pub dropped_quic: u64,
    pub dropped_media: u64,
    pub dropped_bulk: u64,
    pub dropped_datagrams: u64,
    pub dropped_handshakes: u64,
}

impl std::ops::AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.datagrams_received += other.datagrams_received;
        self.unknown_source += other.unknown_source;
        self.handshakes_refused += other.handshakes_refused;
        self.handshakes_shunned += other.handshakes_shunned;
        self.handshakes_failed += other.handshakes_failed;
        self.handshakes_stale += other.handshakes_stale;
        self.retries += other.retries;
        self.handshakes_open += other.handshakes_open;
        self.handshakes_queued += other.handshakes_queued;
        self.violations += other.violations;
        self.cut_slow += other.cut_slow;
        self.cut_protocol += other.cut_protocol;
        self.held += other.held;
        self.dropped_quic += other.dropped_quic;
        self.dropped_media += other.dropped_media;
        self.dropped_bulk += other.dropped_bulk;
        self.dropped_datagrams += other.dropped_datagrams;
        self.dropped_handshakes += other.dropped_handshakes;
    }
}
