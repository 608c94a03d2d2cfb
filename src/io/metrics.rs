//! Plain counters under the names that dashboards know (DESIGN §9).
//!
//! Each node has its own recorder, so that several can run in one process; nothing is installed
//! globally, and nothing on a packet's way touches it.
use super::node::Snapshot;
use super::queue::Drops;
use super::{fanout, quic};
use crate::node::branch;
use metrics::{counter, describe_counter, describe_gauge, gauge, with_local_recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

pub struct Metrics {
    recorder: PrometheusRecorder,
}

/// What is counted besides the snapshot.
pub struct World<'a> {
    pub fanout: fanout::Counters,
    pub quic: quic::Counters,
    pub queues: &'a [Drops],
}

impl Default for Metrics {
    fn default() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        with_local_recorder(&recorder, describe);
        Self { recorder }
    }
}

impl Metrics {
    /// Prometheus text of what the counters say now.
    pub fn render(&self, snapshot: &Snapshot, world: &World<'_>) -> String {
        with_local_recorder(&self.recorder, || publish(snapshot, world));
        let handle = self.recorder.handle();
        handle.run_upkeep();
        handle.render()
    }
}

fn publish(snapshot: &Snapshot, world: &World<'_>) {
    let trunk = &snapshot.trunk;
    counter!("loa_packets_received_total").absolute(trunk.received);
    counter!("loa_packets_sent_total").absolute(world.fanout.sent);
    let answered: u64 = snapshot.branches.iter().map(|branch| branch.answered).sum();
    counter!("loa_packets_repaired_total", "side" => "parent").absolute(trunk.repaired);
    counter!("loa_packets_repaired_total", "side" => "children").absolute(answered);
    counter!("loa_packets_lost_total").absolute(trunk.lost);
    for (reason, count) in &trunk.packets_rejected {
        counter!("loa_packets_rejected_total", "reason" => reason.to_string()).absolute(*count);
    }
    counter!("loa_packets_rejected_total", "reason" => "unknown_source").absolute(world.quic.unknown_source);
    counter!("loa_orders_accepted_total").absolute(trunk.orders_accepted);
    for (reason, count) in &trunk.orders_rejected {
        counter!("loa_orders_rejected_total", "reason" => *reason).absolute(*count);
    }
    counter!("loa_frames_concealed_total").absolute(trunk.player.concealed);
    counter!("loa_handshakes_rejected_total", "reason" => "full").absolute(world.quic.handshakes_refused);
    counter!("loa_handshakes_rejected_total", "reason" => "failed").absolute(world.quic.handshakes_failed);
    counter!("loa_handshakes_rejected_total", "reason" => "stale").absolute(world.quic.handshakes_stale);
    counter!("loa_handshakes_retried_total").absolute(world.quic.retries);
    gauge!("loa_handshakes", "state" => "half_open").set(world.quic.handshakes_open as f64);
    gauge!("loa_handshakes", "state" => "queued").set(world.quic.handshakes_queued as f64);
    counter!("loa_links_cut_total", "reason" => "slow").absolute(world.quic.cut_slow);
    counter!("loa_links_cut_total", "reason" => "protocol").absolute(world.quic.cut_protocol);
    gauge!("loa_links_held_bytes").set(world.quic.held as f64);
    counter!("loa_violations_total").absolute(world.quic.violations);
    for (reason, count) in fanout::Unreachable::NAMES.into_iter().zip(world.fanout.unreachable) {
        counter!("loa_destinations_unreachable_total", "reason" => reason).absolute(count);
    }
    counter!("loa_packets_bunched_total").absolute(world.fanout.bunched);
    counter!("loa_bunches_refused_total", "by" => "destination").absolute(world.fanout.singles);
    counter!("loa_bunches_refused_total", "by" => "device").absolute(world.fanout.devices);
    // Each reason is shown from the start: an alert on a rate needs the zero before the first.
    for (at, reason) in branch::CUTS.into_iter().enumerate() {
        let count: u64 =
            snapshot.branches.iter().filter_map(|branch| branch.cuts().nth(at)).map(|(_, count)| count).sum();
        counter!("loa_sessions_cut_total", "reason" => reason).absolute(count);
    }
    for (at, reason) in branch::IGNORED.into_iter().enumerate() {
        let counts = snapshot.branches.iter().filter_map(|branch| branch.ignored_inputs().nth(at));
        counter!("loa_input_dropped_total", "reason" => reason).absolute(counts.map(|(_, count)| count).sum());
    }
    for (queue, count) in &trunk.dropped {
        counter!("loa_queue_dropped_total", "queue" => *queue).absolute(*count);
    }
    for (queue, count) in [
        ("fanout", world.fanout.dropped),
        ("quic.send", world.quic.dropped_quic),
        ("quic.handshakes", world.quic.dropped_handshakes),
        ("link.media", world.quic.dropped_media),
        ("link.bulk", world.quic.dropped_bulk),
        ("link.datagrams", world.quic.dropped_datagrams),
        ("branch.outputs", snapshot.branches.iter().map(|branch| branch.dropped).sum()),
        ("playout.jitter", trunk.player.dropped),
    ] {
        counter!("loa_queue_dropped_total", "queue" => queue).absolute(count);
    }
    for drops in world.queues {
        counter!("loa_queue_dropped_total", "queue" => drops.queue).absolute(drops.count());
    }
    gauge!("loa_sessions", "side" => "parent").set(trunk.parents as f64);
    counter!("loa_parent_changes_total").absolute(trunk.leads);
    gauge!("loa_sessions", "side" => "children").set(trunk.children as f64);
    gauge!("loa_sessions_paused").set(snapshot.branches.iter().map(|branch| branch.paused).sum::<u64>() as f64);
    gauge!("loa_clock_offset_seconds").set(trunk.offset as f64 / 1e6);
    gauge!("loa_clock_uncertainty_seconds").set(trunk.uncertainty as f64 / 1e6);
    gauge!("loa_delivery_delay_seconds").set(trunk.delivery as f64 / 1e6);
    if let Some(level) = trunk.level {
        gauge!("loa_output_peak_dbfs").set(f64::from(level.peak));
        gauge!("loa_output_rms_dbfs").set(f64::from(level.rms));
    }
    gauge!("loa_ready").set(f64::from(u8::from(snapshot.ready)));
}

