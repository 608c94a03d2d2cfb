//! Names, units, labels and help texts, and that the README has them all.
use crate::exposition::{families, keys, names};
use crate::tree::Tree;
use crate::{prometheus, read};
use std::collections::BTreeSet;

/// DESIGN §9.
const FIXED: [&str; 14] = [
    "loa_packets_received_total",
    "loa_packets_sent_total",
    "loa_packets_repaired_total",
    "loa_packets_lost_total",
    "loa_packets_rejected_total",
    "loa_orders_rejected_total",
    "loa_frames_concealed_total",
    "loa_queue_dropped_total",
    "loa_sessions",
    "loa_speakers",
    "loa_clock_offset_seconds",
    "loa_delivery_delay_seconds",
    "loa_first_sound_seconds",
    "loa_clock_uncertainty_seconds",
];

/// Labels whose values are fixed sets; none names a child, an address, an area or a broadcast.
const LABELS: [&str; 9] = ["by", "code", "le", "priority", "queue", "reason", "side", "state", "version"];

/// Of another unit than the base units, with its reason: the level meter's own scale has no other.
const UNITS: [&str; 2] = ["loa_output_peak_dbfs", "loa_output_rms_dbfs"];

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_named_described_and_bounded_as_prometheus_wants_them() {
    let mut tree = Tree::start().await;
    // Known once a second has left the device.
    tree.until("speaker-a", "loa_output_rms_dbfs", -100.0).await;
    let one = keys(&tree.metrics("commune").await);
    tree.add("speaker-b", "speaker", "vn/01/00001", Some("commune")).await;
    tree.until("commune", "loa_sessions{side=\"children\"}", 2.0).await;
    assert_eq!(one, keys(&tree.metrics("commune").await), "series grew with the listeners");

    let mut exported = BTreeSet::new();
    for node in &tree.nodes {
        let text = tree.metrics(node.name).await;
        let checked = prometheus::promtool(&["check", "metrics"], Some(&text));
        assert!(checked.is_ok(), "{}: promtool check metrics:\n{}", node.name, checked.unwrap_err());
        for (name, family) in families(&text) {
            let of = format!("{}: {name}", node.name);
            assert!(family.help.len() > 1, "{of} has no help");
            assert!(["counter", "gauge", "histogram"].contains(&family.kind.as_str()), "{of}: type {:?}", family.kind);
            assert!(!family.samples.is_empty(), "{of} has no sample");
            assert_eq!(family.kind == "counter", name.ends_with("_total"), "{of}: _total is for counters, and all");
            assert_eq!(name.contains("_dbfs"), UNITS.contains(&name.as_str()), "{of}");
            let foreign = ["_ms", "_us", "_micros", "_millis", "_minutes", "_kib", "_percent"];
            assert!(!foreign.iter().any(|unit| name.contains(unit)), "{of}: seconds and bytes are the units");
            for sample in &family.samples {
                for label in sample.labels.keys() {
                    assert!(LABELS.contains(&label.as_str()), "{of}: label {label}");
                }
            }
            assert!(family.samples.len() <= 64, "{of}: {} series", family.samples.len());
            exported.insert(name);
        }
    }
    for name in FIXED {
        assert!(exported.contains(name), "DESIGN §9 names {name}, and no node has it");
    }
    let readme = read("README.md");
    let written: BTreeSet<String> = names(&readme).into_iter().map(str::to_owned).collect();
    assert_eq!(exported.difference(&written).collect::<Vec<_>>(), Vec::<&String>::new(), "the README lacks these");
    assert_eq!(written.difference(&exported).collect::<Vec<_>>(), Vec::<&String>::new(), "no node has these");
}
