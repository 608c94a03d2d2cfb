//! The dashboards: every query is one that Prometheus takes, and has something to show of a running tree.
use crate::exposition::{families, names};
use crate::prometheus::Prometheus;
use crate::read;
use crate::tree::Tree;
use serde_json::Value;
use std::collections::BTreeSet;

/// Each with the variables it is looked at with.
const DASHBOARDS: [(&str, &[(&str, &str)]); 4] =
    [("national", &[]), ("province", &[("area", "vn/01")]), ("commune", &[("area", "vn/01/00001")]), ("node", &[])];

#[tokio::test(flavor = "multi_thread")]
async fn every_panel_shows_something_of_a_tree_that_sounds() {
    let tree = Tree::start().await;
    let prometheus = Prometheus::start(&tree).await;
    tree.air("emergency").await;
    tree.until("origin", "loa_speakers{state=\"sounding\"}", 1.0).await;
    prometheus.until("packets are counted up to the top", "loa:speakers_lost:ratio5m{tier=\"province\"} >= 0").await;
    prometheus.until("a first sound", "loa:first_sound_seconds:p99_10m{tier=\"national\"} > 0").await;
    let mut known: BTreeSet<String> = BTreeSet::new();
    for node in &tree.nodes {
        known.extend(families(&tree.metrics(node.name).await).into_keys());
    }
    for (name, variables) in DASHBOARDS {
        let dashboard = loaded(name);
        for (panel, query) in queries(&dashboard) {
            let of = format!("{name}.json, {panel}: {query}");
            for metric in names(&query) {
                let family = metric.trim_end_matches("_bucket");
                assert!(known.contains(family), "{of}: no node has {metric}");
            }
            // Of what goes wrong nothing is shown while nothing does; without the comparison it is there.
            let shown = query.strip_suffix(" > 0").unwrap_or(&query).replace("$__rate_interval", "1m");
            let looks: Vec<String> = match name {
                "node" => tree.nodes.iter().map(|node| shown.replace("$instance", &node.admin.to_string())).collect(),
                _ => {
                    vec![variables.iter().fold(shown, |query, (name, value)| query.replace(&format!("${name}"), value))]
                }
            };
            let mut series = 0;
            for look in &looks {
                assert!(!look.contains('$'), "{of}: an unknown variable");
                series += prometheus.query(look).await.unwrap_or_else(|error| panic!("{of}: {error}"));
            }
            assert!(series > 0 || query.starts_with("ALERTS"), "{of}: nothing to show");
        }
    }
}

/// Grafana takes a file with these; whatever else stands there is for looks.
fn loaded(name: &str) -> Value {
    let dashboard: Value = serde_json::from_str(&read(&format!("config/grafana/{name}.json"))).unwrap();
    assert_eq!(dashboard["uid"], format!("loa-{name}"));
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 38, "Grafana 10 and newer");
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() >= 10, "{name}: {} panels", panels.len());
    let mut places = BTreeSet::new();
    for panel in panels {
        let place = &panel["gridPos"];
        let [x, y, wide, high] = ["x", "y", "w", "h"].map(|side| place[side].as_u64().unwrap());
        assert!(x + wide <= 24, "{name}: {} stands outside", panel["title"]);
        for cell in (x..x + wide).flat_map(|x| (y..y + high).map(move |y| (x, y))) {
            assert!(places.insert(cell), "{name}: {} stands on another panel", panel["title"]);
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{name}: {}", panel["title"]);
        assert!(["stat", "timeseries", "table"].contains(&panel["type"].as_str().unwrap()));
    }
    dashboard
}

/// Of each panel, and of each variable: the metric that its values come from.
fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            queries.push((panel["title"].to_string(), target["expr"].as_str().unwrap().to_owned()));
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        let query = variable["query"].as_str().unwrap();
        if let Some(inner) = query.strip_prefix("label_values(") {
            let (series, _) = inner.rsplit_once(',').unwrap();
            queries.push((variable["name"].to_string(), series.to_owned()));
        }
    }
    queries
}
