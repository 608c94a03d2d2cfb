//! Plain counters under the names that dashboards know (DESIGN §9).
//!
//! Each node has its own recorder, so that several can run in one process; nothing is installed
//! globally, and nothing on a packet's way touches it. No label's values grow with a node's children:
//! each is one of a fixed set.
mod help;

use super::disk::Room;
use super::node::Snapshot;
use super::queue::Drops;
use super::{fanout, quic};
use crate::broadcast::receipt::Outcome;
use crate::broadcast::{CODES, Priority};
use crate::node::branch;
use crate::node::trunk::{Known, QUEUES, STATES, TROUBLES};
use crate::time::{Civil, SECOND};
use crate::track::Reject;
use metrics::{counter, gauge, histogram, with_local_recorder};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusRecorder};
use metrics_process::Collector;
use std::collections::BTreeMap;

pub struct Metrics {
    recorder: PrometheusRecorder,
    process: Collector,
}

/// What is shown besides the snapshot.
pub struct World<'a> {
    pub fanout: fanout::Counters,
    pub quic: quic::Counters,
    pub queues: &'a [Drops],
    /// How old the snapshot is, and since when no tick came, µs.
    pub age: i64,
    pub tick_age: Option<i64>,
    /// `None` if the kernel does not say.
    pub disk: Option<Room>,
    pub certificate: Option<Civil>,
    pub planned: Option<&'a Planned>,
}

/// What a node's own timetable has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Planned {
    /// Airings by state, always the same states.
    pub airings: Vec<(&'static str, u64)>,
    /// µs ahead for which all that is stored has been given.
    pub reaches: i64,
}