fn describe() {
    describe_counter!("loa_packets_received_total", "Verified packets of sound and of logs");
    describe_counter!("loa_packets_sent_total", "Packets sent to listeners, one for each listener");
    describe_counter!("loa_packets_repaired_total", "Packets that came, or were given, again on request");
    describe_counter!("loa_packets_lost_total", "Packets that did not come in time");
    describe_counter!("loa_packets_rejected_total", "Packets refused, by reason");
    describe_counter!("loa_orders_accepted_total", "Orders taken in");
    describe_counter!("loa_orders_rejected_total", "Orders refused, by reason");
    describe_counter!("loa_frames_concealed_total", "Steps of 10 ms that were made up");
    describe_counter!("loa_parent_changes_total", "Times that the other of two parents came to lead");
    describe_counter!("loa_handshakes_rejected_total", "Handshakes of children that did not become links");
    describe_counter!("loa_handshakes_retried_total", "Strangers sent back to prove their address first");
    describe_gauge!("loa_handshakes", "Handshakes of children now: half-open, and waiting for their turn");
    describe_counter!("loa_links_cut_total", "Links cut by this node, by reason");
    describe_gauge!("loa_sessions_paused", "Children that get no sound since their reports stay away (RFC 8083)");
    describe_gauge!("loa_links_held_bytes", "Control and bulk that other nodes have not acknowledged");
    describe_counter!("loa_violations_total", "Links closed because the other side broke the protocol");
    describe_counter!(
        "loa_destinations_unreachable_total",
        "Packets that the kernel refused for one listener, by reason"
    );
    describe_counter!("loa_packets_bunched_total", "Packets sent to listeners together with others in one send");
    describe_counter!("loa_bunches_refused_total", "Listeners and devices that take single packets only");
    describe_counter!(
        "loa_sessions_cut_total",
        "Sessions of children ended or refused. peer.flood: far more than a child sends; protocol: a message that \
         breaks it; hello.node: another name than in its certificate; session.silent: no beat for 35 s; \
         session.replaced: a third session of one node; session.often: over 60 joins in two minutes; branch.full: \
         no more room; refused: its placement or area; goodbye: its own wish; node.stopping: this node's"
    );
    describe_counter!(
        "loa_input_dropped_total",
        "What children said and nobody acted on. flood: beyond what one may send in a second; malformed: unreadable; \
         nack.track: repair of a track it does not listen to; nack.budget: repair beyond 40 % of the media rate; \
         nack.behind: repair of sound while this node is behind with sending it; \
         wish: Listen and Fetch beyond 20 a second; report: too long, or of nodes that are not below it"
    );
    describe_counter!("loa_queue_dropped_total", "What a full queue dropped, by queue");
    describe_gauge!("loa_sessions", "Sessions that are up");
    describe_gauge!("loa_clock_offset_seconds", "Playout error of this speaker");
    describe_gauge!("loa_clock_uncertainty_seconds", "Uncertainty of this node's phase");
    describe_gauge!("loa_delivery_delay_seconds", "From the origin's seal to the newest verification here");
    describe_gauge!("loa_output_peak_dbfs", "Sample peak of the last second that left the device; -100: silence");
    describe_gauge!("loa_output_rms_dbfs", "RMS of the last second that left the device; -100: silence");
    describe_gauge!("loa_ready", "1 when the node can do its work");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::track::Reject;

    #[test]
    fn two_nodes_in_one_process_show_their_own_counters() {
        let (one, two) = (Metrics::default(), Metrics::default());
        let mut snapshot = Snapshot::default();
        snapshot.trunk.received = 7;
        snapshot.trunk.packets_rejected.insert(Reject::Seal, 3);
        let fanout = fanout::Counters { sent: 70, ..fanout::Counters::default() };
        let world = World { fanout, quic: quic::Counters::default(), queues: &[] };
        let text = one.render(&snapshot, &world);
        for line in [
            "loa_packets_received_total 7",
            "loa_packets_sent_total 70",
            "loa_packets_rejected_total{reason=\"seal\"} 3",
            "loa_sessions_cut_total{reason=\"session.replaced\"} 0",
            "loa_input_dropped_total{reason=\"nack.budget\"} 0",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} in\n{text}");
        }
        let text = two.render(&Snapshot::default(), &world);
        assert!(text.contains("loa_packets_received_total 0"), "{text}");
        assert!(!text.contains("reason=\"seal\""), "{text}");
    }
}
