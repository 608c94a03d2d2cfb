//! The alert rules: right by promtool, complete, and one of them firing on a real fault.
use crate::exposition::{families, names};
use crate::prometheus::{Prometheus, promtool};
use crate::read;
use crate::tree::Tree;
use serde_json::Value;

#[test]
fn the_rules_say_what_they_must_of_made_up_nodes() {
    for arguments in
        [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"], ["check", "config", "prometheus.yml"]]
    {
        promtool(&arguments, None).unwrap_or_else(|said| panic!("promtool {arguments:?}:\n{said}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_stops_is_told_and_every_rule_holds_on_a_real_tree() {
    let mut tree = Tree::start().await;
    let prometheus = Prometheus::start(&tree).await;
    let mut exported = Vec::new();
    for node in &tree.nodes {
        exported.extend(families(&tree.metrics(node.name).await).into_keys());
    }
    let rules = prometheus.get("/api/v1/rules", &[]).await.unwrap();
    let groups = rules["groups"].as_array().unwrap();
    let tested = read("config/prometheus/alerts_test.yml");
    let mut alerts = 0;
    for rule in groups.iter().flat_map(|group| group["rules"].as_array().unwrap()) {
        let name = text(&rule["name"]);
        assert_eq!(text(&rule["health"]), "ok", "{name}: {}", rule["lastError"]);
        for metric in names(text(&rule["query"])) {
            let family = metric.trim_end_matches("_bucket");
            assert!(exported.iter().any(|known| known == family), "{name}: no node has {metric}");
        }
        if rule["type"] == "alerting" {
            alerts += 1;
            let said = &rule["annotations"];
            let (english, vietnamese) = (text(&said["summary"]), text(&said["summary_vi"]));
            assert!(english.len() > 40 && vietnamese.len() > 40 && english != vietnamese, "{name}: say what to do");
            assert!(["critical", "warning"].contains(&text(&rule["labels"]["severity"])), "{name}");
            assert!(tested.contains(&format!("alertname=\"{name}\"")), "alerts_test.yml has no {name}");
        }
    }
    assert!(alerts > 20, "{alerts} alerts");
    for group in ["loa-node", "loa-commune", "loa-province", "loa-national"] {
        assert!(groups.iter().any(|known| known["name"] == group), "{group}");
    }

    let fired = "ALERTS{alertname=~\"LoaRelaysLost|LoaNodeDown|LoaSpeakersMissing\"}";
    assert!(prometheus.query(fired).await.unwrap() == 0, "an alert fires while all is well");
    tree.stop("commune").await;
    for (alert, area) in [("LoaNodeDown", "vn/01/00001"), ("LoaRelaysLost", "vn/01"), ("LoaRelaysLost", "vn")] {
        let query = format!("ALERTS{{alertname=\"{alert}\", area=\"{area}\", alertstate=\"firing\"}}");
        prometheus.until(alert, &query).await;
    }
    // The speaker below it is not called idle any longer, all the way up.
    prometheus.until("speakers are unknown", "loa_speakers{tier=\"national\", state=\"unknown\"} == 1").await;
    let firing = prometheus.get("/api/v1/alerts", &[]).await.unwrap();
    let down = firing["alerts"].as_array().unwrap().iter().find(|alert| alert["labels"]["alertname"] == "LoaNodeDown");
    let said = text(&down.unwrap()["annotations"]["summary"]);
    assert!(said.starts_with("vn/01/00001: ") && said.contains("systemctl status loa"), "{said}");
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}