impl Metrics {
    pub fn new() -> Result<Self, BuildError> {
        let first_sound = Matcher::Full(FIRST_SOUND.into());
        let builder = PrometheusBuilder::new().set_buckets_for_metric(first_sound, FIRST_SOUND_SECONDS)?;
        let (recorder, process) = (builder.build_recorder(), Collector::default());
        with_local_recorder(&recorder, || {
            help::describe();
            process.describe();
            gauge!("loa_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
            // All buckets, also before the first sound.
            for priority in [Priority::Normal, Priority::Priority, Priority::Emergency] {
                let _ = histogram!(FIRST_SOUND, "priority" => name(priority));
            }
        });
        Ok(Self { recorder, process })
    }

    /// A node began to sound a broadcast `after` µs.
    pub fn first_sound(&self, priority: Priority, after: i64) {
        with_local_recorder(&self.recorder, || {
            histogram!(FIRST_SOUND, "priority" => name(priority)).record(after as f64 / 1e6);
        });
    }

    /// Puts what was recorded into its buckets, now and then: where nobody asks for metrics it would grow.
    pub fn upkeep(&self) {
        self.recorder.handle().run_upkeep();
    }

    /// Prometheus text of what the counters say now.
    pub fn render(&self, snapshot: &Snapshot, world: &World<'_>) -> String {
        with_local_recorder(&self.recorder, || {
            packets(snapshot, world);
            links(snapshot, world);
            queues(snapshot, world);
            known(&snapshot.trunk.known, snapshot.trunk.receipts);
            time(snapshot, world);
            health(snapshot, world);
            timetable(world.planned);
            self.process.collect();
        });
        let handle = self.recorder.handle();
        handle.run_upkeep();
        handle.render()
    }
}

fn packets(snapshot: &Snapshot, world: &World<'_>) {
    let trunk = &snapshot.trunk;
    counter!("loa_packets_received_total").absolute(trunk.received);
    counter!("loa_packets_sent_total").absolute(world.fanout.sent);
    let answered: u64 = snapshot.branches.iter().map(|branch| branch.answered).sum();
    counter!("loa_packets_repaired_total", "side" => "parent").absolute(trunk.repaired);
    counter!("loa_packets_repaired_total", "side" => "children").absolute(answered);
    counter!("loa_packets_lost_total").absolute(trunk.lost);
    // Each reason is shown from the start: an alert on a rate needs the zero before the first.
    for reject in Reject::ALL {
        let count = trunk.packets_rejected.get(&reject).copied().unwrap_or(0);
        counter!("loa_packets_rejected_total", "reason" => reject.to_string()).absolute(count);
    }
    counter!("loa_packets_rejected_total", "reason" => "unknown_source").absolute(world.quic.unknown_source);
    counter!("loa_orders_accepted_total").absolute(trunk.orders_accepted);
    for (code, count) in from_zero(CODES, &trunk.orders_rejected) {
        counter!("loa_orders_rejected_total", "reason" => code).absolute(count);
    }
    counter!("loa_frames_concealed_total").absolute(trunk.player.concealed);
    counter!("loa_packets_bunched_total").absolute(world.fanout.bunched);
    counter!("loa_bunches_refused_total", "by" => "destination").absolute(world.fanout.singles);
    counter!("loa_bunches_refused_total", "by" => "device").absolute(world.fanout.devices);
}

fn links(snapshot: &Snapshot, world: &World<'_>) {
    let quic = &world.quic;
    for (reason, count) in [
        ("full", quic.handshakes_refused),
        ("failed", quic.handshakes_failed),
        ("stale", quic.handshakes_stale),
        ("shunned", quic.handshakes_shunned),
    ] {
        counter!("loa_handshakes_rejected_total", "reason" => reason).absolute(count);
    }
    counter!("loa_handshakes_retried_total").absolute(quic.retries);
    gauge!("loa_handshakes", "state" => "half_open").set(quic.handshakes_open as f64);
    gauge!("loa_handshakes", "state" => "queued").set(quic.handshakes_queued as f64);
    counter!("loa_links_cut_total", "reason" => "slow").absolute(quic.cut_slow);
    counter!("loa_links_cut_total", "reason" => "protocol").absolute(quic.cut_protocol);
    gauge!("loa_links_held_bytes").set(quic.held as f64);
    counter!("loa_violations_total").absolute(quic.violations);
    for (reason, count) in fanout::Unreachable::NAMES.into_iter().zip(world.fanout.unreachable) {
        counter!("loa_destinations_unreachable_total", "reason" => reason).absolute(count);
    }
    for (at, reason) in branch::CUTS.into_iter().enumerate() {
        let count: u64 =
            snapshot.branches.iter().filter_map(|branch| branch.cuts().nth(at)).map(|(_, count)| count).sum();
        counter!("loa_sessions_cut_total", "reason" => reason).absolute(count);
    }
    gauge!("loa_sessions", "side" => "parent").set(snapshot.trunk.parents as f64);
    counter!("loa_parent_changes_total").absolute(snapshot.trunk.leads);
    counter!("loa_keys_held_twice_total").absolute(snapshot.trunk.twice);
    gauge!("loa_sessions", "side" => "children").set(snapshot.trunk.children as f64);
    gauge!("loa_sessions_paused").set(snapshot.branches.iter().map(|branch| branch.paused).sum::<u64>() as f64);
    gauge!("loa_children_by_group").set(snapshot.branches.iter().map(|branch| branch.by_group).sum::<u64>() as f64);
}

fn queues(snapshot: &Snapshot, world: &World<'_>) {
    for (at, reason) in branch::IGNORED.into_iter().enumerate() {
        let counts = snapshot.branches.iter().filter_map(|branch| branch.ignored_inputs().nth(at));
        counter!("loa_input_dropped_total", "reason" => reason).absolute(counts.map(|(_, count)| count).sum());
    }
    for (queue, count) in from_zero(&QUEUES, &snapshot.trunk.dropped) {
        counter!("loa_queue_dropped_total", "queue" => queue).absolute(count);
    }
    for (queue, count) in [
        ("fanout", world.fanout.dropped),
        ("quic.send", world.quic.dropped_quic),
        ("quic.handshakes", world.quic.dropped_handshakes),
        ("link.media", world.quic.dropped_media),
        ("link.bulk", world.quic.dropped_bulk),
        ("link.datagrams", world.quic.dropped_datagrams),
        ("branch.outputs", snapshot.branches.iter().map(|branch| branch.dropped).sum()),
        ("playout.jitter", snapshot.trunk.player.dropped),
    ] {
        counter!("loa_queue_dropped_total", "queue" => queue).absolute(count);
    }
    for drops in world.queues {
        counter!("loa_queue_dropped_total", "queue" => drops.queue).absolute(drops.count());
    }
}

fn known(known: &Known, receipts: [u64; Outcome::ALL.len()]) {
    for (state, (speakers, relays)) in STATES.into_iter().zip(known.speakers.into_iter().zip(known.relays)) {
        gauge!("loa_speakers", "state" => state).set(speakers as f64);
        gauge!("loa_relays", "state" => state).set(relays as f64);
    }
    // What a later release may say stands behind those that are known.
    for (code, count) in TROUBLES.into_iter().chain(["other"]).zip(known.troubled) {
        gauge!("loa_speakers_troubled", "code" => code).set(count as f64);
    }
    for (outcome, count) in Outcome::ALL.into_iter().zip(receipts) {
        gauge!("loa_receipts", "state" => outcome.as_str()).set(count as f64);
    }
    gauge!("loa_speakers_out_of_step").set(known.out_of_step as f64);
    counter!("loa_speakers_packets_received_total").absolute(known.received);
    counter!("loa_speakers_packets_repaired_total").absolute(known.repaired);
    counter!("loa_speakers_packets_lost_total").absolute(known.lost);
    counter!("loa_speakers_frames_concealed_total").absolute(known.concealed);
}

fn time(snapshot: &Snapshot, world: &World<'_>) {
    let trunk = &snapshot.trunk;
    gauge!("loa_clock_trusted").set(f64::from(u8::from(trunk.synced)));
    gauge!("loa_clock_offset_seconds").set(seconds(trunk.offset));
    gauge!("loa_clock_uncertainty_seconds").set(trunk.uncertainty as f64 / 1e6);
    gauge!("loa_delivery_delay_seconds").set(seconds(trunk.delivery));
    if let Some(age) = world.tick_age {
        gauge!("loa_tick_age_seconds").set(seconds(age));
    }
    if let Some(expires) = world.certificate {
        gauge!("loa_certificate_expires_seconds").set((expires.0 / SECOND) as f64);
    }
    if let Some(granted) = trunk.granted {
        gauge!("loa_grant_expires_seconds").set((granted.0 / SECOND) as f64);
    }
}

fn health(snapshot: &Snapshot, world: &World<'_>) {
    for code in TROUBLES {
        gauge!("loa_trouble", "code" => code).set(f64::from(u8::from(snapshot.trunk.troubles.contains(code))));
    }
    gauge!("loa_ready").set(f64::from(u8::from(snapshot.ready)));
    gauge!("loa_counters_age_seconds").set(seconds(world.age));
    if let Some(loudness) = snapshot.trunk.loudness {
        gauge!("loa_muted").set(f64::from(u8::from(loudness.is_muted)));
        for (priority, volume) in
            [Priority::Normal, Priority::Priority, Priority::Emergency].into_iter().zip(loudness.volumes)
        {
            gauge!("loa_volume_decibels", "priority" => name(priority)).set(volume.decibels());
        }
    }
    if let Some(level) = snapshot.trunk.level {
        gauge!("loa_output_peak_dbfs").set(f64::from(level.peak));
        gauge!("loa_output_rms_dbfs").set(f64::from(level.rms));
    }
    if let Some(disk) = world.disk {
        gauge!("loa_data_free_bytes").set(disk.free as f64);
        gauge!("loa_data_size_bytes").set(disk.total as f64);
    }
}

fn timetable(planned: Option<&Planned>) {
    let Some(planned) = planned else { return };
    for (state, count) in &planned.airings {
        gauge!("loa_timetable_airings", "state" => *state).set(*count as f64);
    }
    gauge!("loa_timetable_reaches_seconds").set(seconds(planned.reaches));
}

/// What was counted, and a zero for what may yet be.
fn from_zero(names: &'static [&'static str], counted: &BTreeMap<&'static str, u64>) -> BTreeMap<&'static str, u64> {
    names.iter().map(|name| (*name, 0)).chain(counted.iter().map(|(name, count)| (*name, *count))).collect()
}

fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

const fn name(priority: Priority) -> &'static str {
    match priority {
        Priority::Normal => "normal",
        Priority::Priority => "priority",
        Priority::Emergency => "emergency",
    }
}

const FIRST_SOUND: &str = "loa_first_sound_seconds";
/// An emergency's tone begins half a second after acceptance, a bulletin 1.1 s after; a second is what DESIGN §11 holds.
const FIRST_SOUND_SECONDS: &[f64] = &[0.1, 0.3, 0.55, 0.6, 0.8, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0];

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> World<'static> {
        World {
            fanout: fanout::Counters { sent: 70, ..fanout::Counters::default() },
            quic: quic::Counters::default(),
            queues: &[],
            age: 1_500_000,
            tick_age: None,
            disk: Some(Room { free: 7, total: 100, files: None, read_only: false }),
            certificate: Some(Civil(1_900_000_000 * SECOND)),
            planned: None,
        }
    }

    fn has(text: &str, line: &str) {
        assert!(text.lines().any(|shown| shown == line), "{line} in\n{text}");
    }

    #[test]
    fn two_nodes_in_one_process_show_their_own_counters() {
        let (one, two) = (Metrics::new().unwrap(), Metrics::new().unwrap());
        let mut snapshot = Snapshot::default();
        snapshot.trunk.received = 7;
        snapshot.trunk.packets_rejected.insert(Reject::Seal, 3);
        snapshot.trunk.troubles.insert("disk.full");
        let text = one.render(&snapshot, &world());
        for line in [
            "loa_packets_received_total 7",
            "loa_packets_sent_total 70",
            "loa_packets_rejected_total{reason=\"seal\"} 3",
            "loa_packets_rejected_total{reason=\"tag\"} 0",
            "loa_orders_rejected_total{reason=\"order.scope\"} 0",
            "loa_sessions_cut_total{reason=\"session.replaced\"} 0",
            "loa_input_dropped_total{reason=\"nack.budget\"} 0",
            "loa_queue_dropped_total{queue=\"reports\"} 0",
            "loa_speakers{state=\"lost\"} 0",
            "loa_speakers_troubled{code=\"other\"} 0",
            "loa_trouble{code=\"disk.full\"} 1",
            "loa_trouble{code=\"clock.off\"} 0",
            "loa_counters_age_seconds 1.5",
            "loa_certificate_expires_seconds 1900000000",
            "loa_data_free_bytes 7",
        ] {
            has(&text, line);
        }
        let text = two.render(&Snapshot::default(), &world());
        has(&text, "loa_packets_received_total 0");
        has(&text, "loa_packets_rejected_total{reason=\"seal\"} 0");
        assert!(!text.contains("loa_tick_age_seconds"), "nobody knows an age: {text}");
    }

    #[test]
    fn first_sounds_fall_into_buckets_from_zero_on() {
        let metrics = Metrics::new().unwrap();
        let text = metrics.render(&Snapshot::default(), &world());
        has(&text, "loa_first_sound_seconds_bucket{priority=\"emergency\",le=\"1\"} 0");
        for after in [504_000, 700_000, 2_500_000] {
            metrics.first_sound(Priority::Emergency, after);
            metrics.upkeep();
        }
        let text = metrics.render(&Snapshot::default(), &world());
        has(&text, "loa_first_sound_seconds_bucket{priority=\"emergency\",le=\"1\"} 2");
        has(&text, "loa_first_sound_seconds_bucket{priority=\"emergency\",le=\"+Inf\"} 3");
        has(&text, "loa_first_sound_seconds_count{priority=\"normal\"} 0");
    }
}
